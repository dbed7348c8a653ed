//! Statements over many rows, in a few fixed row counts, so that each stays prepared.

use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::{
    Arguments, AssertSqlSafe, Either, Executor, SqliteConnection, encode::Encode,
    sqlite::SqliteArguments, types::Type,
};

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
        Self::new(head, &placeholders(columns), tail)
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

    /// The same for events with once-keys, with as many rows for keys as for events.
    pub(crate) fn whole_batch_with_once() -> Self {
        let (event, key) = (placeholders(EVENT_COLUMNS), placeholders(ONCE_COLUMNS));
        Self(ROW_COUNTS.map(|count| {
            let events = vec![event.as_str(); count].join(",");
            let keys = vec![key.as_str(); count].join(",");
            format!(
                "{BEGIN_WITH_BATCH}; \
                 {INSERT_EVENTS} SELECT * FROM (VALUES {events}) WHERE column1 IS NOT NULL; \
                 {PUT_ONCE} SELECT * FROM (VALUES {keys}) WHERE column1 IS NOT NULL; COMMIT"
            )
            .into()
        }))
    }

    /// New once-keys.
    pub(crate) fn put_once() -> Self {
        Self::insert(PUT_ONCE, ONCE_COLUMNS)
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

    /// The once-keys in some rows.
    pub(crate) fn select_once_by_row() -> Self {
        let columns = super::rows::ONCE_COLUMNS;
        let tail = format!(") SELECT {columns} FROM w CROSS JOIN once AS o ON o.n = w.n");
        Self::placeholders("WITH w (n) AS (VALUES ", 1, &tail)
    }

    /// The once-keys with some names, of those that have their places; with one name, in the order of
    /// their rows.
    pub(crate) fn select_once_by_name() -> Self {
        let tail = format!(
            ") SELECT {} FROM w CROSS JOIN once_places AS p ON p.name = w.name \
             CROSS JOIN once AS o ON o.n = p.n",
            super::rows::ONCE_COLUMNS
        );
        Self::placeholders("WITH w (name) AS (VALUES ", 1, &tail)
    }

    /// A whole transaction: so many places of once-keys, behind the mark that says which rows have theirs.
    pub(crate) fn place_once(rows: usize) -> Arc<str> {
        let rows = vec!["(?,?)"; rows].join(",");
        format!(
            "BEGIN IMMEDIATE; UPDATE meta SET once_placed = ?, once_placing = ?, once_placing_name = ? \
             WHERE id = 1; \
             INSERT OR IGNORE INTO once_places (name,n) \
             SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL; COMMIT"
        )
        .into()
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

    /// The statement that holds all `rows`, if there is one, and how many it has room for.
    pub(crate) fn holding(&self, rows: usize) -> Option<(Arc<str>, usize)> {
        let n = ROW_COUNTS.iter().rposition(|count| *count >= rows)?;
        Some((self.0[n].clone(), ROW_COUNTS[n]))
    }
}

fn placeholders(columns: usize) -> String {
    format!("(?{})", ",?".repeat(columns - 1))
}

/// Begins a transaction and adds the link in the chain that its events hang on: one trip to the connection's
/// thread instead of two.
pub(crate) const BEGIN_WITH_BATCH: &str =
    "BEGIN IMMEDIATE; INSERT INTO batches (last, first, time_us, hash) VALUES (?, ?, ?, ?)";
/// A failed statement ends the transaction, and the connection with it: so SQLite need not keep what the
/// statement changes, to undo it alone.
const INSERT_EVENTS: &str =
    "INSERT OR ROLLBACK INTO events (seq,time_us,id,topic,source,seal,salt,key,causes,payload)";
const PUT_ONCE: &str =
    "INSERT OR ROLLBACK INTO once (n,name,name_rest,fingerprint,first,last,expires_us,seal)";

/// The columns of an event.
pub(crate) const EVENT_COLUMNS: usize = 10;
/// The columns of a once-key.
pub(crate) const ONCE_COLUMNS: usize = 8;
/// The columns of a record.
pub(crate) const RECORD_COLUMNS: usize = 10;

/// Room for so many values.
pub(crate) fn arguments(count: usize) -> SqliteArguments {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(count, 0);
    arguments
}

/// Adds a value.
pub(crate) fn bind<'q, T>(arguments: &mut SqliteArguments, value: T) -> Result<(), sqlx::Error>
where
    T: Encode<'q, sqlx::Sqlite> + Type<sqlx::Sqlite>,
{
    arguments.add(value).map_err(sqlx::Error::Encode)
}

/// Runs one of these texts, in one trip to the connection's thread, until its last statement is done.
///
/// The statements are counted: an answer that ends before the last of them comes from a thread that died, which
/// `execute` would take for a success. And who has counted need not be woken again to hear that nothing follows.
///
/// # Errors
/// What the first statement that failed says, or [`sqlx::Error::WorkerCrashed`].
pub(crate) async fn run(
    connection: &mut SqliteConnection,
    sql: Arc<str>,
    arguments: SqliteArguments,
) -> Result<(), sqlx::Error> {
    let mut left = sql.split(';').count();
    let mut answers = connection.fetch_many(sqlx::query_with(AssertSqlSafe(sql), arguments));
    while left > 0 {
        match answers.try_next().await? {
            Some(Either::Left(_)) => left -= 1,
            Some(Either::Right(_)) => {}
            None => return Err(sqlx::Error::WorkerCrashed),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::Connection;

    use super::*;

    /// As from a thread that died on the way: the text has one statement less than it seems to have.
    #[tokio::test]
    async fn answers_that_end_before_the_last_statement_are_no_success() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let mut ran = async |sql: &str| run(&mut connection, sql.into(), arguments(0)).await;
        ran("BEGIN; CREATE TABLE a (b); COMMIT").await.unwrap();
        let cut = ran("BEGIN; INSERT INTO a VALUES (1);").await;
        assert!(matches!(cut, Err(sqlx::Error::WorkerCrashed)), "{cut:?}");
        let failed = ran("INSERT INTO a VALUES (1); INSERT INTO c VALUES (1); COMMIT").await;
        assert!(
            matches!(failed, Err(sqlx::Error::Database(_))),
            "{failed:?}"
        );
        ran("ROLLBACK").await.unwrap();
    }

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
