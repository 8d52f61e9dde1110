//! Holds and binding quotes: money set aside, all or nothing, with everything pinned that its settlement needs.

use crate::account::Account;
use crate::journal::EntryKind;
use crate::ledger::{JobCap, KeyState, Ledger};
use crate::price::PricedLine;
use crate::programme::BudgetPolicy;
use crate::quote::{Leg, LegPin, Plan, QuoteRequest};
use crate::rejection::{Rejection, Subject};
use crate::types::{BasisPoints, Fen, Funding, HoldId, HoldKey, Line, OrgId, QuoteId, SiteId, Stamp, Timestamp};

/// The longest life of a binding quote: 24 hours.
pub const QUOTE_VALID_MS_MAX: u64 = 86_400_000;

/// A hold to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldRequest {
    /// Its natural key.
    pub key: HoldKey,
    /// The bill; its `job` is not read, the key's is.
    pub request: QuoteRequest,
    /// A binding quote to take up instead of making a new one.
    pub quote: Option<QuoteId>,
}

/// Money set aside for a bill and what is pinned with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// Who pays.
    pub payer: OrgId,
    /// Where it runs.
    pub site: SiteId,
    /// Who is credited.
    pub provider: OrgId,
    /// Longest time it is sized for.
    pub walltime_ms_max: u64,
    /// What the payer asked for.
    pub funding: Funding,
    /// What the payer allows.
    pub copay_max: Option<Fen>,
    /// Prices.
    pub lines: Vec<PricedLine>,
    /// Held on each voucher.
    pub legs: Vec<Leg>,
    /// Rules of each leg.
    pub pins: Vec<LegPin>,
    /// All legs together pay at most this part of the list price.
    pub stack_max: BasisPoints,
    /// List price at the limit.
    pub gross: Fen,
    /// Held in the wallet.
    pub wallet: Fen,
}

/// An open hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Its natural key.
    pub key: HoldKey,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// The binding quote it took up.
    pub quote: Option<QuoteId>,
    /// The money and the rules.
    pub pinned: Pinned,
}

/// A binding quote: the money is held before there is a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundQuote {
    /// First instant it cannot be taken up any more.
    pub expires_at: Timestamp,
    /// The money and the rules.
    pub pinned: Pinned,
}

impl Ledger {
    /// Sets aside everything the bill can cost at its limit, on vouchers and in the wallet, all or nothing.
    ///
    /// The same key with the same payload gives the hold that is already open; with another payload it is refused.
    pub fn hold(&mut self, request: &HoldRequest, by: impl Into<Stamp>) -> Result<HoldId, Rejection> {
        let by = by.into();
        self.assert_time(by);
        match self.keys.get(&request.key) {
            Some(KeyState::Open(hold)) => return self.same_hold(*hold, request),
            Some(KeyState::Ended(capture)) => {
                let hold = self
                    .captures
                    .get(*capture)
                    .expect("a key leads to its capture")
                    .receipt
                    .hold;
                return Err(Rejection::HoldEnded { hold });
            }
            None => {}
        }
        match request.quote {
            Some(quote) => self.take_up(request, quote, by),
            None => self.hold_anew(request, by),
        }
    }

    /// Sets the money aside before there is a job, until `expires_at`. Prices and rates are those of now; covers are counted
    /// from `expires_at`, the latest beginning.
    pub fn hold_quote(
        &mut self,
        request: &QuoteRequest,
        expires_at: Timestamp,
        by: impl Into<Stamp>,
    ) -> Result<QuoteId, Rejection> {
        let by = by.into();
        self.assert_time(by);
        if expires_at <= by.at || expires_at.0 - by.at.0 > QUOTE_VALID_MS_MAX {
            return Err(Rejection::invalid("expires_at", expires_at, "up to 24 hours from now"));
        }
        let plan = self.plan(request, None, by.at, expires_at)?;
        self.afford(request, &plan.quote)?;
        let pinned = self.set_aside(request, plan);
        let id = QuoteId(self.quotes.next_id());
        self.journal_hold([id.0, expires_at.0, 0, 0], &pinned);
        self.quotes.push(BoundQuote { expires_at, pinned });
        self.quote_ends.insert((expires_at, id), ());
        self.write(EntryKind::HoldQuote, by);
        Ok(id)
    }

