//! What the configuration means to the agents.

use std::time::Duration;

use nexus_agents::{
    AgentsOptions, Dependency, Pace,
    chat::ChatOptions,
    http::{FaceOptions, Trust},
};
use nexus_core::{Catalogue, Clock, Error, PatternSet, Random};
use nexus_http::{Connections, ServerOptions};
use url::Url;

use super::super::options;
use crate::config::{AgentsAuth, Config};

/// How long the face may take to end. It ends last, and its clients come back once, two seconds after they
/// were closed: they should meet the process that follows, not the one that goes.
pub(super) const FACE_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// What the agents use outside of this process.
pub(super) struct Dependencies {
    pub(super) registry: Dependency,
    pub(super) files: Dependency,
    pub(super) chat: Dependency,
}

impl Dependencies {
    pub(super) fn of(config: &Config) -> Self {
        let agents = &config.agents;
        let registry = agents.registry_url.as_ref().map(|address| address.url());
        let chat = agents.chat_url.as_ref().map(|address| address.url());
        // What stands behind the host may be a key.
        let shown = |url: &Url| url.origin().ascii_serialization();
        // For others, who work in another folder.
        let folder = config.coordination_path();
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        Self {
            registry: Dependency::registry(registry.map(shown)),
            files: Dependency::files(Some(folder.display().to_string())),
            chat: Dependency::chat(chat.map(shown)),
        }
    }
}

pub(super) fn agents(config: &Config) -> AgentsOptions {
    const DAY_S: u64 = 86_400;
    let agents = &config.agents;
    AgentsOptions {
        grace: Duration::from_secs(agents.grace_s),
        silence: Duration::from_secs(agents.silence_s),
        lease: Duration::from_secs(agents.lease_s),
        completed: Duration::from_secs(agents.completed_days * DAY_S),
        stranger: Duration::from_secs(agents.stranger_days * DAY_S),
        sessions_max: agents.sessions,
        claims_per_session_max: agents.claims_per_session,
        claims_max: agents.claims,
    }
}

/// How the face behaves. A session that publishes another way than by it has the same pace.
pub(super) fn face(config: &Config, pace: Pace, dependencies: &Dependencies) -> FaceOptions {
    let Dependencies {
        registry,
        files,
        chat,
    } = dependencies;
    FaceOptions {
        trust: match config.agents.auth {
            AgentsAuth::Open => Trust::Open,
            AgentsAuth::Token => Trust::Token,
        },
        pace,
        connections_max: config.limits.connections,
        event_retention: event_retention(config),
        dependencies: vec![registry.clone(), files.clone(), chat.clone()],
    }
}

/// Where the chat is and what it is told; nothing if there is none.
pub(super) fn chat(config: &Config, catalogue: &Catalogue) -> Result<Option<ChatOptions>, Error> {
    let Some(address) = &config.agents.chat_url else {
        return Ok(None);
    };
    let topics = config.agents.chat_topics.iter();
    let patterns = topics.map(|topic| Ok(catalogue.resolve_pattern(topic)?.0));
    let patterns = patterns.collect::<Result<PatternSet, Error>>()?;
    Ok(Some(ChatOptions::new(address.url().clone(), patterns)))
}

/// As the server of everything else, but for its end.
pub(super) fn server(
    config: &Config,
    connections: Connections,
    clock: Clock,
    random: Random,
) -> ServerOptions {
    ServerOptions {
        drain_timeout: FACE_DRAIN_TIMEOUT,
        forms: Vec::new(),
        ..options::server(config, connections, clock, random)
    }
}

/// How long events are kept, in words.
fn event_retention(config: &Config) -> String {
    let retention = &config.retention;
    let limits = [
        (retention.age_hours, "hour"),
        (retention.events, "event"),
        (retention.bytes, "byte"),
    ];
    let limits: Vec<String> = limits
        .into_iter()
        .filter(|(limit, _)| *limit > 0)
        .map(|(limit, unit)| match limit {
            1 => format!("1 {unit}"),
            _ => format!("{limit} {unit}s"),
        })
        .collect();
    if limits.is_empty() {
        "unlimited".to_owned()
    } else {
        limits.join(" or ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;

    #[test]
    fn how_long_events_are_kept_is_said_in_words() {
        let mut config = Config::defaults(Mode::Serve);
        assert_eq!(event_retention(&config), "unlimited");
        config.retention.age_hours = 1;
        assert_eq!(event_retention(&config), "1 hour");
        config.retention.events = 1_000;
        assert_eq!(event_retention(&config), "1 hour or 1000 events");
    }
}
