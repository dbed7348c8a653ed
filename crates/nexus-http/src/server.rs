//! The server: listens, lets connections in, and drains.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::server::conn::http1;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Route, ServerOptions,
    admission::{Admission, Connections},
    connection::{self, ConnectionState},
    request_path::{RequestPath, client_address},
    tasks::Tasks,
};

/// The parser's buffer; a body is read through it.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// How often what has ended is forgotten: full token buckets, tasks.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
/// The first and the longest pause after the operating system has refused a connection.
const BACKOFF_FIRST: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Routes that are listened for at an address.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    path: Arc<RequestPath>,
    admission: Arc<Admission>,
    tasks: Arc<Tasks>,
    builder: http1::Builder,
}

impl Server {
    /// Builds the table of routes and listens; port 0 takes any free one.
    ///
    /// Clients that come from here on are served as soon as [`Server::run`] is awaited.
    ///
    /// # Errors
    /// The address cannot be listened on, or the routes contradict each other.
    pub async fn bind(
        address: SocketAddr,
        routes: Vec<Route>,
        options: ServerOptions,
    ) -> Result<Self, Error> {
        let path = Arc::new(RequestPath::new(routes, options)?);
        let cannot_bind = |source| Error::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(cannot_bind)?;
        let address = listener.local_addr().map_err(cannot_bind)?;
        let options = &path.options;
        let admission = match &options.connections {
            Some(Connections(shared)) => Arc::clone(shared),
            None => Admission::new(options.connections_max, options.connections_per_address_max),
        };
        let mut builder = http1::Builder::new();
        builder
            // The connection's own socket keeps the deadlines: of hyper's timers each request would need a
            // new one, and there is none for idle connections, bodies and writes.
            .header_read_timeout(None)
            .max_headers(options.headers_max)
            .max_header_size(options.head_bytes_max)
            .max_buf_size(BUFFER_BYTES_MAX.max(options.head_bytes_max))
            .half_close(false)
            .keep_alive(true);
        Ok(Self {
            listener,
            address,
            admission,
            tasks: Arc::default(),
            builder,
            path,
        })
    }

    /// Where it listens, with the port that was taken.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is cancelled, then drains and returns.
    ///
    /// Draining: no connection is accepted any more, idle ones are closed, requests in flight are answered
    /// with `Connection: close`, the tasks of upgraded sockets see their token cancelled. What has not ended
    /// after the drain timeout is aborted; so is everything when this future is dropped.
    pub async fn run(self, shutdown: CancellationToken) {
        let _guard = AbortOnDrop(Arc::clone(&self.tasks));
        self.accept_until(&shutdown).await;
        let Self {
            listener,
            path,
            tasks,
            ..
        } = self;
        drop(listener);
        let aborted = tasks.drain(path.options.drain_timeout).await;
        if aborted > 0 {
            tracing::warn!(aborted, "connections did not end in time");
        }
    }

    async fn accept_until(&self, shutdown: &CancellationToken) {
        let mut backoff = BACKOFF_FIRST;
        let mut sweep = interval(SWEEP_INTERVAL);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                _ = sweep.tick() => {
                    self.path.limits.forget_full();
                    self.tasks.forget_ended();
                    continue;
                }
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    backoff = BACKOFF_FIRST;
                    self.admit(stream, peer.ip().to_canonical());
                }
                // The client has already left; the next one is waiting.
                Err(error) if is_of_one_connection(&error) => {}
                // Out of descriptors or memory: trying again at once would only burn the processor.
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::select! {
                        () = shutdown.cancelled() => return,
                        () = sleep(backoff) => {}
                    }
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: IpAddr) {
        // All clients of a proxy come from its address.
        let is_proxy = client_address::is_trusted(peer, &self.path.options.trusted_proxies);
        let counted = (!is_proxy).then(|| client_address::network(peer));
        let Some(permit) = self.admission.admit(counted) else {
            connection::refuse(&stream, &self.path);
            return;
        };
        // Answers are small and whole; waiting for more to send with them only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::trace!(%error, "a connection ended");
            return;
        }
        let tasks = Arc::clone(&self.tasks);
        let state = ConnectionState::new(Arc::clone(&self.path), peer, tasks, permit);
        self.tasks
            .spawn(connection::serve(stream, self.builder.clone(), state));
    }
}

/// Ends the tasks of a server whose future is dropped before it drained.
struct AbortOnDrop(Arc<Tasks>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
