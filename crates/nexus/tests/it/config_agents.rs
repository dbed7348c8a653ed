//! What can be set of the agents, and what is refused.

use std::net::SocketAddr;

use nexus::config::{AgentsAuth, Mode};

use crate::config::{Place, SECRET, lines};

const WITH_SECRET: (&str, &str) = ("NEXUS_SECRET", SECRET);

#[test]
fn agents_prove_themselves_unless_it_is_dev() {
    let place = Place::new(&[]);
    for (mode, auth, per_minute) in [
        (Mode::Serve, AgentsAuth::Token, 100),
        (Mode::Dev, AgentsAuth::Open, 0),
    ] {
        let config = place.config(mode, &[WITH_SECRET]);
        assert_eq!((config.agents.port, config.agents.auth), (8450, auth));
        assert_eq!(config.limits.session_events_per_minute, per_minute);
    }
    let closed = [WITH_SECRET, ("NEXUS__AGENTS__AUTH", "token")];
    let config = place.config(Mode::Dev, &closed);
    assert_eq!(config.agents.auth, AgentsAuth::Token);
}

#[test]
fn the_files_of_sessions_are_with_the_data_unless_it_is_said() {
    let place = Place::new(&[]);
    let config = place.config(Mode::Serve, &[WITH_SECRET]);
    let data = place.path().join("data");
    assert_eq!(config.coordination_path(), data.join("coordination"));
    let said = [WITH_SECRET, ("COORDINATION_PATH", "docs/coordination")];
    let config = place.config(Mode::Serve, &said);
    let expected = place.path().join("docs/coordination");
    assert_eq!(config.coordination_path(), expected);
}

#[test]
fn where_registry_and_chat_are_is_read_and_their_keys_are_not_shown() {
    let place = Place::new(&[]);
    let variables = [
        WITH_SECRET,
        ("REGISTRY_URL", "http://user:hunter2@localhost:8000/hunter2"),
        ("CHAT_URL", "ws://localhost:8100/ws?token=hunter2"),
        ("NEXUS__AGENTS__CHAT_TOPICS", "message.*,help.needed"),
    ];
    let config = place.config(Mode::Serve, &variables);
    let printed = format!("{:?}", config.agents);
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.contains("http://localhost:8000"), "{printed}");
    assert!(printed.contains("ws://localhost:8100"), "{printed}");
    assert_eq!(config.agents.chat_topics, ["message.*", "help.needed"]);
}

#[test]
fn what_cannot_be_is_refused() {
    let place = Place::new(&[]);
    for (variables, told) in [
        (
            &[("PORT", "8450")] as &[_],
            "agents.port: it is the port of the server too",
        ),
        (
            &[("NEXUS__AGENTS__SILENCE_S", "10")],
            "NEXUS__AGENTS__SILENCE_S: work is lost after 10000 ms of silence",
        ),
        (
            &[("NEXUS__LIMITS__AGENTS_PING_INTERVAL_MS", "30000")],
            "NEXUS__LIMITS__AGENTS_PING_INTERVAL_MS: work is lost after 30000 ms of silence",
        ),
        (
            &[("NEXUS__AGENTS__AUTH", "closed")],
            "\"closed\" is not one of them; allowed: open, token",
        ),
        (
            &[("CHAT_URL", "http://localhost:8100")],
            "CHAT_URL: this is not a ws or wss address",
        ),
        (
            &[
                ("CHAT_URL", "ws://localhost:8100"),
                ("NEXUS__AGENTS__CHAT_TOPICS", "mesage.broadcast"),
            ],
            "is no event and no pattern",
        ),
    ] {
        let variables = [&[WITH_SECRET], variables].concat();
        let refused = place.refusals(Mode::Serve, &variables);
        assert!(refused.contains(told), "{variables:?}: {refused}");
        assert_eq!(refused.lines().count(), 1, "{refused}");
    }
}

#[test]
fn what_has_no_effect_is_told() {
    let place = Place::new(&[]);
    let variables = [
        WITH_SECRET,
        ("NEXUS__AGENTS__PUBLIC_URL", "http://agents.example.org"),
        ("NEXUS__AGENTS__CHAT_TOPICS", "help.*"),
    ];
    let loaded = place.load_file(Mode::Serve, None, &variables).unwrap();
    let warnings = lines(&loaded.warnings);
    for told in [
        "agents.registry_url is not set",
        "agents.chat_url is not set",
    ] {
        assert!(warnings.contains(told), "{warnings}");
    }
}

#[test]
fn both_listeners_are_on_one_address() {
    let place = Place::new(&[]);
    let variables = [WITH_SECRET, ("AGENTS_PORT", "9450"), ("NEXUS_HOST", "::1")];
    let config = place.config(Mode::Serve, &variables);
    let address = SocketAddr::new(config.server.host, config.agents.port);
    assert_eq!(address.to_string(), "[::1]:9450");
}
