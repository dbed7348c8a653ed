//! Idempotency keys: kept in the order they came, found by name.
//!
//! Names are hashes. A tree of them that grows with each commit would have one page written for each new
//! key, sixteen times the bytes of the event that it came with: measured, a key then cost twice the event
//! itself, and three times with ten million keys. So a commit only appends rows. Where they are is kept in
//! memory until there are many, and then written in the order of the names, a little after each commit, so
//! that a page takes several at once. After a restart, the rows that have no place yet are read again.
//!
//! A name that has a place is looked up in a tree far larger than what is kept of it in memory. Most keys are
//! new, and [`known`] tells of nearly all of those that they need not be looked up.

pub(crate) mod filter;
mod known;
pub(crate) mod saved;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use nexus_core::{Cause, OnceEntry, OnceKey, Plan};
use parking_lot::RwLock;
use sqlx::{AssertSqlSafe, SqliteConnection};
use tokio::task::JoinHandle;

use self::known::KnownNames;
use super::{
    readers::Readers,
    rows::decode_once,
    statements::{ByRows, arguments, bind, run},
};

/// The rows whose places are only in memory.
const WITHOUT_PLACE: &str = "SELECT n, name, name_rest FROM once \
    WHERE n > ?1 AND NOT (n <= ?2 AND name <= ?3) ORDER BY n";

/// So many rows wait for their places. In memory that is 7 MiB, and as much again while they are written.
const WAITING_MIN: usize = 128 << 10;
/// More wait where there are many keys, so that a page still takes several at once: one for so many keys …
const KEYS_PER_WAITING: i64 = 16;
/// … but not more than this.
const WAITING_MAX: usize = 512 << 10;
/// So many places are written in one transaction.
const PLACES_PER_STEP: usize = 512;
/// For so many new rows, one place more is written than there are rows, so that all are done before as many
/// wait again. Hardly more: no commit shall be slower than the others for it.
const ROWS_PER_MORE: usize = 4;

/// The rows whose places are only in memory. Shared with readers.
#[derive(Debug, Default)]
pub(crate) struct Waiting(RwLock<Rows>);

#[derive(Debug, Default)]
struct Rows {
    new: HashMap<OnceKey, i64>,
    /// Those that get their places now.
    placing: HashMap<OnceKey, i64>,
}

impl Waiting {
    /// The row of a key, if it has no place yet.
    pub(crate) fn row(&self, key: &OnceKey) -> Option<i64> {
        let rows = self.0.read();
        rows.new.get(key).or_else(|| rows.placing.get(key)).copied()
    }

    /// A row that is gone.
    pub(crate) fn forget(&self, key: &OnceKey, row: i64) {
        let mut rows = self.0.write();
        let Rows { new, placing } = &mut *rows;
        for rows in [new, placing] {
            if rows.get(key) == Some(&row) {
                rows.remove(key);
            }
        }
    }
}

/// The writer's side of the keys.
#[derive(Debug)]
pub(crate) struct OnceKeys {
    waiting: Arc<Waiting>,
    /// The last row.
    last: i64,
    mark: Mark,
    placing: Option<Placing>,
    known: KnownNames,
    /// How many places may be written now.
    allowance: usize,
    pub(crate) waiting_min: usize,
    by_row: ByRows,
    by_name: ByRows,
    place: Arc<str>,
}

/// Which rows have their places: a mark in the database that moves with them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The rows through here have them.
    pub(crate) placed: i64,
    /// Those through here get them now, in the order of their names …
    pub(crate) placing: i64,
    /// … and have them through this name.
    pub(crate) name: i64,
}

impl Mark {
    pub(crate) async fn read(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        const MARK: &str =
            "SELECT once_placed, once_placing, once_placing_name FROM meta WHERE id = 1";
        let (placed, placing, name) = sqlx::query_as(MARK).fetch_one(connection).await?;
        Ok(Self {
            placed,
            placing,
            name,
        })
    }

    pub(crate) fn is_any_placed(&self) -> bool {
        self.placed > 0 || self.placing > 0
    }

    /// Whether a row has its place.
    pub(crate) fn has_placed(&self, row: i64, name: i64) -> bool {
        row <= self.placed || (row <= self.placing && name <= self.name)
    }
}

/// Rows on their way to their places.
#[derive(Debug)]
struct Placing {
    /// Name and row, in the order of the names; absent until they are sorted.
    places: Option<Vec<(i64, i64)>>,
    sorting: JoinHandle<Vec<(i64, i64)>>,
    done: usize,
    /// The last of the rows.
    through: i64,
}

