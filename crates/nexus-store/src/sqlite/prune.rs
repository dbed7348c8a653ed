//! Retention's cut: the oldest events and their batches go, and the place from which the chain goes on stays.

use nexus_core::{Digest, PRUNE_BYTES_MAX, PRUNE_EVENTS_MAX, Pruned, Seq};
use sqlx::{Row, SqliteConnection};

use super::rows::{from_column, to_column};

/// Where the next step cuts. `?1` is the last event that may go, `?2` how many events, `?3` how many bytes.
/// That is the last batch within the bounds, or the first when it exceeds them alone. Each answer is found
/// by a number in a tree; of the events, no more are looked at than the step removes.
const CUT: &str = "\
    WITH bound (low, high) AS (SELECT pruned_seq, min(?1, pruned_seq + ?2) FROM meta WHERE id = 1), \
    sized (seq, bytes) AS (SELECT e.seq, sum(coalesce(length(e.payload), 4)) \
        OVER (ORDER BY e.seq ROWS UNBOUNDED PRECEDING) \
        FROM bound CROSS JOIN events AS e ON e.seq > bound.low AND e.seq <= bound.high), \
    fits (seq) AS (SELECT coalesce((SELECT min(seq) - 1 FROM sized WHERE bytes > ?3), \
        (SELECT high FROM bound))), \
    cut (last) AS (SELECT coalesce( \
        (SELECT max(last) FROM batches WHERE last <= (SELECT seq FROM fits)), \
        (SELECT min(last) FROM batches WHERE last <= ?1))) \
    SELECT b.last, b.hash, \
        NOT EXISTS (SELECT 1 FROM batches AS n WHERE n.last > b.last AND n.last <= ?1) \
    FROM cut CROSS JOIN batches AS b ON b.last = cut.last";

/// The whole transaction. Readers see the events gone and the place of the cut at one moment.
const REMOVE: &str = "\
    BEGIN IMMEDIATE; \
    UPDATE meta SET pruned_seq = ?, pruned_hash = ? WHERE id = 1; \
    DELETE FROM events WHERE seq <= ?; \
    DELETE FROM batches WHERE last <= ?; \
    COMMIT";

/// Removes one step of what is up to `through`; the batch that ends with `newest` stays, because it says
/// where the log ends.
pub(crate) async fn step(
    connection: &mut SqliteConnection,
    through: Seq,
    newest: Seq,
) -> Result<Pruned, sqlx::Error> {
    let row = sqlx::query(CUT)
        .bind(to_column(through.min(newest.previous())))
        .bind(PRUNE_EVENTS_MAX.cast_signed())
        .bind(PRUNE_BYTES_MAX.cast_signed())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else {
        let pruned = sqlx::query_scalar("SELECT pruned_seq FROM meta WHERE id = 1")
            .fetch_one(connection)
            .await?;
        return Ok(Pruned {
            through: from_column(pruned),
            done: true,
        });
    };
    let last: i64 = row.try_get(0)?;
    let hash: &[u8] = row.try_get(1)?;
    let done = row.try_get(2)?;
    // What was changed into no hash is found here, before the batch that it stood for is gone.
    let hash = Digest::try_from(hash).map_err(|error| sqlx::Error::Decode(error.into()))?;
    sqlx::query(REMOVE)
        .bind(last)
        .bind(hash.as_slice())
        .bind(last)
        .bind(last)
        .execute(connection)
        .await?;
    Ok(Pruned {
        through: from_column(last),
        done,
    })
}

#[cfg(test)]
mod tests {
    use sqlx::AssertSqlSafe;

    use super::*;
    use crate::sqlite::{connect, schema};

    #[tokio::test]
    async fn the_cut_is_found_without_reading_a_table() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = connect::writer(&folder.path().join("x.db"), true)
            .await
            .unwrap();
        schema::migrate(&mut connection, None).await.unwrap();
        let plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {CUT}")))
            .fetch_all(&mut connection)
            .await
            .unwrap();
        for row in plan {
            let step: String = row.get("detail");
            let reads_a_table = ["SCAN e", "SCAN b", "SCAN n", "SCAN batches", "SCAN events"];
            assert!(!reads_a_table.contains(&step.as_str()), "{step}");
        }
    }
}
