//! The clients that people use, each run to its end: what it saw of the hub.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::world::{LONG, TOKEN};
use crate::support::{CLIENTS, Process, Tool, newer_node, server_modules, tool};

/// An official SDK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sdk {
    Python,
    TypeScript,
}

/// How a client reaches the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Streamable HTTP.
    Http,
    /// `nexusd mcp`, which the client starts.
    Command,
}

impl Sdk {
    /// A client that is going to do what a plan says.
    pub(super) fn command(self, way: Way, url: &str, plan: &Value) -> Command {
        let (program, script) = match self {
            Self::Python => (tool(Tool::McpSdk), "mcp_client.py"),
            Self::TypeScript => (tool(Tool::Node), "mcp_client.mjs"),
        };
        let mut command = Command::new(program.expect("it was asked for"));
        command.arg(Path::new(CLIENTS).join(script));
        command.args([url, TOKEN, &plan.to_string()]);
        if way == Way::Command {
            command.arg(env!("CARGO_BIN_EXE_nexusd"));
        }
        command
    }

    /// What it saw.
    #[track_caller]
    pub(super) fn run(self, way: Way, url: &str, plan: &Value) -> Value {
        let said = run(&mut self.command(way, url, plan));
        let last = said.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {said}"))
    }
}

/// Inspector, as people run it in a shell: it does one thing, and ends.
#[track_caller]
pub(super) fn inspector(way: Way, url: &str, home: &Path, arguments: &[&str]) -> Value {
    let script: PathBuf = server_modules()
        .expect("it was asked for")
        .join("@modelcontextprotocol/inspector/clients/launcher/build/index.js");
    let mut command = Command::new(newer_node().expect("it was asked for"));
    command.env("HOME", home).arg(script).arg("--cli");
    let patience = LONG.as_millis().to_string();
    command.args(["--quiet", "--connect-timeout", &patience]);
    command.args(arguments);
    match way {
        Way::Http => {
            let header = format!("Authorization: Bearer {TOKEN}");
            command.args(["--transport", "http", "--header", &header, "--", url]);
        }
        Way::Command => {
            let token = format!("NEXUS_TOKEN={TOKEN}");
            let nexusd = env!("CARGO_BIN_EXE_nexusd");
            command.args(["-e", &token, "--", nexusd, "mcp", "--url", url]);
        }
    }
    let said = run(&mut command);
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Runs a client to its end: what it printed.
#[track_caller]
fn run(command: &mut Command) -> String {
    let mut process = Process::start(command);
    let status = process.end_within(LONG);
    assert!(
        status.success(),
        "{status}\n{}\n{}",
        process.stdout(),
        process.stderr()
    );
    process.stdout()
}
