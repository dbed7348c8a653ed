//! The parts of a configuration as the options of the crates that they are for.

use nexus_auth::{AuthOptions, LiveSecret, NodeOptions, Secret, TokenOptions, VaultKeys};
use nexus_core::DeclaredEvent;
use nexus_expr::{PayloadPath, Schema};

use super::sections::{Config, Node, Stage, Token};

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
            signed_get: auth.signed_get,
        }
    }

    /// What secrets in the log are sealed with.
    #[must_use]
    pub fn vault_keys(&self) -> VaultKeys {
        VaultKeys {
            current: self.vault.key.clone(),
            previous: self.vault.previous_key.clone(),
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
