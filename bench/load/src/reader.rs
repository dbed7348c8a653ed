//! Readers: one that looks at every event, and one that only counts bytes, so that many cost little.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
};

use rustix::net::{RecvFlags, recv};
use tokio::{
    io::{AsyncReadExt, Interest},
    net::TcpStream,
};

use crate::marked::{Mark, Scanner};

const READ_BYTES: usize = 64 << 10;
/// How much is discarded at once.
const DISCARD_BYTES: usize = 1 << 20;

/// Reads everything and gives each mark, until the server ends the connection.
pub(crate) async fn scan(
    mut stream: TcpStream,
    begun: &[u8],
    mut received: impl FnMut(usize),
    mut found: impl FnMut(Mark),
) -> io::Result<()> {
    let mut scanner = Scanner::new();
    scanner.scan(begun, &mut found);
    received(begun.len());
    let mut bytes = vec![0; READ_BYTES];
    loop {
        let count = stream.read(&mut bytes).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        scanner.scan(&bytes[..count], &mut found);
        received(count);
    }
}

/// Where discarded bytes would go; nobody looks, and the system does not write there either.
#[derive(Debug, Clone)]
pub(crate) struct Sink(Rc<RefCell<Vec<u8>>>);

impl Sink {
    pub(crate) fn new() -> Self {
        Self(Rc::new(RefCell::new(vec![0; DISCARD_BYTES])))
    }

    /// Takes everything without copying it, and counts it.
    pub(crate) async fn discard(
        &self,
        stream: TcpStream,
        begun: usize,
        mut received: impl FnMut(usize),
    ) -> io::Result<()> {
        received(begun);
        loop {
            stream.readable().await?;
            let mut sink = self.0.borrow_mut();
            // TCP throws away what is asked for with this flag.
            let discarded = stream.try_io(Interest::READABLE, || {
                recv(&stream, &mut sink[..], RecvFlags::TRUNC)
                    .map(|(_, count)| count)
                    .map_err(io::Error::from)
            });
            match discarded {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => received(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// How far one reader is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) bytes: Cell<u64>,
    pub(crate) events: Cell<u64>,
}

impl Progress {
    pub(crate) fn add_bytes(&self, count: usize) {
        self.bytes.set(self.bytes.get() + count as u64);
    }
}
