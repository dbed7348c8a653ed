//! Measures fan-out: one log in memory, many sockets over loopback in this process, batches of events.
//!
//! `cargo run --release -p nexus-ws --example fanout -- [readers] [batches] [events a batch]`

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use nexus_auth::{Auth, AuthOptions, Secret};
use nexus_core::{Catalogue, Clock, Command, NewEvent, Nexus, Principal, ProtocolEvent};
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

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let readers = arguments.next().transpose()?.unwrap_or(1_000);
    let batches = arguments.next().transpose()?.unwrap_or(200);
    let events = arguments.next().transpose()?.unwrap_or(256);

    let nexus = Nexus::in_memory().await?;
    let options = AuthOptions {
        default_secrets: vec![Secret::new(SECRET).into()],
        ..AuthOptions::default()
    };
    let auth = Auth::new(&options, &Catalogue::known(), Clock::System)
        .map_err(|errors| format!("{errors:?}"))?;
    let ws_options = WsOptions {
        // The sockets here do not answer pings.
        ping: Duration::from_secs(3_600),
        ..WsOptions::default()
    };
    let edge = Edge::new(nexus.log().clone(), auth, ws_options);
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
    for _ in 0..readers {
        sockets.push(open(address).await?);
    }
    let socket_bytes = private_bytes().saturating_sub(before_bytes) / readers.max(1);
    for socket in sockets {
        tokio::spawn(count(socket, received.clone()));
    }

    let event_type = nexus
        .log()
        .catalogue()
        .known_type(ProtocolEvent::PaymentReceived);
    let batch_deliveries = (events * readers) as u64;
    let began = Instant::now();
    for batch in 1..=batches as u64 {
        let events = (0..events).map(|_| NewEvent::new(event_type.clone(), PAYLOAD));
        let command = Command {
            events: events.collect(),
            ..Command::default()
        };
        nexus.log().submit(&Principal::nexus(), command).await?;
        // A few batches ahead at most: what is measured is delivery, not how much can wait.
        wait_for(
            &received,
            (batch * batch_deliveries).saturating_sub(4 * batch_deliveries),
        )
        .await;
    }
    let deliveries = batches as u64 * batch_deliveries;
    wait_for(&received, deliveries).await;
    let seconds = began.elapsed().as_secs_f64();
    println!("{readers} readers, {batches} batches of {events}");
    println!("{:.2} M deliveries/s", deliveries as f64 / seconds / 1e6);
    println!(
        "{} segments encoded, {} pages read",
        edge.encodings(),
        edge.pages()
    );
    println!("{socket_bytes} private bytes a subscribed, idle socket, both ends of it");
    shutdown.cancel();
    running.await?;
    Ok(())
}

async fn wait_for(received: &AtomicU64, wanted: u64) {
    while received.load(Ordering::Relaxed) < wanted {
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
}

/// Opens a socket by hand: a client library would cost more than what is measured.
async fn open(address: std::net::SocketAddr) -> Result<TcpStream, AnyError> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Authorization: Bearer {SECRET}\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await?;
    let mut answer = [0; 1_024];
    let mut read = 0;
    while !answer[..read].ends_with(b"\r\n\r\n") {
        read += socket.read(&mut answer[read..]).await?;
    }
    let subscribe = br#"{"action":"subscribe","events":["PAYMENT_RECEIVED"]}"#;
    // A text frame with a mask of zeros.
    let length = u8::try_from(subscribe.len())?;
    socket.write_all(&[0x81, 0x80 | length, 0, 0, 0, 0]).await?;
    socket.write_all(subscribe).await?;
    let mut header = [0; 4];
    socket.read_exact(&mut header).await?;
    let body_bytes = if header[1] == 126 {
        usize::from(u16::from_be_bytes([header[2], header[3]]))
    } else {
        usize::from(header[1]) - 2
    };
    let mut body = vec![0; body_bytes];
    socket.read_exact(&mut body).await?;
    if !body.windows(12).any(|part| part == b"\"subscribed\"") {
        return Err("the subscription was refused".into());
    }
    Ok(socket)
}

/// Counts frames by walking their headers.
async fn count(mut socket: TcpStream, received: Arc<AtomicU64>) {
    let mut buffer = vec![0; 64 << 10];
    let mut filled = 0;
    // Bytes of the frame that is open, still to come.
    let mut left = 0;
    while let Ok(read @ 1..) = socket.read(&mut buffer[filled..]).await {
        filled += read;
        let mut at = 0;
        let mut frames = 0;
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
