//! Latency: events at a fixed rate, and how long each takes to its readers.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::Duration,
};

use bytes::BytesMut;
use hdrhistogram::Histogram;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use crate::{
    connection::{Exchange, whole_answer},
    marked::{Mark, Scanner},
    reader::{Sink, scan},
    server::{Kind, Server},
};

/// Connections that publish in turn, so that one slow answer does not hold up the next event.
const PUBLISHERS: u64 = 8;
/// How long deliveries may take after the last event.
const DRAIN: Duration = Duration::from_secs(5);
const LATENCY_US_MAX: u64 = 60_000_000;
/// What the system takes for a reader that reads nothing, so that it stalls soon.
const STALLED_BUFFER_BYTES: usize = 4 << 10;

#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) server: Server,
    /// Readers near the head, whose latencies are taken.
    pub(crate) readers: usize,
    /// Readers beside them, whose latencies are not taken.
    pub(crate) crowd: usize,
    /// Readers that subscribe and then read nothing.
    pub(crate) stalled: usize,
    /// Whether one more reader reads the whole log from its beginning meanwhile.
    pub(crate) behind: bool,
    pub(crate) events_per_second: u64,
    pub(crate) warmup: Duration,
    pub(crate) duration: Duration,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    events: u64,
    deliveries: u64,
    missing: u64,
    /// How many events a second were really taken.
    taken_per_second: u64,
    p50_us: u64,
    p99_us: u64,
    p999_us: u64,
    max_us: u64,
    /// How many old events the reader that was behind got a second, while it was.
    behind_events_per_second: Option<u64>,
    /// How many events it got in all.
    behind_events: Option<u64>,
}

struct Shared {
    server: Server,
    started: Instant,
    interval: Duration,
    /// Events before this one are warm-up.
    first: u64,
    /// When each event was sent.
    sent: RefCell<Vec<Option<Instant>>>,
    latencies_us: RefCell<Histogram<u64>>,
    deliveries: Cell<u64>,
    behind: Cell<u64>,
    /// When the reader that was behind met the first event of this run, and how many it had by then.
    caught_up: Cell<Option<(Instant, u64)>>,
    failure: RefCell<Option<io::Error>>,
}

pub(crate) async fn run(options: &Options) -> io::Result<Report> {
    let interval = Duration::from_secs(1)
        / u32::try_from(options.events_per_second).map_err(io::Error::other)?;
    let count =
        |duration: Duration| (duration.as_secs_f64() * options.events_per_second as f64) as u64;
    let (first, last) = (
        count(options.warmup),
        count(options.warmup + options.duration),
    );
    let mut streams = Vec::new();
    for _ in 0..options.readers {
        streams.push(options.server.subscribe(0, None).await?);
    }
    let sink = Sink::new();
    let mut reading: Vec<JoinHandle<()>> = Vec::new();
    for _ in 0..options.crowd {
        let (stream, _) = options.server.subscribe(0, None).await?;
        let sink = sink.clone();
        // One that ends early is missed by nobody: it only makes the others' work.
        reading.push(tokio::task::spawn_local(async move {
            let _ = sink.discard(stream, 0, |_| {}).await;
        }));
    }
    let mut stalled = Vec::new();
    for _ in 0..options.stalled {
        let (stream, _) = options.server.subscribe(0, None).await?;
        set_socket_recv_buffer_size(&stream, STALLED_BUFFER_BYTES)?;
        stalled.push(stream);
    }
    let behind = if options.behind {
        Some(options.server.subscribe(0, Some("earliest")).await?)
    } else {
        None
    };
    let shared = Rc::new(Shared {
        server: options.server.clone(),
        started: Instant::now() + Duration::from_millis(50),
        interval,
        first,
        sent: RefCell::new(vec![None; usize::try_from(last).map_err(io::Error::other)?]),
        latencies_us: RefCell::new(
            Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).map_err(io::Error::other)?,
        ),
        deliveries: Cell::new(0),
        behind: Cell::new(0),
        caught_up: Cell::new(None),
        failure: RefCell::new(None),
    });
    for (stream, begun) in streams {
        reading.push(read(shared.clone(), stream, begun));
    }
    if let Some((stream, begun)) = behind {
        reading.push(catch_up(shared.clone(), stream, begun));
    }
    let publishing: Vec<_> = (0..PUBLISHERS)
        .map(|index| tokio::task::spawn_local(publish(shared.clone(), index, last)))
        .collect();
    for publisher in publishing {
        publisher.await.map_err(io::Error::other)?;
    }
    let taken_per_second = last as f64 / shared.started.elapsed().as_secs_f64();
    let wanted = (last - first) * options.readers as u64;
    let deadline = Instant::now() + DRAIN;
    let is_behind = || options.behind && shared.caught_up.get().is_none();
    while (shared.deliveries.get() < wanted || is_behind()) && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    reading.iter().for_each(JoinHandle::abort);
    drop(stalled);
    if let Some(failure) = shared.failure.take() {
        return Err(failure);
    }
    Ok(report(&shared, options, last - first, taken_per_second))
}

