//! `cargo xtask bench`: benchmarks as ratios to a peer that is measured in the same run.

mod agents;
mod batch;
mod book;
mod fanout;
mod growth;
mod hub;
mod ingest;
mod latency;
mod machine;
mod memory;
mod page;
mod peers;
mod reactors;
mod report;
mod stage;

use clap::Subcommand;

pub(crate) use self::peers::free_address;

use crate::{error::Result, process::find, setup, workspace::Workspace};

/// The benchmarks.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Signed single events over HTTP, synced before the answer; and idle memory.
    Ingest(ingest::Options),
    /// Batches of events over HTTP, synced before the answer.
    Batch(stage::Options),
    /// Batches to many live readers.
    Fanout(stage::Options),
    /// From publishing to delivery, alone and beside readers that are slow or behind.
    Latency(stage::Options),
    /// What the server holds when idle, and for each socket.
    Memory(stage::Options),
    /// Rules that emit and rules that call: how many events a second, how soon, and beside what else.
    Reactors(stage::Options),
    /// Sessions of agents: how soon they hear each other, and what that costs the server.
    Agents(stage::Options),
    /// Calls of tools through the hub and through its peers: what each of them adds.
    Hub(stage::Options),
    /// What a log of ten million events costs.
    Growth(stage::Options),
    /// All of them for seconds with what `--release` built: whether they work, as `test` asks.
    Smoke {
        /// This one alone.
        #[arg(long)]
        only: Option<String>,
    },
}

const LIST: &str = "\
benchmarks:
  ingest   signed single events over HTTP, synced before the answer, against the
           reference stack and Redis Streams; and idle memory
  batch    batches of events over HTTP, synced, against Redis Streams
  fanout   batches to many live readers, against core NATS and the reference stack
  latency  from publishing to delivery, against all three; and beside readers that
           are slow or behind
  memory   idle, for each of 10,000 sockets, and for each that is stalled
  reactors rules that emit and rules that call, against the same calls without an
           engine; beside poison; and ingress beside a backlog
  agents   sessions of agents, against the stack of their specification: how soon they
           hear each other, processor time and memory
  hub      calls of tools through the hub, against the server alone, mcp-proxy and a
           proxy of FastMCP; and beside servers that answer badly
  growth   appending to, reading and opening a log of 10,000,000 events
  smoke    all of them for seconds with what `--release` built";

/// Runs one benchmark, or lists them all.
pub(crate) fn run(workspace: &Workspace, bench: Option<Bench>) -> Result<()> {
    match bench {
        Some(Bench::Ingest(options)) => ingest::run(workspace, &options),
        Some(Bench::Batch(options)) => batch::BENCHMARK.run(workspace, &options),
        Some(Bench::Fanout(options)) => fanout::BENCHMARK.run(workspace, &options),
        Some(Bench::Latency(options)) => latency::BENCHMARK.run(workspace, &options),
        Some(Bench::Memory(options)) => memory::BENCHMARK.run(workspace, &options),
        Some(Bench::Reactors(options)) => reactors::BENCHMARK.run(workspace, &options),
        Some(Bench::Agents(options)) => agents::BENCHMARK.run(workspace, &options),
        Some(Bench::Hub(options)) => hub::BENCHMARK.run(workspace, &options),
        Some(Bench::Growth(options)) => growth::BENCHMARK.run(workspace, &options),
        Some(Bench::Smoke { only }) => smoke(workspace, only.as_deref()),
        None => {
            println!("{LIST}");
            Ok(())
        }
    }
}

/// Whether the peers that the benchmarks start are installed.
pub(crate) fn can_run(workspace: &Workspace) -> bool {
    let peers = ["redis-server", "nats-server"];
    setup::reference_node(&workspace.root).is_some()
        && setup::PYTHON_STACKS
            .iter()
            .all(|stack| stack.python(&workspace.tools()).is_some())
        && peers.iter().all(|peer| find(peer).is_some())
}

/// Runs every benchmark, or one alone, for seconds with what is built already, so that it is known to work.
pub(crate) fn smoke(workspace: &Workspace, only: Option<&str>) -> Result<()> {
    let is_wanted = |name| only.is_none_or(|only| only == name);
    if is_wanted("ingest") {
        ingest::smoke(workspace)?;
    }
    let all = [
        batch::BENCHMARK,
        fanout::BENCHMARK,
        latency::BENCHMARK,
        memory::BENCHMARK,
        reactors::BENCHMARK,
        agents::BENCHMARK,
        hub::BENCHMARK,
        growth::BENCHMARK,
    ];
    all.iter()
        .filter(|benchmark| is_wanted(benchmark.name))
        .try_for_each(|benchmark| benchmark.smoke(workspace))
}
