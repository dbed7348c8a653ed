//! Who still needs what of the log.

use std::{fmt, future::Future};

use super::super::{Boxed, Log};
use crate::{Error, Seq};

/// Somebody who still needs events.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pin {
    /// They need everything after this.
    pub after: Seq,
    /// Who or what it is, for people: `cursor user:ana/orders`.
    pub what: String,
}

impl Pin {
    /// Somebody who needs everything after an event.
    #[must_use]
    pub fn new(what: impl Into<String>, after: Seq) -> Self {
        Self {
            after,
            what: what.into(),
        }
    }
}

/// Asks a part of Nexus who of its own still needs what.
///
/// Retention asks while the log is written. A source must name everybody who was there when it was asked and
/// is still there when it answers: so one that reads in several steps reads first what moves forward.
pub struct PinSource(Box<dyn Fn() -> Boxed<'static, Result<Vec<Pin>, Error>> + Send + Sync>);

impl PinSource {
    /// A source that answers like this.
    pub fn new<A>(ask: impl Fn() -> A + Send + Sync + 'static) -> Self
    where
        A: Future<Output = Result<Vec<Pin>, Error>> + Send + 'static,
    {
        Self(Box::new(move || Box::pin(ask())))
    }

    pub(super) async fn ask(&self) -> Result<Vec<Pin>, Error> {
        (self.0)().await
    }
}

impl fmt::Debug for PinSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinSource").finish_non_exhaustive()
    }
}

/// Durable cursors, and the oldest of the records that have a fence.
pub(super) async fn of_log(log: &Log, fenced_max: usize) -> Result<Vec<Pin>, Error> {
    let epoch = log.head().epoch;
    let cursors = log.durable_cursors().await?;
    let cursors = cursors
        .iter()
        // One of another life of the log will begin with what happens next, wherever it is.
        .filter(|named| named.cursor.position.epoch == epoch)
        .map(|named| {
            let what = format!("cursor {}/{}", named.owner, named.name);
            Pin::new(what, named.cursor.position.seq)
        });
    let fenced = log.fenced(fenced_max).await?;
    let fenced = fenced.iter().map(|record| {
        let what = format!("{} {}", record.family, record.key);
        Pin::new(what, record.fence.previous())
    });
    Ok(cursors.chain(fenced).collect())
}
