//! A log in memory: the backend of examples and tests, and the model for every other.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use uuid::Uuid;

use super::{
    Backend, EventPage, EventQuery, Fenced, Head, Loaded, Order, PRUNE_BYTES_MAX, PRUNE_EVENTS_MAX,
    Pages, Plan, Pruned, ReadError, RecordQuery, RecordWrite, RecordsBy, Wanted, WriteError,
    backend::committed,
};
use crate::{Epoch, Event, Key, OnceEntry, OnceKey, Random, Record, Seq};

/// A log in memory. Clones share it, so it is both sides: hand one clone over as [`Backend`] and one as
/// [`Pages`].
#[derive(Clone)]
pub struct Memory(Arc<Mutex<Contents>>);

struct Contents {
    head: Head,
    /// The event before the oldest that is kept.
    pruned: Seq,
    /// Events without gaps, up to the head.
    events: VecDeque<Arc<Event>>,
    /// Where each batch of them ends.
    batches: VecDeque<Seq>,
    /// What the events weigh.
    bytes: u64,
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
            pruned: Seq::ZERO,
            events: VecDeque::new(),
            batches: VecDeque::new(),
            bytes: 0,
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
        if let Some(batch) = committed(plan.clone()) {
            contents.bytes += weight(&batch.events);
            contents.events.extend(batch.events.iter().cloned());
            contents.batches.push_back(batch.last);
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

    async fn prune(&mut self, through: Seq) -> Result<Pruned, WriteError> {
        let mut contents = self.0.lock();
        let mut step = Pruned {
            through: contents.pruned,
            done: false,
        };
        let (mut events, mut bytes) = (0, 0);
        // The newest batch stays.
        while contents.batches.len() > 1
            && let Some(last) = contents.batches.front().copied()
            && last <= through
        {
            let count = contents.index(last);
            let payloads = contents
                .events
                .range(..count)
                .map(|event| event.payload.len() as u64);
            events += count as u64;
            bytes += payloads.sum::<u64>();
            let is_first = events == count as u64;
            if !is_first && (events > PRUNE_EVENTS_MAX || bytes > PRUNE_BYTES_MAX) {
                return Ok(step);
            }
            let gone: Vec<_> = contents.events.drain(..count).collect();
            contents.bytes -= weight(&gone);
            contents.batches.pop_front();
            contents.pruned = last;
            step.through = last;
        }
        step.done = true;
        Ok(step)
    }
}

impl Contents {
    /// How many of the kept events there are up to this one.
    fn index(&self, seq: Seq) -> usize {
        let count = seq.get().saturating_sub(self.pruned.get());
        usize::try_from(count)
            .unwrap_or(usize::MAX)
            .min(self.events.len())
    }
}

fn weight(events: &[Arc<Event>]) -> u64 {
    events.iter().map(|event| event.weight() as u64).sum()
}

impl Pages for Memory {
    async fn events(&self, query: &EventQuery) -> Result<EventPage, ReadError> {
        let contents = self.0.lock();
        let end = contents.index(query.through);
        let range = contents
            .events
            .range(contents.index(query.after).min(end)..end);
        Ok(match query.order {
            Order::Ascending => page(query, range, query.through),
            Order::Descending => page(query, range.rev(), query.after.next()),
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
            RecordsBy::DueAfter(state, time_us) => {
                let is_behind = |record: &&Record| {
                    record.due_us.is_some_and(|due_us| {
                        due_us > *time_us
                            || (due_us == *time_us && query.after_key.is_some() && after(record))
                    })
                };
                let mut behind: Vec<Record> = of_family
                    .filter(|record| record.state == *state)
                    .filter(is_behind)
                    .cloned()
                    .collect();
                behind.sort_by_key(|record| record.due_us);
                behind
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
        Ok(self.0.lock().pruned)
    }

    async fn fenced(&self, records_max: usize) -> Result<Vec<Fenced>, ReadError> {
        let contents = self.0.lock();
        let records = contents.records.values();
        let mut fenced: Vec<Fenced> = records
            .filter_map(|record| {
                Some(Fenced {
                    family: record.key.family.as_str().into(),
                    key: record.key.key.clone(),
                    fence: record.fence?,
                })
            })
            .collect();
        fenced.sort_by_key(|record| record.fence);
        fenced.truncate(records_max);
        Ok(fenced)
    }

    async fn used_bytes(&self) -> Result<u64, ReadError> {
        Ok(self.0.lock().bytes)
    }

    async fn last_before(&self, time_us: i64) -> Result<Seq, ReadError> {
        let contents = self.0.lock();
        let count = contents
            .events
            .partition_point(|event| event.time_us <= time_us);
        Ok(contents
            .events
            .range(..count)
            .next_back()
            .map_or(Seq::ZERO, |event| event.seq))
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
        let matches = query.matches(event);
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
