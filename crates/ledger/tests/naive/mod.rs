//! A second bookkeeper who knows no tallies: keeps every line of every cell and refund in one list, decides by its own calendar in
//! which period it is booked, and adds the list up anew for each question. Shares no code with the ledger.

use std::collections::BTreeMap;

use hesuan_ledger::types::{Fen, OrgId, RegionCode, SiteId, Timestamp};
use hesuan_ledger::{Cell, Ledger, Leg, Redemption, TallyKey};

/// 2026-01-01 00:00 in Shanghai.
pub(crate) const YEAR_2026: u64 = 1_767_196_800_000;
const DAY: u64 = 86_400_000;

#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) key: TallyKey,
    pub(crate) provider: OrgId,
    pub(crate) payer: OrgId,
    /// The holder is paid, not the provider.
    pub(crate) to_holder: bool,
    pub(crate) captured: i64,
    pub(crate) refunded: i64,
    /// Per funder, below zero for refunds.
    pub(crate) parts: Vec<i64>,
}

/// A cell or a refund as its payer sees it.
#[derive(Clone, Debug)]
pub(crate) struct Bill {
    pub(crate) period: u32,
    pub(crate) payer: OrgId,
    pub(crate) is_refund: bool,
    pub(crate) gross: i64,
    pub(crate) subsidy: i64,
    pub(crate) wallet: i64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Bookkeeper {
    /// Beginnings of periods; the last is the current one's.
    begins: Vec<u64>,
    closed: usize,
    pub(crate) lines: Vec<Line>,
    pub(crate) bills: Vec<Bill>,
    // By job and place.
    seen: BTreeMap<(u64, usize), Seen>,
    /// By job: when it was opened, and where its payer was registered then.
    pub(crate) opened: BTreeMap<u64, (u64, RegionCode)>,
}

// A cell as it was found, and what of it has gone back.
#[derive(Clone, Debug)]
struct Seen {
    period: u32,
    payer: OrgId,
    site: SiteId,
    payer_region: RegionCode,
    refunded: i64,
    legs: Vec<Leg>,
    // Per leg: what is left, in all and of each funder.
    left: Vec<(i64, Vec<i64>)>,
    // What it cost when it was captured: one whose hold turned out to be shorter costs less afterwards.
    gross: i64,
    copay: i64,
}

impl Bookkeeper {
    pub(crate) fn new(start: Timestamp) -> Self {
        Self {
            begins: vec![start.0],
            ..Self::default()
        }
    }

    /// Months that are over have ended their periods.
    pub(crate) fn roll(&mut self, at: Timestamp) {
        while let Some(end) = next_month(self.begins[self.begins.len() - 1]).filter(|end| *end <= at.0) {
            self.begins.push(end);
        }
    }

    pub(crate) fn current(&self) -> u32 {
        self.begins.len() as u32
    }

    pub(crate) fn end(&mut self, at: Timestamp) {
        self.roll(at);
        self.begins.push(at.0);
    }

    pub(crate) fn close(&mut self, number: u32, at: Timestamp) {
        self.roll(at);
        assert_eq!(self.closed + 1, number as usize, "periods are closed in order");
        assert!(
            self.begins[number as usize] <= at.0,
            "a period was closed before its end"
        );
        self.closed += 1;
    }

    /// What was captured and given back since the last look, in whatever way.
    pub(crate) fn look(&mut self, ledger: &Ledger, at: Timestamp) {
        self.roll(at);
        let open: Vec<_> = ledger
            .open_holds()
            .map(|(_, hold)| (hold.key.job, hold.pinned.payer, hold.pinned.site, hold.cells.clone()))
            .collect();
        let ended = ledger
            .settled()
            .map(|settled| (settled.key.job, settled.payer, settled.site, settled.cells.clone()));
        for (job, payer, site, cells) in open.into_iter().chain(ended) {
            for (place, cell) in cells.iter().enumerate() {
                let key = (job, place);
                if !self.seen.contains_key(&key) {
                    let seen = self.capture(ledger, (payer, site), cell, self.opened[&job], at);
                    self.seen.insert(key, seen);
                }
                self.recount(ledger, key, cell);
                self.refund(ledger, key, cell);
            }
            // Of what is gone nothing was used.
            for place in cells.len().. {
                let Some(seen) = self.seen.get(&(job, place)) else {
                    break;
                };
                let legs = seen.legs.iter().map(|leg| Leg { amount: Fen(0), ..*leg }).collect();
                self.change(ledger, (job, place), legs, (0, 0));
            }
        }
    }

