//! What others hold of the agents: cheap to clone, and every operation there is.

mod inbox;
pub(crate) mod leaving;
mod publishing;
mod saying;
mod sessions;
mod work;

use std::{sync::Arc, time::Duration};

use nexus_core::{Log, Principal, Publish, Scopes, Seq};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::{Measured, SessionId, board::Board, figures::Figures, files::roster::Roster};

pub use publishing::Published;
pub use saying::{Told, ToldEvent};
pub use sessions::Connection;
pub use work::{Ended, Granted};

/// How long an answer waits until everybody on this instance sees what it is about.
const CATCH_UP_MAX: Duration = Duration::from_secs(5);
/// What others changed in between is looked at again at most so often.
const TRIES_MAX: usize = 16;

/// The agents. Cheap to clone; every clone is the same.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    log: Log,
    board: Arc<Board>,
    applied: watch::Receiver<Seq>,
    figures: Figures,
}

impl Handle {
    pub(crate) fn new(log: Log, board: Arc<Board>, applied: watch::Receiver<Seq>) -> Self {
        let figures = Figures::new(Instant::now(), log.clock().now_us());
        Self(Arc::new(Shared {
            log,
            board,
            applied,
            figures,
        }))
    }

    pub(crate) fn board(&self) -> &Board {
        &self.0.board
    }

    pub(crate) fn log(&self) -> &Log {
        &self.0.log
    }

    pub(crate) fn figures(&self) -> &Figures {
        &self.0.figures
    }

    /// What was measured until now.
    #[must_use]
    pub fn measured(&self) -> Measured {
        let events_total = self.log().head().seq.get();
        self.figures().measured(events_total, Instant::now())
    }

    /// Counts something that went wrong on this side, not what a client did wrong.
    pub fn failed(&self) {
        self.figures().failed(Instant::now());
    }

    /// As [`Handle::caught_up`], for what somebody began to publish at a moment: how long it took counts.
    pub(crate) async fn delivered(&self, through: Seq, since: Instant) {
        self.caught_up(through).await;
        self.figures().delivered(since.elapsed(), Instant::now());
    }

    /// Takes over what the files say of sessions: their tokens count from now on, and no others of theirs.
    pub(crate) fn set_roster(&self, roster: Roster) {
        let mut state = self.board().lock();
        if state.roster != roster {
            state.roster = roster;
            state.rights_changed();
        }
    }

    /// Waits until a session is known otherwise than before.
    pub(crate) async fn known_changed(&self) {
        self.board().known.notified().await;
    }

    /// Waits until the board shows an event, so that who was told of it finds it in every answer that
    /// follows.
    pub(crate) async fn caught_up(&self, through: Seq) {
        let mut applied = self.0.applied.clone();
        let reached = timeout(
            CATCH_UP_MAX,
            applied.wait_for(|applied| *applied >= through),
        );
        if reached.await.is_err() {
            tracing::warn!(%through, "the board of the agents is far behind the log");
        }
    }

    /// Waits until the board shows everything that anybody can have seen by now: who heard that work is free
    /// is not told that it is held.
    async fn up_to_date(&self) {
        self.caught_up(self.log().stored().seq).await;
    }

    /// Waits until the board may have changed, and no longer than a moment.
    async fn changed(&self) {
        const MOMENT: Duration = Duration::from_millis(100);
        let mut applied = self.0.applied.clone();
        applied.borrow_and_update();
        let _ = timeout(MOMENT, applied.changed()).await;
    }

    /// Nexus, telling what came of something that a session did: the event is of the session, its topic is one
    /// that no session may publish by itself.
    fn telling_of(id: &SessionId) -> Principal {
        Principal::new(id.source(), Publish::Anything, Scopes::NONE)
    }

    /// A moment of the monotonic time as wall-clock time, for people: in microseconds since 1970, by the
    /// clock as it stands now.
    fn wall_us(&self, at: Instant) -> i64 {
        let left = at.saturating_duration_since(Instant::now());
        let left_us = i64::try_from(left.as_micros()).unwrap_or(i64::MAX);
        self.log().clock().now_us().saturating_add(left_us)
    }
}
