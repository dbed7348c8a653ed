//! The keys that tokens are signed with: a shared secret, and the public keys of an identity provider.

use data_encoding::BASE64URL_NOPAD;
use nexus_core::{Json, sha256};
use ring::{
    hmac,
    signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
        UnparsedPublicKey,
    },
};

use crate::{Error, Secret};

/// A provider has at most this many keys at once.
const KEYS_MAX: usize = 64;
/// A coordinate of P-256, and a key of Ed25519, has this many bytes.
const POINT_BYTES: usize = 32;

/// The public keys of an identity provider: a JSON Web Key Set (RFC 7517). Keys that are not for signing, or
/// of a kind that is not understood, are passed over.
#[derive(Debug, Default)]
pub struct JwkSet(Vec<Key>);

/// A key that can say whether it signed something.
#[derive(Debug)]
pub(super) struct Key {
    id: Option<String>,
    material: Material,
    print: [u8; 32],
}

enum Material {
    Hs256(hmac::Key),
    Rs256(RsaPublicKeyComponents<Vec<u8>>),
    Es256(UnparsedPublicKey<Vec<u8>>),
    EdDsa(UnparsedPublicKey<Vec<u8>>),
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.algorithm())
    }
}

impl JwkSet {
    /// Reads a set as a provider publishes it.
    ///
    /// # Errors
    /// [`Error::JwksInvalid`] when it is none.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let invalid = |why| Error::JwksInvalid { why };
        let set = Json::parse(text).map_err(|_| invalid("it is not JSON"))?;
        let Some(Json::Array(keys)) = set.get("keys") else {
            return Err(invalid("it has no list `keys`"));
        };
        if keys.len() > KEYS_MAX {
            return Err(invalid("it has more than 64 keys"));
        }
        Ok(Self(keys.iter().filter_map(Key::read).collect()))
    }

    /// How many keys of it can be used.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none can.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is a key of this name, or no name is asked for.
    #[must_use]
    pub fn has(&self, key_id: Option<&str>) -> bool {
        key_id.is_none() || self.named(key_id).next().is_some()
    }

    /// The keys of this name; without one, all of them.
    pub(super) fn named<'a>(&'a self, key_id: Option<&'a str>) -> impl Iterator<Item = &'a Key> {
        self.0
            .iter()
            .filter(move |key| key_id.is_none() || key.id.as_deref() == key_id)
    }
}

impl Key {
    pub(super) fn of_secret(secret: &Secret) -> Self {
        let bytes = secret.expose().as_bytes();
        Self {
            id: None,
            material: Material::Hs256(hmac::Key::new(hmac::HMAC_SHA256, bytes)),
            print: print("HS256", &[bytes]),
        }
    }

    /// Reads one key of a set; nothing when it cannot be used.
    fn read(key: &Json<'_>) -> Option<Self> {
        let text = |name: &str| key.get(name).and_then(Json::as_str);
        let bytes = |name: &str| BASE64URL_NOPAD.decode(text(name)?.as_bytes()).ok();
        if text("use").is_some_and(|of| of != "sig") {
            return None;
        }
        let (material, parts) = match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                let n = without_zeros(bytes("n")?);
                let e = without_zeros(bytes("e")?);
                let parts = vec![n.clone(), e.clone()];
                (Material::Rs256(RsaPublicKeyComponents { n, e }), parts)
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (point(bytes("x")?)?, point(bytes("y")?)?);
                let uncompressed = [&[4_u8][..], &x, &y].concat();
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, uncompressed);
                (Material::Es256(key), vec![x, y])
            }
            ("OKP", Some("Ed25519")) => {
                let x = point(bytes("x")?)?;
                let key = UnparsedPublicKey::new(&ED25519, x.clone());
                (Material::EdDsa(key), vec![x])
            }
            _ => return None,
        };
        let algorithm = material.algorithm();
        if text("alg").is_some_and(|of| !is_called(algorithm, of)) {
            return None;
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        Some(Self {
            id: text("kid").map(str::to_owned),
            print: print(algorithm, &parts),
            material,
        })
    }

    /// Whether it is a key of this algorithm.
    pub(super) fn is_for(&self, algorithm: &str) -> bool {
        is_called(self.material.algorithm(), algorithm)
    }

    pub(super) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Hs256(key) => hmac::verify(key, signed, signature).is_ok(),
            Material::Rs256(key) => key
                .verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature)
                .is_ok(),
            Material::Es256(key) | Material::EdDsa(key) => key.verify(signed, signature).is_ok(),
        }
    }

    /// What tells it from others.
    pub(super) fn print(&self) -> [u8; 32] {
        self.print
    }
}

impl Material {
    fn algorithm(&self) -> &'static str {
        match self {
            Self::Hs256(_) => "HS256",
            Self::Rs256(_) => "RS256",
            Self::Es256(_) => "ES256",
            Self::EdDsa(_) => "EdDSA",
        }
    }
}

/// RFC 9864 gave EdDSA over this curve a name of its own.
fn is_called(algorithm: &str, name: &str) -> bool {
    name == algorithm || (algorithm == "EdDSA" && name == "Ed25519")
}

fn print(algorithm: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut text = algorithm.as_bytes().to_vec();
    for part in parts {
        text.extend_from_slice(&(part.len() as u64).to_be_bytes());
        text.extend_from_slice(part);
    }
    sha256(&text)
}

fn without_zeros(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

fn point(bytes: Vec<u8>) -> Option<Vec<u8>> {
    (bytes.len() == POINT_BYTES).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_cannot_be_used_are_passed_over() {
        let x = BASE64URL_NOPAD.encode(&[7; 32]);
        let set = format!(
            r#"{{"keys":[
                {{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"a"}},
                {{"kty":"OKP","crv":"Ed25519","x":"{x}","use":"enc"}},
                {{"kty":"OKP","crv":"X25519","x":"{x}"}},
                {{"kty":"OKP","crv":"Ed25519","x":"AAAA"}},
                {{"kty":"EC","crv":"P-256","x":"{x}","y":"{x}","alg":"ES256"}},
                {{"kty":"EC","crv":"P-256","x":"{x}","y":"{x}","alg":"ES384"}},
                {{"kty":"oct","k":"{x}"}}, {{}}, 7
            ]}}"#
        );
        let set = JwkSet::parse(set.as_bytes()).unwrap();
        assert_eq!(set.len(), 2);
        assert!(set.has(Some("a")) && set.has(None) && !set.has(Some("b")));
        for wrong in ["", "[]", "{}", r#"{"keys":{}}"#] {
            let error = JwkSet::parse(wrong.as_bytes()).unwrap_err();
            assert!(matches!(error, Error::JwksInvalid { .. }), "{wrong}");
        }
        let many = format!(r#"{{"keys":[{}]}}"#, vec!["{}"; KEYS_MAX + 1].join(","));
        assert!(JwkSet::parse(many.as_bytes()).is_err());
    }
}
