//! What is written in a JSON Web Token: its header and its claims, read strictly.

use data_encoding::BASE64URL_NOPAD;
use nexus_core::{Json, Scope, Scopes};

use super::{Proven, leeway_us, principal};

/// What stands before the scopes of Nexus among those of a token, so that a `read` that was meant for
/// something else opens nothing here.
const SCOPE_PREFIX: &str = "nexus:";
/// The name of a user has at most this many bytes.
const USER_BYTES_MAX: usize = 255;
/// So many audiences of a token are looked at.
const AUDIENCES_MAX: usize = 32;
/// No time of a token lies behind this, in seconds since 1970: the year 9999.
const TIME_S_MAX: f64 = 253_402_300_799.0;
/// What tokens are called that are for proving who asks.
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// Base64 of the kind that tokens are written in.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(text.as_bytes()).ok()
}

/// The header of a token.
pub(super) struct Header {
    pub(super) algorithm: String,
    pub(super) key_id: Option<String>,
}

impl Header {
    pub(super) fn read(encoded: &str) -> Option<Self> {
        let text = decode(encoded)?;
        let header = Json::parse(&text).ok()?;
        let is_token = match header.get("typ") {
            None => true,
            Some(of) => {
                let of = of.as_str()?;
                TYPES.iter().any(|name| of.eq_ignore_ascii_case(name))
            }
        };
        // What is critical is not understood here.
        if !is_token || header.get("crit").is_some() {
            return None;
        }
        Some(Self {
            algorithm: header.get("alg")?.as_str()?.to_owned(),
            key_id: match header.get("kid") {
                None => None,
                Some(id) => Some(id.as_str()?.to_owned()),
            },
        })
    }
}

/// The claims of a token.
pub(super) struct Claims {
    user: String,
    issuer: Option<String>,
    audiences: Vec<String>,
    ends_s: f64,
    begins_s: Option<f64>,
    scopes: Scopes,
}

impl Claims {
    pub(super) fn read(encoded: &str) -> Option<Self> {
        let text = decode(encoded)?;
        let claims = Json::parse(&text).ok()?;
        let user = claims.get("sub")?.as_str()?;
        let is_name = (1..=USER_BYTES_MAX).contains(&user.len());
        if !is_name || user.chars().any(char::is_control) {
            return None;
        }
        Some(Self {
            user: user.to_owned(),
            issuer: match claims.get("iss") {
                None => None,
                Some(issuer) => Some(issuer.as_str()?.to_owned()),
            },
            audiences: texts(claims.get("aud"))?,
            ends_s: time(claims.get("exp")?)?,
            begins_s: match claims.get("nbf") {
                None => None,
                Some(begins) => Some(time(begins)?),
            },
            scopes: scopes(&claims)?,
        })
    }

    /// What it comes to, signed by the key with this print.
    pub(super) fn proven(&self, print: [u8; 32]) -> Option<Proven> {
        Some(Proven {
            principal: principal(&self.user, self.scopes),
            not_after_us: microseconds(self.ends_s)?.saturating_add(leeway_us()),
            print,
            issuer: self.issuer.clone(),
            audiences: self.audiences.clone(),
        })
    }

    /// From when on it counts, in microseconds since 1970.
    pub(super) fn begins_us(&self) -> Option<i64> {
        self.begins_s.map_or(Some(0), microseconds)
    }
}

/// A text, or a list of them.
fn texts(given: Option<&Json<'_>>) -> Option<Vec<String>> {
    match given {
        None => Some(Vec::new()),
        Some(Json::String(text)) => Some(vec![text.to_string()]),
        Some(Json::Array(items)) if items.len() <= AUDIENCES_MAX => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect(),
        Some(_) => None,
    }
}

/// The scopes of Nexus among those that the token has, in `scope` (a text with spaces) or `scp`.
fn scopes(claims: &Json<'_>) -> Option<Scopes> {
    let mut named = Vec::new();
    for claim in ["scope", "scp"] {
        for text in texts(claims.get(claim))? {
            named.extend(text.split(' ').map(str::to_owned));
        }
    }
    let is_named = |scope: &Scope| {
        let mut named = named
            .iter()
            .filter_map(|name| name.strip_prefix(SCOPE_PREFIX));
        named.any(|name| name == scope.as_str())
    };
    Some(Scope::ALL.into_iter().filter(is_named).collect())
}

fn time(given: &Json<'_>) -> Option<f64> {
    match given {
        Json::Number(seconds) if (0.0..=TIME_S_MAX).contains(seconds) => Some(*seconds),
        _ => None,
    }
}

fn microseconds(seconds: f64) -> Option<i64> {
    let whole = seconds.floor();
    #[allow(
        clippy::cast_possible_truncation,
        reason = "it was checked when it was read"
    )]
    let whole = whole as i64;
    whole.checked_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(text: &str) -> Option<Claims> {
        Claims::read(&BASE64URL_NOPAD.encode(text.as_bytes()))
    }

    #[test]
    fn claims_that_are_not_as_they_must_be_are_none() {
        assert!(claims(r#"{"sub":"ana","exp":1}"#).is_some());
        for wrong in [
            r#"{"exp":1}"#,
            r#"{"sub":"ana"}"#,
            r#"{"sub":"","exp":1}"#,
            r#"{"sub":7,"exp":1}"#,
            r#"{"sub":"a\nb","exp":1}"#,
            r#"{"sub":"ana","exp":"1"}"#,
            r#"{"sub":"ana","exp":-1}"#,
            r#"{"sub":"ana","exp":1e300}"#,
            r#"{"sub":"ana","exp":1,"nbf":"x"}"#,
            r#"{"sub":"ana","exp":1,"iss":[]}"#,
            r#"{"sub":"ana","exp":1,"aud":[1]}"#,
            r#"{"sub":"ana","exp":1,"aud":{}}"#,
            r#"{"sub":"ana","exp":1,"scope":1}"#,
            r#"{"sub":"ana","sub":"bob","exp":1}"#,
            r#"["sub"]"#,
            "",
        ] {
            assert!(claims(wrong).is_none(), "{wrong}");
        }
        let long = format!(r#"{{"sub":"{}","exp":1}}"#, "x".repeat(USER_BYTES_MAX + 1));
        assert!(claims(&long).is_none());
    }

    #[test]
    fn only_scopes_that_are_meant_for_nexus_count() {
        let of = |text: &str| claims(text).unwrap().scopes;
        let none = r#"{"sub":"a","exp":1,"scope":"read admin operate nexus:"}"#;
        assert_eq!(of(none), Scopes::NONE);
        let some = r#"{"sub":"a","exp":1,"scope":"openid nexus:read","scp":["nexus:operate"]}"#;
        assert_eq!(
            of(some),
            [Scope::Read, Scope::Operate].into_iter().collect()
        );
    }

    #[test]
    fn headers_of_what_is_no_token_are_none() {
        let header = |text: &str| Header::read(&BASE64URL_NOPAD.encode(text.as_bytes()));
        assert!(header(r#"{"alg":"HS256"}"#).is_some());
        assert!(header(r#"{"alg":"HS256","typ":"JWT","kid":"1"}"#).is_some());
        for wrong in [
            r#"{"typ":"JWT"}"#,
            r#"{"alg":1}"#,
            r#"{"alg":"HS256","typ":"dpop+jwt"}"#,
            r#"{"alg":"HS256","kid":1}"#,
            r#"{"alg":"HS256","crit":["exp"]}"#,
            r#"{"alg":"HS256","alg":"none"}"#,
        ] {
            assert!(header(wrong).is_none(), "{wrong}");
        }
    }
}
