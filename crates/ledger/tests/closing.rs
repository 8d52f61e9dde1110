//! Random months: jobs, refunds, ends and closes of periods, claims, settlements and payments in any order, against a bookkeeper who
//! keeps every line and adds them up anew. After every command all invariants are recomputed (I14, I15 among them), every statement of
//! every period is the bookkeeper's, the balances are the fold of the journal, and a refusal has changed no byte. In the end everything
//! can be paid: nobody owes anybody, and what the treasury holds are the deposits.

mod naive;

use std::collections::{BTreeMap, BTreeSet};

use hesuan_ledger::types::{
    BasisPoints, ClaimId, Fen, Funding, Grant, HoldId, HoldKey, Line, OrgId, ProgrammeId, RegionCode, SiteId, Stamp,
    Timestamp, VoucherId,
};
use hesuan_ledger::{
    Account, CLOSED_PERIODS_KEPT, CaptureWindow, Denomination, EntryKind, Funder, HoldRequest, Ledger, NewAgreement,
    NewOrg, NewProgramme, NewVoucher, QuoteRequest, Rate, Redemption, Rejection, TallyKey, Terms,
};
use naive::{Bookkeeper, YEAR_2026};
use proptest::prelude::*;

const HOUR: u64 = 3_600_000;
const REGIONS: [RegionCode; 3] = [RegionCode(310_117), RegionCode(330_100), RegionCode(340_100)];
const PROGRAMMES: [(usize, &[u32], Redemption, u32); 5] = [
    (0, &[1], Redemption::Provider, 3_000),
    (1, &[2, 1], Redemption::Provider, 2_500),
    (2, &[1, 1, 1], Redemption::Holder, 2_000),
    (0, &[1], Redemption::Holder, 1_111),
    (1, &[3, 4], Redemption::Provider, 1_500),
];
const PROVIDERS: [OrgId; 2] = [OrgId(1), OrgId(2)];
const HOLDERS: [OrgId; 3] = [OrgId(3), OrgId(4), OrgId(5)];

#[derive(Clone, Debug)]
enum Command {
    Hold {
        holder: u8,
        site: u8,
        cpu: u8,
        minutes: u16,
    },
    Settle {
        hold: u8,
        share: u8,
    },
    Release {
        hold: u8,
    },
    Refund {
        job: u8,
        amount: u16,
    },
    Wait {
        hours: u16,
    },
    Expire {
        steps: u8,
    },
    Extend {
        hold: u8,
        hours: u8,
    },
    Move {
        holder: u8,
        region: u8,
    },
    Defraud {
        voucher: u8,
    },
    End,
    Close {
        ahead: u8,
    },
    File {
        holder: u8,
        programme: u8,
        amount: u16,
        actor: u8,
    },
    ReviewClaim {
        claim: u8,
        approve: bool,
        actor: u8,
    },
    PayClaim {
        claim: u8,
        actor: u8,
    },
    Review {
        settlement: u8,
        actor: u8,
    },
    Pay {
        settlement: u8,
        actor: u8,
    },
    PayIn {
        programme: u8,
        funder: u8,
        amount: u16,
    },
    Collect {
        org: u8,
        amount: u16,
    },
    Repay {
        programme: u8,
        amount: u16,
    },
    Withdraw {
        holder: u8,
        amount: u16,
    },
}

fn commands() -> impl Strategy<Value = Command> {
    prop_oneof![
        12 => (0u8..3, 0u8..3, 1u8..30, 1u16..6_000).prop_map(|(holder, site, cpu, minutes)| Command::Hold { holder, site, cpu, minutes }),
        12 => (any::<u8>(), any::<u8>()).prop_map(|(hold, share)| Command::Settle { hold, share }),
        1 => any::<u8>().prop_map(|hold| Command::Release { hold }),
        6 => (any::<u8>(), any::<u16>()).prop_map(|(job, amount)| Command::Refund { job, amount }),
        6 => (0u16..500).prop_map(|hours| Command::Wait { hours }),
        4 => (1u8..100).prop_map(|steps| Command::Expire { steps }),
        2 => (any::<u8>(), 1u8..100).prop_map(|(hold, hours)| Command::Extend { hold, hours }),
        1 => (0u8..3, 0u8..3).prop_map(|(holder, region)| Command::Move { holder, region }),
        1 => any::<u8>().prop_map(|voucher| Command::Defraud { voucher }),
        1 => Just(Command::End),
        6 => (0u8..8).prop_map(|ahead| Command::Close { ahead: ahead.saturating_sub(6) }),
        3 => (0u8..3, 0u8..5, any::<u16>(), 1u8..5).prop_map(|(holder, programme, amount, actor)| Command::File { holder, programme, amount, actor }),
        3 => (any::<u8>(), any::<bool>(), 1u8..5).prop_map(|(claim, approve, actor)| Command::ReviewClaim { claim, approve, actor }),
        3 => (any::<u8>(), 1u8..5).prop_map(|(claim, actor)| Command::PayClaim { claim, actor }),
        5 => (any::<u8>(), 1u8..5).prop_map(|(settlement, actor)| Command::Review { settlement, actor }),
        5 => (any::<u8>(), 1u8..5).prop_map(|(settlement, actor)| Command::Pay { settlement, actor }),
        4 => (0u8..5, 0u8..3, any::<u16>()).prop_map(|(programme, funder, amount)| Command::PayIn { programme, funder, amount }),
        2 => (1u8..6, any::<u16>()).prop_map(|(org, amount)| Command::Collect { org, amount }),
        2 => (0u8..5, any::<u16>()).prop_map(|(programme, amount)| Command::Repay { programme, amount }),
        1 => (0u8..3, any::<u16>()).prop_map(|(holder, amount)| Command::Withdraw { holder, amount }),
    ]
}

