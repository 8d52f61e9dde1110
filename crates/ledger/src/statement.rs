//! Statements of a period, read from its tallies: clearing between regions, a sheet per provider, what each funder has to pay, corrections.
//! Of a period that is not closed they say how it stands. Nothing here changes anything.

use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::Ledger;
use crate::programme::Redemption;
use crate::rejection::Rejection;
use crate::tally::{Tally, TallyKey, add};
use crate::types::{Fen, OrgId, ProgrammeId, RegionCode};

/// What the programmes of each region owe the payees of each region, and what remains when that is netted. The payers' own money is not
/// between regions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clearing {
    /// By issuer, then payee; a region's own are in it too.
    pub cells: Vec<ClearingCell>,
    /// Net positions of the regions, by region; they sum up to zero.
    pub positions: Vec<Position>,
    /// Netted in pairs: one payment between two regions at most.
    pub netted: Vec<RegionPayment>,
    /// Netted among all: fewer payments than regions with a position.
    pub payments: Vec<RegionPayment>,
}

/// What the programmes of one region owe the payees of one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClearingCell {
    /// Whose programmes pay.
    pub issuer: RegionCode,
    /// Where the payees are: the sites, or the holders where they are paid.
    pub payee: RegionCode,
    /// Captured.
    pub captured: Fen,
    /// Given back, corrections included.
    pub refunded: Fen,
    /// Captured less given back.
    pub net: Fen,
}

/// A region in the clearing; what stays inside it is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The region.
    pub region: RegionCode,
    /// What its programmes owe payees elsewhere.
    pub pays: Fen,
    /// What programmes from elsewhere owe its payees.
    pub receives: Fen,
    /// What it receives less what it pays.
    pub net: Fen,
}

/// A payment from one region to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionPayment {
    /// Who pays.
    pub from: RegionCode,
    /// Who is paid.
    pub to: RegionCode,
    /// Above zero.
    pub amount: Fen,
}

/// What one provider has earned in a period: `net = own + subsidies`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sheet {
    /// By period of the capture, programme, agreement and site; programme 0 is the payers' own money.
    pub rows: Vec<(TallyKey, Tally)>,
    /// Net of the payers' own money.
    pub own: Fen,
    /// Net of the subsidies.
    pub subsidies: Fen,
    /// In all.
    pub net: Fen,
}

/// What one funder of a programme has to pay for a period: `net = ordinary + corrections = to_providers + to_holders`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payable {
    /// The programme.
    pub programme: ProgrammeId,
    /// The funder's place among the programme's funders, from 0.
    pub funder: u8,
    /// Of lines of the period itself.
    pub ordinary: Fen,
    /// Of refunds of lines of closed periods; zero or below.
    pub corrections: Fen,
    /// What providers are to be paid.
    pub to_providers: Fen,
    /// What holders may claim.
    pub to_holders: Fen,
    /// In all.
    pub net: Fen,
}

impl Ledger {
    /// The clearing matrix of a period.
    pub fn clearing(&self, period: u32) -> Result<Clearing, Rejection> {
        self.known_period(period)?;
        let mut cells: BTreeMap<(RegionCode, RegionCode), (Fen, Fen)> = BTreeMap::new();
        for (key, tally) in self.tallies(period) {
            let Some(programme) = self.programme(key.programme) else {
                continue;
            };
            let (captured, refunded) = cells.entry((programme.region, key.payee_region)).or_default();
            add(captured, tally.captured);
            add(refunded, tally.refunded);
        }
        let cell = |((issuer, payee), (captured, refunded)): (_, (Fen, Fen))| ClearingCell {
            issuer,
            payee,
            captured,
            refunded,
            net: Fen(captured.0 - refunded.0),
        };
        let cells: Vec<ClearingCell> = cells.into_iter().map(cell).collect();
        let positions = positions(&cells);
        Ok(Clearing {
            netted: in_pairs(&cells),
            payments: among_all(&positions),
            positions,
            cells,
        })
    }

    /// The settlement sheet of a provider for a period; empty when it has no lines.
    pub fn sheet(&self, period: u32, provider: OrgId) -> Result<Sheet, Rejection> {
        self.known_org(provider)?;
        self.known_period(period)?;
        let mut sheet = Sheet::default();
        for (key, tally) in self.tallies(period) {
            if self.paid_provider(key) != Some(provider) {
                continue;
            }
            let sum = if key.programme == ProgrammeId(0) {
                &mut sheet.own
            } else {
                &mut sheet.subsidies
            };
            add(sum, tally.net());
            add(&mut sheet.net, tally.net());
            sheet.rows.push((*key, tally.clone()));
        }
        Ok(sheet)
    }

