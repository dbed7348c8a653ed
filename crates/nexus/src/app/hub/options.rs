//! What the configuration means to the hub.

use std::time::Duration;

use nexus_hub::{
    CatalogueOptions, JobsOptions, PoolOptions, RegistryOptions, SystemOptions, mcp::McpOptions,
};
use url::Url;

use crate::{Error, config::Config};

/// Where programs are found that servers start, unless the configuration says.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";
/// Below it, in the data directory, each server that is a program has its home.
const HOMES: &str = "hub";

pub(super) fn pool(config: &Config) -> PoolOptions {
    let hub = &config.hub;
    let path = hub.stdio_path.as_deref().unwrap_or(PATH_DEFAULT);
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    PoolOptions {
        connections_max: hub.connections,
        processes_max: hub.processes,
        environment: vec![variable("PATH", path), variable("LANG", "C.UTF-8")],
        homes: Some(config.storage.data_dir.join(HOMES)),
        ..PoolOptions::default()
    }
}

pub(super) fn catalogue(config: &Config) -> CatalogueOptions {
    let hub = &config.hub;
    CatalogueOptions {
        sync_interval: Duration::from_secs(hub.sync_interval_s),
        empty_believed_after: Duration::from_secs(hub.empty_list_believed_s),
        call_timeout: Duration::from_secs(hub.call_timeout_s),
        user_calls_per_minute: hub.user_calls_per_minute,
        tool_calls_per_minute: hub.tool_calls_per_minute,
        subscriptions_per_session_max: hub.subscriptions_per_session,
        subscriptions_per_user_max: hub.subscriptions_per_user,
        subscriptions_max: hub.subscriptions,
        namespaces: hub
            .namespaces
            .iter()
            .map(|set| (set.name().into(), set.servers().map(Into::into).collect()))
            .collect(),
        ..CatalogueOptions::default()
    }
}

pub(super) fn registry(config: &Config) -> RegistryOptions {
    let hub = &config.hub;
    RegistryOptions {
        stdio_users: hub.stdio_users,
        programs: hub.stdio_programs.clone(),
        npx: hub.npx.clone(),
        uvx: hub.uvx.clone(),
        servers_per_user_max: hub.servers_per_user,
        servers_max: hub.servers,
        system: SystemOptions {
            brave_key: hub.brave_key.clone(),
            maps_key: hub.maps_key.clone(),
            github_token: hub.github_token.clone(),
            maps_url: hub.maps_url.as_ref().map(|address| address.url().clone()),
            github_url: hub.github_url.as_ref().map(|address| address.url().clone()),
        },
    }
}

pub(super) fn jobs(config: &Config) -> JobsOptions {
    const DAY_S: u64 = 86_400;
    let hub = &config.hub;
    JobsOptions {
        promote_after: Duration::from_millis(hub.promote_after_ms),
        timeout: Duration::from_secs(hub.job_timeout_s),
        running_max: hub.jobs,
        unfinished_per_user_max: hub.jobs_per_user,
        keep_ended: Duration::from_secs(hub.job_days * DAY_S),
        ..JobsOptions::default()
    }
}

pub(super) fn mcp(config: &Config) -> McpOptions {
    let hub = &config.hub;
    let text = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
    let servers = hub.authorization_servers.iter();
    let mut allowed_hosts = hub.allowed_hosts.clone();
    // Where clients are told to go, they are welcome.
    let public = hub
        .public_url
        .as_ref()
        .and_then(|address| address.url().host_str());
    allowed_hosts.extend(public.map(str::to_owned));
    McpOptions {
        allowed_hosts,
        loopback_only: config.server.host.is_loopback(),
        public_url: hub.public_url.as_ref().map(|address| text(address.url())),
        authorization_servers: servers.map(|address| text(address.url())).collect(),
        session_bytes_max: hub.session_bytes,
        caller_bytes_max: hub.caller_bytes,
        sessions_bytes_max: hub.sessions_bytes,
        ..McpOptions::default()
    }
}

/// An address that leads nowhere.
pub(super) fn nowhere() -> Result<Url, Error> {
    Url::parse("http://nexus.invalid/").map_err(|error| Error::System {
        what: "naming the hub's own tools",
        source: std::io::Error::other(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;

    #[test]
    fn what_is_set_holds_for_the_catalogue() {
        let mut config = Config::defaults(Mode::Serve);
        let usual = catalogue(&config);
        assert_eq!(usual, CatalogueOptions::default());
        config.hub.empty_list_believed_s = 7;
        let expected = CatalogueOptions {
            empty_believed_after: Duration::from_secs(7),
            ..usual
        };
        assert_eq!(catalogue(&config), expected);
    }
}
