//! A sealed value: encrypted with a key of its own, which is encrypted with the vault's key.
//!
//! ```text
//! format 1 | key id 8 | nonce 12 | wrapped data key 32 + 16 | nonce 12 | ciphertext n + 16
//! ```
//!
//! Both ciphers are AES-256-GCM. A data key encrypts one value once, so its nonce never repeats. A vault
//! key encrypts data keys only, each with 96 random bits as nonce, which is good for four billion of them.
//!
//! The wrapped key is bound to format, vault key and name; the ciphertext to format, name and version. So a
//! vault key can be replaced without touching the ciphertext, and nothing opens in another place.

use nexus_core::Random;
use ring::{
    aead::{Aad, NONCE_LEN, Nonce},
    error::Unspecified,
};
use zeroize::Zeroizing;

use super::keys::{KEY_BYTES, KEY_ID_BYTES, KeyId, VaultKey, cipher};

const FORMAT: u8 = 1;
const TAG_BYTES: usize = 16;
const WRAPPED_BYTES: usize = KEY_BYTES + TAG_BYTES;
/// What a sealed value has beside its plaintext.
pub(super) const OVERHEAD_BYTES: usize =
    1 + KEY_ID_BYTES + NONCE_LEN + WRAPPED_BYTES + NONCE_LEN + TAG_BYTES;

/// A sealed value, taken apart; nothing of it is trusted.
pub(super) struct Envelope<'a> {
    pub(super) key_id: KeyId,
    wrap_nonce: [u8; NONCE_LEN],
    wrapped: &'a [u8; WRAPPED_BYTES],
    /// The second nonce and the ciphertext, which a new vault key leaves as they are.
    value: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Takes a sealed value apart; nothing when it cannot be one.
    pub(super) fn read(sealed: &'a [u8]) -> Option<Self> {
        if sealed.len() < OVERHEAD_BYTES {
            return None;
        }
        let (&[format], rest) = sealed.split_first_chunk()?;
        let (key_id, rest) = rest.split_first_chunk()?;
        let (wrap_nonce, rest) = rest.split_first_chunk()?;
        let (wrapped, value) = rest.split_first_chunk()?;
        (format == FORMAT).then_some(Self {
            key_id: KeyId(*key_id),
            wrap_nonce: *wrap_nonce,
            wrapped,
            value,
        })
    }

    /// Opens the value with the vault key that its id names.
    pub(super) fn open(
        &self,
        key: &VaultKey,
        name: &str,
        version: u64,
    ) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
        let data_key = self.unwrap(key, name)?;
        let (nonce, ciphertext) = self.value.split_first_chunk().ok_or(Unspecified)?;
        let mut plain = Zeroizing::new(ciphertext.to_vec());
        let length = cipher(&data_key)?
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(value_context(name, version)),
                &mut plain,
            )?
            .len();
        plain.truncate(length);
        Ok(plain)
    }

    /// The same value under another vault key: only the wrapping is made anew.
    pub(super) fn rewrap(
        &self,
        from: &VaultKey,
        to: &VaultKey,
        name: &str,
        random: &Random,
    ) -> Result<Vec<u8>, Unspecified> {
        let data_key = self.unwrap(from, name)?;
        let mut sealed = wrap(&data_key, to, name, random, self.value.len())?;
        sealed.extend_from_slice(self.value);
        Ok(sealed)
    }

    fn unwrap(
        &self,
        key: &VaultKey,
        name: &str,
    ) -> Result<Zeroizing<[u8; KEY_BYTES]>, Unspecified> {
        if key.id() != self.key_id {
            return Err(Unspecified);
        }
        let mut wrapped = Zeroizing::new(*self.wrapped);
        let context = wrap_context(self.key_id, name);
        let nonce = Nonce::assume_unique_for_key(self.wrap_nonce);
        let opened = key
            .cipher()?
            .open_in_place(nonce, Aad::from(context), &mut *wrapped)?;
        let mut data_key = Zeroizing::new([0; KEY_BYTES]);
        data_key.copy_from_slice(opened);
        Ok(data_key)
    }
}

/// Seals a value under a name, as one version of it.
pub(super) fn seal(
    key: &VaultKey,
    name: &str,
    version: u64,
    plain: &[u8],
    random: &Random,
) -> Result<Vec<u8>, Unspecified> {
    let data_key = Zeroizing::new(random.bytes::<KEY_BYTES>());
    let mut sealed = wrap(&data_key, key, name, random, plain.len())?;
    let nonce = random.bytes::<NONCE_LEN>();
    sealed.extend_from_slice(&nonce);
    let begin = sealed.len();
    sealed.extend_from_slice(plain);
    let tag = cipher(&data_key)?.seal_in_place_separate_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(value_context(name, version)),
        &mut sealed[begin..],
    )?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

/// The part of a sealed value that stands before its second nonce, with room for the rest: a buffer that
/// grew would leave a copy of the plaintext behind.
fn wrap(
    data_key: &[u8; KEY_BYTES],
    key: &VaultKey,
    name: &str,
    random: &Random,
    value_bytes: usize,
) -> Result<Vec<u8>, Unspecified> {
    let nonce = random.bytes::<NONCE_LEN>();
    let mut wrapped = Zeroizing::new(*data_key);
    let tag = key.cipher()?.seal_in_place_separate_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(wrap_context(key.id(), name)),
        &mut *wrapped,
    )?;
    let mut sealed = Vec::with_capacity(OVERHEAD_BYTES + value_bytes);
    sealed.push(FORMAT);
    sealed.extend_from_slice(&key.id().0);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&*wrapped);
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

