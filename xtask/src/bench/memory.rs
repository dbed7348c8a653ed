//! `cargo xtask bench memory`: what a server holds when idle, and for each socket, idle or stalled.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    bench::{
        book::{Better, Book, Budget},
        machine::private_memory_kib,
        peers::Peer,
        stage::{Benchmark, Options, SECRET, Stage},
    },
    error::{Error, Result},
    layout::Fit,
    process::line_of,
};

/// The benchmark.
pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "memory",
    what: "Private memory of the server's process: idle after its start; with 10,000 subscribed WebSockets (nats: \
           plain TCP) that are idle, a tenth of a thousandth of the growth; and the most with 50 of 1,000 readers \
           that stopped reading while events of 2 KiB arrive, a fiftieth of what it is above the same without \
           them.",
    short: None,
    measure,
};

const IDLE: &str = "private memory, idle";
const SOCKET: &str = "an idle socket, of 10,000";
const STALLED: &str = "a stalled socket, 50 of 1,000";

const BUDGETS: [Budget; 3] = [
    Budget {
        case: IDLE,
        of: "nexus",
        to: None,
        must: 20.0 * 1_024.0,
        aim: Some(12.0 * 1_024.0),
    },
    Budget {
        case: SOCKET,
        of: "nexus",
        to: None,
        must: 12.0,
        aim: Some(8.0),
    },
    Budget {
        case: STALLED,
        of: "nexus",
        to: None,
        must: 256.0,
        aim: None,
    },
];

/// How long memory may take to settle.
const SETTLE: Duration = Duration::from_secs(2);
const SAMPLE_EVERY: Duration = Duration::from_millis(200);
const STALLED_SOCKETS: usize = 50;

fn measure(stage: &Stage<'_>, options: &Options, book: &mut Book) -> Result<()> {
    // How much of its own program an idle server holds depends on it.
    println!(
        "{}",
        Fit::of(&stage.workspace.root, &stage.binaries.nexusd)?
    );
    let is_short = options.seconds <= 1;
    let sockets = if is_short { 200 } else { 10_000 };
    let idle_for = if is_short {
        SETTLE
    } else {
        Duration::from_secs(60)
    };
    let servers: [(&str, Peer); 3] = [
        ("nexus", stage.nexusd("nexus")?),
        ("nats", Peer::nats(&stage.folder("nats"))?),
        (
            "reference",
            Peer::reference(&stage.workspace.root, &stage.folder("reference"), SECRET)?,
        ),
    ];
    thread::sleep(idle_for);
    for (server, peer) in &servers {
        let idle_kib = private_memory_kib(peer.process())? as f64;
        book.record(IDLE, "KiB", Better::Lower, server, idle_kib);
        let held_kib = with_sockets(stage, server, peer, sockets)?;
        let each_kib = (held_kib - idle_kib) / sockets as f64;
        book.record(SOCKET, "KiB", Better::Lower, server, each_kib);
    }
    drop(servers);
    for _ in 0..options.rounds {
        // A server of its own each time: what the other run left behind would count.
        let alone_kib = most_kib(stage, options, 0)?;
        let beside_kib = most_kib(stage, options, STALLED_SOCKETS)?;
        let each_kib = (beside_kib - alone_kib) / STALLED_SOCKETS as f64;
        book.record(STALLED, "KiB", Better::Lower, "nexus", each_kib);
    }
    book.judge(&BUDGETS);
    Ok(())
}

/// The server's memory while so many sockets are held open.
fn with_sockets(stage: &Stage<'_>, server: &str, peer: &Peer, sockets: usize) -> Result<f64> {
    let mut hold = Command::new(&stage.binaries.load);
    hold.args(["hold", "--server", server, "--secret", SECRET])
        .args(["--address", &peer.address.to_string()])
        .args(["--sockets", &sockets.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = hold
        .spawn()
        .map_err(|source| Error::start(line_of(&hold), source))?;
    let mut said = String::new();
    if let Some(output) = child.stdout.take() {
        // Ends with it, if it cannot open them.
        let _ = BufReader::new(output).read_line(&mut said);
    }
    let held_kib = if said.trim() == "ready" {
        thread::sleep(SETTLE);
        private_memory_kib(peer.process())
    } else {
        Err(Error::Void(format!(
            "{server} did not take {sockets} sockets"
        )))
    };
    // The end of its input ends it.
    drop(child.stdin.take());
    let ended = child.wait().is_ok_and(|status| status.success());
    if !ended {
        return Err(Error::Void(format!(
            "{server} did not keep {sockets} sockets"
        )));
    }
    held_kib.map(|kib| kib as f64)
}

/// The most memory that Nexus had while it served a thousand readers, some of them stalled.
fn most_kib(stage: &Stage<'_>, options: &Options, stalled: usize) -> Result<f64> {
    #[derive(serde::Deserialize)]
    struct Sample {
        deliveries: u64,
    }
    let nexus = stage.nexusd(&format!("stalled-{stalled}"))?;
    let process = nexus.process();
    let done = Arc::new(AtomicBool::new(false));
    let watching = {
        let done = done.clone();
        thread::spawn(move || {
            let mut most_kib = 0;
            while !done.load(Ordering::Relaxed) {
                if let Ok(kib) = private_memory_kib(process) {
                    most_kib = most_kib.max(kib);
                }
                thread::sleep(SAMPLE_EVERY);
            }
            most_kib
        })
    };
    // Long enough for what the systems buffers hold to be full before the socket counts as stalled.
    let seconds = if options.seconds <= 1 { 1 } else { 15 };
    let arguments = [
        ("seconds", seconds.to_string()),
        ("events-per-second", String::from("400")),
        ("padding", String::from("2000")),
        ("readers", String::from("1")),
        ("crowd", (999 - stalled).to_string()),
        ("stalled", stalled.to_string()),
    ];
    let sample: Result<Sample> = stage.load("latency", "nexus", &nexus, &arguments);
    done.store(true, Ordering::Relaxed);
    let most_kib = watching
        .join()
        .map_err(|_| Error::Void(String::from("the memory could not be watched")))?;
    if sample?.deliveries == 0 {
        return Err(Error::Void(String::from("nothing was delivered")));
    }
    Ok(most_kib as f64)
}
