//! Measures the log over SQLite: appends at several batch sizes, then pages, on a disk that syncs.
//!
//! `cargo run --release -p nexus-store --example append_rate -- [option …]`
//!
//! - `--seconds 3`: how long each case runs
//! - `--case 64x1k`: publishers x events of each request, `k` when each request has an idempotency key
//!   (`r` when that key expires); may be given several times
//! - `--events 10000000`, `--keys 10000000`: fill the log first, until it has so many
//! - `--folder path`: where the log is; one that exists is used and kept
//! - `--no-pages`: only append
//! - `--json`: one line with all figures at the end, for `cargo xtask bench growth`

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use nexus_core::{
    Catalogue, Clock, Command, EventQuery, EventType, Log, LogOptions, NewEvent, Once, Order,
    Pages, Pattern, PatternSet, Principal, ProtocolEvent, Random, Seq, Source,
};
use nexus_store::{Sqlite, SqliteOptions};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the daemon allocates with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PAYLOAD: &str = r#"{"transactionId":"tx-00000000","amount":1250,"payerId":"payer-7","currency":"BRL","method":"pix","description":"one hundred and fifty bytes of it"}"#;

/// Which key each request has.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Keys {
    None,
    Facts,
    Requests,
}

/// What is measured at once.
#[derive(Debug, Clone, Copy)]
struct Case {
    publishers: usize,
    events: usize,
    keys: Keys,
}

impl Case {
    /// Reads `publishers x events`, with a `k` or an `r` behind it.
    fn parse(text: &str) -> Option<Self> {
        let (publishers, events) = text.split_once('x')?;
        let digits = events.trim_end_matches(['k', 'r']);
        Some(Self {
            publishers: publishers.parse().ok()?,
            events: digits.parse().ok()?,
            keys: match &events[digits.len()..] {
                "" => Keys::None,
                "k" => Keys::Facts,
                "r" => Keys::Requests,
                _ => return None,
            },
        })
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys = match self.keys {
            Keys::None => "",
            Keys::Facts => ", with a key that never expires",
            Keys::Requests => ", with a key that expires",
        };
        let (publishers, events) = (self.publishers, self.events);
        write!(f, "{publishers} publishers x {events} events{keys}")
    }
}

struct Arguments {
    span: Duration,
    cases: Vec<Case>,
    events: u64,
    keys: u64,
    folder: Option<PathBuf>,
    pages: bool,
    json: bool,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut arguments = Self {
            span: Duration::from_secs(3),
            cases: Vec::new(),
            events: 0,
            keys: 0,
            folder: None,
            pages: true,
            json: false,
        };
        while let Some(name) = words.next() {
            let mut value = || words.next().ok_or(format!("{name} wants a value"));
            match name.as_str() {
                "--seconds" => arguments.span = Duration::from_secs_f64(value()?.parse()?),
                "--case" => {
                    let case = Case::parse(&value()?);
                    let case = case.ok_or("a case is written like 2x1000 or 64x1k")?;
                    arguments.cases.push(case);
                }
                "--events" => arguments.events = value()?.parse()?,
                "--keys" => arguments.keys = value()?.parse()?,
                "--folder" => arguments.folder = Some(value()?.into()),
                "--no-pages" => arguments.pages = false,
                "--json" => arguments.json = true,
                _ => return Err(format!("{name} is no option").into()),
            }
        }
        if arguments.cases.is_empty() {
            let all = ["1x1", "64x1", "64x1k", "256x1", "2x64", "2x256", "2x1000"];
            arguments.cases = all.iter().filter_map(|case| Case::parse(case)).collect();
        }
        Ok(arguments)
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let passing = || std::env::temp_dir().join(format!("nexus-append-{}", std::process::id()));
    let folder = arguments.folder.clone().unwrap_or_else(passing);
    println!(
        "payload of {} bytes, in {}",
        PAYLOAD.len(),
        folder.display()
    );
    let begun = Instant::now();
    let (clock, random) = (Clock::System, Random::system());
    let options = SqliteOptions::new(folder.join("nexus-log.db"));
    let (backend, pages) = Sqlite::open(options, clock.clone(), random.clone()).await?;
    let (log, service) = Log::open(
        backend,
        pages.clone(),
        Catalogue::known(),
        LogOptions::default(),
        clock,
        random,
    )
    .await?;
    let opened = begun.elapsed();
    println!("opened with {} events in {opened:?}", log.head().seq);
    let service = tokio::spawn(service.run());
    fill(&log, &arguments).await?;
    let mut appended = serde_json::Map::new();
    for case in arguments.cases {
        let rate = append(&log, case, arguments.span).await?;
        appended.insert(case.to_string(), rate.into());
    }
    let read = if arguments.pages {
        read(&log, &pages).await?
    } else {
        serde_json::Map::new()
    };
    if arguments.json {
        let opened_ms = opened.as_secs_f64() * 1e3;
        let report = serde_json::json!({
            "opened_ms": opened_ms, "events_per_second": appended, "page_us": read,
        });
        println!("{report}");
    }
    log.close();
    service.await??;
    if arguments.folder.is_none() {
        std::fs::remove_dir_all(folder)?;
    }
    Ok(())
}

