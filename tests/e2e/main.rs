//! Real processes on loopback, killed and started again.

mod closing;
mod crash;
mod extend;
mod fair;
mod gates;
mod recover;

use std::path::Path;

use hesuan_tests::daemons::{Backend, Daemons, Layout};

/// Three daemons, run by a binary that can re-execute itself as one.
fn three(backend: Backend, host_cpu_milli: u64) -> anyhow::Result<Daemons> {
    let layout = Layout {
        replicas: 3,
        backend,
        host_cpu_milli,
    };
    Daemons::start(Path::new(env!("CARGO_BIN_EXE_bench")), layout)
}
