//! Statements over many rows, in a few fixed row counts, so that each stays prepared.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqliteConnection, sqlite::SqliteArguments};

/// The row counts, largest first. Text that is prepared anew for each batch costs two to four times as much.
const ROW_COUNTS: [usize; 5] = [256, 64, 16, 4, 1];

/// One statement in every row count.
#[derive(Debug)]
pub(crate) struct ByRows([Arc<str>; ROW_COUNTS.len()]);

impl ByRows {
    /// A statement that begins with `head`, has the text of `row` for each row (told the row's index), and
    /// ends with `tail`.
    fn new(head: &str, row: impl Fn(&mut String, usize), tail: &str) -> Self {
        Self(ROW_COUNTS.map(|count| {
            let mut text = String::from(head);
            for n in 0..count {
                if n > 0 {
                    text.push(',');
                }
                row(&mut text, n);
            }
            text.push_str(tail);
            text.into()
        }))
    }

    /// The same with a row of so many placeholders. They have no numbers, because SQLite finds a numbered
    /// one by walking through all of them.
    fn placeholders(head: &str, columns: usize, tail: &str) -> Self {
        let row = format!("(?{})", ",?".repeat(columns - 1));
        Self::new(head, |text, _| text.push_str(&row), tail)
    }

    /// New events.
    pub(crate) fn insert_events() -> Self {
        Self::placeholders(
            "INSERT INTO events (seq,time_us,id,topic,source,seal,salt,commitment,key,causes,payload) VALUES ",
            EVENT_COLUMNS,
            "",
        )
    }

    /// New once-keys, and those that take the place of an expired one.
    pub(crate) fn put_once() -> Self {
        Self::placeholders(
            "INSERT OR REPLACE INTO once (key,fingerprint,first,last,expires_us,seal) VALUES ",
            6,
            "",
        )
    }

    /// Records, new or changed.
    pub(crate) fn put_records() -> Self {
        Self::placeholders(
            "INSERT OR REPLACE INTO records (family,key,owner,scope,state,due_us,revision,fence,body,seal) VALUES ",
            10,
            "",
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
        Self::new(&head, |text, _| text.push('?'), ")")
    }

    /// The statement for the largest count that `rows` fill, and that count.
    pub(crate) fn filled(&self, rows: usize) -> (Arc<str>, usize) {
        let n = ROW_COUNTS
            .iter()
            .position(|count| *count <= rows)
            .unwrap_or(ROW_COUNTS.len() - 1);
        (self.0[n].clone(), ROW_COUNTS[n])
    }

    /// The statement for the smallest count that holds `rows`, and that count; for more rows than any
    /// holds, the largest. Placeholders that nothing is bound to are NULL, which equals nothing.
    pub(crate) fn holding(&self, rows: usize) -> (Arc<str>, usize) {
        let n = ROW_COUNTS
            .iter()
            .rposition(|count| *count >= rows)
            .unwrap_or(0);
        (self.0[n].clone(), ROW_COUNTS[n])
    }
}

/// The columns of an event.
pub(crate) const EVENT_COLUMNS: usize = 11;

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

    #[test]
    fn rows_are_filled_from_the_largest_count_down() {
        let statement = ByRows::delete_records();
        let mut left = 347;
        let mut counts = Vec::new();
        while left > 0 {
            let (sql, count) = statement.filled(left);
            assert_eq!(sql.matches("(?,?)").count(), count);
            counts.push(count);
            left -= count;
        }
        assert_eq!(counts, [256, 64, 16, 4, 4, 1, 1, 1]);
    }

    #[test]
    fn questions_take_the_smallest_count_that_holds_them() {
        let statement = ByRows::select_once();
        for (rows, count) in [(1, 1), (2, 4), (5, 16), (64, 64), (65, 256), (900, 256)] {
            assert_eq!(statement.holding(rows).1, count, "{rows} rows");
        }
    }
}
