//! An outside service that answers as a test wants, and keeps what it was asked.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use serde_json::Value;

use super::{
    PATIENCE,
    http::{end_of_head, header},
    until,
};

/// A request that a stub got.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) at: Instant,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
    head: String,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// Whether a text is anywhere in it.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.head.contains(text) || String::from_utf8_lossy(&self.body).contains(text)
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What a stub does with a request.
pub(crate) enum Respond {
    /// Answers with a status, headers (`name: value` lines) and a body.
    With(u16, String, String),
    /// Closes the connection without an answer.
    HangUp,
}

impl Respond {
    pub(crate) fn json(status: u16, body: impl Into<String>) -> Self {
        Self::With(
            status,
            "Content-Type: application/json\r\n".to_owned(),
            body.into(),
        )
    }
}

type Handler = dyn Fn(&Received) -> Respond + Send + Sync;

/// A server on a port that the system chose.
pub(crate) struct Stub {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Stub {
    pub(crate) fn start(answer: impl Fn(&Received) -> Respond + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::<Mutex<Vec<Received>>>::default();
        let stop = Arc::<AtomicBool>::default();
        let answer: Arc<Handler> = Arc::new(answer);
        let (kept, stopped) = (received.clone(), stop.clone());
        let accepting = thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (kept, answer) = (kept.clone(), answer.clone());
                thread::spawn(move || {
                    // A client that goes away is the daemon's business, not the stub's.
                    let _ = serve(socket, &kept, &*answer);
                });
            }
        });
        Self {
            address,
            received,
            stop,
            accepting: Some(accepting),
        }
    }

    /// One that takes everything.
    pub(crate) fn agreeable() -> Self {
        Self::start(|_| Respond::json(200, r#"{"ok":true}"#))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What came to a path, in order.
    pub(crate) fn received(&self, path: &str) -> Vec<Received> {
        let received = self.received.lock().unwrap();
        received
            .iter()
            .filter(|request| request.path == path)
            .cloned()
            .collect()
    }

    /// How many requests have come.
    pub(crate) fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    /// Waits for as many requests to a path.
    #[track_caller]
    pub(crate) fn wait(&self, path: &str, count: usize) -> Vec<Received> {
        until(&format!("{count} requests to {path}"), || {
            Some(self.received(path)).filter(|received| received.len() >= count)
        })
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes it up, so that it sees the flag.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn serve(mut socket: TcpStream, kept: &Mutex<Vec<Received>>, answer: &Handler) -> io::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = socket.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&buffer[..count]);
        let Some(end) = end_of_head(&bytes) else {
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length = header(&head, "content-length")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        if bytes.len() < end + length {
            continue;
        }
        let mut first = head.split(' ').map(str::to_owned);
        let request = Received {
            at: Instant::now(),
            method: first.next().unwrap_or_default(),
            path: first.next().unwrap_or_default(),
            body: bytes[end..end + length].to_vec(),
            head,
        };
        kept.lock().unwrap().push(request.clone());
        return match answer(&request) {
            Respond::HangUp => socket.shutdown(Shutdown::Both),
            Respond::With(status, headers, body) => write!(
                socket,
                "HTTP/1.1 {status} Said\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
                body.len(),
            ),
        };
    }
}
