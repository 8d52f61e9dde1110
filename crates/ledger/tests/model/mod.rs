//! A small world to run random commands in, a fold of the journal, and a naive second opinion on subsidies that shares no code
//! with the ledger: it tries every set of programmes and writes the bounds down one by one.

use std::collections::BTreeMap;

use hesuan_ledger::types::{
    AgreementId, BasisPoints, Fen, Funding, Grant, HoldId, Line, OrgId, ProgrammeId, QuoteId, RegionCode, SiteId,
    Timestamp, VoucherId,
};
use hesuan_ledger::{
    Account, BudgetPolicy, CaptureWindow, Funder, HoldRequest, Ledger, Leg, LegPin, NewAgreement, NewOrg, NewProgramme,
    NewVoucher, OrgKind, QuoteRequest, Rate, Redemption, Rejection, Slice, Stacking, Terms, VoucherState,
};

const HOUR: u64 = 3_600_000;
// 2026-12-28 00:00 in Shanghai: the turn of the year comes by in most runs.
const START: Timestamp = Timestamp(1_798_387_200_000);
const YEAR_END: u64 = 1_798_732_800_000;
const HOME: RegionCode = RegionCode(310_117);
const ABROAD: RegionCode = RegionCode(330_100);
const FAR_AWAY: RegionCode = RegionCode(340_100);

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) ledger: Ledger,
    pub(crate) at: Timestamp,
    pub(crate) quotes: Vec<(QuoteId, QuoteRequest)>,
    codes: u32,
    keeps_captures: bool,
}

