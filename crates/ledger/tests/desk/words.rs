//! The words of one command: a verb, names by position, and `key=value` pairs. Dates are Shanghai's.

use hesuan_ledger::types::{BasisPoints, Fen, Funding, Grant, HoldKey, Line, RegionCode, Sku, Timestamp, VoucherId};
use hesuan_ledger::{BudgetPolicy, Denomination, ExpiryBasis, Funder, OrgKind, Rate, Redemption, Stacking, Terms};

pub(crate) struct Words {
    positional: Vec<String>,
    pairs: Vec<(String, String)>,
}

impl Words {
    pub(crate) fn new(command: &str) -> Self {
        let (mut positional, mut pairs) = (Vec::new(), Vec::new());
        for word in command.split_whitespace() {
            match word.split_once('=') {
                Some((key, value)) => pairs.push((key.into(), value.into())),
                None => positional.push(word.into()),
            }
        }
        Self { positional, pairs }
    }

    pub(crate) fn verb(&self) -> &str {
        &self.positional[0]
    }

    pub(crate) fn rest(&self) -> String {
        self.positional[1..].join(" ")
    }

    pub(crate) fn name(&self, index: usize) -> &str {
        self.positional
            .get(index + 1)
            .unwrap_or_else(|| panic!("{}: a word is missing", self.verb()))
    }

    pub(crate) fn number(&self, index: usize) -> u64 {
        integer(self.name(index)) as u64
    }

    pub(crate) fn fen(&self, index: usize) -> Fen {
        Fen(integer(self.name(index)))
    }

    pub(crate) fn grant(&self, index: usize) -> Grant {
        grant(self.name(index))
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.value(key) == Some("yes")
    }

    pub(crate) fn denomination(&self) -> Denomination {
        self.value("unit-hours-of")
            .map_or(Denomination::Money, |sku| Denomination::UnitHours(sku.into()))
    }

    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(found, _)| found == key)
            .map(|(_, value)| &**value)
    }

    pub(crate) fn amount(&self, key: &str) -> Option<Fen> {
        self.value(key).map(|value| Fen(integer(value)))
    }

    pub(crate) fn rate(&self, key: &str) -> BasisPoints {
        BasisPoints(self.value(key).map_or(0, percent))
    }

    pub(crate) fn region(&self, key: &str) -> RegionCode {
        RegionCode(self.value(key).map_or(0, integer) as u32)
    }

    pub(crate) fn kind(&self) -> OrgKind {
        self.value("kind").map_or(OrgKind::Enterprise, kind)
    }

    pub(crate) fn skus(&self, key: &str) -> Vec<Sku> {
        self.value(key)
            .map(|skus| skus.split(',').map(Sku::from).collect())
            .unwrap_or_default()
    }

    /// `4711` is its task 0 and attempt 1; `4711.2.3` says them.
    pub(crate) fn key(&self, index: usize) -> HoldKey {
        let mut parts = self.name(index).split('.').map(integer);
        let job = parts.next().expect("a key begins with a job") as u64;
        HoldKey {
            job,
            task: parts.next().unwrap_or(0) as u32,
            attempt: parts.next().unwrap_or(1) as u32,
        }
    }

    fn amounts_by_sku(&self) -> impl Iterator<Item = (Sku, &str)> {
        let known = |key: &str| ["cpu", "memory", "storage"].contains(&key) || key.starts_with("gpu/");
        self.pairs
            .iter()
            .filter(move |(key, _)| known(key))
            .map(|(key, value)| (Sku::from(&**key), &**value))
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        self.amounts_by_sku()
            .map(|(sku, value)| Line {
                sku,
                milli_units: integer(value) as u64 * 1_000,
            })
            .collect()
    }

    pub(crate) fn prices(&self) -> Vec<(Sku, u64)> {
        self.amounts_by_sku()
            .map(|(sku, value)| (sku, integer(value) as u64))
            .collect()
    }

    pub(crate) fn funding(&self, voucher: impl Fn(&str) -> VoucherId) -> Funding {
        match self.value("pay") {
            None => Funding::Auto,
            Some("wallet") => Funding::WalletOnly,
            Some(codes) => Funding::Vouchers(codes.split(',').map(voucher).collect()),
        }
    }

    pub(crate) fn funders(&self) -> Vec<Funder> {
        let funders = self.value("funders").unwrap_or("city:1").split(',');
        funders
            .map(|funder| {
                let (name, share) = funder.split_once(':').expect("name:share");
                Funder {
                    name: name.into(),
                    share: integer(share) as u32,
                }
            })
            .collect()
    }

    pub(crate) fn budget_policy(&self) -> BudgetPolicy {
        if self.value("commit") == Some("hold") {
            BudgetPolicy::CommitAtHold
        } else {
            BudgetPolicy::CommitAtIssue
        }
    }

    pub(crate) fn redemption(&self) -> Redemption {
        if self.value("pays") == Some("holder") {
            Redemption::Holder
        } else {
            Redemption::Provider
        }
    }

    pub(crate) fn terms(&self) -> Terms {
        let rates = self
            .value("rates")
            .unwrap_or("")
            .split(',')
            .filter(|rate| !rate.is_empty())
            .map(|rate| {
                let (sku, rate) = rate.split_once(':').expect("sku:percent");
                Rate {
                    sku: sku.into(),
                    rate: BasisPoints(percent(rate)),
                }
            });
        Terms {
            rates: rates.collect(),
            excluded_skus: self.skus("exclude"),
            cap_per_control_group: self.value("group-cap").map(grant),
            cap_per_job: self.value("job-cap").map(grant),
            holder_kinds: self
                .value("kinds")
                .map(|kinds| kinds.split(',').map(kind).collect())
                .unwrap_or_default(),
            holder_regions: self
                .value("holders-in")
                .map(|_| vec![self.region("holders-in")])
                .unwrap_or_default(),
            stacking: match self.value("stack") {
                Some("alone") => Stacking::Exclusive,
                cap => Stacking::Stackable {
                    total_max: cap.map_or(BasisPoints::WHOLE, |cap| BasisPoints(percent(cap))),
                },
            },
            from: self.value("from").map_or(Timestamp(0), instant),
            until: self.value("until").map_or(Timestamp::FAR, instant),
            expiry_basis: if self.value("expiry") == Some("hold") {
                ExpiryBasis::Hold
            } else {
                ExpiryBasis::Usage
            },
            carry_over: self.value("carry-over") == Some("yes"),
            reinstate_refunds: self.value("reinstate") == Some("yes"),
        }
    }
}

