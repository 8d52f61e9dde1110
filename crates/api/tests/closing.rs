//! A closed month through the codec and back as answers: clearing, sheets, settlements, and a holder's statement out of the journal
//! that comes to the ledger's own totals.

mod support;

use hesuan_api::answer;
use hesuan_api::internal::v1::command::Body;
use hesuan_api::statement::{Names, Reader};
use hesuan_api::v1;
use hesuan_api::v1::stream_statement_response::Row;
use hesuan_engine::outcome::{RejectionKind, Reply};
use hesuan_engine::state::State;
use hesuan_engine::types::{OrgId, RegionCode};
use hesuan_ledger::{Entry, Period};
use support::*;

fn org(state: &State, name: &str) -> OrgId {
    state
        .ledger()
        .org_by_name(name)
        .expect("the organisation was created")
        .id
}

fn period(state: &State, number: u32) -> &Period {
    state.ledger().period(number).expect("the period is kept")
}

fn everybody(_: RegionCode) -> bool {
    true
}

impl Cluster {
    fn end_and_close(&mut self) -> u32 {
        self.now += 1;
        let request_id = self.request_id();
        let Reply::Number(number) = self.run("reviewer", Body::EndPeriod(v1::EndPeriodRequest { request_id })) else {
            panic!("an ended period has a number")
        };
        let (request_id, period) = (self.request_id(), number);
        self.run(
            "reviewer",
            Body::ClosePeriod(v1::ClosePeriodRequest { request_id, period }),
        );
        number
    }

    fn review(&mut self, period: u32) -> v1::ReviewSettlementRequest {
        v1::ReviewSettlementRequest {
            request_id: self.request_id(),
            period,
            provider: "centre".into(),
        }
    }

    fn pay(&mut self, period: u32) -> v1::PaySettlementRequest {
        v1::PaySettlementRequest {
            request_id: self.request_id(),
            period,
            provider: "centre".into(),
            reference: "bank 7".into(),
        }
    }
}

/// The rows of a statement read from an entry of the journal on, and the reader after them.
fn read(c: &Cluster, payer: &str, number: u32, from: u64) -> (Vec<Row>, Reader) {
    let first_entry = period(&c.state, number).first_entry;
    let mut reader = Reader::new(org(&c.state, payer), number, first_entry, Names::of(&c.state));
    let mut rows = Vec::new();
    for entry in c.journal.iter().filter(|entry: &&Entry| entry.index >= from) {
        reader
            .take(entry, &mut rows)
            .expect("the ledger's entries are readable");
    }
    (rows, reader)
}

fn counted(c: &Cluster, payer: &str, number: u32) -> v1::StatementTotals {
    let totals = c.state.ledger().holder_totals(number, org(&c.state, payer));
    answer::statement_totals(&totals.copied().unwrap_or_default())
}

