//! Where the files are, and how often they are looked at.

use std::{path::PathBuf, time::Duration};

/// What holds for the files of agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesOptions {
    /// The folder that they are in; it is made if it is not there.
    pub path: PathBuf,
    /// How long further events are waited for, to be written together.
    pub gather: Duration,
    /// How often it is looked whether others wrote the files.
    pub look: Duration,
    /// How often each session that is connected gets a heartbeat.
    pub heartbeat: Duration,
    /// How often it is noted how far the files are where the log goes on without anything for them.
    pub pass: Duration,
    /// How long heartbeats are kept.
    pub heartbeats_kept: Duration,
    /// So many messages stay as files: of those to everybody, and of those to each session. Of what is beyond it
    /// the oldest go that were received.
    pub messages_kept: usize,
}

impl FilesOptions {
    /// As the specification of the event bus says, in this folder.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            gather: Duration::from_millis(200),
            look: Duration::from_millis(200),
            heartbeat: Duration::from_secs(300),
            pass: Duration::from_secs(2),
            heartbeats_kept: Duration::from_secs(7 * 86_400),
            messages_kept: 10_000,
        }
    }
}
