//! Every public call with numbers that nobody sane would send, in any order: each is answered, a refusal changes nothing, and the books are
//! whole after every one. Nothing here knows what is right; it only knows that nothing may break.

use hesuan_ledger::types::{
    AgreementId, BasisPoints, ClaimId, Fen, Funding, Grant, HoldId, HoldKey, Line, OrgId, ProgrammeId, QuoteId,
    RegionCode, SiteId, Stamp, Timestamp, VoucherId,
};
use hesuan_ledger::{
    BudgetPolicy, CaptureWindow, Denomination, ExpiryBasis, Funder, HoldRequest, Ledger, NewAgreement, NewOrg,
    NewProgramme, NewVoucher, OrgKind, QuoteRequest, Rate, Redemption, Rejection, Stacking, Terms,
};
use proptest::prelude::*;

// 2026-12-30 20:00 in Shanghai.
const START: Timestamp = Timestamp(1_798_632_000_000);
const HOUR: u64 = 3_600_000;

const AMOUNTS: [i64; 14] = [
    1,
    100,
    7_777,
    1_000_000,
    Grant::UNIT_HOUR.0,
    40 * Grant::UNIT_HOUR.0,
    0,
    -1,
    Fen::MAX.0,
    Fen::MAX.0 - 1,
    Fen::MAX.0 + 1,
    i64::MAX,
    i64::MIN,
    -Fen::MAX.0,
];
const TIMES_MS: [u64; 10] = [
    HOUR,
    30 * HOUR,
    800 * HOUR,
    1,
    59_999,
    0,
    100_000_000_000,
    100_000_000_001,
    u64::MAX,
    3_000 * HOUR,
];
const UNITS: [u64; 8] = [1_000, 4_000, 0, 1, 1_000_000_000_000, 1_000_000_000_001, u64::MAX, 777];
const PRICES: [u64; 9] = [
    10_000,
    325_000,
    0,
    1,
    7,
    1_000_000_000_000,
    1_000_000_000_001,
    u64::MAX,
    500,
];
const RATES: [u32; 8] = [5_000, 3_333, 10_000, 1, 0, 10_001, u32::MAX, 9_999];
const SKUS: [&str; 6] = ["cpu", "gpu/a800", "storage", "", "=cmd", "a;b"];
const PASSES_MS: [u64; 8] = [0, 0, 1, HOUR, 5 * HOUR, 24 * HOUR, 40 * 24 * HOUR, 400 * 24 * HOUR];

// A call by its number, and numbers that pick what it is given.
#[derive(Clone, Debug)]
struct Call {
    number: u8,
    picks: Vec<u16>,
}

struct Picks<'a>(std::slice::Iter<'a, u16>);

