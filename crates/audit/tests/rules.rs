//! Each rule of the verifier against a journal that breaks it: written anew with all its hashes, and stating the balances of its own
//! transfers, so that nothing but the rule finds it.

mod scribe;
#[path = "scribe/story.rs"]
mod story;

use hesuan_audit::{Check, Options, Record, verify};
use scribe::*;

#[test]
fn a_journal_that_keeps_every_rule_agrees() {
    let report = agrees(&story::story().file());
    assert_eq!((report.first, report.last), (1, 47));
    let balance = |account| {
        report
            .balances
            .iter()
            .find(|row| row.account == account)
            .map(|row| row.derived)
    };
    assert_eq!(balance("treasury"), Some(98_147));
    let period = &report.periods[0];
    let clearing: Vec<_> = period
        .clearing
        .iter()
        .map(|cell| (cell.issuer_region, cell.payee_region, cell.net))
        .collect();
    assert_eq!(clearing, [(310_117, 310_117, 233), (330_100, 330_100, 186)]);
    assert_eq!(period.net_of_regions.values().sum::<i128>(), 0);
    let sheet = &period.settlements[0];
    assert_eq!(
        (sheet.subsidy, sheet.own_money, sheet.net, sheet.paid),
        (233, 933, 1_166, Some(1_166))
    );
    let payables: Vec<_> = period
        .payables
        .iter()
        .map(|row| (row.funder.as_str(), row.net))
        .collect();
    assert_eq!(
        payables,
        [("city fund", 155), ("district fund", 78), ("home fund", 186)]
    );
}

