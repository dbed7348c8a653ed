//! Sessions in processes of their own share work: one asks for help, one claims, one is refused, one goes away.

use std::{fs, time::Instant};

use serde_json::{Value, json};

use super::{Agent, Bus, Mode};
use crate::{
    crash::is_deep,
    support::{Tool, need, until},
};

const TOPICS: [&str; 3] = ["work.*", "help.*", "session.*"];

/// From something that a session did to another's hearing of it.
#[derive(Default)]
struct Delays(Vec<u64>);

impl Delays {
    fn add(&mut self, did_ns: u64, heard_ns: u64) {
        self.0.push(heard_ns.saturating_sub(did_ns));
    }

    fn print(mut self, what: &str) {
        self.0.sort_unstable();
        let ms = |percent: usize| self.0[(self.0.len() - 1) * percent / 100] as f64 / 1e6;
        let count = self.0.len();
        println!(
            "{what}: p50 {:.2} ms, p99 {:.2} ms, of {count}",
            ms(50),
            ms(99)
        );
    }
}

/// Three sessions: who asks, who helps, and who comes too late.
struct Team {
    asks: Agent,
    helps: Agent,
    late: Agent,
}

impl Team {
    fn gather(bus: &Bus) -> Self {
        let start = |number: u32, role: &str| {
            let who = bus.identity(&format!("session-{number}"));
            let mut agent = Agent::start(bus, &who, role, &["python", "websocket"]);
            agent.subscribe(&TOPICS);
            agent
        };
        Self {
            asks: start(1, "Asks"),
            helps: start(2, "Helps"),
            late: start(3, "Late"),
        }
    }

    /// One asks for help with a task, another does it, a third is too late.
    #[track_caller]
    fn share(&mut self, task: &str, delays: &mut Delays) {
        let help = json!({ "task": task, "capabilities_needed": ["python"] });
        let did_ns = self.asks.send(&publish("help.needed", &help));
        for agent in [&mut self.helps, &mut self.late] {
            let heard = agent.event("help.needed", task);
            assert_eq!(heard.frame["session_id"], "session-1");
            delays.add(did_ns, heard.at_ns);
        }
        let did_ns = self.helps.send(&act("claim", task));
        for agent in [&mut self.asks, &mut self.helps, &mut self.late] {
            let heard = agent.event("work.claimed", task);
            assert_eq!(heard.frame["session_id"], "session-2");
            delays.add(did_ns, heard.at_ns);
        }
        let did_ns = self.late.send(&act("claim", task));
        let refused = self.late.answer(&reference("claim", task));
        assert_eq!(refused.frame["code"], "work-held", "{}", refused.frame);
        delays.add(did_ns, refused.at_ns);
        let did_ns = self.helps.send(&act("complete", task));
        for agent in [&mut self.asks, &mut self.helps, &mut self.late] {
            delays.add(did_ns, agent.event("work.completed", task).at_ns);
        }
    }
}

fn publish(event_type: &str, payload: &Value) -> Value {
    json!({ "action": "publish", "event_type": event_type, "payload": payload })
}

fn act(action: &str, work_id: &str) -> Value {
    json!({ "action": action, "work_id": work_id, "ref": reference(action, work_id) })
}

fn reference(action: &str, work_id: &str) -> String {
    format!("{action} {work_id}")
}

/// What the file about all sessions says of one.
fn filed(bus: &Bus, id: &str) -> Option<Value> {
    let file = bus.coordination().join("claude_sessions.json");
    let sessions: Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    let mut entries = sessions.as_object()?.values();
    entries.find(|entry| entry["session_id"] == id).cloned()
}

/// Waits until the file says something of a session; how long that took is printed.
#[track_caller]
fn wait_for_file(bus: &Bus, id: &str, status: &str, current_work: &Value) {
    let since = Instant::now();
    until(&format!("{id} to be {status} in the file"), || {
        let entry = filed(bus, id)?;
        let fits = entry["status"] == status && entry["current_work"] == *current_work;
        fits.then_some(())
    });
    println!(
        "{id} is {status} in the file after {} ms",
        since.elapsed().as_millis()
    );
}

#[test]
fn sessions_in_processes_of_their_own_share_work() {
    if !need(&[Tool::Python]) {
        return;
    }
    let options = Bus::options(Mode::Open).env("NEXUS__AGENTS__GRACE_S", "1");
    let bus = Bus::with(Mode::Open, options);
    let mut team = Team::gather(&bus);

    let rounds = if is_deep() { 300 } else { 100 };
    let mut delays = Delays::default();
    for round in 0..rounds {
        team.share(&format!("task-{round}"), &mut delays);
    }
    delays.print("what one session does, another hears");

    // Who holds work goes away: it is free, and the one that was late gets it.
    let Team {
        mut asks,
        mut helps,
        mut late,
    } = team;
    asks.send(&act("claim", "own"));
    helps.event("work.claimed", "own");
    wait_for_file(&bus, "session-1", "working", &json!("own"));
    asks.leave();
    for agent in [&mut helps, &mut late] {
        agent.got(|frame| {
            let is_gone = frame["event_type"] == "session.disconnected";
            is_gone && frame["payload"]["session_id"] == "session-1"
        });
    }
    late.send(&act("claim", "own"));
    let granted = late.answer(&reference("claim", "own"));
    assert_eq!(granted.frame["status"], "claimed", "{}", granted.frame);
    wait_for_file(&bus, "session-1", "inactive", &Value::Null);
    wait_for_file(&bus, "session-3", "working", &json!("own"));

    let fate = bus.fate("own");
    let topics: Vec<&str> = fate.iter().map(|(topic, _)| topic.as_str()).collect();
    assert_eq!(topics, ["work.claimed", "work.released", "work.claimed"]);
    assert_eq!(fate[2].1, "session-3");
    // Each task was claimed once and completed once, and the one that was late left no trace.
    for round in [0, rounds / 2, rounds - 1] {
        let done = |topic: &str| (topic.to_owned(), "session-2".to_owned());
        let expected = [done("work.claimed"), done("work.completed")];
        assert_eq!(bus.fate(&format!("task-{round}")), expected);
    }
}
