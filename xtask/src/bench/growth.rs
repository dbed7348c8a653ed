//! `cargo xtask bench growth`: what a log of ten million events costs, to append, to read, to open.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde::Deserialize;

use crate::{
    bench::{
        book::{Better, Book, Budget},
        stage::{Benchmark, Options, Stage},
    },
    error::{Error, Result},
    process::stdout_of,
};

/// The benchmark.
pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "growth",
    what: "The store in one process, without HTTP: 64 publishers with one event in flight each, synced before each \
           answer, into an empty log and into one of 10,000,000 events, without keys, and with a key that never \
           expires beside 10,000,000 others; pages of 1,000 events from all over the log (for a source that is \
           seldom there: 2,000 rows looked at); and how long it takes to open.",
    short: None,
    measure,
};

const APPEND: &str = "appending, no keys";
const KEYED: &str = "appending, each with a key among 10,000,000";
const PAGE: &str = "the median page, of the slowest kind";
const OPEN: &str = "opening";

const BUDGETS: [Budget; 4] = [
    Budget {
        case: APPEND,
        of: "10,000,000",
        to: Some("empty"),
        must: 0.9,
        aim: None,
    },
    Budget {
        case: KEYED,
        of: "10,000,000",
        to: Some("empty"),
        must: 0.5,
        aim: None,
    },
    Budget {
        case: PAGE,
        of: "10,000,000",
        to: None,
        must: 5.0,
        aim: None,
    },
    Budget {
        case: OPEN,
        of: "10,000,000",
        to: None,
        must: 2_000.0,
        aim: None,
    },
];

const UNKEYED_CASE: &str = "64 publishers x 1 events";
const KEYED_CASE: &str = "64 publishers x 1 events, with a key that never expires";

#[derive(Deserialize)]
struct Report {
    opened_ms: f64,
    events_per_second: BTreeMap<String, f64>,
    page_us: BTreeMap<String, Times>,
}

#[derive(Deserialize)]
struct Times {
    median: f64,
    slowest: f64,
}

fn measure(stage: &Stage<'_>, options: &Options, book: &mut Book) -> Result<()> {
    let count = if options.seconds > 1 {
        10_000_000
    } else {
        10_000
    };
    let (large, keyed) = (stage.folder("large"), stage.folder("keyed"));
    let count = count.to_string();
    println!("filling two logs");
    run(
        stage,
        &large,
        &["--events", &count, "--seconds", "0.1", "--no-pages"],
    )?;
    run(
        stage,
        &keyed,
        &[
            "--events",
            &count,
            "--keys",
            &count,
            "--seconds",
            "0.1",
            "--no-pages",
        ],
    )?;
    let seconds = options.seconds.to_string();
    for round in 0..options.rounds {
        let empty = stage.folder(&format!("empty-{round}"));
        let append = ["--seconds", &seconds, "--case", "64x1"];
        let empty = run(stage, &empty, &[&append[..], &["--no-pages"]].concat())?;
        let full = run(stage, &large, &append)?;
        let append = ["--seconds", &seconds, "--case", "64x1k", "--no-pages"];
        let with_keys = run(stage, &keyed, &append)?;

        let unkeyed = |report: &Report| report.rate(UNKEYED_CASE);
        let rates = [("10,000,000", unkeyed(&full)?), ("empty", unkeyed(&empty)?)];
        for (name, rate) in rates {
            book.record(APPEND, "events/s", Better::Higher, name, rate);
        }
        let rates = [
            ("10,000,000", with_keys.rate(KEYED_CASE)?),
            ("empty", unkeyed(&empty)?),
        ];
        for (name, rate) in rates {
            book.record(KEYED, "events/s", Better::Higher, name, rate);
        }
        let mut slowest_kind: f64 = 0.0;
        for (kind, times) in &full.page_us {
            let case = format!("page: {kind}, the slowest of 100");
            book.record(
                &case,
                "ms",
                Better::Lower,
                "10,000,000",
                times.slowest / 1e3,
            );
            slowest_kind = slowest_kind.max(times.median / 1e3);
        }
        book.record(PAGE, "ms", Better::Lower, "10,000,000", slowest_kind);
        for (name, report) in [
            ("10,000,000", &full),
            ("with keys", &with_keys),
            ("empty", &empty),
        ] {
            book.record(OPEN, "ms", Better::Lower, name, report.opened_ms);
        }
    }
    book.judge(&BUDGETS);
    Ok(())
}

impl Report {
    fn rate(&self, case: &str) -> Result<f64> {
        let rate = self.events_per_second.get(case).copied();
        rate.ok_or_else(|| Error::Void(format!("nothing was measured of {case}")))
    }
}

/// Runs the store's example in a folder, and reads its last line.
fn run(stage: &Stage<'_>, folder: &Path, arguments: &[&str]) -> Result<Report> {
    let mut example = Command::new(&stage.binaries.append_rate);
    example
        .arg("--folder")
        .arg(folder)
        .args(arguments)
        .arg("--json");
    let printed = stdout_of(&mut example)?;
    let last = String::from_utf8_lossy(&printed);
    let last = last.trim().lines().next_back().unwrap_or_default();
    serde_json::from_str(last).map_err(|source| Error::Json {
        what: String::from("the last line of the store's example"),
        source,
    })
}
