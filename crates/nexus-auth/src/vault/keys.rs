//! The keys of a vault: what an operator gives, and the ids by which sealed values say which one opens them.

use std::fmt;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use nexus_core::Random;
use ring::{
    aead::{AES_256_GCM, LessSafeKey, UnboundKey},
    error::Unspecified,
    hmac,
};
use zeroize::Zeroizing;

use crate::{Error, Secret, secret::tag};

/// A vault key has this many bytes.
pub(super) const KEY_BYTES: usize = 32;
/// The id of a vault key has this many bytes.
pub(super) const KEY_ID_BYTES: usize = 8;

/// A key-encryption key: 256 bits, which seal the keys of values and never a value itself. It is never
/// printed, and wiped from memory when it is dropped.
#[derive(Clone)]
pub struct VaultKey {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    id: KeyId,
}

impl VaultKey {
    /// Reads a key that is written as 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`Error::VaultKeyInvalid`] when it is none, or a digit repeated.
    pub fn parse(hex: &str) -> Result<Self, Error> {
        let invalid = |why| Error::VaultKeyInvalid { why };
        let hex = hex.trim();
        if hex.len() != 2 * KEY_BYTES {
            return Err(invalid("it does not have 64 characters"));
        }
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        HEXLOWER_PERMISSIVE
            .decode_mut(hex.as_bytes(), &mut *bytes)
            .map_err(|_| invalid("it has a character that is no hexadecimal digit"))?;
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err(invalid("it is one byte, repeated"));
        }
        Ok(Self::from_bytes(bytes))
    }

    /// A new key of 256 random bits.
    #[must_use]
    pub fn generate(random: &Random) -> Self {
        Self::from_bytes(Zeroizing::new(random.bytes()))
    }

    fn from_bytes(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        // A code under the key itself: it says which key this is, and nothing about it.
        let keyed = hmac::Key::new(hmac::HMAC_SHA256, &*bytes);
        let code = tag(&keyed, b"nexus vault: the id of this key");
        let mut id = [0; KEY_ID_BYTES];
        id.copy_from_slice(&code[..KEY_ID_BYTES]);
        Self {
            bytes,
            id: KeyId(id),
        }
    }

    /// The key as 64 hexadecimal digits: for showing it once to who keeps it.
    #[must_use]
    pub fn to_hex(&self) -> Secret {
        Secret::new(HEXLOWER.encode(&*self.bytes))
    }

    /// Which key this is.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn cipher(&self) -> Result<LessSafeKey, Unspecified> {
        cipher(&self.bytes)
    }
}

/// AES-256-GCM under a key.
pub(super) fn cipher(bytes: &[u8; KEY_BYTES]) -> Result<LessSafeKey, Unspecified> {
    UnboundKey::new(&AES_256_GCM, bytes).map(LessSafeKey::new)
}

impl fmt::Debug for VaultKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VaultKey({})", self.id)
    }
}

/// Which key it is; no secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub(super) [u8; KEY_ID_BYTES]);

impl KeyId {
    pub(super) fn parse(hex: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(hex.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The keys that a vault may use. With none nothing can be sealed.
#[derive(Debug, Clone, Default)]
pub struct VaultKeys {
    /// What seals.
    pub current: Option<VaultKey>,
    /// What also opens, while everything is being sealed anew with the current one.
    pub previous: Option<VaultKey>,
}

impl VaultKeys {
    /// One key, and none before it.
    #[must_use]
    pub fn one(current: VaultKey) -> Self {
        Self {
            current: Some(current),
            previous: None,
        }
    }

    /// The key with this id, if it is among them.
    pub(super) fn find(&self, id: KeyId) -> Option<&VaultKey> {
        let keys = [&self.current, &self.previous];
        keys.into_iter().flatten().find(|key| key.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_64_hexadecimal_digits() {
        let hex = "00112233445566778899aAbBcCdDeEfF00112233445566778899aabbccddeeff";
        let key = VaultKey::parse(&format!(" {hex}\n")).unwrap();
        assert_eq!(key.to_hex().expose(), hex.to_lowercase());
        let zeros = "0".repeat(64);
        for wrong in [
            "",
            &hex[1..],
            &format!("{hex}00"),
            &zeros,
            &hex.replace('f', "g"),
        ] {
            assert!(VaultKey::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_key_is_never_printed() {
        let key = VaultKey::generate(&Random::system());
        let printed = format!("{key:?} {:?}", VaultKeys::one(key.clone()));
        assert!(!printed.contains(key.to_hex().expose()), "{printed}");
        assert!(printed.contains(&key.id().to_string()), "{printed}");
        assert_eq!(KeyId::parse(&key.id().to_string()), Some(key.id()));
    }
}
