//! A holder that the system stopped for twice as long as its lease: what it does then comes too late.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Agent, Bus, Mode, bus::pass};
use crate::support::{Tool, need};

/// How long the work of a connected session is held without a sign of life from it.
const LEASE: Duration = Duration::from_secs(3);

#[test]
fn a_holder_that_was_stopped_for_twice_its_lease_completes_nothing() {
    if !need(&[Tool::Python]) {
        return;
    }
    let options = Bus::options(Mode::Token)
        .env("NEXUS__AGENTS__SILENCE_S", LEASE.as_secs().to_string())
        .env("NEXUS__LIMITS__AGENTS_PING_INTERVAL_MS", "500");
    let bus = Bus::with(Mode::Token, options);
    let (holder, winner) = (bus.identity("holder"), bus.identity("winner"));
    let mut stopped = Agent::start(&bus, &holder, "Stopped", &[]);
    let mut next = Agent::start(&bus, &winner, "Next", &[]);
    next.subscribe(&["work.*"]);

    let claim = json!({ "action": "claim", "work_id": "w", "ref": "claim" });
    stopped.send(&claim);
    let granted = stopped.answer("claim").frame;
    let token = granted["payload"]["fencing_token"].as_u64().unwrap();
    // While it lives, it holds its work for longer than one lease.
    pass(LEASE * 2);
    assert_eq!(bus.holder("w").as_deref(), Some("holder"));

    stopped.process().pause();
    let since = Instant::now();
    next.event("work.expired", "w");
    next.send(&claim);
    let won = next.answer("claim").frame;
    assert_eq!(won["status"], "claimed", "{won}");
    let won_token = won["payload"]["fencing_token"].as_u64().unwrap();
    assert!(won_token > token);
    pass((LEASE * 2).saturating_sub(since.elapsed()));

    // What it was about to do when it was stopped is the first thing that it does.
    let complete =
        json!({ "action": "complete", "work_id": "w", "fencing_token": token, "ref": "late" });
    stopped.write(&complete);
    stopped.process().resume();
    let told = stopped.line(|line| line["got"]["ref"] == "late" || !line["closed"].is_null());
    if told["closed"].is_null() {
        assert_eq!(told["got"]["code"], "stale-claim", "{told}");
    }
    // By another way it comes as late.
    for token in [Some(token), None] {
        let body = json!({ "session_id": "holder", "work_id": "w", "fencing_token": token });
        for action in ["complete", "release", "renew"] {
            let (status, answer) = bus.post(&holder, &format!("/work/{action}"), &body);
            assert_eq!(status, 409, "{action}: {answer}");
            assert_eq!(answer["code"], "stale-claim", "{action}");
        }
    }
    let complete = json!({ "action": "complete", "work_id": "w", "fencing_token": won_token, "ref": "complete" });
    next.send(&complete);
    let done = next.answer("complete").frame;
    assert_eq!(done["status"], "completed", "{done}");

    let fate = bus.fate("w");
    let fate: Vec<(&str, &str)> = fate
        .iter()
        .map(|(topic, of)| (topic.as_str(), of.as_str()))
        .collect();
    let [claimed, (expired, _), rest @ ..] = &fate[..] else {
        panic!("{fate:?}");
    };
    assert_eq!(
        (*claimed, *expired),
        (("work.claimed", "holder"), "work.expired")
    );
    let winners = [("work.claimed", "winner"), ("work.completed", "winner")];
    assert_eq!(rest, winners, "the log holds the winner's completion alone");
}
