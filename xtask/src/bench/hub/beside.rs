//! Calls of a good server beside five bad ones, which the hub must keep apart.

use std::{path::Path, process::Command};

use serde::Deserialize;

use super::{ALIAS, TOKEN, TOOL, add_server, at, empty_nexus, program};
use crate::{
    bench::{
        book::{Better, Book, Budget},
        peers::Peer,
        stage::{Options, Stage, printed_line},
    },
    error::{Error, Result},
};

const P50_CASE: &str = "200 calls/s beside five bad servers, p50";
const P99_CASE: &str = "200 calls/s beside five bad servers, p99";
const MEMORY_CASE: &str = "the same: most private memory";
const GROWTH_CASE: &str = "the same: most private memory above that alone";

/// The others are not slowed.
pub(super) const P99: Budget = Budget {
    case: P99_CASE,
    of: "beside",
    to: Some("alone"),
    must: 1.2,
    aim: None,
};

/// Of 50 MB at most 16 MiB are held, for one call at a time, and let go of.
pub(super) const MEMORY: Budget = Budget {
    case: GROWTH_CASE,
    of: "beside",
    to: None,
    must: 65_536.0,
    aim: None,
};

/// So few calls that the machine has room, its load generator and its bad servers included: with none, this would
/// measure who gets the processor.
const CALLERS: usize = 8;
const CALLS_PER_SECOND: u64 = 200;
/// Every how many milliseconds each bad server is called.
const BAD_EVERY_MS: u64 = 1_000;
/// To write and to read 50 MB takes both cores for a while, whoever reads: so rarely that it is far less than a
/// hundredth of the calls.
const HUGE_EVERY_MS: u64 = 10_000;
/// Long enough for more than one of those.
const SECONDS: u64 = 30;

/// Bad servers that are at an address, and those that are programs.
const REMOTE: [&str; 2] = ["hangs", "garbage"];
const PROGRAMS: [&str; 3] = ["crashes", "huge", "changes"];

/// What the load generator says.
#[derive(Deserialize)]
struct Sample {
    p50_us: f64,
    p99_us: f64,
    bad_calls: u64,
    most_kib: f64,
}

/// Everything that takes part.
struct Servers {
    nexus: Peer,
    _good: Peer,
    _bad: Vec<Peer>,
}

/// Also for a moment, to see whether it works.
pub(super) fn is_wanted(options: &Options) -> bool {
    options.wants(P99_CASE) || options.seconds <= 1
}

pub(super) fn measure(stage: &Stage<'_>, options: &Options, book: &mut Book) -> Result<()> {
    let servers = Servers::start(stage)?;
    let mut order = ["beside", "alone"];
    for _ in 0..options.rounds {
        let mut most_kib = [0.0; 2];
        for name in order {
            let is_beside = name == "beside";
            let sample = ask(stage, options, &servers.nexus, is_beside)?;
            if is_beside && sample.bad_calls == 0 {
                return Err(Error::Void(String::from("no bad server was called")));
            }
            for (case, value) in [(P50_CASE, sample.p50_us), (P99_CASE, sample.p99_us)] {
                book.record(case, "us", Better::Lower, name, value);
            }
            book.record(MEMORY_CASE, "KiB", Better::Lower, name, sample.most_kib);
            most_kib[usize::from(is_beside)] = sample.most_kib;
        }
        let [alone_kib, beside_kib] = most_kib;
        let growth_kib = (beside_kib - alone_kib).max(0.0);
        book.record(GROWTH_CASE, "KiB", Better::Lower, "beside", growth_kib);
        order.reverse();
    }
    Ok(())
}

impl Servers {
    fn start(stage: &Stage<'_>) -> Result<Self> {
        let load = std::path::absolute(&stage.binaries.load)
            .map_err(|source| Error::read(&stage.binaries.load, source))?;
        let folder = stage.folder("beside");
        let upstream = |mood: &str| Peer::upstream(&load, &folder.join(mood), mood);
        let good = upstream("well")?;
        let nexus = empty_nexus(stage, &load, &folder)?;
        add_server(&nexus, ALIAS, &at(good.address), &folder)?;
        let mut bad = Vec::with_capacity(REMOTE.len());
        for mood in REMOTE {
            let peer = upstream(mood)?;
            add_server(&nexus, mood, &at(peer.address), &folder)?;
            bad.push(peer);
        }
        for mood in PROGRAMS {
            let way = program(&load, &["upstream", "--mood", mood]);
            add_server(&nexus, mood, &way, &folder)?;
        }
        Ok(Self {
            nexus,
            _good: good,
            _bad: bad,
        })
    }
}

fn ask(stage: &Stage<'_>, options: &Options, nexus: &Peer, is_beside: bool) -> Result<Sample> {
    let seconds = if options.seconds > 1 { SECONDS } else { 1 };
    let mut load = paced(&stage.binaries.load, nexus, seconds);
    if is_beside {
        for mood in REMOTE.iter().chain(&PROGRAMS) {
            let every_ms = match *mood {
                "huge" => HUGE_EVERY_MS,
                _ => BAD_EVERY_MS,
            };
            load.arg("--bad").arg(format!("/mcp/{mood}:{every_ms}"));
        }
    }
    printed_line(&mut load)
}

fn paced(load: &Path, nexus: &Peer, seconds: u64) -> Command {
    let mut paced = Command::new(load);
    paced.arg("paced");
    for (name, value) in [
        ("address", nexus.address.to_string()),
        ("path", format!("/mcp/{ALIAS}")),
        ("token", String::from(TOKEN)),
        ("tool", String::from(TOOL)),
        ("callers", CALLERS.to_string()),
        ("calls-per-second", CALLS_PER_SECOND.to_string()),
        ("process", nexus.process().to_string()),
        ("seconds", seconds.to_string()),
    ] {
        paced.arg(format!("--{name}")).arg(value);
    }
    paced
}
