//! Measures fan-out: one log in memory, many sockets over loopback in this process, batches of events.
//!
//! `cargo run --release -p nexus-ws --example fanout -- [readers] [batches] [events a batch] [format] [patterns]`
//!
//! The format is `neo`, `v1`, `batch` or `filter` (v1, and each reader has a filter that nobody shares). With
//! more than one pattern the readers are spread over so many, and each batch is for one of them in turn.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use nexus_auth::{Auth, AuthOptions, Secret};
use nexus_core::{Catalogue, Clock, Command, Log, LogOptions, Memory, NewEvent, Principal, Random};
use nexus_http::{Server, ServerOptions};
use nexus_ws::{Edge, WsOptions};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

const SECRET: &str = "a-secret-of-at-least-32-characters";
const PAYLOAD: &str = r#"{"transactionId":"tx-1234567","amount":1250,"payerId":"payer-7"}"#;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Neo,
    V1,
    Batch,
    Filter,
}

struct Work {
    readers: usize,
    batches: usize,
    events: usize,
    form: Form,
    patterns: usize,
}

fn arguments() -> Result<Work, AnyError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default| match arguments.get(place) {
        Some(text) => text.parse::<usize>(),
        None => Ok(default),
    };
    Ok(Work {
        readers: number(0, 1_000)?,
        batches: number(1, 200)?,
        events: number(2, 256)?,
        form: match arguments.get(3).map(String::as_str) {
            None | Some("neo") => Form::Neo,
            Some("v1") => Form::V1,
            Some("batch") => Form::Batch,
            Some("filter") => Form::Filter,
            Some(other) => return Err(format!("there is no format {other}").into()),
        },
        patterns: number(4, 1)?.max(1),
    })
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let work = arguments()?;
    let random = Random::system();
    let memory = Memory::new(&random);
    let catalogue = Catalogue::new(Vec::new(), true)?;
    let options = LogOptions::default();
    let (log, service) = Log::open(
        memory.clone(),
        memory,
        catalogue,
        options,
        Clock::System,
        random,
    )
    .await?;
    tokio::spawn(service.run());
    let options = AuthOptions {
        default_secrets: vec![Secret::new(SECRET).into()],
        ..AuthOptions::default()
    };
    let auth = Auth::new(&options, &log.catalogue(), Clock::System)
        .map_err(|errors| format!("{errors:?}"))?;
    let ws_options = WsOptions {
        // The sockets here do not answer pings.
        ping: Duration::from_secs(3_600),
        ..WsOptions::default()
    };
    let edge = Edge::new(log.clone(), auth, ws_options);
    let server_options = ServerOptions {
        anonymous_rate: None,
        connections_per_address_max: 0,
        ..ServerOptions::default()
    };
    let address = ([127, 0, 0, 1], 0).into();
    let server = Server::bind(address, edge.routes(), server_options).await?;
    let address = server.local_addr();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(server.run(shutdown.clone()));

    let before_bytes = private_bytes();
    let received = Arc::new(AtomicU64::new(0));
    let mut sockets = Vec::new();
    let opening = Instant::now();
    for reader in 0..work.readers {
        sockets.push(open(address, &work, reader).await?);
    }
    let opened_ms = opening.elapsed().as_millis();
    let socket_bytes = private_bytes().saturating_sub(before_bytes) / work.readers.max(1);
    for socket in sockets {
        tokio::spawn(count(socket, received.clone(), work.form));
    }
    let seconds = publish(&work, &log, &received).await?;
    let deliveries = (work.batches * work.events * work.readers) as f64 / work.patterns as f64;
    println!(
        "{} readers of {} groups, {} batches of {}",
        work.readers,
        edge.groups(),
        work.batches,
        work.events
    );
    println!("{:.2} M deliveries/s", deliveries / seconds / 1e6);
    println!(
        "{} segments encoded, {} pages read",
        edge.encodings(),
        edge.pages()
    );
    println!("{opened_ms} ms to open all");
    println!("{socket_bytes} private bytes a subscribed, idle socket, both ends of it");
    shutdown.cancel();
    running.await?;
    Ok(())
}

