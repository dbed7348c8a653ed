//! Places at which a test ends the process: between reading an event and storing what became of it.

use std::{fmt, future::pending, sync::Arc};

/// A place between reading an event and storing what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Failpoint {
    /// Events were read, and none of them was looked at.
    PageRead,
    /// An attempt may begin, and has not.
    AttemptBegins,
    /// An attempt has ended, and nobody was told.
    AttemptEnded,
    /// What ended is about to be written with the target's position.
    WriteBegins,
    /// It was written, and the target was not told.
    WriteEnded,
    /// Another attempt at a delivery is about to be counted.
    RetryBegins,
    /// It was counted, and has not begun.
    RetryCounted,
    /// How an attempt at a delivery ended is about to be written.
    ConclusionBegins,
    /// It was written, and the target was not told.
    ConclusionEnded,
}

impl Failpoint {
    /// All of them, in the order in which an event that fails at first comes by.
    pub const ALL: [Self; 9] = [
        Self::PageRead,
        Self::AttemptBegins,
        Self::AttemptEnded,
        Self::WriteBegins,
        Self::WriteEnded,
        Self::RetryBegins,
        Self::RetryCounted,
        Self::ConclusionBegins,
        Self::ConclusionEnded,
    ];
}

type Halts = dyn Fn(Failpoint) -> bool + Send + Sync;

/// What a test wants to happen at failpoints. Without a test there are none, and they cost nothing.
#[derive(Clone, Default)]
pub struct Failpoints(Option<Arc<Halts>>);

impl Failpoints {
    /// Whoever comes to a point for which `halts` says so stands still there for ever: what a process that
    /// was killed at that moment has done, and no more.
    #[must_use]
    pub fn new(halts: impl Fn(Failpoint) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(halts)))
    }

    pub(crate) async fn reach(&self, point: Failpoint) {
        if let Some(halts) = &self.0
            && halts(point)
        {
            pending::<()>().await;
        }
    }
}

impl fmt::Debug for Failpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Failpoints")
            .field(&self.0.is_some())
            .finish()
    }
}
