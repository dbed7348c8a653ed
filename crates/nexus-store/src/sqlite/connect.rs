//! Connections: what is set on each, and the proof that it was taken.

use std::{path::Path, time::Duration};

use sqlx::{
    ConnectOptions, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use crate::Error;

/// How long a statement waits for a lock. Only somebody else's process can hold one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The page cache of the writer, in KiB: the right edges of its trees, with room to spare.
const WRITER_CACHE_KIB: i64 = 8_000;
/// The page cache of each reader, in KiB.
const READER_CACHE_KIB: i64 = 2_000;
/// A connection keeps this many statements prepared: more than the writer has, which are seven in nine row
/// counts and some twenty others.
const STATEMENTS_MAX: usize = 128;
/// How many rows a reader's thread may be ahead of the page that it fills.
const READER_ROWS_AHEAD: usize = 1_024;
/// SQLite before this version can lose commits in WAL mode when a checkpoint meets a commit.
const SQLITE_MIN: (u32, u32, u32) = (3, 51, 3);

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(false)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENTS_MAX)
        .pragma("temp_store", "memory")
        .disable_statement_logging()
}

/// A connection that writes. `create` makes the file, which must not exist.
pub(crate) async fn writer(path: &Path, create: bool) -> Result<SqliteConnection, sqlx::Error> {
    writing(path, create, "nexus-writer").await
}

/// A connection that writes nothing of its own: it copies into the database what was written ahead.
pub(crate) async fn copier(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    writing(path, false, "nexus-copier").await
}

async fn writing(
    path: &Path,
    create: bool,
    thread: &'static str,
) -> Result<SqliteConnection, sqlx::Error> {
    options(path)
        .create_if_missing(create)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", "0")
        .pragma("cache_size", (-WRITER_CACHE_KIB).to_string())
        .thread_name(move |_| thread.into())
        .connect()
        .await
}

/// A connection that changes a database which nobody else uses, and which has no write-ahead log.
pub(crate) async fn alone(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    options(path)
        .synchronous(SqliteSynchronous::Full)
        .thread_name(|_| "nexus-restore".into())
        .connect()
        .await
}

/// A connection that cannot write.
pub(crate) async fn reader(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    options(path)
        .read_only(true)
        .pragma("cache_size", (-READER_CACHE_KIB).to_string())
        .row_buffer_size(READER_ROWS_AHEAD)
        .thread_name(|n| format!("nexus-reader-{n}"))
        .connect()
        .await
}

/// Reads back what durability rests on.
pub(crate) async fn check_settings(connection: &mut SqliteConnection) -> Result<(), Error> {
    let version: String = sqlx::query_scalar("SELECT sqlite_version()")
        .fetch_one(&mut *connection)
        .await
        .map_err(Error::database("tell its version"))?;
    if !is_safe(&version) {
        return Err(Error::SqliteTooOld { found: version });
    }
    let read = Error::database("tell its settings");
    let (journal, synchronous, autocheckpoint) = async {
        let journal: String = sqlx::query_scalar("PRAGMA journal_mode")
            .fetch_one(&mut *connection)
            .await?;
        let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
            .fetch_one(&mut *connection)
            .await?;
        let autocheckpoint: i64 = sqlx::query_scalar("PRAGMA wal_autocheckpoint")
            .fetch_one(&mut *connection)
            .await?;
        Ok((journal, synchronous.to_string(), autocheckpoint.to_string()))
    }
    .await
    .map_err(read)?;
    for (name, found, wanted) in [
        ("journal_mode", journal, "wal"),
        ("synchronous", synchronous, "2"),
        ("wal_autocheckpoint", autocheckpoint, "0"),
    ] {
        if found != wanted {
            return Err(Error::Setting {
                name,
                found,
                wanted,
            });
        }
    }
    Ok(())
}

fn is_safe(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next()) >= SQLITE_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, safe) in [
            ("3.51.3", true),
            ("3.51.10", true),
            ("3.52.0", true),
            ("4.0", true),
            ("3.51.2", false),
            ("3.9.99", false),
            ("", false),
        ] {
            assert_eq!(is_safe(version), safe, "{version}");
        }
    }
}
