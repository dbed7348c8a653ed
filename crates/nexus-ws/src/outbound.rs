//! What waits for a socket: control frames and answers, and segments. One writer puts the first between
//! the second.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use nexus_core::Seq;
use tokio::{io::AsyncWrite, time::Instant};

use crate::{frame, segment::Segment};

/// At most this many segments are handed to a connection ahead of its socket, unless one is larger.
const CHUNKS_MAX: usize = 16;
const CHUNKS_BYTES_MAX: usize = 256 << 10;
/// With more answers than this waiting, no more messages are read.
const ANSWERS_BYTES_MAX: usize = 16 << 10;

/// A part of a segment that is on its way to one reader.
#[derive(Debug)]
pub(crate) struct Chunk {
    segment: Arc<Segment>,
    start: usize,
    at: usize,
    end: usize,
    /// How far the reader was before it.
    after: Seq,
    /// Part of the common order; otherwise of a replay that fills in what came before.
    pub(crate) live: bool,
}

impl Chunk {
    /// What a segment holds for a reader; nothing when that is no frame.
    pub(crate) fn new(segment: Arc<Segment>, after: Seq, live: bool) -> Option<Self> {
        let start = segment.start_after(after);
        let end = segment.bytes.len();
        (start < end).then_some(Self {
            segment,
            start,
            at: start,
            end,
            after,
            live,
        })
    }

    fn left(&self) -> &[u8] {
        &self.segment.bytes[self.at..self.end]
    }

    fn is_started(&self) -> bool {
        self.at > self.start
    }

    /// Ends it behind the frame that is being written, and says how far the reader then is.
    fn cut(&mut self) -> Seq {
        self.end = frame::end_of_frame(&self.segment.bytes, self.start, self.at);
        self.after.max(self.segment.reached(self.end))
    }
}

/// The writing side of a connection.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    /// Pongs and close answers, whole frames.
    pub(crate) control: Vec<u8>,
    /// Answers, pings and the close frame, whole frames.
    answers: Vec<u8>,
    /// What of the two is being written.
    urgent: Vec<u8>,
    urgent_at: usize,
    chunks: VecDeque<Chunk>,
    chunks_bytes: usize,
    /// Since when the socket takes nothing although something waits.
    pub(crate) blocked_since: Option<Instant>,
    /// When the socket last took something after it had taken nothing: what waits in it may be much.
    pub(crate) unblocked_at: Option<Instant>,
    /// A close frame is among the answers: nothing may follow it.
    closed: bool,
}

impl Outbound {
    pub(crate) fn answer(&mut self, json: &str) {
        if !self.closed {
            frame::text(&mut self.answers, json);
        }
    }

    pub(crate) fn ping(&mut self) {
        if !self.closed {
            frame::ping(&mut self.answers);
        }
    }

    /// The last frame, after the one that is being written.
    pub(crate) fn close(&mut self, code: u16, reason: &str) {
        if !self.closed {
            self.closed = true;
            frame::close(&mut self.answers, code, reason);
        }
    }

    /// The client's close frame was answered among the control frames: that answer is the last.
    pub(crate) fn close_answered(&mut self) {
        self.closed = true;
        self.answers.clear();
    }

    pub(crate) fn push(&mut self, chunk: Chunk) {
        self.chunks_bytes += chunk.left().len();
        self.chunks.push_back(chunk);
    }

    /// Whether more events may be handed over.
    pub(crate) fn wants_events(&self) -> bool {
        !self.closed && self.chunks.len() < CHUNKS_MAX && self.chunks_bytes < CHUNKS_BYTES_MAX
    }

    /// Whether messages may be read: their answers wait here.
    pub(crate) fn takes_answers(&self) -> bool {
        self.answers.len() + self.urgent.len() < ANSWERS_BYTES_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.control.is_empty()
            && self.answers.is_empty()
            && self.urgent.is_empty()
            && self.chunks.is_empty()
    }

    /// Takes back the live chunks that the socket did not take, up to the frame it is in. Says how far
    /// the reader then is, if anything was taken back.
    pub(crate) fn retract_live(&mut self) -> Option<Seq> {
        let mut reached = None;
        for chunk in self.chunks.iter_mut().filter(|chunk| chunk.live) {
            let cut = chunk.cut();
            reached.get_or_insert(cut);
        }
        self.forget_cut();
        reached
    }

    /// Takes back every chunk, and says how far back the reader then is.
    pub(crate) fn retract_all(&mut self) -> Option<Seq> {
        let reached = self.chunks.iter_mut().map(Chunk::cut).min();
        self.forget_cut();
        reached
    }

    fn forget_cut(&mut self) {
        self.chunks.retain(|chunk| chunk.at < chunk.end);
        self.chunks_bytes = self.chunks.iter().map(|chunk| chunk.left().len()).sum();
    }

    /// Writes until nothing waits or the socket takes nothing. Ready when it was given something.
    pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut wrote = false;
        loop {
            self.next_urgent();
            if self.urgent.is_empty() && self.chunks.is_empty() {
                break;
            }
            match self.poll_some(socket, context) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                Poll::Ready(Ok(count)) => {
                    wrote = true;
                    self.advance(count);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    let now = Instant::now();
                    if wrote {
                        self.unblocked_at = Some(now);
                        self.blocked_since = Some(now);
                        return Poll::Ready(Ok(()));
                    }
                    self.blocked_since.get_or_insert(now);
                    return Poll::Pending;
                }
            }
        }
        if self.blocked_since.take().is_some() && wrote {
            self.unblocked_at = Some(Instant::now());
        }
        if wrote {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    /// Control frames and answers come next, unless the socket is in the middle of a segment.
    fn next_urgent(&mut self) {
        let in_segment = self.chunks.front().is_some_and(Chunk::is_started);
        let nothing_waits = self.control.is_empty() && self.answers.is_empty();
        if in_segment || nothing_waits || !self.urgent.is_empty() {
            return;
        }
        self.urgent = std::mem::take(&mut self.control);
        self.urgent.append(&mut std::mem::take(&mut self.answers));
        self.urgent_at = 0;
    }

    fn poll_some<S: AsyncWrite + Unpin>(
        &self,
        socket: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let socket = Pin::new(socket);
        if !self.urgent.is_empty() {
            return socket.poll_write(context, &self.urgent[self.urgent_at..]);
        }
        let urgent_waits = !self.control.is_empty() || !self.answers.is_empty();
        let together = if urgent_waits { 1 } else { self.chunks.len() };
        if together == 1 {
            let left = self.chunks.front().map_or(&[][..], Chunk::left);
            return socket.poll_write(context, left);
        }
        let mut slices = [IoSlice::new(&[]); CHUNKS_MAX];
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slice = IoSlice::new(chunk.left());
        }
        socket.poll_write_vectored(context, &slices[..together.min(CHUNKS_MAX)])
    }

    fn advance(&mut self, mut count: usize) {
        if !self.urgent.is_empty() {
            self.urgent_at += count;
            if self.urgent_at >= self.urgent.len() {
                // An idle connection keeps no buffer.
                self.urgent = Vec::new();
            }
            return;
        }
        self.chunks_bytes = self.chunks_bytes.saturating_sub(count);
        while let Some(chunk) = self.chunks.front_mut() {
            let taken = count.min(chunk.left().len());
            chunk.at += taken;
            count -= taken;
            if chunk.at < chunk.end {
                return;
            }
            self.chunks.pop_front();
        }
    }
}
