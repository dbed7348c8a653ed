//! Statements over many rows, in a few fixed row counts, so that each stays prepared.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqliteConnection, sqlite::SqliteArguments};

/// The row counts, largest first. Text that is prepared anew for each batch costs two to four times as much.
const ROW_COUNTS: [usize; 9] = [256, 128, 64, 32, 16, 8, 4, 2, 1];

/// One statement in every row count.
#[derive(Debug)]
pub(crate) struct ByRows([Arc<str>; ROW_COUNTS.len()]);

impl ByRows {
    /// A statement that begins with `head`, has `row` for each row, and ends with `tail`.
    fn new(head: &str, row: &str, tail: &str) -> Self {
        Self(ROW_COUNTS.map(|count| {
            let rows = vec![row; count].join(",");
            format!("{head}{rows}{tail}").into()
        }))
    }

    /// The same with a row of so many placeholders. They have no numbers, because SQLite finds a numbered
    /// one by walking through all of them.
    fn placeholders(head: &str, columns: usize, tail: &str) -> Self {
        let row = format!("(?{})", ",?".repeat(columns - 1));
        Self::new(head, &row, tail)
    }

    /// Rows that are written, without those that nothing is bound to.
    fn insert(head: &str, columns: usize) -> Self {
        let head = format!("{head} SELECT * FROM (VALUES ");
        Self::placeholders(&head, columns, ") WHERE column1 IS NOT NULL")
    }

    /// New events.
    pub(crate) fn insert_events() -> Self {
        Self::insert(INSERT_EVENTS, EVENT_COLUMNS)
    }

    /// A whole transaction: the link of a batch, its events, and the commit.
    pub(crate) fn whole_batch() -> Self {
        let head = format!("{BEGIN_WITH_BATCH}; {INSERT_EVENTS} SELECT * FROM (VALUES ");
        let tail = ") WHERE column1 IS NOT NULL; COMMIT";
        Self::placeholders(&head, EVENT_COLUMNS, tail)
    }

    /// New once-keys, and those that take the place of an expired one.
    pub(crate) fn put_once() -> Self {
        Self::insert(
            "INSERT OR REPLACE INTO once (key,fingerprint,first,last,expires_us,seal)",
            ONCE_COLUMNS,
        )
    }

    /// Records, new or changed.
    pub(crate) fn put_records() -> Self {
        Self::insert(
            "INSERT OR REPLACE INTO records (family,key,owner,scope,state,due_us,revision,fence,body,seal)",
            RECORD_COLUMNS,
        )
    }

    /// Records that are gone.
    pub(crate) fn delete_records() -> Self {
        Self::placeholders("DELETE FROM records WHERE (family,key) IN (VALUES ", 2, ")")
    }

    /// The records with some names.
    pub(crate) fn select_records() -> Self {
        let tail = format!(
            ") SELECT {}, r.family FROM w CROSS JOIN records AS r ON r.family = w.family AND r.key = w.key",
            super::rows::RECORD_COLUMNS
        );
        Self::placeholders("WITH w (family,key) AS (VALUES ", 2, &tail)
    }

    /// The once-keys with some names.
    pub(crate) fn select_once() -> Self {
        let head = format!(
            "SELECT {} FROM once WHERE key IN (",
            super::rows::ONCE_COLUMNS
        );
        Self::new(&head, "?", ")")
    }

    /// The statement for the first of `rows`, and how many of them it takes. Each is a trip to the
    /// connection's thread: so one that stays half empty is better than several that are filled.
    /// Placeholders that nothing is bound to are NULL, which stands for no row and equals no name.
    pub(crate) fn next(&self, rows: usize) -> (Arc<str>, usize) {
        let holding = ROW_COUNTS.iter().rposition(|count| *count >= rows);
        let filled = ROW_COUNTS.iter().position(|count| *count <= rows);
        let n = holding
            .filter(|n| ROW_COUNTS[*n] <= rows * 2)
            .or(filled)
            .unwrap_or(ROW_COUNTS.len() - 1);
        (self.0[n].clone(), ROW_COUNTS[n].min(rows))
    }
}

/// Begins a transaction and adds the link in the chain that its events hang on: one trip to the connection's
/// thread instead of two.
pub(crate) const BEGIN_WITH_BATCH: &str =
    "BEGIN IMMEDIATE; INSERT INTO batches (last, first, time_us, hash) VALUES (?, ?, ?, ?)";
const INSERT_EVENTS: &str =
    "INSERT INTO events (seq,time_us,id,topic,source,seal,salt,commitment,key,causes,payload)";

/// The columns of an event.
pub(crate) const EVENT_COLUMNS: usize = 11;
/// The columns of a once-key.
pub(crate) const ONCE_COLUMNS: usize = 6;
/// The columns of a record.
pub(crate) const RECORD_COLUMNS: usize = 10;

/// Runs one of these statements.
pub(crate) async fn run(
    connection: &mut SqliteConnection,
    sql: Arc<str>,
    arguments: SqliteArguments,
) -> Result<(), sqlx::Error> {
    sqlx::query_with(AssertSqlSafe(sql), arguments)
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(mut rows: usize) -> Vec<usize> {
        let statement = ByRows::delete_records();
        let mut counts = Vec::new();
        while rows > 0 {
            let (sql, count) = statement.next(rows);
            assert!(sql.matches("(?,?)").count() >= count);
            counts.push(count);
            rows -= count;
        }
        counts
    }

    #[test]
    fn few_trips_and_little_waste() {
        assert_eq!(taken(1), [1]);
        assert_eq!(taken(3), [3]);
        assert_eq!(taken(5), [5]);
        assert_eq!(taken(63), [63]);
        assert_eq!(taken(64), [64]);
        assert_eq!(taken(65), [65]);
        assert_eq!(taken(257), [256, 1]);
        assert_eq!(taken(200), [200]);
        assert_eq!(taken(1_000), [256, 256, 256, 232]);
        for rows in 1..2_000 {
            assert_eq!(taken(rows).iter().sum::<usize>(), rows);
            assert!(taken(rows).len() <= rows / 256 + 1, "{rows} rows");
        }
    }
}
