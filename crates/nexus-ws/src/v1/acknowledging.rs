//! What clients acknowledge, on its way to their durable cursors: one write in flight for each.

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use nexus_core::{Error, Log, Position};

use super::consumers::CursorName;

/// The acknowledgements of one durable cursor.
#[derive(Default)]
pub(super) struct Acknowledging {
    writing: Option<Writing>,
    /// What came meanwhile; only the latest position counts.
    next: Option<Position>,
}

struct Writing {
    position: Position,
    done: BoxFuture<'static, Result<(), Error>>,
}

impl Acknowledging {
    /// Has a position written, after what is being written now.
    pub(super) fn acknowledge(&mut self, position: Position) {
        let is_further = |next: Position| next.seq < position.seq || next.epoch != position.epoch;
        if self.next.is_none_or(is_further) {
            self.next = Some(position);
        }
    }

    /// Whether everything is written.
    pub(super) fn is_done(&self) -> bool {
        self.writing.is_none() && self.next.is_none()
    }

    /// Writes what is left, after its reader has gone: a client that acknowledges and takes leave at once
    /// does not wait for the answer.
    pub(super) fn finish(self, log: &Log, cursor: &CursorName) {
        if self.is_done() {
            return;
        }
        let (log, cursor) = (log.clone(), cursor.clone());
        tokio::spawn(async move {
            let writing = match self.writing {
                Some(writing) => writing.done.await,
                None => Ok(()),
            };
            let written = match self.next {
                Some(next) => log.acknowledge(&cursor.owner, &cursor.name, next).await,
                None => writing,
            };
            if let Err(error) = written {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "an acknowledgement could not be kept");
            }
        });
    }

    /// What was written, if something was.
    pub(super) fn poll(
        &mut self,
        log: &Log,
        cursor: &CursorName,
        context: &mut Context<'_>,
    ) -> Option<Result<Position, Error>> {
        if self.writing.is_none()
            && let Some(position) = self.next.take()
        {
            let (log, cursor) = (log.clone(), cursor.clone());
            self.writing = Some(Writing {
                position,
                done: Box::pin(async move {
                    log.acknowledge(&cursor.owner, &cursor.name, position).await
                }),
            });
        }
        let writing = self.writing.as_mut()?;
        let Poll::Ready(written) = writing.done.as_mut().poll(context) else {
            return None;
        };
        let position = writing.position;
        self.writing = None;
        Some(written.map(|()| position))
    }
}

/// Where the reader of a durable cursor begins. A cursor that is new is kept at once, so that what happens
/// before its first acknowledgement is not lost to a reader that comes back.
pub(super) async fn begin(
    log: Log,
    cursor: CursorName,
    from: Option<nexus_core::From>,
) -> Result<nexus_core::Start, Error> {
    let kept = log.durable_cursor(&cursor.owner, &cursor.name).await?;
    let from = match kept {
        Some(kept) => nexus_core::From::After(kept.position),
        None => from.unwrap_or(nexus_core::From::Latest),
    };
    let (_, start) = log.cursor(from, nexus_core::PatternSet::default()).await?;
    if kept.is_none() {
        log.acknowledge(&cursor.owner, &cursor.name, start.position)
            .await?;
    }
    Ok(start)
}