/// Publishes the batches, a few ahead of the readers; says how many seconds that took.
async fn publish(work: &Work, log: &Log, received: &AtomicU64) -> Result<f64, AnyError> {
    let catalogue = log.catalogue();
    let mut expected = 0_u64;
    let mut sent = std::collections::VecDeque::new();
    let began = Instant::now();
    for batch in 0..work.batches {
        let pattern = batch % work.patterns;
        let event_type = catalogue.resolve(&topic(pattern))?.event_type;
        let events = (0..work.events).map(|_| NewEvent::new(event_type.clone(), PAYLOAD));
        let command = Command {
            events: events.collect(),
            ..Command::default()
        };
        log.submit(&Principal::nexus(), command).await?;
        // Readers are dealt out over the patterns in turn.
        let readers = (work.readers + work.patterns - 1 - pattern) / work.patterns;
        expected += (readers * work.events) as u64;
        sent.push_back(expected);
        // What is measured is delivery, not how much can wait.
        if sent.len() > 4
            && let Some(earlier) = sent.pop_front()
        {
            wait_for(received, earlier).await;
        }
    }
    wait_for(received, expected).await;
    Ok(began.elapsed().as_secs_f64())
}

async fn wait_for(received: &AtomicU64, wanted: u64) {
    while received.load(Ordering::Relaxed) < wanted {
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
}

fn topic(pattern: usize) -> String {
    format!("bench.t{pattern}")
}

/// Opens a socket by hand: a client library would cost more than what is measured.
async fn open(address: SocketAddr, work: &Work, reader: usize) -> Result<TcpStream, AnyError> {
    let topic = topic(reader % work.patterns);
    let (path, subscribe) = match work.form {
        Form::Neo => (
            "/ws",
            format!(r#"{{"action":"subscribe","events":["{topic}"]}}"#),
        ),
        Form::V1 => ("/api/v1/stream", v1_subscribe(&topic, "")),
        Form::Batch => ("/api/v1/stream", v1_subscribe(&topic, r#","batch":true"#)),
        Form::Filter => {
            let filter = format!(r#","filter":"payload.amount > {}""#, reader % 1_000);
            ("/api/v1/stream", v1_subscribe(&topic, &filter))
        }
    };
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Authorization: Bearer {SECRET}\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    // A text frame with a mask of zeros.
    let length = u8::try_from(subscribe.len())?;
    if length < 126 {
        socket.write_all(&[0x81, 0x80 | length, 0, 0, 0, 0]).await?;
    } else {
        let header = [0x81, 0x80 | 126, 0, length, 0, 0, 0, 0];
        socket.write_all(&header).await?;
    }
    socket.write_all(subscribe.as_bytes()).await?;
    loop {
        let frame = read_frame(&mut socket).await?;
        if frame.contains("\"subscribed\"") {
            return Ok(socket);
        }
        if frame.contains("\"error\"") {
            return Err(frame.into());
        }
    }
}

fn v1_subscribe(topic: &str, more: &str) -> String {
    format!(r#"{{"type":"subscribe","id":"a","patterns":["{topic}"]{more}}}"#)
}

async fn read_frame(socket: &mut TcpStream) -> Result<String, AnyError> {
    let mut header = [0; 2];
    socket.read_exact(&mut header).await?;
    let body_bytes = match header[1] {
        126 => usize::from(socket.read_u16().await?),
        127 => usize::try_from(socket.read_u64().await?)?,
        short => usize::from(short),
    };
    let mut body = vec![0; body_bytes];
    socket.read_exact(&mut body).await?;
    Ok(String::from_utf8(body)?)
}

/// Counts events: frames by walking their headers, and in a batch what every event has once.
async fn count(mut socket: TcpStream, received: Arc<AtomicU64>, form: Form) {
    const MARK: &[u8] = b"\"type\":\"event\"";
    let mut buffer = vec![0; 64 << 10];
    let mut filled = 0;
    // Bytes of the frame that is open, still to come.
    let mut left = 0_usize;
    while let Ok(read @ 1..) = socket.read(&mut buffer[filled..]).await {
        filled += read;
        let mut frames = 0;
        if form == Form::Batch {
            let events = buffer[..filled]
                .windows(MARK.len())
                .filter(|window| *window == MARK);
            received.fetch_add(events.count() as u64, Ordering::Relaxed);
            let kept = filled.min(MARK.len() - 1);
            buffer.copy_within(filled - kept..filled, 0);
            filled = kept;
            continue;
        }
        let mut at = 0;
        loop {
            let skipped = left.min(filled - at);
            at += skipped;
            left -= skipped;
            if left > 0 || filled - at < 4 {
                break;
            }
            frames += u64::from(buffer[at] == 0x81);
            left = match buffer[at + 1] {
                126 => 4 + usize::from(u16::from_be_bytes([buffer[at + 2], buffer[at + 3]])),
                short => 2 + usize::from(short),
            };
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
        received.fetch_add(frames, Ordering::Relaxed);
    }
}

/// What this process has for itself, as the kernel counts it.
fn private_bytes() -> usize {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    let kib = private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    kib.sum::<usize>() * 1_024
}
