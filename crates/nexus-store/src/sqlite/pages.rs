//! The reading side: whole pages, each on a connection that cannot write.

use std::{cmp::Reverse, sync::Arc};

use nexus_core::{
    Event, EventPage, EventQuery, Fenced, Key, OnceEntry, OnceKey, Order, Pages, ReadError, Record,
    RecordQuery, RecordsBy, Seq, Source, Topic,
};
use sqlx::{Arguments, AssertSqlSafe, Row, SqliteConnection, sqlite::SqliteArguments};
use uuid::Uuid;

use super::{
    names::{Names, nameless},
    once::{Waiting, halves},
    packed::{PACKED_COLUMNS_END, PackedEvents},
    page_query::{Form, PageStatements, Plan},
    read_ahead::ReadAhead,
    readers::{Reader, Readers},
    rows::{
        EVENT_COLUMNS, ONCE_COLUMNS, RECORD_COLUMNS, StoredEvent, decode_once, decode_record,
        from_column, to_column,
    },
    schema,
    window::Window,
};
use crate::Damage;

/// Where the rows of events themselves have to be looked at, a page looks at no more than this many: they lie
/// in hundreds of places in the file, which may have to come from the disk.
const ROWS_EXAMINED_MAX: usize = 2_000;

/// The reading side of a log in SQLite. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SqlitePages {
    readers: Arc<Readers>,
    read_ahead: ReadAhead,
    names: Arc<Names>,
    waiting: Arc<Waiting>,
    statements: Arc<PageStatements>,
    by_id: Arc<str>,
}

/// Checks that these are the events that were asked for. A tree that was damaged gives events from
/// elsewhere, each of them right, and leaves others out.
fn check_order(
    events: &[Arc<Event>],
    order: Order,
    window: &Window,
    is_gapless: bool,
) -> Result<(), Damage> {
    let mut previous = None;
    for event in events {
        let seq = event.seq;
        let is_next = previous.replace(seq).is_none_or(|previous: Seq| {
            let (low, high) = match order {
                Order::Ascending => (previous, seq),
                Order::Descending => (seq, previous),
            };
            low < high && (!is_gapless || low.next() == high)
        });
        if !is_next || seq <= window.after || seq > window.through {
            return Err(Damage::Order { seq: seq.get() });
        }
    }
    Ok(())
}

/// The page of a range in which nothing matches.
fn nothing(query: &EventQuery) -> EventPage {
    EventPage {
        events: Vec::new(),
        reached: match query.order {
            Order::Ascending => query.through,
            Order::Descending => query.after.next(),
        },
        done: true,
    }
}

impl SqlitePages {
    pub(crate) fn new(
        readers: Arc<Readers>,
        read_ahead: ReadAhead,
        names: Arc<Names>,
        waiting: Arc<Waiting>,
    ) -> Self {
        let by_id = format!("SELECT {EVENT_COLUMNS} FROM events AS e WHERE e.id = ?1");
        Self {
            readers,
            read_ahead,
            names,
            waiting,
            statements: Arc::new(PageStatements::new()),
            by_id: by_id.into(),
        }
    }

    /// Reads on one connection; a connection that failed is not used again.
    async fn read<T>(
        &self,
        read: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let mut reader: Reader<'_> = self.readers.acquire().await?;
        let result = read(&mut reader).await;
        if result.is_err() {
            reader.discard();
        }
        result
    }

    async fn event(
        &self,
        connection: &mut SqliteConnection,
        event: StoredEvent,
    ) -> Result<Event, ReadError> {
        let topic: Option<Topic> = self.names.name(connection, event.topic).await?;
        let source: Option<Source> = self.names.name(connection, event.source).await?;
        let (Some(topic), Some(source)) = (topic, source) else {
            return Err(nameless(event.seq).into());
        };
        event.check(&topic, &source)?;
        Ok(event.into_event(topic, source))
    }

