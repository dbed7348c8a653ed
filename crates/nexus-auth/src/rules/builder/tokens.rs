//! The tokens among the options: the operator's, and those that are configured.

use std::collections::BTreeSet;

use nexus_core::{Principal, Publish, Scope, Scopes, Source};

use super::Builder;
use crate::{DEFAULT_NODE, Error, Secret, TokenOptions, TokenValue, rules::Bearer};

impl Builder<'_> {
    pub(super) fn tokens(&mut self) {
        let mut bearers = Vec::new();
        if let Some(token) = &self.options.admin_token {
            bearers.extend(self.admin(token));
        }
        let mut names = BTreeSet::new();
        for token in &self.options.tokens {
            if !names.insert(&token.name) {
                self.errors.push(Error::TokenTwice {
                    name: token.name.clone(),
                });
            }
            bearers.extend(self.token(token));
        }
        // Tokens stand before the secrets of nodes: the first that matches says who is asking, and in
        // `dev` the default node's secret is the operator's token too.
        bearers.append(&mut self.bearers);
        self.bearers = bearers;
    }

    fn admin(&mut self, token: &Secret) -> Option<Bearer> {
        const OWNER: &str = "the operator's token";
        if token.expose().is_empty() {
            self.errors.push(Error::SecretInvalid {
                owner: OWNER.to_owned(),
                why: "it is empty",
            });
            return None;
        }
        let digest = TokenValue::Plain(token.clone()).to_digest();
        let dev_secret = format!("node {DEFAULT_NODE}");
        if self.owners.get(&digest) == Some(&dev_secret) && !self.options.production {
            self.owners.remove(&digest);
        } else {
            self.check_strength(token, OWNER);
        }
        self.claim_token(digest, OWNER);
        Some(Bearer {
            digest,
            principal: Principal::new(Source::user("admin"), Publish::Unreserved, Scopes::all()),
            not_after_us: None,
            usage: None,
        })
    }

    fn token(&mut self, token: &TokenOptions) -> Option<Bearer> {
        let chars = token.name.chars().count();
        if !(1..=64).contains(&chars) || token.name.chars().any(char::is_control) {
            self.errors.push(Error::TokenNameInvalid {
                name: token.name.chars().take(64).collect(),
            });
            return None;
        }
        let owner = format!("the token {}", token.name);
        if let TokenValue::Plain(secret) = &token.value {
            if secret.expose().is_empty() {
                self.errors.push(Error::SecretInvalid {
                    owner,
                    why: "it is empty",
                });
                return None;
            }
            self.check_strength(secret, &owner);
        }
        let digest = token.value.to_digest();
        self.claim_token(digest, &owner);
        let publish = match &token.publish {
            _ if !token.scopes.has(Scope::Publish) => Publish::Nothing,
            None => Publish::Unreserved,
            Some(names) => Publish::Matching(self.patterns(names, &owner)),
        };
        let mut principal = Principal::new(Source::user(&token.name), publish, token.scopes);
        if let Some(names) = &token.read {
            let patterns = self.patterns(names, &owner);
            if token.scopes.has(Scope::Read) {
                principal = principal.reading(patterns);
            }
        }
        Some(Bearer {
            digest,
            principal,
            not_after_us: token.not_after_us,
            usage: None,
        })
    }

    /// Judges what JSON Web Tokens are judged by.
    pub(super) fn jwt(&mut self) {
        const OWNER: &str = "users (JWT_SECRET)";
        let Some(jwt) = &self.options.jwt else { return };
        if let Some(secret) = &jwt.secret {
            if secret.expose().is_empty() {
                self.errors.push(Error::SecretInvalid {
                    owner: OWNER.to_owned(),
                    why: "it is empty",
                });
                return;
            }
            self.check_strength(secret, OWNER);
        }
        if jwt.audience.is_none() {
            self.warnings.push(
                "JWT_AUDIENCE is not set: a token that was made for something else counts here too"
                    .into(),
            );
        }
    }

    fn claim_token(&mut self, digest: [u8; 32], owner: &str) {
        if let Some(first) = self.owners.insert(digest, owner.to_owned()) {
            self.errors.push(Error::SecretShared {
                first,
                second: owner.to_owned(),
            });
        }
    }
}
