//! Measures the log over SQLite: appends at several batch sizes, then pages, on a disk that syncs.
//!
//! `cargo run --release -p nexus-store --example append_rate [seconds] [folder] [case]`

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use nexus_core::{
    Catalogue, Clock, Command, EventQuery, EventType, Log, LogOptions, NewEvent, Once, Order,
    Pages, Pattern, PatternSet, Principal, ProtocolEvent, Random, Seq,
};
use nexus_store::{Sqlite, SqliteOptions};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const PAYLOAD: &str = r#"{"transactionId":"tx-00000000","amount":1250,"payerId":"payer-7","currency":"BRL","method":"pix","description":"one hundred and fifty bytes of it"}"#;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let seconds: u64 = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let folder = arguments.next().map_or_else(
        || std::env::temp_dir().join(format!("nexus-append-{}", std::process::id())),
        PathBuf::from,
    );
    println!(
        "payload of {} bytes, in {}",
        PAYLOAD.len(),
        folder.display()
    );
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
    let service = tokio::spawn(service.run());
    let span = Duration::from_secs(seconds);
    let cases = match arguments.next() {
        Some(case) => vec![parse(&case).ok_or("a case is written like 2x1000 or 64x1k")?],
        None => vec![
            (1, 1, false),
            (64, 1, false),
            (64, 1, true),
            (2, 64, false),
            (2, 256, false),
            (2, 1_000, false),
        ],
    };
    for (publishers, events, once) in cases {
        append(&log, publishers, events, once, span).await?;
    }
    read(&log, &pages).await?;
    log.close();
    service.await??;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

/// Reads `publishers x events`, with a `k` behind it when each request has an idempotency key.
fn parse(case: &str) -> Option<(usize, usize, bool)> {
    let (publishers, events) = case.split_once('x')?;
    let digits = events.trim_end_matches('k');
    Some((
        publishers.parse().ok()?,
        digits.parse().ok()?,
        digits != events,
    ))
}

async fn append(
    log: &Log,
    publishers: usize,
    events: usize,
    once: bool,
    span: Duration,
) -> Result<(), Failure> {
    let first = log.head().seq;
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for publisher in 0..publishers {
        let log = log.clone();
        let kind = log.catalogue().known_type(ProtocolEvent::PaymentReceived);
        tasks.push(tokio::spawn(async move {
            let mut n = 0_u64;
            while begun.elapsed() < span {
                n += 1;
                let once = once.then(|| Once::fact("bench", format!("{begun:?}-{publisher}-{n}")));
                log.submit(&Principal::nexus(), command(&kind, events, once))
                    .await?;
            }
            Ok::<_, nexus_core::Error>(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    let stored = log.head().seq.get() - first.get();
    println!(
        "{publishers:>3} publishers x {events:>4} events{}: {:>9.0} events/s",
        if once { " with a key" } else { "" },
        stored as f64 / begun.elapsed().as_secs_f64()
    );
    Ok(())
}

fn command(kind: &Arc<EventType>, events: usize, once: Option<Once>) -> Command {
    let event = NewEvent::new(kind.clone(), Bytes::from_static(PAYLOAD.as_bytes()));
    Command {
        events: vec![event; events],
        once,
        ..Command::default()
    }
}

async fn read(log: &Log, pages: &impl Pages) -> Result<(), Failure> {
    let head = log.head().seq;
    let only = |topic: &str| Pattern::parse(topic).map(|pattern| PatternSet::from_iter([pattern]));
    for (name, patterns) in [
        ("everything", PatternSet::everything()),
        ("one topic", only("payment.received")?),
        ("no such topic", only("nothing.like_this")?),
    ] {
        for order in [Order::Ascending, Order::Descending] {
            let mut query = EventQuery::page(Seq::ZERO, head, patterns.clone());
            query.order = order;
            let mut times = Vec::new();
            let mut events = 0;
            for _ in 0..50 {
                let begun = Instant::now();
                events = pages.events(&query).await?.events.len();
                times.push(begun.elapsed());
            }
            times.sort();
            println!(
                "page of {name}, {order:?}, {events} events in a log of {head}: median {:?}, slowest {:?}",
                times[times.len() / 2],
                times[times.len() - 1]
            );
        }
    }
    Ok(())
}
