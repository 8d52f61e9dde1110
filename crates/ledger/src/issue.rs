//! The life of vouchers apart from paying: issue, redeem, suspend, resume, revoke, expire.

use std::sync::Arc;

use crate::account::Account;
use crate::journal::EntryKind;
use crate::ledger::Ledger;
use crate::party::{check_grant, check_name, check_reason};
use crate::programme::{BudgetPolicy, Programme, check_interval};
use crate::rejection::{Rejection, Subject, VoucherRule};
use crate::sweep::Cause;
use crate::types::{Fen, Grant, OrgId, ProgrammeId, Stamp, VoucherId};
use crate::voucher::{NewVoucher, Voucher, VoucherState};

/// The most vouchers in use one holder may have: a quote looks at each of them.
pub const VOUCHERS_IN_USE_MAX: usize = 1_000;
/// The most vouchers issued at once.
pub const BATCH_MAX: usize = 1_000;

impl Ledger {
    /// Issues a batch, all or none; ids follow each other. Holders are named.
    pub fn issue_vouchers(
        &mut self,
        programme: ProgrammeId,
        batch: &[NewVoucher],
        by: impl Into<Stamp>,
    ) -> Result<Vec<VoucherId>, Rejection> {
        let by = by.into();
        self.assert_time(by);
        let holders = self.check_batch(programme, batch, by)?;
        let issued = batch
            .iter()
            .zip(holders)
            .map(|(new, holder)| self.issue(programme, new, holder, by))
            .collect();
        Ok(issued)
    }

    /// Puts an issued voucher into use: once, by its holder, in its time.
    pub fn redeem_voucher(&mut self, code: &str, holder: OrgId, by: impl Into<Stamp>) -> Result<VoucherId, Rejection> {
        let by = by.into();
        self.assert_time(by);
        let voucher = self
            .voucher_by_code(code)
            .ok_or_else(|| Rejection::unknown(Subject::Voucher, code))?;
        let id = voucher.id;
        self.known_org(holder)?;
        let refused = |rule| Err(Rejection::voucher(id, rule));
        if voucher.holder != holder {
            return refused(VoucherRule::WrongHolder);
        }
        match voucher.state {
            VoucherState::Issued => {}
            VoucherState::Active | VoucherState::Suspended | VoucherState::Exhausted => {
                return refused(VoucherRule::AlreadyRedeemed);
            }
            VoucherState::Expired => return refused(VoucherRule::Expired),
            VoucherState::Revoked => return refused(VoucherRule::Revoked),
        }
        if voucher.until <= by.at {
            return refused(VoucherRule::Expired);
        }
        if self.vouchers_in_use(holder).count() >= VOUCHERS_IN_USE_MAX {
            return Err(Rejection::TooManyVouchers {
                holder,
                allowed: VOUCHERS_IN_USE_MAX,
            });
        }
        self.voucher_mut(id).state = VoucherState::Active;
        self.org_mut(holder).begin_use(id);
        self.journal.facts([id.0, u64::from(holder.0)]);
        self.write(EntryKind::RedeemVoucher, by);
        Ok(id)
    }