    // A cell that was captured at a month's end and counted anew: each leg, each funder and the payer pay another amount.
    fn recount(&mut self, ledger: &Ledger, key: (u64, usize), cell: &Cell) {
        if cell.gross.0 != self.seen[&key].gross {
            self.change(ledger, key, cell.legs.to_vec(), (cell.gross.0, cell.copay.0));
        }
    }

    fn change(&mut self, ledger: &Ledger, key: (u64, usize), legs: Vec<Leg>, (gross, copay): (i64, i64)) {
        let mut seen = self.seen[&key].clone();
        let closed = seen.period as usize <= self.closed;
        let period = if closed { self.current() } else { seen.period };
        let (mut less, mut more, mut wallet) = (0, 0, copay - seen.copay);
        for (index, leg) in legs.iter().enumerate() {
            let (amount, of_funders) = seen.left[index].clone();
            let parts = divided(leg.amount.0, &weights(ledger, leg));
            let by: Vec<i64> = parts.iter().zip(&of_funders).map(|(new, old)| new - old).collect();
            self.leg(ledger, &seen, leg, period, leg.amount.0 - amount, by);
            less += (amount - leg.amount.0).max(0);
            more += (leg.amount.0 - amount).max(0);
            if leg.redemption == Redemption::Holder {
                wallet += leg.amount.0 - amount;
            }
            seen.left[index] = (leg.amount.0, parts);
        }
        self.own(ledger, &seen, period, wallet);
        let by = copay - seen.copay;
        let (payer, subsidies) = (seen.payer, (less, more));
        self.bill(
            period,
            payer,
            true,
            (less + (-by).max(0), subsidies.0, (-wallet).max(0)),
        );
        self.bill(period, payer, false, (more + by.max(0), subsidies.1, wallet.max(0)));
        (seen.legs, seen.gross, seen.copay) = (legs, gross, copay);
        self.seen.insert(key, seen);
    }

    fn capture(
        &mut self,
        ledger: &Ledger,
        (payer, site): (OrgId, SiteId),
        cell: &Cell,
        (opened_at, payer_region): (u64, RegionCode),
        at: Timestamp,
    ) -> Seen {
        let usage_end = at.0.min(opened_at + cell.to_ms);
        let mut period = self.current();
        for number in self.closed + 1..=self.begins.len() {
            let until = self.begins.get(number).copied().unwrap_or(u64::MAX);
            if self.begins[number - 1] < usage_end && usage_end <= until {
                period = number as u32;
            }
        }
        let mut seen = Seen {
            period,
            payer,
            site,
            payer_region,
            refunded: 0,
            left: Vec::new(),
            legs: cell.legs.to_vec(),
            gross: cell.gross.0,
            copay: cell.copay.0,
        };
        let (mut subsidy, mut advanced) = (0, 0);
        for leg in &cell.legs {
            let parts = divided(leg.amount.0, &weights(ledger, leg));
            self.leg(ledger, &seen, leg, period, leg.amount.0, parts.clone());
            seen.left.push((leg.amount.0, parts));
            subsidy += leg.amount.0;
            advanced += if leg.redemption == Redemption::Holder {
                leg.amount.0
            } else {
                0
            };
        }
        let wallet = cell.gross.0 - subsidy + advanced;
        self.own(ledger, &seen, period, wallet);
        self.bill(period, payer, false, (cell.gross.0, subsidy, wallet));
        seen
    }