impl Picks<'_> {
    fn next(&mut self) -> usize {
        self.0.next().copied().map_or(0, usize::from)
    }

    // Sane ones come first and half of the time.
    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        let pick = self.next();
        let sane = all.len().div_ceil(3);
        if pick % 4 < 3 {
            all[pick / 4 % sane]
        } else {
            all[pick / 4 % all.len()]
        }
    }

    fn id(&mut self, most: usize) -> u64 {
        match self.next() {
            pick if pick % 16 == 15 => [0, u64::from(u32::MAX), u64::MAX][pick / 16 % 3],
            pick => 1 + (pick % most) as u64,
        }
    }

    fn org(&mut self) -> OrgId {
        OrgId(self.id(4) as u32)
    }

    fn amount(&mut self) -> Fen {
        Fen(self.of(&AMOUNTS))
    }

    fn instant(&mut self, at: Timestamp) -> Timestamp {
        match self.next() % 8 {
            0 => Timestamp(0),
            1 => Timestamp::FAR,
            2 => Timestamp(u64::MAX),
            3 => Timestamp(Timestamp::FAR.0 + 1),
            pick => Timestamp(at.0 + pick as u64 * 100 * HOUR),
        }
    }

    fn request(&mut self) -> QuoteRequest {
        let lines = (0..1 + self.next() % 3).map(|line| Line {
            sku: if self.next() % 16 == 15 {
                SKUS[self.next() % 6]
            } else {
                SKUS[line]
            }
            .into(),
            milli_units: self.of(&UNITS),
        });
        let lines = lines.collect();
        let funding = match self.next() % 8 {
            0 => Funding::WalletOnly,
            1 => Funding::Vouchers(vec![VoucherId(self.id(8)), VoucherId(self.id(8))]),
            2 => Funding::Vouchers(Vec::new()),
            3 => Funding::Vouchers(vec![VoucherId(self.id(8))]),
            _ => Funding::Auto,
        };
        QuoteRequest {
            payer: self.org(),
            site: SiteId(self.id(2) as u32),
            lines,
            walltime_ms_max: self.of(&TIMES_MS),
            funding,
            copay_max: self.next().is_multiple_of(8).then(|| self.amount()),
            allow_partial: !self.next().is_multiple_of(4),
            job: self.next().is_multiple_of(2).then(|| self.id(4)),
        }
    }

    fn terms(&mut self, in_units: bool) -> Terms {
        let sku = if in_units {
            "gpu/a800"
        } else {
            ["*", "cpu", "gpu/*", "", "c*u"][self.next() % 16 % 5]
        };
        Terms {
            rates: vec![Rate {
                sku: sku.into(),
                rate: BasisPoints(self.of(&RATES)),
            }],
            excluded_skus: if self.next().is_multiple_of(4) {
                vec!["storage".into()]
            } else {
                Vec::new()
            },
            cap_per_control_group: self.next().is_multiple_of(4).then(|| Grant(self.amount().0)),
            cap_per_job: self.next().is_multiple_of(4).then(|| Grant(self.amount().0)),
            holder_kinds: Vec::new(),
            holder_regions: if self.next().is_multiple_of(16) {
                vec![RegionCode(1)]
            } else {
                Vec::new()
            },
            stacking: match self.next() % 4 {
                0 => Stacking::Exclusive,
                _ => Stacking::Stackable {
                    total_max: BasisPoints(self.of(&[10_000, 8_001, 5_000, 0, 10_001, u32::MAX])),
                },
            },
            from: Timestamp(0),
            until: Timestamp::FAR,
            expiry_basis: if self.next().is_multiple_of(4) {
                ExpiryBasis::Hold
            } else {
                ExpiryBasis::Usage
            },
            carry_over: self.next().is_multiple_of(2),
            reinstate_refunds: self.next().is_multiple_of(2),
        }
    }
}

struct Books {
    ledger: Ledger,
    at: Timestamp,
    names: u32,
}

fn books() -> Books {
    let mut books = Books {
        ledger: Ledger::new(),
        at: START,
        names: 0,
    };
    let ledger = &mut books.ledger;
    for (name, region) in [("a", 310_117), ("b", 310_117), ("c", 330_100)] {
        let org = NewOrg {
            name: name.into(),
            region: RegionCode(region),
            ..NewOrg::default()
        };
        let id = ledger.create_org(&org, START).expect("well formed");
        let filled = ledger.credit_wallet(id, Fen::MAX, "", START);
        filled.expect("the largest amount");
    }
    for (site, region) in [(1, 310_117), (2, 330_100)] {
        let site = SiteId(site);
        let registered = ledger.register_site(site, RegionCode(region), OrgId(1), START);
        registered.expect("well formed");
        let prices = [("cpu".into(), 10_000), ("gpu/a800".into(), 1_000_000_000_000)];
        ledger.set_prices(site, &prices, None, START).expect("well formed");
    }
    for (index, sku) in [None, Some("gpu/a800"), None].into_iter().enumerate() {
        let new = NewProgramme {
            name: format!("programme {index}").into(),
            region: RegionCode(310_117),
            funders: vec![
                Funder {
                    name: "one".into(),
                    share: u32::MAX,
                },
                Funder {
                    name: "two".into(),
                    share: 1,
                },
            ],
            denomination: sku.map_or(Denomination::Money, |sku| Denomination::UnitHours(sku.into())),
            budget: Grant::MAX,
            budget_policy: if index == 2 {
                BudgetPolicy::CommitAtHold
            } else {
                BudgetPolicy::CommitAtIssue
            },
            redemption: if index == 2 {
                Redemption::Holder
            } else {
                Redemption::Provider
            },
            terms: Terms {
                rates: vec![Rate {
                    sku: sku.unwrap_or("*").into(),
                    rate: BasisPoints(5_000),
                }],
                ..Terms::default()
            },
            ..NewProgramme::default()
        };
        let programme = ledger.create_programme(&new, START).expect("well formed");
        let voucher = |holder: &str| NewVoucher {
            code: format!("{programme}-{holder}").into(),
            holder: holder.into(),
            face: Grant(Grant::MAX.0 / 4),
            from: Timestamp(0),
            until: Timestamp(START.0 + (30 + 400 * index as u64) * HOUR),
        };
        let batch = [voucher("b"), voucher("c")];
        ledger.issue_vouchers(programme, &batch, START).expect("well formed");
        for (voucher, holder) in batch.iter().zip([2, 3]) {
            let redeemed = ledger.redeem_voucher(&voucher.code, OrgId(holder), START);
            redeemed.expect("just issued");
        }
    }
    books
}

