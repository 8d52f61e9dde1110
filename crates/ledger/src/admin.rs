//! Administration: organisations, wallets, sites, prices, programmes and agreements.

use std::sync::Arc;

use crate::account::Account;
use crate::agreement::{Agreement, NewAgreement, check_agreement};
use crate::journal::EntryKind;
use crate::ledger::Ledger;
use crate::party::{Group, NewOrg, Org, Site, check_amount, check_grant, check_org, check_region, check_text};
use crate::price::{PriceSheets, check_sheet};
use crate::programme::{
    BudgetPolicy, Denomination, NewProgramme, Programme, Redemption, Revision, Terms, check_programme, check_terms,
    check_terms_of,
};
use crate::rejection::{Rejection, Subject};
use crate::sweep::Cause;
use crate::types::{
    AgreementId, Fen, Few, Grant, GroupId, OrgId, ProgrammeId, RegionCode, SiteId, Sku, Stamp, Timestamp,
};

/// How far ahead a revision may be planned: what lies further is a slip of the pen.
const REVISION_AHEAD_MS_MAX: u64 = 5 * 366 * 86_400_000;

// All money that is ever in the books at once stays under this, so that no balance can overflow.
const BOOKS_MAX: i128 = 4_000_000_000_000_000_000;

impl Ledger {
    /// A new organisation with an empty wallet.
    pub fn create_org(&mut self, new: &NewOrg, by: impl Into<Stamp>) -> Result<OrgId, Rejection> {
        let by = by.into();
        self.assert_time(by);
        check_org(new)?;
        if self.org_names.contains_key(&*new.name) {
            return Err(Rejection::NameTaken {
                field: "name",
                name: new.name.clone(),
            });
        }
        let code = &*new.credit_code;
        let same = |org: &Org| org.registered.credit_code.eq_ignore_ascii_case(code);
        if !code.is_empty() && self.orgs.iter().any(|(_, org)| same(org)) {
            return Err(Rejection::NameTaken {
                field: "credit_code",
                name: code.into(),
            });
        }
        let id = u32::try_from(self.orgs.next_id());
        let id = OrgId(id.map_err(|_| Rejection::invalid("name", &new.name, "no more organisations"))?);
        let mut registered = new.clone();
        if registered.control_group.is_empty() {
            registered.control_group = registered.name.clone();
        }
        let group = self.join_group(&registered.control_group);
        self.org_names.insert(Arc::from(&*registered.name), id);
        self.journal.facts([
            u64::from(id.0),
            registered.kind as u64,
            u64::from(registered.region.0),
            u64::from(group.0),
        ]);
        self.journal.text(&registered.name);
        self.journal.text(&registered.control_group);
        self.journal.text(&registered.credit_code);
        let zero = Fen::ZERO;
        self.orgs.push(Org {
            id,
            registered,
            group,
            available: zero,
            held: zero,
            topped_up: zero,
            withdrawn: zero,
            spent: zero,
            receivable: zero,
            claim: zero,
            owes: zero,
            vouchers: Few::new(),
        });
        self.write(EntryKind::CreateOrg, by);
        Ok(id)
    }

