//! The socket of a connection, with what hyper lacks: deadlines that cost nothing while they are kept, problem
//! details for requests that cannot be parsed, and an end that lets the client read the last answer.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::StatusCode;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use super::{ConnectionState, progress::Phase};
use crate::{ServerOptions, problem::early_problem};

/// hyper's own answers to what it cannot parse have a head this short and nothing else.
const AUTOMATIC_BYTES_MAX: usize = 160;
/// How long, and for how many bytes, a client that was refused early may go on sending.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// A socket with deadlines.
pub(crate) struct GuardedIo {
    stream: TcpStream,
    connection: Arc<ConnectionState>,
    alarm: Option<Pin<Box<Sleep>>>,
    /// Since when the client takes nothing.
    stalled_since: Option<Instant>,
    read_is_overdue: bool,
    write_is_overdue: bool,
    /// What is written in place of hyper's own refusal.
    refusal: Option<Bytes>,
    /// Whether the client may still be sending what nobody reads.
    is_refused: bool,
    linger: Option<Linger>,
}

/// The end of a connection on which the client may still be sending.
struct Linger {
    until: Instant,
    bytes_left: usize,
}

impl GuardedIo {
    pub(crate) fn new(stream: TcpStream, connection: Arc<ConnectionState>) -> Self {
        Self {
            stream,
            connection,
            alarm: None,
            stalled_since: None,
            read_is_overdue: false,
            write_is_overdue: false,
            refusal: None,
            is_refused: false,
            linger: None,
        }
    }

    /// Notes which deadlines have passed, and wakes the task when the next one does.
    ///
    /// The alarm is not moved when a phase begins or ends. It rings at the latest after the shortest timeout
    /// there is, and only then looks what it should have been set to: no deadline that began after it was set
    /// can have passed before it rings.
    fn watch(&mut self, cx: &mut Context<'_>) {
        let options = &self.connection.path.options;
        let progress = &self.connection.progress;
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + shortest(options))));
        while alarm.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let read = progress
                .phase()
                .timeout(options)
                .map(|timeout| progress.since() + timeout)
                .filter(|_| !self.read_is_overdue);
            let write = self
                .stalled_since
                .map(|since| since + options.write_timeout)
                .filter(|_| !self.write_is_overdue);
            let linger = self.linger.as_ref().map(|linger| linger.until);
            self.read_is_overdue |= read.is_some_and(|deadline| deadline <= now);
            self.write_is_overdue |= write.is_some_and(|deadline| deadline <= now);
            let next = [read, write, linger]
                .into_iter()
                .flatten()
                .filter(|deadline| *deadline > now)
                .fold(now + shortest(options), Instant::min);
            alarm.as_mut().reset(next);
        }
    }

    fn end_of_read(&mut self) -> Poll<io::Result<()>> {
        let progress = &self.connection.progress;
        match progress.phase() {
            Phase::Head => {
                // Nothing else is being written while a head is awaited, and the socket's buffer takes it.
                let refusal = self.refuse(StatusCode::REQUEST_TIMEOUT);
                let _ = self.stream.try_write(&refusal);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Phase::Body => {
                progress.body_is_overdue();
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            // Reads as the end of the stream: the connection just closes.
            _ => Poll::Ready(Ok(())),
        }
    }

    fn refuse(&self, status: StatusCode) -> Bytes {
        let path = &self.connection.path;
        let identity = path.request_ids.next();
        tracing::debug!(
            request_id = &*identity.request_id,
            status = status.as_u16(),
            "a request could not be read"
        );
        early_problem(status, &identity.request_id, &path.options.clock)
    }

    /// Writes the refusal that stands in place of `instead` bytes of hyper's.
    fn poll_refusal(
        &mut self,
        cx: &mut Context<'_>,
        mut refusal: Bytes,
        instead: usize,
    ) -> Poll<io::Result<usize>> {
        while refusal.has_remaining() {
            match Pin::new(&mut self.stream).poll_write(cx, &refusal) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => refusal.advance(written),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.refusal = Some(refusal);
                    return self.stalled(cx);
                }
            }
        }
        Poll::Ready(Ok(instead))
    }

    fn written(&mut self, written: io::Result<usize>) -> Poll<io::Result<usize>> {
        self.stalled_since = None;
        // Noted as the client began to take again: the next stall has its own time.
        self.write_is_overdue = false;
        // A long answer that is being taken is not an idle connection.
        if self.connection.progress.phase() == Phase::Idle {
            self.connection.progress.enter(Phase::Idle);
        }
        Poll::Ready(written)
    }

    fn stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.stalled_since.is_none() {
            self.stalled_since = Some(Instant::now());
        }
        self.watch(cx);
        if self.write_is_overdue {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }

    fn is_upgraded(&mut self) -> bool {
        let is_upgraded = self.connection.progress.phase() == Phase::Upgraded;
        if is_upgraded {
            // The new protocol has its own deadlines; the memory is worth having back.
            self.alarm = None;
        }
        is_upgraded
    }

    /// Reads away what a refused client still sends. Without this the kernel would answer it with a reset, and
    /// the client might never see why it was refused.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger.get_or_insert_with(|| {
            let until = Instant::now() + LINGER;
            self.alarm = Some(Box::pin(sleep_until(until)));
            Linger {
                until,
                bytes_left: LINGER_BYTES,
            }
        });
        let mut scratch = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    let read = buffer.filled().len();
                    let Some(bytes_left) = linger.bytes_left.checked_sub(read) else {
                        return Poll::Ready(());
                    };
                    linger.bytes_left = bytes_left;
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending if Instant::now() >= linger.until => return Poll::Ready(()),
                Poll::Pending => {
                    self.watch(cx);
                    return Poll::Pending;
                }
            }
        }
    }
}

