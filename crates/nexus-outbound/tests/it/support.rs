//! Listeners that play the other side, and one that must never be reached.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener as StdListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Method;
use nexus_outbound::{Client, OutboundOptions, Outgoing, Resolver, Trust};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

pub(crate) fn client() -> Client {
    Client::new(&OutboundOptions::default()).unwrap()
}

pub(crate) fn dev_client() -> Client {
    Client::new(&OutboundOptions {
        allow_loopback: true,
        ..OutboundOptions::default()
    })
    .unwrap()
}

pub(crate) fn get(url: &str, trust: Trust) -> Outgoing {
    let mut call = Outgoing::new(Method::GET, url.parse().unwrap(), trust);
    call.timeout = Duration::from_secs(10);
    call
}

/// A resolver that says what a test wants, and counts how often it is asked.
#[derive(Clone)]
pub(crate) struct Names {
    /// What is said the first time, the second …; the last is said for ever.
    answers: Arc<Vec<Vec<IpAddr>>>,
    lookups: Arc<AtomicUsize>,
}

impl Names {
    /// Every name leads to these addresses.
    pub(crate) fn always(addresses: &[&str]) -> Self {
        Self::each(&[addresses])
    }

    /// Every name leads somewhere else at each lookup.
    pub(crate) fn each(answers: &[&[&str]]) -> Self {
        let parse = |text: &&str| text.parse().unwrap();
        let answers = answers
            .iter()
            .map(|addresses| addresses.iter().map(parse).collect());
        Self {
            answers: Arc::new(answers.collect()),
            lookups: Arc::default(),
        }
    }

    pub(crate) fn lookups(&self) -> usize {
        self.lookups.load(Ordering::SeqCst)
    }
}

impl Resolver for Names {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let lookup = self.lookups.fetch_add(1, Ordering::SeqCst);
        Ok(self.answers[lookup.min(self.answers.len() - 1)].clone())
    }
}

/// A port of this machine that nothing may connect to.
pub(crate) struct Forbidden(StdListener);

impl Forbidden {
    /// Listens on every address that this machine has, IPv6 too where there is any.
    pub(crate) fn listen() -> Self {
        let listener = StdListener::bind("[::]:0").or_else(|_| StdListener::bind("0.0.0.0:0"));
        Self::of(listener.unwrap())
    }

    /// Listens on one address of this machine only.
    pub(crate) fn listen_at(address: &str) -> Self {
        Self::of(StdListener::bind((address, 0)).unwrap())
    }

    fn of(listener: StdListener) -> Self {
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// A connection that was made waits in the queue until it is taken: an empty queue means none was.
    pub(crate) fn assert_untouched(&self, what: &str) {
        match self.0.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => panic!("{what}: {other:?}"),
        }
    }

    /// That the listener would have noticed.
    pub(crate) fn assert_reachable(&self) {
        std::net::TcpStream::connect(("127.0.0.1", self.port())).unwrap();
        assert!(self.0.accept().is_ok());
    }
}

/// A server that answers each request with the same bytes, and counts connections.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

/// What to do when a request was read.
#[derive(Clone)]
pub(crate) enum Then {
    /// Write this and wait for the next request.
    Answer(String),
    /// Write this and close.
    Close(&'static str),
    /// Write the first, then the second again and again.
    Repeat(&'static str, &'static str, Duration),
    /// Answer with the request itself as the body.
    Echo,
}

impl Server {
    pub(crate) async fn start(then: Then) -> Self {
        Self::start_at("127.0.0.1", 0, then).await
    }

    pub(crate) async fn start_at(address: &str, port: u16, then: Then) -> Self {
        let listener = TcpListener::bind((address, port)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, then.clone()));
            }
        });
        Self {
            address,
            connections,
        }
    }

    /// What connects to another address of this machine reaches the server behind it.
    pub(crate) async fn forward_from(address: &str, behind: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(behind).await?;
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                });
            }
        });
        at
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/path", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// The other side may close at any moment; then the connection is over.
async fn serve(mut stream: TcpStream, then: Then) -> io::Result<()> {
    while let Some(request) = read_request(&mut stream).await? {
        match &then {
            Then::Answer(answer) => stream.write_all(answer.as_bytes()).await?,
            Then::Close(answer) => {
                stream.write_all(answer.as_bytes()).await?;
                return Ok(());
            }
            Then::Repeat(first, next, pause) => {
                stream.write_all(first.as_bytes()).await?;
                loop {
                    tokio::time::sleep(*pause).await;
                    stream.write_all(next.as_bytes()).await?;
                }
            }
            Then::Echo => {
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                    request.len()
                );
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&request).await?;
            }
        }
    }
    Ok(())
}

/// One request with its body; nothing when the other side closed.
async fn read_request(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Ok(Some(bytes));
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await? {
            0 => return Ok(None),
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}

/// A server that sends a lot to whoever connects, as fast as it is taken.
pub(crate) struct Flood {
    address: SocketAddr,
    /// How many bytes were sent when the other side closed.
    sent: tokio::sync::oneshot::Receiver<usize>,
}

impl Flood {
    pub(crate) async fn start(head: &'static str, piece: String, bytes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (told, sent) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await.unwrap();
            let mut sent = 0;
            let mut next = head.as_bytes();
            while sent < bytes && stream.write_all(next).await.is_ok() {
                sent += next.len();
                next = piece.as_bytes();
            }
            told.send(sent)
        });
        Self { address, sent }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(crate) async fn sent_when_closed(self) -> usize {
        let ended = tokio::time::timeout(Duration::from_secs(30), self.sent);
        ended.await.unwrap().unwrap()
    }
}
