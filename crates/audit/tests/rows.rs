//! A period with more lines than one entry holds is closed by several, each small enough to be carried anywhere.

mod books;

use books::{checked, exported, findings};
use hesuan_audit::Record;
use hesuan_ledger::types::{Fen, HoldKey, Line, OrgId, RegionCode, SiteId, Stamp, Timestamp};
use hesuan_ledger::{HoldRequest, JournalEntry, Ledger, NewOrg, QuoteRequest};

const HOUR: u64 = 3_600_000;
// 2026-03-01 09:00 in Shanghai.
const START: Timestamp = Timestamp(1_772_326_800_000);
const SITES: u32 = 9_000;

#[test]
fn a_period_of_many_rows_is_closed_in_several_entries() {
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
    let filled = ledger.credit_wallet(OrgId(2), Fen(100_000_000), "", START);
    filled.expect("well formed");
    let end = Timestamp(START.0 + HOUR);
    let holds: Vec<_> = (1..=SITES)
        .map(|number| {
            let site = SiteId(number);
            let known = ledger.register_site(site, region, OrgId(1), START);
            known.expect("well formed");
            let priced = ledger.set_prices(site, &[("cpu".into(), 100_000)], None, START);
            priced.expect("well formed");
            let request = QuoteRequest {
                payer: OrgId(2),
                site,
                lines: vec![Line {
                    sku: "cpu".into(),
                    milli_units: u64::from(number),
                }],
                walltime_ms_max: 10 * HOUR,
                ..QuoteRequest::default()
            };
            let key = HoldKey {
                job: number.into(),
                task: 0,
                attempt: 1,
            };
            let request = HoldRequest {
                key,
                request,
                quote: None,
            };
            ledger.hold(&request, START).expect("there is money")
        })
        .collect();
    for hold in holds {
        ledger.settle(hold, HOUR, end).expect("it is open");
    }
    let by = Stamp {
        at: Timestamp(end.0 + 1),
        actor: 1,
    };
    ledger.end_period(by).expect("it began before");
    ledger.close_period(1, by).expect("it has ended");
    ledger.check();
    let entries: Vec<JournalEntry> = ledger.take_journal();
    let largest = entries.iter().map(|entry| entry.record.len()).max();
    assert!(largest.is_some_and(|bytes| bytes < 1 << 20), "{largest:?}");
    let read = |entry: &JournalEntry| Record::read(&entry.record).expect("the ledger writes records");
    let closing: Vec<(u64, u64)> = entries
        .iter()
        .map(read)
        .filter(|entry| matches!(entry.kind, 29 | 39))
        .map(|entry| (entry.kind, entry.facts[1]))
        .collect();
    let in_all: u64 = closing.iter().map(|(_, rows)| rows).sum();
    assert_eq!(closing[..2], [(39, 4_096), (39, 4_096)]);
    assert!(closing.len() == 3 && closing[2].0 == 29 && in_all == ledger.tallies(1).count() as u64);
    let report = checked(&exported(&ledger, &entries));
    assert!(report.agreed, "{}", findings(&report));
}
