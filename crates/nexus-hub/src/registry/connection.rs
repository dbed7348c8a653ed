//! The way to a server as somebody gave it: all of it is sealed, because any part may hold a key.

use std::fmt;

use http::HeaderName;
use indexmap::IndexMap;
use nexus_auth::Secret;
use nexus_outbound::Trust;
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use super::{
    address,
    argv::{self, Runner},
    input::{ServerInput, TransportKind},
    options::RegistryOptions,
};
use crate::Transport;

/// A secret that is at least so long is told by its last characters.
const HINTED_CHARS_MIN: usize = 16;
/// So many of them.
const HINT_CHARS: usize = 4;

/// The way to a server.
#[derive(Clone)]
pub(crate) enum Connection {
    Http {
        url: Url,
        headers: Vec<(HeaderName, Secret)>,
    },
    Stdio {
        command: String,
        args: Vec<String>,
        env: Vec<(String, Secret)>,
    },
}

/// By what people tell a secret from others that they have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// Where it is, as a JSON Pointer into the configuration.
    pub field: String,
    /// Its last four characters; nothing of one that is too short to show any.
    pub last: Option<String>,
}

/// What is sealed, as it is written.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a str>,
    args: &'a [String],
    /// Headers, or variables.
    secrets: Vec<(&'a str, &'a str)>,
}

/// What is sealed, as it is read.
#[derive(Deserialize)]
struct Read {
    url: Option<Url>,
    command: Option<String>,
    args: Vec<String>,
    secrets: Vec<(String, Secret)>,
}

impl Connection {
    pub(crate) fn kind(&self) -> TransportKind {
        match self {
            Self::Http { .. } => TransportKind::Http,
            Self::Stdio { .. } => TransportKind::Stdio,
        }
    }

    /// One text that holds it all, to be sealed.
    pub(crate) fn write(&self) -> Zeroizing<Vec<u8>> {
        let written = match self {
            Self::Http { url, headers } => Written {
                url: Some(url.as_str()),
                command: None,
                args: &[],
                secrets: pairs(headers.iter().map(|(name, value)| (name.as_str(), value))),
            },
            Self::Stdio { command, args, env } => Written {
                url: None,
                command: Some(command),
                args,
                secrets: pairs(env.iter().map(|(name, value)| (name.as_str(), value))),
            },
        };
        // Texts always serialise.
        Zeroizing::new(serde_json::to_vec(&written).unwrap_or_default())
    }

    /// Reads what [`Connection::write`] wrote; nothing when it is something else.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let read: Read = serde_json::from_slice(text).ok()?;
        match (read.url, read.command) {
            (Some(url), None) => {
                let header = |(name, value): (String, Secret)| Some((name.parse().ok()?, value));
                let headers: Option<Vec<_>> = read.secrets.into_iter().map(header).collect();
                Some(Self::Http {
                    url,
                    headers: headers?,
                })
            }
            (None, Some(command)) => Some(Self::Stdio {
                command,
                args: read.args,
                env: read.secrets,
            }),
            _ => None,
        }
    }

    /// What would have to be asked for to get it.
    pub(crate) fn fill(&self, input: &mut ServerInput) {
        input.transport = Some(self.kind());
        match self {
            Self::Http { url, headers } => {
                input.url = Some(Secret::new(url.as_str()));
                let named = |(name, value): &(HeaderName, Secret)| {
                    (name.as_str().to_owned(), value.clone())
                };
                input.headers = Some(headers.iter().map(named).collect());
            }
            Self::Stdio { command, args, env } => {
                input.command = Some(command.clone());
                input.args = Some(args.clone());
                input.env = Some(env.iter().cloned().collect::<IndexMap<_, _>>());
            }
        }
    }

    /// The way as connections are made by it.
    pub(crate) fn transport(&self, trust: Trust, options: &RegistryOptions) -> Transport {
        match self {
            Self::Http { url, headers } => Transport::Http {
                url: url.clone(),
                trust,
                headers: headers.clone(),
            },
            Self::Stdio { command, args, env } => Transport::Stdio {
                program: match Runner::named(command) {
                    Some(Runner::Npx) => options.npx.clone(),
                    Some(Runner::Uvx) => options.uvx.clone(),
                    None => command.clone(),
                },
                args: args.clone(),
                env: env.clone(),
            },
        }
    }

    /// What may be told of where it leads.
    pub(crate) fn target(&self) -> String {
        match self {
            Self::Http { url, .. } => address::target(url),
            Self::Stdio { command, args, .. } => argv::target(command, args),
        }
    }

    /// Whether it leads somewhere else than another, so that what was secret there must not go along.
    pub(crate) fn leads_elsewhere(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http { url, .. }, Self::Http { url: before, .. }) => {
                url.origin() != before.origin()
            }
            (
                Self::Stdio { command, args, .. },
                Self::Stdio {
                    command: command_before,
                    args: args_before,
                    ..
                },
            ) => command != command_before || args != args_before,
            _ => true,
        }
    }

    pub(crate) fn has_secrets(&self) -> bool {
        match self {
            Self::Http { headers, .. } => !headers.is_empty(),
            Self::Stdio { env, .. } => !env.is_empty(),
        }
    }

    /// The member whose values are secret.
    pub(crate) fn secret_member(&self) -> &'static str {
        match self {
            Self::Http { .. } => "headers",
            Self::Stdio { .. } => "env",
        }
    }

    /// By what people tell its secrets from others.
    pub(crate) fn hints(&self) -> Vec<Hint> {
        let member = self.secret_member();
        let hint = |(name, value): (&str, &Secret)| Hint {
            field: format!("/{member}/{name}"),
            last: last(value),
        };
        match self {
            Self::Http { headers, .. } => {
                let headers = headers.iter().map(|(name, value)| (name.as_str(), value));
                headers.map(hint).collect()
            }
            Self::Stdio { env, .. } => {
                let env = env.iter().map(|(name, value)| (name.as_str(), value));
                env.map(hint).collect()
            }
        }
    }
}