fn report(shared: &Shared, options: &Options, events: u64, taken_per_second: f64) -> Report {
    let wanted = events * options.readers as u64;
    let latencies_us = shared.latencies_us.borrow();
    let caught_up = shared.caught_up.get();
    let behind_rate = caught_up.map(|(at, count)| {
        let seconds = at.duration_since(shared.started).as_secs_f64();
        (count as f64 / seconds.max(0.001)) as u64
    });
    Report {
        events,
        deliveries: shared.deliveries.get(),
        missing: wanted.saturating_sub(shared.deliveries.get()),
        taken_per_second: taken_per_second as u64,
        p50_us: latencies_us.value_at_quantile(0.50),
        p99_us: latencies_us.value_at_quantile(0.99),
        p999_us: latencies_us.value_at_quantile(0.999),
        max_us: latencies_us.max(),
        behind_events_per_second: behind_rate,
        behind_events: options.behind.then(|| shared.behind.get()),
    }
}

impl Shared {
    fn fail(&self, what: &str, error: &io::Error) {
        let error = io::Error::new(error.kind(), format!("{what}: {error}"));
        self.failure.borrow_mut().get_or_insert(error);
    }

    fn delivered(&self, mark: Mark) {
        if mark.number < self.first {
            return;
        }
        let sent = usize::try_from(mark.number)
            .ok()
            .and_then(|number| self.sent.borrow().get(number).copied().flatten());
        let Some(sent) = sent else { return };
        let took_us = u64::try_from(sent.elapsed().as_micros()).unwrap_or(LATENCY_US_MAX);
        self.latencies_us
            .borrow_mut()
            .saturating_record(took_us.max(1));
        self.deliveries.set(self.deliveries.get() + 1);
    }
}

/// Reads near the head.
fn read(shared: Rc<Shared>, stream: TcpStream, begun: Vec<u8>) -> JoinHandle<()> {
    tokio::task::spawn_local(async move {
        let result = match shared.server.kind {
            Kind::Redis => read_redis(stream, |mark| shared.delivered(mark)).await,
            _ => scan(stream, &begun, |_| {}, |mark| shared.delivered(mark)).await,
        };
        if let Err(error) = result {
            shared.fail("a reader", &error);
        }
    })
}

/// Asks Redis for what follows, again and again.
async fn read_redis(mut stream: TcpStream, mut found: impl FnMut(Mark)) -> io::Result<()> {
    const BEHIND_ID: &[u8] = b"\r\n*2\r\n$4\r\nbody\r\n";
    let mut last = String::from("$");
    let mut scanner = Scanner::new();
    let mut received = Vec::new();
    loop {
        let ask = format!(
            "*6\r\n$5\r\nXREAD\r\n$5\r\nBLOCK\r\n$1\r\n0\r\n$7\r\nSTREAMS\r\n$6\r\nevents\r\n${}\r\n{last}\r\n",
            last.len()
        );
        stream.write_all(ask.as_bytes()).await?;
        received.clear();
        // An answer ends behind a payload, and what Redis sends at once comes at once.
        while !received.ends_with(b"\"}\r\n") {
            if stream.read_buf(&mut received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        scanner.scan(&received, &mut found);
        let id = memchr::memmem::rfind(&received, BEHIND_ID)
            .and_then(|at| received[..at].rsplit(|byte| *byte == b'\n').next())
            .map(|id| String::from_utf8_lossy(id).into_owned());
        if let Some(id) = id {
            last = id;
        }
    }
}

/// Reads the whole log, until it meets what this run publishes.
fn catch_up(shared: Rc<Shared>, stream: TcpStream, begun: Vec<u8>) -> JoinHandle<()> {
    /// Publishers of other runs count from zero, too; these only are of this one.
    const OWN: usize = 9_999;
    tokio::task::spawn_local(async move {
        let result = scan(
            stream,
            &begun,
            |_| {},
            |mark| {
                shared.behind.set(shared.behind.get() + 1);
                if mark.publisher == OWN && shared.caught_up.get().is_none() {
                    shared
                        .caught_up
                        .set(Some((Instant::now(), shared.behind.get())));
                }
            },
        )
        .await;
        if let Err(error) = result {
            shared.fail("the reader that is behind", &error);
        }
    })
}

async fn publish(shared: Rc<Shared>, index: u64, last: u64) {
    if let Err(error) = publish_all(&shared, index, last).await {
        shared.fail("a publisher", &error);
    }
}

async fn publish_all(shared: &Shared, index: u64, last: u64) -> io::Result<()> {
    let mut publisher = shared
        .server
        .publisher(9_999, 1)
        .numbered(index, PUBLISHERS);
    let mut stream = TcpStream::connect(shared.server.address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(publisher.greeting()).await?;
    let mut received = BytesMut::with_capacity(4 << 10);
    while publisher.next() < last {
        let number = publisher.next();
        let nth = u32::try_from(number).map_err(io::Error::other)?;
        let due = shared.started + shared.interval * nth;
        let late = Instant::now() > due;
        sleep_until(due).await;
        // The timer's own delay is not the server's; that of an answer which was still missing is.
        let sent = if late { due } else { Instant::now() };
        if let Ok(slot) = usize::try_from(number) {
            shared.sent.borrow_mut()[slot] = Some(sent);
        }
        stream.write_all(publisher.request()).await?;
        if !whole_answer(&mut stream, &publisher, &mut received).await? {
            return Err(io::Error::other("an event was refused"));
        }
    }
    Ok(())
}
