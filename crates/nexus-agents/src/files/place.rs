//! How far the files are in the log: a durable cursor, so that nothing is removed that they still need.

use nexus_core::{Cursor, From, PatternSet, Position, Source};

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
