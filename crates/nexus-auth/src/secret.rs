//! Secrets: what a node signs with and what a token is, kept out of logs and wiped when dropped.

use std::fmt;

use data_encoding::{BASE64, HEXLOWER};
use nexus_core::Random;
use ring::hmac;
use serde::Deserialize;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::SECRET_CHARS_MIN;

/// Before it stands the base64 of a Standard Webhooks key.
const STANDARD_PREFIX: &str = "whsec_";

/// A secret text. It is never printed, and wiped from memory when it is dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A secret that was given as text, exactly as it was written.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// A new secret of 256 random bits, as 64 hexadecimal digits.
    #[must_use]
    pub fn generate(random: &Random) -> Self {
        let bytes = Zeroizing::new(random.bytes::<32>());
        Self::new(HEXLOWER.encode(&*bytes))
    }

    /// A new secret of 256 random bits, as Standard Webhooks writes it: `whsec_` and base64.
    #[must_use]
    pub fn generate_standard(random: &Random) -> Self {
        let bytes = Zeroizing::new(random.bytes::<32>());
        Self::new(format!("{STANDARD_PREFIX}{}", BASE64.encode(&*bytes)))
    }

    /// The text itself: for showing it once to who made it, or sending it to whom it is for.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// How many characters it has.
    #[must_use]
    pub fn chars(&self) -> usize {
        self.0.chars().count()
    }

    /// Its last four characters, by which people tell secrets apart; nothing of a short one, which that would
    /// give away too much of.
    #[must_use]
    pub fn hint(&self) -> Option<Box<str>> {
        const HINT_CHARS: usize = 4;
        let chars = self.chars();
        let hint = || self.0.chars().skip(chars - HINT_CHARS).collect::<String>();
        (chars >= SECRET_CHARS_MIN).then(|| hint().into_boxed_str())
    }

    /// The keys that are made of it; what rule it breaks when none can be.
    pub(crate) fn keys(&self) -> Result<Keys, &'static str> {
        if self.0.is_empty() {
            return Err("it is empty");
        }
        let plain = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_bytes());
        let standard = match self.0.strip_prefix(STANDARD_PREFIX) {
            None => plain.clone(),
            Some(encoded) => {
                let bytes = BASE64
                    .decode(encoded.as_bytes())
                    .map(Zeroizing::new)
                    .map_err(|_| "what follows `whsec_` is not base64")?;
                if bytes.is_empty() {
                    return Err("nothing follows `whsec_`");
                }
                hmac::Key::new(hmac::HMAC_SHA256, &bytes)
            }
        };
        Ok(Keys { plain, standard })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// The keys of one secret, prepared so that a request costs no key schedule.
#[derive(Clone)]
pub(crate) struct Keys {
    /// For `X-Nexus-Signature`: the secret's bytes as written.
    pub(crate) plain: hmac::Key,
    /// For Standard Webhooks: the bytes that follow `whsec_`, else the secret's bytes as written.
    pub(crate) standard: hmac::Key,
}

impl Keys {
    /// Two secrets with an equal print in either place verify the same signatures; texts that differ can
    /// still be one key (trailing zeros, long texts that are hashed, a `whsec_` form of a plain one).
    pub(crate) fn prints(&self) -> [[u8; 32]; 2] {
        [tag(&self.plain, b"print"), tag(&self.standard, b"print")]
    }
}

/// The code of a message, as bytes.
pub(crate) fn tag(key: &hmac::Key, message: &[u8]) -> [u8; 32] {
    tag_bytes(&hmac::sign(key, message))
}

/// A code as an array; HMAC-SHA256 has 32 bytes always.
pub(crate) fn tag_bytes(tag: &hmac::Tag) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new("hunter2-hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));
    }

    #[test]
    fn generated_secrets_differ_and_can_be_used() {
        let random = Random::system();
        let secret = Secret::generate(&random);
        assert_eq!(secret.chars(), 64);
        assert!(secret != Secret::generate(&random));
        let standard = Secret::generate_standard(&random);
        assert!(standard.expose().starts_with("whsec_"));
        let keys = standard.keys().unwrap();
        assert_ne!(keys.prints()[0], keys.prints()[1]);
    }

    #[test]
    fn a_hint_is_the_end_of_a_long_secret() {
        let long = format!("{}\u{e9}bcd", "a".repeat(28));
        assert_eq!(Secret::new(long).hint().as_deref(), Some("\u{e9}bcd"));
        assert_eq!(Secret::new("a".repeat(31)).hint(), None);
    }

    #[test]
    fn what_cannot_be_a_key_is_refused() {
        for text in ["", "whsec_", "whsec_no*base64", "whsec_AAA"] {
            assert!(Secret::new(text).keys().is_err(), "{text:?}");
        }
    }

    #[test]
    fn one_key_in_two_texts_has_one_print() {
        let print = |text: &str| Secret::new(text).keys().unwrap().prints();
        assert_eq!(print("a")[0], print("a\0")[0]);
        assert_eq!(print("whsec_YWJj")[1], print("abc")[1]);
        assert_ne!(print("a"), print("b"));
    }
}
