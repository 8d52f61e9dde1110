//! A naive second opinion on subsidies: it tries every set of programmes that may be combined, and for each the bounds on every way that
//! money can take from vouchers through their programmes to the lines of the bill, written down one by one.

use hesuan_ledger::types::{AgreementId, Fen, Funding, Grant, Line, OrgId, ProgrammeId, VoucherId};
use hesuan_ledger::{BudgetPolicy, HoldRequest, Leg, LegPin, Programme, QuoteRequest, Slice, Stacking, VoucherState};

use super::{HOME, World, YEAR_END};

/// A part of a hold's time, and what the parts before it took.
pub(crate) struct Part<'a> {
    pub(crate) before: &'a [Slice],
    pub(crate) from_ms: u64,
    pub(crate) until_ms: u64,
    /// Caps and budgets count.
    pub(crate) capped: bool,
}

impl Part<'_> {
    fn ms(&self) -> u64 {
        self.until_ms - self.from_ms
    }

    fn took(&self, amount: impl Fn(&Leg) -> i64) -> i64 {
        self.before.iter().flat_map(|slice| &slice.legs).map(amount).sum()
    }
}

// What one programme could pay by itself: per line, per voucher its worth and per line, and what its caps leave.
struct Pays {
    stacking: Stacking,
    cap: i64,
    agreement: Option<(AgreementId, i64)>,
    lines: Vec<i64>,
    vouchers: Vec<(i64, Vec<i64>)>,
}

impl Pays {
    // The most it pays of the lines that are open (by bit): for every subset of them paid by rate, the others by voucher.
    fn at_most(&self, open: usize) -> i64 {
        let sum = |amounts: &[i64], lines: usize| -> i64 {
            let chosen = amounts.iter().enumerate().filter(|(line, _)| lines >> line & 1 == 1);
            chosen.map(|(_, amount)| amount).sum()
        };
        let subsets = (0..=open).filter(|subset| subset & !open == 0);
        let bounds = subsets.map(|by_rate| {
            let by_voucher = |(worth, lines): &(i64, Vec<i64>)| (*worth).min(sum(lines, open & !by_rate));
            sum(&self.lines, by_rate) + self.vouchers.iter().map(by_voucher).sum::<i64>()
        });
        bounds.min().unwrap_or(0).min(self.cap)
    }
}

impl World {
    /// The subsidy of a part of a new hold's time; `None` where the model has no opinion (nobody remembers what caps have used).
    pub(crate) fn expected_subsidy(&self, request: &HoldRequest, part: &Part<'_>) -> Option<i64> {
        let bill = &request.request;
        if bill.funding == Funding::WalletOnly {
            return Some(0);
        }
        if !self.keeps_captures {
            return None;
        }
        let costs: Vec<i64> = bill.lines.iter().map(|line| self.cost(bill, line, part.ms())).collect();
        let programmes: Vec<Pays> = (1..=5)
            .filter_map(|id| self.programme_pays(ProgrammeId(id), request, part))
            .collect();
        let mut best = 0;
        for set in 0u32..1 << programmes.len() {
            let chosen: Vec<&Pays> = programmes
                .iter()
                .enumerate()
                .filter(|(index, _)| set >> index & 1 == 1)
                .map(|(_, pays)| pays)
                .collect();
            let alone = chosen.iter().any(|pays| pays.stacking == Stacking::Exclusive);
            if alone && chosen.len() > 1 {
                continue;
            }
            best = best.max(together(&chosen, &costs));
        }
        Some(best)
    }

    fn cost(&self, bill: &QuoteRequest, line: &Line, ms: u64) -> i64 {
        let price = u128::from(self.unit_price(bill, line));
        let raw = u128::from(line.milli_units) * u128::from(ms) * price;
        ((raw + 1_800_000_000_000) / 3_600_000_000_000) as i64
    }

