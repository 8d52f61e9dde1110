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

/// The devices that a task gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chosen {
    None,
    /// A share of this one.
    One(usize),
    /// The first that nobody uses, as many as are needed.
    Untouched,
}

/// The worth of a host as it is.
pub(super) fn worth(slot: &Slot, tables: &[Arc<Table>]) -> u64 {
    let bench = Bench::new(tables, slot.cpu_milli, slot.idle_milli(), untouched(slot, None));
    let fill = slot.devices.iter().map(|device| bench.fill(*device)).sum();
    slot.devices.first().map_or(0, |first| bench.worth(fill, first.0, 0))
}

/// Smaller is better; [`NO_ROOM`] if the task does not fit. `before`: the host's worth as it is.
pub(super) fn score(slot: &Slot, before: u64, tables: &[Arc<Table>], need: &Need, model: Option<u16>) -> u64 {
    take(slot, before, tables, need, model).map_or(NO_ROOM, |(loss, _)| (loss << TIGHT_BITS) | tightness(slot))
}

/// The devices of a model that the task would get.
pub(super) fn devices(
    slot: &Slot,
    before: u64,
    tables: &[Arc<Table>],
    need: &Need,
    model: Option<u16>,
) -> Option<Vec<u32>> {
    let (_, chosen) = take(slot, before, tables, need, model)?;
    Some(match chosen {
        Chosen::None => Vec::new(),
        Chosen::One(index) => vec![index as u32],
        Chosen::Untouched => {
            let free = slot.devices.iter().zip(0u32..);
            let free = free.filter(|(device, _)| is_untouched(device, model));
            free.map(|(_, index)| index).take(need.gpu.devices()).collect()
        }
    })
}

fn tightness(slot: &Slot) -> u64 {
    let size = slot.cpu_milli.saturating_mul(4).saturating_add(slot.memory_mib) >> 6;
    let idle = slot.idle_milli().min((1 << (TIGHT_BITS - SIZE_BITS)) - 1);
    (idle << SIZE_BITS) | size.min((1 << SIZE_BITS) - 1)
}

fn is_untouched(device: &(u16, u32), model: Option<u16>) -> bool {
    u64::from(device.1) >= DEVICE_MILLI && model.is_none_or(|model| model == device.0)
}

fn untouched(slot: &Slot, model: Option<u16>) -> usize {
    slot.devices.iter().filter(|device| is_untouched(device, model)).count()
}

/// What the host loses if it takes the task, with the devices by which it loses least; `None` if it has no room.
fn take(slot: &Slot, before: u64, tables: &[Arc<Table>], need: &Need, model: Option<u16>) -> Option<(u64, Chosen)> {
    if !slot.open || slot.memory_mib < need.memory_mib || !slot.has_generic(need) {
        return None;
    }
    let cpu_milli = slot.cpu_milli.checked_sub(need.cpu_milli)?;
    let idle_milli = slot.idle_milli().checked_sub(need.gpu.milli())?;
    let bench = Bench::new(tables, cpu_milli, idle_milli, untouched(slot, None));
    let first = slot.devices.first().map_or(0, |device| device.0);
    let loss = |after: u64| ((LOSS_ZERO + before).saturating_sub(after) / LOSS_STEP).min(LOSS_MAX);
    match need.gpu {
        GpuNeed::Nothing => {
            let fill = slot.devices.iter().map(|device| bench.fill(*device)).sum();
            let after = slot.devices.first().map_or(0, |_| bench.worth(fill, first, 0));
            Some((loss(after), Chosen::None))
        }
        GpuNeed::Whole(count) => {
            let mut wanted = count as usize;
            let mut fill = 0;
            for device in &slot.devices {
                if wanted > 0 && is_untouched(device, model) {
                    wanted -= 1;
                } else {
                    fill += bench.fill(*device);
                }
            }
            (wanted == 0).then(|| (loss(bench.worth(fill, first, count as usize)), Chosen::Untouched))
        }
        GpuNeed::Share(milli) => {
            let fill: u64 = slot.devices.iter().map(|device| bench.fill(*device)).sum();
            let with_room = slot.devices.iter().zip(0..);
            let with_room = with_room.filter(|(device, _)| Some(device.0) == model && device.1 >= milli);
            let after = |&(of, free): &(u16, u32)| {
                let broken = usize::from(u64::from(free) >= DEVICE_MILLI);
                let fill = fill - bench.fill((of, free)) + bench.fill((of, free - milli));
                bench.worth(fill, first, broken)
            };
            let most = with_room.clone().map(|(device, _)| after(device)).max()?;
            // Of those that leave about as much the one with least room, then the first.
            let good = with_room.filter(|(device, _)| after(device) + LOSS_STEP >= most);
            let (device, index) = good.min_by_key(|(device, index)| (device.1, *index))?;
            Some((loss(after(device)), Chosen::One(index)))
        }
    }
}
