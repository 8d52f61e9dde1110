//! A journal in which most things happen once, with every figure worked out on paper.
//!
//! A firm of region 330100 runs two cores and a disk for three hours and twenty minutes at a site of region 310117, paid by a voucher of the
//! site's region (25 % of the cores, two funders 2:1), by one of its own region (20 % of the cores under an agreement, redeemed by the
//! holder, committed at hold) and by its wallet.

use crate::scribe::*;

/// The year's end in Shanghai.
pub(crate) const YEAR_END: u64 = NEW_YEAR + 365 * DAY;
/// The end of January.
pub(crate) const MONTH_END: u64 = NEW_YEAR + 31 * DAY;

pub(crate) const CLERK: u64 = 7;
pub(crate) const REVIEWER: u64 = 8;
pub(crate) const PAYER: u64 = 9;

/// Parties, prices, rules and two redeemed vouchers: entries 1 to 12.
pub(crate) fn rules() -> Scribe {
    let mut scribe = Scribe {
        at: NEW_YEAR,
        actor: CLERK,
        ..Scribe::default()
    };
    scribe.entry(1, &[], &[1, 3, 310_117, 1], &["dc", "dc", ""]);
    scribe.entry(1, &[], &[2, 0, 330_100, 2], &["firm", "firm", ""]);
    scribe.entry(2, &[(TREASURY, wallet(2), 100_000)], &[2], &["invoice"]);
    scribe.entry(4, &[], &[1, 310_117, 1], &[]);
    scribe.entry(5, &[], &[1, 1, NEW_YEAR, 200_000, 100_000], &["cpu", "disk"]);
    let terms = format!("rate cpu=2500;stack 8000;from {NEW_YEAR};until {YEAR_END}");
    scribe.entry(
        6,
        &[(uncalled(1), budget(1), 50_000)],
        &[1, 310_117, 50_000, 0, 0, 2026, 2, 1],
        &["city", "", &terms, "city fund", "district fund"],
    );
    let terms = format!(
        "rate *=3000;exclude disk;cap_group 9000;cap_job 5000;kind 0;region 330100;stack 10000;from {NEW_YEAR};until {YEAR_END};reinstate"
    );
    scribe.entry(
        6,
        &[(uncalled(2), budget(2), 30_000)],
        &[2, 330_100, 30_000, 1, 1, 0, 1],
        &["home", "", &terms, "home fund"],
    );
    scribe.entry(
        9,
        &[],
        &[1, 1, 330_100, 310_117, 2_000, 4_000, NEW_YEAR, YEAR_END],
        &["cpu"],
    );
    scribe.entry(
        11,
        &[(budget(1), voucher(1), 20_000)],
        &[1, 1, 2, 20_000, NEW_YEAR, YEAR_END],
        &["V1"],
    );
    scribe.entry(
        11,
        &[(unfunded(2), voucher(2), 20_000)],
        &[2, 2, 2, 20_000, NEW_YEAR, YEAR_END],
        &["V2"],
    );
    scribe.entry(12, &[], &[1, 2], &[]);
    scribe.entry(12, &[], &[2, 2], &[]);
    scribe
}

/// Per leg of the hold: what follows voucher, programme, revision, agreement, version, redemption, year and cover.
pub(crate) const HOLD_FACTS: [u64; 41] = [
    1, 11, 0, 1, // hold, job, task, attempt
    2, 1, 1, 36_000_000, // payer, site, provider, time limit
    2, 2_000, 1_000, // lines
    1, 0, 36_000_000, 8_000, 5_000, 4_001, // one slice of ten hours: 4,000 fen of cores, 1,000 of disk
    200_000, 1, 100_000, 1, // prices and sheets
    2, // legs
    1, 1, 1, 0, 0, 0, 2026, 36_000_000, // 25 % of 4,000
    // amount, grant, rates; then the second leg: 20 % of 4,000
    1_000, 1_000, 2_500, 0, 2, 2, 1, 1, 1, 1, 2026,
];

