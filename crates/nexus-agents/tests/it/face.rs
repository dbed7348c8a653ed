//! The routes on a real server, open and with tokens.

use http::Method;
use nexus_agents::{
    Pace, Profile,
    http::{FaceOptions, Trust, routes},
};
use nexus_auth::{Auth, AuthOptions, Secret};
use nexus_core::{Catalogue, Clock};
use nexus_http::{Server, ServerOptions};
use nexus_outbound::{Client, OutboundOptions, Outgoing, Trust as AddressTrust};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{World, able, session};

pub(crate) const OPERATOR: &str = "an-operators-token-of-32-characters";

/// The face of a world, and a client of it.
pub(crate) struct Face {
    pub(crate) world: World,
    root: String,
    client: Client,
    shutdown: CancellationToken,
}

impl Drop for Face {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// What was answered: the status and the body.
pub(crate) type Answer = (u16, Value);

impl Face {
    async fn new(trust: Trust, events_per_minute: u32) -> Self {
        let options = FaceOptions {
            trust,
            pace: Pace::new(events_per_minute),
            ..FaceOptions::default()
        };
        Self::of(World::new().await, options).await
    }

    pub(crate) async fn of(world: World, face: FaceOptions) -> Self {
        let options = AuthOptions {
            default_secrets: vec![Secret::new("a-secret-of-at-least-32-characters").into()],
            admin_token: Some(Secret::new(OPERATOR)),
            ..AuthOptions::default()
        };
        let auth = Auth::new(&options, &Catalogue::known(), Clock::System).unwrap();
        let address = ([127, 0, 0, 1], 0).into();
        let server = Server::bind(
            address,
            routes(&world.agents, &auth, face),
            ServerOptions::default(),
        )
        .await
        .unwrap();
        let root = format!("http://{}", server.local_addr());
        let shutdown = CancellationToken::new();
        tokio::spawn(server.run(shutdown.clone()));
        Self {
            world,
            root,
            client: Client::new(&OutboundOptions::default()).unwrap(),
            shutdown,
        }
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        authorization: &str,
        body: &str,
    ) -> Answer {
        let url = format!("{}/{path}", self.root).parse().unwrap();
        let mut call = Outgoing::new(method, url, AddressTrust::Configured);
        if !authorization.is_empty() {
            let value = authorization.parse().unwrap();
            call.headers.insert(http::header::AUTHORIZATION, value);
        }
        call.body = body.to_owned().into();
        let answer = self.client.send(call).await.unwrap();
        let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        (answer.status, body)
    }

