//! Removes idempotency keys that have expired, a little with the commits that add new ones.

use nexus_core::{Clock, OnceKey, Plan};
use sqlx::SqliteConnection;

/// After this many new keys …
const KEYS_PER_SWEEP: usize = 256;
/// … this many are looked at: twice as many, so that expired keys never outnumber the others for long.
const SWEPT_KEYS: i64 = 512;

const LAST_OF_SWEEP: &str =
    "SELECT max(key) FROM (SELECT key FROM once WHERE key > ?1 ORDER BY key LIMIT ?2)";
const SWEEP: &str = "DELETE FROM once WHERE key > ?1 AND key <= ?2 AND expires_us <= ?3";

/// Walks through the keys in their order, again and again. It needs no index over the time, which would
/// cost every new key another tree.
#[derive(Debug)]
pub(crate) struct Sweep {
    clock: Clock,
    new_keys: usize,
    after: Vec<u8>,
}

impl Sweep {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            new_keys: 0,
            after: Vec::new(),
        }
    }

    /// Goes on if the plan has added enough keys; inside the plan's transaction.
    pub(crate) async fn after(
        &mut self,
        connection: &mut SqliteConnection,
        plan: &Plan,
    ) -> Result<(), sqlx::Error> {
        self.new_keys += plan.once.len();
        while self.new_keys >= KEYS_PER_SWEEP {
            self.new_keys -= KEYS_PER_SWEEP;
            self.step(connection).await?;
        }
        Ok(())
    }

    async fn step(&mut self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let last: Option<Vec<u8>> = sqlx::query_scalar(LAST_OF_SWEEP)
            .bind(self.after.as_slice())
            .bind(SWEPT_KEYS)
            .fetch_one(&mut *connection)
            .await?;
        let Some(last) = last else {
            self.after.clear();
            return Ok(());
        };
        sqlx::query(SWEEP)
            .bind(self.after.as_slice())
            .bind(last.as_slice())
            .bind(self.clock.now_us())
            .execute(connection)
            .await?;
        debug_assert_eq!(last.len(), size_of::<OnceKey>());
        self.after = last;
        Ok(())
    }
}