#[test]
fn a_closed_period_is_shown_settled_and_stated_to_the_fen() {
    let mut c = Cluster::ready();
    // Two cores for an hour at 1 yuan and a GiB at 0.1 yuan; the voucher pays 30 % of the cores.
    let task = c.run_job("wang", 2000);
    let number = c.end_and_close();
    assert_eq!(number, 1);

    let closed = answer::period(&c.state, period(&c.state, 1));
    assert_eq!(
        (closed.state(), closed.closed_by.as_str()),
        (v1::PeriodState::Closed, "reviewer")
    );
    let clearing = answer::clearing(&c.state, period(&c.state, 1), &everybody);
    assert_eq!(
        (
            clearing.cells.len(),
            clearing.cells[0].net_fen,
            clearing.positions.len()
        ),
        (1, 60, 0),
        "at home nothing is between regions"
    );
    let sheet = answer::settlement_sheet(&c.state, period(&c.state, 1), org(&c.state, "centre"));
    assert_eq!((sheet.own_fen, sheet.subsidies_fen, sheet.net_fen), (150, 60, 210));
    let payable = answer::payable(&c.state, period(&c.state, 1), &everybody);
    assert_eq!(
        (
            payable.rows[0].funder.as_str(),
            payable.rows[0].net_fen,
            payable.rows[0].due_fen
        ),
        ("district", 60, 60)
    );
    let elsewhere = answer::payable(&c.state, period(&c.state, 1), &|region| region.0 == 330_100);
    assert!(elsewhere.rows.is_empty(), "another region's bureau sees nothing of it");

    let (rows, reader) = read(&c, "acme", 1, 1);
    assert_eq!(reader.sum(), counted(&c, "acme", 1));
    let [Row::Usage(usage), Row::Credit(credit)] = rows.as_slice() else {
        panic!("a usage row and a credit row: {rows:?}")
    };
    assert_eq!(
        (usage.gross_fen, usage.copay_fen, usage.site.as_str()),
        (210, 150, "songjiang")
    );
    assert_eq!(usage.until_ms - usage.from_ms, HOUR);
    assert_eq!((usage.skus[0].sku.as_str(), usage.skus[0].milli_units), ("cpu", 2000));
    assert_eq!(
        (credit.amount_fen, credit.taken, credit.programme.as_str()),
        (60, 60, "sj-2026")
    );

    // Who reviewed may not pay, whatever its roles; and not before the funder paid in.
    c.principal("both", v1::Role::Treasurer, "", "", 0);
    let pay = c.pay(1);
    let early = c
        .try_as("till", Body::PaySettlement(pay))
        .expect_err("nobody reviewed it");
    assert_eq!(early.kind, RejectionKind::Precondition);
    let review = c.review(1);
    c.run("reviewer", Body::ReviewSettlement(review));
    let pay = c.pay(1);
    let poor = c
        .try_as("till", Body::PaySettlement(pay))
        .expect_err("the subsidy is not paid in");
    let figures = poor.figures.expect("it is about an amount");
    assert_eq!((figures.needed, figures.available), (60, 0));
    let pay_in = v1::PayInRequest {
        request_id: c.request_id(),
        programme: "sj-2026".into(),
        funder: "district".into(),
        amount_fen: 60,
        reference: "bank 6".into(),
    };
    c.run("till", Body::PayIn(pay_in));
    let pay = c.pay(1);
    c.run("till", Body::PaySettlement(pay));
    let settlement = c
        .state
        .ledger()
        .settlement(1, org(&c.state, "centre"))
        .expect("it has lines");
    let settlement = answer::settlement(&c.state, settlement);
    assert_eq!(
        (settlement.state(), settlement.cash_fen, settlement.set_off_fen),
        (v1::SettlementState::Paid, 210, 0)
    );
    assert_eq!(
        (settlement.reviewed_by.as_str(), settlement.paid_by.as_str()),
        ("reviewer", "till")
    );

    // A refund of a closed period is a correction of the next one, and cites it.
    c.refund(task, 21);
    let corrections = answer::corrections(&c.state, period(&c.state, 2), &everybody);
    let subsidies: Vec<_> = corrections
        .lines
        .iter()
        .filter(|line| !line.programme.is_empty())
        .collect();
    assert_eq!(
        (subsidies.len(), subsidies[0].of_period, subsidies[0].net_fen),
        (1, 1, -6)
    );
    let (rows, reader) = read(&c, "acme", 2, 1);
    assert_eq!(reader.sum(), counted(&c, "acme", 2));
    let [Row::Refund(refund)] = rows.as_slice() else {
        panic!("one refund row: {rows:?}")
    };
    assert_eq!(
        (
            refund.of_period,
            refund.amount_fen,
            refund.wallet_fen,
            refund.subsidy_fen
        ),
        (1, 21, 15, 6)
    );
    assert_eq!(reader.sum().refunded_to_wallet_fen, 15);
    let (_, reader) = read(&c, "acme", 1, 1);
    assert_eq!(
        reader.sum(),
        counted(&c, "acme", 1),
        "the closed period's statement has not changed"
    );
}

#[test]
fn the_principal_who_reviewed_does_not_pay_even_as_a_treasurer() {
    let mut c = Cluster::ready();
    c.run_job("wang", 1000);
    let number = c.end_and_close();
    let principal = v1::Principal {
        name: "chen".into(),
        roles: vec![v1::Role::Reviewer.into(), v1::Role::Treasurer.into()],
        ..Default::default()
    };
    let request_id = c.request_id();
    let created = v1::CreatePrincipalRequest {
        request_id,
        principal: Some(principal),
        token_sha256: vec![77; 32],
    };
    c.run("root", Body::CreatePrincipal(created));
    let review = c.review(number);
    c.run("chen", Body::ReviewSettlement(review));
    let pay = c.pay(number);
    let refused = c
        .try_as("chen", Body::PaySettlement(pay))
        .expect_err("chen reviewed it");
    assert_eq!(refused.code, "SAME_PRINCIPAL");
}

/// Statements are read from the period's first entry on where that will do. Where a hold was opened before, that must be noticed,
/// or the statement would silently lack its lines.
#[test]
fn a_reading_that_began_after_the_hold_was_opened_says_so() {
    let mut c = Cluster::ready();
    c.run_job("wang", 1000);
    let opened = c
        .journal
        .iter()
        .find(|entry| entry.kind == hesuan_ledger::EntryKind::Hold as u32);
    let opened = opened.expect("the job was held for").index;
    assert!(!read(&c, "acme", 1, opened).1.began_too_late());
    let (rows, reader) = read(&c, "acme", 1, opened + 1);
    assert!(rows.is_empty() && reader.began_too_late());
    // What is another's is no reason to begin earlier.
    let (rows, reader) = read(&c, "centre", 1, opened);
    assert!(rows.is_empty() && !reader.began_too_late());
    assert_eq!(reader.sum(), counted(&c, "centre", 1));
}
