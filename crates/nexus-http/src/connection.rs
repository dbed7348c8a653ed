//! One connection: its state, its deadlines, and serving requests on it until it ends.

mod io;
mod progress;
mod wakes;

use std::{
    future::{Future, poll_fn},
    net::IpAddr,
    pin::pin,
    sync::Arc,
};

use http::StatusCode;
use hyper::{server::conn::http1, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use nexus_core::Kind;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::{
    Problem, Reply,
    admission::Permit,
    problem::early_problem,
    request_path::{self, RequestPath},
    tasks::Tasks,
};
use io::GuardedIo;
pub(crate) use progress::Progress;
use wakes::Wakes;

/// What the requests of one connection share; it lives as long as the socket, upgraded or not.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    pub(crate) path: Arc<RequestPath>,
    pub(crate) peer: IpAddr,
    pub(crate) progress: Progress,
    tasks: Arc<Tasks>,
    draining: CancellationToken,
    _permit: Permit,
}

impl ConnectionState {
    pub(crate) fn new(
        path: Arc<RequestPath>,
        peer: IpAddr,
        tasks: Arc<Tasks>,
        permit: Permit,
    ) -> Self {
        Self {
            path,
            peer,
            progress: Progress::new(),
            // Its own token, because one that all connections poll would be one lock for all of them.
            draining: tasks.draining().child_token(),
            tasks,
            _permit: permit,
        }
    }

    /// Cancelled when the server drains.
    pub(crate) fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Starts the task of an upgrade, if the answer is one; it gets the socket once the answer is written.
    pub(crate) fn hand_over(
        &self,
        socket: Option<OnUpgrade>,
        mut reply: Reply,
    ) -> Result<Reply, Problem> {
        let Some(task) = reply.upgrade.take() else {
            return Ok(reply);
        };
        let Some(socket) = socket else {
            return Err(Problem::new(
                Kind::Malformed,
                "invalid-request",
                "the request does not ask for an upgrade",
            ));
        };
        let draining = self.draining.clone();
        self.tasks.spawn(async move {
            match socket.await {
                Ok(socket) => task(socket, draining).await,
                Err(error) => tracing::debug!(%error, "the client left before its upgrade"),
            }
        });
        Ok(reply)
    }
}

/// Serves requests until the connection ends or the server drains.
pub(crate) async fn serve(stream: TcpStream, builder: http1::Builder, state: ConnectionState) {
    let state = Arc::new(state);
    let io = TokioIo::new(GuardedIo::new(stream, Arc::clone(&state)));
    let for_requests = Arc::clone(&state);
    let service =
        service_fn(move |request| request_path::serve(Arc::clone(&for_requests), request));
    let mut connection = pin!(builder.serve_connection(io, service).with_upgrades());
    let draining = state.draining.clone();
    // The connection does not have to keep the state alive: the socket does.
    let tasks = Arc::clone(&state.tasks);
    drop(state);
    let mut drained = pin!(draining.cancelled());
    let mut is_armed = false;
    let mut is_closing = false;
    let wakes = Wakes::new();
    let ended = poll_fn(|cx| {
        // Polled once to leave the waker of this task there, which never changes, and then only when
        // there is something to see: the token's lock would otherwise be taken for every request.
        if !is_closing && (!is_armed || tasks.is_draining()) {
            is_armed = true;
            if drained.as_mut().poll(cx).is_ready() {
                is_closing = true;
                connection.as_mut().graceful_shutdown();
            }
        }
        wakes.poll(cx, |cx| connection.as_mut().poll(cx))
    });
    if let Err(error) = ended.await {
        // The ways of clients: they leave, stall and talk nonsense.
        tracing::trace!(%error, "a connection ended");
    }
}

/// Tells a client for whom there is no place that there is none, as far as it listens.
pub(crate) fn refuse(stream: &TcpStream, path: &RequestPath) {
    let identity = path.request_ids.next();
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let refusal = early_problem(status, &identity.request_id, &path.options.clock);
    // It fits into the buffer of a socket that was never written to; if not, the close says enough.
    let _ = stream.try_write(&refusal);
}
