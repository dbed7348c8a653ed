//! A session as a process of its own, written in Python.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use super::{Bus, Identity};
use crate::support::{CLIENTS, Process, Tool, tool};

/// The process.
pub(super) struct Agent {
    process: Process,
    /// Lines before this one were looked at.
    looked_at: usize,
    sent: u64,
    /// The line that told of the last frame that was sent.
    sent_at: usize,
}

/// A frame that arrived, and when by the machine's monotonic time.
pub(super) struct Arrived {
    pub(super) at_ns: u64,
    pub(super) frame: Value,
}

impl Agent {
    /// Connects as a session that can do some things.
    #[track_caller]
    pub(super) fn start(bus: &Bus, who: &Identity, role: &str, capabilities: &[&str]) -> Self {
        let mut url = bus.socket_url(&who.id);
        url.push_str(&format!(
            "?role={role}&capabilities={}",
            capabilities.join(",")
        ));
        let mut agent = Self {
            process: Process::start_reading(&mut program(&url, who.token.as_deref())),
            looked_at: 0,
            sent: 0,
            sent_at: 0,
        };
        agent.line(|line| line["connected"].is_string());
        agent
    }

    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    /// Lets it send a frame; when it did, in nanoseconds of the machine's monotonic time.
    #[track_caller]
    pub(super) fn send(&mut self, frame: &Value) -> u64 {
        let number = self.write(frame);
        let is_told = |line: &str| parse(line)["sent"] == number;
        let (at, line) = self.process.line(self.sent_at, is_told);
        self.sent_at = at;
        at_ns(&parse(&line))
    }

    /// Gives it a frame to send, whether it runs or not; the number of the frame.
    pub(super) fn write(&mut self, frame: &Value) -> u64 {
        self.sent += 1;
        self.process.write_line(&frame.to_string());
        self.sent
    }

    /// Subscribes, and waits until that is so.
    #[track_caller]
    pub(super) fn subscribe(&mut self, topics: &[&str]) {
        self.send(&json!({ "action": "subscribe", "topics": topics, "ref": "subscribe" }));
        let answer = self.answer("subscribe");
        assert_eq!(answer.frame["status"], "subscribed", "{}", answer.frame);
    }

    /// The answer to the frame with a `ref`.
    #[track_caller]
    pub(super) fn answer(&mut self, reference: &str) -> Arrived {
        self.got(|frame| frame["ref"] == reference)
    }

    /// The next event of a type about a work item, or a task.
    #[track_caller]
    pub(super) fn event(&mut self, event_type: &str, item: &str) -> Arrived {
        self.got(|frame| {
            let payload = &frame["payload"];
            frame["event_type"] == event_type
                && (payload["work_id"] == item || payload["task"] == item)
        })
    }

    /// The next frame that fits, passing over those before it.
    #[track_caller]
    pub(super) fn got(&mut self, fits: impl Fn(&Value) -> bool) -> Arrived {
        let line = self.line(|line| fits(&line["got"]));
        Arrived {
            at_ns: at_ns(&line),
            frame: line["got"].clone(),
        }
    }

    /// The next line that fits, passing over those before it.
    #[track_caller]
    pub(super) fn line(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        let fits = |line: &str| fits(&parse(line));
        let (at, line) = self.process.line(self.looked_at, fits);
        self.looked_at = at + 1;
        parse(&line)
    }

    /// Ends the session in order.
    #[track_caller]
    pub(super) fn leave(mut self) {
        self.process.end_input();
        assert!(self.process.end().success(), "{}", self.process.stderr());
    }
}

/// The program for an address.
fn program(url: &str, token: Option<&str>) -> Command {
    let mut command = Command::new(tool(Tool::Python).expect("asked for before"));
    command.arg(Path::new(CLIENTS).join("agent.py")).arg(url);
    if let Some(token) = token {
        command.args(["--token", token]);
    }
    command
}

fn at_ns(line: &Value) -> u64 {
    line["at_ns"].as_u64().unwrap()
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_default()
}
