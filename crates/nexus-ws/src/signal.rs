//! How a connection is told that there is something to do.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, Ordering},
};

use futures_util::task::AtomicWaker;

/// Something that a connection is told, beside that there are events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Notice {
    /// Whoever it belongs to may have lost the right to it.
    Recheck = 1,
    /// Another connection took over a durable cursor.
    TakenOver = 2,
    /// It is time to tell how far a reader is to whom nothing was sent.
    Positions = 4,
}

/// What wakes a connection, and what for.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    pub(crate) waker: AtomicWaker,
    /// It has sent all that it knows of. Only then is it woken for events: a connection that is still
    /// writing will look by itself.
    waiting: AtomicBool,
    notices: AtomicU8,
    /// The session whose connection it is, if it is one's.
    session: Option<Arc<str>>,
}

impl Signal {
    /// Wakes a connection of a session.
    pub(crate) fn of_session(name: Arc<str>) -> Self {
        Self {
            session: Some(name),
            ..Self::default()
        }
    }

    /// The session whose connection it wakes.
    pub(crate) fn session(&self) -> Option<&Arc<str>> {
        self.session.as_ref()
    }

    /// Says that the connection waits for events; it must look once more after saying so.
    pub(crate) fn wait(&self) {
        self.waiting.store(true, Ordering::SeqCst);
    }

    /// There are events.
    pub(crate) fn events(&self) {
        if self.waiting.swap(false, Ordering::SeqCst) {
            self.waker.wake();
        }
    }

    /// Tells the connection something.
    pub(crate) fn notify(&self, notice: Notice) {
        self.notices.fetch_or(notice as u8, Ordering::SeqCst);
        self.waker.wake();
    }

    /// Whether this was told since it was last asked.
    pub(crate) fn take(&self, notice: Notice) -> bool {
        let bit = notice as u8;
        self.notices.load(Ordering::SeqCst) & bit != 0
            && self.notices.fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }
}
