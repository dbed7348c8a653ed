//! What a list of events is asked for: its query, understood, and the part of the log that it means.

use std::sync::Arc;

use nexus_core::{Catalogue, Log, Order, PatternSet, Position, Seq, Source};
use nexus_http::{Call, Problem};

use super::page_cursor::PageCursor;

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// A list may ask for this many patterns.
const PATTERNS_MAX: usize = 128;

/// What a query may say.
const PARAMETERS: [&str; 9] = [
    "patterns", "source", "key", "since", "until", "from", "order", "limit", "cursor",
];

/// What a list is asked for.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) patterns: PatternSet,
    pub(super) source: Option<Source>,
    pub(super) key: Option<Arc<str>>,
    pub(super) order: Order,
    pub(super) limit: usize,
    /// Events at or after this time.
    since_us: Option<i64>,
    /// Events before this time.
    until_us: Option<i64>,
    /// Events behind this position.
    from: Option<Position>,
    /// Where an earlier page ended.
    cursor: Option<Position>,
}

/// A part of the log: `(after, through]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) after: Seq,
    pub(super) through: Seq,
    /// The place that the caller named, if they did: nothing behind it may be missing.
    pub(super) resumed_after: Option<Seq>,
}

impl Question {
    /// Reads a query.
    pub(super) fn read(call: &Call, catalogue: &Catalogue) -> Result<Self, Problem> {
        call.refuse_unknown_query(&PARAMETERS)?;
        let position = |name, text: &str| {
            text.parse::<Position>().map_err(|_| {
                Problem::invalid_request(format!("`{name}` must be a position, as `7f3a09c2-1042`"))
            })
        };
        let cursor = match call.query("cursor") {
            None => None,
            Some(text) => {
                let refuse = |()| Problem::invalid_request("`cursor` must be one that a page gave");
                Some(text.parse::<PageCursor>().map_err(refuse)?)
            }
        };
        let source = call.query("source").map(|text| Source::parse(&text));
        Ok(Self {
            patterns: read_patterns(call, catalogue)?,
            source: source.transpose()?,
            key: call.query("key").map(|text| Arc::from(text.as_ref())),
            order: read_order(call.query("order").as_deref(), cursor)?,
            limit: call.limit(LIMIT_DEFAULT, LIMIT_MAX)?,
            since_us: call.query_time_us("since")?,
            until_us: call.query_time_us("until")?,
            from: match call.query("from") {
                Some(text) if text != "earliest" => Some(position("from", &text)?),
                _ => None,
            },
            cursor: cursor.map(|cursor| cursor.looked_at),
        })
    }

    /// The part of the log that is meant, as the log is now.
    pub(super) async fn range(&self, log: &Log) -> Result<Range, Problem> {
        let stored = log.stored();
        for named in [self.from, self.cursor].into_iter().flatten() {
            Problem::unless_reached(log, named)?;
        }
        let cursor = self.cursor.map(|position| position.seq);
        let (cursor_after, cursor_through) = match self.order {
            Order::Ascending => (cursor, None),
            Order::Descending => (None, cursor.map(Seq::previous)),
        };
        let resumed_after = cursor_after.max(self.from.map(|position| position.seq));
        let mut range = Range {
            after: match resumed_after {
                Some(after) => after,
                None => log.pruned_through().await?,
            },
            through: cursor_through.unwrap_or(stored.seq).min(stored.seq),
            resumed_after,
        };
        if let Some(since_us) = self.since_us {
            let before = log.last_before(since_us.saturating_sub(1)).await?;
            range.after = range.after.max(before);
        }
        if let Some(until_us) = self.until_us {
            let before = log.last_before(until_us.saturating_sub(1)).await?;
            range.through = range.through.min(before);
        }
        Ok(range)
    }
}

/// Names, qualified names, topics and patterns, separated by commas or each on its own.
fn read_patterns(call: &Call, catalogue: &Catalogue) -> Result<PatternSet, Problem> {
    let mut patterns = Vec::new();
    for list in call.query_all("patterns") {
        for text in list.split(',').filter(|text| !text.is_empty()) {
            if patterns.len() == PATTERNS_MAX {
                let detail = format!("a list may ask for {PATTERNS_MAX} patterns");
                return Err(Problem::invalid_request(detail));
            }
            patterns.push(catalogue.resolve_pattern(text)?.0);
        }
    }
    if patterns.is_empty() {
        return Ok(PatternSet::everything());
    }
    Ok(patterns.into_iter().collect())
}

/// The order that is asked for; a page that follows another has the order of that one.
fn read_order(text: Option<&str>, cursor: Option<PageCursor>) -> Result<Order, Problem> {
    let stated = match text {
        None => None,
        Some("asc") => Some(Order::Ascending),
        Some("desc") => Some(Order::Descending),
        Some(_) => return Err(Problem::invalid_request("`order` must be `asc` or `desc`")),
    };
    let of_cursor = cursor.map(|cursor| cursor.order);
    if let (Some(stated), Some(of_cursor)) = (stated, of_cursor)
        && stated != of_cursor
    {
        let detail = "the cursor is of a list in the other order";
        return Err(Problem::invalid_request(detail));
    }
    Ok(stated.or(of_cursor).unwrap_or(Order::Ascending))
}
