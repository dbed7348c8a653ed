//! Reactions: how many events a second a rule reacts to, seen from where its effect arrives.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    io,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use bytes::BytesMut;
use serde::Serialize;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{
    connection::{Exchange, whole_answer},
    marked::Mark,
    reader::scan,
    receiver::Receiver,
    server::Server,
};

const PUBLISHERS: u64 = 4;
const BATCH: u64 = 250;
const POLL: Duration = Duration::from_millis(2);

#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Where events are published, and on which topic.
    pub(crate) server: Server,
    pub(crate) events: u64,
    pub(crate) effect: Effect,
    /// What did not arrive by then is missing.
    pub(crate) within: Duration,
}

/// Where the effect of a rule arrives.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    /// As an event of this topic.
    Emitted(String),
    /// As a call.
    Called(SocketAddr),
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    events: u64,
    missing: u64,
    /// Effects that arrived more than once.
    repeated: u64,
    published_per_second: u64,
    /// From the first event that was published to the last effect.
    per_second: u64,
}

/// What has arrived.
#[derive(Debug, Default)]
struct Arrived {
    marks: RefCell<HashSet<(usize, u64)>>,
    repeated: Cell<u64>,
    last: Cell<Option<Instant>>,
}

impl Arrived {
    fn take(&self, mark: Mark) {
        if self
            .marks
            .borrow_mut()
            .insert((mark.publisher, mark.number))
        {
            self.last.set(Some(Instant::now()));
        } else {
            self.repeated.set(self.repeated.get() + 1);
        }
    }

    fn count(&self) -> u64 {
        self.marks.borrow().len() as u64
    }
}

pub(crate) async fn run(options: &Options) -> io::Result<Report> {
    let arrived = Rc::new(Arrived::default());
    let arriving = arriving(options, arrived.clone()).await?;
    let events = whole_batches(options.events);
    let begun = Instant::now();
    publish_all(&options.server, events).await?;
    let published_in = begun.elapsed();
    while arrived.count() < events && begun.elapsed() < options.within {
        sleep(POLL).await;
    }
    arriving.abort();
    let done = arrived.last.get().unwrap_or(begun);
    Ok(Report {
        events,
        missing: events - arrived.count(),
        repeated: arrived.repeated.get(),
        published_per_second: rate(events, published_in),
        per_second: rate(arrived.count(), done.duration_since(begun)),
    })
}

async fn arriving(options: &Options, arrived: Rc<Arrived>) -> io::Result<JoinHandle<()>> {
    Ok(match &options.effect {
        Effect::Called(address) => Receiver::bind(*address).await?.serve(move |mark| {
            arrived.take(mark);
            true
        }),
        Effect::Emitted(topic) => {
            let (stream, begun) = options.server.on(topic).subscribe(0, None).await?;
            tokio::task::spawn_local(async move {
                // A connection that ends early leaves effects missing.
                let _ = scan(stream, &begun, |_| {}, |mark| arrived.take(mark)).await;
            })
        }
    })
}

/// As many events as whole batches of every publisher make.
pub(crate) fn whole_batches(events: u64) -> u64 {
    events.next_multiple_of(PUBLISHERS * BATCH)
}

/// Publishes so many events in batches, each once, and returns when they are acknowledged.
pub(crate) async fn publish_all(server: &Server, events: u64) -> io::Result<()> {
    let publishing: Vec<_> = (0..PUBLISHERS)
        .map(|index| {
            let server = server.clone();
            tokio::task::spawn_local(publish(server, index, events / PUBLISHERS))
        })
        .collect();
    for publisher in publishing {
        publisher.await.map_err(io::Error::other)??;
    }
    Ok(())
}

async fn publish(server: Server, index: u64, events: u64) -> io::Result<()> {
    let (index, batch) = (index as usize, BATCH as usize);
    let mut publisher = server.publisher(index, batch);
    let mut stream = TcpStream::connect(server.address).await?;
    stream.set_nodelay(true)?;
    let mut received = BytesMut::with_capacity(4 << 10);
    while publisher.next() < events {
        stream.write_all(publisher.request()).await?;
        if !whole_answer(&mut stream, &publisher, &mut received).await? {
            return Err(io::Error::other("a batch was refused"));
        }
    }
    Ok(())
}

pub(crate) fn rate(count: u64, took: Duration) -> u64 {
    (count as f64 / took.as_secs_f64().max(1e-6)) as u64
}
