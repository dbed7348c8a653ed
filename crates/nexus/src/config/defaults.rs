//! What holds when nothing is configured.

use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf};

use nexus_agents::{AgentsOptions, files::FilesOptions};
use nexus_core::RetrySchedule;
use nexus_hub::{CatalogueOptions, JobsOptions, PoolOptions, RegistryOptions, mcp};
use nexus_outbound::OutboundOptions;
use nexus_reactors::AlertLimits;

use super::{
    Fingerprint, Mode,
    sections::{
        Agents, AgentsAuth, AlertFormat, Alerts, Auth, Config, Events, Hub, Limits, LogFormat,
        LogLevel, Outbound, Reactors, Retention, Retry, Server, Stage, Storage, Telemetry, Vault,
    },
};

impl Config {
    /// What holds when nothing is configured.
    #[must_use]
    pub fn defaults(mode: Mode) -> Self {
        let dev = mode == Mode::Dev;
        Self {
            mode,
            environment: Stage::Unset,
            server: Server::defaults(dev),
            limits: Limits::defaults(dev),
            storage: Storage {
                data_dir: PathBuf::from("data"),
                database_url: None,
            },
            retention: Retention {
                age_hours: 0,
                events: 0,
                bytes: 0,
                force: false,
                interval_ms: 60_000,
            },
            auth: Auth {
                secret: None,
                admin_token: None,
                signed_get: dev,
                jwt_secret: None,
                jwks_url: None,
                jwt_issuer: None,
                jwt_audience: None,
                environment_secrets: BTreeMap::new(),
                permissions: BTreeMap::new(),
            },
            vault: Vault::default(),
            nodes: Vec::new(),
            tokens: Vec::new(),
            events: Events::default(),
            reactors: Reactors::default(),
            rules: Vec::new(),
            endpoints: Vec::new(),
            variables: BTreeMap::new(),
            outbound: Outbound::default(),
            alerts: Alerts::default(),
            agents: Agents::defaults(dev),
            hub: Hub::default(),
            log: Telemetry {
                level: LogLevel::Info,
                format: if dev {
                    LogFormat::Human
                } else {
                    LogFormat::Json
                },
            },
            fingerprint: Fingerprint::default(),
            events_fingerprint: Fingerprint::default(),
        }
    }
}

impl Server {
    fn defaults(dev: bool) -> Self {
        let host = if dev {
            Ipv4Addr::LOCALHOST
        } else {
            Ipv4Addr::UNSPECIFIED
        };
        Self {
            host: host.into(),
            port: 3000,
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            compression: true,
        }
    }
}

impl Limits {
    fn defaults(dev: bool) -> Self {
        let rate = |per_second| if dev { 0 } else { per_second };
        Self {
            connections: 10_000,
            connections_per_address: if dev { 0 } else { 256 },
            anonymous_requests_per_second: rate(10),
            anonymous_burst: 50,
            address_requests_per_second: 0,
            node_events_per_second: rate(1_000),
            session_events_per_minute: rate(nexus_agents::EVENTS_PER_MINUTE),
            body_bytes: 1 << 20,
            payload_bytes: 256 << 10,
            request_events: 1_000,
            headers: 64,
            header_bytes: 16 << 10,
            header_read_timeout_ms: 10_000,
            body_read_timeout_ms: 30_000,
            idle_timeout_ms: 75_000,
            write_stall_timeout_ms: 10_000,
            ws_message_bytes: 10 << 10,
            ws_messages_per_second: rate(10),
            ws_ping_interval_ms: 30_000,
            agents_ping_interval_ms: 10_000,
            ws_pong_timeout_ms: 10_000,
            ws_patterns: 128,
            stream_message_bytes: 320 << 10,
            stream_messages_per_second: 0,
            stream_publishes: 256,
            stream_unauthenticated: 256,
            stream_unauthenticated_message_bytes: 8 << 10,
            stream_authentication_timeout_ms: 10_000,
            stream_position_interval_ms: 5_000,
            dead_letters: 10_000,
            queue_requests: 8_192,
            queue_bytes: 64 << 20,
            ring_events: 64 << 10,
            ring_bytes: 64 << 20,
        }
    }
}