/// The longest time after which the alarm looks again.
fn shortest(options: &ServerOptions) -> Duration {
    options
        .head_timeout
        .min(options.body_timeout)
        .min(options.idle_timeout)
        .min(options.write_timeout)
        .max(Duration::from_millis(1))
}

/// The status of an answer that hyper wrote by itself, because it could not parse the request.
fn automatic_refusal(bytes: &[u8]) -> Option<StatusCode> {
    let is_automatic = bytes.len() <= AUTOMATIC_BYTES_MAX
        && bytes.starts_with(b"HTTP/1.")
        && bytes.get(9) == Some(&b'4')
        // Every answer of ours has its request's id.
        && !bytes.windows(12).any(|part| part == b"x-request-id");
    if !is_automatic {
        return None;
    }
    StatusCode::from_bytes(bytes.get(9..12)?).ok()
}

impl AsyncRead for GuardedIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        match read {
            Poll::Ready(read) => {
                let progress = &this.connection.progress;
                let is_first = matches!(progress.phase(), Phase::New | Phase::Idle);
                if is_first && buffer.filled().len() > before {
                    progress.enter(Phase::Head);
                }
                // A deadline that was noted while an answer was written does not hold for what came since.
                this.read_is_overdue = false;
                Poll::Ready(read)
            }
            Poll::Pending if this.is_upgraded() => Poll::Pending,
            Poll::Pending => {
                this.watch(cx);
                if this.read_is_overdue {
                    return this.end_of_read();
                }
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for GuardedIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let first = parts.first().map_or(&[][..], |part| part);
        if let Some(refusal) = this.refusal.take() {
            return this.poll_refusal(cx, refusal, first.len());
        }
        if this.is_upgraded() {
            return Pin::new(&mut this.stream).poll_write_vectored(cx, parts);
        }
        if let Some(status) = automatic_refusal(first) {
            let refusal = this.refuse(status);
            this.is_refused = true;
            return this.poll_refusal(cx, refusal, first.len());
        }
        match Pin::new(&mut this.stream).poll_write_vectored(cx, parts) {
            Poll::Ready(written) => this.written(written),
            Poll::Pending => this.stalled(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let is_refused = this.is_refused || this.connection.progress.is_body_unread();
        ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        if is_refused {
            ready!(this.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
