//! The proof that a log is what was written: every row, every link of the chain, every name.

use std::path::Path;

use nexus_core::{Digest, Epoch, Seq};
use sqlx::{Connection, Row, SqliteConnection};

use super::{
    connect,
    head::{Link, check_link},
    names::Names,
    once::{Mark, filter::prefix, halves, saved},
    rows::{ONCE_COLUMNS, decode_once, to_column},
    schema::{self, APPLICATION_ID},
};
use crate::{Damage, Error};

/// So many links are read at once.
const LINKS_PER_PAGE: i64 = 256;
/// So many rows beside the log are read at once.
const ROWS_PER_PAGE: i64 = 1_000;

/// What was proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// The life of the log.
    pub epoch: Epoch,
    /// The last event that retention removed; the proof begins behind it.
    pub pruned_through: Seq,
    /// The last event.
    pub last: Seq,
    /// The hash of the last batch. Kept elsewhere, it also proves that nothing was cut off the end.
    pub hash: Digest,
    /// How many batches were walked.
    pub batches: u64,
}

/// Verifies a log on a connection that cannot write.
pub(crate) async fn verify(path: &Path) -> Result<Verified, Error> {
    let mut connection = connect::reader(path)
        .await
        .map_err(|error| structural(error, "be opened"))?;
    let result = verify_with(&mut connection, path).await;
    // It only read, so nothing depends on how it closes.
    let _ = connection.close().await;
    result
}

async fn verify_with(connection: &mut SqliteConnection, path: &Path) -> Result<Verified, Error> {
    let mark: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| structural(error, "tell whose it is"))?;
    if mark != i64::from(APPLICATION_ID) {
        return Err(Error::NotOurs { path: path.into() });
    }
    check_structure(connection).await?;
    schema::check(connection).await?;
    let names = Names::load(connection)
        .await
        .map_err(Error::database("read its topics"))?;
    let verified = check_chain(connection, &names).await?;
    check_once(connection).await?;
    check_records(connection).await?;
    Ok(verified)
}

/// SQLite's own check of pages, trees and indexes.
async fn check_structure(connection: &mut SqliteConnection) -> Result<(), Error> {
    let found: String = sqlx::query_scalar("PRAGMA integrity_check(1)")
        .fetch_one(connection)
        .await
        .map_err(|error| structural(error, "check its structure"))?;
    if found == "ok" {
        Ok(())
    } else {
        Err(Damage::Structure { detail: found }.into())
    }
}

/// Walks all links, each against the one before it and against its events.
async fn check_chain(connection: &mut SqliteConnection, names: &Names) -> Result<Verified, Error> {
    const LINKS: &str =
        "SELECT last, first, time_us, hash FROM batches WHERE last > ?1 ORDER BY last LIMIT ?2";
    let meta = schema::meta(connection).await?;
    let mut verified = Verified {
        epoch: meta.epoch,
        pruned_through: meta.pruned_seq,
        last: meta.pruned_seq,
        hash: meta.pruned_hash,
        batches: 0,
    };
    let mut time_us = i64::MIN;
    loop {
        let rows = sqlx::query(LINKS)
            .bind(to_column(verified.last))
            .bind(LINKS_PER_PAGE)
            .fetch_all(&mut *connection)
            .await
            .map_err(|error| structural(error, "read its batches"))?;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            let link = Link::decode(row)?;
            check_link(connection, names, verified.last, &verified.hash, &link).await?;
            if link.time_us <= time_us {
                let last = link.last.get();
                return Err(Damage::Chain { last }.into());
            }
            time_us = link.time_us;
            verified.last = link.last;
            verified.hash = link.hash;
            verified.batches += 1;
        }
    }
    let behind: Option<i64> = sqlx::query_scalar(
        "SELECT seq FROM events WHERE seq > ?1 AND seq > (SELECT coalesce(max(last), 0) FROM batches) LIMIT 1",
    )
    .bind(to_column(verified.last))
    .fetch_optional(connection)
    .await
    .map_err(|error| structural(error, "read its last event"))?;
    match behind {
        Some(seq) => Err(Damage::Unchained {
            seq: seq.cast_unsigned(),
        }
        .into()),
        None => Ok(verified),
    }
}

/// Reads all once-keys, and looks for the places of those that should have one, and for their names where
/// they are kept.
async fn check_once(connection: &mut SqliteConnection) -> Result<(), Error> {
    let unreadable = |error| structural(error, "read the names of its idempotency keys");
    if !saved::is_sound(connection).await.map_err(unreadable)? {
        return Err(Damage::Once.into());
    }
    let mark = Mark::read(connection).await.map_err(unreadable)?;
    let filter = saved::load(connection, mark, usize::MAX)
        .await
        .map_err(unreadable)?;
    // Of two rows with one key the earlier had expired when the later came, and may never get a place.
    let sql = format!(
        "SELECT {ONCE_COLUMNS}, o.n, (o.n <= m.once_placed OR \
            (o.n <= m.once_placing AND o.name <= m.once_placing_name)) AND NOT EXISTS \
            (SELECT 1 FROM once_places AS p CROSS JOIN once AS l ON l.n = p.n \
             WHERE p.name = o.name AND p.n >= o.n AND l.name = o.name AND l.name_rest = o.name_rest) \
         FROM meta AS m CROSS JOIN once AS o WHERE o.n > ?1 ORDER BY o.n LIMIT ?2"
    );
    let mut after = 0;
    loop {
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql.clone()))
            .bind(after)
            .bind(ROWS_PER_PAGE)
            .fetch_all(&mut *connection)
            .await
            .map_err(|error| structural(error, "read its idempotency keys"))?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = last.try_get(7).map_err(|_| Damage::Once)?;
        for row in &rows {
            let entry = decode_once(row)?;
            let n: i64 = row.try_get_unchecked(7).map_err(|_| Damage::Once)?;
            let has_no_place: bool = row.try_get_unchecked(8).map_err(|_| Damage::Once)?;
            let (name, _) = halves(&entry.key);
            let is_known = filter
                .as_ref()
                .is_none_or(|filter| filter.may_have(prefix(name)));
            let is_unknown = mark.has_placed(n, name) && !is_known;
            if has_no_place || is_unknown {
                return Err(Damage::Once.into());
            }
        }
    }
}

/// Reads all records.
async fn check_records(connection: &mut SqliteConnection) -> Result<(), Error> {
    let sql = format!(
        "SELECT {}, r.family FROM records AS r WHERE (r.family, r.key) > (?1, ?2) ORDER BY r.family, r.key LIMIT ?3",
        super::rows::RECORD_COLUMNS
    );
    let (mut family, mut key) = (String::new(), String::new());
    loop {
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql.clone()))
            .bind(&family)
            .bind(&key)
            .bind(ROWS_PER_PAGE)
            .fetch_all(&mut *connection)
            .await
            .map_err(|error| structural(error, "read its records"))?;
        if rows.is_empty() {
            return Ok(());
        }
        for row in &rows {
            let unreadable = |_| Damage::Record {
                family: family.clone(),
                key: key.clone(),
            };
            let next = (
                row.try_get(9).map_err(unreadable)?,
                row.try_get(0).map_err(unreadable)?,
            );
            (family, key) = next;
            super::rows::check_record(&family, row)?;
        }
    }
}

/// An error of the database that may mean that its structure is broken.
pub(crate) fn structural(error: sqlx::Error, what: &'static str) -> Error {
    if super::fault::is_damage(&error) {
        Damage::Structure {
            detail: error.to_string(),
        }
        .into()
    } else {
        Error::database(what)(error)
    }
}
