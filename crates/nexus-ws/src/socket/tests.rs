//! What a connection takes of a client that is being sent away.

use std::{collections::VecDeque, io};

use nexus_auth::{Auth, AuthOptions};
use nexus_core::{Catalogue, Clock, Log, LogOptions, Memory, Random};
use tokio::io::ReadBuf;

use super::*;
use crate::{
    Edge, WsOptions,
    publishing::Origin,
    v1::{Stranger, V1},
};

const LONG: Duration = Duration::from_secs(3_600);
/// The bytes of a message that is too long for a stranger.
const MUCH: u16 = 60_000;

/// A socket that gives one piece each time it is asked, and takes everything.
#[derive(Default)]
struct Pieces {
    to_read: VecDeque<Vec<u8>>,
    written: Vec<u8>,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(piece) = self.to_read.pop_front() else {
            return Poll::Pending;
        };
        buffer.put_slice(&piece);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The beginning of a text frame of a client with a mask of zeros.
fn text_header(bytes: u16) -> Vec<u8> {
    let [high, low] = bytes.to_be_bytes();
    vec![0x81, 0xfe, high, low, 0, 0, 0, 0]
}

async fn edge() -> Edge {
    let random = Random::seeded(1);
    let memory = Memory::new(&random);
    let catalogue = Catalogue::known();
    let auth = Auth::new(&AuthOptions::default(), &catalogue, Clock::System).unwrap();
    let opened = Log::open(
        memory.clone(),
        memory,
        catalogue,
        LogOptions::default(),
        Clock::System,
        random,
    );
    let (log, service) = opened.await.unwrap();
    tokio::spawn(service.run());
    // Nothing is due while the test runs, however long that takes.
    let options = WsOptions {
        close: LONG,
        ping: LONG,
        ..WsOptions::default()
    };
    Edge::new(log, auth, options)
}

/// A connection whose client has still to say who it is.
fn stranger(edge: &Edge) -> Connection<Pieces, V1> {
    let shared = edge.0.shared.clone();
    let place = shared.strangers.clone().try_acquire_owned().unwrap();
    let now = Instant::now();
    let stranger = Stranger {
        _place: place,
        until: now + LONG,
    };
    let origin = Origin {
        request_id: "request".into(),
        remote: "127.0.0.1".into(),
        traceparent: None,
    };
    let options = &shared.options;
    Connection {
        socket: Pieces::default(),
        inbound: Inbound::new(
            options.v1_message_bytes_max,
            options.stranger_message_bytes_max,
        ),
        rate: MessageRate::new(0, now),
        heartbeat: Heartbeat::new(options.ping, options.pong, now),
        face: V1::new(shared.clone(), origin, None, Some(stranger)),
        link: Link::new(edge.seat(), None),
        closing: None,
        client_done: false,
        gave_back: false,
        waiting: 0,
    }
}

/// The server hears of a message of 60,000 bytes in the piece in which it refuses the one before, and takes
/// nothing of it, nor of those that follow, until the client takes leave.
#[tokio::test]
async fn a_stranger_that_was_refused_makes_nothing_be_held() {
    let edge = edge().await;
    let mut connection = stranger(&edge);
    let refused = br#"{"type":"ping"}"#;
    let length = u8::try_from(refused.len()).unwrap();
    let mut first = vec![0x81, 0x80 | length, 0, 0, 0, 0];
    first.extend_from_slice(refused);
    first.extend(text_header(MUCH));
    let began = 1_000;
    first.resize(first.len() + began, b'x');
    let mut pieces = VecDeque::from([first]);
    let mut rest = vec![b'x'; usize::from(MUCH) - began];
    rest.extend(text_header(MUCH));
    rest.resize(rest.len() + usize::from(MUCH), b'x');
    pieces.extend(rest.chunks(4_096).map(<[u8]>::to_vec));

    let draining = CancellationToken::new();
    let mut drained = pin!(draining.cancelled());
    let mut timer = pin!(sleep_until(Instant::now()));
    let mut context = Context::from_waker(std::task::Waker::noop());
    let mut poll = |connection: &mut Connection<Pieces, V1>| {
        connection.poll(&mut context, drained.as_mut(), timer.as_mut())
    };
    let mut came = 0;
    for piece in pieces {
        came += piece.len();
        connection.socket.to_read.push_back(piece);
        assert_eq!(poll(&mut connection), Poll::Pending);
        assert!(connection.socket.to_read.is_empty(), "it is read");
    }
    assert!(connection.closing.is_some(), "it was refused");
    let taken = connection.inbound.passed_bytes;
    let stranger_max = edge.0.shared.options.stranger_message_bytes_max;
    assert!(came > 100_000);
    assert!(taken <= stranger_max, "{taken} bytes of {came} were taken");
    // Its leave is heard all the same.
    let leave = vec![0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
    connection.socket.to_read.push_back(leave);
    assert_eq!(poll(&mut connection), Poll::Ready(()));
    let code = 4500_u16.to_be_bytes();
    let is_close = |bytes: &[u8]| bytes[0] == 0x88 && bytes[2..] == code;
    assert!(connection.socket.written.windows(4).any(is_close));
}
