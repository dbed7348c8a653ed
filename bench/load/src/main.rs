//! The load generator of the benchmarks: a closed loop on loopback, bounded in time, that prints one JSON line.

mod connection;
mod ingest;
mod payment;
mod redis;
mod tally;

use std::{
    cell::RefCell,
    net::SocketAddr,
    process::ExitCode,
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::{Parser, ValueEnum};
use tokio::{task::LocalSet, time::Instant};

use crate::{
    connection::{Exchange, Window},
    payment::Payments,
    tally::Tally,
};

const CONNECTIONS_MAX: usize = 4096;
const SECONDS_MAX: u64 = 300;
/// How long answers that are still on their way may take after the last second.
const GRACE: Duration = Duration::from_secs(10);

/// Keeps one request in flight on each connection and measures the answers.
#[derive(Debug, Parser)]
#[command(name = "bench-load")]
struct Arguments {
    /// What is sent.
    #[arg(long, value_enum)]
    mode: Mode,
    /// The server, on loopback.
    #[arg(long)]
    address: SocketAddr,
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 64)]
    connections: usize,
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

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(problem) = check(&arguments) {
        eprintln!("bench-load: {problem}");
        return ExitCode::from(2);
    }
    match measure_and_print(&arguments) {
        Ok(0) => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns how many requests succeeded.
fn measure_and_print(arguments: &Arguments) -> std::io::Result<u64> {
    let tally = measure(arguments)?;
    println!(
        "{}",
        serde_json::to_string(&tally.report(arguments.seconds))?
    );
    Ok(tally.ok())
}

fn check(arguments: &Arguments) -> Result<(), String> {
    if !arguments.address.ip().is_loopback() {
        return Err(format!("{} is not on loopback", arguments.address));
    }
    if !(1..=CONNECTIONS_MAX).contains(&arguments.connections) {
        return Err(format!("connections must be 1 to {CONNECTIONS_MAX}"));
    }
    if arguments.seconds == 0 || arguments.seconds + arguments.warmup_seconds > SECONDS_MAX {
        return Err(format!(
            "the run must last 1 to {SECONDS_MAX} seconds in all"
        ));
    }
    Ok(())
}

/// One thread does it all: the server has the other core.
fn measure(arguments: &Arguments) -> std::io::Result<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, drive(arguments))
}

async fn drive(arguments: &Arguments) -> std::io::Result<Tally> {
    let start = Instant::now();
    let measured_from = start + Duration::from_secs(arguments.warmup_seconds);
    let measured_until = measured_from + Duration::from_secs(arguments.seconds);
    let window = Window {
        measured_from,
        measured_until,
        given_up_at: measured_until + GRACE,
    };
    let tally = Rc::new(RefCell::new(Tally::new()?));
    let run = run_id();

    let connections: Vec<_> = (0..arguments.connections)
        .map(|index| {
            let payments = Payments::new(run, index);
            match arguments.mode {
                Mode::Ingest => {
                    let exchange = ingest::Ingest::new(
                        arguments.address,
                        &arguments.path,
                        &arguments.secret,
                        payments,
                    );
                    spawn(arguments.address, exchange, window, &tally)
                }
                Mode::Redis => spawn(
                    arguments.address,
                    redis::Xadd::new(payments),
                    window,
                    &tally,
                ),
            }
        })
        .collect();
    for connection in connections {
        connection.await.map_err(std::io::Error::other)?;
    }
    // Every task that shared it has ended.
    Rc::try_unwrap(tally)
        .map(RefCell::into_inner)
        .map_err(|_| std::io::Error::other("a connection is still counting"))
}

fn spawn<E: Exchange + 'static>(
    address: SocketAddr,
    exchange: E,
    window: Window,
    tally: &Rc<RefCell<Tally>>,
) -> tokio::task::JoinHandle<()> {
    tokio::task::spawn_local(connection::run(address, exchange, window, Rc::clone(tally)))
}

/// Differs from run to run, so that no transaction is ever sent twice to the same log.
fn run_id() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(0))
}
