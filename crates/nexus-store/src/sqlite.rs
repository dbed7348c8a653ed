//! A log in one SQLite file.
//!
//! In the order that a log lives: [`file`] finds or creates it, [`schema`] describes it, [`writer`] and
//! [`transaction`] write, [`checkpoint`], [`sweep`] and [`prune`] tidy, [`pages`], [`window`], [`read_ahead`] and
//! [`readers`] read, [`verify`] proves it, [`backup`] copies it and [`restore`] puts a copy in its place.

mod backup;
mod ballast;
mod checkpoint;
mod connect;
mod event_rows;
mod fault;
mod file;
mod head;
mod lock;
mod names;
mod once;
mod packed;
mod page_query;
mod pages;
mod prune;
#[cfg(test)]
mod query_plans;
mod read_ahead;
mod readers;
mod restore;
mod rows;
mod schema;
mod statements;
mod sweep;
mod transaction;
mod verify;
mod window;
mod writer;

use std::{path::Path, sync::Arc};

use nexus_core::{Clock, Epoch, Random};
use sqlx::{Connection, SqliteConnection};

pub use self::{
    backup::{Backup, Progress},
    pages::SqlitePages,
    restore::Restored,
    verify::Verified,
    writer::SqliteBackend,
};
use self::{lock::Lock, names::Names, once::OnceKeys, read_ahead::ReadAhead, readers::Readers};
use crate::{Error, SqliteOptions};

/// A log in one SQLite file: what can be done with it from outside.
#[derive(Debug, Clone, Copy)]
pub struct Sqlite;

impl Sqlite {
    /// Opens the log for writing and reading, and creates it if there is none. Nobody else can open it
    /// for writing until the backend is dropped.
    ///
    /// # Errors
    /// [`Error::Locked`], and everything that is wrong with the file: it is then left as it was.
    pub async fn open(
        options: SqliteOptions,
        clock: Clock,
        random: Random,
    ) -> Result<(SqliteBackend, SqlitePages), Error> {
        let epoch = Epoch::new(u32::from_le_bytes(random.bytes()));
        file::create_folder(&options.path)?;
        let lock = Lock::take(&options.path)?;
        restore::finish(&options.path)?;
        let mut connection = existing_or_new(&options.path, epoch).await?;
        let file = file::DataFile::open(&options.path)?;
        connect::check_settings(&mut connection).await?;
        schema::migrate(&mut connection, None).await?;
        schema::describe(&mut connection, epoch)
            .await
            .map_err(Error::database("describe the log"))?;
        let names = Names::load(&mut connection)
            .await
            .map_err(Error::database("read its topics"))?;
        head::check_tail(&mut connection, &names).await?;
        let head = head::read_head(&mut connection).await?;
        let read_ahead = ReadAhead::new(&mut connection, file.clone())
            .await
            .map_err(Error::database("say where its events are"))?;
        file::sync_folder(&options.path)?;
        let names = Arc::new(names);
        let readers = Readers::new(options.path.clone(), options.readers_max);
        // What waits is read when the backend is first opened for writing.
        let once = OnceKeys::new(options.once_filter_bytes_max);
        let pages = SqlitePages::new(readers.clone(), read_ahead, names.clone(), once.waiting());
        let shared = (names, once, readers);
        let files = (file, lock);
        let backend = SqliteBackend::new(&options, connection, head, shared, clock, files);
        Ok((backend, pages))
    }

    /// Brings the tables of an existing log to a version, up or down, or to the newest; gives the version
    /// that they have then. Going down to 0 removes the log and everything beside it.
    ///
    /// # Errors
    /// As [`Sqlite::open`], [`Error::Missing`] and [`Error::NoSuchMigration`].
    pub async fn migrate(path: &Path, to: Option<i64>) -> Result<i64, Error> {
        if !path.exists() && !restore::is_pending(path) {
            return Err(Error::Missing { path: path.into() });
        }
        let _lock = Lock::take(path)?;
        restore::finish(path)?;
        file::check(path)?;
        let mut connection = connect::writer(path, false)
            .await
            .map_err(Error::database("be opened"))?;
        let version = schema::migrate(&mut connection, to).await?;
        connection
            .close()
            .await
            .map_err(Error::database("be closed"))?;
        Ok(version)
    }

