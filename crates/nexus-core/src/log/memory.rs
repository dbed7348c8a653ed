//! A log in memory: the backend of examples and tests, and the model for every other.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::Mutex;
use uuid::Uuid;

use super::{
    Backend, EventPage, EventQuery, Head, Loaded, Order, Pages, Plan, ReadError, RecordQuery,
    RecordWrite, RecordsBy, Wanted, WriteError, backend::committed,
};
use crate::{Epoch, Event, Key, OnceEntry, OnceKey, Random, Record, Seq};

/// A log in memory. Clones share it, so it is both sides: hand one clone over as [`Backend`] and one as
/// [`Pages`].
#[derive(Clone)]
pub struct Memory(Arc<Mutex<Contents>>);

struct Contents {
    head: Head,
    events: Vec<Arc<Event>>,
    once: HashMap<OnceKey, OnceEntry>,
    records: BTreeMap<Key, Record>,
}

impl Memory {
    /// An empty log with a new epoch.
    #[must_use]
    pub fn new(random: &Random) -> Self {
        let epoch = Epoch::new(u32::from_le_bytes(random.bytes()));
        Self(Arc::new(Mutex::new(Contents {
            head: Head::empty(epoch),
            events: Vec::new(),
            once: HashMap::new(),
            records: BTreeMap::new(),
        })))
    }
}

impl Backend for Memory {
    async fn begin(&mut self, wanted: &Wanted) -> Result<(Head, Loaded), WriteError> {
        let contents = self.0.lock();
        let records = wanted
            .records
            .iter()
            .filter_map(|key| Some((key.clone(), contents.records.get(key)?.clone())));
        let once = wanted
            .once
            .iter()
            .filter_map(|key| Some((*key, contents.once.get(key)?.clone())));
        Ok((
            contents.head,
            Loaded {
                records: records.collect(),
                once: once.collect(),
            },
        ))
    }

    async fn commit(&mut self, plan: &Plan) -> Result<(), WriteError> {
        let mut contents = self.0.lock();
        if let Some(batch) = committed(plan) {
            contents.events.extend(batch.events.iter().cloned());
        }
        contents.head = plan.head;
        contents
            .once
            .extend(plan.once.iter().map(|entry| (entry.key, entry.clone())));
        for write in &plan.records {
            match write {
                RecordWrite::Put(record) => {
                    contents.records.insert(record.key.clone(), record.clone());
                }
                RecordWrite::Delete(key) => {
                    contents.records.remove(key);
                }
            }
        }
        Ok(())
    }

    async fn reopen(&mut self) -> Result<Head, WriteError> {
        Ok(self.0.lock().head)
    }
}

impl Pages for Memory {
    async fn events(&self, query: &EventQuery) -> Result<EventPage, ReadError> {
        let contents = self.0.lock();
        let index = |seq: Seq| {
            usize::try_from(seq.get())
                .unwrap_or(usize::MAX)
                .min(contents.events.len())
        };
        let range =
            &contents.events[index(query.after).min(index(query.through))..index(query.through)];
        Ok(match query.order {
            Order::Ascending => page(query, range.iter(), query.through),
            Order::Descending => page(query, range.iter().rev(), query.after.next()),
        })
    }

    async fn event_by_id(&self, id: Uuid) -> Result<Option<Arc<Event>>, ReadError> {
        Ok(self
            .0
            .lock()
            .events
            .iter()
            .find(|event| event.id == id)
            .cloned())
    }

    async fn records(&self, query: &RecordQuery) -> Result<Vec<Record>, ReadError> {
        let contents = self.0.lock();
        let of_family = contents
            .records
            .values()
            .filter(|record| record.key.family == query.family);
        let after = |record: &&Record| {
            query
                .after_key
                .as_ref()
                .is_none_or(|after| record.key.key > *after)
        };
        let mut found: Vec<Record> = match &query.by {
            RecordsBy::All => of_family.filter(after).cloned().collect(),
            RecordsBy::Scope(scope) => of_family
                .filter(after)
                .filter(|record| record.scope == *scope)
                .cloned()
                .collect(),
            RecordsBy::Due(state, now_us) => {
                let mut due: Vec<Record> = of_family
                    .filter(|record| {
                        record.state == *state
                            && record.due_us.is_some_and(|due_us| due_us <= *now_us)
                    })
                    .cloned()
                    .collect();
                due.sort_by_key(|record| record.due_us);
                due
            }
        };
        found.truncate(query.records_max);
        Ok(found)
    }

    async fn record(&self, key: &Key) -> Result<Option<Record>, ReadError> {
        Ok(self.0.lock().records.get(key).cloned())
    }

    async fn once(&self, key: &OnceKey) -> Result<Option<OnceEntry>, ReadError> {
        Ok(self.0.lock().once.get(key).cloned())
    }

    async fn pruned_through(&self) -> Result<Seq, ReadError> {
        Ok(Seq::ZERO)
    }

    async fn last_before(&self, time_us: i64) -> Result<Seq, ReadError> {
        let contents = self.0.lock();
        let count = contents
            .events
            .partition_point(|event| event.time_us <= time_us);
        Ok(Seq::new(count as u64))
    }
}

/// Takes what matches until a bound is met.
fn page<'a>(
    query: &EventQuery,
    range: impl Iterator<Item = &'a Arc<Event>>,
    end: Seq,
) -> EventPage {
    let mut page = EventPage {
        reached: end,
        done: true,
        ..EventPage::default()
    };
    let mut bytes = 0;
    let mut previous = match query.order {
        Order::Ascending => query.after,
        Order::Descending => query.through.next(),
    };
    for (examined, event) in range.enumerate() {
        let matches = query.patterns.matches(&event.topic);
        let heavy =
            matches && !page.events.is_empty() && bytes + event.payload.len() > query.bytes_max;
        if page.events.len() >= query.events_max || examined >= query.examined_max || heavy {
            page.reached = previous;
            page.done = false;
            return page;
        }
        if matches {
            bytes += event.payload.len();
            page.events.push(event.clone());
        }
        previous = event.seq;
    }
    page
}
