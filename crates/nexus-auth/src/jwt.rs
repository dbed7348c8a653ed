//! JSON Web Tokens: who an identity provider says is asking.
//!
//! A token counts when it is signed by the configured secret (HS256) or by a key of the provider's set
//! (RS256, ES256, EdDSA), was made by and for whom it has to be, and has not ended. Its `sub` is the user.

mod claims;
mod keys;

use nexus_core::{PatternSet, Principal, Publish, Scope, Scopes, Source};

use self::{claims::Claims, keys::Key};
use crate::{Error, Secret};

pub use keys::JwkSet;

/// A token has at most this many bytes.
pub const JWT_BYTES_MAX: usize = 8 * 1024;
/// The clock of whoever made a token may differ from ours by this many seconds.
pub const JWT_LEEWAY_S: i64 = 60;
/// What a user may read of whom the token says nothing else. These topics are private: of their events
/// everybody sees their own.
const OWN: [&str; 2] = ["job.*", "tool.*"];

/// How JSON Web Tokens are judged. Without a secret and without a [`JwkSet`] none counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JwtOptions {
    /// The key of HS256.
    pub secret: Option<Secret>,
    /// Who must have made a token (`iss`); nothing: whoever has a key.
    pub issuer: Option<String>,
    /// For whom it must have been made (`aud`); nothing: for anybody.
    pub audience: Option<String>,
}

/// What tokens are checked against, made once from the options.
#[derive(Debug)]
pub(crate) struct Judge {
    secret: Option<Key>,
    issuer: Option<String>,
    audience: Option<String>,
}

/// A token that counts.
#[derive(Debug, Clone)]
pub(crate) struct Proven {
    pub(crate) principal: Principal,
    /// The last microsecond since 1970 at which it counts.
    pub(crate) not_after_us: i64,
    /// What tells the key that signed from others.
    print: [u8; 32],
    issuer: Option<String>,
    audiences: Vec<String>,
}

impl Judge {
    pub(crate) fn new(options: &JwtOptions) -> Self {
        Self {
            secret: options.secret.as_ref().map(Key::of_secret),
            issuer: options.issuer.clone(),
            audience: options.audience.clone(),
        }
    }

    /// Who a token says is asking; one refusal for every cause.
    pub(crate) fn verify(&self, token: &str, keys: &JwkSet, now_us: i64) -> Result<Proven, Error> {
        self.read(token, keys, now_us).ok_or(Error::Unauthorized)
    }

    fn read(&self, token: &str, keys: &JwkSet, now_us: i64) -> Option<Proven> {
        if token.len() > JWT_BYTES_MAX {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        if claims.contains('.') {
            return None;
        }
        let header = claims::Header::read(header)?;
        let signature = claims::decode(signature)?;
        let own = self.secret.iter();
        // A key says by itself what it is for: a public key is never taken for a secret.
        let print = own
            .chain(keys.named(header.key_id.as_deref()))
            .filter(|key| key.is_for(&header.algorithm))
            .find(|key| key.verifies(signed.as_bytes(), &signature))?
            .print();
        let claims = Claims::read(claims)?;
        let proven = claims.proven(print)?;
        let is_begun = claims.begins_us()? <= now_us.saturating_add(leeway_us());
        (is_begun && self.still_counts(&proven, keys, now_us)).then_some(proven)
    }

    /// Whether a token is refused only because its key is not known here: the provider may have a new one.
    pub(crate) fn wants_keys(&self, token: &str, keys: &JwkSet) -> bool {
        let header = token.split_once('.').and_then(|(header, _)| {
            let is_short = token.len() <= JWT_BYTES_MAX;
            is_short.then(|| claims::Header::read(header)).flatten()
        });
        header.is_some_and(|header| {
            let is_public = self.secret.iter().all(|own| !own.is_for(&header.algorithm));
            is_public && (keys.is_empty() || !keys.has(header.key_id.as_deref()))
        })
    }

    /// Whether a token that counted does so still: it has not ended, its key is still there, and what is
    /// asked of tokens has not changed against it.
    pub(crate) fn still_counts(&self, proven: &Proven, keys: &JwkSet, now_us: i64) -> bool {
        let mut present = self.secret.iter().chain(keys.named(None));
        let is_for = |audience: &String| proven.audiences.contains(audience);
        now_us <= proven.not_after_us
            && present.any(|key| key.print() == proven.print)
            && (self.issuer.is_none() || self.issuer == proven.issuer)
            && self.audience.as_ref().is_none_or(is_for)
    }
}

fn leeway_us() -> i64 {
    JWT_LEEWAY_S * 1_000_000
}

/// A user with what their token says that they may. Everybody may act, and follow what comes of it; events
/// that belong to nobody are for those whose token says so.
fn principal(user: &str, granted: Scopes) -> Principal {
    let scopes = Scope::ALL
        .into_iter()
        .filter(|scope| granted.has(*scope) || matches!(scope, Scope::Read | Scope::Publish));
    let publish = match granted.has(Scope::Publish) {
        true => Publish::Unreserved,
        false => Publish::Nothing,
    };
    let principal = Principal::new(Source::user(user), publish, scopes.collect());
    match granted.has(Scope::Read) {
        true => principal,
        // Both are patterns; a test reads them.
        false => principal.reading(PatternSet::parse(OWN).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use nexus_core::Topic;

    use super::*;

    #[test]
    fn a_user_of_whom_nothing_is_said_acts_and_sees_their_own() {
        let ana = principal("ana", Scopes::NONE);
        let topic = |text: &str| Topic::parse(text).unwrap();
        assert!(ana.scopes().has(Scope::Read) && ana.scopes().has(Scope::Publish));
        assert!(!ana.scopes().has(Scope::Operate) && !ana.scopes().has(Scope::Admin));
        assert!(ana.readable().matches(&topic("job.completed")));
        assert!(!ana.readable().matches(&topic("payment.received")));
        assert!(!ana.may_publish(&topic("payment.received"), false));
        let all = principal("ana", Scopes::all());
        assert!(all.readable().is_everything());
        assert!(all.may_publish(&topic("payment.received"), false));
        assert!(!all.may_publish(&topic("job.completed"), true));
    }
}
