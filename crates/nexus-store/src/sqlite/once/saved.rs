//! The filter of names as a clean end leaves it in the database, so that the next life need not gather them.
//!
//! It holds the names of the rows that have their places, and is taken only while those are the same: the
//! moment that more of them have one it is out of date, without being touched.

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{Mark, filter::Filter};
use crate::sqlite::rows::filter_seal;

/// A part is so large: larger ones would have to be in memory as a whole, several times.
const PART_BYTES: usize = 1 << 20;

const EMPTY: &str = "BEGIN IMMEDIATE; DELETE FROM once_filter";
const PUT: &str = "INSERT INTO once_filter \
    (part, parts, placed, placing, placing_name, names, names_max, seal, bits) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
const GET: &str = "SELECT part, parts, placed, placing, placing_name, names, names_max, seal, bits \
    FROM once_filter WHERE part = ?1 AND (placed, placing, placing_name) = (?2, ?3, ?4)";
const NEXT: &str = "SELECT part, parts, placed, placing, placing_name, names, names_max, seal, bits \
    FROM once_filter WHERE part >= ?1 ORDER BY part LIMIT 1";

/// What is said of each part beside its bits: which it is of how many, for which rows, and how many names the
/// filter has and has room for.
type About = [i64; 7];

/// Keeps a filter that has the names of all rows that have their places, instead of any other.
pub(crate) async fn save(
    connection: &mut SqliteConnection,
    filter: &Filter,
    mark: Mark,
) -> Result<(), sqlx::Error> {
    let bytes = filter.to_bytes();
    let (names, names_max) = filter.size();
    let parts = column(bytes.len().div_ceil(PART_BYTES));
    sqlx::query(EMPTY).execute(&mut *connection).await?;
    for (part, bits) in (0..).zip(bytes.chunks(PART_BYTES)) {
        let Mark {
            placed,
            placing,
            name,
        } = mark;
        let (names, names_max) = (column(names), column(names_max));
        let about: About = [part, parts, placed, placing, name, names, names_max];
        let put = about.iter().fold(sqlx::query(PUT), |put, n| put.bind(*n));
        let put = put.bind(filter_seal(&about, bits)).bind(bits);
        put.execute(&mut *connection).await?;
    }
    sqlx::query("COMMIT").execute(connection).await?;
    Ok(())
}

/// The filter that was kept, if it has the names of all rows that have their places, is whole, and takes no
/// more memory than it may.
pub(crate) async fn load(
    connection: &mut SqliteConnection,
    mark: Mark,
    bytes_max: usize,
) -> Result<Option<Filter>, sqlx::Error> {
    let mut bytes = Vec::new();
    let mut first: Option<About> = None;
    for part in 0.. {
        if first.is_some_and(|first| part == first[1]) {
            break;
        }
        let row = sqlx::query(GET)
            .bind(part)
            .bind(mark.placed)
            .bind(mark.placing)
            .bind(mark.name)
            .fetch_optional(&mut *connection)
            .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let Some((about, bits)) = decode(&row) else {
            tracing::warn!(
                "what was kept of the names of idempotency keys was changed; they are gathered again"
            );
            return Ok(None);
        };
        if first.get_or_insert(about)[1..] != about[1..] || bytes.len() + bits.len() > bytes_max {
            return Ok(None);
        }
        bytes.extend_from_slice(bits);
    }
    let size = first.and_then(|about| {
        let names = usize::try_from(about[5]).ok()?;
        Some((names, usize::try_from(about[6]).ok()?))
    });
    Ok(size.and_then(|(names, names_max)| Filter::from_bytes(&bytes, names, names_max)))
}

/// Whether everything in the table is what was written.
pub(crate) async fn is_sound(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let mut from = 0;
    loop {
        let row = sqlx::query(NEXT)
            .bind(from)
            .fetch_optional(&mut *connection)
            .await?;
        let Some(row) = row else {
            return Ok(true);
        };
        let Some((about, _)) = decode(&row) else {
            return Ok(false);
        };
        from = about[0] + 1;
    }
}

/// One part, if it is what was written.
fn decode(row: &SqliteRow) -> Option<(About, &[u8])> {
    let mut about = About::default();
    for (column, number) in about.iter_mut().enumerate() {
        *number = row.try_get_unchecked(column).ok()?;
    }
    let seal: i64 = row.try_get_unchecked(7).ok()?;
    let bits: &[u8] = row.try_get_unchecked(8).ok()?;
    (seal == filter_seal(&about, bits)).then_some((about, bits))
}

fn column(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
