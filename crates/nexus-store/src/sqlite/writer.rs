//! The writing side: one connection, one transaction after the other, and what follows from a failure.

use std::{path::PathBuf, sync::Arc};

use nexus_core::{
    Backend, Cause, Clock, Fault, Head, Loaded, Outcome, Plan, Pruned, Seq, Wanted, WriteError,
};
use sqlx::{Connection, SqliteConnection};

use super::{
    ballast::Ballast,
    checkpoint::Checkpoints,
    connect,
    fault::{classify, is_damage, write_error},
    file::DataFile,
    head::read_head,
    lock::Lock,
    names::Names,
    once::OnceKeys,
    prune,
    readers::Readers,
    sweep::Sweep,
    transaction::{FreshNames, Statements},
};
use crate::{Error, SqliteOptions};

/// The writing side of a log in SQLite.
#[derive(Debug)]
pub struct SqliteBackend {
    path: PathBuf,
    /// Absent only after a failure, until [`Backend::reopen`] has a new one.
    pub(super) connection: Option<SqliteConnection>,
    head: Head,
    /// The disk was full at the last failure.
    is_full: bool,
    statements: Statements,
    names: Arc<Names>,
    readers: Arc<Readers>,
    ballast: Arc<Ballast>,
    checkpoints: Checkpoints,
    pub(super) once: OnceKeys,
    sweep: Sweep,
    /// Held as long as the log is.
    _lock: Lock,
}

