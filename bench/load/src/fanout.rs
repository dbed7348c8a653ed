//! Fan-out: batches to many readers, as fast as the slowest of them takes them.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::Duration,
};

use bytes::BytesMut;
use serde::Serialize;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::Notify,
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::{
    connection::{Exchange, whole_answer},
    reader::{Progress, Sink, scan},
    server::Server,
};

/// Publishing waits when the slowest reader is more than this many events behind, or four batches.
const EVENTS_AHEAD_MAX: u64 = 1_024;
/// Connections that publish, one batch in flight on each.
const PUBLISHERS: usize = 4;
/// How long the readers may take for what was on its way at the end.
const DRAIN: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) server: Server,
    pub(crate) readers: usize,
    pub(crate) batch: usize,
    pub(crate) duration: Duration,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    events: u64,
    deliveries: u64,
    events_per_second: u64,
    deliveries_per_second: u64,
    /// Bytes that a reader got for one event, frames included.
    bytes_per_delivery: f64,
}

/// What all tasks share.
struct Shared {
    readers: Vec<Progress>,
    topics: usize,
    published: Cell<u64>,
    answered: Cell<u64>,
    stop: Cell<bool>,
    moved: Notify,
    failure: RefCell<Option<io::Error>>,
}

impl Shared {
    fn fail(&self, error: io::Error) {
        self.failure.borrow_mut().get_or_insert(error);
        self.stop.set(true);
        self.moved.notify_waiters();
    }

    fn moved(&self, reader: usize, bytes: usize) {
        self.readers[reader].add_bytes(bytes);
        self.moved.notify_waiters();
    }

    /// The first reader looks at events. With several topics all do: a reader that is told of positions
    /// between its events gets other bytes than its neighbours.
    fn looks(&self, reader: usize) -> bool {
        reader == 0 || self.topics > 1
    }

    /// How many events the slowest reader has still to get. One that counts bytes is compared with the
    /// first.
    fn behind(&self) -> u64 {
        let topics = self.topics as u64;
        let first = &self.readers[0];
        let event_bytes = first.bytes.get() / first.events.get().max(1);
        let lag = |(index, reader): (usize, &Progress)| {
            if self.looks(index) {
                let wanted = self.published.get() / topics;
                wanted.saturating_sub(reader.events.get()) * topics
            } else {
                let missing = first.bytes.get().saturating_sub(reader.bytes.get());
                missing / event_bytes.max(1)
            }
        };
        self.readers.iter().enumerate().map(lag).max().unwrap_or(0)
    }

    fn is_drained(&self) -> bool {
        let first = &self.readers[0];
        let looked: u64 = self.readers.iter().map(|reader| reader.events.get()).sum();
        if self.topics > 1 {
            // Every event goes to the readers of its topic, which are equally many.
            return looked == self.answered.get() * (self.readers.len() / self.topics) as u64;
        }
        let same = |reader: &Progress| reader.bytes.get() == first.bytes.get();
        looked == self.answered.get() && self.readers.iter().all(same)
    }
}

pub(crate) async fn run(options: &Options) -> io::Result<Report> {
    let topics = options.server.topics.min(options.readers);
    let server = Server {
        topics,
        ..options.server.clone()
    };
    let shared = Rc::new(Shared {
        readers: (0..options.readers).map(|_| Progress::default()).collect(),
        topics,
        published: Cell::new(0),
        answered: Cell::new(0),
        stop: Cell::new(false),
        moved: Notify::new(),
        failure: RefCell::new(None),
    });
    let sink = Sink::new();
    let mut reading = Vec::with_capacity(options.readers);
    for index in 0..options.readers {
        let (stream, begun) = server.subscribe(index % topics, None).await?;
        reading.push(spawn_reader(index, stream, begun, &shared, &sink));
    }
    // What came with the confirmations is no delivery, and need not be the same for all.
    tokio::time::sleep(Duration::from_millis(200)).await;
    for reader in &shared.readers {
        reader.bytes.set(0);
    }

    let started = Instant::now();
    let until = started + options.duration;
    let publishing: Vec<_> = (0..PUBLISHERS)
        .map(|index| {
            tokio::task::spawn_local(publish(
                shared.clone(),
                server.clone(),
                index,
                options.batch,
                until,
            ))
        })
        .collect();
    for publisher in publishing {
        publisher.await.map_err(io::Error::other)?;
    }
    let drained = async {
        while !shared.is_drained() && !shared.stop.get() {
            shared.moved.notified().await;
        }
    };
    let drained = timeout(DRAIN, drained).await;
    let took = started.elapsed();
    reading.iter().for_each(JoinHandle::abort);
    if let Some(failure) = shared.failure.take() {
        return Err(failure);
    }
    if drained.is_err() {
        return Err(io::Error::other("some readers did not get everything"));
    }
    Ok(report(&shared, options, took))
}

