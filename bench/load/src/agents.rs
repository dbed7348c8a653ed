//! Sessions of agents: many are connected, each says something now and then, and all the others hear it.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use bytes::BytesMut;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Mutex,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    frame::{CLOSE, PING, PONG, TEXT, take_frames, write_frame},
    marked::{self, Mark},
    server::upgrade,
    watch::Watched,
};

const LATENCY_US_MAX: u64 = 60_000_000;
/// How long deliveries may take after the last event.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a server may take to settle when all are connected.
const SETTLE: Duration = Duration::from_secs(2);
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
const SUBSCRIBE: &str = r#"{"action":"subscribe","topics":["message.*"],"ref":"subscribe"}"#;
const SUBSCRIBED: &[u8] = br#""status":"subscribed""#;
const READ_BYTES: usize = 8 << 10;

#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) address: SocketAddr,
    pub(crate) sessions: usize,
    /// Of all sessions together.
    pub(crate) events_per_minute: u32,
    /// The server's process.
    pub(crate) process: u32,
    /// How long it is watched while nobody says anything.
    pub(crate) idle: Duration,
    pub(crate) warmup: Duration,
    pub(crate) duration: Duration,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    events: u64,
    deliveries: u64,
    missing: u64,
    p50_us: u64,
    p99_us: u64,
    max_us: u64,
    /// Of one core.
    idle_percent: f64,
    loaded_percent: f64,
    idle_kib: u64,
    /// The most that was seen.
    loaded_kib: u64,
}

/// The sending side of a session. Its reader answers pings while it says something.
type Writer = Rc<Mutex<OwnedWriteHalf>>;

struct Shared {
    /// How many sessions have subscribed.
    subscribed: Cell<usize>,
    /// Events before this one are warm-up.
    first: u64,
    /// When each event was sent.
    sent: RefCell<Vec<Option<Instant>>>,
    latencies_us: RefCell<Histogram<u64>>,
    deliveries: Cell<u64>,
    failure: RefCell<Option<io::Error>>,
}

pub(crate) async fn run(options: &Options) -> io::Result<Report> {
    let interval = Duration::from_secs(60) / options.events_per_minute;
    let count = |duration: Duration| -> io::Result<u32> {
        u32::try_from(duration.as_nanos() / interval.as_nanos()).map_err(io::Error::other)
    };
    let (first, last) = (
        count(options.warmup)?,
        count(options.warmup + options.duration)?,
    );
    let shared = Rc::new(Shared {
        subscribed: Cell::new(0),
        first: first.into(),
        sent: RefCell::new(vec![None; last as usize]),
        latencies_us: RefCell::new(
            Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).map_err(io::Error::other)?,
        ),
        deliveries: Cell::new(0),
        failure: RefCell::new(None),
    });
    let (writers, reading) = connect(&shared, options).await?;
    let watched = Watched(options.process);
    sleep(SETTLE).await;
    let before = watched.spent()?;
    sleep(options.idle).await;
    let idle_percent = watched.busy_percent_since(before)?;
    let idle_kib = watched.private_kib()?;

    let most_kib = Rc::new(Cell::new(idle_kib));
    let sampling = tokio::task::spawn_local(sample(watched, most_kib.clone()));
    let started = Instant::now() + Duration::from_millis(50);
    let mut before = watched.spent()?;
    for number in 0..last {
        sleep_until(started + interval * number).await;
        if number == first {
            before = watched.spent()?;
        }
        say(&shared, &writers, number.into()).await?;
    }
    let loaded_percent = watched.busy_percent_since(before)?;
    let events = u64::from(last - first);
    let wanted = events * (options.sessions as u64).saturating_sub(1);
    let deadline = Instant::now() + DRAIN;
    while shared.deliveries.get() < wanted && Instant::now() < deadline {
        sleep(Duration::from_millis(10)).await;
    }
    sampling.abort();
    reading.iter().for_each(JoinHandle::abort);
    if let Some(failure) = shared.failure.take() {
        return Err(failure);
    }
    let deliveries = shared.deliveries.get();
    if deliveries > wanted {
        let what = format!("{deliveries} deliveries where there should be {wanted}");
        return Err(io::Error::other(what));
    }
    let latencies_us = shared.latencies_us.borrow();
    Ok(Report {
        events,
        deliveries,
        missing: wanted - deliveries,
        p50_us: latencies_us.value_at_quantile(0.50),
        p99_us: latencies_us.value_at_quantile(0.99),
        max_us: latencies_us.max(),
        idle_percent,
        loaded_percent,
        idle_kib,
        loaded_kib: most_kib.get(),
    })
}