struct World {
    ledger: Ledger,
    books: Bookkeeper,
    at: Timestamp,
    jobs: u64,
    // Statements as they were at the close.
    frozen: BTreeMap<u32, String>,
    balances: BTreeMap<Account, i64>,
    // What the funders of each programme have paid in, less what they were given back.
    from_funds: BTreeMap<ProgrammeId, i64>,
    // Providers that owed something at any time: what they are paid is less than what they earned.
    owed: BTreeSet<OrgId>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn statements_are_the_sum_of_their_lines(seed in any::<u32>(), commands in proptest::collection::vec(commands(), 1..120)) {
        let mut world = World::new(seed);
        for (step, command) in commands.iter().enumerate() {
            let before = bytes(&world.ledger);
            let refused = world.run(command).is_err();
            prop_assert!(!refused || bytes(&world.ledger) == before, "a refusal changed the books: {:?}", command);
            world.compare();
            if step % 16 == 7 {
                let restored = Ledger::decode_snapshot([bytes(&world.ledger)]).expect("what was written can be read");
                prop_assert!(bytes(&restored) == bytes(&world.ledger), "a restored ledger differs");
                world.ledger = restored;
            }
        }
        world.settle_everything();
    }
}

impl World {
    fn new(seed: u32) -> Self {
        let at = Timestamp(YEAR_2026 + u64::from(seed % 700) * HOUR);
        let mut ledger = Ledger::new();
        ledger.set_capture_window(CaptureWindow {
            keep_ms: u64::MAX,
            count_max: u64::MAX,
        });
        for (index, name) in ["one", "two", "first", "second", "third"].into_iter().enumerate() {
            let org = NewOrg {
                name: name.into(),
                region: REGIONS[(index + 1) % 3],
                ..NewOrg::default()
            };
            ledger.create_org(&org, at).expect("well formed");
        }
        for holder in HOLDERS {
            ledger.credit_wallet(holder, Fen(60_000), "", at).expect("well formed");
        }
        // The second provider runs two sites.
        for (index, provider) in [OrgId(1), OrgId(2), OrgId(2)].into_iter().enumerate() {
            let site = SiteId(index as u32 + 1);
            ledger
                .register_site(site, REGIONS[index], provider, at)
                .expect("well formed");
            ledger
                .set_prices(site, &[("cpu".into(), 7_777 + 1_000 * index as u64)], None, at)
                .expect("well formed");
        }
        for issuer in REGIONS {
            for provider in REGIONS.into_iter().filter(|region| *region != issuer) {
                let new = NewAgreement {
                    issuer_region: issuer,
                    provider_region: Some(provider),
                    rate: BasisPoints(2_000),
                    until: Timestamp::FAR,
                    ..NewAgreement::default()
                };
                ledger.create_agreement(&new, at).expect("well formed");
            }
        }
        for (index, (region, shares, redemption, rate)) in PROGRAMMES.into_iter().enumerate() {
            // The last grants core-hours.
            let (denomination, budget, face) = if index + 1 < PROGRAMMES.len() {
                (Denomination::Money, 1_000_000, 5_000)
            } else {
                let hours = Grant::UNIT_HOUR.0;
                (Denomination::UnitHours("cpu".into()), 10_000 * hours, 500 * hours)
            };
            let funder = |(place, share): (usize, &u32)| Funder {
                name: format!("fund {place}").into(),
                share: *share,
            };
            let new = NewProgramme {
                name: format!("programme {index}").into(),
                region: REGIONS[region],
                funders: shares.iter().enumerate().map(funder).collect(),
                denomination,
                budget: Grant(budget),
                redemption,
                terms: Terms {
                    rates: vec![Rate {
                        sku: "cpu".into(),
                        rate: BasisPoints(rate),
                    }],
                    carry_over: true,
                    reinstate_refunds: seed >> index & 1 == 1,
                    ..Terms::default()
                },
                ..NewProgramme::default()
            };
            let programme = ledger.create_programme(&new, at).expect("well formed");
            for (number, holder) in HOLDERS.into_iter().enumerate() {
                // Not every holder has a voucher of every programme.
                if seed.rotate_right(4 + index as u32 * 3 + number as u32) & 3 == 0 {
                    continue;
                }
                let code = format!("V-{index}-{number}");
                let new = NewVoucher {
                    code: code.as_str().into(),
                    holder: ledger.org(holder).expect("made above").registered.name.clone(),
                    face: Grant(face),
                    from: Timestamp(0),
                    until: Timestamp::FAR,
                };
                ledger.issue_vouchers(programme, &[new], at).expect("well formed");
                ledger.redeem_voucher(&code, holder, at).expect("just issued");
            }
        }
        let mut world = Self {
            ledger,
            books: Bookkeeper::new(at),
            at,
            jobs: 0,
            frozen: BTreeMap::new(),
            balances: BTreeMap::new(),
            from_funds: BTreeMap::new(),
            owed: BTreeSet::new(),
        };
        world.fold();
        world
    }