impl World {
    /// Three sites (at home, in a region that recognises, in one that does not), three holders (two under one controller) and
    /// five programmes whose terms come from the seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut ledger = Ledger::new();
        let org = |name: &str, kind, region, group: &str| NewOrg {
            name: name.into(),
            kind,
            region,
            control_group: group.into(),
            credit_code: "".into(),
        };
        let orgs = [
            org("provider", OrgKind::Provider, HOME, ""),
            org("first", OrgKind::Enterprise, HOME, "pair"),
            org("second", OrgKind::Lab, HOME, "pair"),
            org("third", OrgKind::Enterprise, ABROAD, ""),
        ];
        for org in &orgs {
            ledger.create_org(org, START).expect("well formed");
        }
        for holder in 2..=4 {
            ledger
                .credit_wallet(OrgId(holder), Fen(3_000), "", START)
                .expect("well formed");
        }
        for (site, region) in [(1, HOME), (2, ABROAD), (3, FAR_AWAY)] {
            ledger
                .register_site(SiteId(site), region, OrgId(1), START)
                .expect("well formed");
            let prices = [
                ("cpu".into(), 1_000 + 333 * u64::from(site)),
                ("gpu/a800".into(), 17_777),
                ("storage".into(), 100),
            ];
            ledger
                .set_prices(SiteId(site), &prices, None, START)
                .expect("well formed");
        }
        for index in 0..5u32 {
            let dice = seed.rotate_left(index * 11);
            let new = NewProgramme {
                name: format!("programme {index}").into(),
                region: if dice & 1 == 0 { HOME } else { ABROAD },
                funders: (0..1 + (dice >> 1) % 3)
                    .map(|n| Funder {
                        name: format!("funder {n}").into(),
                        share: 1 + n as u32 * 2,
                    })
                    .collect(),
                budget: Grant(500 + (dice >> 3) as i64 % 20_000),
                budget_policy: if dice >> 17 & 1 == 0 {
                    BudgetPolicy::CommitAtIssue
                } else {
                    BudgetPolicy::CommitAtHold
                },
                redemption: if dice >> 18 & 3 == 0 {
                    Redemption::Holder
                } else {
                    Redemption::Provider
                },
                terms: terms(dice >> 20),
                ..NewProgramme::default()
            };
            ledger.create_programme(&new, START).expect("well formed");
        }
        for (issuer_region, provider_region, rate) in [(HOME, ABROAD, 2_500), (ABROAD, HOME, 9_000)] {
            let new = NewAgreement {
                issuer_region,
                provider_region: Some(provider_region),
                sites: Vec::new(),
                skus: Vec::new(),
                rate: BasisPoints(rate),
                cap_per_job: (seed & 4 == 0).then_some(Fen(150)),
                from: Timestamp(0),
                until: Timestamp::FAR,
            };
            ledger.create_agreement(&new, START).expect("well formed");
        }
        // Half the worlds keep every capture, so that the model can see what counts in the caps.
        let keeps_captures = seed & 8 == 0;
        let window = if keeps_captures {
            (u64::MAX, u64::MAX)
        } else {
            (20 * HOUR, 3)
        };
        ledger.set_capture_window(CaptureWindow {
            keep_ms: window.0,
            count_max: window.1,
        });
        Self {
            ledger,
            at: START,
            quotes: Vec::new(),
            codes: 0,
            keeps_captures,
        }
    }

    pub(crate) fn holder(&self, index: u8) -> OrgId {
        OrgId(2 + u32::from(index % 3))
    }

    pub(crate) fn site(&self, index: u8) -> SiteId {
        SiteId(1 + u32::from(index % 3))
    }

    pub(crate) fn programme(&self, index: u8) -> ProgrammeId {
        ProgrammeId(1 + u32::from(index % 5))
    }

    pub(crate) fn agreement(&self, index: u8) -> AgreementId {
        AgreementId(u32::from(index))
    }

    pub(crate) fn voucher(&self, index: u8) -> VoucherId {
        VoucherId(1 + u64::from(index) % 12)
    }

    pub(crate) fn quote(&self, index: u8) -> Option<(QuoteId, QuoteRequest)> {
        self.quotes.get(usize::from(index) % self.quotes.len().max(1)).cloned()
    }

    pub(crate) fn open_hold(&self, index: u8) -> Option<(HoldId, u64)> {
        let open: Vec<_> = self
            .ledger
            .open_holds()
            .map(|(id, hold)| (id, hold.pinned.walltime_ms_max))
            .collect();
        open.get(usize::from(index) % open.len().max(1)).copied()
    }

    pub(crate) fn price(&mut self, site: u8, price: u64) -> Result<(), Rejection> {
        self.ledger
            .set_prices(self.site(site), &[("cpu".into(), price)], None, self.at)
            .map(drop)
    }

    /// Issues a voucher and puts it into use.
    pub(crate) fn issue(&mut self, programme: u8, holder: u8, face: u16, lasts: u8) -> Result<(), Rejection> {
        let holder = self.holder(holder);
        self.codes += 1;
        let code = format!("V-{}", self.codes);
        let new = NewVoucher {
            code: code.as_str().into(),
            holder: self.ledger.org(holder).expect("made above").registered.name.clone(),
            face: Grant(i64::from(face)),
            from: Timestamp(0),
            until: Timestamp(self.at.0 + u64::from(lasts) * HOUR),
        };
        self.ledger.issue_vouchers(self.programme(programme), &[new], self.at)?;
        self.ledger
            .redeem_voucher(&code, holder, self.at)
            .expect("just issued to this holder");
        Ok(())
    }

    /// Raises one bound of one programme.
    pub(crate) fn raise(&mut self, index: u8) {
        let id = self.programme(index);
        let known = self.ledger.programme(id).expect("made above");
        let mut terms = known.terms_at(self.at).0.clone();
        let budget = Grant(known.budget.0 + 777);
        for rate in &mut terms.rates {
            rate.rate = BasisPoints((rate.rate.0 + 1_000).min(10_000));
        }
        terms.cap_per_control_group = terms.cap_per_control_group.map(|cap| Grant(cap.0 + 100));
        terms.cap_per_job = terms.cap_per_job.map(|cap| Grant(cap.0 + 100));
        self.ledger
            .set_budget(id, budget, self.at)
            .expect("a budget may be raised");
        self.ledger
            .revise_programme(id, &terms, None, false, self.at)
            .expect("terms may be revised");
    }

    /// The subsidy of one slice of a new hold by the naive model, given what the slices before it took; `None` where it has no opinion (several
    /// lines subsidised, or nobody remembers what caps have used).
    pub(crate) fn expected_subsidy(&self, request: &HoldRequest, before: &[Slice], slice: &Slice) -> Option<i64> {
        let bill = &request.request;
        if bill.funding == Funding::WalletOnly {
            return Some(0);
        }
        if !self.keeps_captures {
            return None;
        }
        let site = self.ledger.site(bill.site)?;
        let (from, ms) = (slice.from_ms, slice.until_ms - slice.from_ms);
        let cost = |line: &Line, ms: u64| {
            let price = site
                .prices
                .at(&line.sku, self.at)
                .map_or(0, |price| price.millifen_per_unit_hour);
            ((u128::from(line.milli_units) * u128::from(ms) * u128::from(price) + 1_800_000_000_000)
                / 3_600_000_000_000) as i64
        };
        let gross: i64 = bill.lines.iter().map(|line| cost(line, ms)).sum();
        let subsidised = |line: &&Line| line.sku.as_str() != "storage";
        let mut lines = bill.lines.iter().filter(subsidised).filter(|line| line.milli_units > 0);
        let Some(line) = lines.next() else { return Some(0) };
        if lines.next().is_some() {
            return None;
        }
        let programmes: Vec<Pays> = (1..=5)
            .filter_map(|id| {
                let earlier = Earlier {
                    slices: before,
                    from,
                    ms,
                };
                self.programme_pays(ProgrammeId(id), request, &earlier, |ms| cost(line, ms), &line.sku)
            })
            .collect();
        let mut best = 0;
        for set in 0u32..1 << programmes.len() {
            let chosen: Vec<_> = programmes
                .iter()
                .enumerate()
                .filter(|(index, _)| set >> index & 1 == 1)
                .map(|(_, pays)| pays)
                .collect();
            let alone = chosen.iter().any(|pays| pays.stacking == Stacking::Exclusive);
            if alone && chosen.len() > 1 {
                continue;
            }
            let cap = |stacking: &Stacking| match stacking {
                Stacking::Exclusive => 10_000,
                Stacking::Stackable { total_max } => i64::from(total_max.0),
            };
            let cap = chosen.iter().map(|pays| cap(&pays.stacking)).min().unwrap_or(10_000);
            // What one agreement carries shares its cap; what none carries has none.
            let home: i64 = chosen
                .iter()
                .filter(|pays| pays.agreement.is_none())
                .map(|pays| pays.amount)
                .sum();
            let abroad = [1, 2].map(|id| {
                let carried = chosen.iter().filter_map(|pays| Some((pays.amount, pays.agreement?)));
                let carried = carried.filter(|(_, agreement)| agreement.0 == AgreementId(id));
                carried.fold((0, i64::MAX), |(sum, _), (amount, (_, left))| (sum + amount, left))
            });
            let sum = home + abroad.iter().map(|(sum, left)| (*sum).min(*left)).sum::<i64>();
            best = best.max(sum.min(cost(line, ms)).min(gross * cap / 10_000));
        }
        Some(best)
    }

    // What one programme would pay of the one line by itself.
    fn programme_pays(
        &self,
        id: ProgrammeId,
        request: &HoldRequest,
        earlier: &Earlier<'_>,
        cost: impl Fn(u64) -> i64,
        sku: &hesuan_ledger::types::Sku,
    ) -> Option<Pays> {
        let bill = &request.request;
        let programme = self.ledger.programme(id)?;
        let terms = &programme.revisions.last()?.terms;
        let payer = self.ledger.org(bill.payer)?;
        if payer.group == self.ledger.org(OrgId(1))?.group {
            return None;
        }
        if !terms.holder_kinds.is_empty() && !terms.holder_kinds.contains(&payer.registered.kind) {
            return None;
        }
        let named = |name: &str| {
            terms
                .rates
                .iter()
                .find(|rate| rate.sku.as_str() == name)
                .map(|rate| rate.rate.0)
        };
        let mut rate = i64::from(named(sku.as_str()).or(named("*"))?);
        let mut caps = i64::MAX;
        let mut carried = None;
        let site = self.ledger.site(bill.site)?;
        if site.region != programme.region {
            let agreement = self
                .ledger
                .agreement(AgreementId(if programme.region == HOME { 1 } else { 2 }))?;
            if agreement.agreed.provider_region != Some(site.region) || agreement.agreed.until <= self.at {
                return None;
            }
            rate = rate.min(i64::from(agreement.agreed.rate.0));
            if let Some(cap) = agreement.agreed.cap_per_job {
                let used = self.used(|job, leg, pin| {
                    job == Some(request.key.job) && pin.agreement_job_cap && leg.agreement == agreement.id
                });
                let now = earlier.took(|leg| leg.agreement == agreement.id);
                carried = Some((agreement.id, (cap.0 - used - now).max(0)));
            }
        }
        let now = earlier.took(|leg| leg.programme == id);
        if programme.budget_policy == BudgetPolicy::CommitAtHold {
            caps = caps.min(programme.budget.0 - programme.held.0 - programme.captured.0 - now);
        }
        let year = if self.at.0 < YEAR_END { 2026 } else { 2027 };
        if let Some(cap) = terms.cap_per_control_group {
            let used = self.used(|_, leg, pin| leg.programme == id && pin.group == payer.group && pin.year == year);
            caps = caps.min(cap.0 - used - now);
        }
        if let Some(cap) = terms.cap_per_job {
            let used =
                self.used(|job, leg, pin| job == Some(request.key.job) && pin.programme_job_cap && leg.programme == id);
            caps = caps.min(cap.0 - used - now);
        }
        let (begins, ms) = (self.at.0 + earlier.from, earlier.ms);
        let (mut balance, mut whole) = (0, 0);
        for voucher in self.ledger.vouchers_after(VoucherId(0)) {
            let usable =
                voucher.programme == id && voucher.holder == bill.payer && voucher.state == VoucherState::Active;
            if !usable || voucher.until <= self.at {
                continue;
            }
            let year_end = if year == 2026 && !terms.carry_over {
                YEAR_END
            } else {
                u64::MAX
            };
            let covered = ms.min(voucher.until.0.min(year_end).saturating_sub(begins));
            let pays = cost(covered) * rate / 10_000;
            let left = voucher.available.0 - earlier.took(|leg| leg.voucher == voucher.id);
            balance += left.min(pays);
            whole = whole.max(pays);
        }
        Some(Pays {
            stacking: terms.stacking,
            amount: balance.min(whole).min(caps).max(0),
            agreement: carried,
        })
    }

    // Open holds, binding quotes and net captures that count in a cap. A leg counts in a cap per job only if there was one when it was held.
    fn used(&self, counts: impl Fn(Option<u64>, &Leg, &LegPin) -> bool) -> i64 {
        let held = self
            .ledger
            .open_holds()
            .map(|(_, hold)| (Some(hold.key.job), &hold.pinned));
        let bound = self
            .quotes
            .iter()
            .filter_map(|(quote, _)| Some((None, &self.ledger.bound_quote(*quote)?.pinned)));
        let held = held.chain(bound).flat_map(|(job, pinned)| {
            let legs = pinned
                .slices
                .iter()
                .flat_map(|slice| slice.legs.iter().zip(&slice.pins));
            legs.map(move |(leg, pin)| (job, leg, pin, leg.amount.0))
        });
        let open = self
            .ledger
            .open_holds()
            .map(|(_, hold)| (hold.key.job, &hold.cells[..]));
        let ended = self
            .ledger
            .settled()
            .map(|settled| (settled.key.job, &settled.cells[..]));
        let cells = open
            .chain(ended)
            .flat_map(|(job, cells)| cells.iter().map(move |cell| (job, cell)));
        let captured = cells.flat_map(|(job, cell)| {
            let legs = cell.legs.iter().zip(&cell.pins).enumerate();
            let back = |index: usize| cell.legs_refunded.get(index).map_or(0, |refunded| refunded.amount.0);
            legs.map(move |(index, (leg, pin))| (Some(job), leg, pin, leg.amount.0 - back(index)))
        });
        held.chain(captured)
            .filter(|(job, leg, pin, _)| counts(*job, leg, pin))
            .map(|(_, _, _, amount)| amount)
            .sum()
    }
}