    /// Nothing new is paid from it until it is resumed; open holds go on.
    pub fn suspend_voucher(&mut self, id: VoucherId, reason: &str, by: impl Into<Stamp>) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        check_reason("reason", reason)?;
        let rule = match self.known_voucher(id)?.state {
            VoucherState::Active => None,
            VoucherState::Issued => Some(VoucherRule::NotRedeemed),
            VoucherState::Suspended => Some(VoucherRule::Suspended),
            VoucherState::Exhausted => Some(VoucherRule::Exhausted),
            VoucherState::Expired => Some(VoucherRule::Expired),
            VoucherState::Revoked => Some(VoucherRule::Revoked),
        };
        if let Some(rule) = rule {
            return Err(Rejection::voucher(id, rule));
        }
        self.voucher_mut(id).state = VoucherState::Suspended;
        self.journal.fact(id.0);
        self.journal.text(reason);
        self.write(EntryKind::SuspendVoucher, by);
        Ok(())
    }

    /// Ends a suspension.
    pub fn resume_voucher(&mut self, id: VoucherId, reason: &str, by: impl Into<Stamp>) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        check_reason("reason", reason)?;
        if self.known_voucher(id)?.state != VoucherState::Suspended {
            return Err(Rejection::voucher(id, VoucherRule::NotSuspended));
        }
        self.voucher_mut(id).state = VoucherState::Active;
        self.retire_when_spent(id);
        self.journal.fact(id.0);
        self.journal.text(reason);
        self.write(EntryKind::ResumeVoucher, by);
        Ok(())
    }

    /// Takes back what is free of a voucher, for good.
    ///
    /// Open holds keep their cover; what they release is taken back too. For fraud their cover ends now instead, the rest is paid anew from other
    /// vouchers and the wallet or ends, and the holder owes the fund what the voucher has paid; providers stay paid.
    pub fn revoke_voucher(
        &mut self,
        id: VoucherId,
        fraud: bool,
        reason: &str,
        by: impl Into<Stamp>,
    ) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        check_reason("reason", reason)?;
        let voucher = self.known_voucher(id)?;
        match voucher.state {
            // Fraud may be found out when the voucher is over.
            VoucherState::Revoked if voucher.fraud || !fraud => {
                return Err(Rejection::voucher(id, VoucherRule::Revoked));
            }
            VoucherState::Expired if voucher.fraud || !fraud => {
                return Err(Rejection::voucher(id, VoucherRule::Expired));
            }
            VoucherState::Expired | VoucherState::Revoked => {}
            VoucherState::Issued | VoucherState::Active | VoucherState::Suspended | VoucherState::Exhausted => {
                self.end_voucher(id, VoucherState::Revoked);
            }
        }
        let mut recovered = Fen::ZERO;
        if fraud {
            let voucher = self.voucher_mut(id);
            voucher.fraud = true;
            recovered = voucher.paid;
            let (holder, programme) = (voucher.holder, voucher.programme);
            self.post(Account::Owes(holder), Account::Recovery(programme), recovered);
            self.sweep(Cause::Voucher(id), by.at);
        }
        self.journal.facts([id.0, u64::from(fraud), recovered.0 as u64]);
        self.journal.text(reason);
        self.write(EntryKind::RevokeVoucher, by);
        Ok(())
    }

    pub(crate) fn expire_voucher(&mut self, id: VoucherId, by: Stamp) {
        self.end_voucher(id, VoucherState::Expired);
        self.journal.fact(id.0);
        self.write(EntryKind::ExpireVoucher, by);
    }

    /// A voucher in use of which nothing is left leaves the holder's list, unless it is suspended.
    pub(crate) fn retire_when_spent(&mut self, id: VoucherId) {
        let voucher = self.voucher_mut(id);
        if voucher.retire_when_spent() {
            let holder = voucher.holder;
            self.org_mut(holder).end_use(id);
        }
    }

    fn check_batch(&self, programme: ProgrammeId, batch: &[NewVoucher], by: Stamp) -> Result<Vec<OrgId>, Rejection> {
        let known = self.known_programme(programme)?;
        if batch.is_empty() || batch.len() > BATCH_MAX {
            return Err(Rejection::invalid("vouchers", batch.len(), "1 to 1000 vouchers"));
        }
        let mut codes = std::collections::BTreeSet::new();
        let mut holders = Vec::with_capacity(batch.len());
        let mut faces = 0;
        for new in batch {
            check_name("vouchers.code", &new.code)?;
            let holder = self
                .org_by_name(&new.holder)
                .ok_or_else(|| Rejection::unknown(Subject::Org, &new.holder))?;
            check_grant("vouchers.face", new.face)?;
            check_interval(new.from, new.until)?;
            if new.until <= by.at {
                return Err(Rejection::invalid(
                    "vouchers.until",
                    new.until,
                    "an instant in the future",
                ));
            }
            if self.voucher_codes.contains_key(&*new.code) || !codes.insert(&*new.code) {
                return Err(Rejection::NameTaken {
                    field: "vouchers.code",
                    name: new.code.clone(),
                });
            }
            holders.push(holder.id);
            faces += i128::from(new.face.0);
        }
        let needed =
            Grant(i64::try_from(faces).map_err(|_| Rejection::invalid("vouchers.face", faces, "less in all"))?);
        if known.budget_policy == BudgetPolicy::CommitAtIssue && needed > known.uncommitted {
            return Err(Rejection::BudgetExhausted {
                programme,
                needed,
                available: known.uncommitted,
                unit_hours: known.unit_hours_of().is_some(),
            });
        }
        self.check_room("vouchers.face", needed.0)?;
        if i128::from(known.issued.0) + faces > i128::from(i64::MAX / 2) {
            return Err(Rejection::invalid("vouchers.face", needed, "less in all"));
        }
        Ok(holders)
    }

    fn issue(&mut self, programme: ProgrammeId, new: &NewVoucher, holder: OrgId, by: Stamp) -> VoucherId {
        let zero = Grant::ZERO;
        let id = VoucherId(self.vouchers.next_id());
        let code: Arc<str> = Arc::from(&*new.code);
        self.vouchers.push(Voucher {
            id,
            code: code.clone(),
            programme,
            holder,
            state: VoucherState::Issued,
            from: new.from,
            until: new.until,
            face: new.face,
            available: zero,
            held: zero,
            captured: zero,
            lapsed: zero,
            revoked: zero,
            paid: Fen::ZERO,
            fraud: false,
        });
        self.voucher_codes.insert(code, id);
        self.voucher_ends.insert((new.until, id), ());
        let source = self.free_source(programme);
        self.grant(self.grants_units(programme), source, Account::Voucher(id), new.face);
        self.programme_mut(programme).issued.0 += new.face.0;
        let owner = [id.0, u64::from(programme.0), u64::from(holder.0)];
        self.journal
            .facts(owner.into_iter().chain([new.face.0 as u64, new.from.0, new.until.0]));
        self.journal.text(&new.code);
        self.write(EntryKind::IssueVoucher, by);
        id
    }

    // What is free goes back where it came from; what is held follows when its holds end.
    fn end_voucher(&mut self, id: VoucherId, state: VoucherState) {
        let voucher = self.voucher_mut(id);
        voucher.state = state;
        let (left, programme, holder, until) = (voucher.available, voucher.programme, voucher.holder, voucher.until);
        let source = self.free_source(programme);
        self.grant(self.grants_units(programme), Account::Voucher(id), source, left);
        self.org_mut(holder).end_use(id);
        self.voucher_ends.remove(&(until, id));
        let voucher = self.vouchers.get_mut(id.0).expect("found above");
        let programme = self.programmes.get_mut(u64::from(programme.0));
        count_gone(voucher, programme.expect("a voucher's programme exists"), left);
    }

    pub(crate) fn grants_units(&self, programme: ProgrammeId) -> bool {
        self.programme(programme)
            .is_some_and(|programme| programme.unit_hours_of().is_some())
    }

    /// Where the free part of a programme's vouchers comes from and goes back to.
    pub(crate) fn free_source(&self, programme: ProgrammeId) -> Account {
        let policy = self.programme(programme).map(|programme| programme.budget_policy);
        match policy {
            Some(BudgetPolicy::CommitAtHold) => Account::Unfunded(programme),
            _ => Account::Budget(programme),
        }
    }
}

/// Counts money that left an expired or revoked voucher.
pub(crate) fn count_gone(voucher: &mut Voucher, programme: &mut Programme, grant: Grant) {
    let (of_voucher, of_programme) = if voucher.state == VoucherState::Revoked {
        (&mut voucher.revoked, &mut programme.revoked)
    } else {
        (&mut voucher.lapsed, &mut programme.lapsed)
    };
    of_voucher.0 += grant.0;
    of_programme.0 += grant.0;
    voucher.assert_whole();
}
