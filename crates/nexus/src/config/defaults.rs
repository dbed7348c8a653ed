//! What holds when nothing is configured.

use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf};

use nexus_core::RetrySchedule;
use nexus_outbound::OutboundOptions;
use nexus_reactors::AlertLimits;

use super::{
    Fingerprint, Mode,
    sections::{
        AlertFormat, Alerts, Auth, Config, Events, Limits, LogFormat, LogLevel, Outbound, Reactors,
        Retention, Retry, Server, Stage, Storage, Telemetry, Vault,
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
            ws_pong_timeout_ms: 10_000,
            ws_patterns: 128,
            stream_message_bytes: 320 << 10,
            stream_messages_per_second: 0,
            stream_publishes: 256,
            stream_unauthenticated: 256,
            stream_authentication_timeout_ms: 10_000,
            stream_position_interval_ms: 5_000,
            queue_requests: 8_192,
            queue_bytes: 64 << 20,
            ring_events: 64 << 10,
            ring_bytes: 64 << 20,
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
