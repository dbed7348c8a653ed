//! How far a target is: what its one cursor record holds.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ranges::Ranges;

/// What is settled of the log, and how far the target may run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Everything up to here is settled.
    position: u64,
    /// What is settled above it.
    done: Ranges,
    /// Where the target began: what was there before is not its business.
    began: u64,
}

/// The body of the cursor record.
#[derive(Debug, Serialize, Deserialize)]
struct Body {
    position: u64,
    done: Ranges,
    #[serde(default)]
    began: u64,
    opened: u64,
    /// Which engine wrote it, and its how many-th write it was: no two bodies are equal, so a writer
    /// recognises its own.
    engine: Arc<str>,
    write: u64,
    /// See [`Mark::failing_since_us`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failing_since_us: Option<i64>,
}

/// Who writes, and for the how many-th time.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    pub(crate) engine: Arc<str>,
    pub(crate) write: u64,
    /// Since when everything failed, in microseconds since 1970, for a target that gives up some time.
    pub(crate) failing_since_us: Option<i64>,
}

/// What a cursor record says.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) progress: Progress,
    /// How far the target may have run.
    pub(crate) opened: u64,
    pub(crate) failing_since_us: Option<i64>,
}

impl Progress {
    /// It begins here: everything up to `position` is settled, and nothing else.
    pub(crate) fn at(position: u64) -> Self {
        Self {
            position,
            done: Ranges::default(),
            began: position,
        }
    }

    /// Where the target began; zero when that is not known.
    pub(crate) fn began(&self) -> u64 {
        self.began
    }

    /// Everything up to here is settled.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Settles every number from `first` to `last`.
    pub(crate) fn settle(&mut self, first: u64, last: u64) {
        self.done.insert(first, last);
        self.position = self.done.absorb(self.position);
    }

    /// Whether the event is settled.
    pub(crate) fn is_settled(&self, seq: u64) -> bool {
        seq <= self.position || self.done.contains(seq)
    }

    /// The body of the cursor record with this progress. What is settled above `ran` is left out: no
    /// event ran there, so those are events that do not match, and they will be passed again.
    pub(crate) fn encode(&self, ran: u64, opened: u64, mark: &Mark) -> Bytes {
        let body = Body {
            position: self.position,
            done: self.done.through(ran),
            began: self.began,
            opened,
            engine: mark.engine.clone(),
            write: mark.write,
            failing_since_us: mark.failing_since_us,
        };
        // Numbers always serialise.
        Bytes::from(serde_json::to_vec(&body).unwrap_or_default())
    }

    /// Reads the body of a cursor record; nothing when it is damaged.
    pub(crate) fn decode(body: &[u8]) -> Option<Found> {
        let body: Body = serde_json::from_slice(body).ok()?;
        let mut progress = Self {
            position: body.position,
            done: body.done,
            began: body.began,
        };
        if !progress.done.is_well_formed() {
            return None;
        }
        progress.position = progress.done.absorb(progress.position);
        Some(Found {
            progress,
            opened: body.opened,
            failing_since_us: body.failing_since_us,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_moves_over_what_is_settled() {
        let mut progress = Progress::at(10);
        progress.settle(12, 12);
        assert_eq!(progress.position(), 10);
        assert!(progress.is_settled(12) && !progress.is_settled(11));
        progress.settle(11, 11);
        assert_eq!((progress.position(), progress.began()), (12, 10));
        assert!(!progress.is_settled(13));
    }

    #[test]
    fn is_read_back_as_it_was_written() {
        let mut progress = Progress::at(10);
        progress.settle(12, 14);
        progress.settle(2_000, 3_000);
        let mark = Mark {
            engine: "e".into(),
            write: 1,
            failing_since_us: Some(7),
        };
        let found = Progress::decode(&progress.encode(1_034, 1_034, &mark)).unwrap();
        assert_eq!((found.opened, found.failing_since_us), (1_034, Some(7)));
        let read = found.progress;
        assert_eq!(read.began(), 10);
        assert!(read.is_settled(13) && !read.is_settled(11));
        assert!(
            !read.is_settled(2_500),
            "beyond what is opened nothing is kept"
        );
    }

    #[test]
    fn damage_is_not_taken_for_progress() {
        for body in [
            "",
            "{}",
            r#"{"position":1,"done":[[5,3]],"opened":9,"engine":"e","write":0}"#,
            r#"{"position":-1,"done":[],"opened":9,"engine":"e","write":0}"#,
        ] {
            assert!(Progress::decode(body.as_bytes()).is_none(), "{body}");
        }
    }
}
