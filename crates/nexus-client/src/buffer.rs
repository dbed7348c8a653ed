//! What a subscription received and nobody has taken yet: bounded in events and in bytes.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;
use nexus_core::Position;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{Error, Item};

/// What came in, in the order in which it came.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly everything is an event")]
pub(crate) enum Arrival {
    Item(Item),
    /// What stands up to here has been given or does not match.
    Moved(Position),
}

impl Arrival {
    fn weight(&self) -> usize {
        match self {
            Self::Item(Item::Event(event)) => event.weight(),
            Self::Item(Item::Gap { .. }) | Self::Moved(_) => size_of::<Self>(),
        }
    }
}

/// One task fills it, one reader empties it.
#[derive(Debug)]
pub(crate) struct Buffer {
    held: Mutex<Held>,
    events_max: usize,
    bytes_max: usize,
    /// The reader, when it found nothing.
    reader: AtomicWaker,
    /// The reader took something.
    taken: Notify,
}

#[derive(Debug, Default)]
struct Held {
    arrivals: VecDeque<Arrival>,
    bytes: usize,
    /// Nothing more comes; the error is given once, behind what is held.
    closed: bool,
    error: Option<Error>,
}

impl Buffer {
    pub(crate) fn new(events_max: usize, bytes_max: usize) -> Self {
        Self {
            held: Mutex::default(),
            events_max,
            bytes_max,
            reader: AtomicWaker::new(),
            taken: Notify::new(),
        }
    }

    /// Adds one message's worth, also when that goes beyond the bound: it is here already.
    pub(crate) fn push(&self, arrivals: Vec<Arrival>) {
        if arrivals.is_empty() {
            return;
        }
        let mut held = self.held.lock();
        if held.closed {
            return;
        }
        held.bytes += arrivals.iter().map(Arrival::weight).sum::<usize>();
        held.arrivals.extend(arrivals);
        drop(held);
        self.reader.wake();
    }

    /// Waits until there is room for another message.
    pub(crate) async fn room(&self) {
        loop {
            let taken = self.taken.notified();
            if self.has_room() {
                return;
            }
            taken.await;
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        let held = self.held.lock();
        held.arrivals.len() < self.events_max && held.bytes < self.bytes_max
    }

    /// Nothing more comes: the reader is given what is held, then the error.
    pub(crate) fn close(&self, error: Option<Error>) {
        let mut held = self.held.lock();
        if !held.closed {
            held.closed = true;
            held.error = error;
        }
        drop(held);
        self.reader.wake();
    }

    /// Nothing more is given, not even what is held.
    pub(crate) fn clear(&self) {
        let mut held = self.held.lock();
        held.closed = true;
        held.arrivals.clear();
        held.bytes = 0;
        drop(held);
        self.taken.notify_one();
        self.reader.wake();
    }

    /// Moves everything that is held to the reader; the end is an error or nothing.
    pub(crate) fn poll_take(
        &self,
        cx: &mut Context<'_>,
        into: &mut VecDeque<Arrival>,
    ) -> Poll<Option<Result<(), Error>>> {
        // Registered before the look, so that what comes in between wakes it.
        self.reader.register(cx.waker());
        let mut held = self.held.lock();
        if !held.arrivals.is_empty() {
            std::mem::swap(into, &mut held.arrivals);
            held.bytes = 0;
            drop(held);
            self.taken.notify_one();
            return Poll::Ready(Some(Ok(())));
        }
        match (held.error.take(), held.closed) {
            (Some(error), _) => Poll::Ready(Some(Err(error))),
            (None, true) => Poll::Ready(None),
            (None, false) => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn moved(seq: u64) -> Arrival {
        Arrival::Moved(format!("7f3a09c2-{seq}").parse().unwrap())
    }

    async fn take(buffer: &Buffer) -> Option<Result<usize, Error>> {
        let mut into = VecDeque::new();
        let end = poll_fn(|cx| buffer.poll_take(cx, &mut into)).await;
        end.map(|end| end.map(|()| into.len()))
    }

    #[tokio::test]
    async fn a_full_buffer_has_room_when_the_reader_took_it() {
        let buffer = Buffer::new(2, 1 << 20);
        buffer.push(vec![moved(1)]);
        buffer.room().await;
        buffer.push(vec![moved(2), moved(3)]);
        assert!(!buffer.has_room());
        let (taken, ()) = tokio::join!(take(&buffer), buffer.room());
        assert_eq!(taken.unwrap().unwrap(), 3);
        let by_bytes = Buffer::new(100, 1);
        by_bytes.push(vec![moved(1)]);
        assert!(!by_bytes.has_room());
    }

    #[tokio::test]
    async fn what_is_held_is_given_before_the_error_and_that_once() {
        let buffer = Buffer::new(2, 1 << 20);
        buffer.push(vec![moved(1)]);
        buffer.close(Some(Error::Draining));
        buffer.close(None);
        buffer.push(vec![moved(2)]);
        assert_eq!(take(&buffer).await.unwrap().unwrap(), 1);
        assert!(matches!(take(&buffer).await, Some(Err(Error::Draining))));
        assert!(take(&buffer).await.is_none());
        assert!(take(&buffer).await.is_none());
    }

    #[tokio::test]
    async fn a_cleared_buffer_gives_nothing() {
        let buffer = Buffer::new(2, 1 << 20);
        buffer.push(vec![moved(1)]);
        buffer.clear();
        buffer.push(vec![moved(2)]);
        assert!(take(&buffer).await.is_none());
    }
}
