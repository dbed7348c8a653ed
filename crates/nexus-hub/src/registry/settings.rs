//! What a server is, checked: the one place where everything that somebody says of it is judged.

use nexus_http::Fault;
use nexus_outbound::Client;
use serde::{Deserialize, Serialize};

use super::{
    address, argv,
    connection::Connection,
    headers,
    input::{ServerInput, Sharing, TransportKind},
    options::{RATE_LIMIT_DEFAULT, RATE_LIMIT_MAX, RegistryOptions, SERVER_NAME_CHARS_MAX},
    variables,
};
use crate::Alias;

/// What is kept of a server that is no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) transport: TransportKind,
    pub(crate) enabled: bool,
    pub(crate) rate_limit_per_minute: u32,
    pub(crate) sharing: Sharing,
}

/// A server that was asked for, understood.
pub(crate) struct Checked {
    pub(crate) settings: Settings,
    pub(crate) connection: Connection,
    /// The alias that was asked for, if any was.
    pub(crate) alias: Option<Alias>,
}

/// What a server is judged by.
pub(crate) struct Rules<'a> {
    pub(crate) options: &'a RegistryOptions,
    pub(crate) client: &'a Client,
    pub(crate) is_operator: bool,
}

/// Judges everything, and tells everything that is wrong.
pub(crate) fn check(input: &ServerInput, rules: &Rules<'_>) -> Result<Checked, Vec<Fault>> {
    let mut faults = Vec::new();
    let alias = input.alias.as_deref().and_then(|text| {
        let parsed = Alias::parse(text);
        let rule = "must be a lower-case letter and up to 15 lower-case letters or digits";
        parsed
            .map_err(|_| faults.push(Fault::new("/alias", rule)))
            .ok()
    });
    // Where the way is not said, what follows from it does not matter: it is refused.
    let transport = input.transport.unwrap_or(TransportKind::Http);
    let settings = check_settings(input, transport, &mut faults);
    let connection = check_connection(input, rules, &mut faults);
    match (settings, connection, faults.is_empty()) {
        (Some(settings), Some(connection), true) => Ok(Checked {
            settings,
            connection,
            alias,
        }),
        _ => Err(faults),
    }
}

/// Judges all but the way to the server, which is of this kind.
pub(crate) fn check_settings(
    input: &ServerInput,
    transport: TransportKind,
    faults: &mut Vec<Fault>,
) -> Option<Settings> {
    let rate = input.rate_limit_per_minute.unwrap_or(RATE_LIMIT_DEFAULT);
    if !(1..=RATE_LIMIT_MAX).contains(&rate) {
        let detail = format!("must be from 1 to {RATE_LIMIT_MAX}");
        faults.push(Fault::new("/rate_limit_per_minute", detail));
    }
    Some(Settings {
        name: check_name(input.name.as_deref(), faults)?,
        transport,
        enabled: input.enabled.unwrap_or(true),
        rate_limit_per_minute: rate,
        sharing: input.sharing.unwrap_or(match transport {
            TransportKind::Http => Sharing::All,
            TransportKind::Stdio => Sharing::User,
        }),
    })
}

fn check_name(name: Option<&str>, faults: &mut Vec<Fault>) -> Option<String> {
    let Some(name) = name else {
        faults.push(Fault::new("/name", "is required"));
        return None;
    };
    let name = name.trim();
    if !(1..=SERVER_NAME_CHARS_MAX).contains(&name.chars().count())
        || name.chars().any(char::is_control)
    {
        let detail = format!(
            "must have 1 to {SERVER_NAME_CHARS_MAX} characters, none of them a control character"
        );
        faults.push(Fault::new("/name", detail));
        return None;
    }
    Some(name.to_owned())
}

