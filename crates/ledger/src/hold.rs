//! Holds and binding quotes: money set aside, all or nothing, with everything pinned that its settlement needs.

use std::sync::Arc;

use crate::eligibility::When;
use crate::journal::EntryKind;
use crate::ledger::{JobCap, KeyState, Ledger};
use crate::price::{PricedLine, WALLTIME_MS_MAX};
use crate::quote::{Leg, LegPin, Plan, QuoteRequest, merged};
use crate::rejection::{Rejection, Subject};
use crate::slice::{Cell, SLICES_MAX, Slice};
use crate::types::{
    Fen, Funding, Grant, HoldId, HoldKey, Line, OrgId, ProgrammeId, QuoteId, RegionCode, SiteId, Stamp, Timestamp,
    VoucherId,
};

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
    /// Where the payer is registered; one that moves later changes nothing here.
    pub payer_region: RegionCode,
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
    /// Caps may make the subsidy smaller.
    pub allow_partial: bool,
    /// What is reserved, with the prices of the beginning.
    pub lines: Arc<[PricedLine]>,
    /// Its time that is not captured yet, in order.
    pub slices: Vec<Slice>,
}

/// An open hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Its natural key.
    pub key: HoldKey,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// The time limit it was asked for with; extensions and covers that end change the one that is pinned.
    pub asked_ms: u64,
    /// The binding quote it took up.
    pub quote: Option<QuoteId>,
    /// The money and the rules.
    pub pinned: Pinned,
    /// What was captured while it is open: months that are over, covers that ended.
    pub cells: Vec<Cell>,
    /// Per cell the slice it was captured of, with what it held then: the report may still say that less was used.
    pub past: Vec<Slice>,
}

/// A binding quote: the money is held before there is a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundQuote {
    /// First instant it cannot be taken up any more.
    pub expires_at: Timestamp,
    /// The money and the rules; nothing is held any more once its cover has ended.
    pub pinned: Pinned,
    /// Why it was given back before its end: it is remembered until then, for who comes to take it up.
    pub ended: Option<CoverEnd>,
}

