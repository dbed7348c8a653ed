//! How far the files are in the log: a durable cursor, so that nothing is removed that they still need.

use nexus_core::{Cursor, From, PatternSet, Position, Seq, Source};

use crate::{Error, Handle};

/// What the durable cursor is called.
const CURSOR: &str = "agents.files";

/// What the files follow.
const FOLLOWED: [&str; 6] = [
    "work.*",
    "session.*",
    "status.*",
    "capability.*",
    "help.*",
    "message.*",
];

/// How far the log was read, and from where reading may begin again.
///
/// Two files may say the same only if their events have one time. So reading never begins again between two such
/// events: the second would find the file of the first, and take it for its own.
#[derive(Debug)]
pub(crate) struct Reading {
    through: Seq,
    /// Nothing behind this has the time of anything before it.
    boundary: Seq,
    /// When what was read last happened.
    last_us: Option<i64>,
}

impl Reading {
    /// Begins behind an event.
    pub(crate) fn behind(seq: Seq) -> Self {
        Self {
            through: seq,
            boundary: seq,
            last_us: None,
        }
    }

    /// Takes the next event that matters.
    pub(crate) fn take(&mut self, seq: Seq, time_us: i64) {
        if self.last_us != Some(time_us) {
            self.last_us = Some(time_us);
            self.boundary = seq.previous();
        }
    }

    /// Everything up to here was read.
    pub(crate) fn reach(&mut self, through: Seq) {
        self.through = through;
    }

    /// How far it was read.
    pub(crate) fn through(&self) -> Seq {
        self.through
    }

    /// Behind which event reading may begin again, in a log that ends here for its readers: they see each commit
    /// whole, so at the end nothing of the last moment is missing.
    pub(crate) fn settled(&self, head: Seq) -> Seq {
        if self.through >= head {
            self.through
        } else {
            self.boundary
        }
    }
}

/// Where the files are behind the log. The first time they begin where the log ends, and that is noted before
/// anything happens that they would miss.
pub(crate) async fn begin(agents: &Handle) -> Result<Position, Error> {
    let (log, owner) = (agents.log(), Source::nexus());
    if let Some(known) = log.durable_cursor(&owner, CURSOR).await? {
        return Ok(known.position);
    }
    let begins = log.stored();
    log.acknowledge(&owner, CURSOR, begins).await?;
    Ok(begins)
}

/// Reads on from there. A log that was restored, or that no longer has what follows, is read from where it can be:
/// how everything stands is written anyway, only files of single events are missing.
pub(crate) async fn cursor(agents: &Handle, begins: Position) -> Result<Cursor, Error> {
    let patterns = PatternSet::parse(FOLLOWED)?;
    let (cursor, start) = agents.log().cursor(From::After(begins), patterns).await?;
    if start.position != begins {
        tracing::warn!(wanted = %begins, begins = %start.position, "the files of agents miss some events");
    }
    Ok(cursor)
}

/// Notes how far the files are.
pub(crate) async fn note(agents: &Handle, position: Position) -> Result<(), nexus_core::Error> {
    let log = agents.log();
    log.acknowledge(&Source::nexus(), CURSOR, position).await
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However the log is cut into pages, reading begins again behind everything of a moment or before it.
        #[test]
        fn reading_never_begins_again_within_a_moment(
            commits in prop::collection::vec(1..5_u64, 1..10), page in 1..7_u64, ahead in 0..3_usize,
        ) {
            let mut times = Vec::new();
            for (n, events) in commits.iter().enumerate() {
                times.extend((0..*events).map(|_| i64::try_from(n).unwrap()));
            }
            let all = u64::try_from(times.len()).unwrap();
            let unseen: u64 = commits.iter().rev().take(ahead).sum();
            let head = all - unseen;
            let time_of = |seq: u64| times[usize::try_from(seq - 1).unwrap()];
            let mut reading = Reading::behind(Seq::ZERO);
            let mut through = 0;
            while through < head {
                let until = (through + page).min(head);
                for seq in through + 1..=until {
                    reading.take(Seq::new(seq), time_of(seq));
                }
                through = until;
                reading.reach(Seq::new(through));
                let settled = reading.settled(Seq::new(head)).get();
                prop_assert!(settled <= through);
                let is_cut = settled > 0 && settled < all && time_of(settled) == time_of(settled + 1);
                prop_assert!(!is_cut, "behind {settled} of {times:?}");
            }
            prop_assert_eq!(reading.settled(Seq::new(head)).get(), head);
        }
    }
}
