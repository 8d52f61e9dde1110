//! Price sheets of a site: per class, versioned, append-only. What was once in force stays in force for its time.

use crate::party::check_name;
use crate::rejection::Rejection;
use crate::types::{Line, Sku, Timestamp};

/// The largest unit price, in milli-fen per unit-hour.
pub const MILLIFEN_MAX: u64 = 1_000_000_000_000;
/// The largest amount of one class, in thousandths of a unit.
pub const MILLI_UNITS_MAX: u64 = 1_000_000_000_000;
/// The longest time limit.
pub const WALLTIME_MS_MAX: u64 = 100_000_000_000;
/// The most classes in one request.
pub const LINES_MAX: usize = 64;

/// A price of one class from an instant on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// The class.
    pub sku: Sku,
    /// First instant it is in force.
    pub effective_from: Timestamp,
    /// The sheet it came with.
    pub version: u32,
    /// Per unit-hour.
    pub millifen_per_unit_hour: u64,
}

/// A line with the price pinned to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PricedLine {
    /// What is reserved.
    pub line: Line,
    /// Per unit-hour.
    pub millifen_per_unit_hour: u64,
    /// The sheet the price came with.
    pub price_version: u32,
}

/// All sheets of a site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceSheets {
    // By (sku, effective_from, version): the price in force is the last one that has begun.
    prices: Vec<Price>,
    version: u32,
}

impl PriceSheets {
    /// Number of the latest sheet; 0 when there is none.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Every price of every sheet, by class, then beginning, then version.
    pub fn prices(&self) -> &[Price] {
        &self.prices
    }

    /// The price of a class in force at an instant: of those that have begun the latest, of the latest the newest sheet's.
    pub fn at(&self, sku: &Sku, at: Timestamp) -> Option<&Price> {
        let after = self
            .prices
            .partition_point(|price| (&price.sku, price.effective_from) <= (sku, at));
        self.prices.get(after.checked_sub(1)?).filter(|price| price.sku == *sku)
    }

    pub(crate) fn append(&mut self, prices: &[(Sku, u64)], effective_from: Timestamp) -> u32 {
        self.version += 1;
        for (sku, millifen_per_unit_hour) in prices {
            let (sku, millifen_per_unit_hour, version) = (sku.clone(), *millifen_per_unit_hour, self.version);
            let slot = self.prices.partition_point(|price| {
                (&price.sku, price.effective_from, price.version) <= (&sku, effective_from, version)
            });
            self.prices.insert(
                slot,
                Price {
                    sku,
                    effective_from,
                    version,
                    millifen_per_unit_hour,
                },
            );
        }
        self.version
    }

    pub(crate) fn restore(prices: Vec<Price>, version: u32) -> Self {
        Self { prices, version }
    }
}

pub(crate) fn check_sheet(prices: &[(Sku, u64)]) -> Result<(), Rejection> {
    if prices.is_empty() || prices.len() > 256 {
        return Err(Rejection::invalid("prices", prices.len(), "1 to 256 prices"));
    }
    for (index, (sku, price)) in prices.iter().enumerate() {
        check_sku("prices.sku", sku)?;
        if *price > MILLIFEN_MAX {
            return Err(Rejection::invalid(
                "prices.millifen_per_unit_hour",
                price,
                "at most 1000000000000",
            ));
        }
        if prices[..index].iter().any(|(earlier, _)| earlier == sku) {
            return Err(Rejection::invalid("prices.sku", sku, "each class once"));
        }
    }
    Ok(())
}

/// Refuses what no price could be computed for without overflow.
pub(crate) fn check_lines(lines: &[Line], walltime_ms_max: u64) -> Result<(), Rejection> {
    if lines.is_empty() || lines.len() > LINES_MAX {
        return Err(Rejection::invalid("lines", lines.len(), "1 to 64 lines"));
    }
    for (index, line) in lines.iter().enumerate() {
        if line.milli_units > MILLI_UNITS_MAX {
            return Err(Rejection::invalid(
                "lines.milli_units",
                line.milli_units,
                "at most 1000000000000",
            ));
        }
        if lines[..index].iter().any(|earlier| earlier.sku == line.sku) {
            return Err(Rejection::invalid("lines.sku", &line.sku, "each class once"));
        }
    }
    if walltime_ms_max == 0 || walltime_ms_max > WALLTIME_MS_MAX {
        return Err(Rejection::invalid(
            "walltime_ms_max",
            walltime_ms_max,
            "1 to 100000000000",
        ));
    }
    Ok(())
}

/// Refuses class names that could not be typed or matched, or not be told from what stands beside them in the journal: `*` is for
/// patterns only, `;` and `=` separate.
pub(crate) fn check_sku(field: &'static str, sku: &Sku) -> Result<(), Rejection> {
    if sku.as_str().contains(['*', ';', '=']) {
        return Err(Rejection::invalid(field, sku, "a class without * ; or ="));
    }
    check_name(field, sku.as_str())
}

/// Refuses patterns other than a class or a prefix ending in one `*`.
pub(crate) fn check_pattern(field: &'static str, pattern: &Sku) -> Result<(), Rejection> {
    let stem = pattern.as_str().strip_suffix('*').unwrap_or(pattern.as_str());
    if stem.contains(['*', ';', '=']) {
        return Err(Rejection::invalid(
            field,
            pattern,
            "a class without ; or =, or a prefix of one ending in *",
        ));
    }
    if stem.is_empty() {
        Ok(())
    } else {
        check_name(field, stem)
    }
}

/// How closely a pattern names a class: `None` if not at all, more is closer, the exact name closest.
pub(crate) fn closeness(pattern: &Sku, sku: &Sku) -> Option<usize> {
    match pattern.as_str().strip_suffix('*') {
        Some(prefix) => sku.as_str().starts_with(prefix).then_some(prefix.len()),
        None => (pattern == sku).then_some(usize::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_price_that_has_begun_is_in_force() {
        let (cpu, gpu) = (Sku::from("cpu"), Sku::from("gpu/a800"));
        let mut sheets = PriceSheets::default();
        assert_eq!(
            sheets.append(&[(cpu.clone(), 2_000), (gpu.clone(), 325_000)], Timestamp(100)),
            1
        );
        assert_eq!(sheets.append(&[(cpu.clone(), 2_500)], Timestamp(500)), 2);
        assert_eq!(sheets.append(&[(cpu.clone(), 1_900)], Timestamp(200)), 3);
        let price = |sku: &Sku, at| sheets.at(sku, Timestamp(at)).map(|price| price.millifen_per_unit_hour);
        assert_eq!(price(&cpu, 99), None);
        assert_eq!(
            (price(&cpu, 100), price(&cpu, 200), price(&cpu, 500)),
            (Some(2_000), Some(1_900), Some(2_500))
        );
        assert_eq!(
            (price(&gpu, 900), price(&Sku::from("memory"), 900)),
            (Some(325_000), None)
        );
    }

    #[test]
    fn an_exact_name_is_closer_than_a_prefix() {
        let gpu = Sku::from("gpu/a800");
        assert_eq!(closeness(&Sku::from("gpu/*"), &gpu), Some(4));
        assert_eq!(closeness(&Sku::from("*"), &gpu), Some(0));
        assert_eq!(closeness(&gpu, &gpu), Some(usize::MAX));
        assert_eq!(closeness(&Sku::from("gpu/h*"), &gpu), None);
    }
}