fn pairs<'a>(secrets: impl Iterator<Item = (&'a str, &'a Secret)>) -> Vec<(&'a str, &'a str)> {
    secrets
        .map(|(name, value)| (name, value.expose()))
        .collect()
}

fn last(secret: &Secret) -> Option<String> {
    let chars = secret.chars();
    let is_long = chars >= HINTED_CHARS_MIN;
    is_long.then(|| secret.expose().chars().skip(chars - HINT_CHARS).collect())
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.target()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http() -> Connection {
        Connection::Http {
            url: Url::parse("https://mcp.example.com/hunter2").unwrap(),
            headers: vec![
                (
                    "authorization".parse().unwrap(),
                    Secret::new("Bearer hunter2-hunter2-abcd"),
                ),
                ("x-short".parse().unwrap(), Secret::new("hunter2")),
            ],
        }
    }

    fn stdio() -> Connection {
        Connection::Stdio {
            command: "npx".into(),
            args: vec!["-y".into(), "server@1.2.3".into()],
            env: vec![("API_KEY".into(), Secret::new("0123456789abcdef"))],
        }
    }

    #[test]
    fn what_is_sealed_reads_back() {
        for connection in [http(), stdio()] {
            let again = Connection::read(&connection.write()).unwrap();
            assert_eq!(*again.write(), *connection.write());
            assert_eq!(again.kind(), connection.kind());
            assert!(!again.leads_elsewhere(&connection));
        }
        assert!(http().leads_elsewhere(&stdio()));
        for damaged in [&b""[..], b"{}", b"[]", br#"{"args":[],"secrets":[]}"#] {
            assert!(Connection::read(damaged).is_none());
        }
    }

    #[test]
    fn nothing_secret_is_told() {
        let hints = http().hints();
        assert_eq!(hints[0].last.as_deref(), Some("abcd"));
        assert_eq!(hints[0].field, "/headers/authorization");
        assert_eq!(hints[1].last, None);
        assert_eq!(stdio().hints()[0].last.as_deref(), Some("cdef"));
        let told = format!("{:?} {:?} {:?}", http(), http().hints(), http().target());
        assert!(!told.contains("hunter2"), "{told}");
    }

    #[test]
    fn a_runner_is_called_as_it_is_called_here() {
        let options = RegistryOptions {
            npx: "/opt/node/bin/npx".into(),
            ..RegistryOptions::default()
        };
        let Transport::Stdio { program, .. } = stdio().transport(Trust::Foreign, &options) else {
            panic!("a program")
        };
        assert_eq!(program, "/opt/node/bin/npx");
    }
}