impl Agents {
    fn defaults(dev: bool) -> Self {
        const DAY_S: u64 = 86_400;
        let options = AgentsOptions::default();
        Self {
            port: 8450,
            auth: if dev {
                AgentsAuth::Open
            } else {
                AgentsAuth::Token
            },
            grace_s: options.grace.as_secs(),
            silence_s: options.silence.as_secs(),
            lease_s: options.lease.as_secs(),
            completed_days: options.completed.as_secs() / DAY_S,
            stranger_days: options.stranger.as_secs() / DAY_S,
            messages_kept: FilesOptions::new("").messages_kept,
            sessions: options.sessions_max,
            claims: options.claims_max,
            claims_per_session: options.claims_per_session_max,
            public_url: None,
            coordination_path: None,
            registry_url: None,
            chat_url: None,
            chat_topics: ["message.broadcast", "help.*", "work.*"]
                .map(str::to_owned)
                .to_vec(),
        }
    }
}

impl Default for Hub {
    fn default() -> Self {
        const DAY_S: u64 = 86_400;
        let (registry, jobs) = (RegistryOptions::default(), JobsOptions::default());
        let (calls, pool) = (CatalogueOptions::default(), PoolOptions::default());
        Self {
            enabled: true,
            stdio_users: registry.stdio_users,
            stdio_programs: registry.programs,
            stdio_path: None,
            npx: registry.npx,
            uvx: registry.uvx,
            brave_key: None,
            maps_key: None,
            maps_url: None,
            github_token: None,
            github_url: None,
            namespaces: Vec::new(),
            servers: registry.servers_max,
            servers_per_user: registry.servers_per_user_max,
            connections: pool.connections_max,
            processes: pool.processes_max,
            sync_interval_s: calls.sync_interval.as_secs(),
            empty_list_believed_s: calls.empty_believed_after.as_secs(),
            call_timeout_s: calls.call_timeout.as_secs(),
            job_timeout_s: jobs.timeout.as_secs(),
            user_calls_per_minute: calls.user_calls_per_minute,
            tool_calls_per_minute: calls.tool_calls_per_minute,
            subscriptions_per_session: calls.subscriptions_per_session_max,
            subscriptions_per_user: calls.subscriptions_per_user_max,
            subscriptions: calls.subscriptions_max,
            session_bytes: mcp::SESSION_BYTES_MAX,
            caller_bytes: mcp::CALLER_BYTES_MAX,
            sessions_bytes: mcp::SESSIONS_BYTES_MAX,
            promote_after_ms: u64::try_from(jobs.promote_after.as_millis()).unwrap_or(u64::MAX),
            jobs: jobs.running_max,
            jobs_per_user: jobs.unfinished_per_user_max,
            job_days: jobs.keep_ended.as_secs() / DAY_S,
            allowed_hosts: Vec::new(),
            public_url: None,
            authorization_servers: Vec::new(),
        }
    }
}

impl Default for Outbound {
    fn default() -> Self {
        let options = OutboundOptions::default();
        Self {
            allow_cidrs: options.allow_cidrs,
            proxy: None,
            no_proxy: options.no_proxy,
            connect_timeout_ms: options.connect_timeout_ms,
        }
    }
}

impl Default for Alerts {
    fn default() -> Self {
        let limits = AlertLimits::default();
        Self {
            url: None,
            format: AlertFormat::Auto,
            interval_ms: u64::try_from(limits.every.as_millis()).unwrap_or(u64::MAX),
            lag_events: limits.lag_events,
            error_rate: limits.error_rate,
            attempts: limits.attempts,
        }
    }
}

impl Default for Reactors {
    fn default() -> Self {
        Self {
            payment_to_mint: true,
            mint_to_notify: true,
            retry: Retry::default(),
            factory_url: None,
            factory_key: None,
            registry_url: None,
            registry_key: None,
            node_urls: BTreeMap::new(),
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        let schedule = RetrySchedule::default();
        Self {
            attempts: schedule.attempts,
            first_ms: u64::try_from(schedule.first.as_millis()).unwrap_or(u64::MAX),
            factor: schedule.factor,
            jitter: schedule.jitter,
        }
    }
}