/// Why vouchers do not pay any more what they were to pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoverEnd {
    /// The voucher was revoked for fraud.
    Fraud(VoucherId),
    /// The programme was revised with immediate effect.
    Revision(ProgrammeId),
    /// Payer and provider came under one controller.
    Affiliation,
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
                let settled = self.captures.get(*capture);
                let hold = settled.expect("a key leads to what is settled under it").hold;
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
        let when = When {
            at: by.at,
            use_from: expires_at,
            offset_ms: 0,
            lenient: false,
        };
        let plan = self.plan(request, None, when)?;
        self.afford_wallet(request, plan.wallet(), Fen::ZERO)?;
        let pinned = self.pin(request, plan);
        self.set_aside(pinned.payer, &pinned.slices);
        let id = QuoteId(self.quotes.next_id());
        self.journal_hold([id.0, expires_at.0, 0, 0], &pinned);
        self.quotes.push(BoundQuote {
            expires_at,
            pinned,
            ended: None,
        });
        self.quote_ends.insert((expires_at, id), ());
        self.write(EntryKind::HoldQuote, by);
        Ok(id)
    }

    /// Gives a binding quote back before its end.
    pub fn release_quote(&mut self, quote: QuoteId, by: impl Into<Stamp>) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        let bound = self
            .bound_quote(quote)
            .ok_or_else(|| Rejection::unknown(Subject::Quote, quote))?;
        if let Some(because) = bound.ended {
            return Err(Rejection::QuoteCoverEnded { quote, because });
        }
        let bound = self.forget_quote(quote);
        self.give_back_quote(quote, &bound.pinned, by);
        Ok(())
    }

    /// What a binding quote holds is given back because its cover has ended. It stays known until its end.
    pub(crate) fn end_quote(&mut self, quote: QuoteId, because: CoverEnd, by: Stamp) {
        let bound = self.quotes.get_mut(quote.0).expect("the caller found it");
        let pinned = bound.pinned.clone();
        bound.pinned.slices.clear();
        bound.ended = Some(because);
        self.give_back_quote(quote, &pinned, by);
    }

    /// Removes the record of a binding quote; what it holds is the caller's to give back.
    pub(crate) fn forget_quote(&mut self, quote: QuoteId) -> BoundQuote {
        let bound = self.quotes.remove(quote.0).expect("the caller found it");
        self.quote_ends.remove(&(bound.expires_at, quote));
        bound
    }

    fn give_back_quote(&mut self, quote: QuoteId, pinned: &Pinned, by: Stamp) {
        self.give_back(pinned.payer, &pinned.slices);
        self.journal.fact(quote.0);
        self.write(EntryKind::ReleaseQuote, by);
    }

    /// Adds time to an open hold after its limit, at the prices and rates of now, with the same lines and funding; gives the new limit.
    pub fn extend(&mut self, id: HoldId, more_ms: u64, by: impl Into<Stamp>) -> Result<u64, Rejection> {
        let by = by.into();
        self.assert_time(by);
        let hold = self.known_hold(id)?;
        let (key, limit) = (hold.key, hold.pinned.walltime_ms_max);
        let room = WALLTIME_MS_MAX - limit;
        if more_ms == 0 || more_ms > room {
            return Err(Rejection::invalid(
                "more_ms",
                more_ms,
                "above 0, and at most 100000000000 ms in all",
            ));
        }
        let end = Timestamp(hold.opened_at.0.saturating_add(limit));
        if end <= by.at {
            return Err(Rejection::HoldOver { hold: id });
        }
        if self.is_swept(id) {
            return Err(Rejection::HoldSwept { hold: id });
        }
        let (request, before) = (rest_of(&hold.pinned, more_ms), hold.wallet_so_far());
        let when = When {
            at: by.at,
            use_from: end,
            offset_ms: limit,
            lenient: false,
        };
        let slices = hold.pinned.slices.len();
        let added = self.plan(&request, Some(key.job), when)?;
        if slices + added.slices.len() > SLICES_MAX {
            return Err(Rejection::invalid(
                "more_ms",
                more_ms,
                "fewer extensions of one hold, each longer",
            ));
        }
        self.afford_wallet(&request, added.wallet(), before)?;
        self.set_aside(request.payer, &added.slices);
        self.count_job(key.job, &added.slices);
        let limit = limit + more_ms;
        self.journal.facts([id.0, limit]);
        self.journal_slices(&added.slices);
        let pinned = &mut self.hold_mut(id).pinned;
        pinned.walltime_ms_max = limit;
        pinned.slices.extend(added.slices);
        self.write(EntryKind::Extend, by);
        Ok(limit)
    }

    fn hold_anew(&mut self, request: &HoldRequest, by: Stamp) -> Result<HoldId, Rejection> {
        let bill = &request.request;
        let when = When {
            at: by.at,
            use_from: by.at,
            offset_ms: 0,
            lenient: false,
        };
        let plan = self.plan(bill, Some(request.key.job), when)?;
        self.afford_wallet(bill, plan.wallet(), Fen::ZERO)?;
        let pinned = self.pin(bill, plan);
        self.set_aside(pinned.payer, &pinned.slices);
        self.count_job(request.key.job, &pinned.slices);
        let id = HoldId(self.holds.next_id());
        let HoldKey { job, task, attempt } = request.key;
        self.journal_hold([id.0, job, u64::from(task), u64::from(attempt)], &pinned);
        self.open(Hold {
            key: request.key,
            opened_at: by.at,
            asked_ms: bill.walltime_ms_max,
            quote: None,
            pinned,
            cells: Vec::new(),
            past: Vec::new(),
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
        if let Some(because) = self.cover_ended(bound) {
            return Err(Rejection::QuoteCoverEnded { quote, because });
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
        let BoundQuote { mut pinned, .. } = self.forget_quote(quote);
        let limit = request.request.walltime_ms_max;
        pinned.walltime_ms_max = limit;
        let within = pinned.slices.partition_point(|slice| slice.from_ms < limit);
        let after = pinned.slices.split_off(within);
        self.give_back(pinned.payer, &after);
        if let Some(last) = pinned.slices.last_mut() {
            last.until_ms = last.until_ms.min(limit);
        }
        self.count_job(request.key.job, &pinned.slices);
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
            asked_ms: request.request.walltime_ms_max,
            quote: Some(quote),
            pinned,
            cells: Vec::new(),
            past: Vec::new(),
        });
        self.write(EntryKind::TakeUpQuote, by);
        Ok(id)
    }

    /// Covers that end under open holds end under a binding quote too: as a whole, since it was a promise of one sum. `None` while it stands.
    pub fn cover_ended(&self, bound: &BoundQuote) -> Option<CoverEnd> {
        if bound.ended.is_some() {
            return bound.ended;
        }
        let pinned = &bound.pinned;
        let group = |org| self.org(org).map(|org| org.group);
        let affiliated = group(pinned.payer) == group(pinned.provider);
        let mut legs = pinned.slices.iter().flat_map(Slice::legs);
        legs.find_map(|(leg, pin)| {
            if self.voucher(leg.voucher).is_some_and(|voucher| voucher.fraud) {
                return Some(CoverEnd::Fraud(leg.voucher));
            }
            if affiliated {
                return Some(CoverEnd::Affiliation);
            }
            let later = self.programme(leg.programme)?.revisions.get(pin.revision as usize..)?;
            let immediate = later.iter().any(|revision| revision.immediate);
            immediate.then_some(CoverEnd::Revision(leg.programme))
        })
    }

    fn same_hold(&self, id: HoldId, request: &HoldRequest) -> Result<HoldId, Rejection> {
        let hold = self.holds.get(id.0).expect("an open key leads to its hold");
        let field = difference(&hold.pinned, &request.request)
            .or((hold.asked_ms != request.request.walltime_ms_max).then_some("walltime_ms_max"))
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
        self.begin_sweeping(hold.opened_at);
        let id = HoldId(self.holds.push(hold));
        self.keys.insert(key, KeyState::Open(id));
    }

    fn pin(&self, request: &QuoteRequest, plan: Plan) -> Pinned {
        Pinned {
            payer: request.payer,
            payer_region: self
                .org(request.payer)
                .expect("the plan found the payer")
                .registered
                .region,
            site: request.site,
            provider: self.site(request.site).expect("the plan found the site").provider,
            walltime_ms_max: request.walltime_ms_max,
            funding: request.funding.clone(),
            copay_max: request.copay_max,
            allow_partial: request.allow_partial,
            lines: plan.lines,
            slices: plan.slices,
        }
    }

    /// Counts slices that are opened in the caps per job.
    pub(crate) fn count_job(&mut self, job: u64, slices: &[Slice]) {
        for (leg, pin) in slices.iter().flat_map(Slice::legs) {
            for cap in job_caps(leg, pin) {
                let mut entry = self.job_use.get(&(job, cap)).copied().unwrap_or_default();
                entry.used += cap.counts(leg.amount, leg.grant);
                entry.records += 1;
                self.job_use.insert((job, cap), entry);
            }
        }
    }

    /// A part of what a leg counts in the job's caps is given back.
    pub(crate) fn uncount_job(&mut self, job: u64, leg: &Leg, pin: &LegPin, (amount, grant): (Fen, Grant)) {
        for cap in job_caps(leg, pin) {
            let counted = self.job_use.get_mut(&(job, cap));
            let entry = counted.expect("counted when the slice was opened");
            entry.used -= cap.counts(amount, grant);
            assert!(entry.used >= 0, "job {job} counts {}", entry.used);
        }
    }

    /// A leg's record leaves: what it used still counts in the job's caps, until the last one goes. Gives the caps that are forgotten with
    /// something counted in them.
    pub(crate) fn forget_job(&mut self, job: u64, leg: &Leg, pin: &LegPin) -> Vec<JobCap> {
        let mut forgotten = Vec::new();
        for cap in job_caps(leg, pin) {
            let counted = self.job_use.get_mut(&(job, cap));
            let entry = counted.expect("counted when the slice was opened");
            entry.records -= 1;
            if entry.records == 0 {
                if entry.used > 0 {
                    forgotten.push(cap);
                }
                self.job_use.remove(&(job, cap));
            }
        }
        forgotten
    }

    pub(crate) fn known_hold(&self, id: HoldId) -> Result<&Hold, Rejection> {
        self.holds.get(id.0).ok_or_else(|| {
            if id.0 > 0 && id.0 < self.holds.next_id() {
                Rejection::HoldEnded { hold: id }
            } else {
                Rejection::unknown(Subject::Hold, id)
            }
        })
    }

    pub(crate) fn hold_mut(&mut self, id: HoldId) -> &mut Hold {
        self.holds.get_mut(id.0).expect("the caller found it")
    }

    // The facts of `EntryKind::Hold`.
    fn journal_hold(&mut self, head: [u64; 4], pinned: &Pinned) {
        let journal = &mut self.journal;
        journal.facts(head);
        let parties = [pinned.payer.0, pinned.site.0, pinned.provider.0];
        journal.facts(parties.map(u64::from));
        journal.facts([pinned.walltime_ms_max, pinned.lines.len() as u64]);
        for priced in pinned.lines.iter() {
            journal.fact(priced.line.milli_units);
            journal.text(priced.line.sku.as_str());
        }
        self.journal_slices(&pinned.slices);
    }

    /// Number of slices and the slices, as [`EntryKind`] says.
    pub(crate) fn journal_slices(&mut self, slices: &[Slice]) {
        let journal = &mut self.journal;
        journal.fact(slices.len() as u64);
        for slice in slices {
            journal.facts([slice.from_ms, slice.until_ms, u64::from(slice.stack_max.0)]);
            journal.facts([slice.gross.0 as u64, slice.wallet.0 as u64]);
            for priced in slice.lines.iter() {
                journal.facts([priced.millifen_per_unit_hour, u64::from(priced.price_version)]);
            }
            journal.fact(slice.legs.len() as u64);
            for (leg, pin) in slice.legs() {
                journal.facts([leg.voucher.0, u64::from(leg.programme.0), u64::from(pin.revision)]);
                journal.facts([u64::from(leg.agreement.0), u64::from(pin.agreement_version)]);
                journal.facts([leg.redemption as u64, u64::from(pin.year), pin.cover_ms]);
                journal.facts([leg.amount.0 as u64, leg.grant.0 as u64]);
                journal.facts(pin.rates.iter().map(|rate| u64::from(rate.0)));
            }
        }
    }
}