impl OnceKeys {
    pub(crate) fn new(filter_bytes_max: usize) -> Self {
        Self {
            known: KnownNames::new(filter_bytes_max),
            waiting: Arc::default(),
            last: 0,
            mark: Mark::default(),
            placing: None,
            allowance: 0,
            waiting_min: WAITING_MIN,
            by_row: ByRows::select_once_by_row(),
            by_name: ByRows::select_once_by_name(),
            place: ByRows::place_once(PLACES_PER_STEP),
        }
    }

    /// The rows whose places are only in memory.
    pub(crate) fn waiting(&self) -> Arc<Waiting> {
        self.waiting.clone()
    }

    /// Reads which rows wait for their places: at the start, and after a failure.
    pub(crate) async fn reload(
        &mut self,
        connection: &mut SqliteConnection,
    ) -> Result<(), sqlx::Error> {
        let mark = Mark::read(connection).await?;
        let rows: Vec<(i64, i64, i64)> = sqlx::query_as(WITHOUT_PLACE)
            .bind(mark.placed)
            .bind(mark.placing)
            .bind(mark.name)
            .fetch_all(connection)
            .await?;
        self.mark = mark;
        // A number is not given twice while it may have a place.
        let newest = rows.last().map_or(0, |row| row.0);
        self.last = newest.max(mark.placed).max(mark.placing);
        let mut waiting = Rows::default();
        for (n, name, rest) in rows {
            let is_placing = n <= mark.placing;
            let rows = if is_placing {
                &mut waiting.placing
            } else {
                &mut waiting.new
            };
            rows.insert(key_of(name, rest), n);
        }
        let is_placing = !waiting.placing.is_empty();
        *self.waiting.0.write() = waiting;
        self.placing = is_placing.then(|| self.sort(mark.placing));
        Ok(())
    }

    /// The number of the next row.
    pub(crate) fn next(&self) -> i64 {
        self.last + 1
    }

    /// Counts and remembers the keys of a plan that is committed.
    pub(crate) fn committed(&mut self, plan: &Plan) {
        if plan.once.is_empty() {
            return;
        }
        let mut rows = self.waiting.0.write();
        for entry in &plan.once {
            self.last += 1;
            rows.new.insert(entry.key, self.last);
        }
        drop(rows);
        self.known.want();
        let rows = plan.once.len();
        self.allowance += rows + rows.div_ceil(ROWS_PER_MORE);
    }

    /// Whether some rows are on their way to their places.
    #[cfg(test)]
    pub(crate) fn is_placing(&self) -> bool {
        let places = self
            .placing
            .as_ref()
            .and_then(|placing| placing.places.as_ref());
        places.is_some()
    }

    /// How many rows wait for their places.
    #[cfg(test)]
    pub(crate) fn waiting_rows(&self) -> usize {
        let rows = self.waiting.0.read();
        rows.new.len() + rows.placing.len()
    }

    /// Whether rows are sorted that will get their places.
    #[cfg(test)]
    pub(crate) fn is_sorting(&self) -> bool {
        let placing = self.placing.as_ref();
        placing.is_some_and(|placing| placing.places.is_none())
    }

    /// Whether some rows have their places.
    #[cfg(test)]
    pub(crate) fn has_placed(&self) -> bool {
        self.mark.placed > 0
    }

    /// What is known of some keys.
    pub(crate) async fn load(
        &self,
        connection: &mut SqliteConnection,
        keys: &[OnceKey],
    ) -> Result<HashMap<OnceKey, OnceEntry>, Cause> {
        let mut found = HashMap::new();
        let (mut rows, mut names) = (Vec::new(), Vec::new());
        for key in keys {
            match self.waiting.row(key) {
                Some(row) => rows.push(row),
                None => names.push(halves(key).0),
            }
        }
        names.retain(|name| self.mark.is_any_placed() && self.known.may_have(*name));
        for (statement, numbers) in [(&self.by_name, names), (&self.by_row, rows)] {
            let mut left = numbers.as_slice();
            while !left.is_empty() {
                let (sql, count) = statement.next(left.len());
                let (now, later) = left.split_at(count);
                let mut arguments = arguments(count);
                for number in now {
                    bind(&mut arguments, *number)?;
                }
                let rows = sqlx::query_with(AssertSqlSafe(sql), arguments)
                    .fetch_all(&mut *connection)
                    .await?;
                // In the order they came: of two with one key, the earlier one had expired.
                for row in rows {
                    let entry = decode_once(&row)?;
                    found.insert(entry.key, entry);
                }
                left = later;
            }
        }
        Ok(found)
    }