fn wrap_context(key_id: KeyId, name: &str) -> Vec<u8> {
    context("key", name, &key_id.0)
}

fn value_context(name: &str, version: u64) -> Vec<u8> {
    context("value", name, &version.to_be_bytes())
}

/// What a ciphertext is bound to. Each part stands behind its length, so that none can pass for two.
fn context(purpose: &str, name: &str, last: &[u8]) -> Vec<u8> {
    let mut context = Vec::with_capacity(64 + name.len());
    let format = [FORMAT];
    let parts = [b"nexus vault".as_slice(), &format, purpose.as_bytes()];
    let parts = parts.into_iter().chain(name.split('/').map(str::as_bytes));
    for part in parts.chain([last]) {
        context.extend_from_slice(&(part.len() as u64).to_be_bytes());
        context.extend_from_slice(part);
    }
    context
}

/// A code that only this key makes, for finding out whether it is the right one.
pub(super) fn check_value(key: &VaultKey, random: &Random) -> Result<Vec<u8>, Unspecified> {
    let nonce = random.bytes::<NONCE_LEN>();
    let tag = key.cipher()?.seal_in_place_separate_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(context("check", "", &key.id().0)),
        &mut [],
    )?;
    Ok([nonce.as_slice(), tag.as_ref()].concat())
}

/// Whether this key made the code.
pub(super) fn holds(key: &VaultKey, check: &[u8]) -> bool {
    let Some((nonce, tag)) = check.split_first_chunk() else {
        return false;
    };
    let mut tag = tag.to_vec();
    let context = Aad::from(context("check", "", &key.id().0));
    let nonce = Nonce::assume_unique_for_key(*nonce);
    key.cipher()
        .is_ok_and(|cipher| cipher.open_in_place(nonce, context, &mut tag).is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: &str = "node/flowpay/secret-1";

    fn key(seed: u64) -> VaultKey {
        VaultKey::generate(&Random::seeded(seed))
    }

    #[test]
    fn the_layout_is_as_written() {
        let key = key(1);
        let sealed = seal(&key, NAME, 7, b"plain", &Random::system()).unwrap();
        assert_eq!(OVERHEAD_BYTES, 97);
        assert_eq!(sealed.len(), OVERHEAD_BYTES + 5);
        assert_eq!(sealed[0], 1);
        assert_eq!(sealed[1..9], key.id().0);
        let again = seal(&key, NAME, 7, b"plain", &Random::system()).unwrap();
        assert_ne!(sealed[9..21], again[9..21], "the nonce is fresh");
        assert_ne!(sealed[21..69], again[21..69], "and so is the data key");
    }

    #[test]
    fn each_bit_counts() {
        let key = key(1);
        let sealed = seal(&key, NAME, 7, b"plain", &Random::system()).unwrap();
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut flipped = sealed.clone();
                flipped[at] ^= 1 << bit;
                let opened = Envelope::read(&flipped).map(|envelope| envelope.open(&key, NAME, 7));
                assert!(!matches!(opened, Some(Ok(_))), "byte {at}, bit {bit}");
            }
        }
        for length in 0..sealed.len() {
            let opened =
                Envelope::read(&sealed[..length]).map(|envelope| envelope.open(&key, NAME, 7));
            assert!(!matches!(opened, Some(Ok(_))), "{length} bytes");
        }
    }

    #[test]
    fn another_vault_key_leaves_the_ciphertext_alone() {
        let (old, new) = (key(1), key(2));
        let random = Random::system();
        let sealed = seal(&old, NAME, 7, b"plain", &random).unwrap();
        let envelope = Envelope::read(&sealed).unwrap();
        let rewrapped = envelope.rewrap(&old, &new, NAME, &random).unwrap();
        assert_eq!(sealed[69..], rewrapped[69..]);
        let envelope = Envelope::read(&rewrapped).unwrap();
        assert_eq!(&**envelope.open(&new, NAME, 7).unwrap(), b"plain");
        assert!(envelope.open(&old, NAME, 7).is_err());
        assert!(envelope.rewrap(&old, &new, NAME, &random).is_err());
    }

    #[test]
    fn a_check_value_knows_its_key() {
        let (one, other) = (key(1), key(2));
        let check = check_value(&one, &Random::system()).unwrap();
        assert!(holds(&one, &check));
        assert!(!holds(&other, &check));
        assert!(!holds(&one, &check[..check.len() - 1]));
        assert!(!holds(&one, b""));
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_as_it_was(plain: Vec<u8>, version: u64, seed: u64) {
            let key = key(seed);
            let sealed = seal(&key, NAME, version, &plain, &Random::seeded(!seed)).unwrap();
            prop_assert!(plain.len() < 16 || !sealed.windows(plain.len()).any(|part| part == plain));
            let envelope = Envelope::read(&sealed).unwrap();
            let opened = envelope.open(&key, NAME, version).unwrap();
            prop_assert_eq!(&**opened, &plain[..]);
            prop_assert!(envelope.open(&key, NAME, version ^ 1).is_err());
            prop_assert!(envelope.open(&key, "node/flowpay/secret-2", version).is_err());
        }

        #[test]
        fn what_is_no_sealed_value_is_refused(bytes: Vec<u8>) {
            let opened = Envelope::read(&bytes).map(|envelope| envelope.open(&key(1), NAME, 1));
            prop_assert!(!matches!(opened, Some(Ok(_))));
        }
    }
}
