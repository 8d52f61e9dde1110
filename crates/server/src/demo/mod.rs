//! `hesuand demo`: three cities on this machine, from nothing to receipts, with the leader killed in the middle.
//!
//! Everything is real: child processes, the public interface, money, processes as jobs. What must hold is checked and printed.

mod client;
mod closing;
mod cluster;
mod found;
mod jobs;
mod print;
mod report;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use cluster::Cluster;
use print::Page;

/// Options of `hesuand demo`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Keep the data here; a second start finds it all again
    #[arg(long)]
    data: Option<PathBuf>,
    /// End when the story is told, with status 0 only if every check held
    #[arg(long)]
    exit: bool,
}

/// Tells the whole story; the exit status says whether every check held.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let temporary = std::env::temp_dir().join(format!("hesuan-demo-{}", std::process::id()));
    let dir = match &options.data {
        Some(dir) => std::path::absolute(dir)?,
        None => temporary.clone(),
    };
    let mut cluster = Cluster::prepare(&dir)?;
    let page = Page::new();
    let told = runtime.block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            told = story::tell(&mut cluster, &page, &dir, options.exit) => told,
            _ = tokio::signal::ctrl_c() => Ok(false),
            _ = terminate.recv() => Ok(false),
        }
    });
    // Closes the demo's own connections, which the daemons would wait for.
    drop(runtime);
    cluster.stop();
    let held = told.with_context(|| {
        format!(
            "the demo could not go on; what the daemons wrote is in {}",
            dir.display()
        )
    })?;
    // Kept when something went wrong: it is what one would look at.
    if options.data.is_none() && held {
        let _ = std::fs::remove_dir_all(&temporary);
    }
    Ok(if held || !options.exit {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
