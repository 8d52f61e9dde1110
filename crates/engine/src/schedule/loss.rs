//! What a host loses of its worth by taking a task, and which of its devices the task gets so that it loses least.

use std::sync::Arc;

use super::hosts::{Need, Slot};
use super::need::{DEVICE_MILLI, GpuNeed};
use super::ranking::NO_ROOM;
use super::worth::{Bench, Table};

/// The lower bits of a score tell hosts apart that lose the same: the one with fewest idle GPUs, then least cores and memory.
const TIGHT_BITS: u32 = 42;
const SIZE_BITS: u32 = 25;
/// Losses may be below zero: fewer devices share the cores that are left. Worth is in 256ths of a thousandth; losses are
/// rounded to 5 thousandths, as less is chance.
const LOSS_STEP: u64 = 5 << 8;
const LOSS_ZERO: u64 = 20_000 * LOSS_STEP + LOSS_STEP / 2;
const LOSS_MAX: u64 = (1 << (63 - TIGHT_BITS)) - 1;

/// A host as it is valued. Made when the host changes, read for every task that might go there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Profile {
    /// Devices that are not full, equal ones together.
    groups: Vec<Group>,
    idle_milli: u64,
    untouched: usize,
    tightness: u64,
    worth: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Group {
    model: u16,
    free_milli: u32,
    count: u32,
}

impl Group {
    /// What a task needs of a device is there.
    fn has(&self, model: Option<u16>, milli: u32) -> bool {
        self.free_milli >= milli && model.is_none_or(|model| model == self.model)
    }

    fn is_untouched(&self) -> bool {
        u64::from(self.free_milli) >= DEVICE_MILLI
    }
}

/// The devices that a task gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chosen {
    None,
    /// A share of one that is free by so much.
    One(u32),
    /// The first that nobody uses, as many as are needed.
    Untouched,
}

impl Profile {
    pub(super) fn of(slot: &Slot, tables: &[Arc<Table>]) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for &(model, free_milli) in slot.devices.iter().filter(|(_, free)| *free > 0) {
            let mut known = groups.iter_mut();
            match known.find(|group| (group.model, group.free_milli) == (model, free_milli)) {
                Some(group) => group.count += 1,
                None => groups.push(Group {
                    model,
                    free_milli,
                    count: 1,
                }),
            }
        }
        let untouched = groups.iter().filter(|group| group.is_untouched());
        let mut profile = Self {
            untouched: untouched.map(|group| group.count as usize).sum(),
            groups,
            idle_milli: slot.idle_milli(),
            tightness: tightness(slot),
            worth: 0,
        };
        let bench = profile.bench(tables, slot.cpu_milli, 0);
        profile.worth = profile.worth(&bench, profile.fill(&bench), 0);
        profile
    }

    /// Its devices when `taken_milli` of them are taken and so many cores are free.
    fn bench<'a>(&self, tables: &'a [Arc<Table>], cpu_milli: u64, taken_milli: u64) -> Bench<'a> {
        Bench::new(tables, cpu_milli, self.idle_milli - taken_milli, self.untouched)
    }

    /// The likely fill of all its devices as they are.
    fn fill(&self, bench: &Bench<'_>) -> u64 {
        let fill = |group: &Group| u64::from(group.count) * bench.fill((group.model, group.free_milli));
        self.groups.iter().map(fill).sum()
    }

    fn worth(&self, bench: &Bench<'_>, fill: u64, broken: usize) -> u64 {
        self.groups
            .first()
            .map_or(0, |first| bench.worth(fill, first.model, broken))
    }
}

/// Smaller is better; [`NO_ROOM`] if the task does not fit.
pub(super) fn score(slot: &Slot, profile: &Profile, tables: &[Arc<Table>], need: &Need, model: Option<u16>) -> u64 {
    take(slot, profile, tables, need, model).map_or(NO_ROOM, |(after, _)| {
        let loss = (LOSS_ZERO + profile.worth).saturating_sub(after) / LOSS_STEP;
        (loss.min(LOSS_MAX) << TIGHT_BITS) | profile.tightness
    })
}

/// The devices of a model that the task would get.
pub(super) fn devices(
    slot: &Slot,
    profile: &Profile,
    tables: &[Arc<Table>],
    need: &Need,
    model: Option<u16>,
) -> Option<Vec<u32>> {
    let (_, chosen) = take(slot, profile, tables, need, model)?;
    let of_model = slot.devices.iter().zip(0u32..);
    let of_model = of_model.filter(|((of, _), _)| model.is_none_or(|model| model == *of));
    Some(match chosen {
        Chosen::None => Vec::new(),
        Chosen::One(free_milli) => {
            let mut devices = of_model.filter(|((_, free), _)| *free == free_milli);
            vec![devices.next().expect("a device so free was chosen").1]
        }
        Chosen::Untouched => {
            let untouched = of_model.filter(|((_, free), _)| u64::from(*free) >= DEVICE_MILLI);
            untouched.map(|(_, index)| index).take(need.gpu.devices()).collect()
        }
    })
}

fn tightness(slot: &Slot) -> u64 {
    let size = slot.cpu_milli.saturating_mul(4).saturating_add(slot.memory_mib) >> 6;
    let idle = slot.idle_milli().min((1 << (TIGHT_BITS - SIZE_BITS)) - 1);
    (idle << SIZE_BITS) | size.min((1 << SIZE_BITS) - 1)
}

/// The worth of the host once it has taken the task, with the devices by which it loses least; `None` if it has no room.
fn take(
    slot: &Slot,
    profile: &Profile,
    tables: &[Arc<Table>],
    need: &Need,
    model: Option<u16>,
) -> Option<(u64, Chosen)> {
    if !slot.open || slot.memory_mib < need.memory_mib || !slot.has_generic(need) {
        return None;
    }
    let cpu_milli = slot.cpu_milli.checked_sub(need.cpu_milli)?;
    if profile.idle_milli < need.gpu.milli() {
        return None;
    }
    if profile.groups.is_empty() {
        // No idle devices: nothing to lose.
        return Some((0, Chosen::None));
    }
    let bench = profile.bench(tables, cpu_milli, need.gpu.milli());
    match need.gpu {
        GpuNeed::Nothing => Some((profile.worth(&bench, profile.fill(&bench), 0), Chosen::None)),
        GpuNeed::Whole(count) => {
            let mut wanted = count;
            let mut taken = 0;
            let whole = |group: &&Group| group.is_untouched() && group.has(model, 0);
            for group in profile.groups.iter().filter(whole) {
                let some = group.count.min(wanted);
                taken += u64::from(some) * bench.fill((group.model, group.free_milli));
                wanted -= some;
            }
            (wanted == 0).then(|| {
                let fill = profile.fill(&bench) - taken;
                (profile.worth(&bench, fill, count as usize), Chosen::Untouched)
            })
        }
        GpuNeed::Share(milli) => {
            let fill = profile.fill(&bench);
            let with_room = profile.groups.iter().filter(|group| group.has(model, milli));
            let after = |group: &Group| {
                let (of, free) = (group.model, group.free_milli);
                let fill = fill - bench.fill((of, free)) + bench.fill((of, free - milli));
                profile.worth(&bench, fill, usize::from(group.is_untouched()))
            };
            let most = with_room.clone().map(after).max()?;
            // Of those that leave about as much the one with least room.
            let good = with_room.filter(|group| after(group) + LOSS_STEP >= most);
            let group = good.min_by_key(|group| group.free_milli)?;
            Some((after(group), Chosen::One(group.free_milli)))
        }
    }
}