impl Books {
    fn name(&mut self, picks: &mut Picks<'_>) -> Box<str> {
        self.names += 1;
        match picks.next() % 12 {
            0 => "".into(),
            1 => "=1+1".into(),
            2 => "x".repeat(200).into(),
            3 => "a\u{7}".into(),
            4 => "a".into(),
            _ => format!("name {}", self.names).into(),
        }
    }

    fn call(&mut self, call: &Call) -> Result<(), Rejection> {
        let picks = &mut Picks(call.picks.iter());
        self.at.0 += PASSES_MS[picks.next() % PASSES_MS.len()];
        let at = self.at;
        let by = Stamp {
            at,
            actor: picks.next() as u32 % 3,
        };
        let key = HoldKey {
            job: picks.id(4),
            task: 0,
            attempt: picks.id(3) as u32,
        };
        let (voucher, hold) = (VoucherId(picks.id(8)), HoldId(picks.id(8)));
        let (programme, period) = (ProgrammeId(picks.id(3) as u32), picks.id(4) as u32);
        let in_units = programme == ProgrammeId(2);
        let ledger = &mut self.ledger;
        match call.number {
            0..=7 => {
                let request = HoldRequest {
                    key,
                    request: picks.request(),
                    quote: picks.next().is_multiple_of(16).then(|| QuoteId(picks.id(4))),
                };
                let held = ledger.hold(&request, by).map(drop);
                if let Err(refused) = &held {
                    let _ = (refused.to_string(), refused.code(), refused.kind(), refused.short_by());
                }
                held
            }
            8 | 9 => {
                let until = picks.instant(at);
                let until = if picks.next().is_multiple_of(2) {
                    Timestamp(at.0 + HOUR)
                } else {
                    until
                };
                ledger.hold_quote(&picks.request(), until, by).map(drop)
            }
            10 => ledger.release_quote(QuoteId(picks.id(4)), by),
            11..=14 => ledger.settle(hold, picks.of(&TIMES_MS), by).map(drop),
            15 => ledger.release(hold, by),
            16 | 17 => ledger.extend(hold, picks.of(&TIMES_MS), by).map(drop),
            18 | 19 => {
                let amount = picks.next().is_multiple_of(2).then(|| picks.amount());
                ledger.refund(key, amount, "", by).map(drop)
            }
            20 => ledger.revoke_voucher(voucher, picks.next().is_multiple_of(2), "", by),
            21 => ledger.suspend_voucher(voucher, "", by),
            22 => ledger.resume_voucher(voucher, "", by),
            23 => {
                let group = ["a", "b", "", "=x", "new"][picks.next() % 5];
                let region = RegionCode(picks.of(&[310_117, 330_100, 0, u32::MAX]));
                ledger.update_org(picks.org(), Some(region), Some(group), by)
            }
            24 => {
                let (from, immediate) = (picks.instant(at), picks.next().is_multiple_of(2));
                let from = picks.next().is_multiple_of(2).then_some(from);
                let revised = ledger.revise_programme(programme, &picks.terms(in_units), from, immediate, by);
                revised.map(drop)
            }
            25 => ledger.set_budget(programme, Grant(picks.amount().0), by),
            26 => {
                let new = NewVoucher {
                    code: self.name(picks),
                    holder: ["b", "c", "nobody"][picks.next() % 3].into(),
                    face: Grant(picks.amount().0),
                    from: picks.instant(at),
                    until: picks.instant(at),
                };
                self.ledger.issue_vouchers(programme, &[new], by).map(drop)
            }
            27 => {
                let code = ledger.voucher(voucher).map_or("".into(), |known| known.code.clone());
                ledger.redeem_voucher(&code, picks.org(), by).map(drop)
            }
            28 => {
                let site = SiteId(picks.id(2) as u32);
                let prices = [(SKUS[picks.next() % 12 % 6].into(), picks.of(&PRICES))];
                let from = picks.next().is_multiple_of(4).then(|| picks.instant(at));
                ledger.set_prices(site, &prices, from, by).map(drop)
            }
            29 => {
                let new = NewAgreement {
                    issuer_region: RegionCode(310_117),
                    provider_region: Some(RegionCode(picks.of(&[330_100, 310_117, 0]))),
                    rate: BasisPoints(picks.of(&RATES)),
                    cap_per_job: picks.next().is_multiple_of(2).then(|| picks.amount()),
                    from: Timestamp(0),
                    until: picks.instant(at),
                    ..NewAgreement::default()
                };
                ledger.create_agreement(&new, by).map(drop)
            }
            30 => ledger.end_agreement(AgreementId(picks.id(3) as u32), Some(picks.instant(at)), by),
            31 => ledger.credit_wallet(picks.org(), picks.amount(), "", by),
            32 => ledger.withdraw(picks.org(), picks.amount(), "", by),
            33 => {
                let new = NewProgramme {
                    name: self.name(picks),
                    region: RegionCode(310_117),
                    funders: vec![Funder {
                        name: "f".into(),
                        share: picks.of(&[1, 0, u32::MAX]),
                    }],
                    budget: Grant(picks.amount().0),
                    fiscal_year: picks.next().is_multiple_of(4).then(|| picks.of(&[2026, 0, u32::MAX])),
                    terms: picks.terms(false),
                    ..NewProgramme::default()
                };
                self.ledger.create_programme(&new, by).map(drop)
            }
            34 => {
                let new = NewOrg {
                    name: self.name(picks),
                    kind: OrgKind::Lab,
                    region: RegionCode(310_117),
                    control_group: if picks.next().is_multiple_of(2) { "a" } else { "" }.into(),
                    credit_code: "".into(),
                };
                self.ledger.create_org(&new, by).map(drop)
            }
            35 => ledger.end_period(by).map(drop),
            36 | 37 => ledger.close_period(period, by),
            38 => ledger.review_settlement(period, OrgId(1), by),
            39 => ledger.pay_settlement(period, picks.org(), "", by).map(drop),
            40 => ledger
                .file_claim(picks.org(), programme, Some(picks.amount()), by)
                .map(drop),
            41 => ledger.review_claim(ClaimId(picks.id(3)), picks.next().is_multiple_of(2), "", by),
            42 => ledger.pay_claim(ClaimId(picks.id(3)), "", by).map(drop),
            43 => {
                let funder = ["one", "two", "f", ""][picks.next() % 4];
                ledger.pay_in(programme, funder, picks.amount(), "", by)
            }
            44 => ledger.collect(picks.org(), picks.amount(), "", by),
            45 => ledger.repay_fund(programme, picks.amount(), "", by),
            46 => {
                let request = picks.request();
                let at = picks.instant(at);
                ledger.quote(&request, at).map(drop)
            }
            47 => {
                ledger.set_capture_window(CaptureWindow {
                    keep_ms: picks.of(&TIMES_MS),
                    count_max: picks.of(&[3, 1, 0, u64::MAX]),
                });
                Ok(())
            }
            _ => {
                ledger.expire_due(by, picks.next() % 20);
                Ok(())
            }
        }
    }
}