impl SqliteBackend {
    pub(crate) fn new(
        options: &SqliteOptions,
        connection: SqliteConnection,
        head: Head,
        (names, once, readers): (Arc<Names>, OnceKeys, Arc<Readers>),
        clock: Clock,
        (file, lock): (DataFile, Lock),
    ) -> Self {
        let ballast = Ballast::new(&options.path, options.ballast_bytes);
        if let Err(error) = ballast.load() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "there is no space for ballast: when the disk is full, little will work until space returns"
            );
        }
        Self {
            path: options.path.clone(),
            connection: Some(connection),
            head,
            is_full: false,
            statements: Statements::new(),
            names,
            readers,
            ballast: Arc::new(ballast),
            checkpoints: Checkpoints::new(options.path.clone(), file, options.wal_bytes_max),
            sweep: Sweep::new(clock, once.waiting()),
            once,
            _lock: lock,
        }
    }

    async fn load(&mut self, wanted: &Wanted) -> Result<Loaded, Cause> {
        let connection = self.connection.as_mut().ok_or_else(no_connection)?;
        self.statements.load(connection, &self.once, wanted).await
    }

    /// Writes the plan up to, and without, the commit.
    async fn write(&mut self, plan: &Plan) -> Result<FreshNames, sqlx::Error> {
        let connection = self.connection.as_mut().ok_or_else(no_connection)?;
        let fresh = self
            .statements
            .write(connection, &self.names, &self.once, plan)
            .await?;
        self.sweep.after(connection, plan).await?;
        Ok(fresh)
    }

    /// Writes and commits the plan at once, if it is of the kind for which that can be done.
    async fn write_whole(&mut self, plan: &Plan) -> Result<bool, sqlx::Error> {
        let connection = self.connection.as_mut().ok_or_else(no_connection)?;
        if self.sweep.is_due(plan) {
            return Ok(false);
        }
        let whole = self
            .statements
            .write_whole(connection, &self.names, &self.once, plan)
            .await?;
        if whole {
            self.sweep.passed(plan);
        }
        Ok(whole)
    }

    fn committed(&mut self, plan: &Plan) {
        self.head = plan.head;
        self.once.committed(plan);
        self.checkpoints.wrote(plan);
    }

    /// A failure in or before the commit: only what a new connection sees tells which.
    async fn undecided(&mut self, error: sqlx::Error, plan: &Plan) -> WriteError {
        let (fault, source) = self.fail(error.into()).await;
        let outcome = self.outcome(plan).await;
        write_error(fault, outcome, source)
    }

    async fn end(&mut self) -> Result<(), sqlx::Error> {
        let connection = self.connection.as_mut().ok_or_else(no_connection)?;
        sqlx::query("COMMIT").execute(connection).await?;
        Ok(())
    }

    /// Draws the consequences of a failure: the connection is not used again.
    async fn fail(&mut self, error: Cause) -> (Fault, Cause) {
        let ballast = self.ballast.clone();
        let fault = match error.downcast_ref::<sqlx::Error>() {
            Some(error) => classify(error, || ballast.is_disk_full()),
            // What was read contradicts itself.
            None => Fault::Fatal,
        };
        let failed = self.connection.take();
        match fault {
            // Closing them would copy into the database what may not be on the disk.
            Fault::Fatal => std::mem::forget((failed, self.checkpoints.take_connection())),
            Fault::Full => {
                self.is_full = true;
                self.ballast.drop_overboard();
                self.replace(failed).await;
            }
            Fault::Transient => self.replace(failed).await,
        }
        (fault, error)
    }

    /// Opens a new connection, then closes the old one: so it is never the last, whose closing would
    /// checkpoint.
    async fn replace(&mut self, old: Option<SqliteConnection>) {
        self.connection = match connect::writer(&self.path, false).await {
            Ok(connection) => Some(connection),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot open a new connection to the log"
                );
                None
            }
        };
        for old in old.into_iter().chain(self.checkpoints.take_connection()) {
            // It failed already, or copied for one that did; what it says now adds nothing.
            let _ = old.close().await;
        }
    }

    /// What is known of a plan whose commit failed, from what a new connection sees.
    async fn outcome(&mut self, plan: &Plan) -> Outcome {
        let Some(connection) = self.connection.as_mut() else {
            return Outcome::Unknown;
        };
        let absent = if plan.events.is_empty() {
            // Keys of this very plan may be there, in rows that nobody heard of.
            self.once.reload(connection).await.is_ok()
                && self
                    .statements
                    .is_absent(connection, &self.once, plan)
                    .await
                    .unwrap_or(false)
        } else {
            read_head(connection)
                .await
                .is_ok_and(|head| head == plan.previous)
        };
        if absent {
            Outcome::NotStored
        } else {
            Outcome::Unknown
        }
    }

    /// A connection that answers, with the head and the topics that it sees.
    async fn connect(&mut self) -> Result<Head, Error> {
        if let Some(connection) = self.connection.as_mut()
            && let Ok(head) = read_head(connection).await
            && self.names.reload(connection).await.is_ok()
            && self.once.reload(connection).await.is_ok()
        {
            return Ok(head);
        }
        let old = self.connection.take();
        let mut connection = connect::writer(&self.path, false)
            .await
            .map_err(Error::database("be opened"))?;
        if let Some(old) = old {
            let _ = old.close().await;
        }
        connect::check_settings(&mut connection).await?;
        let head = read_head(&mut connection).await?;
        self.names
            .reload(&mut connection)
            .await
            .map_err(Error::database("read its topics"))?;
        self.once
            .reload(&mut connection)
            .await
            .map_err(Error::database("read its idempotency keys"))?;
        self.connection = Some(connection);
        Ok(head)
    }
}

impl Backend for SqliteBackend {
    /// Nobody else can write while this backend holds the lock: what is read here is still so when
    /// [`Backend::commit`] begins the transaction, together with its first row. That spares every batch a
    /// trip to the connection's thread, and a batch that comes to nothing two.
    async fn begin(&mut self, wanted: &Wanted) -> Result<(Head, Loaded), WriteError> {
        match self.load(wanted).await {
            Ok(loaded) => Ok((self.head, loaded)),
            Err(error) => {
                let (fault, source) = self.fail(error).await;
                Err(write_error(fault, Outcome::NotStored, source))
            }
        }
    }

    async fn commit(&mut self, plan: &Plan) -> Result<(), WriteError> {
        if plan.is_empty() {
            return Ok(());
        }
        match self.write_whole(plan).await {
            Ok(true) => {
                self.committed(plan);
                return Ok(());
            }
            Ok(false) => {}
            Err(error) => return Err(self.undecided(error, plan).await),
        }
        let fresh = match self.write(plan).await {
            Ok(fresh) => fresh,
            Err(error) => {
                // Without a COMMIT nothing of it can ever be in the log.
                let (fault, source) = self.fail(error.into()).await;
                return Err(write_error(fault, Outcome::NotStored, source));
            }
        };
        if let Err(error) = self.end().await {
            return Err(self.undecided(error, plan).await);
        }
        self.names.add(fresh.topics);
        self.names.add(fresh.sources);
        self.committed(plan);
        Ok(())
    }

