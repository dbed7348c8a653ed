//! The statements behind a page of events: how its candidates are found, and where it is cut.

use std::{fmt::Write, sync::Arc};

use nexus_core::Order;

use super::rows::EVENT_COLUMNS;

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

/// The statements, in both orders. Their parameters:
/// `?1` after, `?2` through, `?3` candidates, `?4` events, `?5` bytes, then the topics, one each in a
/// merge and as a JSON list in a scan.
#[derive(Debug)]
pub(crate) struct PageStatements {
    ascending: InOrder,
    descending: InOrder,
}

#[derive(Debug)]
struct InOrder {
    everything: Arc<str>,
    scan: Arc<str>,
    merge: [Arc<str>; MERGED_TOPICS.len()],
}

impl PageStatements {
    pub(crate) fn new() -> Self {
        Self {
            ascending: InOrder::new(""),
            descending: InOrder::new(" DESC"),
        }
    }

    fn in_order(&self, order: Order) -> &InOrder {
        match order {
            Order::Ascending => &self.ascending,
            Order::Descending => &self.descending,
        }
    }

    pub(crate) fn everything(&self, order: Order) -> Arc<str> {
        self.in_order(order).everything.clone()
    }

    pub(crate) fn scan(&self, order: Order) -> Arc<str> {
        self.in_order(order).scan.clone()
    }

    /// The statement that merges so many topics; topics that are not bound are NULL, which none has.
    pub(crate) fn merge(&self, order: Order, topics: usize) -> Arc<str> {
        let n = MERGED_TOPICS
            .iter()
            .position(|count| *count >= topics)
            .unwrap_or(MERGED_TOPICS.len() - 1);
        self.in_order(order).merge[n].clone()
    }
}

impl InOrder {
    fn new(direction: &str) -> Self {
        const IN_RANGE: &str = "seq > ?1 AND seq <= ?2";
        let everything = format!("SELECT seq FROM events WHERE {IN_RANGE}");
        let scan = format!(
            "SELECT seq FROM events NOT INDEXED WHERE {IN_RANGE} AND topic IN (SELECT value FROM json_each(?6))"
        );
        let merge = MERGED_TOPICS.map(|count| {
            let mut lists = String::new();
            for n in 0..count {
                let union = if n > 0 { " UNION ALL " } else { "" };
                let topic = n + 6;
                // Writing to a string cannot fail.
                let _ = write!(
                    lists,
                    "{union}SELECT seq FROM events INDEXED BY events_topic WHERE topic = ?{topic} AND {IN_RANGE}"
                );
            }
            page(&lists, direction)
        });
        Self {
            everything: page(&everything, direction),
            scan: page(&scan, direction),
            merge,
        }
    }
}

/// The page of some candidates: cut where it has enough events or bytes, without reading the payloads
/// behind the cut. Each row also tells how many candidates there were. The rows are in no promised order:
/// to sort them here would copy every payload once more.
fn page(candidates: &str, direction: &str) -> Arc<str> {
    format!(
        "WITH candidate (seq) AS MATERIALIZED ({candidates} ORDER BY seq{direction} LIMIT ?3), \
         sized AS (SELECT c.seq, \
             row_number() OVER ordered AS n, \
             sum(coalesce(length(s.payload), 4)) OVER ordered AS total, \
             (SELECT count(*) FROM candidate) AS candidates \
           FROM candidate AS c CROSS JOIN events AS s ON s.seq = c.seq \
           WINDOW ordered AS (ORDER BY c.seq{direction} ROWS UNBOUNDED PRECEDING)) \
         SELECT {EVENT_COLUMNS}, sized.candidates \
         FROM sized CROSS JOIN events AS e ON e.seq = sized.seq \
         WHERE sized.n <= ?4 AND (sized.total <= ?5 OR sized.n = 1)"
    )
    .into()
}
