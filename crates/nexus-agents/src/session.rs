//! Sessions: who is there, what they can do, and what they are doing.

pub(crate) mod activity;
pub(crate) mod inbox;
pub(crate) mod kept;
pub(crate) mod matching;
pub(crate) mod presence;

use crate::SessionId;

pub use activity::Status;
pub use presence::Presence;

/// What a session says of itself when it registers or connects. What it does not say stays as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// What it is for, for people; `Unknown` if nobody ever said.
    pub role: Option<String>,
    /// What it wants to reach, for people.
    pub goal: Option<String>,
    /// What it can do.
    pub capabilities: Option<Vec<String>>,
}

/// A session as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// Its name.
    pub id: SessionId,
    /// What it is for.
    pub role: String,
    /// What it wants to reach.
    pub goal: Option<String>,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// Whether it is there.
    pub presence: Presence,
    /// How it is.
    pub status: Status,
    /// What it is doing.
    pub current_work: Option<String>,
    /// How many claims it holds.
    pub claims: usize,
    /// When it was first known, in microseconds since 1970.
    pub registered_us: i64,
    /// When it last came, in microseconds since 1970.
    pub connected_us: Option<i64>,
    /// When it last did something that is in the log, in microseconds since 1970.
    pub last_event_us: Option<i64>,
}

impl SessionView {
    /// Whether it is there and free to be given work.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.presence.is_connected()
            && self.claims == 0
            && matches!(self.status, Status::Idle | Status::Active)
    }
}
