//! The closed loop: one request in flight on each connection, and how many were done.

use std::{
    cell::RefCell,
    io,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::{Args, ValueEnum};
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    connection::{self, Exchange, Window},
    ingest::Ingest,
    payment::Payments,
    redis::Xadd,
    server::Server,
    tally::{Report, Tally},
};

/// How long answers that are still on their way may take after the last second.
const GRACE: Duration = Duration::from_secs(10);

/// One event a request.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What is sent.
    #[arg(long, value_enum)]
    mode: Mode,
    /// The server, on loopback.
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Seconds of the same load before them, which are not.
    #[arg(long, default_value_t = 1)]
    warmup_seconds: u64,
    /// The secret that signs (`ingest`).
    #[arg(long, default_value = "")]
    secret: String,
    /// The path that is posted to (`ingest`).
    #[arg(long, default_value = "/events")]
    path: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// Signed `POST /events` over HTTP/1.1.
    Ingest,
    /// `XADD` of the same bytes to a Redis stream.
    Redis,
}

impl Options {
    pub(crate) fn seconds_in_all(&self) -> u64 {
        self.seconds + self.warmup_seconds
    }
}

/// Sends single events.
pub(crate) async fn run(options: &Options) -> io::Result<Report> {
    let run = run_id();
    let load = ClosedLoop::new(1, options.seconds, options.warmup_seconds)?;
    let connections = (0..options.connections).map(|index| {
        let payments = Payments::new(run, index);
        match options.mode {
            Mode::Ingest => {
                let ingest = Ingest::new(options.address, &options.path, &options.secret, payments);
                load.spawn(options.address, ingest)
            }
            Mode::Redis => load.spawn(options.address, Xadd::new(payments)),
        }
    });
    let connections = connections.collect();
    load.end(connections).await
}

/// Sends batches.
pub(crate) async fn batches(
    server: &Server,
    connections: usize,
    batch: usize,
    seconds: u64,
    warmup_seconds: u64,
) -> io::Result<Report> {
    let load = ClosedLoop::new(batch as u64, seconds, warmup_seconds)?;
    let connections =
        (0..connections).map(|index| load.spawn(server.address, server.publisher(index, batch)));
    let connections = connections.collect();
    load.end(connections).await
}

struct ClosedLoop {
    window: Window,
    seconds: u64,
    tally: Rc<RefCell<Tally>>,
}

impl ClosedLoop {
    fn new(batch: u64, seconds: u64, warmup_seconds: u64) -> io::Result<Self> {
        let measured_from = Instant::now() + Duration::from_secs(warmup_seconds);
        let measured_until = measured_from + Duration::from_secs(seconds);
        Ok(Self {
            window: Window {
                measured_from,
                measured_until,
                given_up_at: measured_until + GRACE,
            },
            seconds,
            tally: Rc::new(RefCell::new(Tally::new(batch)?)),
        })
    }

    fn spawn<E: Exchange + 'static>(&self, address: SocketAddr, exchange: E) -> JoinHandle<()> {
        let tally = Rc::clone(&self.tally);
        tokio::task::spawn_local(connection::run(address, exchange, self.window, tally))
    }

    async fn end(self, connections: Vec<JoinHandle<()>>) -> io::Result<Report> {
        for connection in connections {
            connection.await.map_err(io::Error::other)?;
        }
        let tally = self.tally.borrow();
        if tally.ok() == 0 {
            return Err(io::Error::other("nothing succeeded"));
        }
        Ok(tally.report(self.seconds))
    }
}

/// Differs from run to run, so that no transaction is ever sent twice to the same log.
fn run_id() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(0))
}