    /// How much of the range a page looks at. Where the index gives only what is wanted, the bounds of the
    /// page do; where a source or a key is asked for besides, the entries of the index are counted too.
    async fn window(
        &self,
        connection: &mut SqliteConnection,
        query: &EventQuery,
        plan: &Plan,
    ) -> Result<Window, ReadError> {
        let form = Form::of(query);
        let examined_max = if form.is_narrowed || matches!(plan, Plan::Scan(_)) {
            query.examined_max.min(ROWS_EXAMINED_MAX)
        } else {
            query.examined_max
        };
        let mut window = Window::new(query, matches!(plan, Plan::Merge(_)), examined_max);
        let length = window.through.get().saturating_sub(window.after.get());
        if let Plan::Merge(topics) = plan
            && form.is_narrowed
            && length > examined_max as u64
        {
            let mut arguments = arguments(&window, examined_max - 1, query, None)?;
            bind_topics(&mut arguments, topics)?;
            let sql = self.statements.merge_end(form, topics.len());
            let ends: Vec<i64> = sqlx::query_scalar_with(AssertSqlSafe(sql), arguments)
                .fetch_all(connection)
                .await?;
            // With nothing behind the last entry that may be looked at, that is all.
            if let [end, _] = ends[..] {
                window.is_whole = false;
                match query.order {
                    Order::Ascending => window.through = from_column(end),
                    Order::Descending => window.after = from_column(end).previous(),
                }
            }
        }
        Ok(window)
    }

    async fn page(&self, query: &EventQuery, plan: &Plan) -> Result<EventPage, ReadError> {
        let form = Form::of(query);
        // One more than fits, so that it is known whether the page is cut.
        let candidates_max = query.events_max.min(query.examined_max).saturating_add(1);
        self.read(async |connection| {
            let source = match &query.source {
                Some(source) => {
                    let Some(id) = self.names.find(connection, source).await? else {
                        return Ok(nothing(query));
                    };
                    Some(id)
                }
                None => None,
            };
            let window = self.window(connection, query, plan).await?;
            if let Some((after, through)) = window.read_in_order(form, plan, candidates_max) {
                self.read_ahead.ask(after, through).await;
            }
            let mut arguments = arguments(&window, candidates_max, query, source)?;
            let sql = match plan {
                Plan::Merge(topics) => {
                    bind_topics(&mut arguments, topics)?;
                    self.statements.merge(form, topics.len())
                }
                Plan::Scan(topics) => {
                    arguments.add(serde_json::to_string(topics)?)?;
                    self.statements.scan(form)
                }
                Plan::Everything | Plan::Nothing => self.statements.everything(form),
            };
            let row = sqlx::query_with(AssertSqlSafe(sql), arguments)
                .fetch_one(&mut *connection)
                .await?;
            let candidates: i64 = row.try_get_unchecked(PACKED_COLUMNS_END)?;
            let mut events = Vec::with_capacity(usize::try_from(candidates)?.min(candidates_max));
            for event in PackedEvents::decode(&row)? {
                events.push(Arc::new(self.event(connection, event?).await?));
            }
            drop(row);
            match query.order {
                Order::Ascending => events.sort_by_key(|event| event.seq),
                Order::Descending => events.sort_by_key(|event| Reverse(event.seq)),
            }
            events.truncate(query.events_max.min(query.examined_max));
            let is_gapless = *plan == Plan::Everything && !form.is_narrowed;
            check_order(&events, query.order, &window, is_gapless)?;
            let is_cut = usize::try_from(candidates)? > events.len();
            let mut page = EventPage {
                events,
                reached: window.end(query.order),
                done: window.is_whole && !is_cut,
            };
            if is_cut && let Some(last) = page.events.last() {
                page.reached = last.seq;
            }
            // A topic that is newer than the choice of plan came with an event behind the head.
            page.events.retain(|event| query.matches(event));
            Ok(page)
        })
        .await
    }
}

