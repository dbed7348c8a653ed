//! `cargo xtask bench agents`: sessions that hear each other, and what that costs the server.

use std::process::Command;

use serde::Deserialize;

use crate::{
    bench::{
        book::{Better, Book, Budget},
        peers::Peer,
        stage::{Benchmark, Options, SECRET, Stage, printed_line},
    },
    error::{Error, Result},
};

/// The benchmark.
pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "agents",
    what: "Sessions that are connected by a WebSocket each. 1,000 events a minute, published by all of them in turn; \
           every other session must get every event, once. Latency from sending an event to each session's hearing \
           it; the server's processor time in percent of one core, while nobody says anything and under the load; its \
           private memory. nexus: each event is synced to disk before it is delivered, and files are kept in step. \
           reference: FastAPI, uvicorn and websockets, in memory.",
    short: Some("20 sessions"),
    measure,
};

/// What is measured, and what the specification of the face allows; it asks for 20 sessions.
#[derive(Clone, Copy)]
struct Cases {
    sessions: usize,
    name: &'static str,
    p50: &'static str,
    p99: &'static str,
    idle_percent: &'static str,
    loaded_percent: &'static str,
    idle_kib: &'static str,
    loaded_kib: &'static str,
}

const FEW: Cases = Cases {
    sessions: 20,
    name: "20 sessions",
    p50: "20 sessions, 1,000 events/min, p50",
    p99: "20 sessions, 1,000 events/min, p99",
    idle_percent: "20 sessions, idle, processor time",
    loaded_percent: "20 sessions, 1,000 events/min, processor time",
    idle_kib: "20 sessions, idle, private memory",
    loaded_kib: "20 sessions, 1,000 events/min, private memory",
};

const MANY: Cases = Cases {
    sessions: 1_000,
    name: "1,000 sessions",
    p50: "1,000 sessions, 1,000 events/min, p50",
    p99: "1,000 sessions, 1,000 events/min, p99",
    idle_percent: "1,000 sessions, idle, processor time",
    loaded_percent: "1,000 sessions, 1,000 events/min, processor time",
    idle_kib: "1,000 sessions, idle, private memory",
    loaded_kib: "1,000 sessions, 1,000 events/min, private memory",
};

/// 50 ms, 100 ms, a tenth and half of a core, 200 MB.
const BUDGETS: [Budget; 12] = [
    allowed(FEW.p50, 50_000.0),
    allowed(FEW.p99, 100_000.0),
    allowed(FEW.idle_percent, 10.0),
    allowed(FEW.loaded_percent, 50.0),
    allowed(FEW.idle_kib, MEMORY_KIB),
    allowed(FEW.loaded_kib, MEMORY_KIB),
    allowed(MANY.p50, 50_000.0),
    allowed(MANY.p99, 100_000.0),
    allowed(MANY.idle_percent, 10.0),
    allowed(MANY.loaded_percent, 50.0),
    allowed(MANY.idle_kib, MEMORY_KIB),
    allowed(MANY.loaded_kib, MEMORY_KIB),
];
const MEMORY_KIB: f64 = 200e6 / 1024.0;

const fn allowed(case: &'static str, must: f64) -> Budget {
    Budget {
        case,
        of: "nexus",
        to: None,
        must,
        aim: None,
    }
}

const EVENTS_PER_MINUTE: u64 = 1_000;
/// Servers ping their sessions at most this often, which an idle window has to have in it.
const IDLE_SECONDS_MIN: u64 = 20;

#[derive(Deserialize)]
struct Sample {
    missing: u64,
    p50_us: f64,
    p99_us: f64,
    idle_percent: f64,
    loaded_percent: f64,
    idle_kib: f64,
    loaded_kib: f64,
}

fn measure(stage: &Stage<'_>, options: &Options, book: &mut Book) -> Result<()> {
    let mut servers = ["nexus", "reference"];
    for round in 0..options.rounds {
        for cases in [FEW, MANY] {
            if !options.wants(cases.name) {
                continue;
            }
            for server in servers {
                // A server of its own each time: what the last run left behind would count.
                let folder = stage.folder(&format!("{server}-{}-{round}", cases.sessions));
                let peer = match server {
                    "nexus" => Peer::agents(&stage.binaries.nexusd, &folder, SECRET)?,
                    _ => Peer::reference_agents(stage.workspace, &folder)?,
                };
                let sample = ask(stage, &peer, cases.sessions, options)?;
                if sample.missing > 0 {
                    let what = format!("{server} did not deliver {} events", sample.missing);
                    return Err(Error::Void(what));
                }
                record(book, &cases, server, &sample);
            }
        }
        // The first of a case stays the one that is compared.
        if round + 1 < options.rounds {
            servers.rotate_left(1);
        }
    }
    book.judge(&BUDGETS);
    Ok(())
}

fn ask(stage: &Stage<'_>, peer: &Peer, sessions: usize, options: &Options) -> Result<Sample> {
    let idle_seconds = if options.seconds <= 1 {
        1
    } else {
        options.seconds.max(IDLE_SECONDS_MIN)
    };
    let mut load = Command::new(&stage.binaries.load);
    load.arg("agents");
    for (name, value) in [
        ("address", peer.address.to_string()),
        ("process", peer.process().to_string()),
        ("sessions", sessions.to_string()),
        ("events-per-minute", EVENTS_PER_MINUTE.to_string()),
        ("idle-seconds", idle_seconds.to_string()),
        ("seconds", options.seconds.to_string()),
    ] {
        load.arg(format!("--{name}")).arg(value);
    }
    printed_line(&mut load)
}

fn record(book: &mut Book, cases: &Cases, server: &'static str, sample: &Sample) {
    for (case, unit, value) in [
        (cases.p50, "us", sample.p50_us),
        (cases.p99, "us", sample.p99_us),
        (cases.idle_percent, "% of a core", sample.idle_percent),
        (cases.loaded_percent, "% of a core", sample.loaded_percent),
        (cases.idle_kib, "KiB", sample.idle_kib),
        (cases.loaded_kib, "KiB", sample.loaded_kib),
    ] {
        book.record(case, unit, Better::Lower, server, value);
    }
}