impl Pinned {
    /// What it holds in the wallet.
    pub fn wallet(&self) -> Fen {
        Fen(self.slices.iter().map(|slice| slice.wallet.0).sum())
    }

    /// What it holds on each voucher.
    pub fn legs(&self) -> Vec<Leg> {
        merged(self.slices.iter().flat_map(|slice| &slice.legs))
    }

    /// List price of all that it still pays for.
    pub fn gross(&self) -> Fen {
        Fen(self.slices.iter().map(|slice| slice.gross.0).sum())
    }
}

impl Hold {
    /// What the wallet has paid for it and holds for it still.
    pub(crate) fn wallet_so_far(&self) -> Fen {
        Fen(self.past_wallet().0 + self.pinned.wallet().0)
    }

    /// What the wallet has paid, and holds still, of what was captured.
    pub(crate) fn past_wallet(&self) -> Fen {
        Fen(self.past.iter().map(|slice| slice.wallet.0).sum())
    }
}

/// The bill of a hold for another time.
pub(crate) fn rest_of(pinned: &Pinned, span_ms: u64) -> QuoteRequest {
    QuoteRequest {
        payer: pinned.payer,
        site: pinned.site,
        lines: pinned.lines.iter().map(|priced| priced.line.clone()).collect(),
        walltime_ms_max: span_ms,
        funding: pinned.funding.clone(),
        copay_max: pinned.copay_max,
        allow_partial: pinned.allow_partial,
        job: None,
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
    } else if pinned.allow_partial != request.allow_partial {
        Some("allow_partial")
    } else {
        None
    }
}
