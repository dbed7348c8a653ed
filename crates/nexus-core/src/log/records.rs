//! Reading all records of a family, page by page: whoever needs them all holds one page of them at a time.

use std::sync::Arc;

use super::{Log, RecordQuery, RecordsBy};
use crate::{Error, Family, Record};

/// This many records are read at once. One may hold what was asked and answered, tens of kilobytes of it.
pub const RECORDS_PAGE_MAX: usize = 250;

/// Records of a family in the order of their keys, a page at a time. Those that are removed meanwhile, also by
/// whoever reads, are left out, and nothing else is; those that are added may come or not.
#[derive(Debug)]
pub struct RecordPages {
    log: Log,
    query: RecordQuery,
    is_through: bool,
}

impl Log {
    /// Every record of a family, or with a scope those of it.
    ///
    /// ```
    /// # use nexus_core::{Change, Command, Family, Key, Nexus, Principal};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let nexus = Nexus::in_memory().await?;
    /// # let log = nexus.log();
    /// const NOTE: Family = Family::new("note");
    /// let changes = vec![Change::put(Key::new(NOTE, "a"), "1"), Change::put(Key::new(NOTE, "b"), "2")];
    /// let command = Command { changes, ..Command::default() };
    /// log.submit(&Principal::nexus(), command).await?;
    /// let mut pages = log.all_records(NOTE, None);
    /// let mut found = 0;
    /// while let Some(page) = pages.next().await? {
    ///     found += page.len();
    /// }
    /// assert_eq!(found, 2);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn all_records(&self, family: Family, scope: Option<Arc<str>>) -> RecordPages {
        RecordPages {
            log: self.clone(),
            query: RecordQuery {
                family,
                by: scope.map_or(RecordsBy::All, RecordsBy::Scope),
                after_key: None,
                records_max: RECORDS_PAGE_MAX,
            },
            is_through: false,
        }
    }
}

impl RecordPages {
    /// The next page, which is not empty; nothing when there are no more.
    ///
    /// # Errors
    /// [`Error::Read`]; asked again it goes on from the same place.
    pub async fn next(&mut self) -> Result<Option<Vec<Record>>, Error> {
        if self.is_through {
            return Ok(None);
        }
        let page = self.log.records(&self.query).await?;
        // A page that is short was the last one.
        self.is_through = page.len() < self.query.records_max;
        let Some(last) = page.last() else {
            return Ok(None);
        };
        self.query.after_key = Some(last.key.key.clone());
        Ok(Some(page))
    }

    /// All that are left, for those who hold what they say in memory anyway.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn collect(mut self) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        while let Some(page) = self.next().await? {
            records.extend(page);
        }
        Ok(records)
    }
}
