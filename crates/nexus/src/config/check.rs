//! What only shows when everything is read: settings that contradict each other, and weak ones.

use std::sync::Arc;

use ipnet::IpNet;
use nexus_auth::Auth;
use nexus_core::{Catalogue, Clock, Random};

use super::{
    Mode, dev_secret,
    given::shorten,
    load::{Loaded, Loader},
    problem::{ConfigProblem, nearest},
    sections::{AgentsAuth, Stage},
};
use crate::environment::{NEXUS_ADMIN_TOKEN, NEXUS_ENV, NEXUS_SECRET};

/// A log whose size is limited may use at least so many bytes.
const RETENTION_BYTES_MIN: u64 = 16 << 20;

impl Loader {
    /// Checks the whole, and gives it or every problem.
    pub(crate) fn finish(mut self) -> Result<Loaded, Vec<ConfigProblem>> {
        self.config.storage.below(&self.working_dir);
        if let Some(path) = &mut self.config.agents.coordination_path {
            *path = self.working_dir.join(&*path);
        }
        self.stage();
        self.sizes();
        self.agents();
        self.retention();
        self.ranges();
        self.without_effect();
        self.dev_secret();
        if let Some(catalogue) = self.catalogue() {
            self.check_rights(&catalogue);
            self.auth(&catalogue);
            self.check_foreign(&Arc::new(catalogue));
        }
        self.unknown_variables();
        if !self.problems.is_empty() {
            return Err(self.problems.into_vec());
        }
        self.config.events_fingerprint = self.lists.fingerprint("events");
        self.config.fingerprint = self.config.known_by(&self.lists);
        Ok(Loaded {
            config: self.config,
            warnings: self.warnings.into_vec(),
        })
    }

    fn stage(&mut self) {
        if self.mode == Mode::Dev && self.config.environment == Stage::Production {
            let place = self.place("environment");
            let what = "`dev` is open in ways that production must not be: use `serve`";
            self.problems.add_with(
                place,
                what,
                format!("{} unset, development, test", NEXUS_ENV.name),
            );
        }
        if self.mode == Mode::Dev && !self.config.server.host.is_loopback() {
            let place = self.place("server.host");
            let what = "`dev` listens on this machine alone: use `serve`";
            self.problems.add_with(place, what, "127.0.0.1, ::1");
        }
    }

    fn sizes(&mut self) {
        let limits = self.config.limits.clone();
        let pairs = [
            (
                "limits.payload_bytes",
                limits.payload_bytes as u64,
                "limits.body_bytes",
                limits.body_bytes as u64,
            ),
            (
                "limits.body_bytes",
                limits.body_bytes as u64,
                "limits.queue_bytes",
                limits.queue_bytes as u64,
            ),
            (
                "limits.ws_pong_timeout_ms",
                limits.ws_pong_timeout_ms,
                "limits.ws_ping_interval_ms",
                limits.ws_ping_interval_ms,
            ),
        ];
        for (small, less, large, more) in pairs {
            if less > more {
                // Blame what was written, not a default.
                let blamed = if self.origins.contains_key(small) {
                    small
                } else {
                    large
                };
                let what = format!("{small} is {less}, which is more than {large} with {more}");
                self.problems.add(self.place(blamed), what);
            }
        }
        let retry = &self.config.reactors.retry;
        if retry.attempts == 1 && self.origins.contains_key("reactors.retry.first_ms") {
            let place = self.place("reactors.retry.first_ms");
            self.warnings
                .add(place, "it has no effect: there is one attempt only");
        }
    }

    fn agents(&mut self) {
        let (agents, server) = (&self.config.agents, &self.config.server);
        let (ping_ms, silence_ms) = (
            self.config.limits.agents_ping_interval_ms,
            agents.silence_s * 1_000,
        );
        let is_taken = agents.port != 0 && agents.port == server.port;
        let is_open = agents.auth == AgentsAuth::Open && self.mode == Mode::Serve;
        let topics = agents.chat_topics.clone();
        if is_taken {
            let what = "it is the port of the server too; 0 puts the agents under `/agents` there";
            self.problems.add(self.place("agents.port"), what);
        }
        if silence_ms <= ping_ms {
            let silence = "agents.silence_s";
            let blamed = if self.origins.contains_key(silence) {
                silence
            } else {
                "limits.agents_ping_interval_ms"
            };
            let what = format!(
                "work is lost after {silence_ms} ms of silence, and its holder is asked for a sign every {ping_ms} ms"
            );
            self.problems.add(self.place(blamed), what);
        }
        if is_open {
            let what = "whoever reaches the port may act as any session";
            self.weak("agents.auth", what);
        }
        self.rights.push((self.place("agents.chat_topics"), topics));
    }

