//! Checkpoints: when what was written ahead is copied into the database, and when its file is cut.
//!
//! Most is copied and synced beside the writer, which would stand still for 10 ms each time, on a connection
//! of its own. A copy that meets new commits cannot end the file, so that it would grow for ever: the writer
//! copies what little came meanwhile, and its next commit begins the file again.

use std::{mem::ManuallyDrop, path::PathBuf};

use nexus_core::{Cause, Plan};
use sqlx::{Connection, Row, SqliteConnection};
use tokio::task::JoinHandle;

use super::{connect, file::DataFile, readers::Readers};

/// After this many frames the write-ahead log is copied into the database.
const FRAMES_PER_COPY: u64 = 1_000;
/// With this many frames in the file the writer ends what was copied beside it, so that the file begins
/// again.
const FRAMES_PER_RESTART: u64 = 2_000;
/// How often what is in the file is copied, one time right after the other: what comes while the first is
/// copied and synced is much less, so that the last leaves the writer hardly anything to do.
const COPIES: usize = 2;
/// A frame: one page and its header.
const FRAME_BYTES: u64 = 4_096 + 24;
/// The pages that a commit changes however little it writes: the right edges of the tables and indexes.
const FRAMES_PER_COMMIT: u64 = 4;
/// So many once-keys fit into a page.
const ROWS_PER_FRAME: u64 = 32;
/// The pages that a step of pruning changes, seldom more.
const FRAMES_PER_PRUNING: u64 = 128;
/// How much of a row's weight goes to the indexes, as a divisor.
const INDEX_SHARE: u64 = 4;

/// Copies without waiting for anybody.
const PASSIVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";
/// Copies everything and cuts the file. No page of this process is being read then, and nobody else's
/// reader is worth waiting long for.
const TRUNCATE: &str =
    "PRAGMA busy_timeout = 100; PRAGMA wal_checkpoint(TRUNCATE); PRAGMA busy_timeout = 5000";

/// When the next checkpoint is due, and the one that runs beside the writer.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    path: PathBuf,
    file: DataFile,
    copier: Copier,
    /// About how many frames were written since the last copy began.
    frames: u64,
    /// How many frames were in the file before those.
    frames_before: u64,
    wal_bytes_max: u64,
    /// The size at which the file is cut; more than the bound after somebody was in the way.
    cut_at_bytes: u64,
}

/// The connection that copies beside the writer.
#[derive(Debug)]
enum Copier {
    /// Opened when it is first needed.
    Idle(Option<SqliteConnection>),
    Copying(JoinHandle<Copied>),
    Done(Copied),
}

/// A copy that ended. Its connection is not closed with it: when a sync has failed, a connection that closes
/// as the last would copy what may not be on the disk.
#[derive(Debug)]
struct Copied {
    connection: ManuallyDrop<SqliteConnection>,
    /// How many frames were in the file.
    result: Result<u64, Cause>,
}

impl Checkpoints {
    pub(crate) fn new(path: PathBuf, file: DataFile, wal_bytes_max: u64) -> Self {
        Self {
            path,
            file,
            copier: Copier::Idle(None),
            frames: 0,
            frames_before: 0,
            wal_bytes_max,
            cut_at_bytes: wal_bytes_max,
        }
    }

    /// Counts what a commit has written. An estimate: SQLite tells the number only when it is asked to
    /// copy.
    pub(crate) fn wrote(&mut self, plan: &Plan) {
        let bytes: usize = plan.events.iter().map(nexus_core::Validated::weight).sum();
        let bytes = bytes as u64;
        self.frames += FRAMES_PER_COMMIT
            + (bytes + bytes / INDEX_SHARE) / FRAME_BYTES
            + plan.once.len() as u64 / ROWS_PER_FRAME
            + plan.records.len() as u64 * 2;
    }

    /// Counts what a step of pruning has written: it touches every page that it frees, or the list of them.
    pub(crate) fn pruned(&mut self) {
        self.frames += FRAMES_PER_PRUNING;
    }

    /// Counts places of once-keys, each in a page of its own at worst.
    pub(crate) fn placed(&mut self, places: usize) {
        self.frames += places as u64 / 2;
    }

    /// Waits until a copy has ended; for ever if none runs. Tells of each copy once, so that whoever cannot
    /// do anything about it does not come back at once. May be dropped at any time.
    pub(crate) async fn copied(&mut self) {
        let Copier::Copying(copying) = &mut self.copier else {
            return std::future::pending().await;
        };
        self.copier = match copying.await {
            Ok(copied) => Copier::Done(copied),
            // It panicked, or the runtime ends. What was to be copied still is.
            Err(_) => Copier::Idle(None),
        };
    }

