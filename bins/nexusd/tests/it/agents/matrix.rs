//! Where sessions prove who they are, none does anything as another: every action, by every kind of caller,
//! by HTTP and by WebSocket.

use serde_json::{Value, json};

use super::{
    Bus, Identity, Mode, OPERATOR, Socket,
    bus::{basic, bearer},
};
use crate::support::SECRET;

/// What a session may publish, and a payload that fits.
fn events() -> [(&'static str, Value); 9] {
    let work = || json!({ "work_id": "matrix" });
    [
        ("help.needed", json!({ "task": "Help" })),
        ("capability.broadcast", json!({ "capabilities": ["rust"] })),
        ("status.update", json!({ "status": "idle" })),
        ("message.broadcast", json!({ "message": "To all" })),
        (
            "message.direct",
            json!({ "to": "third", "message": "To one" }),
        ),
        ("work.claim", work()),
        ("work.claimed", work()),
        ("work.completed", work()),
        ("work.released", work()),
    ]
}

const ACTS: [&str; 4] = ["claim", "renew", "release", "complete"];

/// Something that is asked for in the name of a session.
struct Action {
    what: String,
    method: &'static str,
    path: String,
    body: Value,
}

/// Everything that HTTP offers to do as a session.
fn actions(as_whom: &str) -> Vec<Action> {
    let action = |what: String, path: String, body: Value| Action {
        what,
        method: "POST",
        path,
        body,
    };
    let mut actions = Vec::new();
    for (event_type, payload) in events() {
        let event =
            json!({ "event_type": event_type, "session_id": as_whom, "payload": payload.clone() });
        actions.push(action(event_type.to_owned(), "/events".to_owned(), event));
        let path = format!("/events?event_type={event_type}&session_id={as_whom}");
        actions.push(action(format!("{event_type}, older form"), path, payload));
    }
    for act in ACTS {
        let body = json!({ "session_id": as_whom, "work_id": "matrix" });
        actions.push(action(act.to_owned(), format!("/work/{act}"), body));
        let path = format!("/work/{act}?session_id={as_whom}&work_id=matrix");
        actions.push(action(format!("{act} by query"), path, Value::Null));
    }
    actions
}

/// Who asks, what they show, and what they are answered: a status, or nothing where they may.
struct Caller {
    who: &'static str,
    authorization: Option<String>,
    refused: Option<u16>,
}

/// Everybody who could ask for something in the name of one session, that session last.
fn callers(victim: &Identity, other: &Identity) -> Vec<Caller> {
    let (own, others) = (
        victim.token.as_deref().unwrap(),
        other.token.as_deref().unwrap(),
    );
    let caller = |who, authorization: Option<String>, refused| Caller {
        who,
        authorization,
        refused,
    };
    vec![
        caller("nobody", None, Some(401)),
        caller("a stranger", Some(bearer("no-such-token")), Some(401)),
        caller("half a proof", Some("Bearer".to_owned()), Some(401)),
        caller("another session", Some(bearer(others)), Some(403)),
        caller(
            "another, as itself",
            Some(basic(&other.id, others)),
            Some(403),
        ),
        caller(
            "another, under this name",
            Some(basic(&victim.id, others)),
            Some(401),
        ),
        caller(
            "this, under another's name",
            Some(basic(&other.id, own)),
            Some(401),
        ),
        caller("a node that may read", Some(bearer(SECRET)), Some(403)),
        caller("an operator", Some(bearer(OPERATOR)), None),
        caller("itself, by name", Some(basic(&victim.id, own)), None),
        caller("itself", Some(bearer(own)), None),
    ]
}

/// A bus with tokens, and three sessions.
struct World {
    bus: Bus,
    victim: Identity,
    other: Identity,
    third: Identity,
}

impl World {
    fn start() -> Self {
        let bus = Bus::start(Mode::Token);
        let [victim, other, third] = ["victim", "other", "third"].map(|id| bus.identity(id));
        Self {
            bus,
            victim,
            other,
            third,
        }
    }

    /// How many events there are of a session, and of how many claims it is the holder.
    #[track_caller]
    fn traces(&self, id: &str) -> (usize, usize) {
        let events = self.bus.history("%3E").into_iter();
        let claims = self.bus.read("/work/claimed");
        let claims = claims["claims"].as_array().unwrap().iter();
        (
            events.filter(|event| event["session_id"] == id).count(),
            claims.filter(|claim| claim["claimed_by"] == id).count(),
        )
    }
}

#[test]
fn a_session_does_nothing_as_another_over_http() {
    let world = World::start();
    for action in actions("victim") {
        for caller in callers(&world.victim, &world.other) {
            let before = world.traces("victim");
            let (status, told) = world.bus.ask(
                caller.authorization.as_deref(),
                action.method,
                &action.path,
                &action.body,
            );
            let cell = format!("{} by {}: {status} {told}", action.what, caller.who);
            match caller.refused {
                Some(refused) => {
                    assert_eq!(status, refused, "{cell}");
                    assert!(told["detail"].is_string(), "{cell}");
                    assert_eq!(world.traces("victim"), before, "{cell}");
                }
                // What is allowed may still be nothing that can be done now.
                None => assert!(matches!(status, 200 | 404 | 409), "{cell}"),
            }
        }
    }
    let told = world.bus.history("message.direct");
    assert_eq!(told.len(), 6, "the three who may, in both forms: {told:?}");
    assert_eq!(world.traces("other").0, 0, "nothing was done as another");
}

#[test]
fn only_operators_say_who_is_a_session() {
    let world = World::start();
    let own = world.other.authorization().unwrap();
    let registering = |id: &str| json!({ "session_id": id, "role": "Any" });
    let callers: [(Option<String>, u16); 4] = [
        (None, 401),
        (Some(bearer("no-such-token")), 401),
        (Some(own.clone()), 403),
        (Some(bearer(SECRET)), 403),
    ];
    for (authorization, refused) in &callers {
        let authorization = authorization.as_deref();
        for id in ["victim", "other", "new"] {
            let body = registering(id);
            let (status, told) = world.bus.ask(authorization, "POST", "/sessions", &body);
            assert_eq!(status, *refused, "{id}: {told}");
            let path = format!("/sessions/{id}");
            let (status, told) = world.bus.ask(authorization, "DELETE", &path, &Value::Null);
            assert_eq!(status, *refused, "{id}: {told}");
        }
    }
    let operator = bearer(OPERATOR);
    let (status, gone) = world
        .bus
        .ask(Some(&operator), "DELETE", "/sessions/victim", &Value::Null);
    assert_eq!(status, 204, "{gone}");
    // Whoever was signed off is nobody.
    let event = json!({ "event_type": "status.update", "session_id": "victim", "payload": { "status": "idle" } });
    let (status, told) = world.bus.post(&world.victim, "/events", &event);
    assert_eq!(status, 401, "{told}");
    let refused = Socket::open(
        &world.bus,
        "victim",
        world.victim.authorization().as_deref(),
    );
    assert_eq!(refused.err(), Some(401));
}

#[test]
fn nobody_tells_what_the_bus_itself_tells() {
    let world = World::start();
    let mut socket = Socket::of(&world.bus, &world.other);
    for event_type in [
        "session.connected",
        "session.disconnected",
        "help.offered",
        "work.expired",
    ] {
        let payload = json!({ "session_id": "other", "work_id": "w", "to": "third" });
        let before = world.bus.history(event_type);
        for authorization in [world.other.authorization(), Some(bearer(OPERATOR))] {
            let event =
                json!({ "event_type": event_type, "session_id": "other", "payload": payload });
            let (status, told) = world
                .bus
                .ask(authorization.as_deref(), "POST", "/events", &event);
            assert_eq!(status, 403, "{event_type}: {told}");
        }
        let frame = json!({ "action": "publish", "event_type": event_type, "payload": payload });
        let told = socket.ask(frame);
        assert_eq!(told["event_type"], "system.error", "{event_type}: {told}");
        assert_eq!(world.bus.history(event_type), before);
    }
}

#[test]
fn a_socket_is_opened_by_its_session_alone() {
    let world = World::start();
    for caller in callers(&world.victim, &world.other) {
        let opened = Socket::open(&world.bus, "victim", caller.authorization.as_deref());
        match (caller.refused, opened) {
            (Some(refused), Err(status)) => assert_eq!(status, refused, "{}", caller.who),
            (None, Ok(mut socket)) => socket.subscribe(&["work.*"]),
            (_, opened) => panic!("{}: {:?}", caller.who, opened.err()),
        }
    }
}

/// Every frame with which a session does something; what it says in other places of who does it counts for nothing.
fn frames(as_whom: &str) -> Vec<Value> {
    let mut frames = Vec::new();
    for (event_type, mut payload) in events() {
        payload["session_id"] = json!(as_whom);
        payload["claimed_by"] = json!(as_whom);
        frames.push(
            json!({ "action": "publish", "event_type": event_type, "payload": payload,
            "source": as_whom }),
        );
    }
    for act in ACTS {
        frames.push(json!({ "action": act, "work_id": "matrix", "claimed_by": as_whom }));
    }
    frames
}

#[test]
fn a_session_does_nothing_as_another_over_its_socket() {
    let world = World::start();
    // There is work of the other's to take, to end and to go on holding.
    let held = json!({ "session_id": "victim", "work_id": "matrix" });
    assert_eq!(world.bus.post(&world.victim, "/work/claim", &held).0, 200);
    let before = world.traces("victim");
    let mut socket = Socket::of(&world.bus, &world.other);
    for mut frame in frames("victim") {
        let told = socket.ask(frame.clone());
        if frame.to_string().contains("matrix") {
            let code = told["code"].as_str();
            assert!(
                matches!(code, Some("work-held" | "stale-claim")),
                "{frame}: {told}"
            );
        } else {
            assert_eq!(told["status"], "published", "{frame}: {told}");
        }
        assert_eq!(world.traces("victim"), before, "{frame}: {told}");
        // Who says outright that they are another is told that they are not.
        frame["session_id"] = json!("victim");
        let told = socket.ask(frame.clone());
        assert_eq!(told["code"], "not-permitted", "{frame}: {told}");
        assert_eq!(world.traces("victim"), before, "{frame}: {told}");
    }
    assert_eq!(world.bus.holder("matrix").as_deref(), Some("victim"));
    let fate = world.bus.fate("matrix");
    assert_eq!(fate, [("work.claimed".to_owned(), "victim".to_owned())]);
}

/// Something that everybody hears, to know that what came before was heard or not.
fn mark(world: &World, message: &str) {
    let body = json!({ "event_type": "message.broadcast", "session_id": "victim",
        "payload": { "message": message } });
    assert_eq!(world.bus.post(&world.victim, "/events", &body).0, 200);
}

/// The direct messages that a socket was sent until a mark.
#[track_caller]
fn heard(socket: &mut Socket, mark: &str) -> Vec<String> {
    let frames = socket.through(mark, |frame| frame["payload"]["message"] == mark);
    let direct = frames
        .iter()
        .filter(|frame| frame["event_type"] == "message.direct");
    direct
        .map(|frame| frame["payload"]["message"].as_str().unwrap().to_owned())
        .collect()
}

/// How many direct messages somebody finds in an answer of any shape.
fn found(answer: &Value) -> usize {
    answer.to_string().matches("message.direct").count()
}

#[test]
fn a_direct_message_is_read_by_its_two_ends_and_operators_alone() {
    let world = World::start();
    let send = |message: &str| {
        let body = json!({ "event_type": "message.direct", "session_id": "victim",
            "payload": { "to": "third", "message": message } });
        assert_eq!(world.bus.post(&world.victim, "/events", &body).0, 200);
    };
    // One while the receiver is away, which is kept for it, and one that all who could listen for it.
    send("kept");
    let topics = ["message.*", "message.direct", "broadcast"];
    let mut eaves = Socket::of(&world.bus, &world.other);
    eaves.subscribe(&topics);
    let mut named = Socket::of(&world.bus, &world.other);
    let as_third = json!({ "action": "subscribe", "topics": topics, "session_id": "third" });
    assert_eq!(named.ask(as_third)["code"], "not-permitted");
    let named_otherwise = json!({ "action": "subscribe", "topics": topics, "to": "third" });
    assert_eq!(named.ask(named_otherwise)["status"], "subscribed");
    let mut receiver = Socket::of(&world.bus, &world.third);
    receiver.subscribe(&["broadcast"]);
    send("live");
    mark(&world, "first");
    assert_eq!(heard(&mut eaves, "first"), [""; 0]);
    assert_eq!(heard(&mut named, "first"), [""; 0]);
    assert_eq!(heard(&mut receiver, "first"), ["kept", "live"]);

    // From the beginning of the log it is no other.
    let answer = eaves.ask(json!({ "action": "replay", "from": "earliest" }));
    assert_eq!(answer["event_type"], "system.ack", "{answer}");
    mark(&world, "second");
    assert_eq!(heard(&mut eaves, "second"), [""; 0]);

    let history = |authorization: Option<String>, query: &str| {
        let path = format!("/events/history{query}");
        world
            .bus
            .ask(authorization.as_deref(), "GET", &path, &Value::Null)
    };
    let queries = [
        "",
        "?event_type=message.direct",
        "?event_type=message.*&session_id=third",
        "?session_id=victim&limit=1000",
    ];
    let readers = [
        (world.victim.authorization(), 2),
        (world.third.authorization(), 2),
        (Some(bearer(OPERATOR)), 2),
        (world.other.authorization(), 0),
        (
            Some(basic("other", world.other.token.as_deref().unwrap())),
            0,
        ),
        (Some(bearer(SECRET)), 0),
    ];
    for query in queries {
        for (authorization, count) in &readers {
            let (status, answer) = history(authorization.clone(), query);
            assert_eq!((status, found(&answer)), (200, *count), "{query}: {answer}");
        }
        for authorization in [None, Some(bearer("no-such-token"))] {
            assert_eq!(history(authorization, query).0, 401, "{query}");
        }
    }
}

#[test]
fn reading_takes_a_token_and_what_is_for_machines_does_not() {
    let world = World::start();
    let ask = |authorization: Option<&str>, path: &str| {
        world.bus.ask(authorization, "GET", path, &Value::Null).0
    };
    let own = world.other.authorization();
    for path in [
        "/sessions/active",
        "/sessions/victim",
        "/sessions/capabilities?skill=rust",
        "/work/claimed",
        "/events/history",
    ] {
        assert_eq!(ask(None, path), 401, "{path}");
        assert_eq!(ask(Some(&bearer("no-such-token")), path), 401, "{path}");
        assert_eq!(ask(own.as_deref(), path), 200, "{path}");
        assert_eq!(ask(Some(&bearer(SECRET)), path), 200, "{path}");
    }
    for path in ["/health", "/capabilities", "/state", "/dependencies"] {
        assert_eq!(ask(None, path), 200, "{path}");
    }
    let query = json!({ "message_type": "query", "payload": { "query": "connected_sessions" } });
    assert_eq!(world.bus.ask(None, "POST", "/message", &query).0, 401);
}
