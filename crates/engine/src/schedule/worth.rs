//! What the idle GPUs of a machine are worth: how much of them the requests to come are likely to fill, if those are like
//! the ones seen. A task is placed where it lowers this least, so rests that nobody asks for, and GPUs without the cores to
//! use them, are made as seldom as can be.
//!
//! One device with some cores is a small knapsack that is offered one task after another, drawn from the mix; whoever is
//! worth more than the room he takes is let in. Its value after `OFFERS` of them is computed backwards, for every amount of
//! device and of cores ([`Table`]). A machine is worth the sum over its devices, each with its part of the free cores.

use std::sync::Arc;

use super::mix::Mix;

/// Tasks offered to one device. Few would leave rests to chance that somebody surely comes for; very many would count on
/// what hardly anybody asks for.
const OFFERS: u32 = 64;
/// Amounts of a device are looked at in steps of so many thousandths: a task is rounded up, a rest down.
const STEP_MILLI: u32 = 10;
const STEPS: usize = 100;
/// Cores beside one device; who has more is not worth more.
const CORES: usize = 32;
/// One more, so that between the last and the next can be read between the lines.
const ROW: usize = CORES + 2;
/// Values are in 256ths of a thousandth, chances in 16384ths: the sum of chances times the largest value just fits 32 bits.
const VALUE_BITS: u32 = 8;
const CHANCE_BITS: u32 = 14;
/// The most frequent kinds that are offered; the others are too rare to wait for.
const KINDS: usize = 64;
/// Bounds of the table of wide requests: untouched devices, free cores.
const WIDE_DEVICES: usize = 16;
const WIDE_CORES: usize = 128;
const FACTOR_BITS: u32 = 16;

/// What devices of one model are worth.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// By steps of free device, then by cores.
    fill: Vec<u32>,
    /// By untouched devices, then by free cores: how much of the fill counts. It is less the more of the requests for several
    /// devices no longer fit, so whole machines are kept for them; 65536 = all.
    wide: Vec<u32>,
}

/// A kind of request that a model's devices take, as the tables see it. Equal lists make equal tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    devices: u32,
    steps: u32,
    cores: u32,
    count: u32,
}

/// The tables of one mix, each made once.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    mix: Mix,
    made: Vec<(Vec<Asked>, Arc<Table>)>,
}

impl Tables {
    /// As the mix is now; what is noted later does not change them.
    pub(crate) fn of(mix: &Mix) -> Self {
        Self {
            mix: mix.clone(),
            made: Vec::new(),
        }
    }

    /// The table of a model's devices.
    pub(crate) fn of_model(&mut self, model: &str) -> Arc<Table> {
        let taken = self
            .mix
            .kinds()
            .filter(|(kind, _)| kind.models.is_empty() || kind.models.iter().any(|taken| **taken == *model));
        let asked: Vec<Asked> = taken
            .map(|(kind, count)| Asked {
                devices: kind.devices,
                steps: kind.milli.div_ceil(STEP_MILLI),
                cores: kind.cores,
                count,
            })
            .collect();
        if let Some((_, table)) = self.made.iter().find(|(known, _)| *known == asked) {
            return table.clone();
        }
        let table = Arc::new(Table::of(&asked));
        self.made.push((asked, table.clone()));
        table
    }
}

impl Table {
    fn of(asked: &[Asked]) -> Self {
        Self {
            fill: fill(&offers(asked)),
            wide: wide(asked),
        }
    }

    /// The likely fill of one device with its part of the cores, in 1024ths of one.
    fn fill(&self, free_milli: u32, cores_1024: u64) -> u32 {
        let cores = cores_1024.min((CORES as u64) << 10) as usize;
        let at = (free_milli / STEP_MILLI) as usize * ROW + (cores >> 10);
        let between = (cores & 1023) as u32;
        (self.fill[at] * (1024 - between) + self.fill[at + 1] * between) >> 10
    }