    /// Copies if it is time, or ends what was copied.
    pub(crate) async fn run_if_due(
        &mut self,
        connection: &mut SqliteConnection,
        readers: &Readers,
    ) -> Result<(), Cause> {
        // Nobody copies as fast as is written: the writer waits.
        if (self.frames_before + self.frames) * FRAME_BYTES >= self.cut_at_bytes {
            self.wait().await?;
            return self.restart(connection, readers).await;
        }
        if matches!(&self.copier, Copier::Copying(copying) if !copying.is_finished()) {
            return Ok(());
        }
        if self.wait().await? && self.frames_before >= FRAMES_PER_RESTART {
            return self.restart(connection, readers).await;
        }
        if self.frames < FRAMES_PER_COPY {
            return Ok(());
        }
        match self.begin().await {
            Ok(()) => Ok(()),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot open a second connection to the log; its write-ahead file is copied by the writer"
                );
                self.restart(connection, readers).await
            }
        }
    }

    /// Waits for the copy that runs, if one does, and takes what came of it; says whether there was one.
    async fn wait(&mut self) -> Result<bool, Cause> {
        if matches!(self.copier, Copier::Idle(_)) {
            return Ok(false);
        }
        if matches!(self.copier, Copier::Copying(_)) {
            self.copied().await;
        }
        let Copier::Done(copied) = std::mem::replace(&mut self.copier, Copier::Idle(None)) else {
            return Ok(true);
        };
        // Also one that failed stays: what is to become of it depends on why.
        self.copier = Copier::Idle(Some(ManuallyDrop::into_inner(copied.connection)));
        self.frames_before = copied.result?;
        Ok(true)
    }

    /// Begins to copy beside the writer.
    async fn begin(&mut self) -> Result<(), sqlx::Error> {
        let idle = match &mut self.copier {
            Copier::Idle(idle) => idle.take(),
            Copier::Copying(_) | Copier::Done(_) => return Ok(()),
        };
        let connection = match idle {
            Some(connection) => connection,
            None => connect::copier(&self.path).await?,
        };
        self.frames_before += self.frames;
        self.frames = 0;
        let copying = copy(ManuallyDrop::new(connection), self.file.clone());
        self.copier = Copier::Copying(tokio::spawn(copying));
        Ok(())
    }

    /// Copies the rest on the writer's connection, so that the file begins again, and cuts it if it is too
    /// large.
    async fn restart(
        &mut self,
        connection: &mut SqliteConnection,
        readers: &Readers,
    ) -> Result<(), Cause> {
        let (in_file, copied) = passive(&mut *connection).await?;
        self.frames = 0;
        self.frames_before = in_file;
        if copied == in_file {
            self.frames_before = 0;
            // Whoever was in the way is gone.
            self.cut_at_bytes = self.wal_bytes_max;
        }
        let wal_bytes = in_file * FRAME_BYTES;
        if wal_bytes < self.cut_at_bytes {
            return Ok(());
        }
        let _paused = readers.pause().await;
        let rows = sqlx::query(TRUNCATE).fetch_all(connection).await?;
        let busy = rows
            .iter()
            .find(|row| row.len() == 3)
            .map_or(Ok(1), |row| row.try_get::<i64, _>(0))?;
        self.cut_at_bytes = if busy == 0 {
            self.frames_before = 0;
            self.wal_bytes_max
        } else {
            tracing::warn!(
                wal_bytes,
                "another process reads the log, so that its write-ahead file cannot be cut"
            );
            // Each attempt holds everybody up. Who copies the whole log is in the way for long.
            wal_bytes * 2
        };
        Ok(())
    }

    /// The second connection, if it is at rest, for whoever has to decide what becomes of it.
    pub(crate) fn take_connection(&mut self) -> Option<SqliteConnection> {
        match &mut self.copier {
            Copier::Idle(idle) => idle.take(),
            Copier::Copying(_) | Copier::Done(_) => None,
        }
    }

    /// Ends the copy that runs, and closes its connection. What it says of a failure adds nothing: all that
    /// it was to copy is still in the file, and is copied by the last connection that closes.
    pub(crate) async fn close(&mut self) {
        let _ = self.wait().await;
        if let Some(connection) = self.take_connection() {
            let _ = connection.close().await;
        }
    }

    /// Closes the database file. Nobody in this process may have a connection to it any more.
    pub(crate) fn close_file(&self) {
        self.file.close();
    }
}

/// Copies what is in the file, and syncs the database: SQLite does so only when it has copied everything.
async fn copy(mut connection: ManuallyDrop<SqliteConnection>, file: DataFile) -> Copied {
    let mut result = Ok(0);
    for _ in 0..COPIES {
        result = copy_once(&mut connection, &file).await;
        if result.is_err() {
            break;
        }
    }
    Copied { connection, result }
}

async fn copy_once(connection: &mut SqliteConnection, file: &DataFile) -> Result<u64, Cause> {
    let (in_file, _) = passive(connection).await?;
    file.sync().await?;
    Ok(in_file)
}

/// Copies what can be copied; gives how many frames are in the file, and how many of them are copied.
async fn passive(connection: &mut SqliteConnection) -> Result<(u64, u64), sqlx::Error> {
    let row = sqlx::query(PASSIVE).fetch_one(connection).await?;
    // -1 where nothing was ever written ahead.
    let count = |column| Ok::<_, sqlx::Error>(u64::try_from(row.try_get::<i64, _>(column)?));
    Ok((count(1)?.unwrap_or(0), count(2)?.unwrap_or(0)))
}
