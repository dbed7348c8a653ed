//! Whatever a server sends in whatever order, each request has one outcome, and what is open is bounded.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::RpcError;

const QUESTIONS_MAX: usize = 3;

/// What happens next. Small numbers, so that they meet.
#[derive(Debug, Clone, Copy)]
enum Step {
    Begin,
    Forget(i64),
    Answer(Option<i64>, Option<i64>, bool),
    Ask(u8),
    Withdraw(u8),
    Drop(usize),
    Tell(usize, i64),
    End,
}

const TOLD: [&str; 6] = [
    "notifications/progress",
    "notifications/cancelled",
    "notifications/tools/list_changed",
    "notifications/resources/updated",
    "notifications/message",
    "own/notification",
];

fn step() -> impl Strategy<Value = Step> {
    let id = || 0_i64..8;
    prop_oneof![
        4 => Just(Step::Begin),
        2 => id().prop_map(Step::Forget),
        4 => (prop::option::of(id()), prop::option::of(id()), any::<bool>())
            .prop_map(|(id, during, is_error)| Step::Answer(id, during, is_error)),
        3 => (0_u8..6).prop_map(Step::Ask),
        2 => (0_u8..6).prop_map(Step::Withdraw),
        2 => (0_usize..4).prop_map(Step::Drop),
        2 => (0..TOLD.len(), id()).prop_map(|(method, id)| Step::Tell(method, id)),
        1 => Just(Step::End),
    ]
}

fn caller() -> Caller {
    let soon = Instant::now() + Duration::from_secs(60);
    Caller {
        peer: None,
        token: None,
        patience: Patience::new(soon, Duration::from_secs(60)),
        is_somebodys: false,
        ended: CancellationToken::new(),
    }
}

fn raw(value: &serde_json::Value) -> Raw {
    serde_json::value::to_raw_value(value).unwrap()
}

fn question(id: u8) -> Incoming {
    Incoming::Request {
        id: Id::Text(id.to_string().into()),
        method: "elicitation/create".into(),
        params: None,
    }
}

/// The table, and what is expected of it.
struct World {
    calls: Arc<Calls>,
    waiting: BTreeMap<i64, oneshot::Receiver<Outcome>>,
    /// The questions that are open, by their ids, in the order they were asked.
    open: Vec<(u8, Asked)>,
    has_ended: bool,
}

impl World {
    fn take(&mut self, step: Step) {
        match step {
            Step::Begin => {
                let id = self.calls.next_id();
                match self.calls.begin(id, caller()) {
                    Ok(answered) => drop(self.waiting.insert(id, answered)),
                    Err(error) => assert!(self.has_ended && error.is_unsent(), "{error:?}"),
                }
            }
            Step::Forget(id) => {
                let was_waiting = self.waiting.remove(&id).is_some();
                assert_eq!(self.calls.forget(id), was_waiting);
            }
            Step::Answer(id, during, is_error) => self.answer(id, during, is_error),
            Step::Ask(id) => {
                let is_new = self.open.iter().all(|(open, _)| *open != id);
                let has_room = is_new && self.open.len() < QUESTIONS_MAX;
                let asked = self.calls.receive(question(id), None).unwrap();
                assert_eq!(asked.refused().is_none(), has_room);
                if has_room {
                    self.open.push((id, asked));
                }
            }
            Step::Withdraw(id) => {
                let params = raw(&json!({ "requestId": id.to_string() }));
                self.tell("notifications/cancelled", Some(params));
            }
            Step::Drop(at) => {
                if at < self.open.len() {
                    self.open.remove(at);
                }
            }
            Step::Tell(method, id) => {
                let params = json!({"progressToken": id, "requestId": id, "uri": "file:///a"});
                self.tell(TOLD[method], Some(raw(&params)));
            }
            Step::End => self.end(),
        }
        let expected: BTreeSet<_> = self.waiting.keys().copied().collect();
        assert_eq!(self.calls.in_flight(), expected.len());
        assert!(expected.iter().all(|id| self.calls.is_waiting(*id)));
        assert!(self.calls.questions.lock().len() <= QUESTIONS_MAX);
    }

    fn tell(&self, method: &str, params: Option<Raw>) {
        let method = method.into();
        let told = Incoming::Notification { method, params };
        assert!(self.calls.receive(told, None).is_none());
    }