    fn factor(&self, untouched: usize, cpu_milli: u64) -> u64 {
        let cores = (cpu_milli / 1000).min(WIDE_CORES as u64) as usize;
        u64::from(self.wide[untouched.min(WIDE_DEVICES) * (WIDE_CORES + 1) + cores])
    }
}

/// A task on offer: steps of a device, cores, the chance that it is the next.
struct Offer {
    steps: usize,
    cores: usize,
    chance: u32,
}

/// Who may come for one device. A request for several comes for each of them, with its part of the cores.
fn offers(asked: &[Asked]) -> Vec<Offer> {
    let devices = |asked: &Asked| u64::from(asked.devices) * u64::from(asked.count);
    let total: u64 = asked.iter().map(devices).sum();
    let mut offers: Vec<Offer> = Vec::new();
    for kind in asked {
        let (steps, cores) = (kind.steps as usize, kind.cores.div_ceil(kind.devices) as usize);
        let chance = ((devices(kind) << CHANCE_BITS) / total) as u32;
        if steps > STEPS || cores > CORES {
            continue;
        }
        match offers
            .iter_mut()
            .find(|offer| (offer.steps, offer.cores) == (steps, cores))
        {
            Some(offer) => offer.chance += chance,
            None => offers.push(Offer { steps, cores, chance }),
        }
    }
    offers.sort_by_key(|offer| (std::cmp::Reverse(offer.chance), offer.steps, offer.cores));
    offers.truncate(KINDS);
    offers
}

fn fill(offers: &[Offer]) -> Vec<u32> {
    let mut value = vec![0u32; (STEPS + 1) * ROW];
    for _ in 0..OFFERS {
        // What is left is always smaller, so it still holds the value before this offer.
        for steps in (1..=STEPS).rev() {
            let (smaller, rest) = value.split_at_mut(steps * ROW);
            let own = &mut rest[..=CORES];
            let mut gained = [0u32; CORES + 1];
            for offer in offers.iter().filter(|offer| offer.steps <= steps) {
                let taken = (offer.steps as u32 * STEP_MILLI) << VALUE_BITS;
                let left = &smaller[(steps - offer.steps) * ROW..][..=CORES - offer.cores];
                let (gained, own) = (&mut gained[offer.cores..], &own[offer.cores..]);
                for ((gained, left), own) in gained.iter_mut().zip(left).zip(own) {
                    *gained += offer.chance * (taken + left).saturating_sub(*own);
                }
            }
            for (own, gained) in own.iter_mut().zip(gained) {
                *own += gained >> CHANCE_BITS;
            }
        }
    }
    for row in value.chunks_exact_mut(ROW) {
        row[CORES + 1] = row[CORES];
    }
    value
}

/// Kinds weigh by the root of their count: the widest are rare, and would be lost if they weighed by it.
fn wide(asked: &[Asked]) -> Vec<u32> {
    let weight = |asked: &Asked| (u64::from(asked.count) << 16).isqrt();
    let total: u64 = asked.iter().map(weight).sum::<u64>().max(1);
    let mut missing = vec![0u64; (WIDE_DEVICES + 1) * (WIDE_CORES + 1)];
    for kind in asked.iter().filter(|kind| kind.devices > 1) {
        let devices = (kind.devices as usize).min(WIDE_DEVICES);
        let cores = (kind.cores as usize).min(WIDE_CORES);
        for (untouched, row) in missing.chunks_exact_mut(WIDE_CORES + 1).enumerate() {
            let short = if untouched < devices { WIDE_CORES + 1 } else { cores };
            row[..short].iter_mut().for_each(|missing| *missing += weight(kind));
        }
    }
    let factor = |missing: u64| (((total - missing) << FACTOR_BITS) / total) as u32;
    missing.into_iter().map(factor).collect()
}

/// A machine's devices as they are valued: model (by its place among the tables) and free thousandths.
pub(crate) type Device = (u16, u32);

