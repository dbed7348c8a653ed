//! What is known of the names that have places.
//!
//! With the first key of a life it is read as the last one has left it. If that did not end cleanly, the names
//! are gathered beside the writer, and until that is done each key is looked up. They are gathered again, for a
//! larger filter, when there are many more of them: that also forgets those that have expired.

use std::{sync::Arc, time::Instant};

use sqlx::SqliteConnection;
use tokio::task::JoinHandle;

use super::{
    Mark,
    filter::{Filter, prefix},
    saved,
};
use crate::sqlite::readers::Readers;

/// A filter has room for as many times the names that there are when it is made.
const ROOM: usize = 2;
/// So many names are gathered at once.
const NAMES_PER_STEP: i64 = 20_000;
/// So many names tell about how many there are.
const NAMES_OF_SAMPLE: i64 = 4_096;

const SAMPLE: &str = "SELECT count(*), coalesce(max(name), 0) FROM \
    (SELECT name FROM once_places ORDER BY name LIMIT ?1)";
const GATHER: &str = "SELECT max(name), group_concat(name >> 32) FROM \
    (SELECT name FROM once_places WHERE name >= ?1 ORDER BY name LIMIT ?2)";

/// The names that have places, as far as they are known.
#[derive(Debug)]
pub(crate) struct KnownNames {
    /// Has all of them.
    complete: Option<Arc<Filter>>,
    gathering: Option<Gathering>,
    is_wanted: bool,
    /// What the last life has left may be read: nothing got its place in this one yet.
    may_load: bool,
    /// The filter that is kept in the database has the names of these rows.
    saved_with: Option<Mark>,
    /// Gathering failed when these rows had their places: it is not tried again before there are more.
    failed_with: Option<Mark>,
    bytes_max: usize,
}

#[derive(Debug)]
struct Gathering {
    task: JoinHandle<Result<(), sqlx::Error>>,
    /// Gets also the names that are placed meanwhile.
    filter: Arc<Filter>,
}

impl Drop for Gathering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl KnownNames {
    /// Nothing is known yet; it will take no more than so much memory, and twice that while it gathers.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            complete: None,
            gathering: None,
            is_wanted: false,
            may_load: true,
            saved_with: None,
            failed_with: None,
            bytes_max,
        }
    }

    /// No name has a place yet, and about so many will have one soon.
    pub(crate) fn begin_with_none(&mut self, names: usize) {
        if self.complete.is_none() {
            self.complete = Some(self.filter(names));
        }
    }

    /// Keys come, so that it is worth knowing the names.
    pub(crate) fn want(&mut self) {
        self.is_wanted = true;
    }

    /// False only for a name that surely has no place.
    pub(crate) fn may_have(&self, name: i64) -> bool {
        let complete = self.complete.as_ref();
        complete.is_none_or(|filter| filter.may_have(prefix(name)))
    }

    /// Adds a name that is about to get its place: before that is committed, so that whoever gathers finds
    /// it in the table, or here.
    pub(crate) fn add(&mut self, name: i64) {
        self.may_load = false;
        let gathered = self.gathering.as_ref().map(|gathering| &gathering.filter);
        for filter in self.complete.iter().chain(gathered) {
            filter.add(prefix(name));
        }
    }

    /// Begins to gather if it is time, and takes what was gathered.
    pub(crate) async fn tend(
        &mut self,
        connection: &mut SqliteConnection,
        readers: &Arc<Readers>,
        mark: Mark,
    ) -> Result<(), sqlx::Error> {
        let is_gathered = |gathering: &mut Gathering| gathering.task.is_finished();
        if let Some(mut gathering) = self.gathering.take_if(is_gathered) {
            match (&mut gathering.task).await {
                Ok(Ok(())) => self.complete = Some(gathering.filter.clone()),
                Ok(Err(error)) => {
                    self.failed_with = Some(mark);
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot gather which idempotency keys there are; each new one is looked up"
                    );
                }
                // It panicked, or the runtime ends.
                Err(_) => self.failed_with = Some(mark),
            }
        }
        if self.is_wanted && mark.is_any_placed() && self.complete.is_none() && self.may_load {
            self.may_load = false;
            if let Some(filter) = saved::load(connection, mark, self.bytes_max).await? {
                self.complete = Some(Arc::new(filter));
                self.saved_with = Some(mark);
            }
        }
        let is_due = match &self.complete {
            None => self.is_wanted && mark.is_any_placed(),
            Some(filter) => filter.is_overfull(),
        };
        if is_due && self.gathering.is_none() && self.failed_with != Some(mark) {
            let (names, last) = sqlx::query_as(SAMPLE)
                .bind(NAMES_OF_SAMPLE)
                .fetch_one(connection)
                .await?;
            let filter = self.filter(estimate(names, last));
            let task = tokio::spawn(gather(readers.clone(), filter.clone()));
            self.gathering = Some(Gathering { task, filter });
        }
        Ok(())
    }

    /// Keeps what is known for the next life, at a clean end.
    pub(crate) async fn save(
        &mut self,
        connection: &mut SqliteConnection,
        mark: Mark,
    ) -> Result<(), sqlx::Error> {
        if let Some(filter) = &self.complete
            && mark.is_any_placed()
            && self.saved_with != Some(mark)
        {
            saved::save(connection, filter, mark).await?;
            self.saved_with = Some(mark);
        }
        Ok(())
    }

    /// A filter for about so many names.
    fn filter(&self, names: usize) -> Arc<Filter> {
        Arc::new(Filter::new(names.saturating_mul(ROOM), self.bytes_max))
    }

    /// Whether new names need not be looked up.
    #[cfg(test)]
    pub(crate) fn is_complete(&self) -> bool {
        self.complete.is_some()
    }

    /// Whether they are gathered now.
    #[cfg(test)]
    pub(crate) fn is_gathering(&self) -> bool {
        self.gathering.is_some()
    }
}

