//! `cargo xtask bench ingest`: signed single events over HTTP, synced before the answer; and idle memory.

use std::{path::Path, process::Command, time::Duration};

use clap::{Args, ValueEnum};

use crate::{
    bench::{
        machine::{self, Machine, Ticks},
        peers::Peer,
        report::{Idle, Ratio, Report, Sample, Series},
        stage::{self, Binaries, SECRET, Scratch},
    },
    error::{Error, Result},
    process::stdout_of,
    setup,
    workspace::Workspace,
};

const IDLE_KIB_MAX: u64 = 20 * 1024;
const WHAT: &str = "POST /events with PAYMENT_RECEIVED, HMAC over the body, one request in flight a \
                    connection, synced before each answer; Redis: XADD of the same bytes, appendfsync \
                    always. The servers share two cores with the load. Reactors of nexusd are off, as the \
                    peers have none.";

/// What `must` hold: the ratio of nexus to this server at this number of connections.
const MUST: [(Server, usize, f64); 3] = [
    (Server::Reference, 64, 12.0),
    (Server::Redis, 64, 0.6),
    (Server::Redis, 256, 0.8),
];

/// How long and against what is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// How often each is measured; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Connections at once.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 256])]
    connections: Vec<usize>,
    /// Seconds after which the memory of an idle nexusd is read; 0 leaves it out.
    #[arg(long, default_value_t = 60)]
    idle_seconds: u64,
    /// What is measured; a result is written only of all, on a machine that does nothing else.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Server::ALL)]
    servers: Vec<Server>,
    /// The date that the result is given, if not today's.
    #[arg(long)]
    date: Option<String>,
    /// Fail if a budget is missed.
    #[arg(long)]
    enforce: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Server {
    Nexus,
    Reference,
    Redis,
}

/// The servers that run, with what they are.
type Running = Vec<(Server, Peer)>;

/// Builds, measures, prints and writes the result.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    for left_out in setup::for_benches(&workspace.root, &workspace.tools())?.left_out {
        println!("{left_out}");
    }
    stage::build(workspace)?;

    let report = measure(
        workspace,
        &Binaries::in_folder(&workspace.dist_folder()),
        options,
    )?;
    print!("{}", report.table());
    if Server::ALL
        .iter()
        .all(|server| options.servers.contains(server))
        && !report.is_disturbed()
    {
        stage::write(&workspace.root.join("bench/results/ingest.json"), &report)?;
    }
    let missed = report.missed();
    if options.enforce && !missed.is_empty() {
        return Err(Error::Void(missed.join("; ")));
    }
    Ok(())
}

/// A second of each, with what `--release` built: whether it works, not how fast it is.
pub(crate) fn smoke(workspace: &Workspace) -> Result<()> {
    let options = Options {
        seconds: 1,
        rounds: 1,
        connections: vec![1, 8],
        idle_seconds: 1,
        servers: Server::ALL.to_vec(),
        date: None,
        enforce: false,
    };
    let binaries = Binaries::in_folder(&workspace.release_folder());
    measure(workspace, &binaries, &options).map(|report| print!("{}", report.table()))
}

fn measure(workspace: &Workspace, binaries: &Binaries, options: &Options) -> Result<Report> {
    let scratch = Scratch::new(&workspace.scratch())?;
    let machine = Machine::of(&scratch.0)?;
    let mut running = Running::new();
    let mut idle = None;
    if options.servers.contains(&Server::Nexus) {
        let nexus = Peer::nexusd(&binaries.nexusd, &scratch.0.join("nexus"), SECRET, None)?;
        // Nothing else runs yet, so nothing wakes it.
        idle = idle_memory(&nexus, options.idle_seconds)?;
        running.push((Server::Nexus, nexus));
    }
    if options.servers.contains(&Server::Reference) {
        let reference = Peer::reference(&workspace.root, &scratch.0.join("reference"), SECRET)?;
        running.push((Server::Reference, reference));
    }
    if options.servers.contains(&Server::Redis) {
        running.push((Server::Redis, Peer::redis(&scratch.0.join("redis"))?));
    }
    check_refusals(&running)?;

    let series = measure_rounds(&mut running, &binaries.load, options)?;
    Ok(Report {
        benchmark: "ingest",
        date: stage::date(options.date.as_deref())?,
        revision: machine::revision(&workspace.root),
        what: WHAT,
        seconds: options.seconds,
        machine,
        idle,
        ratios: ratios(&series),
        series,
    })
}