    fn run(&mut self, command: &Command) -> Result<(), Rejection> {
        let before = self.at;
        let done = self.dispatch(command);
        let at = if matches!(command, Command::Wait { .. }) {
            before
        } else {
            self.at
        };
        self.books.look(&self.ledger, at);
        done
    }

    // All that is due happens, and the bookkeeper sees what was captured before it may be counted anew.
    fn pass(&mut self) {
        while self.ledger.expire_due(self.at, 100).count > 0 {}
        self.books.look(&self.ledger, self.at);
    }

    fn dispatch(&mut self, command: &Command) -> Result<(), Rejection> {
        let at = self.at;
        let by = |actor: u8| Stamp {
            at,
            actor: u32::from(actor),
        };
        match *command {
            Command::Hold {
                holder,
                site,
                cpu,
                minutes,
            } => self.hold(holder, site, cpu, minutes),
            Command::Settle { hold, share } => {
                let Some((id, limit_ms)) = self.open_hold(hold) else {
                    return Ok(());
                };
                let wall_ms = limit_ms * u64::from(share) / 200;
                // Mostly so much has passed.
                if !share.is_multiple_of(4) {
                    let opened_at = self.ledger.open_hold(id).expect("it is open").opened_at;
                    self.at = self.at.max(Timestamp(opened_at.0 + wall_ms));
                }
                self.pass();
                self.ledger.settle(id, wall_ms, self.at).map(drop)
            }
            Command::Release { hold } => {
                self.pass();
                match self.open_hold(hold) {
                    Some((id, _)) => self.ledger.release(id, at),
                    None => Ok(()),
                }
            }
            Command::Refund { job, amount } => {
                let key = key(1 + u64::from(job) % self.jobs.max(1));
                let amount = (amount < 50_000).then_some(Fen(i64::from(amount % 300)));
                self.ledger.refund(key, amount, "", at).map(drop)
            }
            Command::Wait { hours } => {
                self.at = Timestamp(at.0 + u64::from(hours) * HOUR);
                Ok(())
            }
            Command::Expire { steps } => {
                self.ledger.expire_due(at, usize::from(steps));
                Ok(())
            }
            Command::Extend { hold, hours } => match self.open_hold(hold) {
                Some((id, _)) => self.ledger.extend(id, u64::from(hours) * HOUR, at).map(drop),
                None => Ok(()),
            },
            Command::Move { holder, region } => {
                let region = REGIONS[usize::from(region)];
                self.ledger
                    .update_org(HOLDERS[usize::from(holder)], Some(region), None, at)
            }
            Command::Defraud { voucher } => {
                let count = self.ledger.vouchers_after(VoucherId(0)).count() as u64;
                let voucher = VoucherId(1 + u64::from(voucher) % count.max(1));
                self.ledger.revoke_voucher(voucher, true, "", at)
            }
            Command::End => {
                let number = self.ledger.end_period(by(1))?;
                self.books.end(at);
                assert_eq!(number + 1, self.books.current());
                Ok(())
            }
            Command::Close { ahead } => {
                let number = self.frozen.len() as u32 + 1 + u32::from(ahead);
                self.close(number, by(1))
            }
            Command::File {
                holder,
                programme,
                amount,
                actor,
            } => {
                let amount = (amount < 40_000).then_some(Fen(i64::from(amount % 400)));
                let (holder, programme) = (HOLDERS[usize::from(holder)], ProgrammeId(u32::from(programme) + 1));
                self.ledger.file_claim(holder, programme, amount, by(actor)).map(drop)
            }
            Command::ReviewClaim { claim, approve, actor } => {
                self.ledger.review_claim(self.claim(claim), approve, "", by(actor))
            }
            Command::PayClaim { claim, actor } => {
                let id = self.claim(claim);
                let cash = self.ledger.pay_claim(id, "", by(actor))?;
                let programme = self.ledger.claim(id).expect("just paid").programme;
                let owed: i64 = HOLDERS
                    .iter()
                    .flat_map(|holder| self.ledger.claimable(*holder))
                    .filter(|(of, _)| *of == programme)
                    .map(|(_, account)| account.claimable.0 + account.filed.0)
                    .sum();
                let due = self.ledger.balance(Account::Due(programme, 0));
                assert!(
                    cash == Fen::ZERO || self.shares(programme) > 1 || due <= owed,
                    "a claim was paid that the fund of {programme} had not paid in"
                );
                Ok(())
            }
            Command::Review { settlement, actor } => {
                let (period, provider) = self.settlement(settlement);
                self.ledger.review_settlement(period, provider, by(actor))
            }
            Command::Pay { settlement, actor } => {
                let (period, provider) = self.settlement(settlement);
                let (receivable, expected) = self.outstanding(period, provider);
                let cash = self.ledger.pay_settlement(period, provider, "", by(actor))?;
                if cash > Fen::ZERO {
                    self.assert_paid_in(period, provider);
                }
                let earlier = self.ledger.settlements_after(0, OrgId(0));
                let mut earlier = earlier.filter(|other| other.provider == provider && other.period < period);
                assert!(
                    earlier.all(|other| other.paid.is_some()),
                    "{provider} is paid out of order"
                );
                if !self.owed.contains(&provider) {
                    assert_eq!(
                        cash.0,
                        expected.max(0).min(receivable),
                        "paid to {provider} for period {period}"
                    );
                }
                Ok(())
            }
            Command::PayIn {
                programme,
                funder,
                amount,
            } => {
                let programme = ProgrammeId(u32::from(programme) + 1);
                let due = Fen(self.ledger.balance(Account::Due(programme, funder)));
                self.ledger
                    .pay_in(programme, &format!("fund {funder}"), some_of(due, amount), "", at)
            }
            Command::Collect { org, amount } => {
                let org = OrgId(org.into());
                let owes = Fen(self.ledger.balance(Account::Owes(org)));
                self.ledger.collect(org, some_of(owes, amount), "", at)
            }
            Command::Repay { programme, amount } => {
                let programme = ProgrammeId(u32::from(programme) + 1);
                let recovery = Fen(self.ledger.balance(Account::Recovery(programme)));
                self.ledger.repay_fund(programme, some_of(recovery, amount), "", at)
            }
            Command::Withdraw { holder, amount } => {
                let holder = HOLDERS[usize::from(holder)];
                let available = self.ledger.funds(holder).wallet_available;
                self.ledger.withdraw(holder, some_of(available, amount), "", at)?;
                let deposits =
                    |org| self.ledger.balance(Account::Wallet(org)) + self.ledger.balance(Account::WalletHeld(org));
                let others: i64 = HOLDERS.into_iter().filter(|org| *org != holder).map(deposits).sum();
                assert!(
                    self.ledger.balance(Account::Treasury) >= others,
                    "{holder} withdrew what others had put in"
                );
                Ok(())
            }
        }
    }

