//! Topics and sources, which repeat in every event, as numbers: kept once in the database and in memory.

use std::{collections::HashMap, hash::Hash};

use nexus_core::{PatternSet, Source, Topic};
use parking_lot::RwLock;
use sqlx::{Row, SqliteConnection};

use crate::Damage;

/// At most this many sources are remembered; each agent's session is one, so there is no end to them.
const SOURCES_REMEMBERED_MAX: usize = 16 << 10;

/// A name that is kept as a number.
pub(crate) trait Name: Clone + Eq + Hash {
    /// Adds the name if it is new, and gives its number either way.
    const INTERN: &'static str;
    /// Gives the number of a name.
    const FIND: &'static str;
    /// Gives the name of a number.
    const LOOK_UP: &'static str;

    fn parse(text: &str) -> Option<Self>;
    fn text(&self) -> &str;
    fn table(names: &Names) -> &RwLock<Table<Self>>;
}

impl Name for Topic {
    const INTERN: &'static str = "INSERT INTO topics (name) VALUES (?1) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id";
    const FIND: &'static str = "SELECT id FROM topics WHERE name = ?1";
    const LOOK_UP: &'static str = "SELECT name FROM topics WHERE id = ?1";

    fn parse(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
    fn text(&self) -> &str {
        self.as_str()
    }
    fn table(names: &Names) -> &RwLock<Table<Self>> {
        &names.topics
    }
}

impl Name for Source {
    const INTERN: &'static str = "INSERT INTO sources (name) VALUES (?1) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id";
    const FIND: &'static str = "SELECT id FROM sources WHERE name = ?1";
    const LOOK_UP: &'static str = "SELECT name FROM sources WHERE id = ?1";

    fn parse(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
    fn text(&self) -> &str {
        self.as_str()
    }
    fn table(names: &Names) -> &RwLock<Table<Self>> {
        &names.sources
    }
}

/// Names and their numbers, both ways.
#[derive(Debug)]
pub(crate) struct Table<N> {
    ids: HashMap<N, i64>,
    names: HashMap<i64, N>,
    remembered_max: usize,
}

impl<N: Name> Table<N> {
    fn new(remembered_max: usize) -> RwLock<Self> {
        RwLock::new(Self {
            ids: HashMap::new(),
            names: HashMap::new(),
            remembered_max,
        })
    }

    fn add(&mut self, id: i64, name: N) {
        if self.names.len() >= self.remembered_max {
            self.ids.clear();
            self.names.clear();
        }
        self.names.insert(id, name.clone());
        self.ids.insert(name, id);
    }
}

/// The topics and sources of the log. Every topic of every event that was announced is in it; of the
/// sources, those that were used of late.
#[derive(Debug)]
pub(crate) struct Names {
    topics: RwLock<Table<Topic>>,
    sources: RwLock<Table<Source>>,
}

impl Names {
    /// Reads the topics.
    pub(crate) async fn load(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let names = Self {
            topics: Table::new(usize::MAX),
            sources: Table::new(SOURCES_REMEMBERED_MAX),
        };
        names.reload(connection).await?;
        Ok(names)
    }

    /// Reads the topics again: after a failure some may be in the database that were never added here, and
    /// a reader would pass over their events.
    pub(crate) async fn reload(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<(), sqlx::Error> {
        let rows = sqlx::query("SELECT id, name FROM topics")
            .fetch_all(connection)
            .await?;
        for row in rows {
            // A name that was changed into none is met again, and reported, by whoever reads its events.
            if let Some(topic) = <Topic as Name>::parse(row.try_get(1)?) {
                self.topics.write().add(row.try_get(0)?, topic);
            }
        }
        Ok(())
    }

    /// The number of a name, if it is remembered.
    pub(crate) fn id<N: Name>(&self, name: &N) -> Option<i64> {
        N::table(self).read().ids.get(name).copied()
    }

    /// The number of a name; nothing when no event has it.
    pub(crate) async fn find<N: Name>(
        &self,
        connection: &mut SqliteConnection,
        name: &N,
    ) -> Result<Option<i64>, sqlx::Error> {
        if let Some(id) = self.id(name) {
            return Ok(Some(id));
        }
        let id: Option<i64> = sqlx::query_scalar(N::FIND)
            .bind(name.text())
            .fetch_optional(connection)
            .await?;
        if let Some(id) = id {
            N::table(self).write().add(id, name.clone());
        }
        Ok(id)
    }

    /// Remembers names whose numbers are committed.
    pub(crate) fn add<N: Name>(&self, fresh: Fresh<N>) {
        if fresh.0.is_empty() {
            return;
        }
        let mut table = N::table(self).write();
        for (name, id) in fresh.0 {
            table.add(id, name);
        }
    }

    /// The name of a number.
    pub(crate) async fn name<N: Name>(
        &self,
        connection: &mut SqliteConnection,
        id: i64,
    ) -> Result<Option<N>, sqlx::Error> {
        if let Some(name) = N::table(self).read().names.get(&id) {
            return Ok(Some(name.clone()));
        }
        let text: Option<String> = sqlx::query_scalar(N::LOOK_UP)
            .bind(id)
            .fetch_optional(connection)
            .await?;
        let name = text.as_deref().and_then(N::parse);
        if let Some(name) = &name {
            N::table(self).write().add(id, name.clone());
        }
        Ok(name)
    }

    /// The numbers of the topics that match; nothing if all of them do.
    pub(crate) fn matching(&self, patterns: &PatternSet) -> Option<Vec<i64>> {
        let table = self.topics.read();
        let mut ids: Vec<i64> = if patterns.iter().all(nexus_core::Pattern::is_exact) {
            patterns
                .iter()
                .filter_map(|pattern| {
                    let topic = Topic::parse(pattern.as_str()).ok()?;
                    table.ids.get(&topic).copied()
                })
                .collect()
        } else {
            table
                .ids
                .iter()
                .filter(|(topic, _)| patterns.matches(topic))
                .map(|(_, id)| *id)
                .collect()
        };
        ids.sort_unstable();
        let everything = patterns.iter().any(|pattern| pattern.as_str() == ">");
        (!everything && (ids.len() < table.ids.len() || ids.is_empty())).then_some(ids)
    }
}

/// Names that got their numbers in a transaction which is not committed yet.
#[derive(Debug)]
pub(crate) struct Fresh<N>(HashMap<N, i64>);

impl<N> Default for Fresh<N> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<N: Name> Fresh<N> {
    /// The number of a name, which is added to the database if it is new.
    pub(crate) async fn intern(
        &mut self,
        names: &Names,
        connection: &mut SqliteConnection,
        name: &N,
    ) -> Result<i64, sqlx::Error> {
        if let Some(id) = names.id(name).or_else(|| self.0.get(name).copied()) {
            return Ok(id);
        }
        let id: i64 = sqlx::query_scalar(N::INTERN)
            .bind(name.text())
            .fetch_one(connection)
            .await?;
        self.0.insert(name.clone(), id);
        Ok(id)
    }
}

/// The damage of an event whose topic or source has no name.
pub(crate) fn nameless(seq: nexus_core::Seq) -> Damage {
    Damage::Event { seq: seq.get() }
}