/// The same, with hold, settlement, a refund, a closed period, payments, a correction and a revocation.
pub(crate) fn story() -> Scribe {
    let mut scribe = rules();
    scribe.at = NEW_YEAR + DAY;
    scribe.actor = 0;
    let rest = [36_000_000, 800, 800, 2_000, 0];
    scribe.entry(
        17,
        &[
            (voucher(1), voucher_held(1), 1_000),
            (voucher(2), voucher_held(2), 800),
            (budget(2), unfunded(2), 800),
            // 3,200 of its own, 800 in advance, 1 for rounding.
            (wallet(2), wallet_held(2), 4_001),
        ],
        &[&HOLD_FACTS[..], &rest].concat(),
        &["cpu", "disk"],
    );
    scribe.at += 4 * HOUR;
    // 1,333 of cores and 333 of disk: 333 by the city, 266 by home, 1,067 by the firm, which advances the 266.
    scribe.entry(
        20,
        &[
            (voucher_held(1), uncalled(1), 333),
            (due(1, 0), receivable(1), 222),
            (due(1, 1), receivable(1), 111),
            (voucher_held(1), voucher(1), 667),
            (voucher_held(2), uncalled(2), 266),
            (due(2, 0), claim(2), 266),
            (voucher_held(2), voucher(2), 534),
            (unfunded(2), budget(2), 534),
            (wallet_held(2), receivable(1), 1_333),
            (wallet_held(2), wallet(2), 2_668),
        ],
        &[1, 12_000_000, 1, 0, 12_000_000, 1, 1_666, 1_333, 333, 333, 266, 266, 0],
        &[],
    );
    scribe.actor = CLERK;
    // 500 of 1,666: 100, 80 and 320 by largest remainder; the city's funders get 67 and 33.
    scribe.entry(
        23,
        &[
            (receivable(1), due(1, 0), 67),
            (receivable(1), due(1, 1), 33),
            (uncalled(1), budget(1), 100),
            (claim(2), due(2, 0), 80),
            (uncalled(2), budget(2), 80),
            (unfunded(2), voucher(2), 80),
            (receivable(1), wallet(2), 400),
        ],
        &[11, 0, 1, 1, 0, 1, 1, 500, 400, 100, 100, 0, 80, 80, 1],
        &["site at fault"],
    );
    scribe.at = MONTH_END + 5;
    scribe.actor = 0;
    scribe.entry(28, &[], &[1, MONTH_END], &[]);
    scribe.actor = REVIEWER;
    scribe.entry(
        29,
        &[],
        &[
            1, 3, // period, rows
            1, 0, 0, 1, 310_117, 1_333, 400, 1, 1, 0, // own money
            1, 1, 0, 1, 310_117, 333, 100, 1, 1, 2, 310, 156, // the city: 155 and 78
            1, 2, 1, 1, 330_100, 266, 80, 1, 1, 1, 372, // home: 186
        ],
        &[],
    );
    scribe.actor = CLERK;
    scribe.entry(30, &[], &[1, 2, 2, 186], &[]);
    scribe.actor = REVIEWER;
    scribe.entry(31, &[], &[1, 1], &[""]);
    scribe.entry(33, &[], &[1, 1], &[]);
    scribe.actor = PAYER;
    for (programme, funder, amount) in [(1, 0, 155), (1, 1, 78), (2, 0, 186)] {
        scribe.entry(
            35,
            &[(TREASURY, due(programme, funder), amount)],
            &[programme, funder, amount],
            &["bank"],
        );
    }
    scribe.entry(32, &[(claim(2), TREASURY, 186)], &[1], &["bank"]);
    scribe.entry(34, &[(receivable(1), TREASURY, 1_166)], &[1, 1, 1_166], &["bank"]);
    scribe.actor = CLERK;
    // Another 100, of a closed period whose money is paid: 20, 16 and 64.
    scribe.entry(
        23,
        &[
            (owes(1), recovery(1), 20),
            (uncalled(1), budget(1), 20),
            (owes(2), recovery(2), 16),
            (uncalled(2), budget(2), 16),
            (unfunded(2), voucher(2), 16),
            (owes(1), wallet(2), 80),
        ],
        &[11, 0, 1, 1, 0, 1, 2, 100, 80, 20, 20, 0, 16, 16, 1],
        &["site at fault"],
    );
    scribe.entry(36, &[(TREASURY, owes(1), 100)], &[1, 100], &["bank"]);
    scribe.entry(37, &[(recovery(1), TREASURY, 20)], &[1, 20], &["bank"]);
    scribe.entry(13, &[], &[1], &["under review"]);
    scribe.entry(14, &[], &[1], &["reviewed"]);
    // 333 less 120 came from the voucher; 20,000 less 333 is still on it.
    scribe.entry(
        15,
        &[(owes(2), recovery(1), 213), (voucher(1), budget(1), 19_667)],
        &[1, 1, 213],
        &["false papers"],
    );
    scribe.entry(8, &[(uncalled(2), budget(2), 10_000)], &[2, 40_000], &[]);
    scribe.entry(10, &[], &[1, scribe.at], &[]);
    scribe.entry(3, &[(wallet(2), TREASURY, 1_000)], &[2], &["bank"]);
    scribe.entry(27, &[], &[2, 310_117, 2], &["firm"]);
    scribe.at = YEAR_END;
    scribe.actor = 0;
    let mut until = MONTH_END;
    for (period, days) in (2..).zip([28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
        until += days * DAY;
        scribe.entry(28, &[], &[period, until], &[]);
    }
    scribe.entry(16, &[(voucher(2), unfunded(2), 19_830)], &[2], &[]);
    scribe
}
