//! A daemon in a folder of its own, on a port that the system chose.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{Answer, Process, get, post, sign, until};

/// The secret of the default node.
pub(crate) const SECRET: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";

/// A command of the daemon that sees nothing of this process's environment but where programs are.
pub(crate) fn nexusd(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nexusd"));
    command.args(arguments).current_dir(folder).env_clear();
    for name in ["PATH", "HOME"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    // Under the same port as everything else: many daemons run at once.
    command.env("AGENTS_PORT", "0");
    command
}

/// What a daemon is started with.
#[derive(Clone)]
pub(crate) struct DaemonOptions {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl DaemonOptions {
    /// `nexusd serve` with one secret.
    pub(crate) fn serve() -> Self {
        Self::of("serve")
    }

    /// `nexusd dev` with one secret.
    pub(crate) fn dev() -> Self {
        Self::of("dev")
    }

    fn of(command: &str) -> Self {
        let options = Self {
            arguments: vec![command.to_owned()],
            environment: Vec::new(),
        };
        options
            .env("NEXUS_HOST", "127.0.0.1")
            .env("PORT", "0")
            .env("LOG_FORMAT", "json")
            .env("NEXUS_SECRET", SECRET)
    }

    pub(crate) fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// What runs it in a folder.
    pub(crate) fn command(&self, folder: &Path) -> Command {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let mut command = nexusd(folder, &arguments);
        let environment = self.environment.iter();
        command.envs(environment.map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn start(self) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        Daemon::start(self, folder)
    }
}

/// A daemon that answers.
pub(crate) struct Daemon {
    process: Process,
    options: DaemonOptions,
    folder: TempDir,
    address: SocketAddr,
    /// From its start until it said that it is ready.
    pub(crate) ready_after: Duration,
}

impl Daemon {
    pub(crate) fn start(options: DaemonOptions, folder: TempDir) -> Self {
        let mut command = options.command(folder.path());
        let started = Instant::now();
        let process = Process::start(&mut command);
        let (_, line) = process.error_line(0, |line| line.contains("\"message\":\"ready\""));
        let ready_after = started.elapsed();
        let line: Value = serde_json::from_str(&line).unwrap();
        let address = line["address"].as_str().unwrap().parse().unwrap();
        Self {
            process,
            options,
            folder,
            address,
            ready_after,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Publishes as the default node.
    pub(crate) fn publish(&self, body: &Value) -> Answer {
        self.post_signed("/events", SECRET, &body.to_string())
    }

    /// Posts a body under the plain signature of a secret.
    pub(crate) fn post_signed(&self, path: &str, secret: &str, body: &str) -> Answer {
        post(
            self.address,
            path,
            &[("X-Nexus-Signature", &sign(secret, body))],
            body,
        )
    }

    /// Reads something with a bearer token.
    #[track_caller]
    pub(crate) fn read(&self, path: &str, token: &str) -> Value {
        let bearer = format!("Bearer {token}");
        let answer = get(self.address, path, &[("Authorization", &bearer)]);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// The newest events of some name, oldest first.
    pub(crate) fn log(&self, event: &str) -> Vec<Value> {
        let answer = self.read(&format!("/events/log?limit=1000&event={event}"), SECRET);
        let mut events = answer["events"].as_array().unwrap().clone();
        events.reverse();
        events
    }

    pub(crate) fn terminate(&self) {
        self.process.terminate();
    }

    /// Lets it read its configuration again, and waits until that is done: whether it runs now, and what
    /// `/readyz` says.
    #[track_caller]
    pub(crate) fn reload(&self) -> (bool, Value) {
        let readyz = || get(self.address, "/readyz", &[]).json();
        let state = |answer: &Value| {
            let generation = answer["configuration"]["generation"].as_u64();
            (generation, answer["failed_reload"]["at"].clone())
        };
        let before = state(&readyz());
        self.process.hang_up();
        until("the end of the reload", || {
            let answer = readyz();
            let now = state(&answer);
            (now != before).then(|| (now.0 > before.0, answer))
        })
    }

    /// Waits until it ended, and gives back what it worked on.
    pub(crate) fn end(mut self) -> (ExitStatus, DaemonOptions, TempDir) {
        let status = self.process.end();
        (status, self.options, self.folder)
    }

    /// Ends it in order and starts it anew on the same data.
    pub(crate) fn restart(self) -> Self {
        self.terminate();
        let (status, options, folder) = self.end();
        assert!(status.success(), "{status}");
        Self::start(options, folder)
    }
}
