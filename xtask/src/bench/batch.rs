//! `cargo xtask bench batch`: batches of events over HTTP, synced before the answer.

use serde::Deserialize;

use crate::{
    bench::{
        book::{Better, Book, Budget},
        peers::Peer,
        stage::{Benchmark, Options, Stage},
    },
    error::{Error, Result},
};

/// The benchmark.
pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "batch",
    what: "POST /api/v1/events with arrays of 256 signed events, synced before each answer; Redis: XADD of the \
           same payloads, 16 commands pipelined, appendfsync always. Each server at several numbers of \
           connections, the best counts.",
    short: None,
    measure,
};

const CASE: &str = "batches over HTTP, synced";
const BUDGETS: [Budget; 1] = [Budget {
    case: CASE,
    of: "nexus",
    to: Some("redis"),
    must: 0.6,
    aim: Some(1.0),
}];

/// A server, how many events it takes at once, and at how many connections.
const SERVERS: [(&str, usize, &[usize]); 2] =
    [("nexus", 256, &[2, 4, 8]), ("redis", 16, &[64, 128, 256])];

#[derive(Deserialize)]
struct Sample {
    errors: u64,
    per_second: f64,
}

fn measure(stage: &Stage<'_>, options: &Options, book: &mut Book) -> Result<()> {
    let mut running = [
        (SERVERS[0], stage.nexusd("nexus")?),
        (SERVERS[1], Peer::redis(&stage.folder("redis"))?),
    ];
    for _ in 0..options.rounds {
        for ((server, batch, connections), peer) in &running {
            let mut best: f64 = 0.0;
            for connections in *connections {
                let arguments = [
                    ("batch", batch.to_string()),
                    ("connections", connections.to_string()),
                    ("seconds", options.seconds.to_string()),
                ];
                let sample: Sample = stage.load("batch", server, peer, &arguments)?;
                if sample.errors > 0 {
                    let what = format!("{server} failed {} requests", sample.errors);
                    return Err(Error::Void(what));
                }
                best = best.max(sample.per_second);
            }
            book.record(CASE, "events/s", Better::Higher, server, best);
        }
        running.rotate_left(1);
    }
    book.judge(&BUDGETS);
    Ok(())
}