fn bytes(ledger: &Ledger) -> Vec<u8> {
    let mut bytes = Vec::new();
    ledger.encode_snapshot(&mut |chunk| bytes.extend_from_slice(chunk));
    bytes
}

fn config() -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 128;
    }
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_call_is_answered(calls in proptest::collection::vec((0u8..52, proptest::collection::vec(any::<u16>(), 32)).prop_map(|(number, picks)| Call { number, picks }), 1..60)) {
        let mut books = books();
        for call in &calls {
            let before = bytes(&books.ledger);
            let refused = books.call(call).is_err();
            prop_assert!(!refused || bytes(&books.ledger) == before, "a refusal changed the books: {:?}", call);
            books.ledger.check();
            books.ledger.take_journal();
        }
        let all = bytes(&books.ledger);
        let restored = Ledger::decode_snapshot([&all]).expect("what was written can be read");
        prop_assert!(bytes(&restored) == all, "a restored ledger differs");
    }
}

// A wallet that is filled and emptied with the largest amount, until its lifetime sums would overflow.
#[test]
fn a_wallet_is_not_filled_for_ever() {
    let mut books = books();
    let refused = (0..100_000).find_map(|_| {
        let filled = books.ledger.credit_wallet(OrgId(2), Fen::MAX, "", START);
        if filled.is_ok() {
            let emptied = books.ledger.withdraw(OrgId(2), Fen::MAX, "", START);
            emptied.expect("it was just filled");
        }
        books.ledger.take_journal();
        filled.err()
    });
    books.ledger.check();
    assert_eq!(refused.map(|refused| refused.code()), Some("INVALID_FIELD"));
}