fn check_connection(
    input: &ServerInput,
    rules: &Rules<'_>,
    faults: &mut Vec<Fault>,
) -> Option<Connection> {
    let Some(transport) = input.transport else {
        faults.push(Fault::new("/transport", "is required: `http` or `stdio`"));
        return None;
    };
    let is_http = transport == TransportKind::Http;
    let strangers = [
        ("/url", input.url.is_some(), TransportKind::Http),
        (
            "/headers",
            has(input.headers.as_ref().map(indexmap::IndexMap::len)),
            TransportKind::Http,
        ),
        ("/command", input.command.is_some(), TransportKind::Stdio),
        (
            "/args",
            has(input.args.as_ref().map(Vec::len)),
            TransportKind::Stdio,
        ),
        (
            "/env",
            has(input.env.as_ref().map(indexmap::IndexMap::len)),
            TransportKind::Stdio,
        ),
    ];
    for (pointer, is_given, of) in strangers {
        if is_given && of != transport {
            let detail = format!("is not for the transport `{}`", transport.as_str());
            faults.push(Fault::new(pointer, detail));
        }
    }
    if is_http {
        let text = input.url.as_ref().map(nexus_auth::Secret::expose);
        let url = address::check(text, rules.client, faults);
        let headers = headers::check(input.headers.as_ref(), faults);
        return url.map(|url| Connection::Http { url, headers });
    }
    let args = input.args.clone().unwrap_or_default();
    // What the configuration allows beside the grammar is for operators.
    let programs = if rules.is_operator {
        rules.options.programs.as_slice()
    } else {
        &[]
    };
    argv::check(input.command.as_deref(), &args, programs, faults);
    let env = variables::check(input.env.as_ref(), faults);
    let command = input.command.clone()?;
    Some(Connection::Stdio { command, args, env })
}

/// Whether a list is there and has something in it.
fn has(len: Option<usize>) -> bool {
    len.is_some_and(|len| len > 0)
}

impl Settings {
    /// What would have to be asked for to get this, without the way to the server.
    pub(crate) fn input(&self) -> ServerInput {
        ServerInput {
            name: Some(self.name.clone()),
            enabled: Some(self.enabled),
            rate_limit_per_minute: Some(self.rate_limit_per_minute),
            sharing: Some(self.sharing),
            ..ServerInput::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use nexus_outbound::OutboundOptions;
    use serde_json::{Value, json};

    use super::*;

    fn judge(input: Value, is_operator: bool) -> Result<Checked, Vec<String>> {
        let input: ServerInput = serde_json::from_value(input).unwrap();
        let options = RegistryOptions {
            programs: vec!["node".into()],
            ..RegistryOptions::default()
        };
        let rules = Rules {
            options: &options,
            client: &Client::new(&OutboundOptions::default()).unwrap(),
            is_operator,
        };
        check(&input, &rules).map_err(|faults| faults.into_iter().map(|one| one.pointer).collect())
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let wrong = json!({
            "name": " ", "alias": "A", "transport": "http", "url": "http://10.0.0.1/",
            "headers": {"Host": "x"}, "args": ["x"], "env": {"PATH": "x"}, "rate_limit_per_minute": 0,
        });
        let faults = judge(wrong, false).err().unwrap();
        let all = [
            "/alias",
            "/rate_limit_per_minute",
            "/name",
            "/args",
            "/env",
            "/url",
            "/headers/Host",
        ];
        assert_eq!(faults, all);
        assert_eq!(
            judge(json!({}), false).err().unwrap(),
            ["/name", "/transport"]
        );
        let stdio = json!({"name": "a", "transport": "stdio", "url": "https://a.example/"});
        assert_eq!(judge(stdio, false).err().unwrap(), ["/url", "/command"]);
    }

    #[test]
    fn defaults_are_filled_in() {
        let http = json!({"name": " Notes ", "transport": "http", "url": "https://a.example/mcp"});
        let settings = judge(http, false).ok().unwrap().settings;
        assert_eq!(settings.name, "Notes");
        assert!(settings.enabled);
        assert_eq!(settings.rate_limit_per_minute, RATE_LIMIT_DEFAULT);
        assert_eq!(settings.sharing, Sharing::All);
        let again = settings.input();
        assert_eq!(again.name.as_deref(), Some("Notes"));
    }

    #[test]
    fn programs_of_the_configuration_are_for_operators() {
        let node = json!({"name": "a", "transport": "stdio", "command": "node", "args": ["x.js"]});
        assert!(judge(node.clone(), true).is_ok());
        assert_eq!(judge(node, false).err().unwrap(), ["/command"]);
    }
}