// Where a slice begins, and what the slices before it took.
struct Earlier<'a> {
    slices: &'a [Slice],
    from: u64,
    ms: u64,
}

impl Earlier<'_> {
    fn took(&self, which: impl Fn(&Leg) -> bool) -> i64 {
        let legs = self.slices.iter().flat_map(|slice| &slice.legs);
        legs.filter(|leg| which(leg)).map(|leg| leg.amount.0).sum()
    }
}

// What one programme would pay by itself, and the agreement with a cap that carries it, with what the cap leaves.
struct Pays {
    stacking: Stacking,
    amount: i64,
    agreement: Option<(AgreementId, i64)>,
}

/// Terms from a seed; storage is never subsidised.
pub(crate) fn terms(dice: u64) -> Terms {
    Terms {
        rates: vec![
            Rate {
                sku: "*".into(),
                rate: BasisPoints(1 + (dice % 10_000) as u32),
            },
            Rate {
                sku: "gpu/a800".into(),
                rate: BasisPoints(1 + (dice >> 7) as u32 % 10_000),
            },
        ],
        excluded_skus: vec!["storage".into()],
        cap_per_control_group: (dice >> 14 & 3 == 0).then_some(Grant(1 + (dice >> 16) as i64 % 2_000)),
        cap_per_job: (dice >> 17 & 3 == 0).then_some(Grant(1 + (dice >> 19) as i64 % 300)),
        holder_kinds: if dice >> 21 & 3 == 0 {
            vec![OrgKind::Enterprise]
        } else {
            Vec::new()
        },
        stacking: match dice >> 23 & 7 {
            0 => Stacking::Exclusive,
            1 => Stacking::Stackable {
                total_max: BasisPoints(5_000),
            },
            2 => Stacking::Stackable {
                total_max: BasisPoints(8_001),
            },
            _ => Stacking::Stackable {
                total_max: BasisPoints::WHOLE,
            },
        },
        carry_over: dice >> 26 & 1 == 0,
        reinstate_refunds: dice >> 27 & 1 == 0,
        ..Terms::default()
    }
}