    fn answer(&mut self, id: Option<i64>, during: Option<i64>, is_error: bool) {
        let outcome = if is_error {
            Err(RpcError::new(-1, "no"))
        } else {
            Ok(raw(&json!({})))
        };
        let answer = Incoming::Response {
            id: id.map(Id::Number),
            outcome,
        };
        assert!(self.calls.receive(answer, during).is_none());
        // One without an id answers what it was sent for.
        if let Some(mut answered) = id.or(during).and_then(|id| self.waiting.remove(&id)) {
            let outcome = answered.try_recv().unwrap();
            assert_eq!(outcome.is_err(), is_error);
        }
    }

    fn end(&mut self) {
        self.calls.end(Ending::Gone(String::from("it ended")));
        self.has_ended = true;
        for mut answered in std::mem::take(&mut self.waiting).into_values() {
            let outcome = answered.try_recv().unwrap();
            assert!(
                matches!(outcome, Err(CallError::Gone { .. })),
                "{outcome:?}"
            );
        }
        for (_, asked) in self.open.drain(..) {
            assert!(asked.withdrawn.is_cancelled());
        }
    }
}

proptest! {
    #[test]
    fn each_request_has_one_outcome_whatever_the_server_sends(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut world = World {
            calls: Calls::new(Isolation::Shared, QUESTIONS_MAX),
            waiting: BTreeMap::new(),
            open: Vec::new(),
            has_ended: false,
        };
        for step in steps {
            world.take(step);
        }
        world.end();
        prop_assert!(!world.calls.is_open() && world.calls.questions.lock().is_empty());
    }
}

/// What a server that several share says by itself, about a request that is somebody's, is for nobody else.
#[test]
fn what_is_said_late_of_somebodys_request_is_told_to_nobody_else() {
    let calls = Calls::new(Isolation::Shared, QUESTIONS_MAX);
    let mut changes = calls.changes();
    let say = |during| {
        let method = "notifications/message".into();
        let params = None;
        calls.receive(Incoming::Notification { method, params }, during);
    };
    say(None);
    assert!(matches!(changes.try_recv(), Ok(Changed::Notified { .. })));

    let begin = || {
        let id = calls.next_id();
        let is_somebodys = true;
        let somebody = Caller {
            is_somebodys,
            ..caller()
        };
        (id, calls.begin(id, somebody).unwrap())
    };
    let (answered, _answer) = begin();
    say(None);
    calls.settle(answered, Ok(raw(&json!({}))));
    say(Some(answered));
    assert!(changes.try_recv().is_err());
    say(None);
    assert!(changes.try_recv().is_ok());

    // It may be worked on, although nobody waits for it any more.
    let (given_up, _answer) = begin();
    assert!(calls.forget(given_up));
    say(None);
    assert!(changes.try_recv().is_err());
    calls.table.lock().worked_on_until = Some(Instant::now());
    say(None);
    assert!(changes.try_recv().is_ok());
}

/// Where a server does not say for whose sake it asks, nobody is asked who may not be meant.
#[test]
fn a_question_is_for_nobody_where_another_may_be_meant() {
    let calls = Calls::new(Isolation::Shared, QUESTIONS_MAX);
    let begin = |peer: Option<Arc<dyn Peer>>| {
        let id = calls.next_id();
        let is_somebodys = true;
        let somebody = Caller {
            peer,
            is_somebodys,
            ..caller()
        };
        (id, calls.begin(id, somebody).unwrap())
    };
    let is_somebody_meant = || calls.concerned(None).is_some();
    let (_, _answer) = begin(Some(Arc::new(crate::Progress::default())));
    assert!(is_somebody_meant());
    // Somebody else's, who cannot be asked: it is not the first who is asked in their place.
    let (other, _answer) = begin(None);
    assert!(!is_somebody_meant());
    calls.settle(other, Ok(raw(&json!({}))));
    assert!(is_somebody_meant());
    // Nor is it while the server may go on with what was given up.
    let (given_up, _answer) = begin(None);
    assert!(calls.forget(given_up));
    assert!(!is_somebody_meant());
    calls.table.lock().worked_on_until = Some(Instant::now());
    assert!(is_somebody_meant());
}
