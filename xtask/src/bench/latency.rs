//! `cargo xtask bench latency`: from publishing to delivery, alone and beside readers that are slow or behind.

use serde::Deserialize;

use crate::{
    bench::{
        book::{Better, Book, Budget},
        peers::Peer,
        stage::{Benchmark, Options, SECRET, Stage},
    },
    error::{Error, Result},
};

/// The benchmark.
pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "latency",
    what: "Events at a fixed rate over 8 connections, each timed from the moment it is sent (or was due, if the \
           answer before it came late) to each reader. nexus: signed POST /api/v1/events, synced before it is \
           delivered to /api/v1/stream. nats: core, kept nowhere. redis: XADD with appendfsync always, XREAD \
           BLOCK. reference: POST /events, synced, ws.",
    short: None,
    measure,
};

const STALLED: &str = "p99 of 50 among 950 readers, beside 50 that stopped reading";
const TAKEN: &str = "events taken of 5,000/s, beside a reader that is 1,000,000 behind";

const BUDGETS: [Budget; 4] = [
    Budget {
        case: "1,000 events/s, 1 reader, p50",
        of: "nexus",
        to: None,
        must: 500.0,
        aim: None,
    },
    Budget {
        case: "1,000 events/s, 1 reader, p99",
        of: "nexus",
        to: None,
        must: 2_000.0,
        aim: None,
    },
    Budget {
        case: STALLED,
        of: "beside",
        to: Some("alone"),
        must: 1.2,
        aim: None,
    },
    Budget {
        case: TAKEN,
        of: "beside",
        to: Some("alone"),
        must: 0.9,
        aim: None,
    },
];

/// Each goes to a thousand readers.
const STALLED_EVENTS_PER_SECOND: u64 = 25;
/// How many events the reader that catches up has before it.
const BEHIND_EVENTS: f64 = 1_000_000.0;

#[derive(Deserialize)]
struct Sample {
    missing: u64,
    taken_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    behind_events_per_second: Option<f64>,
}

fn measure(stage: &Stage<'_>, options: &Options, book: &mut Book) -> Result<()> {
    quiet(stage, options, book)?;
    stalled(stage, options, book)?;
    behind(stage, options, book)?;
    book.judge(&BUDGETS);
    Ok(())
}

/// Every server at the same rate.
fn quiet(stage: &Stage<'_>, options: &Options, book: &mut Book) -> Result<()> {
    let mut running = [
        ("nexus", stage.nexusd("nexus")?),
        ("nats", Peer::nats(&stage.folder("nats"))?),
        ("redis", Peer::redis(&stage.folder("redis"))?),
        (
            "reference",
            Peer::reference(&stage.workspace.root, &stage.folder("reference"), SECRET)?,
        ),
    ];
    for _ in 0..options.rounds {
        for readers in [1, 100] {
            for (server, peer) in &running {
                let arguments = [("readers", readers.to_string())];
                let sample = ask(stage, server, peer, options, 1_000, &arguments)?;
                let plural = if readers == 1 { "" } else { "s" };
                for (quantile, value) in [("p50", sample.p50_us), ("p99", sample.p99_us)] {
                    let case = format!("1,000 events/s, {readers} reader{plural}, {quantile}");
                    book.record(&case, "us", Better::Lower, server, value);
                }
            }
        }
        running.rotate_left(1);
    }
    Ok(())
}

/// Readers that stop must not slow the others.
fn stalled(stage: &Stage<'_>, options: &Options, book: &mut Book) -> Result<()> {
    let nexus = stage.nexusd("stalled")?;
    let work = |stalled: usize| {
        [
            ("readers", String::from("50")),
            ("crowd", (900 + 50 - stalled).to_string()),
            ("stalled", stalled.to_string()),
            ("padding", String::from("2000")),
        ]
    };
    // Long enough for buffers to fill, for readers to count as stalled and to be closed. So few events that
    // the machine has room, its load generator included: with none, this would measure who gets the processor.
    let seconds = if options.seconds > 1 { 20 } else { 1 };
    let long = Options {
        seconds,
        ..options.clone()
    };
    let mut order = [("beside", 50), ("alone", 0)];
    for _ in 0..options.rounds {
        for (name, stalled) in order {
            let rate = STALLED_EVENTS_PER_SECOND;
            let sample = ask(stage, "nexus", &nexus, &long, rate, &work(stalled))?;
            book.record(STALLED, "us", Better::Lower, name, sample.p99_us);
        }
        order.reverse();
    }
    Ok(())
}

/// A reader that catches up must not slow the head.
fn behind(stage: &Stage<'_>, options: &Options, book: &mut Book) -> Result<()> {
    let nexus = stage.nexusd("behind")?;
    fill(stage, &nexus, options)?;
    for _ in 0..options.rounds {
        let beside = [("readers", String::from("1")), ("behind", String::new())];
        let beside = ask(stage, "nexus", &nexus, options, 5_000, &beside)?;
        let alone = [("readers", String::from("1"))];
        let alone = ask(stage, "nexus", &nexus, options, 5_000, &alone)?;
        for (name, sample) in [("beside", &beside), ("alone", &alone)] {
            let taken = sample.taken_per_second;
            book.record(TAKEN, "events/s", Better::Higher, name, taken);
            let case = "p50 at 5,000/s, beside a reader that is 1,000,000 behind";
            book.record(case, "us", Better::Lower, name, sample.p50_us);
            let case = "p99 at 5,000/s, beside a reader that is 1,000,000 behind";
            book.record(case, "us", Better::Lower, name, sample.p99_us);
        }
        if let Some(rate) = beside.behind_events_per_second {
            let case = "the reader that catches up";
            book.record(case, "events/s", Better::Higher, "nexus", rate);
        }
    }
    Ok(())
}

/// Publishes until there is enough to catch up with.
fn fill(stage: &Stage<'_>, nexus: &Peer, options: &Options) -> Result<()> {
    #[derive(Deserialize)]
    struct Filled {
        ok: f64,
    }
    let wanted = if options.seconds > 1 {
        BEHIND_EVENTS
    } else {
        1.0
    };
    let mut filled = 0.0;
    while filled < wanted {
        let arguments = [("seconds", options.seconds.to_string())];
        let some: Filled = stage.load("batch", "nexus", nexus, &arguments)?;
        filled += some.ok * 256.0;
    }
    Ok(())
}

fn ask(
    stage: &Stage<'_>,
    server: &str,
    peer: &Peer,
    options: &Options,
    events_per_second: u64,
    more: &[(&str, String)],
) -> Result<Sample> {
    let mut arguments = vec![
        ("seconds", options.seconds.to_string()),
        ("events-per-second", events_per_second.to_string()),
    ];
    arguments.extend(more.iter().cloned());
    let sample: Sample = stage.load("latency", server, peer, &arguments)?;
    if sample.missing > 0 {
        let what = format!("{server} did not deliver {} events", sample.missing);
        return Err(Error::Void(what));
    }
    Ok(sample)
}