pub(crate) fn request(
    payer: OrgId,
    site: SiteId,
    amounts: [(&str, u8); 3],
    hours: u8,
    wallet_only: bool,
) -> QuoteRequest {
    let lines = amounts.iter().filter(|(sku, amount)| *amount > 0 || *sku == "cpu");
    QuoteRequest {
        payer,
        site,
        lines: lines
            .map(|(sku, amount)| Line {
                sku: (*sku).into(),
                milli_units: u64::from(*amount) * 777,
            })
            .collect(),
        walltime_ms_max: u64::from(hours) * HOUR / 2 + 1,
        funding: if wallet_only {
            Funding::WalletOnly
        } else {
            Funding::Auto
        },
        copay_max: None,
        allow_partial: true,
        job: None,
    }
}

/// Balances as the journal tells them.
#[derive(Default)]
pub(crate) struct Fold {
    balances: BTreeMap<Account, i64>,
    last: (u64, [u8; 32]),
}

impl Fold {
    pub(crate) fn take(&mut self, ledger: &mut Ledger) {
        for entry in ledger.take_journal() {
            assert!(
                entry.follows(self.last.0, &self.last.1),
                "entry {} does not follow",
                entry.index
            );
            self.last = (entry.index, entry.hash);
            for (debit, credit, amount) in entry.read().expect("just written").transfers {
                *self.balances.entry(debit).or_default() += amount * if debit.is_debit() { 1 } else { -1 };
                *self.balances.entry(credit).or_default() += amount * if credit.is_debit() { -1 } else { 1 };
            }
        }
    }

    pub(crate) fn compare(&self, ledger: &Ledger) {
        assert_eq!(self.last, ledger.journal_head());
        for account in ledger.accounts() {
            let folded = self.balances.get(&account).copied().unwrap_or(0);
            assert_eq!(
                folded,
                ledger.balance(account),
                "{account} by the journal and in the books"
            );
        }
    }
}
