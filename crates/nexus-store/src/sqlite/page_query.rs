//! The statements behind a page of events: how its candidates are found, and where it is cut.

use std::{fmt::Write, sync::Arc};

use nexus_core::{EventQuery, Order};

use super::packed::PACKED_COLUMNS;

/// So many topics are merged from the index; with more, or with all, the log itself is read in order.
const MERGED_TOPICS: [usize; 4] = [1, 4, 16, 64];

/// How the candidates of a page are found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// No topic matches.
    Nothing,
    /// Each topic has its list in the index, and the lists are merged: nothing else is looked at.
    Merge(Vec<i64>),
    /// The log is read in order, and what does not match is passed over.
    Scan(Vec<i64>),
    /// Everything matches.
    Everything,
}

impl Plan {
    /// The plan for these topics; nothing means all.
    pub(crate) fn new(topics: Option<Vec<i64>>) -> Self {
        match topics {
            None => Self::Everything,
            Some(topics) if topics.is_empty() => Self::Nothing,
            Some(topics) if topics.len() <= MERGED_TOPICS[MERGED_TOPICS.len() - 1] => {
                Self::Merge(topics)
            }
            Some(topics) => Self::Scan(topics),
        }
    }
}

/// The statements, in both orders, and again for pages that ask for a source or a key: those have to look
/// at the rows of events, which the others need not. Their parameters:
/// `?1` after, `?2` through, `?3` candidates, `?4` events, `?5` bytes, `?6` source, `?7` key (NULL where any
/// will do), then the topics, one each in a merge and as a JSON list in a scan.
#[derive(Debug)]
pub(crate) struct PageStatements {
    ascending: InOrder,
    descending: InOrder,
    ascending_narrowed: InOrder,
    descending_narrowed: InOrder,
}

/// Which of the statements: their order, and whether a source or a key is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    pub(crate) order: Order,
    pub(crate) is_narrowed: bool,
}

impl Form {
    pub(crate) fn of(query: &EventQuery) -> Self {
        Self {
            order: query.order,
            is_narrowed: query.source.is_some() || query.key.is_some(),
        }
    }
}

#[derive(Debug)]
struct InOrder {
    everything: Arc<str>,
    scan: Arc<str>,
    merge: [Arc<str>; MERGED_TOPICS.len()],
    /// The two entries of the index behind the first `?3`, for as many topics as `merge` takes.
    merge_end: [Arc<str>; MERGED_TOPICS.len()],
}

impl PageStatements {
    pub(crate) fn new() -> Self {
        Self {
            ascending: InOrder::new("", ""),
            descending: InOrder::new(" DESC", ""),
            ascending_narrowed: InOrder::new("", NARROWED),
            descending_narrowed: InOrder::new(" DESC", NARROWED),
        }
    }

    fn in_form(&self, form: Form) -> &InOrder {
        match (form.order, form.is_narrowed) {
            (Order::Ascending, false) => &self.ascending,
            (Order::Descending, false) => &self.descending,
            (Order::Ascending, true) => &self.ascending_narrowed,
            (Order::Descending, true) => &self.descending_narrowed,
        }
    }

    pub(crate) fn everything(&self, form: Form) -> Arc<str> {
        self.in_form(form).everything.clone()
    }

    pub(crate) fn scan(&self, form: Form) -> Arc<str> {
        self.in_form(form).scan.clone()
    }

    /// The statement that merges so many topics; topics that are not bound are NULL, which none has.
    pub(crate) fn merge(&self, form: Form, topics: usize) -> Arc<str> {
        self.in_form(form).merge[merged(topics)].clone()
    }

    /// The statement that finds where a merge has looked at enough of the index.
    pub(crate) fn merge_end(&self, form: Form, topics: usize) -> Arc<str> {
        self.in_form(form).merge_end[merged(topics)].clone()
    }
}

/// Which of the merges takes so many topics.
fn merged(topics: usize) -> usize {
    MERGED_TOPICS
        .iter()
        .position(|count| *count >= topics)
        .unwrap_or(MERGED_TOPICS.len() - 1)
}

