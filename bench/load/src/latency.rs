//! Latency: events at a fixed rate, and how long each takes to its readers.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use bytes::BytesMut;
use hdrhistogram::Histogram;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use serde::Serialize;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use crate::{
    connection::{Exchange, whole_answer},
    marked::Mark,
    reactions::{publish_all as publish_backlog, rate, whole_batches},
    reader::{Sink, scan},
    receiver::Receiver,
    redis,
    server::{Kind, Server},
};

/// Connections that publish in turn, so that one slow answer does not hold up the next event.
const PUBLISHERS: u64 = 8;
/// How long deliveries may take after the last event.
const DRAIN: Duration = Duration::from_secs(5);
const LATENCY_US_MAX: u64 = 60_000_000;
/// How long a backlog may take to be drained behind the last event.
const BACKLOG_DRAIN: Duration = Duration::from_secs(120);
/// How long the receiver goes on failing poison behind the last event: it would else seem to be gone.
const POISON_SETTLES: Duration = Duration::from_secs(2);
/// The publisher of what is timed. Publishers of a backlog, and of other runs, count from zero, too.
const OWN: usize = 9_999;
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
    /// Calls of rules arrive here; those about this run's events are timed as deliveries are.
    pub(crate) receiver: Option<SocketAddr>,
    /// The receiver fails every so many-th event, which is not timed.
    pub(crate) poison_every: Option<u64>,
    /// Published before the run, for a rule that calls the receiver about it.
    pub(crate) backlog: Option<Backlog>,
    pub(crate) events_per_second: u64,
    pub(crate) warmup: Duration,
    pub(crate) duration: Duration,
}

/// Events that a rule has before it when the run begins.
#[derive(Debug, Clone)]
pub(crate) struct Backlog {
    pub(crate) topic: String,
    pub(crate) events: u64,
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
    /// How many events of the backlog were drained a second, while there was any and this run went on.
    backlog_per_second: Option<u64>,
    /// How many of them never were.
    backlog_missing: u64,
}

struct Shared {
    server: Server,
    started: Cell<Instant>,
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
    /// Calls about events of the backlog, and when the last came.
    drained: Cell<(u64, Option<Instant>)>,
    poison_every: Option<u64>,
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
        started: Cell::new(Instant::now()),
        interval,
        first,
        sent: RefCell::new(vec![None; usize::try_from(last).map_err(io::Error::other)?]),
        latencies_us: RefCell::new(
            Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).map_err(io::Error::other)?,
        ),
        deliveries: Cell::new(0),
        behind: Cell::new(0),
        caught_up: Cell::new(None),
        drained: Cell::new((0, None)),
        poison_every: options.poison_every,
        failure: RefCell::new(None),
    });
    if let Some(address) = options.receiver {
        let (receiver, shared) = (Receiver::bind(address).await?, shared.clone());
        reading.push(receiver.serve(move |mark| shared.called(mark)));
    }
    for (stream, begun) in streams {
        reading.push(read(shared.clone(), stream, begun));
    }
    if let Some((stream, begun)) = behind {
        reading.push(catch_up(shared.clone(), stream, begun));
    }
    let backlog_events = match &options.backlog {
        Some(backlog) => {
            let events = whole_batches(backlog.events);
            publish_backlog(&options.server.on(&backlog.topic), events).await?;
            events
        }
        None => 0,
    };
    let drained_before = shared.drained.get().0;
    shared
        .started
        .set(Instant::now() + Duration::from_millis(50));
    let publishing: Vec<_> = (0..PUBLISHERS)
        .map(|index| tokio::task::spawn_local(publish(shared.clone(), index, last)))
        .collect();
    for publisher in publishing {
        publisher.await.map_err(io::Error::other)?;
    }
    let taken_per_second = last as f64 / shared.started.get().elapsed().as_secs_f64();
    let drained_per_second = options
        .backlog
        .as_ref()
        .map(|_| shared.drained_per_second(drained_before));
    let wanted = wanted(options, first, last);
    let deadline = Instant::now() + DRAIN;
    let is_behind = || options.behind && shared.caught_up.get().is_none();
    while (shared.deliveries.get() < wanted || is_behind()) && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let deadline = Instant::now() + BACKLOG_DRAIN;
    while shared.drained.get().0 < backlog_events && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    if options.poison_every.is_some() {
        tokio::time::sleep(POISON_SETTLES).await;
    }
    reading.iter().for_each(JoinHandle::abort);
    drop(stalled);
    if let Some(failure) = shared.failure.take() {
        return Err(failure);
    }
    Ok(Report {
        events: last - first,
        missing: wanted.saturating_sub(shared.deliveries.get()),
        taken_per_second: taken_per_second as u64,
        backlog_per_second: drained_per_second,
        backlog_missing: backlog_events.saturating_sub(shared.drained.get().0),
        ..report(&shared, options)
    })
}