    /// An organisation moved, or came under another controller (`None` = as it was). Open holds keep what they have, except that nobody is
    /// subsidised at an affiliated provider: such covers end now.
    pub fn update_org(
        &mut self,
        id: OrgId,
        region: Option<RegionCode>,
        control_group: Option<&str>,
        by: impl Into<Stamp>,
    ) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        let mut registered = self.known_org(id)?.registered.clone();
        registered.region = region.unwrap_or(registered.region);
        if let Some(control_group) = control_group {
            registered.control_group = control_group.into();
        }
        check_org(&registered)?;
        if registered.control_group.is_empty() {
            registered.control_group = registered.name.clone();
        }
        let group = self.join_group(&registered.control_group);
        let facts = [u64::from(id.0), u64::from(registered.region.0), u64::from(group.0)];
        self.journal.facts(facts);
        self.journal.text(&registered.control_group);
        let org = self.org_mut(id);
        if org.group != group {
            org.group = group;
            self.sweep(Cause::Org(id), by.at);
        }
        self.org_mut(id).registered = registered;
        self.write(EntryKind::UpdateOrg, by);
        Ok(())
    }

    // A group gets its number with its first member and keeps it, so that nobody leaves what a cap has counted behind by going away and
    // coming back.
    fn join_group(&mut self, control_group: &str) -> GroupId {
        if let Some(group) = self.group_names.get(control_group) {
            return *group;
        }
        let name: Arc<str> = control_group.into();
        let group = GroupId(self.groups.next_id() as u32);
        self.group_names.insert(name.clone(), group);
        self.groups.push(Group { name, uses: Few::new() });
        group
    }

    /// Money comes in.
    pub fn credit_wallet(
        &mut self,
        org: OrgId,
        amount: Fen,
        reference: &str,
        by: impl Into<Stamp>,
    ) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        let topped_up = self.known_org(org)?.topped_up;
        check_amount("amount", amount)?;
        check_text("reference", reference)?;
        self.check_room("amount", amount.0)?;
        if i128::from(topped_up.0) + i128::from(amount.0) > BOOKS_MAX {
            return Err(Rejection::invalid(
                "amount",
                amount,
                "less: this wallet was filled too often",
            ));
        }
        self.org_mut(org).topped_up.0 += amount.0;
        self.post(Account::Treasury, Account::Wallet(org), amount);
        self.journal.fact(org.0);
        self.journal.text(reference);
        self.write(EntryKind::TopUp, by);
        Ok(())
    }

    /// Money goes out; only what is free.
    pub fn withdraw(
        &mut self,
        org: OrgId,
        amount: Fen,
        reference: &str,
        by: impl Into<Stamp>,
    ) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        let available = self.known_org(org)?.available;
        check_amount("amount", amount)?;
        check_text("reference", reference)?;
        if available < amount {
            return Err(Rejection::InsufficientFunds {
                org,
                needed: amount,
                available,
            });
        }
        self.check_withdrawal(org, amount)?;
        self.org_mut(org).withdrawn.0 += amount.0;
        self.post(Account::Wallet(org), Account::Treasury, amount);
        self.journal.fact(org.0);
        self.journal.text(reference);
        self.write(EntryKind::Withdraw, by);
        Ok(())
    }

    /// A site whose use is credited to `provider`. The id is the caller's.
    pub fn register_site(
        &mut self,
        site: SiteId,
        region: RegionCode,
        provider: OrgId,
        by: impl Into<Stamp>,
    ) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        check_region("region", region)?;
        self.known_org(provider)?;
        if self.sites.contains_key(&site) {
            return Err(Rejection::NameTaken {
                field: "site",
                name: site.to_string().into(),
            });
        }
        self.sites.insert(
            site,
            Site {
                region,
                provider,
                prices: PriceSheets::default(),
            },
        );
        self.journal
            .facts([u64::from(site.0), u64::from(region.0), u64::from(provider.0)]);
        self.write(EntryKind::RegisterSite, by);
        Ok(())
    }

    /// A new price sheet, in force from `effective_from` (`None` = now; never in the past). Classes it does not name keep their prices.
    /// Returns its version.
    pub fn set_prices(
        &mut self,
        site: SiteId,
        prices: &[(Sku, u64)],
        effective_from: Option<Timestamp>,
        by: impl Into<Stamp>,
    ) -> Result<u32, Rejection> {
        let by = by.into();
        self.assert_time(by);
        self.known_site(site)?;
        check_sheet(prices)?;
        let effective_from = self.check_not_past("effective_from", effective_from, by)?;
        let sheets = &mut self.sites.get_mut(&site).expect("found above").prices;
        let version = sheets.append(prices, effective_from);
        self.journal
            .facts([u64::from(site.0), u64::from(version), effective_from.0]);
        for (sku, price) in prices {
            self.journal.fact(*price);
            self.journal.text(sku.as_str());
        }
        self.write(EntryKind::SetPrices, by);
        Ok(version)
    }

    /// A new programme with its budget.
    pub fn create_programme(&mut self, new: &NewProgramme, by: impl Into<Stamp>) -> Result<ProgrammeId, Rejection> {
        let by = by.into();
        self.assert_time(by);
        check_programme(new)?;
        if self.programme_names.contains_key(&*new.name) {
            return Err(Rejection::NameTaken {
                field: "name",
                name: new.name.clone(),
            });
        }
        self.check_room("budget", new.budget.0)?;
        // The owner of a funder's account is a 28-bit number in the journal.
        let id = u32::try_from(self.programmes.next_id()).ok().filter(|id| *id < 1 << 28);
        let id = ProgrammeId(id.ok_or_else(|| Rejection::invalid("name", &new.name, "no more programmes"))?);
        let zero = Grant::ZERO;
        self.programmes.push(Programme {
            id,
            name: new.name.clone(),
            region: new.region,
            funders: new.funders.clone(),
            denomination: new.denomination.clone(),
            fiscal_year: new.fiscal_year,
            budget_policy: new.budget_policy,
            redemption: new.redemption,
            revisions: vec![Revision {
                effective_from: by.at,
                immediate: false,
                replaced: false,
                terms: new.terms.clone(),
            }],
            budget: new.budget,
            uncommitted: zero,
            unfunded: zero,
            uncalled: zero,
            due: vec![Fen::ZERO; new.funders.len()],
            recovery: Fen::ZERO,
            paid: Fen::ZERO,
            issued: zero,
            held: zero,
            captured: zero,
            lapsed: zero,
            revoked: zero,
        });
        self.programme_names.insert(Arc::from(&*new.name), id);
        let units = self.grants_units(id);
        self.grant(units, Account::Uncalled(id), Account::Budget(id), new.budget);
        let at_hold = u64::from(new.budget_policy == BudgetPolicy::CommitAtHold);
        let by_holder = u64::from(new.redemption == Redemption::Holder);
        let year = u64::from(new.fiscal_year.unwrap_or(0));
        let what = [u64::from(id.0), u64::from(new.region.0), new.budget.0 as u64];
        self.journal.facts(what.into_iter().chain([at_hold, by_holder, year]));
        let denomination = match &new.denomination {
            Denomination::Money => "",
            Denomination::UnitHours(sku) => sku.as_str(),
        };
        for text in [&new.name, denomination, &new.terms.to_string()] {
            self.journal.text(text);
        }
        for funder in &new.funders {
            self.journal.fact(funder.share);
            self.journal.text(&funder.name);
        }
        self.write(EntryKind::CreateProgramme, by);
        Ok(id)
    }

    /// New terms from `effective_from` on (`None` = now; never in the past, and a planned one before its terms end). What was planned for then
    /// or later is replaced by them: nothing was held under it. New quotes and holds are judged by them; open holds keep theirs, unless the
    /// revision is immediate: then it is in force now, the covers of open holds end, and what remains of them is paid anew. Returns the
    /// revision's number.
    pub fn revise_programme(
        &mut self,
        programme: ProgrammeId,
        terms: &Terms,
        effective_from: Option<Timestamp>,
        immediate: bool,
        by: impl Into<Stamp>,
    ) -> Result<u32, Rejection> {
        let by = by.into();
        self.assert_time(by);
        let known = self.known_programme(programme)?;
        check_terms(terms)?;
        check_terms_of(terms, &known.denomination, known.fiscal_year)?;
        let effective_from = self.check_not_past("effective_from", effective_from, by)?;
        if immediate && effective_from != by.at {
            return Err(Rejection::invalid(
                "effective_from",
                effective_from,
                "now, for an immediate revision",
            ));
        }
        let after_end = effective_from > by.at && effective_from >= terms.until;
        if after_end || effective_from.0 - by.at.0 > REVISION_AHEAD_MS_MAX {
            return Err(Rejection::invalid(
                "effective_from",
                effective_from,
                "before the programme's end, and within five years from now",
            ));
        }
        let revisions = &mut self.programme_mut(programme).revisions;
        for planned in revisions
            .iter_mut()
            .rev()
            .take_while(|planned| planned.effective_from > by.at)
        {
            planned.replaced |= planned.effective_from >= effective_from;
        }
        revisions.push(Revision {
            effective_from,
            immediate,
            replaced: false,
            terms: terms.clone(),
        });
        let number = revisions.len() as u32;
        if immediate {
            self.sweep(Cause::Programme(programme, number), by.at);
        }
        let what = [u64::from(programme.0), u64::from(number), effective_from.0];
        self.journal.facts(what.into_iter().chain([u64::from(immediate)]));
        self.journal.text(&terms.to_string());
        self.write(EntryKind::ReviseProgramme, by);
        Ok(number)
    }

    /// Raises or lowers a budget, not below what is committed.
    pub fn set_budget(&mut self, programme: ProgrammeId, budget: Grant, by: impl Into<Stamp>) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        let known = self.known_programme(programme)?;
        check_grant("budget", budget)?;
        let committed = Grant(known.budget.0 - known.uncommitted.0);
        if budget < committed {
            return Err(Rejection::BudgetCommitted {
                programme,
                needed: budget,
                committed,
                unit_hours: known.unit_hours_of().is_some(),
            });
        }
        let more = budget.0 - known.budget.0;
        self.check_room("budget", more.max(0))?;
        let (units, granted) = (self.grants_units(programme), Account::Uncalled(programme));
        if more > 0 {
            self.grant(units, granted, Account::Budget(programme), Grant(more));
        } else {
            self.grant(units, Account::Budget(programme), granted, Grant(-more));
        }
        self.programme_mut(programme).budget = budget;
        self.journal.facts([u64::from(programme.0), budget.0 as u64]);
        self.write(EntryKind::SetBudget, by);
        Ok(())
    }

    /// A new agreement. Where it overlaps an earlier one it counts instead of it.
    pub fn create_agreement(&mut self, new: &NewAgreement, by: impl Into<Stamp>) -> Result<AgreementId, Rejection> {
        let by = by.into();
        self.assert_time(by);
        check_agreement(new)?;
        for site in &new.sites {
            if self.known_site(*site)?.region == new.issuer_region {
                return Err(Rejection::invalid("sites", site, "sites outside the issuer's region"));
            }
        }
        let same_scope = |earlier: &Agreement| {
            let agreed = &earlier.agreed;
            (agreed.issuer_region, agreed.provider_region, &agreed.sites)
                == (new.issuer_region, new.provider_region, &new.sites)
        };
        let version = 1 + self
            .agreements
            .iter()
            .filter(|(_, earlier)| same_scope(earlier))
            .count() as u32;
        let id =
            u32::try_from(self.agreements.next_id()).map_err(|_| Rejection::invalid("id", "", "no more agreements"))?;
        let id = AgreementId(id);
        self.agreements.push(Agreement {
            id,
            version,
            agreed: new.clone(),
        });
        let region = |region: Option<RegionCode>| u64::from(region.unwrap_or_default().0);
        let cap = new.cap_per_job.map_or(0, |cap| cap.0 as u64);
        self.journal.facts([u64::from(id.0), u64::from(version)]);
        self.journal
            .facts([region(Some(new.issuer_region)), region(new.provider_region)]);
        self.journal
            .facts([u64::from(new.rate.0), cap, new.from.0, new.until.0]);
        self.journal.facts(new.sites.iter().map(|site| u64::from(site.0)));
        for sku in &new.skus {
            self.journal.text(sku.as_str());
        }
        self.write(EntryKind::CreateAgreement, by);
        Ok(id)
    }

    /// Ends an agreement at an instant (`None` = now; never in the past) before its own end. Open holds keep it.
    pub fn end_agreement(
        &mut self,
        agreement: AgreementId,
        end: Option<Timestamp>,
        by: impl Into<Stamp>,
    ) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        let known = self
            .agreement(agreement)
            .ok_or_else(|| Rejection::unknown(Subject::Agreement, agreement))?;
        let end = self.check_not_past("at", end, by)?;
        if known.agreed.until <= by.at {
            return Err(Rejection::AgreementEnded { agreement });
        }
        if end > known.agreed.until {
            return Err(Rejection::invalid("at", end, "not after the agreement's own end"));
        }
        let known = self.agreements.get_mut(u64::from(agreement.0)).expect("found above");
        known.agreed.until = end;
        self.journal.facts([u64::from(agreement.0), end.0]);
        self.write(EntryKind::EndAgreement, by);
        Ok(())
    }

    pub(crate) fn check_room(&self, field: &'static str, amount: i64) -> Result<(), Rejection> {
        let sides = self.journal.totals.sides();
        if sides.iter().any(|(debits, _)| debits + i128::from(amount) > BOOKS_MAX) {
            return Err(Rejection::invalid(
                field,
                amount,
                "less: the books as a whole would overflow",
            ));
        }
        Ok(())
    }

    fn check_not_past(&self, field: &'static str, given: Option<Timestamp>, by: Stamp) -> Result<Timestamp, Rejection> {
        let instant = given.unwrap_or(by.at);
        if instant < by.at || instant > Timestamp::FAR {
            return Err(Rejection::invalid(field, instant, "an instant not in the past"));
        }
        Ok(instant)
    }
}