const IN_RANGE: &str = "seq > ?1 AND seq <= ?2";
const NARROWED: &str = " AND (?6 IS NULL OR source = ?6) AND (?7 IS NULL OR key = ?7)";
const FIRST_TOPIC: usize = 8;
/// The last `?3` of a range of everything. Sequences have no gaps, so that the first of them is known, and they
/// can be read forwards, as they lie on the disk.
const LAST_IN_RANGE: &str = "SELECT seq FROM events \
    WHERE seq > max(?1, min(?2, (SELECT max(seq) FROM events)) - ?3) AND seq <= ?2";

impl InOrder {
    fn new(direction: &str, narrowed: &str) -> Self {
        let first = |rows: &str| format!("{rows} ORDER BY seq{direction} LIMIT ?3");
        let all = format!("SELECT seq FROM events WHERE {IN_RANGE}{narrowed}");
        let everything = match (direction, narrowed) {
            ("", _) => first(&all),
            (_, "") => LAST_IN_RANGE.to_owned(),
            // No longer than what may be looked at: read forwards, too, and sorted after that.
            _ => format!("{all} ORDER BY +seq{direction} LIMIT ?3"),
        };
        let scan = format!(
            "SELECT seq FROM events NOT INDEXED WHERE {IN_RANGE} AND topic IN (SELECT value FROM json_each(?{FIRST_TOPIC})){narrowed}"
        );
        Self {
            everything: page(&everything, direction),
            scan: page(&first(&scan), direction),
            merge: MERGED_TOPICS.map(|count| page(&first(&lists(count, narrowed)), direction)),
            merge_end: MERGED_TOPICS.map(|count| {
                let lists = lists(count, "");
                format!("{lists} ORDER BY seq{direction} LIMIT 2 OFFSET ?3").into()
            }),
        }
    }
}

/// The events of so many topics, each topic a list in the index.
fn lists(topics: usize, narrowed: &str) -> String {
    let mut lists = String::new();
    for n in 0..topics {
        let union = if n > 0 { " UNION ALL " } else { "" };
        let topic = n + FIRST_TOPIC;
        // Writing to a string cannot fail.
        let _ = write!(
            lists,
            "{union}SELECT seq FROM events INDEXED BY events_topic WHERE topic = ?{topic} AND {IN_RANGE}{narrowed}"
        );
    }
    lists
}

/// The page of some candidates: cut where it has enough events or bytes, without reading the payloads
/// behind the cut. Rows are looked up in the order of the log, in either direction: what comes from the disk
/// then comes many times faster. When they weigh too much together, a running sum finds the cut; else that is
/// spared, and all of them are given, one more than may be in the page. They come packed in one row, which
/// also tells how many candidates there were, and in no promised order: to sort them here would copy every
/// payload once more.
fn page(candidates: &str, direction: &str) -> Arc<str> {
    format!(
        "WITH candidate (seq) AS MATERIALIZED (\
           SELECT seq FROM ({candidates}) ORDER BY seq), \
         whole (bytes, candidates) AS MATERIALIZED (\
           SELECT total(coalesce(length(s.payload), 4)), count(*) \
           FROM candidate AS c CROSS JOIN events AS s ON s.seq = c.seq), \
         sized AS (SELECT c.seq, \
             row_number() OVER ordered AS n, \
             sum(coalesce(length(s.payload), 4)) OVER ordered AS total \
           FROM candidate AS c CROSS JOIN events AS s ON s.seq = c.seq \
           WHERE (SELECT bytes FROM whole) > ?5 \
           WINDOW ordered AS (ORDER BY c.seq{direction} ROWS UNBOUNDED PRECEDING)), \
         chosen (seq) AS (\
           SELECT c.seq FROM whole AS w CROSS JOIN candidate AS c WHERE w.bytes <= ?5 \
           UNION ALL \
           SELECT seq FROM sized WHERE n <= ?4 AND (total <= ?5 OR n = 1)) \
         SELECT {PACKED_COLUMNS}, (SELECT candidates FROM whole) \
         FROM chosen AS c CROSS JOIN events AS e ON e.seq = c.seq"
    )
    .into()
}