    /// Writes some places, if it is time; says how many.
    pub(crate) async fn place(
        &mut self,
        connection: &mut SqliteConnection,
    ) -> Result<usize, sqlx::Error> {
        if self.placing.is_none() && !self.begin() {
            self.allowance = 0;
            return Ok(0);
        }
        let Some(placing) = &mut self.placing else {
            return Ok(0);
        };
        if placing.places.is_none() && placing.sorting.is_finished() {
            placing.places = (&mut placing.sorting).await.ok();
            if placing.places.is_none() {
                // It panicked: they are sorted again.
                let through = placing.through;
                self.placing = Some(self.sort(through));
                return Ok(0);
            }
        }
        let Some(places) = &placing.places else {
            return Ok(0);
        };
        let left = &places[placing.done..];
        let step = step(left);
        if self.allowance < step {
            return Ok(0);
        }
        let is_last = step == left.len();
        let mark = Mark {
            placed: if is_last {
                placing.through
            } else {
                self.mark.placed
            },
            placing: placing.through,
            name: left[..step].last().map_or(self.mark.name, |place| place.0),
        };
        let mut arguments = arguments(3 + 2 * step);
        bind(&mut arguments, mark.placed)?;
        bind(&mut arguments, mark.placing)?;
        bind(&mut arguments, mark.name)?;
        for (name, row) in &left[..step] {
            self.known.add(*name);
            bind(&mut arguments, *name)?;
            bind(&mut arguments, *row)?;
        }
        run(connection, self.place.clone(), arguments).await?;
        self.mark = mark;
        self.allowance -= step;
        placing.done += step;
        if is_last {
            self.placing = None;
            // Only now that they are found by their places.
            self.waiting.0.write().placing = HashMap::new();
        }
        Ok(step)
    }

    /// Gathers what is known of the names, if it is time.
    pub(crate) async fn gather(
        &mut self,
        connection: &mut SqliteConnection,
        readers: &Arc<Readers>,
    ) -> Result<(), sqlx::Error> {
        self.known.tend(connection, readers, self.mark).await
    }

    /// Keeps for the next life what is known of the names.
    pub(crate) async fn save(
        &mut self,
        connection: &mut SqliteConnection,
    ) -> Result<(), sqlx::Error> {
        self.known.save(connection, self.mark).await
    }

    /// Whether new names need not be looked up.
    #[cfg(test)]
    pub(crate) fn knows_all(&self) -> bool {
        self.known.is_complete()
    }

    /// Whether the names are gathered now.
    #[cfg(test)]
    pub(crate) fn is_gathering(&self) -> bool {
        self.known.is_gathering()
    }

    /// Begins when many wait.
    fn begin(&mut self) -> bool {
        let for_many = usize::try_from(self.mark.placed / KEYS_PER_WAITING).unwrap_or(WAITING_MAX);
        let wanted = self.waiting_min.max(for_many.min(WAITING_MAX));
        let mut rows = self.waiting.0.write();
        if rows.new.len() < wanted {
            return false;
        }
        rows.placing = std::mem::take(&mut rows.new);
        drop(rows);
        if !self.mark.is_any_placed() {
            self.known.begin_with_none(wanted);
        }
        self.placing = Some(self.sort(self.last));
        true
    }

    /// Sorts what is to get its places beside the writer, which would stand still for 10 ms.
    fn sort(&mut self, through: i64) -> Placing {
        // However short this life is, it places some.
        self.allowance = self.allowance.max(PLACES_PER_STEP);
        let waiting = self.waiting.clone();
        let sorting = tokio::task::spawn_blocking(move || {
            let rows = waiting.0.read();
            let places = rows.placing.iter();
            let mut places: Vec<_> = places.map(|(key, row)| (halves(key).0, *row)).collect();
            drop(rows);
            places.sort_unstable();
            places
        });
        Placing {
            places: None,
            sorting,
            done: 0,
            through,
        }
    }
}

/// How many of these places are written in the next step. It does not end between two rows with one name: the
/// mark could not say which of them has its place.
fn step(places: &[(i64, i64)]) -> usize {
    let mut step = places.len().min(PLACES_PER_STEP);
    while step > 1
        && places
            .get(step)
            .is_some_and(|next| next.0 == places[step - 1].0)
    {
        step -= 1;
    }
    step
}

/// A key as two numbers; the first is what it is found by.
pub(crate) fn halves(key: &OnceKey) -> (i64, i64) {
    let number = u128::from_be_bytes(*key);
    ((number >> 64) as i64, number as i64)
}

/// The key of two numbers.
pub(crate) fn key_of(name: i64, rest: i64) -> OnceKey {
    let high = u128::from(name.cast_unsigned()) << 64;
    (high | u128::from(rest.cast_unsigned())).to_be_bytes()
}