    fn shares(&self, programme: ProgrammeId) -> usize {
        PROGRAMMES[programme.0 as usize - 1].1.len()
    }

    // What a provider was paid of each programme, its own funders had paid in: they owe nothing but what was used in later periods.
    fn assert_paid_in(&self, period: u32, provider: OrgId) {
        for index in 0..PROGRAMMES.len() {
            let programme = ProgrammeId(index as u32 + 1);
            let lines = || self.books.lines.iter().filter(|line| line.key.programme == programme);
            let on_sheet =
                lines().filter(|line| line.key.period == period && line.provider == provider && !line.to_holder);
            let net: i64 = on_sheet.map(|line| line.captured - line.refunded).sum();
            for place in (0..self.shares(programme)).filter(|_| net > 0) {
                let later: i64 = lines()
                    .filter(|line| line.key.of > period)
                    .map(|line| line.parts[place])
                    .sum();
                let due = self.ledger.balance(Account::Due(programme, place as u8));
                assert!(
                    due <= later,
                    "fund {place} of {programme} has {due} to pay in, {later} of it later"
                );
            }
        }
    }

    fn hold(&mut self, holder: u8, site: u8, cpu: u8, minutes: u16) -> Result<(), Rejection> {
        let job = self.jobs + 1;
        let request = QuoteRequest {
            payer: HOLDERS[usize::from(holder)],
            site: SiteId(u32::from(site) + 1),
            lines: vec![Line {
                sku: "cpu".into(),
                milli_units: u64::from(cpu) * 333,
            }],
            walltime_ms_max: u64::from(minutes) * 60_000,
            funding: Funding::Auto,
            allow_partial: true,
            ..QuoteRequest::default()
        };
        let request = HoldRequest {
            key: key(job),
            request,
            quote: None,
        };
        self.ledger.hold(&request, self.at)?;
        let payer = self.ledger.org(request.request.payer).expect("it holds");
        self.books.opened.insert(job, (self.at.0, payer.registered.region));
        self.jobs = job;
        Ok(())
    }

