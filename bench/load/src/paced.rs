//! Callers of a good server at a fixed rate, and beside them callers of servers that answer badly or not at all.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    tools::{Door, Session, echo, wait_for_tool},
    watch::Watched,
};

const LATENCY_US_MAX: u64 = 60_000_000;
/// How long callers of bad servers wait for an answer.
const BAD_PATIENCE: Duration = Duration::from_secs(1);
const SAMPLE_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// The hub, on loopback.
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// Where the good server is.
    #[arg(long)]
    path: String,
    #[arg(long)]
    token: Option<String>,
    #[arg(long, default_value = crate::upstream::TOOL)]
    tool: String,
    #[arg(long, default_value_t = 8)]
    pub(crate) callers: usize,
    /// Of all callers of the good server together.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    calls_per_second: u32,
    /// Where a bad server is, and every how many milliseconds it is called: `/mcp/hangs:1000`.
    #[arg(long, value_parser = bad)]
    bad: Vec<Bad>,
    /// The hub's process, whose memory is watched.
    #[arg(long)]
    process: u32,
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    #[arg(long, default_value_t = 1)]
    warmup_seconds: u64,
}

/// A server that answers badly, and how often it is called.
#[derive(Debug, Clone)]
struct Bad {
    path: String,
    every: Duration,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    calls: u64,
    p50_us: u64,
    p99_us: u64,
    max_us: u64,
    /// Calls of bad servers, and how many of them were answered with a result in time.
    bad_calls: u64,
    bad_results: u64,
    /// The most private memory that the hub had meanwhile.
    most_kib: u64,
}

struct Shared {
    call: String,
    started: Instant,
    measured_from: Instant,
    until: Instant,
    latencies_us: RefCell<Histogram<u64>>,
    bad_calls: Cell<u64>,
    bad_results: Cell<u64>,
    most_kib: Cell<u64>,
}

impl Options {
    pub(crate) fn seconds_in_all(&self) -> u64 {
        self.seconds.saturating_add(self.warmup_seconds)
    }
}

fn bad(text: &str) -> Result<Bad, String> {
    let wrong = || String::from("it must be a path and milliseconds, as in /mcp/hangs:1000");
    let (path, every_ms) = text.rsplit_once(':').ok_or_else(wrong)?;
    let every_ms: u64 = every_ms.parse().map_err(|_| wrong())?;
    if every_ms == 0 {
        return Err(wrong());
    }
    Ok(Bad {
        path: path.to_owned(),
        every: Duration::from_millis(every_ms),
    })
}

/// Every call of the good server has to be answered; what comes of calls of the bad ones is only counted.
pub(crate) async fn run(options: &Options) -> io::Result<Report> {
    let door = |path: &str| Door {
        address: options.address,
        path: path.to_owned(),
        token: options.token.clone(),
    };
    let good = door(&options.path);
    wait_for_tool(&good, &options.tool).await?;
    let mut sessions = Vec::with_capacity(options.callers);
    for _ in 0..options.callers {
        sessions.push(Session::begin(&good).await?);
    }
    let mut bad = Vec::with_capacity(options.bad.len());
    for server in &options.bad {
        let door = door(&server.path);
        wait_for_tool(&door, crate::upstream::TOOL).await?;
        bad.push((Session::begin(&door).await?, server.every));
    }
    let started = Instant::now();
    let measured_from = started + Duration::from_secs(options.warmup_seconds);
    let shared = Rc::new(Shared {
        call: echo(&options.tool),
        started,
        measured_from,
        until: measured_from + Duration::from_secs(options.seconds),
        latencies_us: RefCell::new(
            Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).map_err(io::Error::other)?,
        ),
        bad_calls: Cell::new(0),
        bad_results: Cell::new(0),
        most_kib: Cell::new(0),
    });
    let watching = tokio::task::spawn_local(watch(Watched(options.process), Rc::clone(&shared)));
    let beside: Vec<JoinHandle<io::Result<()>>> = bad
        .into_iter()
        .map(|(session, every)| {
            tokio::task::spawn_local(call_bad(session, every, Rc::clone(&shared)))
        })
        .collect();
    let interval = Duration::from_secs(1) / options.calls_per_second;
    let calling: Vec<JoinHandle<io::Result<()>>> = (0..)
        .zip(sessions)
        .map(|(place, session)| {
            let own = interval * u32::try_from(options.callers).unwrap_or(u32::MAX);
            tokio::task::spawn_local(call_good(
                session,
                interval * place,
                own,
                Rc::clone(&shared),
            ))
        })
        .collect();
    for caller in calling.into_iter().chain(beside) {
        caller.await.map_err(io::Error::other)??;
    }
    watching.abort();
    report(&shared)
}

