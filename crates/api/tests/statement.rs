//! A statement read from the journal of books in which a month ended under jobs that turned out to be shorter: its rows come to the ledger's totals.

use hesuan_api::answer;
use hesuan_api::statement::{Names, Reader};
use hesuan_api::v1::stream_statement_response::Row;
use hesuan_ledger::types::{
    BasisPoints, Fen, Grant, HoldKey, Line, OrgId, ProgrammeId, RegionCode, SiteId, Stamp, Timestamp,
};
use hesuan_ledger::{
    Entry, Funder, HoldRequest, JournalEntry, Ledger, NewOrg, NewProgramme, NewVoucher, QuoteRequest, Rate, Redemption,
    Terms,
};

const HOUR: u64 = 3_600_000;
/// 2026-01-30 12:00 in Shanghai.
const START: Timestamp = Timestamp(1_769_745_600_000);

// A provider, a lab with a voucher of a programme that pays its holders, and one of a programme that pays providers, which ends after half a day.
fn books() -> Ledger {
    let mut ledger = Ledger::new();
    let region = RegionCode(310_117);
    for name in ["centre", "lab"] {
        let org = NewOrg {
            name: name.into(),
            region,
            ..NewOrg::default()
        };
        ledger.create_org(&org, START).expect("well formed");
    }
    let filled = ledger.credit_wallet(OrgId(2), Fen(1_000_000), "", START);
    filled.expect("well formed");
    let site = ledger.register_site(SiteId(1), region, OrgId(1), START);
    site.expect("well formed");
    let priced = ledger.set_prices(SiteId(1), &[("cpu".into(), 100_000)], None, START);
    priced.expect("well formed");
    for (code, redemption, hours) in [("H", Redemption::Holder, 400), ("P", Redemption::Provider, 12)] {
        let new = NewProgramme {
            name: format!("programme {code}").into(),
            region,
            funders: ["one", "two", "three"]
                .map(|name| Funder {
                    name: name.into(),
                    share: 1,
                })
                .to_vec(),
            budget: Grant(1_000_000),
            redemption,
            terms: Terms {
                rates: vec![Rate {
                    sku: "*".into(),
                    rate: BasisPoints(3_333),
                }],
                ..Terms::default()
            },
            ..NewProgramme::default()
        };
        let programme = ledger.create_programme(&new, START).expect("well formed");
        let voucher = NewVoucher {
            code: code.into(),
            holder: "lab".into(),
            face: Grant(10_000),
            from: Timestamp(0),
            until: Timestamp(START.0 + hours * HOUR),
        };
        let issued = ledger.issue_vouchers(programme, &[voucher], START);
        issued.expect("well formed");
        ledger.redeem_voucher(code, OrgId(2), START).expect("just issued");
    }
    ledger
}

fn hold(ledger: &mut Ledger, job: u64) -> hesuan_ledger::types::HoldId {
    let key = HoldKey {
        job,
        task: 0,
        attempt: 1,
    };
    let request = QuoteRequest {
        payer: OrgId(2),
        site: SiteId(1),
        lines: vec![Line {
            sku: "cpu".into(),
            milli_units: 1_777,
        }],
        walltime_ms_max: 60 * HOUR,
        ..QuoteRequest::default()
    };
    let request = HoldRequest {
        key,
        request,
        quote: None,
    };
    ledger.hold(&request, START).expect("there is money")
}

#[test]
fn what_was_not_used_of_a_captured_month_is_stated_to_the_fen() {
    for (closed, minutes) in [(false, 14 * 60), (true, 14 * 60), (true, 35 * 60 + 59), (false, 0)] {
        let mut ledger = books();
        let (job, lost) = (hold(&mut ledger, 1), hold(&mut ledger, 2));
        let at = Timestamp(START.0 + 36 * HOUR + HOUR / 2);
        while ledger.expire_due(at, 100).count > 0 {}
        if closed {
            ledger.close_period(1, Stamp { at, actor: 1 }).expect("it is swept");
        }
        let receipt = ledger.settle(job, minutes * 60_000, at).expect("it is open");
        ledger.release(lost, at).expect("it is open");
        ledger.check();
        assert_eq!(receipt.refunded, Fen::ZERO);
        let journal = ledger.take_journal();
        let entries: Vec<Entry> = journal.iter().filter_map(JournalEntry::read).collect();
        for period in [1, 2] {
            let programmes = [(ProgrammeId(1), "H"), (ProgrammeId(2), "P")];
            let names = Names::given(&programmes, &[(SiteId(1), "site")]);
            let mut reader = Reader::new(OrgId(2), period, 1, names);
            let mut rows = Vec::new();
            for entry in &entries {
                reader
                    .take(entry, &mut rows)
                    .expect("the ledger's entries are readable");
            }
            let totals = ledger.holder_totals(period, OrgId(2)).copied().unwrap_or_default();
            assert_eq!(reader.sum(), answer::statement_totals(&totals), "period {period}");
            let back = rows.iter().filter(|row| matches!(row, Row::Refund(_))).count();
            assert_eq!(back, if (period == 2) == closed { 2 } else { 0 });
        }
    }
}
