//! What one task asks of a host, in the form that filter, score and place read, and what it asks of a price sheet.

use hesuan_ledger::types::{Line, Sku};

use crate::types::Resources;

/// Thousandths of one device.
pub const DEVICE_MILLI: u64 = 1000;

/// GPUs of one task. All devices of a task are of one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GpuNeed {
    /// None.
    Nothing,
    /// A share of one device, in thousandths, below 1000.
    Share(u32),
    /// Whole devices.
    Whole(u32),
}

impl GpuNeed {
    /// Reads `gpu_milli`. An amount above one device that is no multiple of 1000 is rounded up to whole devices.
    #[must_use]
    pub fn of(resources: &Resources) -> Self {
        match resources.gpu_milli {
            0 => Self::Nothing,
            share if share < DEVICE_MILLI => Self::Share(share as u32),
            milli => Self::Whole(u32::try_from(milli.div_ceil(DEVICE_MILLI)).unwrap_or(u32::MAX)),
        }
    }

    /// Thousandths taken of each device used.
    #[must_use]
    pub fn milli_per_device(self) -> u32 {
        match self {
            Self::Nothing => 0,
            Self::Share(milli) => milli,
            Self::Whole(_) => DEVICE_MILLI as u32,
        }
    }

    /// Thousandths taken in all.
    #[must_use]
    pub fn milli(self) -> u64 {
        self.devices() as u64 * u64::from(self.milli_per_device())
    }

    /// Devices used.
    #[must_use]
    pub fn devices(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Share(_) => 1,
            Self::Whole(count) => count as usize,
        }
    }
}

/// Whether the request takes this model.
#[must_use]
pub fn accepts_model(resources: &Resources, model: &str) -> bool {
    resources.gpu_models.is_empty() || resources.gpu_models.iter().any(|accepted| **accepted == *model)
}

/// Chooses devices out of `free` (thousandths free by index; only devices of one model offered): a share goes to the
/// device it leaves least of, so whole devices stay whole; whole devices are taken from the smallest index.
/// `None` if they do not suffice. The indices come out sorted.
#[must_use]
pub fn choose_devices(need: GpuNeed, free: impl Iterator<Item = (u32, u32)>) -> Option<Vec<u32>> {
    match need {
        GpuNeed::Nothing => Some(Vec::new()),
        GpuNeed::Share(milli) => free
            .filter(|&(_, left)| left >= milli)
            .min_by_key(|&(index, left)| (left, index))
            .map(|(index, _)| vec![index]),
        GpuNeed::Whole(count) => {
            let wanted = count as usize;
            let mut chosen: Vec<u32> = free
                .filter(|&(_, left)| u64::from(left) >= DEVICE_MILLI)
                .map(|(index, _)| index)
                .take(wanted)
                .collect();
            chosen.sort_unstable();
            (chosen.len() == wanted).then_some(chosen)
        }
    }
}

/// The price lines of a task: `cpu` in milli-cores, `mem` in milli-GiB, `gpu/MODEL` in milli-cards, `res/NAME` in
/// milli-units for the generic resources that `priced` says have a price. `model` is that of the devices it would get.
#[must_use]
pub fn price_lines(resources: &Resources, model: Option<&str>, priced: impl Fn(&Sku) -> bool) -> Vec<Line> {
    let mut lines = Vec::with_capacity(3 + resources.generic.len());
    let mut push = |sku: Sku, milli_units: u64| {
        if milli_units > 0 {
            lines.push(Line { sku, milli_units });
        }
    };
    push(Sku::from("cpu"), resources.cpu_milli);
    push(Sku::from("mem"), milli_gib(resources.memory_mib));
    if let Some(model) = model {
        push(Sku::from(format!("gpu/{model}")), GpuNeed::of(resources).milli());
    }
    for (name, amount) in &resources.generic {
        let sku = Sku::from(format!("res/{name}"));
        if priced(&sku) {
            push(sku, amount.saturating_mul(1000));
        }
    }
    lines
}

fn milli_gib(memory_mib: u64) -> u64 {
    u64::try_from((u128::from(memory_mib) * 1000).div_ceil(1024)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(devices: &[u32]) -> impl Iterator<Item = (u32, u32)> {
        devices.iter().enumerate().map(|(index, &left)| (index as u32, left))
    }

    #[test]
    fn a_share_goes_where_it_leaves_least() {
        assert_eq!(
            choose_devices(GpuNeed::Share(300), free(&[1000, 400, 200, 350])),
            Some(vec![3])
        );
        assert_eq!(choose_devices(GpuNeed::Share(300), free(&[1000, 1000])), Some(vec![0]));
        assert_eq!(choose_devices(GpuNeed::Share(300), free(&[200, 0])), None);
    }

    #[test]
    fn whole_devices_must_be_untouched() {
        assert_eq!(
            choose_devices(GpuNeed::Whole(2), free(&[999, 1000, 0, 1000])),
            Some(vec![1, 3])
        );
        assert_eq!(choose_devices(GpuNeed::Whole(3), free(&[999, 1000, 0, 1000])), None);
        assert_eq!(choose_devices(GpuNeed::Nothing, free(&[])), Some(vec![]));
    }

    #[test]
    fn lines_round_memory_up_and_leave_out_unpriced_names() {
        let resources = Resources {
            cpu_milli: 500,
            memory_mib: 1,
            gpu_milli: 2000,
            generic: vec![("fpga".into(), 2), ("license".into(), 1)],
            ..Resources::default()
        };
        let lines = price_lines(&resources, Some("a800"), |sku| sku.as_str() == "res/fpga");
        let lines: Vec<(&str, u64)> = lines.iter().map(|line| (line.sku.as_str(), line.milli_units)).collect();
        assert_eq!(
            lines,
            [("cpu", 500), ("mem", 1), ("gpu/a800", 2000), ("res/fpga", 2000)]
        );
    }
}