    async fn reopen(&mut self) -> Result<Head, WriteError> {
        if self.is_full {
            let ballast = self.ballast.clone();
            let loaded = tokio::task::spawn_blocking(move || ballast.load()).await;
            let loaded = loaded.unwrap_or_else(|panicked| Err(panicked.into()));
            loaded.map_err(|error| write_error(Fault::Full, Outcome::NotStored, error))?;
        }
        match self.connect().await {
            Ok(head) => {
                self.is_full = false;
                self.head = head;
                Ok(head)
            }
            Err(error) => Err(write_error(fault_of(&error), Outcome::NotStored, error)),
        }
    }

    /// A step that failed may be done or not; the next one finds out, and removes nothing twice.
    async fn prune(&mut self, through: Seq) -> Result<Pruned, WriteError> {
        let step = match self.connection.as_mut() {
            Some(connection) => prune::step(connection, through, self.head.last).await,
            None => Err(no_connection()),
        };
        match step {
            Ok(step) => {
                self.checkpoints.pruned();
                Ok(step)
            }
            Err(error) => {
                let (fault, source) = self.fail(error.into()).await;
                Err(write_error(fault, Outcome::Unknown, source))
            }
        }
    }

    async fn maintain(&mut self) -> Result<(), WriteError> {
        let Some(connection) = self.connection.as_mut() else {
            return Ok(());
        };
        let result = async {
            self.once.gather(connection, &self.readers).await?;
            let places = self.once.place(connection).await?;
            self.checkpoints.placed(places);
            self.checkpoints.run_if_due(connection, &self.readers).await
        };
        match result.await {
            Ok(()) => Ok(()),
            Err(error) => {
                let (fault, source) = self.fail(error).await;
                Err(write_error(fault, Outcome::NotStored, source))
            }
        }
    }

    async fn maintenance_due(&mut self) {
        if self.connection.is_none() {
            // Nothing can be done before there is one again.
            return std::future::pending().await;
        }
        self.checkpoints.copied().await;
    }

    async fn close(&mut self) {
        self.readers.close().await;
        if let Some(connection) = self.connection.as_mut()
            && let Err(error) = self.once.save(connection).await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot keep the names of idempotency keys for the next start, which gathers them again"
            );
        }
        self.checkpoints.close().await;
        // The last connection to close copies the write-ahead log into the database and removes it.
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the log did not close cleanly; nothing is lost"
            );
        }
        self.checkpoints.close_file();
    }
}

/// What it says of the storage that a connection could not be opened or read.
fn fault_of(error: &Error) -> Fault {
    match error {
        Error::Damaged(_) | Error::Setting { .. } | Error::SqliteTooOld { .. } => Fault::Fatal,
        Error::Database { source, .. } => match source.downcast_ref::<sqlx::Error>() {
            Some(error) if is_damage(error) => Fault::Fatal,
            _ => Fault::Transient,
        },
        _ => Fault::Transient,
    }
}

fn no_connection() -> sqlx::Error {
    sqlx::Error::PoolClosed
}

#[cfg(test)]
mod tests {
    use nexus_core::{PatternSet, Random};

    use super::*;
    use crate::Sqlite;

    /// A commit that was kept although it was reported as failed leaves topics behind that the writer never
    /// heard of. Readers would pass over their events.
    #[tokio::test]
    async fn topics_of_a_commit_that_nobody_knew_of_are_found_on_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions::new(folder.path().join("nexus-log.db"));
        let opened = Sqlite::open(options, Clock::System, Random::system()).await;
        let (mut backend, _) = opened.unwrap();
        let patterns = PatternSet::parse(["test.unheard"]).unwrap();
        let connection = backend.connection.as_mut().unwrap();
        sqlx::query("INSERT INTO topics (id, name) VALUES (7, 'test.unheard')")
            .execute(connection)
            .await
            .unwrap();
        assert_eq!(backend.names.matching(&patterns), Some(Vec::new()));
        backend.reopen().await.unwrap();
        // It is the only topic, so that everything matches.
        assert_eq!(backend.names.matching(&patterns), None);
        backend.connection = None;
        backend.reopen().await.unwrap();
        assert_eq!(backend.names.matching(&patterns), None);
    }
}