// 1,000 vouchers in use are the most, and all of them are asked.
#[test]
fn a_holder_has_a_thousand_vouchers() {
    let mut books = books();
    let ledger = &mut books.ledger;
    let voucher = |number: usize| NewVoucher {
        code: format!("V-{number}").into(),
        holder: "a".into(),
        face: Grant(1),
        from: Timestamp(0),
        until: Timestamp(START.0 + HOUR + number as u64),
    };
    let batch: Vec<NewVoucher> = (0..1_000).map(voucher).collect();
    ledger
        .issue_vouchers(ProgrammeId(1), &batch, START)
        .expect("at most 1000");
    for voucher in &batch {
        let redeemed = ledger.redeem_voucher(&voucher.code, OrgId(1), START);
        redeemed.expect("not more than 1000");
    }
    let one_more = [voucher(1_000)];
    ledger
        .issue_vouchers(ProgrammeId(1), &one_more, START)
        .expect("issuing is not using");
    let refused = ledger.redeem_voucher("V-1000", OrgId(1), START);
    assert_eq!(refused.map_err(|refused| refused.code()), Err("TOO_MANY_VOUCHERS"));
    // The provider's own sites are not for it; somebody else's are.
    let other = NewOrg {
        name: "other".into(),
        region: RegionCode(310_117),
        ..NewOrg::default()
    };
    let other = ledger.create_org(&other, START).expect("well formed");
    let site = SiteId(3);
    ledger
        .register_site(site, RegionCode(310_117), other, START)
        .expect("well formed");
    ledger
        .set_prices(site, &[("cpu".into(), 10_000)], None, START)
        .expect("well formed");
    let request = HoldRequest {
        key: HoldKey::default(),
        request: QuoteRequest {
            payer: OrgId(1),
            site,
            lines: vec![Line {
                sku: "cpu".into(),
                milli_units: 200_000,
            }],
            walltime_ms_max: HOUR,
            allow_partial: true,
            ..QuoteRequest::default()
        },
        quote: None,
    };
    let hold = ledger.hold(&request, START).expect("the wallet is full");
    let pinned = &ledger.open_hold(hold).expect("just opened").pinned;
    assert_eq!((pinned.legs().len(), pinned.gross()), (1_000, Fen(2_000)));
    let receipt = ledger
        .settle(hold, HOUR / 2, Timestamp(START.0 + HOUR / 2))
        .expect("open");
    assert_eq!(
        (receipt.copay, ledger.vouchers_in_use(OrgId(1)).count()),
        (Fen(500), 500)
    );
    ledger.check();
}