fn report(shared: &Shared) -> io::Result<Report> {
    let latencies_us = shared.latencies_us.borrow();
    if latencies_us.is_empty() {
        return Err(io::Error::other("nothing was measured"));
    }
    Ok(Report {
        calls: latencies_us.len(),
        p50_us: latencies_us.value_at_quantile(0.50),
        p99_us: latencies_us.value_at_quantile(0.99),
        max_us: latencies_us.max(),
        bad_calls: shared.bad_calls.get(),
        bad_results: shared.bad_results.get(),
        most_kib: shared.most_kib.get(),
    })
}

/// Calls whenever it is time to. The timer's own delay is not the hub's; that of an answer which was still missing
/// is.
async fn call_good(
    mut session: Session,
    first: Duration,
    every: Duration,
    shared: Rc<Shared>,
) -> io::Result<()> {
    let mut due = shared.started + first;
    while due < shared.until {
        let is_late = Instant::now() > due;
        sleep_until(due).await;
        let sent_at = if is_late { due } else { Instant::now() };
        session.ask("tools/call", &shared.call).await?;
        if due >= shared.measured_from {
            let took_us = u64::try_from(sent_at.elapsed().as_micros()).unwrap_or(LATENCY_US_MAX);
            let mut latencies_us = shared.latencies_us.borrow_mut();
            latencies_us.saturating_record(took_us.max(1));
        }
        due += every;
    }
    session.end().await
}

/// Calls again and again, and waits for none of the answers for long.
async fn call_bad(mut session: Session, every: Duration, shared: Rc<Shared>) -> io::Result<()> {
    let call = echo(crate::upstream::TOOL);
    let mut due = shared.started;
    while due < shared.until {
        sleep_until(due).await;
        shared.bad_calls.set(shared.bad_calls.get() + 1);
        match timeout(BAD_PATIENCE, session.ask("tools/call", &call)).await {
            Ok(Ok(_)) => shared.bad_results.set(shared.bad_results.get() + 1),
            // What may still come is for nobody.
            Ok(Err(_)) | Err(_) => session.reconnect().await?,
        }
        due += every;
    }
    session.end().await
}

async fn watch(process: Watched, shared: Rc<Shared>) {
    while let Ok(kib) = process.private_kib() {
        shared.most_kib.set(shared.most_kib.get().max(kib));
        sleep(SAMPLE_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::{net::TcpListener, task::LocalSet};

    use super::*;
    use crate::upstream::{self, Mood};

    #[test]
    fn a_bad_server_is_a_path_and_how_often_it_is_called() {
        let read = bad("/mcp/hangs:1000").unwrap();
        assert_eq!(
            (read.path.as_str(), read.every),
            ("/mcp/hangs", Duration::from_secs(1))
        );
        for wrong in ["/mcp/hangs", "/mcp/hangs:", "/mcp/hangs:0", "/mcp:x"] {
            assert!(bad(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn good_calls_are_timed_and_bad_ones_counted() {
        let local = LocalSet::new();
        let mut addresses = Vec::new();
        for mood in [Mood::Well, Mood::Garbage] {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            local.spawn_local(upstream::over_http(listener, mood));
        }
        let options = Options {
            address: addresses[0],
            path: String::from("/mcp"),
            token: None,
            tool: String::from(upstream::TOOL),
            callers: 2,
            calls_per_second: 100,
            bad: Vec::new(),
            process: std::process::id(),
            seconds: 1,
            warmup_seconds: 0,
        };
        let report = local.run_until(run(&options)).await.unwrap();
        assert_eq!(report.calls, 100);
        assert_eq!((report.bad_calls, report.bad_results), (0, 0));
        assert!(report.p99_us >= report.p50_us && report.most_kib > 0);
        let door = Door {
            address: addresses[1],
            path: String::from("/mcp"),
            token: None,
        };
        let asked = async {
            let mut session = Session::begin(&door).await?;
            let call = echo(upstream::TOOL);
            assert!(session.ask("tools/call", &call).await.is_err());
            session.reconnect().await?;
            session.ask("tools/list", "{}").await
        };
        assert!(local.run_until(asked).await.is_ok());
    }
}