    fn retention(&mut self) {
        let retention = &self.config.retention;
        if (1..RETENTION_BYTES_MIN).contains(&retention.bytes) {
            let place = self.place("retention.bytes");
            let what = "too little: tables and indexes alone take some of it";
            let allowed = format!("0, or {RETENTION_BYTES_MIN} and more");
            self.problems.add_with(place, what, allowed);
        }
    }

    /// A range that is every address switches off what the setting is for.
    fn ranges(&mut self) {
        let whole = |ranges: &[IpNet]| ranges.iter().any(|range| range.prefix_len() == 0);
        let config = &self.config;
        let proxies = whole(&config.server.trusted_proxies);
        let outbound = whole(&config.outbound.allow_cidrs);
        if proxies {
            let what = "every address is trusted: a client can choose the address it is known by";
            self.weak("server.trusted_proxies", what);
        }
        if outbound {
            let what = "every address is allowed: strangers can make Nexus call into this network";
            self.weak("outbound.allow_cidrs", what);
        }
    }

    /// Something that production must not have.
    fn weak(&mut self, key: &str, what: &str) {
        let place = self.place(key);
        if self.config.environment == Stage::Production {
            self.problems.add(place, what);
        } else {
            self.warnings.add(place, what);
        }
    }

    fn without_effect(&mut self) {
        let reactors = &self.config.reactors;
        let alerts = &self.config.alerts;
        let agents = &self.config.agents;
        let auth = &self.config.auth;
        let has_jwt = auth.jwt_secret.is_some() || auth.jwks_url.is_some();
        let retention = &self.config.retention;
        let is_kept = [retention.age_hours, retention.events, retention.bytes] == [0; 3];
        let pairs = [
            (
                "retention.force",
                !is_kept,
                "no limit of retention is set, so that everything is kept",
            ),
            (
                "reactors.factory_key",
                reactors.factory_url.is_some(),
                "reactors.factory_url is not set",
            ),
            (
                "reactors.registry_key",
                reactors.registry_url.is_some(),
                "reactors.registry_url is not set",
            ),
            (
                "vault.previous_key",
                self.config.vault.key.is_some(),
                "vault.key is not set",
            ),
            (
                "outbound.no_proxy",
                self.config.outbound.proxy.is_some(),
                "outbound.proxy is not set",
            ),
            (
                "alerts.format",
                alerts.url.is_some(),
                "alerts.url is not set",
            ),
            (
                "auth.jwt_issuer",
                has_jwt,
                "neither auth.jwt_secret nor auth.jwks_url is set",
            ),
            (
                "auth.jwt_audience",
                has_jwt,
                "neither auth.jwt_secret nor auth.jwks_url is set",
            ),
            (
                "agents.public_url",
                agents.registry_url.is_some(),
                "agents.registry_url is not set",
            ),
            (
                "agents.chat_topics",
                agents.chat_url.is_some(),
                "agents.chat_url is not set",
            ),
        ];
        for (key, has_effect, why) in pairs {
            if !has_effect && self.origins.contains_key(key) {
                let place = self.place(key);
                self.warnings.add(place, format!("it has no effect: {why}"));
            }
        }
    }