/// One machine's devices with its free cores, ready to be valued.
pub(crate) struct Bench<'a> {
    tables: &'a [Arc<Table>],
    cpu_milli: u64,
    untouched: usize,
    /// 1024ths of a core for each free thousandth of a device, shifted by 16.
    ratio: u64,
}

impl<'a> Bench<'a> {
    /// `cpu_milli`, `idle_milli`: what is free of cores and of all devices together; `untouched`: devices nobody uses.
    pub(crate) fn new(tables: &'a [Arc<Table>], cpu_milli: u64, idle_milli: u64, untouched: usize) -> Self {
        let cores_1024 = cpu_milli.min(1 << 30) * 1024 / 1000;
        Self {
            tables,
            cpu_milli,
            untouched,
            ratio: (cores_1024 << 16) / idle_milli.max(1),
        }
    }

    /// The likely fill of one device.
    pub(crate) fn fill(&self, (model, free_milli): Device) -> u64 {
        let cores_1024 = (self.ratio * u64::from(free_milli)) >> 16;
        u64::from(self.tables[usize::from(model)].fill(free_milli, cores_1024))
    }

    /// The worth of devices that are filled so much in all, if `broken` of the untouched are taken. A machine has devices of
    /// one model, nearly always; `model` speaks for all.
    pub(crate) fn worth(&self, fill: u64, model: u16, broken: usize) -> u64 {
        let table = &self.tables[usize::from(model)];
        (fill * table.factor(self.untouched - broken, self.cpu_milli)) >> FACTOR_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Resources;

    fn table(requests: &[(u64, u64, u32)]) -> Arc<Table> {
        let mut mix = Mix::default();
        for &(cpu_milli, gpu_milli, tasks) in requests {
            let resources = Resources {
                cpu_milli,
                gpu_milli,
                ..Resources::default()
            };
            mix.note(&resources, tasks);
        }
        Tables::of(&mix).of_model("a800")
    }

    /// In thousandths of a device, rounded.
    fn fill(table: &Table, free_milli: u32, cores: u64) -> u32 {
        (table.fill(free_milli, cores << 10) + 128) >> VALUE_BITS
    }

    #[test]
    fn a_rest_is_worth_what_fits_into_it() {
        let table = table(&[(4_000, 810, 50), (4_000, 470, 50)]);
        assert_eq!(fill(&table, 190, 8), 0, "nobody asks for so little");
        assert_eq!(fill(&table, 530, 8), 470);
        assert_eq!(fill(&table, 1000, 8), 940, "two of 470, and 810 is not let in");
        assert_eq!(fill(&table, 1000, 7), 810, "cores for one only: the larger");
        assert_eq!(fill(&table, 1000, 3), 0, "no cores for any");
    }

    #[test]
    fn what_is_hardly_ever_asked_for_fills_little() {
        let table = table(&[(4_000, 1000, 999), (1_000, 190, 1)]);
        let rest = fill(&table, 190, 32);
        assert!((5..20).contains(&rest), "64 in 1000 chances of 190: {rest}");
    }

    #[test]
    fn wide_requests_keep_whole_machines_worth_more() {
        let wide = table(&[(4_000, 1000, 100), (64_000, 8000, 4)]);
        assert_eq!(wide.factor(8, 64_000), 1 << FACTOR_BITS);
        let broken = wide.factor(7, 64_000);
        assert!(broken < 1 << FACTOR_BITS);
        assert_eq!(wide.factor(8, 63_999), broken, "nor without the cores for it");
        let none = table(&[(4_000, 1000, 100)]);
        assert_eq!(none.factor(0, 0), 1 << FACTOR_BITS);
    }

    #[test]
    fn nothing_is_worth_anything_before_anything_was_asked() {
        let table = table(&[]);
        assert_eq!(table.fill(1000, 32 << 10), 0);
        assert_eq!(table.factor(8, 64_000), 1 << FACTOR_BITS);
    }
}
