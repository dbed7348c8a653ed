//! Removes idempotency keys that have expired, a little with the commits that add new ones.

use std::sync::Arc;

use nexus_core::{Clock, Plan};
use sqlx::SqliteConnection;

use super::once::{Waiting, key_of};

/// After this many new keys …
const KEYS_PER_SWEEP: usize = 1_024;
/// … this many are looked at: twice as many, so that expired keys never outnumber the others for long.
const SWEPT_KEYS: i64 = 2_048;

const NEWEST_ROW: &str = "SELECT coalesce(max(n), 0) FROM once";
const LAST_ROW: &str =
    "SELECT max(n) FROM (SELECT n FROM once WHERE n > ?1 AND n <= ?2 ORDER BY n LIMIT ?3)";
const SWEEP_ROWS: &str =
    "DELETE FROM once WHERE n > ?1 AND n <= ?2 AND expires_us <= ?3 RETURNING n, name, name_rest";
const LAST_PLACE: &str =
    "SELECT max(name) FROM (SELECT name FROM once_places WHERE name > ?1 ORDER BY name LIMIT ?2)";
const SWEEP_PLACES: &str = "DELETE FROM once_places WHERE name > ?1 AND name <= ?2 AND n <= ?3 \
    AND NOT EXISTS (SELECT 1 FROM once WHERE once.n = once_places.n)";

/// Walks through the keys in the order they came, again and again, and behind that through their places,
/// each in the order in which it is stored. It needs no index over the time, which would cost every new key
/// another tree.
#[derive(Debug)]
pub(crate) struct Sweep {
    clock: Clock,
    waiting: Arc<Waiting>,
    new_keys: usize,
    after_row: i64,
    /// The newest row when this round began, where it ends: to go on behind it would be to walk along with
    /// the newest keys for ever, and never come back to those that have expired.
    round_end: i64,
    /// The last row that was ever looked at: those behind it cannot be gone, so that their places need not
    /// be looked at either.
    swept: i64,
    after_place: i64,
}

impl Sweep {
    pub(crate) fn new(clock: Clock, waiting: Arc<Waiting>) -> Self {
        Self {
            clock,
            waiting,
            new_keys: 0,
            after_row: 0,
            round_end: 0,
            swept: 0,
            after_place: i64::MIN,
        }
    }

    /// Whether it goes on with this plan. Then the plan is not written in one trip.
    pub(crate) fn is_due(&self, plan: &Plan) -> bool {
        self.new_keys + plan.once.len() >= KEYS_PER_SWEEP
    }

    /// Counts the keys of a plan that was written in one trip.
    pub(crate) fn passed(&mut self, plan: &Plan) {
        self.new_keys += plan.once.len();
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
            self.rows(connection).await?;
            self.places(connection).await?;
        }
        Ok(())
    }

    async fn rows(&mut self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        if self.after_row >= self.round_end {
            self.after_row = 0;
            self.round_end = sqlx::query_scalar(NEWEST_ROW)
                .fetch_one(&mut *connection)
                .await?;
        }
        let last: Option<i64> = sqlx::query_scalar(LAST_ROW)
            .bind(self.after_row)
            .bind(self.round_end)
            .bind(SWEPT_KEYS)
            .fetch_one(&mut *connection)
            .await?;
        let last = last.unwrap_or(self.round_end);
        let gone: Vec<(i64, i64, i64)> = sqlx::query_as(SWEEP_ROWS)
            .bind(self.after_row)
            .bind(last)
            .bind(self.clock.now_us())
            .fetch_all(connection)
            .await?;
        for (row, name, rest) in gone {
            // Should the commit fail, what waits is read again.
            self.waiting.forget(&key_of(name, rest), row);
        }
        self.after_row = last;
        self.swept = self.swept.max(last);
        Ok(())
    }

    async fn places(&mut self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let last: Option<i64> = sqlx::query_scalar(LAST_PLACE)
            .bind(self.after_place)
            .bind(SWEPT_KEYS)
            .fetch_one(&mut *connection)
            .await?;
        let Some(last) = last else {
            self.after_place = i64::MIN;
            return Ok(());
        };
        sqlx::query(SWEEP_PLACES)
            .bind(self.after_place)
            .bind(last)
            .bind(self.swept)
            .execute(connection)
            .await?;
        self.after_place = last;
        Ok(())
    }
}
