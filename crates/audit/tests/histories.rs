//! Random histories of the ledger, checked from outside; then altered here and there, which must be found.

mod books;
#[allow(dead_code)]
#[path = "../../ledger/tests/model/mod.rs"]
mod model;

use books::{checked, exported, findings, stated};
use hesuan_audit::Record;
use hesuan_audit::file::{EntryLine, FORMAT, Header, Writer};
use hesuan_ledger::types::{BasisPoints, ClaimId, Fen, Grant, HoldKey, OrgId, ProgrammeId, SiteId, Stamp, Timestamp};
use hesuan_ledger::{
    Denomination, Funder, HoldRequest, JournalEntry, Ledger, NewProgramme, NewVoucher, Rate, Rejection, Terms,
};
use model::{World, request, terms};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

const HOUR: u64 = 3_600_000;

/// What is done, and the dice for how.
type Step = (u8, u64);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec((0u8..40, any::<u64>()), 1..120)
}

struct History {
    world: World,
    attempts: u32,
    entries: Vec<JournalEntry>,
}

impl History {
    fn new(seed: u64) -> Self {
        let world = World::new(seed);
        let mut history = Self {
            world,
            attempts: 0,
            entries: Vec::new(),
        };
        history.grant_unit_hours(seed);
        history
    }

    // Two programmes in unit-hours, each with vouchers for two holders.
    fn grant_unit_hours(&mut self, seed: u64) {
        let at = self.world.at;
        for (index, sku) in ["cpu", "gpu/a800"].into_iter().enumerate() {
            let new = NewProgramme {
                name: format!("hours of {sku}").into(),
                region: hesuan_ledger::types::RegionCode(310_117),
                funders: vec![Funder {
                    name: "fund".into(),
                    share: 1,
                }],
                denomination: Denomination::UnitHours(sku.into()),
                budget: Grant(Grant::UNIT_HOUR.0 * 900),
                terms: Terms {
                    rates: vec![Rate {
                        sku: sku.into(),
                        rate: BasisPoints(1_000 + (seed >> (8 * index)) as u32 % 9_000),
                    }],
                    cap_per_job: (seed >> 40 & 1 == 0).then_some(Grant(Grant::UNIT_HOUR.0 / 3)),
                    ..Terms::default()
                },
                ..NewProgramme::default()
            };
            let id = self.world.ledger.create_programme(&new, at).expect("well formed");
            let voucher = |holder: &str, n: u64| NewVoucher {
                code: format!("{sku} {holder} {n}").into(),
                holder: holder.into(),
                face: Grant((seed >> n & 0xff_ffff) as i64 + 1),
                from: Timestamp(0),
                until: Timestamp(at.0 + 900 * HOUR),
            };
            let batch = [voucher("first", 3), voucher("first", 21), voucher("third", 9)];
            self.world.ledger.issue_vouchers(id, &batch, at).expect("well formed");
            for new in &batch {
                let holder = if &*new.holder == "first" { OrgId(2) } else { OrgId(4) };
                self.world
                    .ledger
                    .redeem_voucher(&new.code, holder, at)
                    .expect("its own");
            }
        }
        self.take();
    }

    fn take(&mut self) {
        self.entries.extend(self.world.ledger.take_journal());
    }

    fn run(&mut self, (op, dice): Step) {
        let _ = self.step(op, dice);
        self.take();
    }

    fn key(&mut self, job: u64) -> HoldKey {
        self.attempts += 1;
        HoldKey {
            job: job % 5 + 1,
            task: 0,
            attempt: self.attempts,
        }
    }