    fn unit_price(&self, bill: &QuoteRequest, line: &Line) -> u64 {
        let site = self.ledger.site(bill.site).expect("made above");
        let price = site.prices.at(&line.sku, self.at);
        price.map_or(0, |price| price.millifen_per_unit_hour)
    }

    fn programme_pays(&self, id: ProgrammeId, request: &HoldRequest, part: &Part<'_>) -> Option<Pays> {
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
        let agreement = self.carried(programme, request, part)?;
        let at_most = agreement.map_or(10_000, |(_, rate, _)| rate);
        let named = |name: &str| terms.rates.iter().find(|rate| rate.sku.as_str() == name);
        let rate = |line: &Line| match line.sku.as_str() {
            "storage" => 0,
            sku => named(sku)
                .or(named("*"))
                .map_or(0, |rate| i64::from(rate.rate.0).min(at_most)),
        };
        let rates: Vec<i64> = bill.lines.iter().map(rate).collect();
        let year = if self.at.0 < YEAR_END { 2026 } else { 2027 };
        let worth = |grant: i64| match programme.unit_hours_of() {
            None => grant,
            Some(sku) => {
                let priced = bill.lines.iter().find(|line| line.sku == *sku);
                let price = priced.map_or(0, |line| self.unit_price(bill, line));
                (i128::from(grant) * i128::from(price) / 3_600_000_000) as i64
            }
        };
        let mut vouchers = Vec::new();
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
            let begins = self.at.0 + part.from_ms;
            let covered = part.ms().min(voucher.until.0.min(year_end).saturating_sub(begins));
            let pays = |(line, rate): (&Line, &i64)| self.cost(bill, line, covered) * rate / 10_000;
            let lines = bill.lines.iter().zip(&rates).map(pays).collect();
            let taken = part.took(|leg| if leg.voucher == voucher.id { leg.grant.0 } else { 0 });
            vouchers.push((worth(voucher.available.0 - taken), lines));
        }
        let longest = |line: usize| vouchers.iter().map(|(_, lines): &(i64, Vec<i64>)| lines[line]).max();
        Some(Pays {
            stacking: terms.stacking,
            cap: worth(self.caps_leave(programme, request, part, year)),
            agreement: agreement.map(|(id, _, left)| (id, left)),
            lines: (0..bill.lines.len()).map(|line| longest(line).unwrap_or(0)).collect(),
            vouchers,
        })
    }

    // The agreement that a programme needs at the site, its rate and what its cap leaves; outer `None` where it needs one and there is none.
    fn carried(
        &self,
        programme: &Programme,
        request: &HoldRequest,
        part: &Part<'_>,
    ) -> Option<Option<(AgreementId, i64, i64)>> {
        let site = self.ledger.site(request.request.site)?;
        if site.region == programme.region {
            return Some(None);
        }
        let id = AgreementId(if programme.region == HOME { 1 } else { 2 });
        let agreed = &self.ledger.agreement(id)?.agreed;
        if agreed.provider_region != Some(site.region) || agreed.until <= self.at {
            return None;
        }
        let mut left = i64::MAX;
        if let Some(cap) = agreed.cap_per_job.filter(|_| part.capped) {
            let of_it = |leg: &Leg| if leg.agreement == id { leg.amount.0 } else { 0 };
            let used = self.used(|job, leg, pin, (amount, _)| {
                let counts = job == Some(request.key.job) && pin.agreement_job_cap && leg.agreement == id;
                if counts { amount.0 } else { 0 }
            });
            left = (cap.0 - used - part.took(of_it)).max(0);
        }
        Some(Some((id, i64::from(agreed.rate.0), left)))
    }

    fn caps_leave(&self, programme: &Programme, request: &HoldRequest, part: &Part<'_>, year: u32) -> i64 {
        if !part.capped {
            return Grant::MAX.0;
        }
        let id = programme.id;
        let terms = &programme.revisions[programme.revisions.len() - 1].terms;
        let now = part.took(|leg| if leg.programme == id { leg.grant.0 } else { 0 });
        let mut left = Grant::MAX.0;
        if programme.budget_policy == BudgetPolicy::CommitAtHold {
            left = left.min(programme.budget.0 - programme.held.0 - programme.captured.0 - now);
        }
        let group = self.ledger.org(request.request.payer).expect("made above").group;
        if let Some(cap) = terms.cap_per_control_group {
            let used = self.used(|_, leg, pin, (_, grant)| {
                let counts = leg.programme == id && pin.group == group && pin.year == year;
                if counts { grant.0 } else { 0 }
            });
            left = left.min(cap.0 - used - now);
        }
        if let Some(cap) = terms.cap_per_job {
            let used = self.used(|job, leg, pin, (_, grant)| {
                let counts = job == Some(request.key.job) && pin.programme_job_cap && leg.programme == id;
                if counts { grant.0 } else { 0 }
            });
            left = left.min(cap.0 - used - now);
        }
        left.max(0)
    }

    // Sum over open holds, binding quotes and net captures. A leg counts in a cap per job only if there was one when it was held.
    fn used(&self, counts: impl Fn(Option<u64>, &Leg, &LegPin, (Fen, Grant)) -> i64) -> i64 {
        let mut sum = 0;
        let quotes = self
            .quotes
            .iter()
            .filter_map(|(quote, _)| Some((None, &self.ledger.bound_quote(*quote)?.pinned)));
        let holds = self
            .ledger
            .open_holds()
            .map(|(_, hold)| (Some(hold.key.job), &hold.pinned));
        for (job, pinned) in holds.chain(quotes) {
            for slice in &pinned.slices {
                for (leg, pin) in slice.legs.iter().zip(&slice.pins) {
                    sum += counts(job, leg, pin, (leg.amount, leg.grant));
                }
            }
        }
        let open = self.ledger.open_holds().map(|(_, hold)| (hold.key.job, &hold.cells));
        let ended = self.ledger.settled().map(|settled| (settled.key.job, &settled.cells));
        for (job, cells) in open.chain(ended) {
            for cell in cells {
                for (index, (leg, pin)) in cell.legs.iter().zip(&cell.pins).enumerate() {
                    let back = cell.legs_refunded.get(index).cloned().unwrap_or_default();
                    let net = (Fen(leg.amount.0 - back.amount.0), Grant(leg.grant.0 - back.grant.0));
                    sum += counts(Some(job), leg, pin, net);
                }
            }
        }
        sum
    }
}