fn report(shared: &Shared, options: &Options, took: Duration) -> Report {
    let events = shared.answered.get();
    let readers_of_one = options.readers as f64 / shared.topics as f64;
    let deliveries = events as f64 * readers_of_one;
    let bytes: u64 = shared.readers.iter().map(|reader| reader.bytes.get()).sum();
    Report {
        events,
        deliveries: deliveries as u64,
        events_per_second: (events as f64 / took.as_secs_f64()) as u64,
        deliveries_per_second: (deliveries / took.as_secs_f64()) as u64,
        bytes_per_delivery: bytes as f64 / deliveries.max(1.0),
    }
}

fn spawn_reader(
    index: usize,
    stream: TcpStream,
    begun: Vec<u8>,
    shared: &Rc<Shared>,
    sink: &Sink,
) -> JoinHandle<()> {
    let (shared, sink) = (shared.clone(), sink.clone());
    tokio::task::spawn_local(async move {
        let result = if shared.looks(index) {
            let mut last = [None; PUBLISHERS];
            scan(
                stream,
                &begun,
                |bytes| shared.moved(index, bytes),
                |mark| {
                    let Some(last) = last.get_mut(mark.publisher) else {
                        return;
                    };
                    // In the order of their publisher, and none twice.
                    if last.is_some_and(|last| last >= mark.number) {
                        let what = format!("event {} came after {last:?}", mark.number);
                        shared.fail(io::Error::other(what));
                    }
                    *last = Some(mark.number);
                    let events = &shared.readers[index].events;
                    events.set(events.get() + 1);
                },
            )
            .await
        } else {
            sink.discard(stream, begun.len(), |bytes| shared.moved(index, bytes))
                .await
        };
        if let Err(error) = result {
            shared.fail(io::Error::new(
                error.kind(),
                format!("reader {index}: {error}"),
            ));
        }
    })
}

async fn publish(shared: Rc<Shared>, server: Server, index: usize, batch: usize, until: Instant) {
    if let Err(error) = publish_until(&shared, &server, index, batch, until).await {
        shared.fail(io::Error::new(
            error.kind(),
            format!("publisher {index}: {error}"),
        ));
    }
}

async fn publish_until(
    shared: &Shared,
    server: &Server,
    index: usize,
    batch: usize,
    until: Instant,
) -> io::Result<()> {
    let mut publisher = server.publisher(index, batch);
    let mut stream = TcpStream::connect(server.address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(publisher.greeting()).await?;
    let mut received = BytesMut::with_capacity(4 << 10);
    let ahead_max = EVENTS_AHEAD_MAX.max(4 * batch as u64);
    while Instant::now() < until && !shared.stop.get() {
        let moved = shared.moved.notified();
        if shared.behind() > ahead_max {
            // Not for ever: readers may all have moved in between.
            let _ = timeout(Duration::from_millis(5), moved).await;
            continue;
        }
        shared.published.set(shared.published.get() + batch as u64);
        stream.write_all(publisher.request()).await?;
        if !whole_answer(&mut stream, &publisher, &mut received).await? {
            return Err(io::Error::other("a batch was refused"));
        }
        shared.answered.set(shared.answered.get() + batch as u64);
    }
    Ok(())
}
