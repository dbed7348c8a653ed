//! `cargo xtask bench`: benchmarks as ratios to a peer that is measured in the same run.

mod ingest;
mod machine;
mod peers;
mod report;

use clap::Subcommand;

use crate::{error::Result, process::find, setup, workspace::Workspace};

/// The benchmarks.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Signed single events over HTTP, synced before the answer; and idle memory.
    Ingest(ingest::Options),
    /// All of them for seconds with what `--release` built: whether they work, as `test` asks.
    Smoke,
}

const LIST: &str = "\
benchmarks:
  ingest   signed single events over HTTP, synced before the answer, against the
           reference stack and Redis Streams; and idle memory
  smoke    all of them for seconds with what `--release` built";

/// Runs one benchmark, or lists them all.
pub(crate) fn run(workspace: &Workspace, bench: Option<Bench>) -> Result<()> {
    match bench {
        Some(Bench::Ingest(options)) => ingest::run(workspace, &options),
        Some(Bench::Smoke) => smoke(workspace),
        None => {
            println!("{LIST}");
            Ok(())
        }
    }
}

/// Whether the peers that the benchmarks start are installed.
pub(crate) fn can_run(workspace: &Workspace) -> bool {
    setup::reference_node(&workspace.root).is_some() && find("redis-server").is_some()
}

/// Runs every benchmark for seconds with what is built already, so that it is known to work.
pub(crate) fn smoke(workspace: &Workspace) -> Result<()> {
    ingest::smoke(workspace)
}