    fn close(&mut self, number: u32, by: Stamp) -> Result<(), Rejection> {
        self.ledger.close_period(number, by)?;
        self.books.close(number, by.at);
        self.frozen.insert(number, self.statements(number));
        Ok(())
    }

    fn open_hold(&self, index: u8) -> Option<(HoldId, u64)> {
        let open: Vec<_> = self
            .ledger
            .open_holds()
            .map(|(id, hold)| (id, hold.pinned.walltime_ms_max))
            .collect();
        open.get(usize::from(index) % open.len().max(1)).copied()
    }

    fn claim(&self, index: u8) -> ClaimId {
        let count = self.ledger.claims_after(ClaimId(0)).count() as u64;
        ClaimId(1 + u64::from(index) % count.max(1))
    }

    // Mostly one that there is.
    fn settlement(&self, index: u8) -> (u32, OrgId) {
        let all: Vec<_> = self
            .ledger
            .settlements_after(0, OrgId(0))
            .map(|settlement| (settlement.period, settlement.provider))
            .collect();
        let chosen = all.get(usize::from(index) % (all.len() + 1)).copied();
        chosen.unwrap_or((self.books.current(), PROVIDERS[usize::from(index) % 2]))
    }

    // What a provider has to receive in all, and by its sheets up to a period less what it was paid.
    fn outstanding(&self, period: u32, provider: OrgId) -> (i64, i64) {
        let lines = self.books.lines.iter();
        let earned = lines.filter(|line| line.key.period <= period && line.provider == provider && !line.to_holder);
        let earned: i64 = earned.map(|line| line.captured - line.refunded).sum();
        let settlements = self.ledger.settlements_after(0, OrgId(0));
        let paid = settlements.filter(|settlement| settlement.provider == provider);
        let paid: i64 = paid
            .filter_map(|settlement| settlement.paid)
            .map(|paid| paid.cash.0)
            .sum();
        (self.ledger.balance(Account::Receivable(provider)), earned - paid)
    }

    fn statements(&self, number: u32) -> String {
        let sheets = PROVIDERS.map(|provider| self.ledger.sheet(number, provider));
        let totals: Vec<_> = self.ledger.holder_totals_after(number, OrgId(0)).collect();
        format!(
            "{:?} {sheets:?} {:?} {totals:?}",
            self.ledger.clearing(number),
            self.ledger.payables(number)
        )
    }

    fn compare(&mut self) {
        let owing = PROVIDERS
            .into_iter()
            .filter(|provider| self.ledger.balance(Account::Owes(*provider)) > 0);
        self.owed.extend(owing);
        self.ledger.check();
        self.fold();
        for account in self.ledger.accounts() {
            let folded = self.balances.get(&account).copied().unwrap_or(0);
            assert_eq!(
                folded,
                self.ledger.balance(account),
                "{account} by the journal and in the books"
            );
        }
        for number in 1..=self.books.current() {
            if self.ledger.period(number).is_some() {
                self.compare_lines(number);
                self.compare_statements(number);
            }
        }
        for (number, frozen) in &self.frozen {
            assert_eq!(
                &self.statements(*number),
                frozen,
                "period {number} changed after its close"
            );
        }
    }

    fn compare_lines(&self, number: u32) {
        let mut expected: BTreeMap<TallyKey, (i64, i64, u64, u64, Vec<i64>)> = BTreeMap::new();
        for line in self.books.lines.iter().filter(|line| line.key.period == number) {
            let sum = expected.entry(line.key).or_default();
            sum.0 += line.captured;
            sum.1 += line.refunded;
            sum.2 += u64::from(line.captured > 0);
            sum.3 += u64::from(line.refunded > 0);
            sum.4.resize(line.parts.len(), 0);
            for (sum, part) in sum.4.iter_mut().zip(&line.parts) {
                *sum += part;
            }
        }
        let found: BTreeMap<_, _> = self
            .ledger
            .tallies(number)
            .map(|(key, tally)| {
                let mut parts: Vec<i64> = tally.parts().map(|part| part.0).collect();
                if key.programme == ProgrammeId(0) {
                    parts.clear();
                }
                let sums = (tally.captured.0, tally.refunded.0, tally.captures, tally.refunds, parts);
                (*key, sums)
            })
            .collect();
        assert_eq!(found, expected, "lines of period {number}");
    }