impl Pages for SqlitePages {
    async fn events(&self, query: &EventQuery) -> Result<EventPage, ReadError> {
        let is_empty = query.through <= query.after;
        let plan = if is_empty {
            Plan::Nothing
        } else {
            Plan::new(self.names.matching(&query.patterns))
        };
        if plan == Plan::Nothing {
            return Ok(nothing(query));
        }
        if query.events_max == 0 || query.examined_max == 0 {
            let reached = match query.order {
                Order::Ascending => query.after,
                Order::Descending => query.through.next(),
            };
            return Ok(EventPage {
                events: Vec::new(),
                reached,
                done: false,
            });
        }
        self.page(query, &plan).await
    }

    async fn event_by_id(&self, id: Uuid) -> Result<Option<Arc<Event>>, ReadError> {
        self.read(async |connection| {
            let row = sqlx::query(AssertSqlSafe(self.by_id.clone()))
                .bind(id.as_bytes().as_slice())
                .fetch_optional(&mut *connection)
                .await?;
            match row {
                Some(row) => {
                    let event = StoredEvent::decode(&row)?;
                    Ok(Some(Arc::new(self.event(connection, event).await?)))
                }
                None => Ok(None),
            }
        })
        .await
    }

    async fn records(&self, query: &RecordQuery) -> Result<Vec<Record>, ReadError> {
        let after = query.after_key.as_deref();
        let sql = records_sql(&query.by, after.is_some());
        let question = sqlx::query(AssertSqlSafe(sql))
            .bind(query.family.as_str())
            .bind(column(query.records_max))
            .bind(after);
        let question = match &query.by {
            RecordsBy::All => question,
            RecordsBy::Scope(scope) => question.bind(&**scope),
            RecordsBy::Due(state, time_us) | RecordsBy::DueAfter(state, time_us) => {
                question.bind(&**state).bind(*time_us)
            }
        };
        self.read(async |connection| {
            let rows = question.fetch_all(connection).await?;
            let records = rows.iter().map(|row| decode_record(query.family, row));
            Ok(records.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn record(&self, key: &Key) -> Result<Option<Record>, ReadError> {
        let sql =
            format!("SELECT {RECORD_COLUMNS} FROM records AS r WHERE r.family = ?1 AND r.key = ?2");
        self.read(async |connection| {
            let row = sqlx::query(AssertSqlSafe(sql))
                .bind(key.family.as_str())
                .bind(&*key.key)
                .fetch_optional(connection)
                .await?;
            Ok(row.map(|row| decode_record(key.family, &row)).transpose()?)
        })
        .await
    }

    async fn once(&self, key: &OnceKey) -> Result<Option<OnceEntry>, ReadError> {
        let waiting = self.waiting.row(key);
        let (from, number) = match waiting {
            Some(row) => ("once AS o WHERE o.n = ?1", row),
            None => (
                "once_places AS p CROSS JOIN once AS o ON o.n = p.n WHERE p.name = ?1 ORDER BY p.n",
                halves(key).0,
            ),
        };
        let sql = format!("SELECT {ONCE_COLUMNS} FROM {from}");
        self.read(async |connection| {
            let rows = sqlx::query(AssertSqlSafe(sql))
                .bind(number)
                .fetch_all(connection)
                .await?;
            let entries = rows.iter().map(decode_once);
            let entries = entries.collect::<Result<Vec<_>, _>>()?;
            // Of two with one key, the earlier one has expired.
            Ok(entries.into_iter().rfind(|entry| entry.key == *key))
        })
        .await
    }

    async fn pruned_through(&self) -> Result<Seq, ReadError> {
        self.read(async |connection| Ok(schema::meta(connection).await?.pruned_seq))
            .await
    }

    async fn fenced(&self, records_max: usize) -> Result<Vec<Fenced>, ReadError> {
        self.read(async |connection| {
            let rows: Vec<(String, String, i64)> = sqlx::query_as(FENCED)
                .bind(column(records_max))
                .fetch_all(connection)
                .await?;
            let fenced = rows.into_iter().map(|(family, key, fence)| Fenced {
                family: family.into(),
                key: key.into(),
                fence: from_column(fence),
            });
            Ok(fenced.collect())
        })
        .await
    }

    async fn used_bytes(&self) -> Result<u64, ReadError> {
        const USED: &str = "SELECT (c.page_count - f.freelist_count) * s.page_size \
            FROM pragma_page_count AS c, pragma_freelist_count AS f, pragma_page_size AS s";
        self.read(async |connection| {
            let bytes: i64 = sqlx::query_scalar(USED).fetch_one(connection).await?;
            Ok(u64::try_from(bytes)?)
        })
        .await
    }

    async fn last_before(&self, time_us: i64) -> Result<Seq, ReadError> {
        const BOUNDS: &str = "SELECT coalesce(max(last), 0) FROM batches";
        /// The batch that holds a number, or follows it.
        const AT: &str = "SELECT last, time_us FROM batches WHERE last >= ?1 ORDER BY last LIMIT 1";
        self.read(async |connection| {
            let mut high: i64 = sqlx::query_scalar(BOUNDS)
                .fetch_one(&mut *connection)
                .await?;
            let mut found = 0;
            let mut low = 1;
            while low <= high {
                let middle = low + (high - low) / 2;
                let batch: Option<(i64, i64)> = sqlx::query_as(AT)
                    .bind(middle)
                    .fetch_optional(&mut *connection)
                    .await?;
                match batch {
                    Some((last, at_us)) if at_us <= time_us => {
                        found = last;
                        low = last + 1;
                    }
                    _ => high = middle - 1,
                }
            }
            Ok(from_column(found))
        })
        .await
    }
}

/// The records with the oldest fences, from an index that has nothing but those.
pub(super) const FENCED: &str =
    "SELECT family, key, fence FROM records WHERE fence IS NOT NULL ORDER BY fence LIMIT ?1";

/// The statement for a page of records: each form is one that an index answers in its own order, from
/// where the page begins.
pub(super) fn records_sql(by: &RecordsBy, is_continued: bool) -> String {
    let condition = match (by, is_continued) {
        (RecordsBy::All, false) => "ORDER BY r.key",
        (RecordsBy::All, true) => "AND r.key > ?3 ORDER BY r.key",
        (RecordsBy::Scope(_), false) => "AND r.scope = ?4 ORDER BY r.key",
        (RecordsBy::Scope(_), true) => "AND r.scope = ?4 AND r.key > ?3 ORDER BY r.key",
        (RecordsBy::Due(..), _) => "AND r.state = ?4 AND r.due_us <= ?5 ORDER BY r.due_us, r.key",
        (RecordsBy::DueAfter(..), false) => {
            "AND r.state = ?4 AND r.due_us > ?5 ORDER BY r.due_us, r.key"
        }
        (RecordsBy::DueAfter(..), true) => {
            "AND r.state = ?4 AND r.due_us >= ?5 AND (r.due_us > ?5 OR r.key > ?3) \
             ORDER BY r.due_us, r.key"
        }
    };
    format!("SELECT {RECORD_COLUMNS} FROM records AS r WHERE r.family = ?1 {condition} LIMIT ?2")
}

/// The parameters of every statement for a page, but for the topics.
fn arguments(
    window: &Window,
    candidates_max: usize,
    query: &EventQuery,
    source: Option<i64>,
) -> Result<SqliteArguments, ReadError> {
    let mut arguments = SqliteArguments::default();
    arguments.add(to_column(window.after))?;
    arguments.add(to_column(window.through))?;
    arguments.add(column(candidates_max))?;
    arguments.add(column(query.events_max.min(query.examined_max)))?;
    arguments.add(column(query.bytes_max))?;
    arguments.add(source)?;
    arguments.add(query.key.as_deref().map(str::to_owned))?;
    Ok(arguments)
}

fn bind_topics(arguments: &mut SqliteArguments, topics: &[i64]) -> Result<(), ReadError> {
    topics.iter().try_for_each(|topic| arguments.add(*topic))
}

/// A count as SQLite takes it.
fn column(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