/// How many deliveries and calls are timed in all.
fn wanted(options: &Options, first: u64, last: u64) -> u64 {
    let events = last - first;
    let poison = options.poison_every.map_or(0, |every| {
        (first..last)
            .filter(|number| number.is_multiple_of(every))
            .count() as u64
    });
    let calls = match (options.receiver, &options.backlog) {
        (Some(_), None) => events - poison,
        _ => 0,
    };
    events * options.readers as u64 + calls
}

fn report(shared: &Shared, options: &Options) -> Report {
    let latencies_us = shared.latencies_us.borrow();
    let caught_up = shared.caught_up.get();
    let behind_rate = caught_up.map(|(at, count)| {
        let seconds = at.duration_since(shared.started.get()).as_secs_f64();
        (count as f64 / seconds.max(0.001)) as u64
    });
    Report {
        events: 0,
        deliveries: shared.deliveries.get(),
        missing: 0,
        taken_per_second: 0,
        p50_us: latencies_us.value_at_quantile(0.50),
        p99_us: latencies_us.value_at_quantile(0.99),
        p999_us: latencies_us.value_at_quantile(0.999),
        max_us: latencies_us.max(),
        behind_events_per_second: behind_rate,
        behind_events: options.behind.then(|| shared.behind.get()),
        backlog_per_second: None,
        backlog_missing: 0,
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

    /// Takes a call of a rule; says whether it succeeds.
    fn called(&self, mark: Mark) -> bool {
        if mark.publisher != OWN {
            self.drained
                .set((self.drained.get().0 + 1, Some(Instant::now())));
            return true;
        }
        if self
            .poison_every
            .is_some_and(|every| mark.number.is_multiple_of(every))
        {
            return false;
        }
        self.delivered(mark);
        true
    }

    /// Since the run began, when so many were drained.
    fn drained_per_second(&self, before: u64) -> u64 {
        let (count, last) = self.drained.get();
        let took = last.map(|last| last.duration_since(self.started.get()));
        took.map_or(0, |took| rate(count - before, took))
    }
}

/// Reads near the head.
fn read(shared: Rc<Shared>, stream: TcpStream, begun: Vec<u8>) -> JoinHandle<()> {
    tokio::task::spawn_local(async move {
        let result = match shared.server.kind {
            Kind::Redis => redis::follow(stream, |mark| shared.delivered(mark)).await,
            _ => scan(stream, &begun, |_| {}, |mark| shared.delivered(mark)).await,
        };
        if let Err(error) = result {
            shared.fail("a reader", &error);
        }
    })
}

/// Reads the whole log, until it meets what this run publishes.
fn catch_up(shared: Rc<Shared>, stream: TcpStream, begun: Vec<u8>) -> JoinHandle<()> {
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
    let mut publisher = shared.server.publisher(OWN, 1).numbered(index, PUBLISHERS);
    let mut stream = TcpStream::connect(shared.server.address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(publisher.greeting()).await?;
    let mut received = BytesMut::with_capacity(4 << 10);
    while publisher.next() < last {
        let number = publisher.next();
        let nth = u32::try_from(number).map_err(io::Error::other)?;
        let due = shared.started.get() + shared.interval * nth;
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
