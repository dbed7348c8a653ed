//! A connection that is kept: one request after the other, as a publisher under load sends them.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{PATIENCE, end_of_head, header};

/// A connection to the daemon.
pub(super) struct Connection {
    socket: TcpStream,
    received: Vec<u8>,
    closing: bool,
}

/// A whole answer.
pub(super) struct Response {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
}

impl Response {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            received: Vec::new(),
            closing: false,
        })
    }

    /// The daemon said that this answer was the last one.
    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Sends a request and waits for its answer; an error is the end of the connection.
    pub(super) async fn send(&mut self, request: &[u8]) -> io::Result<Response> {
        let exchange = async {
            self.socket.write_all(request).await?;
            self.response().await
        };
        let response = timeout(PATIENCE, exchange).await;
        response.expect("an answer in time, or the end of the connection")
    }

    async fn response(&mut self) -> io::Result<Response> {
        let body_at = loop {
            if let Some(end) = end_of_head(&self.received) {
                break end;
            }
            self.receive().await?;
        };
        let head = String::from_utf8_lossy(&self.received[..body_at]).into_owned();
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
        let length = header(&head, "content-length");
        let length = length.and_then(|text| text.parse::<usize>().ok());
        let end = body_at + length.unwrap_or_else(|| panic!("the length of the body: {head}"));
        while self.received.len() < end {
            self.receive().await?;
        }
        let body = self.received[body_at..end].to_vec();
        self.received.drain(..end);
        let connection = header(&head, "connection");
        self.closing = connection.is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Ok(Response {
            status: status.expect("a status line"),
            head,
            body,
        })
    }

    async fn receive(&mut self) -> io::Result<()> {
        match self.socket.read_buf(&mut self.received).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}
