//! Real processes on loopback, killed and started again.

mod closing;
mod crash;
mod extend;
mod fair;
mod gangs;
mod gates;
mod person;
mod recover;
mod requests;

use std::path::Path;

use hesuan_tests::daemons::{Backend, Daemons, Layout};

/// Three daemons, run by a binary that can re-execute itself as one.
fn three(backend: Backend, host_cpu_milli: u64) -> anyhow::Result<Daemons> {
    equipped(backend, host_cpu_milli, [""; 3])
}

/// The same with more than cores and memory, see [`Layout::equipment`].
fn equipped(backend: Backend, host_cpu_milli: u64, equipment: [&'static str; 3]) -> anyhow::Result<Daemons> {
    let layout = Layout {
        replicas: 3,
        backend,
        host_cpu_milli,
        equipment,
    };
    Daemons::start(Path::new(env!("CARGO_BIN_EXE_bench")), layout)
}