fn idle_memory(nexus: &Peer, after_seconds: u64) -> Result<Option<Idle>> {
    if after_seconds == 0 {
        return Ok(None);
    }
    println!("idle for {after_seconds} s");
    let before = Ticks::now()?;
    std::thread::sleep(Duration::from_secs(after_seconds));
    let others_busy = Ticks::now()?.busy_since(before);
    Ok(Some(Idle {
        private_kib: machine::private_memory_kib(nexus.process())?,
        after_seconds,
        must_kib: IDLE_KIB_MAX,
        others_busy,
    }))
}

/// A server that takes what is not signed does less work, and its figures say nothing.
fn check_refusals(running: &Running) -> Result<()> {
    let request = format!(
        "POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\
         X-Nexus-Signature: {}\r\nConnection: close\r\n\r\n{{}}",
        "0".repeat(64)
    );
    for (server, peer) in running {
        if *server == Server::Redis {
            continue;
        }
        let status = peer.status_of(&request)?;
        if status != 401 {
            return Err(Error::Void(format!(
                "{} answers {status} to a wrong signature",
                server.name()
            )));
        }
    }
    Ok(())
}

/// Each round measures every server at every number of connections, beginning with another server.
fn measure_rounds(running: &mut Running, load: &Path, options: &Options) -> Result<Vec<Series>> {
    let mut all: Vec<Series> = Vec::new();
    for connections in &options.connections {
        for server in running.iter().map(|(server, _)| *server) {
            all.push(Series {
                server: server.name(),
                connections: *connections,
                rounds: Vec::new(),
            });
        }
    }
    for round in 0..options.rounds {
        for connections in &options.connections {
            for (server, peer) in running.iter() {
                let sample = load_once(load, *server, peer, *connections, options.seconds)?;
                println!(
                    "round {}: {:<9} {connections:>4} connections: {:>7} events/s",
                    round + 1,
                    server.name(),
                    sample.per_second
                );
                let series = all.iter_mut().find(|series| {
                    series.server == server.name() && series.connections == *connections
                });
                series
                    .into_iter()
                    .for_each(|series| series.rounds.push(sample));
            }
        }
        if !running.is_empty() {
            running.rotate_left(1);
        }
    }
    Ok(all)
}

fn load_once(
    load: &Path,
    server: Server,
    peer: &Peer,
    connections: usize,
    seconds: u64,
) -> Result<Sample> {
    let mode = match server {
        Server::Nexus | Server::Reference => "ingest",
        Server::Redis => "redis",
    };
    let printed = stdout_of(
        Command::new(load)
            .args(["single", "--mode", mode, "--secret", SECRET])
            .args(["--address", &peer.address.to_string()])
            .args(["--connections", &connections.to_string()])
            .args(["--seconds", &seconds.to_string()]),
    )?;
    let sample: Sample = serde_json::from_slice(&printed).map_err(|source| Error::Json {
        what: String::from("the line of the load generator"),
        source,
    })?;
    if sample.errors > 0 {
        return Err(Error::Void(format!(
            "{} failed {} of {} requests at {connections} connections",
            server.name(),
            sample.errors,
            sample.ok + sample.errors
        )));
    }
    Ok(sample)
}

fn ratios(series: &[Series]) -> Vec<Ratio> {
    let nexus = series
        .iter()
        .filter(|one| one.server == Server::Nexus.name());
    nexus
        .flat_map(|ours| {
            let same_load = series
                .iter()
                .filter(|peer| peer.connections == ours.connections && peer.server != ours.server);
            same_load.filter_map(|peer| {
                let must = MUST.iter().find(|(server, connections, _)| {
                    server.name() == peer.server && *connections == peer.connections
                });
                Ratio::of(ours, peer, must.map(|(_, _, must)| *must))
            })
        })
        .collect()
}

impl Server {
    const ALL: [Self; 3] = [Self::Nexus, Self::Reference, Self::Redis];

    const fn name(self) -> &'static str {
        match self {
            Self::Nexus => "nexus",
            Self::Reference => "reference",
            Self::Redis => "redis",
        }
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name())
    }
}
