//! The servers that Nexus knows by itself: where they are, what they need, and since which version.

use nexus_auth::Secret;
use url::Url;

use super::{
    connection::Connection,
    input::{Sharing, TransportKind},
    options::{RATE_LIMIT_DEFAULT, RegistryOptions, SystemOptions},
    record::{Kept, Seed},
    settings::Settings,
};

/// A server that Nexus knows by itself.
pub(super) struct SystemServer {
    /// Its id, and what the names of its tools begin with.
    pub(super) id: &'static str,
    name: &'static str,
    /// Goes up with whatever is said here of the server.
    pub(super) version: u32,
    sharing: Sharing,
    /// What it needs before it can be used; nothing for one that an operator switches on.
    pub(super) needs: Option<&'static str>,
    connect: fn(&SystemOptions) -> Option<Connection>,
}

/// All of them.
pub(super) const SYSTEM: [SystemServer; 4] = [
    SystemServer {
        id: "brave",
        name: "Brave Search",
        version: 1,
        sharing: Sharing::All,
        needs: Some("BRAVE_API_KEY"),
        connect: brave,
    },
    SystemServer {
        id: "maps",
        name: "Google Maps",
        version: 1,
        sharing: Sharing::All,
        needs: Some("GOOGLE_MAPS_API_KEY"),
        connect: maps,
    },
    SystemServer {
        id: "github",
        name: "GitHub",
        version: 1,
        sharing: Sharing::All,
        needs: Some("GITHUB_TOKEN"),
        connect: github,
    },
    SystemServer {
        id: "playwright",
        name: "Playwright",
        version: 1,
        // A browser is somebody's.
        sharing: Sharing::Session,
        needs: None,
        connect: playwright,
    },
];

const MAPS_URL: &str = "https://mapstools.googleapis.com/mcp";
const GITHUB_URL: &str = "https://api.githubcopilot.com/mcp/";

impl SystemServer {
    pub(super) fn named(id: &str) -> Option<&'static Self> {
        SYSTEM.iter().find(|server| server.id == id)
    }

    /// The way to it; nothing while it lacks what it needs.
    pub(super) fn connection(&self, options: &SystemOptions) -> Option<Connection> {
        (self.connect)(options)
    }

    /// What is kept of it, with what operators said of it before.
    pub(super) fn kept(
        &self,
        options: &RegistryOptions,
        before: Option<&Kept>,
        now_us: i64,
    ) -> Kept {
        let connection = self.connection(&options.system);
        let said = before.and_then(|kept| kept.seed).unwrap_or_default();
        let is_on = said.enabled.unwrap_or(self.needs.is_some());
        Kept {
            settings: Settings {
                name: self.name.into(),
                transport: connection
                    .as_ref()
                    .map_or(TransportKind::Http, Connection::kind),
                enabled: is_on && connection.is_some(),
                rate_limit_per_minute: said.rate_limit_per_minute.unwrap_or(RATE_LIMIT_DEFAULT),
                sharing: self.sharing,
            },
            alias: self.id.into(),
            owner: None,
            target: connection
                .as_ref()
                .map(Connection::target)
                .unwrap_or_default(),
            hints: connection
                .as_ref()
                .map(Connection::hints)
                .unwrap_or_default(),
            sealed_version: 0,
            seed: Some(Seed {
                version: self.version,
                ..said
            }),
            by_operator: false,
            created_us: before.map_or(now_us, |kept| kept.created_us),
            changed_us: before.map_or(now_us, |kept| kept.changed_us),
        }
    }
}

fn brave(options: &SystemOptions) -> Option<Connection> {
    let key = options.brave_key.clone()?;
    Some(npx(
        &["@brave/brave-search-mcp-server@2.1.4"],
        vec![("BRAVE_API_KEY".into(), key)],
    ))
}

fn maps(options: &SystemOptions) -> Option<Connection> {
    let key = options.maps_key.clone()?;
    http(options.maps_url.as_ref(), MAPS_URL, "x-goog-api-key", key)
}

fn github(options: &SystemOptions) -> Option<Connection> {
    let token = options.github_token.as_ref()?;
    let bearer = Secret::new(format!("Bearer {}", token.expose()));
    http(
        options.github_url.as_ref(),
        GITHUB_URL,
        "authorization",
        bearer,
    )
}

fn playwright(_: &SystemOptions) -> Option<Connection> {
    let args = ["@playwright/mcp@0.0.83", "--headless", "--isolated"];
    Some(npx(&args, Vec::new()))
}

fn npx(args: &[&str], env: Vec<(String, Secret)>) -> Connection {
    let args = std::iter::once("-y").chain(args.iter().copied());
    Connection::Stdio {
        command: "npx".into(),
        args: args.map(str::to_owned).collect(),
        env,
    }
}

fn http(
    other: Option<&Url>,
    usual: &str,
    header: &'static str,
    value: Secret,
) -> Option<Connection> {
    Some(Connection::Http {
        url: match other {
            Some(url) => url.clone(),
            None => Url::parse(usual).ok()?,
        },
        headers: vec![(http::HeaderName::from_static(header), value)],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Alias, OWN_ALIAS};

    fn options() -> RegistryOptions {
        let key = || Some(Secret::new("hunter2-hunter2-hunter2"));
        RegistryOptions {
            system: SystemOptions {
                brave_key: key(),
                maps_key: key(),
                github_token: key(),
                ..SystemOptions::default()
            },
            ..RegistryOptions::default()
        }
    }

    #[test]
    fn each_has_an_alias_and_a_way_when_it_has_its_key() {
        for server in SYSTEM {
            assert!(Alias::parse(server.id).is_ok() && server.id != OWN_ALIAS);
            let with = server.kept(&options(), None, 1);
            assert!(!with.target.is_empty(), "{}", server.id);
            assert_eq!(
                with.settings.enabled,
                server.needs.is_some(),
                "{}",
                server.id
            );
            let without = server.kept(&RegistryOptions::default(), None, 1);
            assert!(!without.settings.enabled, "{}", server.id);
            assert!(!format!("{with:?}").contains("hunter2"));
        }
    }

    #[test]
    fn what_operators_said_outlives_what_nexus_knows() {
        let server = SystemServer::named("playwright").unwrap();
        let mut before = server.kept(&options(), None, 1);
        before.seed = Some(Seed {
            version: 0,
            enabled: Some(true),
            rate_limit_per_minute: Some(7),
        });
        let after = server.kept(&options(), Some(&before), 2);
        assert!(after.settings.enabled);
        assert_eq!(after.settings.rate_limit_per_minute, 7);
        let seed = after.seed.unwrap();
        assert_eq!((seed.version, after.created_us), (server.version, 1));
    }

    #[test]
    fn their_programs_keep_the_grammar() {
        for server in SYSTEM {
            if let Some(Connection::Stdio { command, args, env }) =
                server.connection(&options().system)
            {
                let mut faults = Vec::new();
                super::super::argv::check(Some(&command), &args, &[], &mut faults);
                let env = env.into_iter().collect();
                super::super::variables::check(Some(&env), &mut faults);
                assert_eq!(faults, [], "{}", server.id);
            }
        }
    }
}
