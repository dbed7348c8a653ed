//! The rows of events as they are bound: with numbers for names.

use nexus_core::{Plan, Seq, Validated};
use sqlx::{SqliteConnection, sqlite::SqliteArguments};

use super::{
    names::Names,
    rows::{event_seal, to_column},
    statements::bind,
    transaction::FreshNames,
};

/// The numbers of an event's topic and of its source.
pub(crate) type NameIds = (i64, i64);

/// The names of the event before, which most events share: comparing is less than looking up.
#[derive(Default)]
pub(crate) struct Repeated<'p>(Option<(&'p Validated, NameIds)>);

impl<'p> Repeated<'p> {
    pub(crate) fn ids(&self, event: &Validated) -> Option<NameIds> {
        let (before, ids) = self.0?;
        let same = before.topic() == event.topic() && before.source() == event.source();
        same.then_some(ids)
    }

    pub(crate) fn set(&mut self, event: &'p Validated, ids: NameIds) -> NameIds {
        self.0 = Some((event, ids));
        ids
    }
}

/// Events that are still to be bound, with the numbers of their names.
pub(crate) struct EventRows<'p> {
    pub(crate) events: &'p [Validated],
    pub(crate) ids: &'p [NameIds],
    /// The number of the first.
    pub(crate) seq: Seq,
    pub(crate) time_us: i64,
}

/// The numbers of the names of all events; new names get theirs.
pub(crate) async fn intern(
    connection: &mut SqliteConnection,
    names: &Names,
    plan: &Plan,
    fresh: &mut FreshNames,
) -> Result<Vec<NameIds>, sqlx::Error> {
    let mut all = Vec::with_capacity(plan.events.len());
    let mut known = Repeated::default();
    for event in &plan.events {
        let ids = match known.ids(event) {
            Some(ids) => ids,
            None => {
                let topics = &mut fresh.topics;
                let topic = topics.intern(names, connection, event.topic()).await?;
                let sources = &mut fresh.sources;
                let source = sources.intern(names, connection, event.source()).await?;
                known.set(event, (topic, source))
            }
        };
        all.push(ids);
    }
    Ok(all)
}

/// One row of events; `ids` are the numbers of its topic and its source.
pub(crate) fn bind_event(
    arguments: &mut SqliteArguments,
    event: &Validated,
    seq: Seq,
    time_us: i64,
    ids: NameIds,
) -> Result<(), sqlx::Error> {
    bind(arguments, to_column(seq))?;
    bind(arguments, time_us)?;
    bind(arguments, event.id().as_bytes().as_slice())?;
    bind(arguments, ids.0)?;
    bind(arguments, ids.1)?;
    bind(arguments, event_seal(event.leaf(), seq, time_us))?;
    bind(arguments, event.salt().as_slice())?;
    bind(arguments, event.key().cloned())?;
    bind(arguments, event.causes().to_vec())?;
    bind(arguments, event.payload().to_vec())
}