    #[allow(clippy::too_many_lines, reason = "one line a command")]
    fn step(&mut self, op: u8, dice: u64) -> Result<(), Rejection> {
        let by = |actor| Stamp {
            at: self.world.at,
            actor,
        };
        let (clerk, reviewer, payer) = (by(7), by(8), by(9));
        let byte = |n: u32| (dice >> (8 * n)) as u8;
        let amount = Fen((dice >> 32) as i64 % 2_000 + 1);
        let holder = self.world.holder(byte(0));
        let period = self.world.ledger.current_period().map_or(1, |period| period.number);
        let some_period = 1 + u32::from(byte(0)) % period;
        match op {
            0..=9 => {
                let amounts = [
                    ("cpu", byte(1) % 40),
                    ("gpu/a800", byte(2) % 9),
                    ("storage", byte(3) % 20),
                ];
                let hours = if byte(5) % 4 == 0 { 250 } else { byte(4) % 30 + 1 };
                let bill = request(holder, self.world.site(byte(6)), amounts, hours, byte(7) % 8 == 0);
                let key = self.key(dice >> 60);
                let hold = HoldRequest {
                    key,
                    request: bill,
                    quote: None,
                };
                self.world.ledger.hold(&hold, self.world.at)?;
            }
            10..=15 => {
                if let Some((id, limit)) = self.world.open_hold(byte(0)) {
                    self.world
                        .ledger
                        .settle(id, limit * u64::from(byte(1)) / 200, self.world.at)?;
                }
            }
            16 => {
                if let Some((id, _)) = self.world.open_hold(byte(0)) {
                    self.world.ledger.release(id, self.world.at)?;
                }
            }
            17 | 18 => {
                let settled: Vec<HoldKey> = self.world.ledger.settled().map(|settled| settled.key).collect();
                if !settled.is_empty() {
                    let key = settled[dice as usize % settled.len()];
                    let amount = (byte(1) % 3 > 0).then_some(Fen(i64::from(byte(2)) + 1));
                    self.world.ledger.refund(key, amount, "site at fault", clerk)?;
                }
            }
            19 => drop(
                self.world
                    .issue(byte(0), byte(1), (dice >> 16) as u16 % 3_000 + 1, byte(4) % 90 + 1),
            ),
            20 => self.world.ledger.credit_wallet(holder, amount, "bank", clerk)?,
            21 => self.world.ledger.withdraw(holder, amount, "bank", clerk)?,
            22 => {
                let amounts = [("cpu", byte(1) % 40), ("gpu/a800", 0), ("storage", 0)];
                let bill = request(holder, self.world.site(byte(2)), amounts, byte(3) % 40 + 1, false);
                let until = Timestamp(self.world.at.0 + u64::from(byte(4)) * 300_000);
                let quote = self.world.ledger.hold_quote(&bill, until, clerk)?;
                self.world.quotes.push((quote, bill));
            }
            23 => {
                if let Some((quote, mut bill)) = self.world.quote(byte(0)) {
                    if byte(1) % 2 == 0 {
                        bill.walltime_ms_max = bill.walltime_ms_max / 2 + 1;
                    }
                    let key = self.key(dice >> 60);
                    let hold = HoldRequest {
                        key,
                        request: bill,
                        quote: Some(quote),
                    };
                    self.world.ledger.hold(&hold, self.world.at)?;
                }
            }
            24 => {
                if let Some((id, _)) = self.world.open_hold(byte(0)) {
                    self.world
                        .ledger
                        .extend(id, u64::from(byte(1) % 100 + 1) * HOUR, self.world.at)?;
                }
            }
            25 => {
                let voucher = self.world.voucher(byte(0));
                match byte(1) % 4 {
                    0 => self.world.ledger.suspend_voucher(voucher, "looked at", clerk)?,
                    1 => self.world.ledger.resume_voucher(voucher, "looked at", clerk)?,
                    _ => self
                        .world
                        .ledger
                        .revoke_voucher(voucher, byte(2) % 2 == 0, "false papers", clerk)?,
                }
            }
            26 => {
                let programme = self.world.programme(byte(0));
                let terms = terms(dice >> 8);
                self.world
                    .ledger
                    .revise_programme(programme, &terms, None, byte(7) % 2 == 0, clerk)?;
            }
            27 => {
                let group = if byte(1) % 2 == 0 { "provider" } else { "" };
                self.world.ledger.update_org(holder, None, Some(group), clerk)?;
            }
            28 => {
                let budget = Grant(i64::from((dice >> 16) as u16) + 1);
                self.world
                    .ledger
                    .set_budget(self.world.programme(byte(0)), budget, clerk)?;
            }
            29 => self.world.price(byte(0), dice >> 48)?,
            30 => self
                .world
                .ledger
                .end_agreement(self.world.agreement(byte(0)), None, clerk)?,
            31 | 32 => {
                self.world.at.0 += u64::from(byte(0)) * HOUR / if byte(1) % 3 == 0 { 1 } else { 8 };
                self.world.ledger.expire_due(self.world.at, usize::from(byte(2)));
            }
            33 => drop(self.world.ledger.end_period(reviewer)?),
            34 => {
                self.world.ledger.expire_due(self.world.at, 1_000);
                let open = self
                    .world
                    .ledger
                    .periods_after(0)
                    .find(|period| period.closed.is_none());
                let number = open.map_or(1, |period| period.number);
                self.world.ledger.close_period(number, reviewer)?;
            }
            35 => self.world.ledger.review_settlement(some_period, OrgId(1), reviewer)?,
            36 => drop(self.world.ledger.pay_settlement(some_period, OrgId(1), "bank", payer)?),
            37 => {
                let programme = self.world.programme(byte(0));
                let funder = format!("funder {}", byte(1) % 3);
                let due = Fen(amount.0 % 300 + 1);
                self.world.ledger.pay_in(programme, &funder, due, "bank", payer)?;
            }
            38 => {
                let claims: Vec<ClaimId> = self
                    .world
                    .ledger
                    .claims_after(ClaimId(0))
                    .map(|claim| claim.id)
                    .collect();
                let some = claims.get(dice as usize % claims.len().max(1)).copied();
                match (byte(1) % 3, some) {
                    (0, Some(id)) => self
                        .world
                        .ledger
                        .review_claim(id, byte(2) % 4 > 0, "looked at", reviewer)?,
                    (1, Some(id)) => drop(self.world.ledger.pay_claim(id, "bank", payer)?),
                    _ => {
                        let programme = self.world.programme(byte(3));
                        let part = (byte(4) % 2 == 0).then_some(Fen(i64::from(byte(5)) + 1));
                        self.world.ledger.file_claim(holder, programme, part, clerk)?;
                    }
                }
            }
            _ => {
                let org = OrgId(1 + u32::from(byte(1)) % 4);
                match byte(2) % 2 {
                    0 => self.world.ledger.collect(org, Fen(amount.0 % 50 + 1), "bank", payer)?,
                    _ => {
                        let programme = self.world.programme(byte(3));
                        self.world
                            .ledger
                            .repay_fund(programme, Fen(amount.0 % 50 + 1), "bank", payer)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn history(seed: u64, steps: &[Step]) -> History {
    let mut history = History::new(seed);
    for step in steps {
        history.run(*step);
    }
    history
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn random_histories_agree(seed in any::<u64>(), steps in steps()) {
        let history = history(seed, &steps);
        let report = checked(&exported(&history.world.ledger, &history.entries));
        prop_assert!(report.agreed, "{}\n{}", findings(&report), shown(&history));
    }
}

fn shown(history: &History) -> String {
    let entry = |entry: &JournalEntry| {
        let record = Record::read(&entry.record).expect("the ledger writes records");
        format!(
            "{} {} at {} {:?} {:?}\n",
            record.index,
            record.kind,
            record.at_ms,
            record.facts,
            record
                .transfers
                .iter()
                .map(|t| (t.debit, t.credit, t.amount))
                .collect::<Vec<_>>()
        )
    };
    history.entries.iter().map(entry).collect()
}
