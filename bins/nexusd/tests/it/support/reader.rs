//! A subscriber in another language, as a process that prints each frame.

use std::{net::SocketAddr, path::Path, process::Command};

use serde_json::Value;

use super::{CLIENTS, Process, Tool, tool};

/// How a reader shows its token.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By {
    Header,
    Subprotocol,
    Query,
}

/// A subscriber.
pub(crate) struct Reader {
    process: Process,
}

impl Reader {
    /// Connects with npm `ws` or Python `websockets` and subscribes.
    pub(crate) fn start(
        language: Tool,
        address: SocketAddr,
        token: &str,
        by: By,
        events: &str,
        from: Option<&str>,
    ) -> Self {
        let script = match language {
            Tool::Python => "subscribe.py",
            Tool::Node
            | Tool::McpSdk
            | Tool::McpServers
            | Tool::Shell
            | Tool::Browser
            | Tool::Clock => "subscribe.mjs",
        };
        let by = match by {
            By::Header => "header",
            By::Subprotocol => "subprotocol",
            By::Query => "query",
        };
        let mut command = Command::new(tool(language).expect("asked for before"));
        command
            .arg(Path::new(CLIENTS).join(script))
            .arg(format!("ws://{address}"));
        command.args(["--token", token, "--by", by, "--events", events]);
        if let Some(from) = from {
            command.args(["--from", from]);
        }
        Self {
            process: Process::start(&mut command),
        }
    }

    /// The next line, from number `skip` on, that fits.
    #[track_caller]
    pub(crate) fn line(&self, skip: usize, fits: impl Fn(&Value) -> bool) -> (usize, Value) {
        let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_default();
        let (at, line) = self.process.line(skip, |line| fits(&parse(line)));
        (at, parse(&line))
    }

    /// What it was told when it subscribed.
    #[track_caller]
    pub(crate) fn subscribed(&self) -> Value {
        self.line(0, |line| line["status"] == "subscribed").1
    }

    /// Waits for the event with this number, and gives every event until then.
    #[track_caller]
    pub(crate) fn events_through(&self, seq: u64) -> Vec<Value> {
        self.line(0, |line| line["seq"] == seq);
        let lines = self.process.stdout();
        let frames = lines
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        frames
            .filter(|frame| frame["event"].is_string() && frame["seq"].as_u64() <= Some(seq))
            .collect()
    }
}