    /// Proves that the log is what was written, from its first event to its last, and that everything
    /// beside it can be read. Only reads; the log may be in use.
    ///
    /// # Errors
    /// [`Error::Damaged`] with the first bad place.
    pub async fn verify(path: &Path) -> Result<Verified, Error> {
        restore::refuse_pending(path)?;
        if !path.exists() {
            return Err(Error::Missing { path: path.into() });
        }
        verify::verify(path).await
    }

    /// Copies the log, as it is at one moment, into one file that only its owner can read. The log may be
    /// in use: nothing waits for the copy, but the write-ahead log grows by what is written meanwhile. The
    /// file has its name only when it is whole, proved as by [`Sqlite::verify`] and synced; a file that had
    /// the name before goes only with `replace`. `told` hears how far it is.
    ///
    /// ```
    /// # use nexus_core::{Backend, Clock, Random};
    /// # use nexus_store::{Sqlite, SqliteOptions};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("nexus-log.db");
    /// # let random = Random::system();
    /// # let options = SqliteOptions::new(&path);
    /// # let (mut backend, _) = Sqlite::open(options, Clock::System, random.clone()).await?;
    /// # backend.close().await;
    /// # drop(backend);
    /// let copy = folder.path().join("backup.db");
    /// let backup = Sqlite::backup(&path, &copy, false, &random, |_| {}).await?;
    ///
    /// // In the place of the log, which is kept beside it. Nobody has it open.
    /// let restored = Sqlite::restore(&copy, &path, true, &random, |_| {}).await?;
    /// assert_eq!(restored.epoch_before, backup.verified.epoch);
    /// assert_ne!(restored.verified.epoch, backup.verified.epoch);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Itself`], [`Error::NoSpace`], and everything that is wrong with the log.
    /// Nothing is left of the copy then.
    pub async fn backup(
        path: &Path,
        to: &Path,
        replace: bool,
        random: &Random,
        told: impl FnMut(Progress),
    ) -> Result<Backup, Error> {
        restore::refuse_pending(path)?;
        if !path.exists() {
            return Err(Error::Missing { path: path.into() });
        }
        backup::backup(path, to, replace, random, told).await
    }

    /// Makes a copy the log under `path`, in a new epoch: it does not have what came after the copy was made,
    /// and whoever read that is told so. Nobody else may have the log open. A log that is there goes only
    /// with `replace`, and is kept beside the new one. Whenever the process is killed, the next one finds
    /// the old log or the new.
    ///
    /// # Errors
    /// As [`Sqlite::open`] and [`Sqlite::verify`], [`Error::Exists`], [`Error::Itself`] and
    /// [`Error::NoSpace`]: the log is then as it was. [`Error::Unfinished`]: whoever opens it next finishes it.
    pub async fn restore(
        from: &Path,
        path: &Path,
        replace: bool,
        random: &Random,
        told: impl FnMut(Progress),
    ) -> Result<Restored, Error> {
        if !from.exists() {
            return Err(Error::Missing { path: from.into() });
        }
        restore::restore(from, path, replace, random, told).await
    }
}

/// Connects to the database, which is created, whole or not at all, if there is no file.
async fn existing_or_new(path: &Path, epoch: Epoch) -> Result<SqliteConnection, Error> {
    if !path.exists() {
        create(path, epoch).await?;
    }
    file::check(path)?;
    connect::writer(path, false)
        .await
        .map_err(Error::database("be opened"))
}

/// Creates the database under another name and renames it when it is whole: so a file under its own name
/// is always a log, and one that is not was never ours.
async fn create(path: &Path, epoch: Epoch) -> Result<(), Error> {
    let unfinished = file::Unfinished::new(path)?;
    let mut connection = connect::writer(unfinished.path(), true)
        .await
        .map_err(Error::database("be created"))?;
    let mark = format!("PRAGMA application_id = {}", schema::APPLICATION_ID);
    sqlx::query(sqlx::AssertSqlSafe(mark))
        .execute(&mut connection)
        .await
        .map_err(Error::database("be created"))?;
    schema::migrate(&mut connection, None).await?;
    schema::describe(&mut connection, epoch)
        .await
        .map_err(Error::database("be created"))?;
    connection
        .close()
        .await
        .map_err(Error::database("be created"))?;
    unfinished.finish(path)
}
