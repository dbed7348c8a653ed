//! Reading back: the log in pages.

use nexus_core::{Position, iso8601};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Client, Error, Event, wire::read_event};

/// Which events a page has: every condition that is set has to hold.
///
/// ```no_run
/// use nexus_client::{Client, Query};
///
/// # async fn example(client: Client) -> Result<(), nexus_client::Error> {
/// // Everything that there is now, page after page.
/// let mut query = Query::new().pattern("payment.*").source("node:flowpay").limit(1_000);
/// loop {
///     let page = client.events(&query).await?;
///     for event in &page.events {
///         println!("{} {}", event.position, event.payload_text());
///     }
///     let Some(next) = page.next_cursor else { break };
///     query = query.cursor(next);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "nothing happens until it is read"]
pub struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Every event, oldest first.
    pub fn new() -> Self {
        Self::default()
    }

    /// Events of a topic, a name or a pattern; more than one may be given.
    pub fn pattern(self, pattern: impl Into<String>) -> Self {
        self.and("patterns", pattern.into())
    }

    /// Events from this source, `node:flowpay`.
    pub fn source(self, source: impl Into<String>) -> Self {
        self.and("source", source.into())
    }

    /// Events with this ordering key.
    pub fn key(self, key: impl Into<String>) -> Self {
        self.and("key", key.into())
    }

    /// Events that were stored at or after this time, in microseconds since 1970.
    pub fn since_us(self, time_us: i64) -> Self {
        self.and("since", iso8601(time_us))
    }

    /// Events that were stored before this time, in microseconds since 1970.
    pub fn until_us(self, time_us: i64) -> Self {
        self.and("until", iso8601(time_us))
    }

    /// Events behind this position.
    pub fn after(self, position: Position) -> Self {
        self.and("from", position.to_string())
    }

    /// Newest first.
    pub fn newest_first(self) -> Self {
        self.and("order", String::from("desc"))
    }

    /// How many events a page has at most, up to 1,000.
    pub fn limit(self, events: usize) -> Self {
        self.and("limit", events.to_string())
    }

    /// Goes on behind a page: its [`Page::next_cursor`].
    pub fn cursor(mut self, cursor: impl Into<String>) -> Self {
        self.0.retain(|(name, _)| *name != "cursor");
        self.and("cursor", cursor.into())
    }

    fn and(mut self, name: &'static str, value: String) -> Self {
        self.0.push((name, value));
        self
    }
}

/// Some events of the log.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Page {
    /// The events. There may be fewer than the limit, even none, and still more to come.
    pub events: Vec<Event>,
    /// Where the next page begins; nothing when this is the last for now.
    pub next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Answered<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    meta: Meta,
}

#[derive(Deserialize)]
struct Meta {
    next_cursor: Option<String>,
}

impl Client {
    /// Reads a page of the log.
    ///
    /// # Errors
    /// [`Error::Refused`], also when what the page should begin with was removed (its code is then `pruned`, `epoch`
    /// or `ahead`); [`Error::Unavailable`].
    pub async fn events(&self, query: &Query) -> Result<Page, Error> {
        let mut url = self.shared.url("api/v1/events")?;
        if !query.0.is_empty() {
            url.query_pairs_mut().extend_pairs(&query.0);
        }
        let answer = self.shared.get(url).await?;
        let unreadable = |error: serde_json::Error| Error::unreadable(error.to_string());
        let answered: Answered<'_> = serde_json::from_slice(&answer.body).map_err(unreadable)?;
        let events = answered.data.into_iter().map(|raw| read_event(raw.get()));
        Ok(Page {
            events: events.collect::<Result<_, _>>()?,
            next_cursor: answered.meta.next_cursor,
        })
    }
}
