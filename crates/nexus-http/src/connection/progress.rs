//! How far a connection is with its request: what its deadlines are measured from.
//!
//! The socket and the request path of one connection tell each other here. Both run in one task, so the
//! atomics are never contended; they are atomics because a task may move between threads.

use std::{
    sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use crate::ServerOptions;

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Its first byte.
    New,
    /// Its next request.
    Idle,
    /// The rest of a request's head.
    Head,
    /// The rest of a request's body.
    Body,
    /// Its handler.
    Handler,
    /// The next piece of an answer that is a stream. Its client has nothing to send.
    Streaming,
    /// Nothing of ours: another protocol has the socket.
    Upgraded,
}

impl Phase {
    /// How long it may last.
    pub(crate) fn timeout(self, options: &ServerOptions) -> Option<Duration> {
        match self {
            Self::New | Self::Head => Some(options.head_timeout),
            Self::Idle => Some(options.idle_timeout),
            Self::Body => Some(options.body_timeout),
            Self::Handler | Self::Streaming | Self::Upgraded => None,
        }
    }
}

/// The phase of a connection and since when.
#[derive(Debug)]
pub(crate) struct Progress {
    opened: Instant,
    phase: AtomicU8,
    /// Microseconds since `opened`.
    since_us: AtomicU64,
    body_overdue: AtomicBool,
    body_unread: AtomicBool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            opened: Instant::now(),
            phase: AtomicU8::new(Phase::New as u8),
            since_us: AtomicU64::new(0),
            body_overdue: AtomicBool::new(false),
            body_unread: AtomicBool::new(false),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::New,
            1 => Phase::Idle,
            2 => Phase::Head,
            3 => Phase::Body,
            4 => Phase::Handler,
            5 => Phase::Streaming,
            _ => Phase::Upgraded,
        }
    }

    /// When the present phase began.
    pub(crate) fn since(&self) -> Instant {
        self.opened + Duration::from_micros(self.since_us.load(Relaxed))
    }

    /// The deadline of a phase starts anew.
    pub(crate) fn enter(&self, phase: Phase) {
        let since_us = u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.since_us.store(since_us, Relaxed);
        self.phase.store(phase as u8, Relaxed);
    }

    /// The head is read; its body, if it has one, is not.
    pub(crate) fn head_is_read(&self, has_body: bool) {
        self.body_unread.store(has_body, Relaxed);
        if has_body {
            self.enter(Phase::Body);
        } else {
            self.phase.store(Phase::Handler as u8, Relaxed);
        }
    }

    /// The request is whole, so nobody waits for the client.
    pub(crate) fn body_is_read(&self) {
        self.body_unread.store(false, Relaxed);
        self.phase.store(Phase::Handler as u8, Relaxed);
    }

    /// The answer is on its way, and then the next request is awaited.
    pub(crate) fn reply_is_ready(&self, upgraded: bool) {
        self.enter(if upgraded {
            Phase::Upgraded
        } else {
            Phase::Idle
        });
    }

    /// The answer is a stream, which lasts as long as it likes.
    pub(crate) fn stream_begins(&self) {
        self.enter(Phase::Streaming);
    }

    /// The stream is over; what is left of it is on its way.
    pub(crate) fn stream_ends(&self) {
        self.enter(Phase::Idle);
    }

    pub(crate) fn body_is_overdue(&self) {
        self.body_overdue.store(true, Relaxed);
    }

    pub(crate) fn is_body_overdue(&self) -> bool {
        self.body_overdue.load(Relaxed)
    }

    /// Whether the request was answered without its body.
    pub(crate) fn is_body_unread(&self) -> bool {
        self.body_unread.load(Relaxed)
    }
}