/// How many names there are, from the last of the first few: they are hashes, so they lie evenly.
fn estimate(names: i64, last: i64) -> usize {
    let names = usize::try_from(names).unwrap_or(0);
    if names < NAMES_OF_SAMPLE as usize {
        return names;
    }
    let span = u64::from(prefix(last)) + 1;
    usize::try_from(((names as u64) << 32) / span).unwrap_or(usize::MAX)
}

/// Adds all names that have places. Between two steps it lets others read and write for as long as the step
/// took.
async fn gather(readers: Arc<Readers>, filter: Arc<Filter>) -> Result<(), sqlx::Error> {
    let mut from = Some(i64::MIN);
    while let Some(name) = from {
        let begun = Instant::now();
        let mut reader = readers.acquire().await?;
        let step = sqlx::query_as(GATHER)
            .bind(name)
            .bind(NAMES_PER_STEP)
            .fetch_one(&mut *reader)
            .await;
        let (last, prefixes): (Option<i64>, Option<String>) = match step {
            Ok(step) => step,
            Err(error) => {
                reader.discard();
                return Err(error);
            }
        };
        drop(reader);
        for upper_half in prefixes
            .as_deref()
            .unwrap_or_default()
            .split_terminator(',')
        {
            let upper_half: i64 = upper_half.parse().map_err(|_| sqlx::Error::RowNotFound)?;
            filter.add(prefix(upper_half << 32));
        }
        from = last.and_then(|last| last.checked_add(1));
        tokio::time::sleep(begun.elapsed()).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_tells_how_many_names_there_are() {
        assert_eq!(estimate(0, 0), 0);
        assert_eq!(estimate(17, i64::MAX), 17);
        let all = NAMES_OF_SAMPLE as usize;
        assert_eq!(estimate(NAMES_OF_SAMPLE, i64::MAX), all);
        // A tenth of the way from the first name that there can be to the last.
        let last = (i128::from(i64::MIN) + (1 << 64) / 10) as i64;
        assert!((all * 10 - 2..=all * 10).contains(&estimate(NAMES_OF_SAMPLE, last)));
    }
}