/// Fills the log, as fast as it takes it.
async fn fill(log: &Log, arguments: &Arguments) -> Result<(), Failure> {
    const PUBLISHERS: u64 = 512;
    const EVENTS_AT_ONCE: u64 = 500;
    let begun = Instant::now();
    let kind = log.catalogue().known_type(ProtocolEvent::PaymentReceived);
    let left = arguments.events.saturating_sub(log.head().seq.get());
    let left = Arc::new(AtomicU64::new(left.div_ceil(EVENTS_AT_ONCE)));
    let many = move || {
        let some = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        });
        let kind = kind.clone();
        some.ok()
            .map(|_| command(&kind, EVENTS_AT_ONCE as usize, None))
    };
    submit_all(log, 4, many).await?;
    let left = Arc::new(AtomicU64::new(arguments.keys));
    let keys = move || {
        let some = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        });
        some.ok().map(|n| Command {
            once: Some(Once::fact("filled", format!("{begun:?}-{n}"))),
            ..Command::default()
        })
    };
    submit_all(log, PUBLISHERS, keys).await?;
    if arguments.events + arguments.keys > 0 {
        println!("filled in {:?}", begun.elapsed());
    }
    Ok(())
}

async fn submit_all(
    log: &Log,
    publishers: u64,
    next: impl Fn() -> Option<Command> + Clone + Send + 'static,
) -> Result<(), Failure> {
    let mut tasks = Vec::new();
    for _ in 0..publishers {
        let (log, next) = (log.clone(), next.clone());
        tasks.push(tokio::spawn(async move {
            while let Some(command) = next() {
                log.submit(&Principal::nexus(), command).await?;
            }
            Ok::<_, nexus_core::Error>(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

/// Appends for a while, and gives how many events a second were kept.
async fn append(log: &Log, case: Case, span: Duration) -> Result<f64, Failure> {
    let first = log.head().seq;
    let used = cpu_time();
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for publisher in 0..case.publishers {
        let log = log.clone();
        let kind = log.catalogue().known_type(ProtocolEvent::PaymentReceived);
        tasks.push(tokio::spawn(async move {
            let mut n = 0_u64;
            while begun.elapsed() < span {
                n += 1;
                let key = format!("{begun:?}-{publisher}-{n}");
                let once = match case.keys {
                    Keys::None => None,
                    Keys::Facts => Some(Once::fact("bench", key)),
                    Keys::Requests => {
                        let day_us = 86_400_000_000;
                        let expires_us = log.clock().now_us() + day_us;
                        Some(Once::request(&Source::nexus(), &key, [7; 32], expires_us))
                    }
                };
                log.submit(&Principal::nexus(), command(&kind, case.events, once))
                    .await?;
            }
            Ok::<_, nexus_core::Error>(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    let stored = (log.head().seq.get() - first.get()) as f64;
    let seconds = begun.elapsed().as_secs_f64();
    // On a machine that does other things too, the time that was used says more than the rate.
    let used_us = cpu_time().saturating_sub(used).as_secs_f64() * 1e6 / stored;
    println!(
        "{:>9.0} events/s, {used_us:>6.2} us of CPU each: {case}",
        stored / seconds
    );
    Ok(stored / seconds)
}

/// The processor time that this process has used.
fn cpu_time() -> Duration {
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may have spaces: user and system time are the 12th and 13th word.
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind_name.split_whitespace().skip(11).take(2);
    TICK * ticks.filter_map(|word| word.parse::<u32>().ok()).sum()
}

fn command(kind: &Arc<EventType>, events: usize, once: Option<Once>) -> Command {
    let event = NewEvent::new(kind.clone(), Bytes::from_static(PAYLOAD.as_bytes()));
    Command {
        events: vec![event; events],
        once,
        ..Command::default()
    }
}

/// Reads pages from all over the log, and gives the median and the slowest of each kind in microseconds.
async fn read(
    log: &Log,
    pages: &impl Pages,
) -> Result<serde_json::Map<String, serde_json::Value>, Failure> {
    const PAGES: u64 = 100;
    let head = log.head().seq;
    let only = |topic: &str| Pattern::parse(topic).map(|pattern| PatternSet::from_iter([pattern]));
    // So that a page looks at as many rows as it may for one that is seldom there.
    let seldom = Source::reactor("seldom");
    let kind = log.catalogue().known_type(ProtocolEvent::PaymentReceived);
    log.submit(&Principal::reactor("seldom"), command(&kind, 1, None))
        .await?;
    let mut all = serde_json::Map::new();
    for (name, patterns, source) in [
        ("everything", PatternSet::everything(), None),
        ("one topic", only("payment.received")?, None),
        ("no such topic", only("nothing.like_this")?, None),
        (
            "a source that is seldom there",
            PatternSet::everything(),
            Some(seldom),
        ),
    ] {
        for order in [Order::Ascending, Order::Descending] {
            let mut times = Vec::new();
            let mut events = 0;
            let used = cpu_time();
            for page in 0..PAGES {
                // Evenly over the log, in an order that no reading ahead foresees.
                let place = (page * 37) % PAGES;
                let from = Seq::new(head.get() / PAGES * place);
                let mut query = match order {
                    Order::Ascending => EventQuery::page(from, head, patterns.clone()),
                    Order::Descending => EventQuery::page(Seq::ZERO, from, patterns.clone()),
                };
                query.order = order;
                query.source = source.clone();
                let begun = Instant::now();
                events = events.max(pages.events(&query).await?.events.len());
                times.push(begun.elapsed());
            }
            let used = cpu_time().saturating_sub(used) / 100;
            times.sort();
            let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
            println!(
                "page of {name}, {order:?}, {events} events in a log of {head}: median {median:?}, slowest {slowest:?}, {used:?} of CPU"
            );
            let figures = serde_json::json!({
                "median": median.as_secs_f64() * 1e6, "slowest": slowest.as_secs_f64() * 1e6,
            });
            all.insert(format!("{name}, {order:?}"), figures);
        }
    }
    Ok(all)
}
