//! The load generator of the benchmarks: on loopback, bounded in time, and it prints one JSON line.

mod agents;
mod calls;
mod connection;
mod fanout;
mod frame;
mod hold;
mod http;
mod ingest;
mod latency;
mod marked;
mod paced;
mod payment;
mod reactions;
mod reader;
mod receiver;
mod redis;
mod server;
mod single;
mod tally;
mod tools;
mod upstream;
mod watch;

use std::{future::Future, io, net::SocketAddr, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use tokio::{net::TcpListener, task::LocalSet};

use crate::server::{Kind, Server};

const SOCKETS_MAX: usize = 20_000;
const SECONDS_MAX: u64 = 300;

/// One kind of load.
#[derive(Debug, Parser)]
#[command(name = "bench-load")]
struct Arguments {
    #[command(subcommand)]
    load: Load,
}

#[derive(Debug, Subcommand)]
enum Load {
    /// One event a request, one request in flight on each connection.
    Single(single::Options),
    /// Batches of events, one batch in flight on each connection.
    Batch {
        #[command(flatten)]
        target: Target,
        /// Connections, each with one batch in flight.
        #[arg(long, default_value_t = 4)]
        connections: usize,
        /// Events a batch.
        #[arg(long, default_value_t = 256)]
        batch: usize,
    },
    /// Batches to many readers, as fast as the slowest takes them.
    Fanout {
        #[command(flatten)]
        target: Target,
        #[arg(long, default_value_t = 1_000)]
        readers: usize,
        /// Events a batch.
        #[arg(long, default_value_t = 256)]
        batch: usize,
        /// Readers share them evenly.
        #[arg(long, default_value_t = 1)]
        topics: usize,
    },
    /// Events at a fixed rate, and how long each takes to its readers.
    Latency {
        #[command(flatten)]
        target: Target,
        #[arg(long, default_value_t = 1)]
        readers: usize,
        /// Readers beside them, whose latencies are not taken.
        #[arg(long, default_value_t = 0)]
        crowd: usize,
        /// Readers that subscribe and then read nothing.
        #[arg(long, default_value_t = 0)]
        stalled: usize,
        /// One more reader reads the whole log from its beginning meanwhile.
        #[arg(long)]
        behind: bool,
        /// Where calls of rules arrive, on loopback.
        #[arg(long)]
        receiver: Option<SocketAddr>,
        /// The receiver fails every so many-th event.
        #[arg(long)]
        poison_every: Option<u64>,
        /// So many events for a rule that calls the receiver are published first.
        #[arg(long, default_value_t = 0)]
        backlog: u64,
        /// Their topic.
        #[arg(long, default_value = "bench.backlog")]
        backlog_topic: String,
        #[arg(long, default_value_t = 1_000)]
        events_per_second: u64,
    },
    /// Events that a rule reacts to, as fast as it does.
    Reactions {
        #[command(flatten)]
        target: Target,
        #[arg(long, default_value_t = 20_000)]
        events: u64,
        /// The rule calls this address, on loopback …
        #[arg(long, conflicts_with = "emitted", required_unless_present = "emitted")]
        receiver: Option<SocketAddr>,
        /// … or emits events of this topic.
        #[arg(long)]
        emitted: Option<String>,
    },
    /// Calls as rules make them, without an engine.
    Calls {
        /// Where they arrive, on loopback.
        #[arg(long)]
        receiver: SocketAddr,
        /// Calls at once.
        #[arg(long, default_value_t = 32)]
        concurrency: usize,
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// Sessions of agents that are connected, and now and then say something to all others.
    Agents {
        /// The face of the agents, on loopback.
        #[arg(long)]
        address: SocketAddr,
        #[arg(long, default_value_t = 1_000)]
        sessions: usize,
        /// Of all sessions together.
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        events_per_minute: u32,
        /// The server's process, whose memory and processor time are watched.
        #[arg(long)]
        process: u32,
        /// Seconds in which nobody says anything, before the others.
        #[arg(long, default_value_t = 10)]
        idle_seconds: u64,
        #[arg(long, default_value_t = 1)]
        warmup_seconds: u64,
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Callers of tools, each with one request in flight.
    Tools(tools::Options),
    /// Callers of tools at a fixed rate, beside others who call servers that answer badly.
    Paced(paced::Options),
    /// The server of tools that is called: over HTTP, or over its input and output without an address.
    Upstream {
        /// On loopback.
        #[arg(long)]
        address: Option<SocketAddr>,
        /// How it answers when its tool is called.
        #[arg(long, value_enum, default_value = "well")]
        mood: upstream::Mood,
    },
    /// Idle subscribers, held until standard input ends.
    Hold {
        #[command(flatten)]
        target: Target,
        #[arg(long, default_value_t = 10_000)]
        sockets: usize,
    },
}

/// What is put under load, and for how long.
#[derive(Debug, Args)]
struct Target {
    #[arg(long, value_enum)]
    server: Kind,
    /// The server, on loopback.
    #[arg(long)]
    address: SocketAddr,
    /// The secret that signs and lets in.
    #[arg(long, default_value = "")]
    secret: String,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Seconds of the same load before them, which are not.
    #[arg(long, default_value_t = 1)]
    warmup_seconds: u64,
    /// How many bytes a payload has beyond the shortest, which has about 90.
    #[arg(long, default_value_t = 0)]
    padding: usize,
    /// What the topic is called, where there is one.
    #[arg(long)]
    topic: Option<String>,
}

impl Target {
    fn server(&self, topics: usize) -> Server {
        Server {
            kind: self.server,
            address: self.address,
            secret: self.secret.clone(),
            topics: topics.max(1),
            only_topic: self.topic.clone(),
            padding: self.padding,
        }
    }

    fn check(&self, sockets: usize) -> io::Result<()> {
        check(self.address, sockets, self.seconds + self.warmup_seconds)
    }
}

fn refuse(what: String) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

fn check_loopback(address: SocketAddr) -> io::Result<()> {
    if !address.ip().is_loopback() {
        return refuse(format!("{address} is not on loopback"));
    }
    Ok(())
}

/// Refuses what is not bounded or goes anywhere else.
fn check(address: SocketAddr, sockets: usize, seconds: u64) -> io::Result<()> {
    check_loopback(address)?;
    if !(1..=SOCKETS_MAX).contains(&sockets) {
        return refuse(format!("there must be 1 to {SOCKETS_MAX} sockets"));
    }
    if !(1..=SECONDS_MAX).contains(&seconds) {
        return refuse(format!(
            "the run must last 1 to {SECONDS_MAX} seconds in all"
        ));
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match allow_sockets().and_then(|()| run(arguments.load)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(load: Load) -> io::Result<()> {
    match load {
        Load::Single(options) => {
            check(
                options.address,
                options.connections,
                options.seconds_in_all(),
            )?;
            print(&on_one_thread(single::run(&options))?)
        }
        Load::Batch {
            target,
            connections,
            batch,
        } => {
            target.check(connections)?;
            let server = target.server(1);
            let load = single::batches(
                &server,
                connections,
                batch,
                target.seconds,
                target.warmup_seconds,
            );
            print(&on_one_thread(load)?)
        }
        Load::Fanout {
            target,
            readers,
            batch,
            topics,
        } => {
            target.check(readers)?;
            if readers % topics.max(1) != 0 {
                let what = "each topic must have equally many readers";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
            let options = fanout::Options {
                server: target.server(topics),
                readers,
                batch,
                duration: Duration::from_secs(target.seconds),
            };
            print(&on_one_thread(fanout::run(&options))?)
        }
        Load::Latency {
            target,
            readers,
            crowd,
            stalled,
            behind,
            receiver,
            poison_every,
            backlog,
            backlog_topic,
            events_per_second,
        } => {
            let calls = usize::from(receiver.is_some());
            target.check(readers + crowd + stalled + calls)?;
            receiver.map_or(Ok(()), check_loopback)?;
            let options = latency::Options {
                server: target.server(1),
                readers,
                crowd,
                stalled,
                behind,
                receiver,
                poison_every: poison_every.filter(|every| *every > 0),
                backlog: (backlog > 0).then_some(latency::Backlog {
                    topic: backlog_topic,
                    events: backlog,
                }),
                events_per_second,
                warmup: Duration::from_secs(target.warmup_seconds),
                duration: Duration::from_secs(target.seconds),
            };
            print(&on_one_thread(latency::run(&options))?)
        }
        Load::Reactions {
            target,
            events,
            receiver,
            emitted,
        } => {
            target.check(1)?;
            let effect = match (receiver, emitted) {
                (Some(address), _) => {
                    check_loopback(address)?;
                    reactions::Effect::Called(address)
                }
                (None, topic) => reactions::Effect::Emitted(topic.unwrap_or_default()),
            };
            let options = reactions::Options {
                server: target.server(1),
                events,
                effect,
                within: Duration::from_secs(target.seconds),
            };
            print(&on_one_thread(reactions::run(&options))?)
        }
        Load::Calls {
            receiver,
            concurrency,
            seconds,
        } => {
            check(receiver, concurrency, seconds)?;
            let options = calls::Options {
                receiver,
                concurrency,
                duration: Duration::from_secs(seconds),
            };
            print(&on_one_thread(calls::run(&options))?)
        }
        Load::Agents {
            address,
            sessions,
            events_per_minute,
            process,
            idle_seconds,
            warmup_seconds,
            seconds,
        } => {
            check(address, sessions, idle_seconds + warmup_seconds + seconds)?;
            let options = agents::Options {
                address,
                sessions,
                events_per_minute,
                process,
                idle: Duration::from_secs(idle_seconds),
                warmup: Duration::from_secs(warmup_seconds),
                duration: Duration::from_secs(seconds),
            };
            print(&on_one_thread(agents::run(&options))?)
        }
        Load::Tools(options) => {
            check(options.address, options.callers, options.seconds_in_all())?;
            print(&on_one_thread(tools::run(&options))?)
        }
        Load::Paced(options) => {
            check(options.address, options.callers, options.seconds_in_all())?;
            print(&on_one_thread(paced::run(&options))?)
        }
        Load::Upstream {
            address: None,
            mood,
        } => upstream::over_stdio(mood),
        Load::Upstream {
            address: Some(address),
            mood,
        } => {
            check_loopback(address)?;
            on_one_thread(async {
                upstream::over_http(TcpListener::bind(address).await?, mood).await
            })
        }
        Load::Hold { target, sockets } => {
            target.check(sockets)?;
            on_one_thread(hold::run(&target.server(1), sockets))
        }
    }
}

/// One thread does it all: the server has the other core.
fn on_one_thread<T>(load: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, load)
}

fn print(report: &impl Serialize) -> io::Result<()> {
    println!("{}", serde_json::to_string(report)?);
    Ok(())
}

/// As many open files as the system lets this process have.
fn allow_sockets() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: maximum,
        maximum,
    };
    Ok(setrlimit(Resource::Nofile, most)?)
}
