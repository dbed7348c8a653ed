//! Users who come with a JSON Web Token, and the keys of their identity provider.

use std::sync::Arc;

use super::{Auth, Grant, Proof};
use crate::{Error, JwkSet};

impl Auth {
    /// Who comes with a JSON Web Token. A user is never somebody who has a token of this Nexus: an identity
    /// provider may let people choose their names.
    pub(super) fn jwt_grant(&self, token: &str) -> Result<Grant, Error> {
        let shared = &self.shared;
        let rules = shared.rules.load();
        let judge = rules.jwt.as_ref().ok_or(Error::Unauthorized)?;
        let keys = shared.jwks.load();
        let verified = judge.verify(token, &keys, shared.clock.now_us());
        if verified.is_err() && judge.wants_keys(token, &keys) {
            shared.jwks_wanted.notify_one();
        }
        let proven = verified?;
        let mut known = rules.bearers.iter().map(|bearer| &bearer.principal);
        if known.any(|other| other.source() == proven.principal.source()) {
            return Err(Error::Unauthorized);
        }
        Ok(Grant {
            principal: proven.principal.clone(),
            not_after_us: Some(proven.not_after_us),
            proof: Proof::Jwt(Arc::new(proven)),
        })
    }

    /// Puts the public keys of the identity provider in the place of those before them.
    pub fn set_jwks(&self, keys: JwkSet) {
        let shared = &self.shared;
        shared.jwks.store(Arc::new(keys));
        shared.generation.send_modify(|generation| *generation += 1);
    }

    /// Waits until somebody comes with a token that is signed with a key which is not known: the provider
    /// may have a new one.
    pub async fn jwks_wanted(&self) {
        self.shared.jwks_wanted.notified().await;
    }
}