    fn refund(&mut self, ledger: &Ledger, key: (u64, usize), cell: &Cell) {
        let mut seen = self.seen[&key].clone();
        let back = cell.refunded.0 - seen.refunded;
        if back == 0 {
            return;
        }
        seen.refunded += back;
        let closed = seen.period as usize <= self.closed;
        let period = if closed { self.current() } else { seen.period };
        let (mut subsidy, mut advanced) = (0, 0);
        for (index, leg) in cell.legs.iter().enumerate() {
            let (left, of_funders) = seen.left[index].clone();
            let part = left - (leg.amount.0 - cell.legs_refunded[index].amount.0);
            let parts = divided(part, &of_funders);
            seen.left[index] = (
                left - part,
                of_funders.iter().zip(&parts).map(|(left, part)| left - part).collect(),
            );
            let parts = parts.iter().map(|part| -part).collect();
            self.leg(ledger, &seen, leg, period, -part, parts);
            subsidy += part;
            advanced += if leg.redemption == Redemption::Holder { part } else { 0 };
        }
        let wallet = back - subsidy + advanced;
        self.own(ledger, &seen, period, -wallet);
        self.bill(period, seen.payer, true, (back, subsidy, wallet));
        self.seen.insert(key, seen);
    }

    fn leg(&mut self, ledger: &Ledger, seen: &Seen, leg: &Leg, period: u32, amount: i64, parts: Vec<i64>) {
        let to_holder = leg.redemption == Redemption::Holder;
        let payee_region = if to_holder {
            seen.payer_region
        } else {
            ledger.site(seen.site).expect("known").region
        };
        let key = TallyKey {
            period,
            of: seen.period,
            programme: leg.programme,
            agreement: leg.agreement,
            site: seen.site,
            payee_region,
        };
        self.line(ledger, key, seen, to_holder, amount, parts);
    }

    fn own(&mut self, ledger: &Ledger, seen: &Seen, period: u32, amount: i64) {
        let key = TallyKey {
            period,
            of: seen.period,
            site: seen.site,
            payee_region: ledger.site(seen.site).expect("known").region,
            ..TallyKey::default()
        };
        self.line(ledger, key, seen, false, amount, Vec::new());
    }

    fn line(&mut self, ledger: &Ledger, key: TallyKey, seen: &Seen, to_holder: bool, amount: i64, parts: Vec<i64>) {
        if amount == 0 {
            return;
        }
        self.lines.push(Line {
            key,
            provider: ledger.site(seen.site).expect("known").provider,
            payer: seen.payer,
            to_holder,
            captured: amount.max(0),
            refunded: (-amount).max(0),
            parts,
        });
    }

    fn bill(&mut self, period: u32, payer: OrgId, is_refund: bool, (gross, subsidy, wallet): (i64, i64, i64)) {
        if gross == 0 {
            return;
        }
        self.bills.push(Bill {
            period,
            payer,
            is_refund,
            gross,
            subsidy,
            wallet,
        });
    }
}

fn weights(ledger: &Ledger, leg: &Leg) -> Vec<i64> {
    let programme = ledger.programme(leg.programme).expect("known");
    programme.funders.iter().map(|funder| i64::from(funder.share)).collect()
}

// One fen after the other, each to whoever is furthest behind its share.
fn divided(amount: i64, weights: &[i64]) -> Vec<i64> {
    let total: i64 = weights.iter().sum();
    if total == 0 {
        return vec![0; weights.len()];
    }
    let mut parts: Vec<i64> = weights.iter().map(|weight| amount * weight / total).collect();
    let shares: Vec<i64> = weights.iter().map(|weight| amount * weight).collect();
    let mut given = vec![false; weights.len()];
    while parts.iter().sum::<i64>() < amount {
        let behind = |index: &usize| shares[*index] - amount * weights[*index] / total * total;
        let mut best = None;
        for index in (0..weights.len()).filter(|index| !given[*index]) {
            if best.is_none_or(|best| behind(&index) > behind(&best)) {
                best = Some(index);
            }
        }
        let best = best.expect("less than one fen per weight is left");
        given[best] = true;
        parts[best] += 1;
    }
    parts
}

// The months of 2026 to 2029 by their lengths; 2028 is a leap year.
fn next_month(at: u64) -> Option<u64> {
    let mut end = YEAR_2026;
    for year in 2026..2030 {
        for days in [
            31,
            if year == 2028 { 29 } else { 28 },
            31,
            30,
            31,
            30,
            31,
            31,
            30,
            31,
            30,
            31,
        ] {
            end += days * DAY;
            if end > at {
                return Some(end);
            }
        }
    }
    None
}
