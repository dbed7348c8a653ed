//! Calls: what the client that rules call with, and the receiver, can do without an engine between them.

use std::{
    cell::Cell,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, header::CONTENT_TYPE};
use nexus_outbound::{Client, OutboundOptions, Outgoing, Trust};
use serde::Serialize;
use tokio::time::Instant;
use url::Url;

use crate::{
    marked::{self, Mark},
    reactions::rate,
    receiver::Receiver,
};

/// As many threads as the daemon has on the machines that are measured.
const THREADS: usize = 2;
/// How long the last calls may take.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) receiver: SocketAddr,
    /// Calls at once.
    pub(crate) concurrency: usize,
    pub(crate) duration: Duration,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    calls: u64,
    per_second: u64,
}

pub(crate) async fn run(options: &Options) -> io::Result<Report> {
    let received = Rc::new(Cell::new(0));
    let count = Rc::clone(&received);
    let serving = Receiver::bind(options.receiver).await?.serve(move |_| {
        count.set(count.get() + 1);
        true
    });
    let begun = Instant::now();
    let options = options.clone();
    let calling = tokio::task::spawn_blocking(move || call(&options));
    calling.await.map_err(io::Error::other)??;
    serving.abort();
    let calls = received.get();
    Ok(Report {
        calls,
        per_second: rate(calls, begun.elapsed()),
    })
}

/// Calls from threads of its own, as the daemon does.
fn call(options: &Options) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()?;
    let until = Instant::now() + options.duration;
    let url: Url = format!("http://{}/calls", options.receiver)
        .parse()
        .map_err(io::Error::other)?;
    let next = Arc::new(AtomicU64::new(0));
    runtime.block_on(async {
        let client = Client::new(&OutboundOptions::default()).map_err(io::Error::other)?;
        let mut callers = Vec::new();
        for _ in 0..options.concurrency {
            let (client, url, next) = (client.clone(), url.clone(), next.clone());
            callers.push(tokio::spawn(call_until(client, url, next, until)));
        }
        for caller in callers {
            caller.await.map_err(io::Error::other)??;
        }
        Ok::<_, io::Error>(())
    })?;
    runtime.shutdown_timeout(GRACE);
    Ok(())
}

async fn call_until(
    client: Client,
    url: Url,
    next: Arc<AtomicU64>,
    until: Instant,
) -> io::Result<()> {
    while Instant::now() < until {
        let mark = Mark {
            publisher: 0,
            number: next.fetch_add(1, Ordering::Relaxed),
        };
        let mut body = Vec::new();
        marked::write_payload(&mut body, mark, 0);
        let mut call = Outgoing::new(Method::POST, url.clone(), Trust::Configured);
        let json = HeaderValue::from_static("application/json");
        call.headers.insert(CONTENT_TYPE, json);
        call.body = Bytes::from(body);
        let answer = client.send(call).await.map_err(io::Error::other)?;
        if !answer.is_success() {
            return Err(io::Error::other("a call was refused"));
        }
    }
    Ok(())
}