    /// Gives a binding quote back before its end.
    pub fn release_quote(&mut self, quote: QuoteId, by: impl Into<Stamp>) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        let bound = self
            .quotes
            .remove(quote.0)
            .ok_or_else(|| Rejection::unknown(Subject::Quote, quote))?;
        self.quote_ends.remove(&(bound.expires_at, quote));
        self.give_back(&bound.pinned);
        self.journal.fact(quote.0);
        self.write(EntryKind::ReleaseQuote, by);
        Ok(())
    }

    fn hold_anew(&mut self, request: &HoldRequest, by: Stamp) -> Result<HoldId, Rejection> {
        let bill = &request.request;
        let plan = self.plan(bill, Some(request.key.job), by.at, by.at)?;
        self.afford(bill, &plan.quote)?;
        let pinned = self.set_aside(bill, plan);
        self.count_job(request.key.job, &pinned);
        let id = HoldId(self.holds.next_id());
        let HoldKey { job, task, attempt } = request.key;
        self.journal_hold([id.0, job, u64::from(task), u64::from(attempt)], &pinned);
        self.open(Hold {
            key: request.key,
            opened_at: by.at,
            quote: None,
            pinned,
        });
        self.write(EntryKind::Hold, by);
        Ok(id)
    }

    fn take_up(&mut self, request: &HoldRequest, quote: QuoteId, by: Stamp) -> Result<HoldId, Rejection> {
        let bound = self
            .quotes
            .get(quote.0)
            .ok_or_else(|| Rejection::unknown(Subject::Quote, quote))?;
        if bound.expires_at <= by.at {
            return Err(Rejection::QuoteExpired {
                quote,
                expires_at: bound.expires_at,
            });
        }
        if request.request.walltime_ms_max == 0 || request.request.walltime_ms_max > bound.pinned.walltime_ms_max {
            return Err(Rejection::QuoteMismatch {
                quote,
                field: "walltime_ms_max",
            });
        }
        if let Some(field) = difference(&bound.pinned, &request.request) {
            return Err(Rejection::QuoteMismatch { quote, field });
        }
        let BoundQuote { expires_at, mut pinned } = self.quotes.remove(quote.0).expect("found above");
        self.quote_ends.remove(&(expires_at, quote));
        pinned.walltime_ms_max = request.request.walltime_ms_max;
        self.count_job(request.key.job, &pinned);
        let id = HoldId(self.holds.next_id());
        let HoldKey { job, task, attempt } = request.key;
        self.journal.facts([
            id.0,
            job,
            u64::from(task),
            u64::from(attempt),
            quote.0,
            pinned.walltime_ms_max,
        ]);
        self.open(Hold {
            key: request.key,
            opened_at: by.at,
            quote: Some(quote),
            pinned,
        });
        self.write(EntryKind::TakeUpQuote, by);
        Ok(id)
    }

    fn same_hold(&self, id: HoldId, request: &HoldRequest) -> Result<HoldId, Rejection> {
        let hold = self.holds.get(id.0).expect("an open key leads to its hold");
        let field = difference(&hold.pinned, &request.request)
            .or((hold.pinned.walltime_ms_max != request.request.walltime_ms_max).then_some("walltime_ms_max"))
            .or((hold.quote != request.quote).then_some("quote"));
        match field {
            Some(field) => Err(Rejection::KeyReused {
                key: request.key,
                field,
            }),
            None => Ok(id),
        }
    }

    fn open(&mut self, hold: Hold) {
        let key = hold.key;
        let id = HoldId(self.holds.push(hold));
        self.keys.insert(key, KeyState::Open(id));
    }

    // Nothing can fail from here on: everything was checked by the plan.
    fn set_aside(&mut self, request: &QuoteRequest, plan: Plan) -> Pinned {
        let Plan { quote, pins, stack_max } = plan;
        for (leg, pin) in quote.legs.iter().zip(&pins) {
            self.post(
                Account::Voucher(leg.voucher),
                Account::VoucherHeld(leg.voucher),
                leg.amount,
            );
            let programme = self.programme_mut(leg.programme);
            programme.held.0 += leg.amount.0;
            if programme.budget_policy == BudgetPolicy::CommitAtHold {
                self.post(
                    Account::Budget(leg.programme),
                    Account::Unfunded(leg.programme),
                    leg.amount,
                );
            }
            self.change_group_use(leg, pin, leg.amount.0);
        }
        self.post(
            Account::Wallet(request.payer),
            Account::WalletHeld(request.payer),
            quote.wallet,
        );
        Pinned {
            payer: request.payer,
            site: request.site,
            provider: self.site(request.site).expect("the plan found the site").provider,
            walltime_ms_max: request.walltime_ms_max,
            funding: request.funding.clone(),
            copay_max: request.copay_max,
            lines: quote.lines,
            legs: quote.legs,
            pins,
            stack_max,
            gross: quote.gross,
            wallet: quote.wallet,
        }
    }

    /// Releases everything that is held for a bill.
    pub(crate) fn give_back(&mut self, pinned: &Pinned) {
        for (leg, pin) in pinned.legs.iter().zip(&pinned.pins) {
            self.release_leg(leg, leg.amount);
            self.programme_mut(leg.programme).held.0 -= leg.amount.0;
            self.change_group_use(leg, pin, -leg.amount.0);
            self.retire_when_spent(leg.voucher);
        }
        self.post(
            Account::WalletHeld(pinned.payer),
            Account::Wallet(pinned.payer),
            pinned.wallet,
        );
    }

    /// Gives an amount held on a voucher back: to the voucher while it lives, else to where the voucher's rest went.
    pub(crate) fn release_leg(&mut self, leg: &Leg, amount: Fen) {
        use crate::voucher::VoucherState::{Expired, Revoked};
        if amount == Fen::ZERO {
            return;
        }
        let held = Account::VoucherHeld(leg.voucher);
        let state = self.voucher(leg.voucher).expect("vouchers are never removed").state;
        if matches!(state, Expired | Revoked) {
            // What was held is committed under either policy, so it goes to the budget and not to where free money came from.
            self.post(held, Account::Budget(leg.programme), amount);
            self.count_gone(leg.voucher, amount);
            return;
        }
        self.post(held, Account::Voucher(leg.voucher), amount);
        if self.free_source(leg.programme) == Account::Unfunded(leg.programme) {
            self.post(Account::Unfunded(leg.programme), Account::Budget(leg.programme), amount);
        }
    }

    pub(crate) fn change_group_use(&mut self, leg: &Leg, pin: &LegPin, by: i64) {
        let key = (leg.programme, pin.group, pin.year);
        let used = self.group_use.get(&key).copied().unwrap_or_default().0 + by;
        assert!(
            used >= 0,
            "programme {} counts {used} fen for group {}",
            leg.programme,
            pin.group
        );
        match self.group_use.get_mut(&key) {
            Some(slot) => *slot = Fen(used),
            None => drop(self.group_use.insert(key, Fen(used))),
        }
    }

    fn count_job(&mut self, job: u64, pinned: &Pinned) {
        for (leg, pin) in pinned.legs.iter().zip(&pinned.pins) {
            for cap in job_caps(leg, pin) {
                let mut entry = self.job_use.get(&(job, cap)).copied().unwrap_or_default();
                entry.used.0 += leg.amount.0;
                entry.records += 1;
                self.job_use.insert((job, cap), entry);
            }
        }
    }

    pub(crate) fn change_job_use(&mut self, job: u64, leg: &Leg, pin: &LegPin, by: i64) {
        for cap in job_caps(leg, pin) {
            let entry = self
                .job_use
                .get_mut(&(job, cap))
                .expect("counted when the hold was opened");
            entry.used.0 += by;
            assert!(entry.used >= Fen::ZERO, "job {job} counts {} fen", entry.used);
        }
    }

    /// A capture of the job left the window: what it used still counts in the job's caps, until the last one goes.
    pub(crate) fn forget_job(&mut self, job: u64, leg: &Leg, pin: &LegPin) {
        for cap in job_caps(leg, pin) {
            let entry = self
                .job_use
                .get_mut(&(job, cap))
                .expect("counted when the hold was opened");
            entry.records -= 1;
            if entry.records == 0 {
                self.job_use.remove(&(job, cap));
            }
        }
    }

    // The facts of `EntryKind::Hold`.
    fn journal_hold(&mut self, head: [u64; 4], pinned: &Pinned) {
        let journal = &mut self.journal;
        journal.facts(head);
        journal.facts([
            u64::from(pinned.payer.0),
            u64::from(pinned.site.0),
            u64::from(pinned.provider.0),
        ]);
        journal.facts([
            pinned.walltime_ms_max,
            u64::from(pinned.stack_max.0),
            pinned.gross.0 as u64,
            pinned.wallet.0 as u64,
        ]);
        journal.fact(pinned.lines.len() as u64);
        for priced in &pinned.lines {
            journal.facts([
                priced.line.milli_units,
                priced.millifen_per_unit_hour,
                u64::from(priced.price_version),
            ]);
            journal.text(priced.line.sku.as_str());
        }
        for (leg, pin) in pinned.legs.iter().zip(&pinned.pins) {
            journal.facts([leg.voucher.0, u64::from(leg.programme.0), u64::from(pin.revision)]);
            journal.facts([
                u64::from(leg.agreement.0),
                u64::from(pin.agreement_version),
                leg.redemption as u64,
            ]);
            journal.facts([u64::from(pin.year), pin.cover_ms, leg.amount.0 as u64]);
            journal.facts(pin.rates.iter().map(|rate| u64::from(rate.0)));
        }
    }
}

pub(crate) fn job_caps(leg: &Leg, pin: &LegPin) -> impl Iterator<Item = JobCap> {
    let programme = pin.programme_job_cap.then_some(JobCap::Programme(leg.programme));
    let agreement = pin.agreement_job_cap.then_some(JobCap::Agreement(leg.agreement));
    programme.into_iter().chain(agreement)
}

// The first field in which a request differs from what was pinned, the time limit aside.
fn difference(pinned: &Pinned, request: &QuoteRequest) -> Option<&'static str> {
    let same_lines = || {
        pinned
            .lines
            .iter()
            .map(|priced| &priced.line)
            .eq(request.lines.iter() as std::slice::Iter<'_, Line>)
    };
    if pinned.payer != request.payer {
        Some("payer")
    } else if pinned.site != request.site {
        Some("site")
    } else if !same_lines() {
        Some("lines")
    } else if pinned.funding != request.funding {
        Some("funding")
    } else if pinned.copay_max != request.copay_max {
        Some("copay_max")
    } else {
        None
    }
}
