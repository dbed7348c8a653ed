//! The parts of a configuration as the options of the crates that they are for.

use std::{path::PathBuf, time::Duration};

use nexus_auth::{
    AuthOptions, JwtOptions, LiveSecret, NodeOptions, Secret, TokenOptions, VaultKeys,
};
use nexus_core::{DeclaredEvent, RetrySchedule};
use nexus_expr::{PayloadPath, Schema};
use nexus_outbound::OutboundOptions;
use nexus_reactors::{Directory, NodeAddresses};

use super::{
    Mode,
    sections::{Config, Node, Retry, Stage, Token},
    value::Address,
};

const FACTORY: &str = "smart-factory";
const NEOBOT: &str = "neobot";

impl Config {
    /// Who may do what.
    #[must_use]
    pub fn auth_options(&self) -> AuthOptions {
        let auth = &self.auth;
        let live = |secrets: &[Secret]| secrets.iter().cloned().map(LiveSecret::from).collect();
        AuthOptions {
            production: self.environment == Stage::Production,
            default_secrets: auth.secret.iter().cloned().map(LiveSecret::from).collect(),
            nodes: self.nodes.iter().map(node_options).collect(),
            environment_secrets: auth
                .environment_secrets
                .iter()
                .map(|(id, secrets)| (id.clone(), live(secrets)))
                .collect(),
            permissions: auth.permissions.clone(),
            admin_token: auth.admin_token.clone(),
            tokens: self.tokens.iter().map(token_options).collect(),
            jwt: self.jwt_options(),
            signed_get: auth.signed_get,
        }
    }

    /// How JSON Web Tokens of users are judged; nothing when none can count.
    fn jwt_options(&self) -> Option<JwtOptions> {
        let auth = &self.auth;
        let can_count = auth.jwt_secret.is_some() || auth.jwks_url.is_some();
        can_count.then(|| JwtOptions {
            secret: auth.jwt_secret.clone(),
            issuer: auth.jwt_issuer.clone(),
            audience: auth.jwt_audience.clone(),
        })
    }

    /// What secrets in the log are sealed with.
    #[must_use]
    pub fn vault_keys(&self) -> VaultKeys {
        VaultKeys {
            current: self.vault.key.clone(),
            previous: self.vault.previous_key.clone(),
        }
    }

    /// The folder of the files of sessions: the configured one, else `coordination` in the data folder.
    #[must_use]
    pub fn coordination_path(&self) -> PathBuf {
        match &self.agents.coordination_path {
            Some(path) => path.clone(),
            None => self.storage.data_dir.join("coordination"),
        }
    }

    /// The value of a variable that a rule, a mapping or an endpoint names.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        let value = self.variables.get(name)?;
        Some(value.expose().to_owned())
    }

    /// Where calls may go, and how.
    #[must_use]
    pub fn outbound_options(&self) -> OutboundOptions {
        let outbound = &self.outbound;
        OutboundOptions {
            allow_cidrs: outbound.allow_cidrs.clone(),
            allow_loopback: self.mode == Mode::Dev,
            connect_timeout_ms: outbound.connect_timeout_ms,
            proxy: outbound.proxy.as_ref().map(|address| address.url().clone()),
            no_proxy: outbound.no_proxy.clone(),
            ..OutboundOptions::default()
        }
    }

    /// Where nodes are: what their entries say, else the directory, else `<NODE>_API_URL`.
    #[must_use]
    pub fn node_addresses(&self) -> NodeAddresses {
        let settings = &self.reactors;
        let url = |address: &Address| address.url().clone();
        let entries = self
            .nodes
            .iter()
            .filter_map(|node| Some((node.id.clone(), url(node.url.as_ref()?))));
        let factory = settings
            .factory_url
            .iter()
            .map(|address| (FACTORY.to_owned(), url(address)));
        let neobot = settings
            .registry_url
            .iter()
            .map(|address| (NEOBOT.to_owned(), url(address)));
        let named = settings
            .node_urls
            .iter()
            .map(|(id, address)| (id.clone(), url(address)));
        NodeAddresses {
            configured: factory.chain(entries).collect(),
            directory: settings.registry_url.as_ref().map(|address| Directory {
                url: url(address),
                key: settings.registry_key.clone(),
            }),
            fallback: neobot.chain(named).collect(),
        }
    }

    /// The declared events, as the catalogue takes them.
    #[must_use]
    pub fn declared_events(&self) -> Vec<DeclaredEvent> {
        let declared = self.events.declared.iter();
        declared
            .map(|event| DeclaredEvent {
                topic: event.topic.clone(),
                name: event.name.clone(),
                owner: event.owner.clone(),
                key: event
                    .key
                    .clone()
                    .map_or_else(Vec::new, PayloadPath::into_names),
                schema: event.schema.clone().map(Schema::into_check),
            })
            .collect()
    }
}

impl From<Retry> for RetrySchedule {
    fn from(retry: Retry) -> Self {
        Self {
            attempts: retry.attempts,
            first: Duration::from_millis(retry.first_ms),
            factor: retry.factor,
            jitter: retry.jitter,
            ..Self::default()
        }
    }
}

fn node_options(node: &Node) -> NodeOptions {
    NodeOptions {
        id: node.id.clone(),
        secrets: node.secrets.iter().cloned().map(LiveSecret::from).collect(),
        publish: node.publish.clone(),
        read: node.read.clone(),
        signature_only: node.signature_only,
        url: node.url.as_ref().map(|address| address.url().clone()),
        names: node.names,
    }
}

fn token_options(token: &Token) -> TokenOptions {
    TokenOptions {
        name: token.name.clone(),
        value: token.value.clone(),
        scopes: token.scopes,
        read: token.read.clone(),
        publish: token.publish.clone(),
        not_after_us: token.expires_us,
    }
}
