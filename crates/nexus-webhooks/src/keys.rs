//! The secrets of an endpoint while it runs: each live one signs, so that a receiver may hold any of them.

use http::{HeaderMap, HeaderValue};
use nexus_auth::{
    SIGNATURE_HEADER, Secret, Signer, WEBHOOK_ID_HEADER, WEBHOOK_SIGNATURE_HEADER,
    WEBHOOK_TIMESTAMP_HEADER,
};

/// What signs for an endpoint, the newest secret first.
#[derive(Debug, Default)]
pub(crate) struct Keys(Vec<LiveKey>);

#[derive(Debug)]
struct LiveKey {
    signer: Signer,
    /// Until when it signs, in microseconds since 1970.
    expires_us: Option<i64>,
}

impl Keys {
    /// Whether there is none: they were lost.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a secret that is older than those before it.
    pub(crate) fn add(
        &mut self,
        secret: &Secret,
        expires_us: Option<i64>,
    ) -> Result<(), nexus_auth::Error> {
        let signer = Signer::from_secret(secret)?;
        self.0.push(LiveKey { signer, expires_us });
        Ok(())
    }

    /// The headers that prove a message: every live secret has a code in them. Nothing when none is live.
    pub(crate) fn sign(&self, id: &str, now_us: i64, body: &[u8]) -> Option<HeaderMap> {
        let now_s = now_us.div_euclid(1_000_000);
        let is_live = |key: &&LiveKey| key.expires_us.is_none_or(|at_us| now_us < at_us);
        let mut signed = HeaderMap::new();
        for key in self.0.iter().filter(is_live) {
            for (name, value) in key.signer.sign(id, now_s, body) {
                signed.append(name, value);
            }
        }
        let mut headers = HeaderMap::with_capacity(4);
        for name in [WEBHOOK_ID_HEADER, WEBHOOK_TIMESTAMP_HEADER] {
            headers.insert(name.clone(), signed.get(name)?.clone());
        }
        // One header each: receivers that see two of a name take the first or join them as they like.
        for (name, between) in [(WEBHOOK_SIGNATURE_HEADER, " "), (SIGNATURE_HEADER, ",")] {
            let codes = signed.get_all(&name).iter();
            let codes: Vec<&str> = codes.filter_map(|code| code.to_str().ok()).collect();
            let joined = HeaderValue::from_str(&codes.join(between)).ok()?;
            headers.insert(name, joined);
        }
        Some(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secrets: &[(&str, Option<i64>)]) -> Keys {
        let mut keys = Keys::default();
        for (secret, expires_us) in secrets {
            keys.add(&Secret::new(*secret), *expires_us).unwrap();
        }
        keys
    }

    fn parts(headers: &HeaderMap, name: &str, between: char) -> Vec<String> {
        let text = headers[name].to_str().unwrap();
        text.split(between).map(str::to_owned).collect()
    }

    #[test]
    fn each_live_secret_signs_the_newest_first() {
        let now_us = 1_763_712_000_000_000;
        let (new, old) = ("whsec_bmV3LW5ldy1uZXctbmV3", "whsec_b2xkLW9sZC1vbGQtb2xk");
        let sign = |secrets: &[(&str, Option<i64>)]| keys(secrets).sign("msg-1", now_us, b"{}");
        let alone = sign(&[(new, None)]).unwrap();
        let before = sign(&[(old, None)]).unwrap();
        let both = sign(&[(new, None), (old, Some(now_us + 1))]).unwrap();
        let codes = parts(&both, "webhook-signature", ' ');
        assert_eq!(codes[0], alone["webhook-signature"]);
        assert_eq!(codes[1], before["webhook-signature"]);
        let codes = parts(&both, "x-nexus-signature", ',');
        assert_eq!(codes[0], alone["x-nexus-signature"]);
        assert_eq!(codes[1], before["x-nexus-signature"]);
        assert_eq!(both["webhook-id"], "msg-1");
        assert_eq!(both["webhook-timestamp"], "1763712000");
        let after = sign(&[(new, None), (old, Some(now_us))]).unwrap();
        assert_eq!(after, alone);
    }

    #[test]
    fn nothing_is_sent_that_nothing_signs() {
        assert_eq!(keys(&[]).sign("msg-1", 0, b"{}"), None);
        assert_eq!(keys(&[("a", Some(5))]).sign("msg-1", 5, b"{}"), None);
    }
}
