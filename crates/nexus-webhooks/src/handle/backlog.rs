//! How much an endpoint would be sent at once: counted in the log, within bounds.

use nexus_core::{EventQuery, PatternSet, Position, Selector};

use super::Endpoints;
use crate::{Error, options::COUNT_PAGES_MAX, settings::Selection};

/// What lies between the start of an endpoint and the end of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// The position behind which it would begin.
    pub begin: Position,
    /// How many events it would be sent, of those that were looked at.
    pub events: u64,
    /// The last that was looked at.
    pub counted_through: Position,
    /// Whether that was the end of the log; if not, there may be more.
    pub is_complete: bool,
}

impl Endpoints {
    /// Counts the events behind `begin` that are selected and that the patterns let somebody read.
    pub(super) async fn backlog(
        &self,
        begin: Position,
        selection: Selection,
        readable: &PatternSet,
    ) -> Result<Backlog, Error> {
        let log = self.log();
        let through = log.stored().seq;
        let selector = Selector {
            patterns: selection.patterns,
            filter: selection.filter,
        };
        let mut events = 0;
        let mut after = begin.seq;
        for _ in 0..COUNT_PAGES_MAX {
            if after >= through {
                break;
            }
            let query = EventQuery::page(after, through, selector.patterns.clone());
            let page = log.events(&query).await?;
            let counted = page
                .events
                .iter()
                .filter(|event| selector.matches(event) && readable.matches(&event.topic));
            events += counted.count() as u64;
            after = if page.done { through } else { page.reached };
        }
        Ok(Backlog {
            begin,
            events,
            counted_through: log.position(after),
            is_complete: after >= through,
        })
    }
}
