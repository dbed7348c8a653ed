//! What one commit writes, statement by statement.

use std::{collections::HashSet, sync::Arc};

use nexus_core::{Key, Loaded, OnceEntry, Plan, Record, RecordWrite, Source, Topic, Wanted};
use sqlx::{AssertSqlSafe, Row, SqliteConnection, sqlite::SqliteArguments};

use super::{
    event_rows::{EventRows, NameIds, Repeated, bind_event, intern},
    names::{Fresh, Names},
    once::{OnceKeys, halves},
    rows::{decode_record, once_seal, record_seal, to_column},
    statements::{
        BEGIN_WITH_BATCH, ByRows, EVENT_COLUMNS, ONCE_COLUMNS, RECORD_COLUMNS, arguments, bind, run,
    },
};

/// Begins a transaction that may write.
const BEGIN: &str = "BEGIN IMMEDIATE";
/// What is bound to the link of a batch.
const BATCH_COLUMNS: usize = 4;

/// The statements of the writer.
#[derive(Debug)]
pub(crate) struct Statements {
    whole_batch: ByRows,
    whole_batch_with_once: ByRows,
    insert_events: ByRows,
    put_once: ByRows,
    put_records: ByRows,
    delete_records: ByRows,
    select_records: ByRows,
}

/// Names that the transaction added.
#[derive(Debug, Default)]
pub(crate) struct FreshNames {
    pub(crate) topics: Fresh<Topic>,
    pub(crate) sources: Fresh<Source>,
}

impl Statements {
    pub(crate) fn new() -> Self {
        Self {
            whole_batch: ByRows::whole_batch(),
            whole_batch_with_once: ByRows::whole_batch_with_once(),
            insert_events: ByRows::insert_events(),
            put_once: ByRows::put_once(),
            put_records: ByRows::put_records(),
            delete_records: ByRows::delete_records(),
            select_records: ByRows::select_records(),
        }
    }

    /// Loads what a batch will be decided against.
    pub(crate) async fn load(
        &self,
        connection: &mut SqliteConnection,
        once: &OnceKeys,
        wanted: &Wanted,
    ) -> Result<Loaded, nexus_core::Cause> {
        let mut loaded = Loaded {
            once: once.load(connection, &wanted.once).await?,
            ..Loaded::default()
        };
        let mut keys = wanted.records.as_slice();
        while !keys.is_empty() {
            let (sql, count) = self.select_records.next(keys.len());
            let (now, later) = keys.split_at(count);
            for record in self.records(connection, sql, now).await? {
                loaded.records.insert(record.key.clone(), record);
            }
            keys = later;
        }
        Ok(loaded)
    }

