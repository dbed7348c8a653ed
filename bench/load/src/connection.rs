//! One connection of the closed loop: send, wait for the whole answer, count it, again.

use std::{cell::RefCell, io, net::SocketAddr, rc::Rc};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout_at},
};

use crate::tally::Tally;

/// A connection that broke this often is not opened again.
const BREAKS_MAX: u32 = 100;
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// When what is measured begins and ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) measured_from: Instant,
    pub(crate) measured_until: Instant,
    /// An answer that is not there by then is an error.
    pub(crate) given_up_at: Instant,
}

/// A protocol: how a request is written, and where its answer ends.
pub(crate) trait Exchange {
    /// What goes before the first request of a connection.
    fn greeting(&self) -> &'static [u8] {
        b""
    }
    /// The bytes of the next request.
    fn request(&mut self) -> &[u8];
    /// Reads an answer that may not be whole yet.
    fn answer(&self, received: &[u8]) -> Answer;
}

/// What the bytes received so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// More bytes are needed.
    Partial,
    /// One whole answer.
    Whole {
        /// How many bytes it has.
        bytes: usize,
        /// Whether the request succeeded.
        ok: bool,
    },
    /// Not an answer of this protocol.
    Broken,
}

/// Runs until the window ends; a broken connection is an error and is opened again.
pub(crate) async fn run<E: Exchange>(
    address: SocketAddr,
    mut exchange: E,
    window: Window,
    tally: Rc<RefCell<Tally>>,
) {
    for _ in 0..BREAKS_MAX {
        let exchanges = exchange_until(address, &mut exchange, window, &tally);
        match timeout_at(window.given_up_at, exchanges).await {
            Ok(Ok(())) => return,
            Ok(Err(_)) => tally.borrow_mut().failed(),
            Err(_) => {
                tally.borrow_mut().failed();
                return;
            }
        }
    }
}

async fn exchange_until<E: Exchange>(
    address: SocketAddr,
    exchange: &mut E,
    window: Window,
    tally: &RefCell<Tally>,
) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(exchange.greeting()).await?;
    let mut received = BytesMut::with_capacity(4 * 1024);
    loop {
        let sent_at = Instant::now();
        if sent_at >= window.measured_until {
            return Ok(());
        }
        stream.write_all(exchange.request()).await?;
        let ok = whole_answer(&mut stream, exchange, &mut received).await?;
        if sent_at >= window.measured_from {
            let mut tally = tally.borrow_mut();
            if ok {
                tally.answered(sent_at.elapsed());
            } else {
                tally.failed();
            }
        }
    }
}

/// Reads the answer to one request, and says whether it succeeded.
pub(crate) async fn whole_answer<E: Exchange>(
    stream: &mut TcpStream,
    exchange: &E,
    received: &mut BytesMut,
) -> io::Result<bool> {
    loop {
        match exchange.answer(received) {
            Answer::Whole { bytes, ok } => {
                received.advance(bytes);
                return Ok(ok);
            }
            Answer::Broken => return Err(io::ErrorKind::InvalidData.into()),
            Answer::Partial if received.len() >= ANSWER_BYTES_MAX => {
                return Err(io::ErrorKind::InvalidData.into());
            }
            Answer::Partial => {}
        }
        if stream.read_buf(received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