    /// What each funder has to pay for a period, by programme and place; funders without lines are left out.
    pub fn payables(&self, period: u32) -> Result<Vec<Payable>, Rejection> {
        self.known_period(period)?;
        let mut payables: BTreeMap<(ProgrammeId, u8), Payable> = BTreeMap::new();
        for (key, tally) in self.tallies(period) {
            let Some(programme) = self.programme(key.programme) else {
                continue;
            };
            for (place, net) in tally.parts().enumerate() {
                let funder = place as u8;
                let payable = payables.entry((key.programme, funder)).or_insert(Payable {
                    programme: key.programme,
                    funder,
                    ordinary: Fen::ZERO,
                    corrections: Fen::ZERO,
                    to_providers: Fen::ZERO,
                    to_holders: Fen::ZERO,
                    net: Fen::ZERO,
                });
                let time = if key.of == period {
                    &mut payable.ordinary
                } else {
                    &mut payable.corrections
                };
                add(time, net);
                let payee = match programme.redemption {
                    Redemption::Provider => &mut payable.to_providers,
                    Redemption::Holder => &mut payable.to_holders,
                };
                add(payee, net);
                add(&mut payable.net, net);
            }
        }
        Ok(payables.into_values().collect())
    }

    /// The corrections booked in a period: refunds of lines of closed ones, each under the period it corrects.
    pub fn corrections(&self, period: u32) -> impl Iterator<Item = (&TallyKey, &Tally)> {
        self.tallies(period).filter(move |(key, _)| key.of != period)
    }
}

fn positions(cells: &[ClearingCell]) -> Vec<Position> {
    let mut sums: BTreeMap<RegionCode, (Fen, Fen)> = BTreeMap::new();
    for cell in cells.iter().filter(|cell| cell.issuer != cell.payee) {
        add(&mut sums.entry(cell.issuer).or_default().0, cell.net);
        add(&mut sums.entry(cell.payee).or_default().1, cell.net);
    }
    let position = |(region, (pays, receives)): (RegionCode, (Fen, Fen))| Position {
        region,
        pays,
        receives,
        net: Fen(receives.0 - pays.0),
    };
    sums.into_iter().map(position).collect()
}

fn in_pairs(cells: &[ClearingCell]) -> Vec<RegionPayment> {
    let owes = |issuer, payee| {
        let mut found = cells.iter().filter(|cell| (cell.issuer, cell.payee) == (issuer, payee));
        found.next().map_or(0, |cell| cell.net.0)
    };
    let pair = |cell: &ClearingCell| (cell.issuer.min(cell.payee), cell.issuer.max(cell.payee));
    let pairs: BTreeSet<_> = cells.iter().map(pair).filter(|(one, other)| one != other).collect();
    let payments = pairs.into_iter().filter_map(|(one, other)| {
        let net = owes(one, other) - owes(other, one);
        let (from, to) = if net > 0 { (one, other) } else { (other, one) };
        (net != 0).then_some(RegionPayment {
            from,
            to,
            amount: Fen(net.abs()),
        })
    });
    payments.collect()
}

// The largest debtor pays the largest creditor until one of them is even, ties to the smaller region: each payment settles one region, and
// the last settles two.
fn among_all(positions: &[Position]) -> Vec<RegionPayment> {
    let mut open: Vec<(i64, RegionCode)> = positions
        .iter()
        .map(|position| (position.net.0, position.region))
        .filter(|(net, _)| *net != 0)
        .collect();
    let mut payments = Vec::new();
    while let (Some(debtor), Some(creditor)) = (
        open.iter().min().copied(),
        open.iter()
            .max_by_key(|(net, region)| (*net, std::cmp::Reverse(*region)))
            .copied(),
    ) {
        let amount = creditor.0.min(-debtor.0);
        payments.push(RegionPayment {
            from: debtor.1,
            to: creditor.1,
            amount: Fen(amount),
        });
        for (net, region) in &mut open {
            if *region == debtor.1 {
                *net += amount;
            } else if *region == creditor.1 {
                *net -= amount;
            }
        }
        open.retain(|(net, _)| *net != 0);
    }
    payments
}
