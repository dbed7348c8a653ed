//! Where the log ends, as it is stored, and whether that end holds together.

use nexus_core::{Digest, Head, Seq, Source, Topic, batch_hash};
use sqlx::{AssertSqlSafe, Row, SqliteConnection, sqlite::SqliteRow};

use super::{
    names::{Names, nameless},
    rows::{EVENT_COLUMNS, StoredEvent, from_column, to_column},
    schema,
};
use crate::{Damage, Error};

/// One link of the chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    pub(crate) first: Seq,
    pub(crate) last: Seq,
    pub(crate) time_us: i64,
    pub(crate) hash: Digest,
}

impl Link {
    /// Reads a row of `last, first, time_us, hash`.
    pub(crate) fn decode(row: &SqliteRow) -> Result<Self, Damage> {
        let last = from_column(row.try_get_unchecked(0).unwrap_or(0));
        let read = || {
            Some(Self {
                last,
                first: from_column(row.try_get_unchecked(1).ok()?),
                time_us: row.try_get_unchecked(2).ok()?,
                hash: row.try_get_unchecked::<&[u8], _>(3).ok()?.try_into().ok()?,
            })
        };
        read().ok_or(Damage::Chain { last: last.get() })
    }
}

/// Reads the head.
pub(crate) async fn read_head(connection: &mut SqliteConnection) -> Result<Head, Error> {
    let meta = schema::meta(connection).await?;
    let newest =
        sqlx::query("SELECT last, first, time_us, hash FROM batches ORDER BY last DESC LIMIT 1")
            .fetch_optional(connection)
            .await
            .map_err(Error::database("tell where the log ends"))?;
    let mut head = Head::empty(meta.epoch);
    head.last = meta.pruned_seq;
    head.hash = meta.pruned_hash;
    if let Some(row) = newest {
        let link = Link::decode(&row)?;
        head.last = link.last;
        head.time_us = link.time_us;
        head.hash = link.hash;
    }
    Ok(head)
}

/// Checks that the last batch has its events, that they are what was written, and that nothing is behind
/// them: what a torn write would have hit first.
pub(crate) async fn check_tail(
    connection: &mut SqliteConnection,
    names: &Names,
) -> Result<(), Error> {
    let meta = schema::meta(connection).await?;
    let links =
        sqlx::query("SELECT last, first, time_us, hash FROM batches ORDER BY last DESC LIMIT 2")
            .fetch_all(&mut *connection)
            .await
            .map_err(Error::database("read its last batches"))?;
    let links = links
        .iter()
        .map(Link::decode)
        .collect::<Result<Vec<_>, _>>()?;
    let newest: i64 = sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM events")
        .fetch_one(&mut *connection)
        .await
        .map_err(Error::database("read its last event"))?;
    let last = links.first().map_or(meta.pruned_seq, |link| link.last);
    if from_column(newest) > last {
        let seq = from_column(newest).get();
        return Err(Damage::Unchained { seq }.into());
    }
    let Some(link) = links.first() else {
        return Ok(());
    };
    let (before, hash) = links
        .get(1)
        .map_or((meta.pruned_seq, meta.pruned_hash), |link| {
            (link.last, link.hash)
        });
    check_link(connection, names, before, &hash, link).await
}

/// Checks one batch against the one before it and against its events.
pub(crate) async fn check_link(
    connection: &mut SqliteConnection,
    names: &Names,
    before: Seq,
    before_hash: &Digest,
    link: &Link,
) -> Result<(), Error> {
    if link.first != before.next() || link.last < link.first {
        return Err(Damage::Gap {
            last: link.last.get(),
            expected: before.next().get(),
        }
        .into());
    }
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM events AS e WHERE e.seq BETWEEN ?1 AND ?2 ORDER BY e.seq"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(to_column(link.first))
        .bind(to_column(link.last))
        .fetch_all(&mut *connection)
        .await
        .map_err(Error::database("read the events of a batch"))?;
    let mut leaves = Vec::with_capacity(rows.len());
    let mut expected = link.first;
    for row in &rows {
        let event = StoredEvent::decode(row)?;
        if event.seq != expected {
            let seq = expected.get();
            return Err(Damage::Missing { seq }.into());
        }
        let look_up = Error::database("look up a name");
        let topic: Option<Topic> = names.name(connection, event.topic).await.map_err(look_up)?;
        let look_up = Error::database("look up a name");
        let source: Option<Source> = names
            .name(connection, event.source)
            .await
            .map_err(look_up)?;
        let (Some(topic), Some(source)) = (topic, source) else {
            return Err(nameless(event.seq).into());
        };
        if event.time_us != link.time_us {
            let seq = event.seq.get();
            return Err(Damage::Event { seq }.into());
        }
        leaves.push(event.check(&topic, &source)?);
        expected = expected.next();
    }
    if expected != link.last.next() {
        let seq = expected.get();
        return Err(Damage::Missing { seq }.into());
    }
    let hash = batch_hash(before_hash, link.first, link.last, link.time_us, &leaves);
    if hash == link.hash {
        Ok(())
    } else {
        Err(Damage::Chain {
            last: link.last.get(),
        }
        .into())
    }
}
