//! What a check gives: whether everything agrees, what does not, and the figures that were derived on the way.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::books::Books;
use crate::finding::Finding;

/// The result of a check.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// No finding.
    pub agreed: bool,
    /// The file begins with entry 1, so everything could be derived; otherwise only lines and chain were checked.
    pub whole: bool,
    /// The cluster's id, as the header says it.
    pub cluster: String,
    /// Index of the first entry.
    pub first: u64,
    /// Index of the last entry that was read.
    pub last: u64,
    /// Hash of the last entry that was read, computed, in hex.
    pub head: String,
    /// The first findings, in the order of the file.
    pub findings: Vec<Finding>,
    /// How many there are in all.
    pub findings_count: u64,
    /// The trial balance.
    pub balances: Vec<BalanceRow>,
    /// Closed periods.
    pub periods: Vec<PeriodReport>,
}

/// A kind of accounts: derived beside stated.
#[derive(Clone, Debug, Serialize)]
pub struct BalanceRow {
    /// As in [`crate::ACCOUNTS`].
    pub account: &'static str,
    /// As in [`crate::file::Balance`].
    pub unit: String,
    /// `debit` or `credit`.
    pub side: &'static str,
    /// From the entries.
    pub derived: i128,
    /// As the cluster stated it in the trailer; `None` when it did not.
    pub stated: Option<i64>,
}

/// What a closed period comes to, from the lines and not from its closing entry.
#[derive(Clone, Debug, Serialize)]
pub struct PeriodReport {
    /// From 1.
    pub period: u32,
    /// First instant, in milliseconds since 1970 UTC.
    pub from_ms: u64,
    /// First instant after it.
    pub until_ms: u64,
    /// Subsidies by region of the issuer and region of the payee, in fen, refunds deducted.
    pub clearing: Vec<ClearingCell>,
    /// Per region, what it receives less what it pays; sums to 0.
    pub net_of_regions: BTreeMap<u32, i128>,
    /// Per provider.
    pub settlements: Vec<SettlementRow>,
    /// Per programme and funder.
    pub payables: Vec<PayableRow>,
}

/// One place of the clearing matrix.
#[derive(Clone, Debug, Serialize)]
pub struct ClearingCell {
    /// Whose programmes pay.
    pub issuer_region: u32,
    /// Where it is paid.
    pub payee_region: u32,
    /// In fen.
    pub net: i128,
}

/// What a provider gets.
#[derive(Clone, Debug, Serialize)]
pub struct SettlementRow {
    /// The provider.
    pub provider: String,
    /// Of programmes, in fen.
    pub subsidy: i128,
    /// Of the payers' own money, in fen.
    pub own_money: i128,
    /// In all, in fen.
    pub net: i128,
    /// What was paid in cash, in fen; `None` before.
    pub paid: Option<i128>,
}

/// What a funder pays.
#[derive(Clone, Debug, Serialize)]
pub struct PayableRow {
    /// The programme.
    pub programme: String,
    /// The funder.
    pub funder: String,
    /// In fen.
    pub net: i128,
}

/// The closed periods.
pub(crate) fn periods(books: &Books) -> Vec<PeriodReport> {
    let closed = books.closing.ended.iter().zip(1..).filter(|(period, _)| period.closed);
    closed
        .map(|(ended, period)| PeriodReport {
            period,
            from_ms: ended.from,
            until_ms: ended.until,
            clearing: clearing(books, period),
            net_of_regions: net_of_regions(books, period),
            settlements: settlements(books, period),
            payables: payables(books, period),
        })
        .collect()
}

fn clearing(books: &Books, period: u32) -> Vec<ClearingCell> {
    let mut sums = BTreeMap::new();
    for (key, tally) in books.closing.rows(period) {
        if let Some(programme) = books.programme(key.programme) {
            *sums.entry((programme.region, key.payee_region)).or_insert(0) += tally.net();
        }
    }
    let cell = |((issuer_region, payee_region), net)| ClearingCell {
        issuer_region,
        payee_region,
        net,
    };
    sums.into_iter().map(cell).collect()
}

fn net_of_regions(books: &Books, period: u32) -> BTreeMap<u32, i128> {
    let mut nets = BTreeMap::new();
    for cell in clearing(books, period) {
        *nets.entry(cell.payee_region).or_insert(0) += cell.net;
        *nets.entry(cell.issuer_region).or_insert(0) -= cell.net;
    }
    nets
}

fn settlements(books: &Books, period: u32) -> Vec<SettlementRow> {
    let mut sums: BTreeMap<u32, (i128, i128)> = BTreeMap::new();
    for (key, tally) in books.closing.rows(period) {
        let Some(provider) = books.provider_of(key) else {
            continue;
        };
        let (subsidy, own_money) = sums.entry(provider).or_default();
        let sum = if key.programme == 0 { own_money } else { subsidy };
        *sum += tally.net();
    }
    let row = |(provider, (subsidy, own_money)): (u32, (i128, i128))| SettlementRow {
        provider: books.org(provider).map_or_else(String::new, |org| org.name.clone()),
        subsidy,
        own_money,
        net: subsidy + own_money,
        paid: books
            .closing
            .settlements
            .get(&(period, provider))
            .and_then(|settlement| settlement.paid),
    };
    sums.into_iter().map(row).collect()
}

fn payables(books: &Books, period: u32) -> Vec<PayableRow> {
    let mut sums: BTreeMap<(u32, usize), i128> = BTreeMap::new();
    for (key, tally) in books.closing.rows(period) {
        for (funder, net) in tally.funders.iter().enumerate() {
            *sums.entry((key.programme, funder)).or_default() += net;
        }
    }
    let row = |((id, funder), net): ((u32, usize), i128)| {
        let programme = books.programme(id)?;
        Some(PayableRow {
            programme: programme.name.clone(),
            funder: programme.funders.get(funder)?.0.clone(),
            net,
        })
    };
    sums.into_iter().filter_map(row).collect()
}