/// Connects every session, then subscribes every one: who comes is told to those who listen.
async fn connect(
    shared: &Rc<Shared>,
    options: &Options,
) -> io::Result<(Vec<Writer>, Vec<JoinHandle<()>>)> {
    let mut connected = Vec::with_capacity(options.sessions);
    for number in 0..options.sessions {
        let mut stream = TcpStream::connect(options.address).await?;
        stream.set_nodelay(true)?;
        let path = format!("/ws/session/session-{number}?role=Bench&capabilities=bench");
        upgrade(&mut stream, &path, "").await?;
        connected.push(stream);
    }
    let (mut writers, mut reading) = (Vec::new(), Vec::new());
    for mut stream in connected {
        let mut frame = Vec::new();
        write_frame(&mut frame, TEXT, SUBSCRIBE.as_bytes())?;
        stream.write_all(&frame).await?;
        let (reader, writer) = stream.into_split();
        let writer = Rc::new(Mutex::new(writer));
        writers.push(writer.clone());
        reading.push(tokio::task::spawn_local(listen(
            shared.clone(),
            reader,
            writer,
        )));
    }
    let deadline = Instant::now() + DRAIN;
    while shared.subscribed.get() < options.sessions {
        if Instant::now() >= deadline {
            return Err(io::Error::other("not every session could subscribe"));
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok((writers, reading))
}

/// Lets the next session say something.
async fn say(shared: &Shared, writers: &[Writer], number: u64) -> io::Result<()> {
    // Never more sessions than fit.
    let session = usize::try_from(number).unwrap_or(0) % writers.len();
    let mut text = br#"{"action":"publish","event_type":"message.broadcast","payload":"#.to_vec();
    let mark = Mark {
        publisher: session,
        number,
    };
    marked::write_message(&mut text, mark);
    text.push(b'}');
    let mut frame = Vec::with_capacity(text.len() + 8);
    write_frame(&mut frame, TEXT, &text)?;
    let mut writer = writers[session].lock().await;
    if let Ok(slot) = usize::try_from(number) {
        shared.sent.borrow_mut()[slot] = Some(Instant::now());
    }
    writer.write_all(&frame).await
}

async fn listen(shared: Rc<Shared>, reader: OwnedReadHalf, writer: Writer) {
    if let Err(error) = hear(&shared, reader, &writer).await {
        let error = io::Error::new(error.kind(), format!("a session: {error}"));
        shared.failure.borrow_mut().get_or_insert(error);
    }
}

async fn hear(shared: &Shared, mut reader: OwnedReadHalf, writer: &Writer) -> io::Result<()> {
    let mut received = BytesMut::new();
    let mut pongs = Vec::new();
    loop {
        received.reserve(READ_BYTES);
        if reader.read_buf(&mut received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let now = Instant::now();
        let mut is_closed = false;
        take_frames(&mut received, |opcode, payload| match opcode {
            TEXT => shared.heard(payload, now),
            PING => pongs.push(payload.to_vec()),
            CLOSE => is_closed = true,
            _ => {}
        })?;
        if is_closed {
            return Err(io::Error::other("the server closed it"));
        }
        for pong in pongs.drain(..) {
            let mut frame = Vec::new();
            write_frame(&mut frame, PONG, &pong)?;
            writer.lock().await.write_all(&frame).await?;
        }
    }
}

async fn sample(watched: Watched, most_kib: Rc<Cell<u64>>) {
    loop {
        if let Ok(kib) = watched.private_kib() {
            most_kib.set(most_kib.get().max(kib));
        }
        sleep(SAMPLE_EVERY).await;
    }
}

impl Shared {
    fn heard(&self, text: &[u8], now: Instant) {
        let Some(mark) = marked::find(text) else {
            if memchr::memmem::find(text, SUBSCRIBED).is_some() {
                self.subscribed.set(self.subscribed.get() + 1);
            }
            return;
        };
        if mark.number < self.first {
            return;
        }
        let sent = usize::try_from(mark.number)
            .ok()
            .and_then(|number| self.sent.borrow().get(number).copied().flatten());
        let Some(sent) = sent else { return };
        let took = now.duration_since(sent);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(LATENCY_US_MAX);
        self.latencies_us
            .borrow_mut()
            .saturating_record(took_us.max(1));
        self.deliveries.set(self.deliveries.get() + 1);
    }
}
