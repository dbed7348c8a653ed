//! The command line: the kinds of load, and that each is bounded and stays on loopback.

use std::{io, net::SocketAddr, time::Duration};

use clap::{Args, Parser, Subcommand};

use crate::{
    agents, fanout, latency, paced, reactions,
    server::{Kind, Server},
    single, tools, upstream,
};

const SOCKETS_MAX: usize = 20_000;
const SECONDS_MAX: u64 = 300;

/// One kind of load.
#[derive(Debug, Parser)]
#[command(name = "bench-load")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) load: Load,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Load {
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
    Fanout(Fanout),
    /// Events at a fixed rate, and how long each takes to its readers.
    Latency(Latency),
    /// Events that a rule reacts to, as fast as it does.
    Reactions(Reactions),
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
    Agents(Agents),
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

/// See [`Load::Fanout`].
#[derive(Debug, Args)]
pub(crate) struct Fanout {
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
}

/// See [`Load::Latency`].
#[derive(Debug, Args)]
pub(crate) struct Latency {
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
}

/// See [`Load::Reactions`].
#[derive(Debug, Args)]
pub(crate) struct Reactions {
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
}

/// See [`Load::Agents`].
#[derive(Debug, Args)]
pub(crate) struct Agents {
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
}

/// What is put under load, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Target {
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
    pub(crate) seconds: u64,
    /// Seconds of the same load before them, which are not.
    #[arg(long, default_value_t = 1)]
    pub(crate) warmup_seconds: u64,
    /// How many bytes a payload has beyond the shortest, which has about 90.
    #[arg(long, default_value_t = 0)]
    padding: usize,
    /// What the topic is called, where there is one.
    #[arg(long)]
    topic: Option<String>,
}

impl Target {
    /// The server, of which so many topics are used.
    pub(crate) fn server(&self, topics: usize) -> Server {
        Server {
            kind: self.server,
            address: self.address,
            secret: self.secret.clone(),
            topics: topics.max(1),
            only_topic: self.topic.clone(),
            padding: self.padding,
        }
    }

    /// Refuses what is not bounded or goes anywhere else.
    pub(crate) fn check(&self, sockets: usize) -> io::Result<()> {
        check(self.address, sockets, self.seconds + self.warmup_seconds)
    }
}

impl Fanout {
    /// Its options, if they may be asked.
    pub(crate) fn options(self) -> io::Result<fanout::Options> {
        self.target.check(self.readers)?;
        if !self.readers.is_multiple_of(self.topics.max(1)) {
            return refuse(String::from("each topic must have equally many readers"));
        }
        Ok(fanout::Options {
            server: self.target.server(self.topics),
            readers: self.readers,
            batch: self.batch,
            duration: Duration::from_secs(self.target.seconds),
        })
    }
}

impl Latency {
    /// Its options, if they may be asked.
    pub(crate) fn options(self) -> io::Result<latency::Options> {
        let calls = usize::from(self.receiver.is_some());
        let readers = self.readers + self.crowd + self.stalled;
        self.target.check(readers + calls)?;
        self.receiver.map_or(Ok(()), check_loopback)?;
        Ok(latency::Options {
            server: self.target.server(1),
            readers: self.readers,
            crowd: self.crowd,
            stalled: self.stalled,
            behind: self.behind,
            receiver: self.receiver,
            poison_every: self.poison_every.filter(|every| *every > 0),
            backlog: (self.backlog > 0).then_some(latency::Backlog {
                topic: self.backlog_topic,
                events: self.backlog,
            }),
            events_per_second: self.events_per_second,
            warmup: Duration::from_secs(self.target.warmup_seconds),
            duration: Duration::from_secs(self.target.seconds),
        })
    }
}

impl Reactions {
    /// Its options, if they may be asked.
    pub(crate) fn options(self) -> io::Result<reactions::Options> {
        self.target.check(1)?;
        let effect = match (self.receiver, self.emitted) {
            (Some(address), _) => {
                check_loopback(address)?;
                reactions::Effect::Called(address)
            }
            (None, topic) => reactions::Effect::Emitted(topic.unwrap_or_default()),
        };
        Ok(reactions::Options {
            server: self.target.server(1),
            events: self.events,
            effect,
            within: Duration::from_secs(self.target.seconds),
        })
    }
}

impl Agents {
    /// Its options, if they may be asked.
    pub(crate) fn options(self) -> io::Result<agents::Options> {
        let seconds_in_all = self.idle_seconds + self.warmup_seconds + self.seconds;
        check(self.address, self.sessions, seconds_in_all)?;
        Ok(agents::Options {
            address: self.address,
            sessions: self.sessions,
            events_per_minute: self.events_per_minute,
            process: self.process,
            idle: Duration::from_secs(self.idle_seconds),
            warmup: Duration::from_secs(self.warmup_seconds),
            duration: Duration::from_secs(self.seconds),
        })
    }
}

/// The error of what may not be asked.
fn refuse<T>(what: String) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

/// Refuses what goes anywhere else.
pub(crate) fn check_loopback(address: SocketAddr) -> io::Result<()> {
    if !address.ip().is_loopback() {
        return refuse(format!("{address} is not on loopback"));
    }
    Ok(())
}

/// Refuses what is not bounded or goes anywhere else.
pub(crate) fn check(address: SocketAddr, sockets: usize, seconds: u64) -> io::Result<()> {
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