    /// In `dev` a secret is made if none was given, and it opens everything; so is the key of the vault.
    fn dev_secret(&mut self) {
        if self.mode != Mode::Dev || !self.problems.is_empty() {
            return;
        }
        if self.config.auth.secret.is_none() {
            let data_dir = &self.config.storage.data_dir;
            match dev_secret::load_or_make(data_dir, &Random::system()) {
                Ok(secret) => self.config.auth.secret = Some(secret),
                Err(error) => {
                    let path = data_dir.join(dev_secret::DEV_SECRET_FILE);
                    let what = format!("the secret cannot be kept there: {error}");
                    self.problems.add(path.display().to_string(), what);
                }
            }
        }
        let auth = &mut self.config.auth;
        if auth.admin_token.is_none() {
            auth.admin_token.clone_from(&auth.secret);
        }
        if self.config.vault.key.is_none() {
            let data_dir = &self.config.storage.data_dir;
            match dev_secret::load_or_make_vault_key(data_dir, &Random::system()) {
                Ok(key) => self.config.vault.key = Some(key),
                Err(error) => {
                    let path = data_dir.join(dev_secret::DEV_VAULT_KEY_FILE);
                    let what = format!("the key of the vault cannot be kept there: {error}");
                    self.problems.add(path.display().to_string(), what);
                }
            }
        }
    }

    /// The events that will be valid; nothing when two of them are in each other's way.
    fn catalogue(&mut self) -> Option<Catalogue> {
        let declared = self.config.declared_events();
        let mut fitting = Vec::new();
        for event in declared {
            let mut tried: Vec<_> = fitting.clone();
            tried.push(event.clone());
            match Catalogue::new(tried, self.config.events.open) {
                Ok(_) => fitting.push(event),
                Err(error) => {
                    let place = self.place(&format!("event {}", event.topic));
                    self.problems.add(place, error.to_string());
                }
            }
        }
        Catalogue::new(fitting, self.config.events.open).ok()
    }

    fn auth(&mut self, catalogue: &Catalogue) {
        match Auth::new(&self.config.auth_options(), catalogue, Clock::System) {
            Ok(auth) => {
                for warning in auth.warnings() {
                    self.warnings.add("auth", warning);
                }
            }
            Err(errors) => {
                for error in errors {
                    self.refused(&error);
                }
            }
        }
    }

    /// Whether the default secret was written somewhere, but not so that it can be used.
    fn secret_refused(&self) -> bool {
        self.problems.any_place(|place| {
            place.starts_with(NEXUS_SECRET.name) || place.ends_with(" auth.secret")
        })
    }

    /// Every name of what someone may read or publish has to be that of an event, or a pattern.
    fn check_rights(&mut self, catalogue: &Catalogue) {
        let valid = catalogue.names();
        for (place, names) in std::mem::take(&mut self.rights) {
            for name in names {
                if catalogue.resolve_pattern(&name).is_err() {
                    let near = nearest(&name, valid.iter().map(String::as_str));
                    let hint = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
                    let what = format!("{:?} is no event and no pattern{hint}", shorten(&name));
                    self.problems.add(place.clone(), what);
                }
            }
        }
    }

    /// Says where a refusal of nodes, secrets and tokens comes from.
    fn refused(&mut self, error: &nexus_auth::Error) {
        use nexus_auth::Error;
        let (owner, allowed) = match error {
            // It was given, and refused for another reason.
            Error::SecretMissing if self.secret_refused() => return,
            Error::SecretMissing => ("node default".to_owned(), None),
            Error::SecretWeak { owner, min, .. } => {
                (owner.clone(), Some(format!("{min} characters and more")))
            }
            Error::SecretInvalid { owner, .. } => (owner.clone(), None),
            // Told already, name by name, also of nodes that cannot sign.
            Error::PermissionUnknown { .. } => return,
            Error::SecretShared { second, .. } => (second.clone(), None),
            Error::NodeIdInvalid { id } | Error::NodeTwice { id } => (format!("node {id}"), None),
            Error::TokenTwice { name } | Error::TokenNameInvalid { name } => {
                (format!("the token {name}"), None)
            }
            _ => ("auth".to_owned(), None),
        };
        let place = match self.origins.get(&owner) {
            Some(place) => place.clone(),
            None if owner == "node default" => self
                .origins
                .get("auth.secret")
                .map_or(NEXUS_SECRET.name, String::as_str)
                .to_owned(),
            None if owner == OPERATORS_TOKEN => self
                .origins
                .get("auth.admin_token")
                .map_or(NEXUS_ADMIN_TOKEN.name, String::as_str)
                .to_owned(),
            None => owner,
        };
        match allowed {
            Some(allowed) => self.problems.add_with(place, error.to_string(), allowed),
            None => self.problems.add(place, error.to_string()),
        }
    }
}

/// How the checks of tokens call the admin token.
const OPERATORS_TOKEN: &str = "the operator's token";
