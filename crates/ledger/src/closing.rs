//! The close of a period: its tallies are frozen under a digest and written into the journal, and each provider with lines gets a
//! settlement. Long after, a closed period that is settled is dropped, step by step.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::journal::EntryKind;
use crate::ledger::Ledger;
use crate::period::{CLOSED_PERIODS_KEPT, Closed};
use crate::programme::Redemption;
use crate::rejection::{PeriodRule, Rejection};
use crate::settlement::Settlement;
use crate::tally::{Tally, TallyKey, add};
use crate::types::{Fen, OrgId, ProgrammeId, Stamp};

/// The most rows of a closed period in one entry, which stays below a mebibyte.
const ENTRY_ROWS_MAX: usize = 4_096;

impl Ledger {
    /// Closes a period that has ended, in order. Its statements never change again; what is refunded of its lines from now on is a
    /// correction in a later one.
    pub fn close_period(&mut self, number: u32, by: impl Into<Stamp>) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        let refused = |rule| Err(Rejection::period(number, rule));
        let period = self.known_period(number)?;
        if period.closed.is_some() {
            return refused(PeriodRule::Closed);
        }
        let open = self.periods_after(0).find(|period| period.closed.is_none());
        if let Some(first) = open.filter(|first| first.number < number) {
            return refused(PeriodRule::OutOfOrder(first.number));
        }
        if period.until > by.at {
            return refused(PeriodRule::NotEnded(period.until));
        }
        if self.sweep_pending(period.until) {
            return refused(PeriodRule::Sweeping);
        }

