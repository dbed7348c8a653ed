//! The usage examples of the event bus's specification, as they stand in it, against `nexusd dev` as it is
//! started without a word: the files in `clients/agents` are those texts, unchanged.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::Network;
use crate::{
    crash::skip,
    support::{CLIENTS, Process, Tool, need, tool, until},
};

/// Where the examples expect the bus.
const BUS: &str = "localhost:8450";

/// The daemon and its clients in a network of their own.
struct World {
    network: Network,
    folder: tempfile::TempDir,
}

fn example(name: &str) -> PathBuf {
    Path::new(CLIENTS).join("agents").join(name)
}

impl World {
    /// `nexusd dev`, with nothing set.
    fn start_daemon(&self) -> Process {
        let mut dev = self.network.command(env!("CARGO_BIN_EXE_nexusd"));
        let daemon = Process::start(dev.arg("dev").current_dir(self.folder.path()));
        daemon.line(0, |line| line.contains("Stop with Ctrl-C"));
        daemon
    }

    fn python(&self, script: &Path) -> Command {
        let python = tool(Tool::Python).expect("asked for before");
        let mut command = self.network.command(python);
        command.arg(script).env("PYTHONUNBUFFERED", "1");
        command
    }

    /// Runs an example to its end; what it printed.
    #[track_caller]
    fn run(&self, name: &str) -> String {
        let script = example(name);
        let mut command = if name.ends_with(".sh") {
            let mut bash = self.network.command("bash");
            bash.arg(&script);
            bash
        } else {
            self.python(&script)
        };
        let (status, stdout, stderr) = Process::run(&mut command);
        assert!(status.success(), "{name}: {stdout} {stderr}");
        stdout
    }

    /// Whether a session is connected.
    fn is_connected(&self, id: &str) -> bool {
        let mut curl = self.network.command("curl");
        let active = format!("http://{BUS}/sessions/active");
        let (_, answer, _) = Process::run(curl.args(["--silent", &active]));
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let sessions = answer["sessions"].as_array().unwrap();
        sessions.iter().any(|session| session["session_id"] == id)
    }

    /// A session that can do some things, connected as the first example is.
    fn connect(&self, id: &str, query: &str) -> Process {
        let mut command = self.python(&Path::new(CLIENTS).join("agent.py"));
        let url = format!("ws://{BUS}/ws/session/{id}?{query}");
        let process = Process::start_reading(command.arg(url));
        process.line(0, |line| line.contains("connected"));
        process
    }
}

/// The lines that the first example prints for an event, from one on: its type, its session, its payload.
#[track_caller]
fn printed(listener: &Process, event_type: &str) -> [String; 3] {
    let first = format!("Event: {event_type}");
    let (at, event) = listener.line(0, |line| line == first);
    let (_, from) = listener.line(at + 1, |_| true);
    let (_, payload) = listener.line(at + 2, |_| true);
    [event, from, payload]
}

#[test]
fn the_usage_examples_of_the_specification_run_as_they_stand() {
    if !need(&[Tool::Python, Tool::Shell]) {
        return;
    }
    let Some(network) = Network::make() else {
        return skip("a network of the test's own cannot be made here");
    };
    let world = World {
        network,
        folder: tempfile::tempdir().unwrap(),
    };
    let _daemon = world.start_daemon();

    // Example 1: a session connects and listens.
    let listener = Process::start(&mut world.python(&example("connect.py")));
    until("the first example to connect", || {
        world.is_connected("session-5").then_some(())
    });
    // Example 2: it asks for help; again until the listener has subscribed, which nothing else tells.
    until("the first example to hear of it", || {
        world.run("help.py");
        let heard = listener.stdout().contains("Event: help.needed");
        heard.then_some(())
    });
    let [_, from, payload] = printed(&listener, "help.needed");
    assert_eq!(from, "From: session-5");
    assert!(
        payload.contains("'task': 'Debug WebSocket connection issue'"),
        "{payload}"
    );
    assert!(
        payload.contains("'capabilities_needed': ['python', 'websocket', 'debugging']"),
        "{payload}"
    );

    // Example 3: a script claims work, and everybody hears of it.
    let claimed: Value = serde_json::from_str(&world.run("claim.sh")).unwrap();
    assert_eq!(claimed["status"], "claimed", "{claimed}");
    assert_eq!(claimed["work_id"], "deploy-dashboard");
    assert_eq!(claimed["claimed_by"], "session-3");
    assert!(claimed["claimed_at"].is_string(), "{claimed}");
    let [_, from, payload] = printed(&listener, "work.claimed");
    assert_eq!(from, "From: session-3");
    assert!(payload.contains("deploy-dashboard"), "{payload}");

    // Example 4: sessions that can do something are found.
    assert_eq!(world.run("discover.py"), "", "nobody can yet");
    let _able = world.connect(
        "session-7",
        "role=Infrastructure%20Engineer&capabilities=python,fastapi,deployment",
    );
    let found = world.run("discover.py");
    assert_eq!(
        found,
        "Session session-7: Infrastructure Engineer\n  Capabilities: python, fastapi, deployment"
    );
    // The listener met no frame that it could not read, notifications among them.
    let [_, from, payload] = printed(&listener, "system.notification");
    assert_eq!(from, "From: nexus");
    assert!(payload.contains("connected"), "{payload}");
    assert_eq!(listener.stderr(), "");
}
