//! Checkpoints: when what was written ahead is copied into the database, and when its file is cut.

use nexus_core::Plan;
use sqlx::{Row, SqliteConnection};

use super::readers::Readers;

/// After this many frames the write-ahead log is copied into the database.
const FRAMES_PER_CHECKPOINT: u64 = 1_000;
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

/// When the next checkpoint is due.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    /// About how many frames were written since the last one.
    frames: u64,
    wal_bytes_max: u64,
    /// The size at which the file is cut; more than the bound after somebody was in the way.
    cut_at_bytes: u64,
}

impl Checkpoints {
    pub(crate) fn new(wal_bytes_max: u64) -> Self {
        Self {
            frames: 0,
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

    /// Copies if it is time.
    pub(crate) async fn run_if_due(
        &mut self,
        connection: &mut SqliteConnection,
        readers: &Readers,
    ) -> Result<(), sqlx::Error> {
        if self.frames < FRAMES_PER_CHECKPOINT {
            return Ok(());
        }
        let row = sqlx::query(PASSIVE).fetch_one(&mut *connection).await?;
        self.frames = 0;
        let wal_bytes = u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0) * FRAME_BYTES;
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
            self.wal_bytes_max
        } else {
            tracing::warn!(
                wal_bytes,
                "another process reads the log, so that its write-ahead file cannot be cut"
            );
            wal_bytes + self.wal_bytes_max / 4
        };
        Ok(())
    }
}