    pub(crate) async fn post(&self, path: &str, authorization: &str, body: &Value) -> Answer {
        self.ask(Method::POST, path, authorization, &body.to_string())
            .await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &bearer(OPERATOR), "").await
    }
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn members(value: &Value) -> Vec<&str> {
    let object = value.as_object().unwrap();
    let mut names: Vec<_> = object.keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn every_cell_of_the_table_over_http_open_and_with_tokens() {
    for trust in [Trust::Open, Trust::Token] {
        let face = Face::new(trust, 0).await;
        let done = "work-completed";
        // unclaimed, held by the caller, held by another, completed by the caller, completed by another
        let table = [
            ("claim", ["", "", "work-held", done, done]),
            ("renew", ["not-found", "", "stale-claim", done, done]),
            ("release", ["not-found", "", "stale-claim", done, done]),
            ("complete", ["not-found", "", "stale-claim", "", done]),
        ];
        let token = |id: &str| {
            let (agents, id) = (face.world.agents.clone(), session(id));
            async move { agents.register(&id, Profile::default()).await.unwrap() }
        };
        let (mine, theirs) = (token("me").await, token("other").await);
        let (mine, theirs) = (bearer(mine.expose()), bearer(theirs.expose()));
        for (action, row) in table {
            for (column, code) in row.into_iter().enumerate() {
                let body =
                    |id: &str| json!({ "session_id": id, "work_id": format!("{action}-{column}") });
                let (owner, as_owner) = match column {
                    2 | 4 => ("other", &theirs),
                    _ => ("me", &mine),
                };
                if column > 0 {
                    let claimed = face.post("work/claim", as_owner, &body(owner)).await;
                    assert_eq!(claimed.0, 200, "{claimed:?}");
                }
                if column > 2 {
                    let completed = face.post("work/complete", as_owner, &body(owner)).await;
                    assert_eq!(completed.0, 200, "{completed:?}");
                }
                let path = format!("work/{action}");
                let (status, told) = face.post(&path, &mine, &body("me")).await;
                let expected = match code {
                    "" => 200,
                    "not-found" => 404,
                    _ => 409,
                };
                assert_eq!(status, expected, "{trust:?} {action} {column}: {told}");
                if !code.is_empty() {
                    assert_eq!(told["code"], code, "{trust:?} {action} {column}");
                    assert!(told["detail"].is_string());
                }
            }
        }
    }
}

#[tokio::test]
async fn answers_have_the_members_that_clients_read() {
    let face = Face::new(Trust::Open, 0).await;
    let _connection = face
        .world
        .agents
        .connect(&session("session-5"), able(&["python"]))
        .await
        .unwrap();
    let claim = json!({
        "session_id": "session-5",
        "work_id": "deploy-nexus",
        "work_description": "Deploy NEXUS event bus",
    });
    let (status, claimed) = face.post("work/claim", "", &claim).await;
    assert_eq!(status, 200);
    assert_eq!(
        members(&claimed),
        [
            "claimed_at",
            "claimed_by",
            "fencing_token",
            "lease_expires_at",
            "status",
            "work_id"
        ]
    );
    let (_, listed) = face.get("work/claimed?session_id=session-5").await;
    assert_eq!(listed["count"], 1);
    assert_eq!(listed["claims"][0]["description"], "Deploy NEXUS event bus");
    assert_eq!(listed["claims"][0]["status"], "claimed");

    let (_, active) = face.get("sessions/active").await;
    assert_eq!(
        (&active["count"], &active["sessions"][0]["status"]),
        (&json!(1), &json!("working"))
    );
    assert_eq!(
        active["sessions"][0]["current_work"],
        "Deploy NEXUS event bus"
    );
    let (status, one) = face.get("sessions/session-5").await;
    assert_eq!((status, &one), (200, &active["sessions"][0]));
    assert_eq!(
        members(&one),
        [
            "capabilities",
            "connected_at",
            "current_work",
            "last_event",
            "role",
            "session_id",
            "status"
        ]
    );
    let (_, found) = face
        .get("sessions/capabilities?skill=python&available=true")
        .await;
    assert_eq!(found, json!({ "matches": [] }), "it is busy");
    let (_, found) = face.get("sessions/capabilities?skill=python").await;
    assert_eq!(found["matches"][0]["availability"], "busy");
    assert_eq!(
        members(&found["matches"][0]),
        ["availability", "capabilities", "role", "session_id"]
    );

    let (_, health) = face.get("health").await;
    assert_eq!(
        members(&health),
        ["service", "status", "timestamp", "version"]
    );
    assert_eq!(
        (&health["status"], &health["service"]),
        (&json!("active"), &json!("nexus-event-bus"))
    );
}

#[tokio::test]
async fn what_is_said_is_kept_and_read_as_history() {
    let face = Face::new(Trust::Open, 0).await;
    let said = json!({
        "event_type": "help.needed",
        "session_id": "session-5",
        "payload": { "task": "t", "capabilities_needed": ["python"] },
    });
    let (status, published) = face.post("events", "", &said).await;
    assert_eq!(status, 200, "{published}");
    assert_eq!(published["status"], "published");
    assert_eq!(
        members(&published),
        ["event_id", "matches", "seq", "status", "timestamp"]
    );
    // The older form: the body is the payload.
    let path = "events?event_type=status.update&session_id=session-5";
    let (status, _) = face.post(path, "", &json!({ "status": "idle" })).await;
    assert_eq!(status, 200);
    // To say that work is claimed is to claim it.
    let claimed = json!({
        "event_type": "work.claimed",
        "session_id": "session-5",
        "payload": { "work_item": "Deploy NEXUS" },
    });
    assert_eq!(face.post("events", "", &claimed).await.0, 200);
    let other = json!({
        "event_type": "work.claimed",
        "session_id": "session-6",
        "payload": { "work_item": "Deploy NEXUS" },
    });
    let (status, refused) = face.post("events", "", &other).await;
    assert_eq!((status, &refused["claimed_by"]), (409, &json!("session-5")));

    let (_, history) = face.get("events/history").await;
    assert_eq!(history["count"], 3, "{history}");
    let events = history["events"].as_array().unwrap();
    let types: Vec<_> = events.iter().map(|event| &event["event_type"]).collect();
    assert_eq!(types, ["help.needed", "status.update", "work.claimed"]);
    assert!(
        events
            .iter()
            .all(|event| event["session_id"] == "session-5")
    );
    assert_eq!(
        members(&events[0]),
        [
            "event_id",
            "event_type",
            "payload",
            "position",
            "seq",
            "session_id",
            "timestamp"
        ]
    );
    let (_, last) = face.get("events/history?limit=1").await;
    assert_eq!(last["events"][0]["event_type"], "work.claimed");
    let (_, work) = face.get("events/history?event_type=work.*").await;
    assert_eq!(work["count"], 1);
    let first = events[0]["position"].as_str().unwrap();
    let (_, next) = face
        .get(&format!("events/history?after={first}&limit=1"))
        .await;
    assert_eq!(next["events"][0]["event_type"], "status.update");
    assert_eq!(next["next"], events[1]["position"]);
    let since = events[0]["timestamp"].as_str().unwrap();
    let (_, since) = face.get(&format!("events/history?since={since}")).await;
    assert_eq!(since["count"], 3);
}

#[tokio::test]
async fn a_session_does_nothing_as_another() {
    let face = Face::new(Trust::Token, 0).await;
    let agents = &face.world.agents;
    let mine = agents
        .register(&session("me"), Profile::default())
        .await
        .unwrap();
    agents
        .register(&session("other"), Profile::default())
        .await
        .unwrap();
    let basic_with = |id: &str, token: &str| {
        let pair = format!("{id}:{token}");
        format!("Basic {}", data_encoding::BASE64.encode(pair.as_bytes()))
    };
    let basic = |id: &str| basic_with(id, mine.expose());
    let event = |id: &str| json!({ "event_type": "status.update", "session_id": id, "payload": { "status": "idle" } });
    let act = |id: &str| json!({ "session_id": id, "work_id": "w" });
    let paths = [
        "work/claim",
        "work/renew",
        "work/release",
        "work/complete",
        "events",
    ];
    for path in paths {
        let body = |id: &str| {
            if path == "events" { event(id) } else { act(id) }
        };
        for authorization in [bearer(mine.expose()), basic("me")] {
            let (status, told) = face.post(path, &authorization, &body("other")).await;
            assert_eq!(
                (status, &told["code"]),
                (403, &json!("not-permitted")),
                "{path}"
            );
            let (status, told) = face.post(path, &authorization, &body("me")).await;
            assert!(matches!(status, 200 | 404 | 409), "{path}: {told}");
        }
        // An operator's token as a password acts for whom it names, as it does without a name.
        let (status, told) = face
            .post(path, &basic_with("other", OPERATOR), &body("other"))
            .await;
        assert!(matches!(status, 200 | 404 | 409), "{path}: {told}");
        for authorization in [
            String::new(),
            bearer("no-such-token"),
            basic("other"),
            basic_with("me", "no-such-token"),
            "Basic %".into(),
        ] {
            let (status, _) = face.post(path, &authorization, &body("other")).await;
            assert_eq!(status, 401, "{path} {authorization}");
        }
    }
    let register = json!({ "session_id": "new" });
    assert_eq!(
        face.post("sessions", &bearer(mine.expose()), &register)
            .await
            .0,
        403
    );
    let (status, made) = face.post("sessions", &bearer(OPERATOR), &register).await;
    assert_eq!(status, 201);
    let new = bearer(made["token"].as_str().unwrap());
    assert_eq!(face.post("events", &new, &event("new")).await.0, 200);
    let gone = face
        .ask(Method::DELETE, "sessions/new", &bearer(OPERATOR), "")
        .await;
    assert_eq!(gone.0, 204);
    assert_eq!(face.post("events", &new, &event("new")).await.0, 401);
}

#[tokio::test]
async fn a_direct_message_is_read_by_its_two_ends_and_operators() {
    let face = Face::new(Trust::Token, 0).await;
    let mut tokens = Vec::new();
    for id in ["from", "to", "third"] {
        let token = face
            .world
            .agents
            .register(&session(id), Profile::default())
            .await
            .unwrap();
        tokens.push(bearer(token.expose()));
    }
    let message = json!({
        "event_type": "message.direct",
        "session_id": "from",
        "payload": { "to": "to", "message": "m" },
    });
    assert_eq!(face.post("events", &tokens[0], &message).await.0, 200);
    let operator = bearer(OPERATOR);
    for (authorization, count) in [
        (&tokens[0], 1),
        (&tokens[1], 1),
        (&tokens[2], 0),
        (&operator, 1),
    ] {
        let (_, history) = face
            .ask(Method::GET, "events/history", authorization, "")
            .await;
        assert_eq!(history["count"], count, "{history}");
    }
}

#[tokio::test]
async fn messages_of_others_hide_nothing_of_the_history() {
    let face = Face::new(Trust::Token, 0).await;
    let reader = session("reader");
    let reader = face.world.agents.register(&reader, able(&[]));
    let reader = bearer(reader.await.unwrap().expose());
    let say = async |event_type: &str, payload: Value| {
        let said = json!({ "event_type": event_type, "session_id": "from", "payload": payload });
        let (status, said) = face.post("events", &bearer(OPERATOR), &said).await;
        assert_eq!(status, 200, "{said}");
        said["seq"].clone()
    };
    let first = say("status.update", json!({ "status": "idle" })).await;
    for _ in 0..10 {
        say("message.direct", json!({ "to": "to", "message": "m" })).await;
    }
    let second = say("status.update", json!({ "status": "active" })).await;
    for _ in 0..10 {
        say("message.direct", json!({ "to": "to", "message": "m" })).await;
    }
    let asked = async |path: &str| face.ask(Method::GET, path, &reader, "").await.1;
    let last = asked("events/history?limit=1").await;
    assert_eq!(last["events"][0]["seq"], second, "{last}");
    let both = asked("events/history?limit=2").await;
    let seqs = [&both["events"][0]["seq"], &both["events"][1]["seq"]];
    assert_eq!(seqs, [&first, &second], "{both}");
    // Read on one by one, each comes once, and then nothing follows.
    let after = both["events"][0]["position"].as_str().unwrap();
    let next = asked(&format!("events/history?limit=1&after={after}")).await;
    assert_eq!(next["events"][0]["seq"], second, "{next}");
    assert_eq!(next["next"], Value::Null, "{next}");
}

#[tokio::test]
async fn bad_input_is_refused() {
    let face = Face::new(Trust::Open, 0).await;
    for (path, body) in [
        ("work/claim", json!({ "work_id": "w" })),
        ("work/claim", json!({ "session_id": "a b", "work_id": "w" })),
        ("work/claim", json!({ "session_id": "a" })),
        (
            "work/claim",
            json!({ "session_id": "a", "work_id": "w", "lease_seconds": 4 }),
        ),
        (
            "work/claim",
            json!({ "session_id": "a", "work_id": "w", "lease_seconds": "x" }),
        ),
        (
            "work/release",
            json!({ "session_id": "a", "work_id": "w", "fencing_token": -1 }),
        ),
        ("events", json!({ "session_id": "a", "payload": {} })),
        (
            "events",
            json!({ "event_type": "no.such", "session_id": "a", "payload": {} }),
        ),
        (
            "events",
            json!({ "event_type": "status.update", "session_id": "a", "payload": [] }),
        ),
        (
            "sessions",
            json!({ "session_id": "a", "capabilities": "rust" }),
        ),
        ("work/claim", json!([])),
    ] {
        let (status, told) = face.post(path, "", &body).await;
        assert_eq!(status, 400, "{path} {body}: {told}");
        assert!(told["detail"].is_string());
    }
    let connected = json!({ "event_type": "session.connected", "session_id": "a", "payload": {} });
    assert_eq!(face.post("events", "", &connected).await.0, 403);
    assert_eq!(face.get("sessions/nobody").await.0, 404);
}

#[tokio::test]
async fn who_publishes_too_often_is_told_when_to_go_on() {
    let face = Face::new(Trust::Open, 2).await;
    let event = json!({ "event_type": "status.update", "session_id": "a", "payload": { "status": "idle" } });
    for expected in [200, 200, 429] {
        let (status, told) = face.post("events", "", &event).await;
        assert_eq!(status, expected, "{told}");
    }
    let (_, history) = face.get("events/history").await;
    assert_eq!(history["count"], 2);
}

/// Claims and their ends are counted by themselves; to hold on to one is not.
#[tokio::test]
async fn who_claims_and_releases_too_often_is_told_when_to_go_on() {
    let face = Face::new(Trust::Open, 3).await;
    let steps = [
        ("claim", "one", 200),
        ("renew", "one", 200),
        ("release", "one", 200),
        ("claim", "two", 200),
        ("claim", "three", 429),
        ("complete", "two", 429),
        ("release", "two", 429),
        ("renew", "two", 200),
    ];
    for (action, work_id, expected) in steps {
        let path = format!("work/{action}");
        let body = json!({ "session_id": "a", "work_id": work_id });
        let (status, told) = face.post(&path, "", &body).await;
        assert_eq!(status, expected, "{action} {work_id}: {told}");
    }
    let (_, claims) = face.get("work/claimed").await;
    assert_eq!(claims["count"], 1);
    let event = json!({ "event_type": "status.update", "session_id": "a", "payload": { "status": "idle" } });
    assert_eq!(face.post("events", "", &event).await.0, 200);
}