    fn compare_statements(&self, number: u32) {
        let lines = || self.books.lines.iter().filter(|line| line.key.period == number);
        let net = |line: &naive::Line| line.captured - line.refunded;
        for provider in PROVIDERS {
            let sheet = self.ledger.sheet(number, provider).expect("both are known");
            let earned: i64 = lines()
                .filter(|line| line.provider == provider && !line.to_holder)
                .map(net)
                .sum();
            assert_eq!(sheet.net.0, earned, "sheet of {provider} for period {number}");
        }
        let issuer = |line: &naive::Line| Some(REGIONS[PROGRAMMES[line.key.programme.0.checked_sub(1)? as usize].0]);
        let clearing = self.ledger.clearing(number).expect("it is known");
        for one in REGIONS {
            for other in REGIONS {
                let owed: i64 = lines()
                    .filter(|line| issuer(line) == Some(one) && line.key.payee_region == other)
                    .map(net)
                    .sum();
                let found = clearing
                    .cells
                    .iter()
                    .find(|cell| (cell.issuer, cell.payee) == (one, other));
                assert_eq!(
                    found.map_or(0, |cell| cell.net.0),
                    owed,
                    "{one} owes {other} in period {number}"
                );
            }
        }
        let payables = self.ledger.payables(number).expect("it is known");
        for (index, (_, shares, ..)) in PROGRAMMES.into_iter().enumerate() {
            let programme = ProgrammeId(index as u32 + 1);
            for place in 0..shares.len() {
                let part = |line: &naive::Line| line.parts[place];
                let of = || lines().filter(|line| line.key.programme == programme);
                let ordinary: i64 = of().filter(|line| line.key.of == number).map(part).sum();
                let corrections: i64 = of().filter(|line| line.key.of != number).map(part).sum();
                let found = payables
                    .iter()
                    .find(|payable| (payable.programme, usize::from(payable.funder)) == (programme, place));
                let found = found.map_or((0, 0), |payable| (payable.ordinary.0, payable.corrections.0));
                assert_eq!(
                    found,
                    (ordinary, corrections),
                    "fund {place} of {programme} in period {number}"
                );
            }
        }
        for holder in HOLDERS {
            let bills = |is_refund: bool| {
                let of =
                    move |bill: &&naive::Bill| (bill.period, bill.payer, bill.is_refund) == (number, holder, is_refund);
                self.books.bills.iter().filter(of)
            };
            let sum = |is_refund, amount: fn(&naive::Bill) -> i64| -> i64 { bills(is_refund).map(amount).sum() };
            let found = self.ledger.holder_totals(number, holder).copied().unwrap_or_default();
            assert_eq!(
                (found.cells as usize, found.gross.0, found.subsidy.0, found.wallet.0),
                (
                    bills(false).count(),
                    sum(false, |bill| bill.gross),
                    sum(false, |bill| bill.subsidy),
                    sum(false, |bill| bill.wallet)
                )
            );
            assert_eq!(
                (found.refunds as usize, found.refunded.0, found.to_wallet.0),
                (
                    bills(true).count(),
                    sum(true, |bill| bill.gross),
                    sum(true, |bill| bill.wallet)
                )
            );
            let payer: i64 = lines()
                .filter(|line| line.payer == holder && line.key.programme == ProgrammeId(0))
                .map(net)
                .sum();
            assert_eq!(found.wallet.0 - found.to_wallet.0, payer);
        }
    }

