//! A daemon with the face of the agents, and how it is asked.

use std::{path::PathBuf, thread, time::Duration};

use data_encoding::BASE64;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Daemon, DaemonOptions, request};

/// The operator's token.
pub(super) const OPERATOR: &str = "operator-1f4d7c9a2b5d0c1a4b7e9f2d3c6a8b0e";
/// Where the face is when it has no port of its own.
const ROOT: &str = "/agents";
/// As many events as one answer holds.
const HISTORY_MAX: &str = "limit=1000";

/// Who may act as whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// A session is who it says it is.
    Open,
    /// A session proves itself by its token.
    Token,
}

/// A session's name, and what it shows to prove itself.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) id: String,
    pub(super) token: Option<String>,
}

/// What was answered: the status and the body.
pub(super) type Answer = (u16, Value);

/// A daemon with the face of the agents below its own port.
pub(super) struct Bus {
    pub(super) daemon: Daemon,
    mode: Mode,
}

impl Identity {
    /// The header that proves it.
    pub(super) fn authorization(&self) -> Option<String> {
        self.token.as_deref().map(bearer)
    }
}

pub(super) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// The header of a client that is given just a URL.
pub(super) fn basic(id: &str, token: &str) -> String {
    let pair = format!("{id}:{token}");
    format!("Basic {}", BASE64.encode(pair.as_bytes()))
}

impl Bus {
    /// What a daemon is started with, so that only what a test is about limits it.
    pub(super) fn options(mode: Mode) -> DaemonOptions {
        let options = match mode {
            Mode::Open => DaemonOptions::dev(),
            Mode::Token => DaemonOptions::serve(),
        };
        options
            .env("AGENTS_PORT", "0")
            .env("NEXUS_ADMIN_TOKEN", OPERATOR)
            .env("NEXUS__LIMITS__ANONYMOUS_REQUESTS_PER_SECOND", "0")
            .env("NEXUS__LIMITS__SESSION_EVENTS_PER_MINUTE", "0")
    }

    pub(super) fn start(mode: Mode) -> Self {
        Self::with(mode, Self::options(mode))
    }

    pub(super) fn with(mode: Mode, options: DaemonOptions) -> Self {
        Self {
            daemon: options.start(),
            mode,
        }
    }

    /// The same in a folder that the test has prepared.
    pub(super) fn within(mode: Mode, options: DaemonOptions, folder: TempDir) -> Self {
        Self {
            daemon: Daemon::start(options, folder),
            mode,
        }
    }

    /// Where a session connects.
    pub(super) fn socket_url(&self, id: &str) -> String {
        format!("ws://{}{ROOT}/ws/session/{id}", self.daemon.address())
    }

    /// Where the files are that are kept in step.
    pub(super) fn coordination(&self) -> PathBuf {
        self.daemon.folder().join("data/coordination")
    }

    pub(super) fn ask(
        &self,
        authorization: Option<&str>,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Answer {
        let path = format!("{ROOT}{path}");
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(authorization.map(|value| ("Authorization", value)));
        let answer = request(self.daemon.address(), method, &path, &headers, &body);
        let body = serde_json::from_str(&answer.text()).unwrap_or(Value::Null);
        (answer.status, body)
    }

    /// What an operator reads.
    #[track_caller]
    pub(super) fn read(&self, path: &str) -> Value {
        let (status, body) = self.ask(Some(&bearer(OPERATOR)), "GET", path, &Value::Null);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// What a session posts.
    pub(super) fn post(&self, by: &Identity, path: &str, body: &Value) -> Answer {
        self.ask(by.authorization().as_deref(), "POST", path, body)
    }

    /// Makes a session known, where that is needed to be one.
    #[track_caller]
    pub(super) fn identity(&self, id: &str) -> Identity {
        let mut identity = Identity {
            id: id.to_owned(),
            token: None,
        };
        if self.mode == Mode::Token {
            let body = json!({ "session_id": id, "role": format!("The role of {id}") });
            let operator = bearer(OPERATOR);
            let (status, made) = self.ask(Some(&operator), "POST", "/sessions", &body);
            assert_eq!(status, 201, "{made}");
            identity.token = Some(made["token"].as_str().unwrap().to_owned());
        }
        identity
    }

    /// The newest events of a pattern, oldest first.
    #[track_caller]
    pub(super) fn history(&self, pattern: &str) -> Vec<Value> {
        let history = self.read(&format!(
            "/events/history?event_type={pattern}&{HISTORY_MAX}"
        ));
        history["events"].as_array().unwrap().clone()
    }

    /// What became of a work item: the events about it, each with who it is of.
    #[track_caller]
    pub(super) fn fate(&self, work_id: &str) -> Vec<(String, String)> {
        let events = self.history("work.*").into_iter();
        let about = events.filter(|event| event["payload"]["work_id"] == work_id);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        about
            .map(|event| (text(&event["event_type"]), text(&event["session_id"])))
            .collect()
    }

    /// Who holds a work item.
    #[track_caller]
    pub(super) fn holder(&self, work_id: &str) -> Option<String> {
        let claimed = self.read("/work/claimed");
        let claims = claimed["claims"].as_array().unwrap();
        let claim = claims.iter().find(|claim| claim["work_id"] == work_id)?;
        claim["claimed_by"].as_str().map(str::to_owned)
    }
}

/// Lets time go by that is itself what a test is about.
pub(super) fn pass(time: Duration) {
    thread::sleep(time);
}