    async fn records(
        &self,
        connection: &mut SqliteConnection,
        sql: Arc<str>,
        keys: &[Key],
    ) -> Result<Vec<Record>, nexus_core::Cause> {
        let mut arguments = arguments(keys.len() * 2);
        for key in keys {
            bind(&mut arguments, key.family.as_str())?;
            bind(&mut arguments, key.key.clone())?;
        }
        let families: HashSet<_> = keys.iter().map(|key| key.family).collect();
        let rows = sqlx::query_with(AssertSqlSafe(sql), arguments)
            .fetch_all(connection)
            .await?;
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            let name: &str = row.try_get_unchecked(9)?;
            // The row was found by one of these names.
            if let Some(family) = families.iter().find(|family| family.as_str() == name) {
                records.push(decode_record(*family, &row)?);
            }
        }
        Ok(records)
    }

    /// Begins a transaction and writes a plan. Does not commit.
    pub(crate) async fn write(
        &self,
        connection: &mut SqliteConnection,
        names: &Names,
        once: &OnceKeys,
        plan: &Plan,
    ) -> Result<FreshNames, sqlx::Error> {
        let mut fresh = FreshNames::default();
        if let Some((first, last)) = plan.range() {
            sqlx::query(BEGIN_WITH_BATCH)
                .bind(to_column(last))
                .bind(to_column(first))
                .bind(plan.head.time_us)
                .bind(plan.head.hash.as_slice())
                .execute(&mut *connection)
                .await?;
            let ids = intern(connection, names, plan, &mut fresh).await?;
            self.events(connection, plan, &ids).await?;
        } else {
            sqlx::query(BEGIN).execute(&mut *connection).await?;
        }
        self.once(connection, once.next(), plan).await?;
        self.changes(connection, plan).await?;
        Ok(fresh)
    }

    /// Writes the events; `ids` are the numbers of their names. While the connection's thread inserts some
    /// rows, the next are bound.
    async fn events(
        &self,
        connection: &mut SqliteConnection,
        plan: &Plan,
        ids: &[NameIds],
    ) -> Result<(), sqlx::Error> {
        let mut rows = EventRows {
            events: &plan.events,
            ids,
            seq: plan.previous.last.next(),
            time_us: plan.head.time_us,
        };
        let mut bound = self.bind_next(&mut rows)?;
        while let Some((sql, arguments)) = bound {
            let inserting = run(connection, sql, arguments);
            let (inserted, next) = tokio::join!(inserting, async { self.bind_next(&mut rows) });
            inserted?;
            bound = next?;
        }
        Ok(())
    }

    /// Binds as many rows as one statement takes; nothing when there are no more.
    fn bind_next(
        &self,
        rows: &mut EventRows<'_>,
    ) -> Result<Option<(Arc<str>, SqliteArguments)>, sqlx::Error> {
        if rows.events.is_empty() {
            return Ok(None);
        }
        let (sql, count) = self.insert_events.next(rows.events.len());
        let (now, later) = rows.events.split_at(count);
        let (ids, later_ids) = rows.ids.split_at(count);
        let mut arguments = arguments(count * EVENT_COLUMNS);
        for (event, ids) in now.iter().zip(ids) {
            bind_event(&mut arguments, event, rows.seq, rows.time_us, *ids)?;
            rows.seq = rows.seq.next();
        }
        (rows.events, rows.ids) = (later, later_ids);
        Ok(Some((sql, arguments)))
    }

    /// Writes and commits a plan in one trip to the connection's thread, if it can be done: it has events,
    /// perhaps with once-keys, and nothing else, few enough for one statement, under names that have their
    /// numbers. That is what nearly every commit under load looks like. Says whether it did.
    pub(crate) async fn write_whole(
        &self,
        connection: &mut SqliteConnection,
        names: &Names,
        once: &OnceKeys,
        plan: &Plan,
    ) -> Result<bool, sqlx::Error> {
        let Some((first, last)) = plan.range() else {
            return Ok(false);
        };
        let statement = if plan.once.is_empty() {
            self.whole_batch.holding(plan.events.len())
        } else {
            let rows = plan.events.len().max(plan.once.len());
            self.whole_batch_with_once.holding(rows)
        };
        let Some((sql, room)) = statement.filter(|_| plan.records.is_empty()) else {
            return Ok(false);
        };
        let mut arguments = arguments(BATCH_COLUMNS + room * (EVENT_COLUMNS + ONCE_COLUMNS));
        bind(&mut arguments, to_column(last))?;
        bind(&mut arguments, to_column(first))?;
        bind(&mut arguments, plan.head.time_us)?;
        bind(&mut arguments, plan.head.hash.as_slice())?;
        let mut seq = first;
        let mut known = Repeated::default();
        for event in &plan.events {
            let ids = match known.ids(event) {
                Some(ids) => ids,
                None => match names.id(event.topic()).zip(names.id(event.source())) {
                    Some(ids) => known.set(event, ids),
                    None => return Ok(false),
                },
            };
            bind_event(&mut arguments, event, seq, plan.head.time_us, ids)?;
            seq = seq.next();
        }
        if !plan.once.is_empty() {
            // The keys stand behind the room for events.
            for _ in 0..(room - plan.events.len()) * EVENT_COLUMNS {
                bind(&mut arguments, None::<i64>)?;
            }
            for (row, entry) in (once.next()..).zip(&plan.once) {
                bind_once(&mut arguments, row, entry)?;
            }
        }
        run(connection, sql, arguments).await?;
        Ok(true)
    }

    async fn once(
        &self,
        connection: &mut SqliteConnection,
        mut row: i64,
        plan: &Plan,
    ) -> Result<(), sqlx::Error> {
        let mut left = plan.once.as_slice();
        while !left.is_empty() {
            let (sql, count) = self.put_once.next(left.len());
            let (now, later) = left.split_at(count);
            let mut arguments = arguments(count * ONCE_COLUMNS);
            for entry in now {
                bind_once(&mut arguments, row, entry)?;
                row += 1;
            }
            run(connection, sql, arguments).await?;
            left = later;
        }
        Ok(())
    }

    async fn changes(
        &self,
        connection: &mut SqliteConnection,
        plan: &Plan,
    ) -> Result<(), sqlx::Error> {
        let (mut put, mut deleted) = (Vec::new(), Vec::new());
        for write in &plan.records {
            match write {
                RecordWrite::Put(record) => put.push(record),
                RecordWrite::Delete(key) => deleted.push(key),
            }
        }
        let mut left = put.as_slice();
        while !left.is_empty() {
            let (sql, count) = self.put_records.next(left.len());
            let (now, later) = left.split_at(count);
            let mut arguments = arguments(count * RECORD_COLUMNS);
            for record in now {
                bind_record(&mut arguments, record)?;
            }
            run(connection, sql, arguments).await?;
            left = later;
        }
        let mut left = deleted.as_slice();
        while !left.is_empty() {
            let (sql, count) = self.delete_records.next(left.len());
            let (now, later) = left.split_at(count);
            let mut arguments = arguments(count * 2);
            for key in now {
                bind(&mut arguments, key.family.as_str())?;
                bind(&mut arguments, key.key.clone())?;
            }
            run(connection, sql, arguments).await?;
            left = later;
        }
        Ok(())
    }

    /// Whether something of the plan is not as the plan would have it, so that, a transaction being whole
    /// or nothing, none of it was stored. For plans without events, which do not move the head.
    pub(crate) async fn is_absent(
        &self,
        connection: &mut SqliteConnection,
        once: &OnceKeys,
        plan: &Plan,
    ) -> Result<bool, nexus_core::Cause> {
        let records = plan.records.iter().map(|write| match write {
            RecordWrite::Put(record) => record.key.clone(),
            RecordWrite::Delete(key) => key.clone(),
        });
        let wanted = Wanted {
            records: records.collect(),
            once: plan.once.iter().map(|entry| entry.key).collect(),
        };
        let loaded = self.load(connection, once, &wanted).await?;
        let once_differs = plan
            .once
            .iter()
            .any(|entry| loaded.once.get(&entry.key) != Some(entry));
        let record_differs = plan.records.iter().any(|write| match write {
            RecordWrite::Put(record) => loaded.records.get(&record.key) != Some(record),
            RecordWrite::Delete(key) => loaded.records.contains_key(key),
        });
        Ok(once_differs || record_differs)
    }
}

fn bind_once(
    arguments: &mut SqliteArguments,
    row: i64,
    entry: &OnceEntry,
) -> Result<(), sqlx::Error> {
    let (first, last) = entry.range.unzip();
    let (name, rest) = halves(&entry.key);
    bind(arguments, row)?;
    bind(arguments, name)?;
    bind(arguments, rest)?;
    bind(arguments, entry.fingerprint.map(Vec::from))?;
    bind(arguments, first.map(to_column))?;
    bind(arguments, last.map(to_column))?;
    bind(arguments, entry.expires_us)?;
    bind(arguments, once_seal(entry))
}

fn bind_record(arguments: &mut SqliteArguments, record: &Record) -> Result<(), sqlx::Error> {
    bind(arguments, record.key.family.as_str())?;
    bind(arguments, record.key.key.clone())?;
    bind(arguments, record.owner.clone())?;
    bind(arguments, record.scope.clone())?;
    bind(arguments, record.state.clone())?;
    bind(arguments, record.due_us)?;
    bind(arguments, record.revision.cast_signed())?;
    bind(arguments, record.fence.map(to_column))?;
    bind(arguments, record.body.to_vec())?;
    bind(arguments, record_seal(record))
}
