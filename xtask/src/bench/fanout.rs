//! `cargo xtask bench fanout`: batches to many live readers.

use serde::Deserialize;

use crate::{
    bench::{
        book::{Better, Book, Budget},
        peers::Peer,
        stage::{Benchmark, Options, SECRET, Stage},
    },
    error::Result,
};

/// The benchmark.
pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "fanout",
    what: "Four publishers, each with one batch in flight; every reader must get every event of its pattern, in \
           order; deliveries a second until the slowest reader has the last one. nexus: signed POST \
           /api/v1/events, synced to disk before it is delivered, WebSocket frames of /api/v1/stream. nats: \
           core, kept nowhere. reference: POST /events, synced, ws. One reader of each pattern looks at every \
           event, the others must get the same number of bytes, which the system discards uncopied.",
    short: Some("10 readers, batches of 16, one pattern"),
    measure,
};

const BUDGETS: [Budget; 1] = [Budget {
    case: "1,000 readers, batches of 256, one pattern",
    of: "nexus",
    to: Some("nats"),
    must: 3.0,
    aim: Some(5.0),
}];

#[derive(Deserialize)]
struct Sample {
    deliveries_per_second: f64,
}

/// Readers, events a batch, patterns.
struct Work {
    readers: usize,
    batch: usize,
    topics: usize,
}

impl Work {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for topics in [1, 100] {
            for readers in [10, 100, 1_000] {
                for batch in [1, 16, 256] {
                    if readers >= topics {
                        all.push(Self {
                            readers,
                            batch,
                            topics,
                        });
                    }
                }
            }
        }
        all
    }

    fn name(&self) -> String {
        let readers = if self.readers == 1_000 {
            String::from("1,000")
        } else {
            self.readers.to_string()
        };
        let patterns = if self.topics == 1 {
            String::from("one pattern")
        } else {
            format!("{} patterns", self.topics)
        };
        let batches = if self.batch == 1 {
            String::from("single events")
        } else {
            format!("batches of {}", self.batch)
        };
        format!("{readers} readers, {batches}, {patterns}")
    }
}

fn measure(stage: &Stage<'_>, options: &Options, book: &mut Book) -> Result<()> {
    let nexus = stage.nexusd("nexus")?;
    let nats = Peer::nats(&stage.folder("nats"))?;
    let reference = Peer::reference(&stage.workspace.root, &stage.folder("reference"), SECRET)?;
    let mut running = [("nexus", nexus), ("nats", nats), ("reference", reference)];
    for round in 0..options.rounds {
        for work in Work::all() {
            let name = work.name();
            if !options.wants(&name) {
                continue;
            }
            for (server, peer) in &running {
                // It has neither batches nor other topics.
                if *server == "reference" && (work.batch > 1 || work.topics > 1) {
                    continue;
                }
                let arguments = [
                    ("readers", work.readers.to_string()),
                    ("batch", work.batch.to_string()),
                    ("topics", work.topics.to_string()),
                    ("seconds", options.seconds.to_string()),
                ];
                let sample: Sample = stage.load("fanout", server, peer, &arguments)?;
                let rate = sample.deliveries_per_second;
                book.record(&name, "deliveries/s", Better::Higher, server, rate);
            }
        }
        // The first of a case stays the one that is compared.
        if round + 1 < options.rounds {
            running.rotate_left(1);
        }
    }
    book.judge(&BUDGETS);
    Ok(())
}