fn kind(word: &str) -> OrgKind {
    match word {
        "team" => OrgKind::Team,
        "lab" => OrgKind::Lab,
        "provider" => OrgKind::Provider,
        _ => OrgKind::Enterprise,
    }
}

pub(crate) fn integer(word: &str) -> i64 {
    word.replace('_', "")
        .parse()
        .unwrap_or_else(|_| panic!("{word} is not a number"))
}

/// Fen, or unit-hours as "40uh".
pub(crate) fn grant(word: &str) -> Grant {
    match word.strip_suffix("uh") {
        Some(hours) => Grant(integer(hours) * Grant::UNIT_HOUR.0),
        None => Grant(integer(word)),
    }
}

/// Fen as a number; unit-hours with their unit, to the milli-unit-second.
pub(crate) fn shown_grant(grant: Grant, units: bool) -> String {
    let (hours, rest) = (grant.0 / Grant::UNIT_HOUR.0, grant.0 % Grant::UNIT_HOUR.0);
    match (units, rest) {
        (false, _) => grant.to_string(),
        (true, 0) => format!("{hours}uh"),
        (true, rest) => format!("{hours}uh+{rest}"),
    }
}

/// Hours, or as much finer as it takes.
pub(crate) fn shown_duration(ms: u64) -> String {
    for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if ms.is_multiple_of(size) {
            return format!("{}{unit}", ms / size);
        }
    }
    format!("{ms}ms")
}

// "25%" or "33.33%" in basis points.
fn percent(word: &str) -> u32 {
    let (whole, rest) = word
        .trim_end_matches('%')
        .split_once('.')
        .unwrap_or((word.trim_end_matches('%'), ""));
    integer(whole) as u32 * 100 + integer(&format!("{rest:0<2}")) as u32
}

/// "90m", "2h", "1500ms".
pub(crate) fn duration(word: &str) -> u64 {
    let digits = word.trim_end_matches(char::is_alphabetic);
    let unit = match &word[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        unit => panic!("no unit {unit}"),
    };
    integer(digits) as u64 * unit
}

/// "2026-03-01", "2026-03-01 12:30" or "2026-03-01T12:30", in Shanghai.
pub(crate) fn instant(word: &str) -> Timestamp {
    let (date, time) = word.split_once(['T', ' ']).unwrap_or((word, "00:00"));
    let date: Vec<i64> = date.split('-').map(integer).collect();
    let (hours, minutes) = time.split_once(':').expect("hours:minutes");
    let (year, month, day) = (date[0] - i64::from(date[1] <= 2), (date[1] + 9) % 12, date[2] - 1);
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_468;
    Timestamp(((days * 24 + integer(hours) - 8) * 60 + integer(minutes)) as u64 * 60_000)
}

/// The inverse of [`instant`], to the minute.
pub(crate) fn date(at: Timestamp) -> String {
    let minutes = at.0 / 60_000 + 8 * 60;
    let (days, minutes) = (minutes / 1_440, minutes % 1_440);
    // Days since 0000-03-01, so that a leap day is the last of its year.
    let day = days as i64 + 719_468;
    let era = day / 146_097;
    let day_of_era = day % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + i64::from(month >= 10);
    let month = (month + 2) % 12 + 1;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    format!("{year:04}-{month:02}-{day:02} {hours:02}:{minutes:02}")
}
