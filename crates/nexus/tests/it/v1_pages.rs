//! Pages of a list stay right while the log grows: every event once, in order, in both directions.

use std::sync::Arc;

use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::{
    running::{Running, start},
    v1::{data, get, post, seq},
};

/// What happens between two pages, and how the pages are asked for.
#[derive(Debug, Clone)]
struct Case {
    descending: bool,
    /// The filter of the list.
    filter: Filter,
    /// What is there before the first page.
    before: Vec<Batch>,
    /// Before each page: what is published, and how many events the page may have.
    steps: Vec<(Vec<Batch>, usize)>,
}

/// Of each event, which topic it has and which key.
type Batch = Vec<(bool, u8)>;

#[derive(Debug, Clone, Copy)]
enum Filter {
    All,
    Votes,
    Key(u8),
    VotesOfKey(u8),
}

impl Filter {
    fn query(self) -> String {
        match self {
            Self::All => String::new(),
            Self::Votes => "&patterns=vote.*".to_owned(),
            Self::Key(key) => format!("&key=k{key}"),
            Self::VotesOfKey(key) => format!("&patterns=vote.cast&key=k{key}"),
        }
    }

    fn matches(self, (is_vote, key): (bool, u8)) -> bool {
        match self {
            Self::All => true,
            Self::Votes => is_vote,
            Self::Key(wanted) => key == wanted,
            Self::VotesOfKey(wanted) => is_vote && key == wanted,
        }
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let batch = || prop::collection::vec((any::<bool>(), 0..3_u8), 1..6);
    let batches = move || prop::collection::vec(batch(), 0..3);
    let filter = prop_oneof![
        Just(Filter::All),
        Just(Filter::Votes),
        (0..3_u8).prop_map(Filter::Key),
        (0..3_u8).prop_map(Filter::VotesOfKey),
    ];
    let steps = prop::collection::vec((batches(), 1..7_usize), 1..6);
    (any::<bool>(), filter, batches(), steps).prop_map(|(descending, filter, before, steps)| Case {
        descending,
        filter,
        before,
        steps,
    })
}

/// What is in the log behind the place where the case began.
struct Model<'n> {
    nexus: &'n Running,
    events: Vec<(u64, (bool, u8))>,
}

impl Model<'_> {
    async fn publish(&mut self, batches: &[Batch]) {
        for batch in batches {
            let events = batch.iter().map(|(is_vote, key)| {
                let key = format!("k{key}");
                if *is_vote {
                    json!({ "topic": "vote.cast", "key": key,
                            "payload": { "proposalId": 1, "voterId": 2, "decision": "for" } })
                } else {
                    json!({ "topic": "mint.failed", "key": key, "payload": { "error": "e" } })
                }
            });
            let body = json!(events.collect::<Vec<_>>()).to_string();
            let answer = post(self.nexus, &[], body).await;
            let first = seq(&data(&answer, 201)["first"]);
            self.events.extend((first..).zip(batch.iter().copied()));
        }
    }

    fn matching(&self, filter: Filter) -> Vec<u64> {
        let matching = self
            .events
            .iter()
            .filter(|(_, event)| filter.matches(*event));
        matching.map(|(seq, _)| *seq).collect()
    }
}

async fn run(nexus: &Running, case: &Case) {
    let start = get(nexus, "/api/v1/events?order=desc&limit=1").await;
    let start = data(&start, 200)[0]["position"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut model = Model {
        nexus,
        events: Vec::new(),
    };
    model.publish(&case.before).await;
    let order = if case.descending { "desc" } else { "asc" };
    let list = format!(
        "/api/v1/events?from={start}&order={order}{}",
        case.filter.query()
    );
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    // What a list that goes back has to have is settled with its first page.
    let mut settled = None;
    let mut steps = case.steps.iter();
    loop {
        let (batches, limit) = steps
            .next()
            .map_or((&[][..], 3), |(batches, limit)| (&batches[..], *limit));
        model.publish(batches).await;
        settled.get_or_insert_with(|| model.matching(case.filter));
        let page = get(nexus, &format!("{list}&limit={limit}{cursor}")).await;
        let events = data(&page, 200).as_array().unwrap();
        assert!(events.len() <= limit);
        seen.extend(events.iter().map(|event| event["seq"].as_u64().unwrap()));
        let meta = &page.body["meta"];
        if meta["has_more"] == false {
            break;
        }
        cursor = format!("&cursor={}", meta["next_cursor"].as_str().unwrap());
    }
    let mut expected = model.matching(case.filter);
    if case.descending {
        expected = settled.unwrap();
        expected.reverse();
    }
    assert_eq!(seen, expected, "{case:?}");
}

#[test]
fn every_page_is_right_while_the_log_grows() {
    let runtime = Runtime::new().unwrap();
    let nexus = Arc::new(runtime.block_on(start(&[])));
    let config = ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let tested = TestRunner::new(config).run(&cases(), |case| {
        runtime.block_on(run(&nexus, &case));
        Ok(())
    });
    tested.unwrap();
    runtime.block_on(Arc::into_inner(nexus).unwrap().stop());
}