    // Balances are the fold of the journal, and what a close wrote into it are the bookkeeper's sums.
    fn fold(&mut self) {
        for entry in self.ledger.take_journal() {
            let entry = entry.read().expect("just written");
            for (debit, credit, amount) in entry.transfers {
                *self.balances.entry(debit).or_default() += amount * if debit.is_debit() { 1 } else { -1 };
                *self.balances.entry(credit).or_default() += amount * if credit.is_debit() { -1 } else { 1 };
            }
            let fund = |place: usize| (ProgrammeId(entry.facts[0] as u32), entry.facts[place] as i64);
            if entry.kind == EntryKind::PayIn as u32 {
                let (programme, amount) = fund(2);
                *self.from_funds.entry(programme).or_default() += amount;
            } else if entry.kind == EntryKind::RepayFund as u32 {
                let (programme, amount) = fund(1);
                *self.from_funds.entry(programme).or_default() -= amount;
            }
            if entry.kind != EntryKind::ClosePeriod as u32 {
                continue;
            }
            let mut facts = entry.facts.into_iter();
            let mut next = || facts.next().expect("a row is whole");
            let (number, rows) = (next() as u32, next());
            let mut net: BTreeMap<(u64, usize), i64> = BTreeMap::new();
            for _ in 0..rows {
                let row: Vec<u64> = (0..9).map(|_| next()).collect();
                let (programme, whole) = (row[1], row[5] as i64 - row[6] as i64);
                let parts: Vec<i64> = (0..next()).map(|_| next()).map(unzigzag).collect();
                assert_eq!(parts.is_empty(), programme == 0);
                assert!(parts.is_empty() || parts.iter().sum::<i64>() == whole);
                for (place, part) in parts.iter().enumerate() {
                    *net.entry((programme, place)).or_default() += part;
                }
                *net.entry((programme, 99)).or_default() += whole;
            }
            assert_eq!(facts.next(), None, "a close is followed by nothing");
            let mut expected: BTreeMap<(u64, usize), i64> = BTreeMap::new();
            for line in self.books.lines.iter().filter(|line| line.key.period == number) {
                let programme = u64::from(line.key.programme.0);
                for (place, part) in line.parts.iter().enumerate() {
                    *expected.entry((programme, place)).or_default() += part;
                }
                *expected.entry((programme, 99)).or_default() += line.captured - line.refunded;
            }
            assert_eq!(net, expected, "what the close of period {number} wrote down");
        }
    }

    fn pay_all_in(&mut self) {
        for (index, (_, shares, ..)) in PROGRAMMES.into_iter().enumerate() {
            let programme = ProgrammeId(index as u32 + 1);
            for place in 0..shares.len() {
                let due = Fen(self.ledger.balance(Account::Due(programme, place as u8)));
                if due > Fen::ZERO {
                    let funder = format!("fund {place}");
                    self.ledger
                        .pay_in(programme, &funder, due, "", self.at)
                        .expect("it is due");
                }
            }
        }
    }

    // Whatever came before, all accounts can be evened out.
    fn settle_everything(&mut self) {
        self.at = Timestamp(self.at.0 + 1);
        self.pass();
        while let Some((id, _)) = self.open_hold(0) {
            self.ledger.release(id, self.at).expect("it is open");
        }
        self.books.look(&self.ledger, self.at);
        self.ledger.end_period(self.at).expect("it began before");
        self.books.end(self.at);
        let by = |at, actor| Stamp { at, actor };
        for number in self.frozen.len() as u32 + 1..self.books.current() {
            self.close(number, by(self.at, 1)).expect("it has ended");
        }
        for org in PROVIDERS.into_iter().chain(HOLDERS) {
            let owes = Fen(self.ledger.balance(Account::Owes(org)));
            if owes > Fen::ZERO {
                self.ledger.collect(org, owes, "", self.at).expect("it is owed");
            }
        }
        self.pay_all_in();
        let settlements: Vec<_> = self.ledger.settlements_after(0, OrgId(0)).copied().collect();
        for settlement in settlements.iter().filter(|settlement| settlement.paid.is_none()) {
            let (period, provider) = (settlement.period, settlement.provider);
            let _ = self.ledger.review_settlement(period, provider, by(self.at, 90));
            self.ledger
                .pay_settlement(period, provider, "", by(self.at, 91))
                .expect("everybody has paid in");
        }
        for holder in HOLDERS {
            for programme in [ProgrammeId(3), ProgrammeId(4)] {
                let _ = self.ledger.file_claim(holder, programme, None, by(self.at, 90));
            }
        }
        let open: Vec<_> = self
            .ledger
            .claims_after(ClaimId(0))
            .filter(|claim| claim.is_open())
            .map(|claim| claim.id)
            .collect();
        for claim in open {
            let _ = self.ledger.review_claim(claim, true, "", by(self.at, 91));
            self.ledger
                .pay_claim(claim, "", by(self.at, 92))
                .expect("everybody has paid in");
        }
        for index in 0..PROGRAMMES.len() {
            let programme = ProgrammeId(index as u32 + 1);
            let recovery = Fen(self.ledger.balance(Account::Recovery(programme)));
            if recovery > Fen::ZERO {
                self.ledger
                    .repay_fund(programme, recovery, "", self.at)
                    .expect("everybody has paid in");
            }
        }
        self.compare();
        // The funds have paid for what true vouchers paid, and for nothing else: what false ones paid their holders have paid.
        for index in 0..PROGRAMMES.len() {
            let programme = ProgrammeId(index as u32 + 1);
            let vouchers = self.ledger.vouchers_after(VoucherId(0));
            let honest = vouchers.filter(|voucher| voucher.programme == programme && !voucher.fraud);
            let paid: i64 = honest.map(|voucher| voucher.paid.0).sum();
            let from_fund = self.from_funds.get(&programme).copied().unwrap_or(0);
            assert_eq!(from_fund, paid, "the funds of {programme} paid {from_fund} for {paid}");
        }
        let mut deposits = 0;
        for account in self.ledger.accounts() {
            let balance = Fen(self.ledger.balance(account));
            match account {
                Account::Wallet(_) | Account::WalletHeld(_) => deposits += balance.0,
                Account::Due(..)
                | Account::Owes(_)
                | Account::Receivable(_)
                | Account::Claim(_)
                | Account::Recovery(_) => {
                    assert_eq!(balance, Fen::ZERO, "{account} is not evened out");
                }
                _ => {}
            }
        }
        assert_eq!(self.ledger.balance(Account::Treasury), deposits);
    }
}