        self.roll_periods(by);
        for (provider, net) in self.earned(number) {
            let settlement = Settlement {
                period: number,
                provider,
                net,
                reviewed: None,
                paid: None,
            };
            self.settlements.insert((number, provider), settlement);
        }
        let rows: Vec<Vec<u64>> = self.tallies(number).map(row).collect();
        let mut rows = &rows[..];
        while rows.len() > ENTRY_ROWS_MAX {
            let (some, rest) = rows.split_at(ENTRY_ROWS_MAX);
            self.write_rows(EntryKind::PeriodRows, number, some, by);
            rows = rest;
        }
        let closed = Closed {
            at: by.at,
            actor: by.actor,
            last_entry: self.journal.index + 1,
            digest: self.period_digest(number),
        };
        let period = self.periods.get_mut(u64::from(number)).expect("found above");
        period.closed = Some(closed);
        self.write_rows(EntryKind::ClosePeriod, number, rows, by);
        Ok(())
    }

    fn write_rows(&mut self, kind: EntryKind, period: u32, rows: &[Vec<u64>], by: Stamp) {
        self.journal.facts([u64::from(period), rows.len() as u64]);
        self.journal.facts(rows.iter().flatten().copied());
        self.write(kind, by);
    }

    /// Net of each provider's lines in a period: the subsidies that providers are paid, and the payers' own money.
    pub(crate) fn earned(&self, period: u32) -> BTreeMap<OrgId, Fen> {
        let mut earned = BTreeMap::new();
        for (key, tally) in self.tallies(period) {
            if let Some(provider) = self.paid_provider(key) {
                add(earned.entry(provider).or_default(), tally.net());
            }
        }
        earned
    }

    /// The provider that a line is for; `None` when a holder is paid.
    pub(crate) fn paid_provider(&self, key: &TallyKey) -> Option<OrgId> {
        let programme = self.programme(key.programme);
        if programme.is_some_and(|programme| programme.redemption == Redemption::Holder) {
            return None;
        }
        Some(self.site(key.site).expect("sites are never removed").provider)
    }

    /// SHA-256 over a period's tallies and holder totals.
    pub(crate) fn period_digest(&self, number: u32) -> [u8; 32] {
        let mut digest = Sha256::new();
        let mut put = |numbers: &[u64]| {
            for number in numbers {
                digest.update(number.to_le_bytes());
            }
        };
        for tally in self.tallies(number) {
            put(&row(tally));
        }
        for (payer, totals) in self.holder_totals_after(number, OrgId(0)) {
            let amounts = [
                totals.gross,
                totals.subsidy,
                totals.wallet,
                totals.refunded,
                totals.to_wallet,
            ];
            put(&[u64::from(payer.0), totals.cells, totals.refunds]);
            put(&amounts.map(|amount| amount.0 as u64));
        }
        digest.finalize().into()
    }

    /// Whether a period, or something of a dropped one, is there to be dropped.
    pub(crate) fn drop_due(&self) -> bool {
        self.stale().is_some() || self.settled_period().is_some()
    }

    /// Drops the oldest closed period when more than 24 later ones are closed and all its settlements are paid, or one record of a period
    /// that was dropped. What the records add up to stays in the accounts of funders and providers.
    pub(crate) fn drop_step(&mut self) -> bool {
        match self.stale() {
            Some(Stale::Tally(key)) => self.drop_tally(&key),
            Some(Stale::Totals(key)) => self.holder_totals.remove(key),
            Some(Stale::Settlement(key)) => drop(self.settlements.remove(&key)),
            Some(Stale::Claim(key)) => {
                self.finished_claims.remove(&key);
                self.claims.remove(key.1.0);
            }
            None => {
                let Some(number) = self.settled_period() else {
                    return false;
                };
                self.periods.remove(u64::from(number));
            }
        }
        true
    }

    fn drop_tally(&mut self, key: &TallyKey) {
        let tally = self.tallies.remove(key).expect("the caller found it");
        if let Some(provider) = self.paid_provider(key) {
            self.change_provider(provider, |account| add(&mut account.brought, tally.net()));
        }
        if key.programme != ProgrammeId(0) {
            for (funder, net) in tally.parts().enumerate() {
                let funder = (key.programme, funder as u8);
                self.change_funder(funder, |account| add(&mut account.brought, net));
            }
        }
    }

    fn stale(&self) -> Option<Stale> {
        let (kept, _) = self.periods.first()?;
        let stale = |period: u32| u64::from(period) < kept;
        if let Some((key, _)) = self.tallies.first().filter(|(key, _)| stale(key.period)) {
            return Some(Stale::Tally(*key));
        }
        if let Some(key) = self.holder_totals.first().filter(|key| stale(key.0)) {
            return Some(Stale::Totals(key));
        }
        if let Some((key, _)) = self.settlements.first().filter(|(key, _)| stale(key.0)) {
            return Some(Stale::Settlement(*key));
        }
        let (key, ()) = self.finished_claims.first().filter(|(key, ())| stale(key.0))?;
        Some(Stale::Claim(*key))
    }

    fn settled_period(&self) -> Option<u32> {
        if self.periods.len() as u64 <= u64::from(CLOSED_PERIODS_KEPT) {
            return None;
        }
        let (first, _) = self.periods.first()?;
        let past_kept = self.periods.get(first + u64::from(CLOSED_PERIODS_KEPT) + 1)?;
        past_kept.closed.as_ref()?;
        let number = first as u32;
        let mut settlements = self.settlements.range((number, OrgId(0))..=(number, OrgId(u32::MAX)));
        settlements
            .all(|(_, settlement)| settlement.paid.is_some())
            .then_some(number)
    }
}

// Something of a period that was dropped.
enum Stale {
    Tally(TallyKey),
    Totals((u32, OrgId)),
    Settlement((u32, OrgId)),
    Claim((u32, crate::types::ClaimId)),
}

// A tally in the journal: of, programme, agreement, site, payee region, captured, refunded, captures, refunds, number of funders, net of
// each funder (zigzag). The payer's own money has no funder.
fn row((key, tally): (&TallyKey, &Tally)) -> Vec<u64> {
    let mut row = vec![
        u64::from(key.of),
        u64::from(key.programme.0),
        u64::from(key.agreement.0),
        u64::from(key.site.0),
        u64::from(key.payee_region.0),
        tally.captured.0 as u64,
        tally.refunded.0 as u64,
        tally.captures,
        tally.refunds,
    ];
    let funders: Vec<Fen> = tally.parts().filter(|_| key.programme != ProgrammeId(0)).collect();
    row.push(funders.len() as u64);
    row.extend(funders.iter().map(|net| ((net.0 << 1) ^ (net.0 >> 63)) as u64));
    row
}