/// What is done to the record of an entry, and what is found: where, by which check, about what.
type Case = (u64, fn(&mut Record), (u64, Check, &'static str));

fn replaced(record: &mut Record, from: &str, to: &str) {
    let text = record.texts.iter_mut().find(|text| text.contains(from));
    let text = text.expect("the text is there");
    *text = text.replace(from, to);
}

fn moved(record: &mut Record, place: usize, amount: u64) {
    record.transfers[place].amount = amount;
}

const CASES: &[Case] = &[
    // Chain and stamps.
    (14, |r| r.index = 15, (15, Check::Index, "index of the line")),
    (14, |r| r.at_ms = NEW_YEAR, (14, Check::Time, "time")),
    (3, |r| r.actor = 0, (3, Check::Actor, "actor")),
    (17, |r| r.actor = 0, (17, Check::Actor, "actor")),
    (15, |r| r.texts[0].clear(), (15, Check::Reason, "reason")),
    (29, |r| r.texts[0].clear(), (29, Check::Reason, "reason")),
    (31, |r| r.texts[0].clear(), (31, Check::Reason, "reason")),
    (14, |r| r.kind = 99, (14, Check::Facts, "kind")),
    (14, |r| r.facts.truncate(5), (14, Check::Facts, "period")),
    (3, |r| r.facts.push(1), (3, Check::Facts, "facts and texts")),
    // Postings.
    (3, |r| r.transfers[0].credit = voucher(1), (3, Check::Unit, "transfer")),
    (3, |r| r.transfers[0].credit = TREASURY, (3, Check::Unit, "transfer")),
    (3, |r| r.transfers[0].credit = 15, (3, Check::Unit, "accounts")),
    (9, |r| r.transfers[0].debit = budget(2), (9, Check::Unit, "transfer")),
    (
        34,
        |r| moved(r, 0, 1_000_000),
        (34, Check::Balance, "wallets_available"),
    ),
    (
        14,
        |r| moved(r, 1, 221),
        (14, Check::Transfers, "due_from_funders of programme 1, funder 1"),
    ),
    (14, |r| r.transfers.truncate(9), (14, Check::Transfers, "wallets_held")),
    (
        22,
        |r| r.transfers[0].credit = due(1, 0),
        (22, Check::Transfers, "due_from_funders"),
    ),
    // Numbers and names.
    (2, |r| r.facts[0] = 3, (2, Check::Number, "organisation")),
    (2, |r| r.texts[0] = "dc".into(), (2, Check::Number, "name")),
    (2, |r| r.facts[3] = 1, (2, Check::Number, "control group")),
    (5, |r| r.facts[1] = 2, (5, Check::Number, "price sheet")),
    (7, |r| r.facts[0] = 1, (7, Check::Number, "programme")),
    (8, |r| r.facts[1] = 2, (8, Check::Number, "version of the agreement")),
    (10, |r| r.texts[0] = "V1".into(), (10, Check::Number, "code")),
    (13, |r| r.facts[0] = 2, (13, Check::Number, "hold")),
    (35, |r| r.facts[2] = 3, (35, Check::Number, "control group")),
    // Terms.
    (6, |r| replaced(r, "cpu=2500", "cpu=12500"), (6, Check::Terms, "rate")),
    (
        6,
        |r| replaced(r, "until", "carry_over;until"),
        (6, Check::Facts, "terms"),
    ),
    (6, |r| r.facts[5] = 2027, (6, Check::Terms, "fiscal year 2027")),
    (8, |r| r.facts[3] = 330_100, (8, Check::Terms, "scope")),
    (9, |r| r.facts[5] = NEW_YEAR, (9, Check::Terms, "voucher")),
    (5, |r| r.facts[2] = NEW_YEAR - 1, (5, Check::Terms, "effective from")),
    (33, |r| r.facts[1] = NEW_YEAR, (33, Check::State, "end")),
    // Vouchers.
    (12, |r| r.facts[0] = 1, (12, Check::State, "voucher 1")),
    (12, |r| r.facts[1] = 1, (12, Check::State, "holder")),
    (30, |r| r.kind = 13, (30, Check::State, "voucher 1")),
    (31, |r| r.facts[2] = 212, (31, Check::Transfers, "recovered")),
    (47, |r| r.at_ms -= 1, (47, Check::State, "end of voucher 2")),
    // Prices.
    (13, |r| r.facts[17] = 200_001, (13, Check::Price, "price of cpu")),
    (13, |r| r.facts[18] = 2, (13, Check::Price, "price sheet of cpu")),
    (13, |r| r.facts[15] = 4_999, (13, Check::Price, "list price")),
    (14, |r| r.facts[6] = 1_665, (14, Check::Price, "list price")),
    // Eligibility, and what a leg pins.
    (9, |r| r.facts[2] = 1, (13, Check::Eligibility, "leg 1: holder")),
    (
        9,
        |r| r.facts[4] = NEW_YEAR + 2 * DAY,
        (13, Check::Eligibility, "leg 1: voucher is valid"),
    ),
    (
        11,
        |r| (r.kind, r.texts) = (16, Vec::new()),
        (13, Check::Eligibility, "leg 1: voucher"),
    ),
    (
        6,
        |r| replaced(r, "from 17671", "from 17674"),
        (13, Check::Eligibility, "leg 1: programme is in force"),
    ),
    (
        7,
        |r| replaced(r, "kind 0", "kind 2"),
        (13, Check::Eligibility, "leg 2: kind"),
    ),
    (
        7,
        |r| replaced(r, "region 330100", "region 330200"),
        (13, Check::Eligibility, "leg 2: region"),
    ),
    (
        2,
        |r| (r.facts[3], r.texts[1]) = (1, "dc".into()),
        (13, Check::Eligibility, "control groups"),
    ),
    (8, |r| r.facts[2] = 330_200, (13, Check::Eligibility, "leg 2: scope")),
    (
        8,
        |r| r.facts[7] = NEW_YEAR + 5,
        (13, Check::Eligibility, "leg 2: scope"),
    ),
    (
        8,
        |r| r.facts[4] = 1_999,
        (13, Check::Eligibility, "leg 2: rate for cpu"),
    ),
    (
        8,
        |r| r.texts[0] = "gpu".into(),
        (13, Check::Eligibility, "leg 2: rate for cpu"),
    ),
    (
        7,
        |r| replaced(r, "exclude disk", "exclude cpu"),
        (13, Check::Eligibility, "leg 2: rate for cpu"),
    ),
    (
        6,
        |r| replaced(r, "stack 8000", "exclusive"),
        (13, Check::Eligibility, "programme 1 is exclusive"),
    ),
    (
        6,
        |r| replaced(r, "stack 8000", "stack 7999"),
        (13, Check::Leg, "stack cap"),
    ),
    (13, |r| r.facts[24] = 2, (13, Check::Eligibility, "leg 1: revision")),
    (
        13,
        |r| r.facts[26] = 1,
        (13, Check::Eligibility, "leg 1: version of the agreement"),
    ),
    (13, |r| r.facts[27] = 1, (13, Check::Eligibility, "leg 1: redeemed")),
    (
        13,
        |r| r.facts[28] = 2027,
        (13, Check::Eligibility, "leg 1: fiscal year"),
    ),
    (13, |r| r.facts[29] -= 1, (13, Check::Eligibility, "leg 1: cover")),
    (
        13,
        |r| r.facts[32] += 1,
        (13, Check::Eligibility, "leg 1: rate for cpu"),
    ),
    // Caps, budgets, balances, and what a leg pays.
    (
        7,
        |r| replaced(r, "cap_group 9000", "cap_group 799"),
        (13, Check::Leg, "leg 2: amount"),
    ),
    (
        7,
        |r| replaced(r, "cap_job 5000", "cap_job 799"),
        (13, Check::Leg, "leg 2: amount"),
    ),
    (8, |r| r.facts[5] = 799, (13, Check::Leg, "leg 2: amount")),
    (
        7,
        |r| (r.facts[2], r.transfers[0].amount) = (799, 799),
        (13, Check::Leg, "leg 2: amount"),
    ),
    (
        9,
        |r| (r.facts[3], r.transfers[0].amount) = (999, 999),
        (13, Check::Leg, "leg 1: amount"),
    ),
    (13, |r| r.facts[30] = 999, (13, Check::Leg, "leg 1: amount")),
    (13, |r| r.facts[31] = 999, (13, Check::Leg, "leg 1: grant")),
    (13, |r| r.facts[14] = 3_000, (13, Check::Leg, "leg 2: amount")),
    (13, |r| r.facts[16] = 4_000, (13, Check::Wallet, "held in the wallet")),
    (14, |r| r.facts[8] = 334, (14, Check::Leg, "leg 1: amount")),
    (14, |r| r.facts[11] = 267, (14, Check::Leg, "leg 2: grant")),
    (14, |r| r.facts[7] = 1_334, (14, Check::Wallet, "wallet")),
    // Slices, cells, ends.
    (13, |r| r.facts[13] -= 1, (13, Check::Cell, "until")),
    (13, |r| r.facts[12] = 1, (13, Check::Cell, "from")),
    (13, |r| r.at_ms = story::MONTH_END - HOUR, (13, Check::Cell, "until")),
    (14, |r| r.facts[1] = 36_000_001, (14, Check::Cell, "wall time")),
    (14, |r| r.at_ms -= HOUR, (14, Check::Cell, "wall time")),
    (14, |r| r.facts[4] = 12_000_001, (14, Check::Cell, "to")),
    (14, |r| r.facts[2] = 0, (14, Check::Cell, "number of cells")),
    (13, |r| r.facts[6] = 2, (13, Check::State, "provider")),
    // Refunds.
    (15, |r| r.facts[7] = 1_700, (15, Check::Refund, "back in all")),
    (15, |r| r.facts[9] = 99, (15, Check::Refund, "leg 1: amount")),
    (15, |r| r.facts[10] = 99, (15, Check::Refund, "leg 1: grant")),
    (15, |r| r.facts[11] = 1, (15, Check::Refund, "leg 1: reinstated")),
    (15, |r| r.facts[8] = 401, (15, Check::Refund, "wallet")),
    (15, |r| r.facts[0] = 12, (15, Check::Facts, "capture of")),
    (26, |r| r.facts[6] = 1, (26, Check::Period, "booked period")),
    // Periods.
    (14, |r| r.facts[5] = 2, (14, Check::Period, "period")),
    (
        15,
        |r| r.at_ms = story::MONTH_END + 1,
        (15, Check::Period, "end of period 1"),
    ),
    (16, |r| r.facts[1] += 1, (16, Check::Period, "end of the period")),
    (16, |r| r.facts[0] = 2, (16, Check::Number, "number of the period")),
    (
        17,
        |r| r.facts[7] = 1_332,
        (
            17,
            Check::Row,
            "programme 0, agreement 0, site 1, payee in 310117: captured",
        ),
    ),
    (
        17,
        |r| r.facts[18] = 99,
        (
            17,
            Check::Row,
            "programme 1, agreement 0, site 1, payee in 310117: refunded",
        ),
    ),
    (17, |r| r.facts[19] = 2, (17, Check::Row, "captures")),
    (17, |r| r.facts[22] = 308, (17, Check::Row, "net of the funders")),
    (17, |r| r.facts[28] = 310_117, (17, Check::Row, "payee in 310117")),
    // Payments.
    (18, |r| r.facts[3] = 187, (18, Check::Payment, "claimed")),
    (
        18,
        |r| r.actor = story::REVIEWER,
        (19, Check::Duties, "who files and who reviews"),
    ),
    (
        24,
        |r| r.actor = story::REVIEWER,
        (24, Check::Duties, "who reviews and who pays"),
    ),
    (
        25,
        |r| r.actor = story::REVIEWER,
        (25, Check::Duties, "who reviews and who pays"),
    ),
    (19, |r| r.facts[1] = 0, (19, Check::Reason, "reason")),
    (20, |r| r.facts[0] = 2, (20, Check::Facts, "settlement")),
    (25, |r| r.facts[2] = 1_165, (25, Check::Payment, "paid")),
    (
        23,
        |r| (r.facts[2], r.transfers[0].amount) = (185, 185),
        (25, Check::Balance, "treasury after"),
    ),
    (
        27,
        |r| (r.facts[1], r.transfers[0].amount) = (101, 101),
        (27, Check::Payment, "paid"),
    ),
    (
        28,
        |r| (r.facts[1], r.transfers[0].amount) = (21, 21),
        (28, Check::Payment, "paid"),
    ),
    (21, |r| r.facts[1] = 2, (21, Check::State, "funder")),
];

#[test]
fn every_broken_rule_is_found_at_its_entry() {
    let mut missed = Vec::new();
    for (place, (entry, change, (index, check, what))) in CASES.iter().enumerate() {
        let mut scribe = story::story();
        let record = &mut scribe.records[*entry as usize - 1];
        let before = record.clone();
        change(record);
        assert_ne!(*record, before, "case {place} changes nothing");
        let report = checked(&scribe.file());
        let found = report
            .findings
            .iter()
            .any(|finding| (finding.index, finding.check) == (Some(*index), *check) && finding.what.contains(what));
        let by_hash = report
            .findings
            .iter()
            .any(|finding| matches!(finding.check, Check::Chain | Check::File));
        if !found || by_hash {
            let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
            missed.push(format!(
                "case {place}: entry {entry} should show {check} \"{what}\" at {index}, by no hash\n{}",
                findings.join("\n")
            ));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n\n"));
}

#[test]
fn a_hold_ends_once_and_a_key_is_charged_once() {
    let mut scribe = story::story();
    let settled = scribe.records[13].clone();
    scribe.records[14] = Record { index: 15, ..settled };
    let report = checked(&scribe.file());
    assert!(
        report.findings[0]
            .to_string()
            .contains("entry 15 (Settle), line 16: open hold 1")
    );

    let mut scribe = story::story();
    let mut again = Record {
        index: 15,
        at_ms: scribe.records[14].at_ms,
        ..scribe.records[12].clone()
    };
    again.facts[0] = 2;
    scribe.records[14] = again;
    let report = checked(&scribe.file());
    let first = report.findings[0].to_string();
    assert!(
        first.contains("entry 15 (Hold)") && first.contains("never charged"),
        "{first}"
    );
}

#[test]
fn a_trial_balance_that_is_another_is_named_to_the_fen() {
    let scribe = story::story();
    let mut stated = balances(&scribe.records);
    stated[10] += 1;
    let report = checked(&scribe.file_stating(&stated));
    assert_eq!(report.findings_count, 1);
    let finding = &report.findings[0];
    assert_eq!((finding.check, finding.index), (Check::TrialBalance, None));
    assert_eq!(
        (finding.what.as_str(), finding.expected.as_str(), finding.found.as_str()),
        ("owed_to_providers in fen", "0", "1")
    );
}

#[test]
fn a_journal_written_anew_is_found_by_a_head_known_from_elsewhere() {
    let head = |file: &[u8]| checked(file).head;
    let true_head = head(&story::story().file());
    let mut scribe = story::story();
    // Another reference: no rule says what it must be.
    scribe.records[2].texts[0] = "invoice 2".into();
    let forged = scribe.file();
    assert!(checked(&forged).agreed);
    let options = Options {
        head: Some(true_head.clone()),
        ..Options::default()
    };
    let report = verify(&*forged, &options, |_, _| true).expect("memory can be read");
    assert_eq!(report.findings_count, 1);
    assert_eq!(
        (report.findings[0].check, report.findings[0].expected.as_str()),
        (Check::Chain, true_head.as_str())
    );
    let report = verify(&*story::story().file(), &options, |_, _| true).expect("memory can be read");
    assert!(report.agreed);
}

#[test]
fn findings_are_counted_when_there_are_too_many_to_list() {
    let mut scribe = story::story();
    for record in &mut scribe.records {
        record.actor = 0;
    }
    let options = Options {
        findings_max: 3,
        ..Options::default()
    };
    let report = verify(&*scribe.file(), &options, |_, _| true).expect("memory can be read");
    assert_eq!(report.findings.len(), 3);
    assert_eq!(report.findings_count, 30);
}

#[test]
fn a_check_can_be_broken_off() {
    let broken_off = verify(&*story::story().file(), &Options::default(), |index, _| index < 5);
    assert_eq!(
        broken_off.map_err(|error| error.kind()).err(),
        Some(std::io::ErrorKind::Interrupted)
    );
}