/// A year is 12 statements; after two years and a month the first is dropped, once it is paid, and the accounts still add up.
#[test]
fn old_periods_are_dropped_when_they_are_settled() {
    let mut world = World::new(0xffff_fff0);
    let mut most = 0;
    for month in 0..CLOSED_PERIODS_KEPT + 6 {
        for job in 0..3 {
            let hold = Command::Hold {
                holder: job,
                site: job,
                cpu: 20,
                minutes: 60,
            };
            world.run(&hold).expect("there is money");
            world.at.0 += HOUR;
            world.run(&Command::Settle { hold: 0, share: 200 }).expect("it is open");
        }
        let _ = world.run(&Command::File {
            holder: 1,
            programme: 2,
            amount: u16::MAX,
            actor: 4,
        });
        if month % 2 == 0 {
            let _ = world.run(&Command::Refund { job: 0, amount: 1 });
        }
        let current = world.ledger.current_period().expect("the books have begun");
        let at = Timestamp(current.until.0 + HOUR);
        let by = |actor| Stamp { at, actor };
        world.at = at;
        world.pay_all_in();
        let mut claims: Vec<_> = world
            .ledger
            .claims_after(ClaimId(0))
            .filter(|claim| claim.is_open())
            .collect();
        let claim = claims.pop().map(|claim| claim.id);
        if let Some(claim) = claim {
            world.ledger.review_claim(claim, true, "", by(2)).expect("it was filed");
            world.ledger.pay_claim(claim, "", by(3)).expect("there is money");
        }
        let number = world.books.current();
        world.close(number, by(1)).expect("its month is over");
        // The first month's settlement of the second provider waits: nothing of its period may go.
        let all: Vec<_> = world.ledger.settlements_after(0, OrgId(0)).copied().collect();
        for settlement in all.iter().filter(|settlement| settlement.paid.is_none()) {
            let (period, provider) = (settlement.period, settlement.provider);
            if provider == OrgId(2) && month < CLOSED_PERIODS_KEPT + 3 {
                continue;
            }
            world
                .ledger
                .review_settlement(period, provider, by(2))
                .expect("it is closed");
            world
                .ledger
                .pay_settlement(period, provider, "", by(3))
                .expect("there is money");
        }
        let first = world.ledger.periods_after(0).next().expect("there is one").number;
        assert!(
            first == 1 || month >= CLOSED_PERIODS_KEPT + 3,
            "an unpaid period was dropped"
        );
        let mut steps = 0;
        while world.ledger.next_expiry().is_some_and(|due| due <= world.at) {
            let expired = world.ledger.expire_due(world.at, 2);
            assert!(expired.count > 0, "something was due and nothing happened");
            world.ledger.check();
            let restored = Ledger::decode_snapshot([bytes(&world.ledger)]).expect("what was written can be read");
            restored.check();
            steps += expired.count;
        }
        most = most.max(steps);
        let kept = world.ledger.periods_after(0).next().expect("there is one").number;
        world.frozen.retain(|number, _| *number >= kept);
    }
    assert!(most > 10, "nothing was dropped");
    let kept: Vec<_> = world.ledger.periods_after(0).map(|period| period.number).collect();
    assert_eq!(kept.len() as u32, CLOSED_PERIODS_KEPT + 2);
    assert_eq!(
        world
            .ledger
            .settlements_after(0, OrgId(0))
            .next()
            .map(|settlement| settlement.period),
        kept.first().copied()
    );
    assert!(world.ledger.sheet(1, OrgId(1)).is_err());
    world.compare();
}

fn key(job: u64) -> HoldKey {
    HoldKey {
        job,
        task: 0,
        attempt: 1,
    }
}

// All of a balance, a part, or more than there is.
fn some_of(balance: Fen, dice: u16) -> Fen {
    match dice % 4 {
        0 => balance,
        1 => Fen(balance.0 + 1),
        _ => Fen(balance.0 * i64::from(dice) / i64::from(u16::MAX)),
    }
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn bytes(ledger: &Ledger) -> Vec<u8> {
    let mut bytes = Vec::new();
    ledger.encode_snapshot(&mut |chunk| bytes.extend_from_slice(chunk));
    bytes
}