// What a set of programmes pays together: the least over all ways to say which lines are paid whole.
fn together(chosen: &[&Pays], costs: &[i64]) -> i64 {
    let gross: i64 = costs.iter().sum();
    let stack = |pays: &&Pays| match pays.stacking {
        Stacking::Exclusive => 10_000,
        Stacking::Stackable { total_max } => i64::from(total_max.0),
    };
    let stack_max = chosen.iter().map(stack).min().unwrap_or(10_000);
    let all = (1usize << costs.len()) - 1;
    let bound = |whole: usize| -> i64 {
        let lines = costs.iter().enumerate().filter(|(line, _)| whole >> line & 1 == 1);
        let lines: i64 = lines.map(|(_, cost)| cost).sum();
        // What one agreement carries shares its cap; what none carries has none.
        let group = |id: Option<AgreementId>| -> i64 {
            let carried = chosen.iter().filter(|pays| pays.agreement.map(|(of, _)| of) == id);
            let left = carried
                .clone()
                .find_map(|pays| Some(pays.agreement?.1))
                .unwrap_or(i64::MAX);
            carried.map(|pays| pays.at_most(all & !whole)).sum::<i64>().min(left)
        };
        lines + group(None) + group(Some(AgreementId(1))) + group(Some(AgreementId(2)))
    };
    (0..=all).map(bound).min().unwrap_or(0).min(gross * stack_max / 10_000)
}
