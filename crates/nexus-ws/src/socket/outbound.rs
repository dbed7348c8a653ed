//! What waits for a socket: control frames and answers, and slices of segments. One writer puts the first
//! between the second.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use nexus_core::Seq;
use tokio::{io::AsyncWrite, time::Instant};

use super::{chunk::Chunk, frame};

/// At most this many slices are handed to a connection ahead of its socket, with so many bytes, unless the
/// last one is larger: they keep segments in memory.
const CHUNKS_MAX: usize = 16;
const CHUNKS_BYTES_MAX: usize = 64 << 10;
/// With more answers than this waiting, no more messages are read.
const ANSWERS_BYTES_MAX: usize = 16 << 10;
/// At most this many pieces of memory are given to the socket at once.
const PIECES_MAX: usize = 48;

/// The writing side of a connection.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    /// Pongs and close answers, whole frames.
    pub(crate) control: Vec<u8>,
    /// Answers, pings and the close frame, whole frames.
    answers: Vec<u8>,
    /// What of the two is being written, or the rest of a frame whose segment was given back.
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

    /// A ping that says something; its answer says the same.
    pub(crate) fn ping(&mut self, says: &[u8]) {
        if !self.closed {
            frame::ping(&mut self.answers, says);
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
        self.chunks_bytes += chunk.bytes_left();
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

    /// Whether something of this reader waits.
    pub(crate) fn has(&self, reader: u32) -> bool {
        self.chunks.iter().any(|chunk| chunk.reader == reader)
    }

    /// Takes back what the socket did not take of some readers, up to the frame it is in. Tells how far
    /// each of them then is.
    pub(crate) fn retract(&mut self, of: impl Fn(u32) -> bool, reached: impl FnMut(u32, Seq)) {
        self.cut(of, reached, |_, chunk| chunk.cut());
    }

    /// As [`Outbound::retract`], from a client that takes nothing: it keeps a copy of one frame, or the rest
    /// of one, and no segment in memory.
    pub(crate) fn give_back(&mut self, of: impl Fn(u32) -> bool, reached: impl FnMut(u32, Seq)) {
        // Something has to wait, so that it is noticed when the socket takes something again.
        let keeps_frame = self.urgent.is_empty();
        self.cut(&of, reached, |place, chunk| {
            if keeps_frame && place == 0 {
                chunk.cut_behind_frame()
            } else {
                chunk.cut()
            }
        });
        if let Some(chunk) = self.chunks.pop_front_if(|chunk| of(chunk.reader)) {
            self.urgent = chunk.rest();
            self.urgent_at = 0;
        }
        self.chunks.shrink_to_fit();
        self.count_chunks();
    }

    fn cut(
        &mut self,
        of: impl Fn(u32) -> bool,
        mut reached: impl FnMut(u32, Seq),
        how: impl Fn(usize, &mut Chunk) -> Seq,
    ) {
        let mut told: Vec<u32> = Vec::new();
        for (place, chunk) in self.chunks.iter_mut().enumerate() {
            if !of(chunk.reader) {
                continue;
            }
            let cut = how(place, chunk);
            // What follows in the queue is further on.
            if !told.contains(&chunk.reader) {
                told.push(chunk.reader);
                reached(chunk.reader, cut);
            }
        }
        self.chunks.retain(|chunk| chunk.bytes_left() > 0);
        self.count_chunks();
    }

    /// How many bytes wait here, segments that are shared included.
    pub(crate) fn bytes_held(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(Chunk::weight).sum();
        chunks + self.control.capacity() + self.answers.capacity() + self.urgent.capacity()
    }

    fn count_chunks(&mut self) {
        self.chunks_bytes = self.chunks.iter().map(Chunk::bytes_left).sum();
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
            // An idle connection keeps no queue.
            self.chunks = VecDeque::new();
            Poll::Pending
        }
    }

    fn urgent_waits(&self) -> bool {
        !self.control.is_empty() || !self.answers.is_empty()
    }

    /// Control frames and answers come next, unless the socket is in the middle of a frame.
    fn next_urgent(&mut self) {
        let in_frame = self.chunks.front().is_some_and(Chunk::is_inside_frame);
        if in_frame || !self.urgent_waits() || !self.urgent.is_empty() {
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
        let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
        let mut count = 0;
        if self.urgent_waits() {
            // Only to the end of the frame that the socket is in.
            if let Some(chunk) = self.chunks.front() {
                count = chunk.pieces_of_frame(&mut pieces);
            }
        } else {
            for chunk in &self.chunks {
                count += chunk.pieces(&mut pieces[count..]);
            }
        }
        match &pieces[..count] {
            [piece] => socket.poll_write(context, piece),
            pieces => socket.poll_write_vectored(context, pieces),
        }
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
            count -= chunk.advance(count);
            if chunk.bytes_left() > 0 {
                return;
            }
            self.chunks.pop_front();
        }
    }
}
