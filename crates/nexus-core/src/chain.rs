//! The hashes that make the log tamper-evident: of an event, of what it commits to, of a batch.

use ring::digest::{Context, SHA256};
use uuid::Uuid;

use crate::{Seq, Source, Topic};

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// `SHA-256(salt, key, causes, payload)`, each with its length before it, so that no two different
/// lists of fields are the same bytes.
#[must_use]
pub fn commitment(salt: &[u8; 16], key: Option<&str>, causes: &[u8], payload: &[u8]) -> Digest {
    let mut hash = Fields::new();
    // An absent key differs from an empty one.
    let key = key.map(|key| key.as_bytes());
    hash.field(salt);
    hash.raw(&[u8::from(key.is_some())]);
    hash.field(key.unwrap_or_default());
    hash.field(causes);
    hash.field(payload);
    hash.finish()
}

/// `SHA-256(id, topic, source, commitment)`, fields length-prefixed.
#[must_use]
pub fn leaf(id: Uuid, topic: &Topic, source: &Source, commitment: &Digest) -> Digest {
    let mut hash = Fields::new();
    hash.field(id.as_bytes());
    hash.field(topic.as_str().as_bytes());
    hash.field(source.as_str().as_bytes());
    hash.field(commitment);
    hash.finish()
}

/// `SHA-256(previous, first, last, time, leaves)`: the link of one batch in the chain.
#[must_use]
pub fn batch_hash<'a>(
    previous: &Digest,
    first: Seq,
    last: Seq,
    time_us: i64,
    leaves: impl IntoIterator<Item = &'a Digest>,
) -> Digest {
    let mut hash = Fields::new();
    hash.field(previous);
    hash.field(&first.get().to_be_bytes());
    hash.field(&last.get().to_be_bytes());
    hash.field(&time_us.to_be_bytes());
    for leaf in leaves {
        hash.field(leaf);
    }
    hash.finish()
}

/// `SHA-256` of some bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Digest {
    let mut hash = Fields::new();
    hash.raw(bytes);
    hash.finish()
}

/// What most events have fits into so many bytes.
const GATHERED_BYTES: usize = 512;

/// A hash over fields, each with its length before it. Short fields are gathered first: to hand each to the
/// hash alone costs nearly as much as the hash itself.
pub(crate) struct Fields {
    hash: Context,
    gathered: [u8; GATHERED_BYTES],
    used: usize,
}

impl Fields {
    pub(crate) fn new() -> Self {
        Self {
            hash: Context::new(&SHA256),
            gathered: [0; GATHERED_BYTES],
            used: 0,
        }
    }

    pub(crate) fn field(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.raw(&length.to_be_bytes());
        self.raw(bytes);
    }

    /// Bytes without their length.
    fn raw(&mut self, bytes: &[u8]) {
        let free = &mut self.gathered[self.used..];
        if let Some(place) = free.get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
            self.used += bytes.len();
        } else {
            self.hash.update(&self.gathered[..self.used]);
            self.hash.update(bytes);
            self.used = 0;
        }
    }

    pub(crate) fn finish(mut self) -> Digest {
        self.hash.update(&self.gathered[..self.used]);
        let mut digest = [0; 32];
        digest.copy_from_slice(self.hash.finish().as_ref());
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_any_length_are_hashed_as_one_text() {
        for length in [0, 1, 63, 500, 507, 508, 509, 512, 2_000] {
            let long = vec![7; length];
            let mut text = vec![0, 0, 0, 16];
            text.extend([9; 16]);
            text.extend([1, 0, 0, 0, 1, b'k', 0, 0, 0, 2, b'{', b'}']);
            text.extend(u32::try_from(length).unwrap().to_be_bytes());
            text.extend(&long);
            let whole = ring::digest::digest(&SHA256, &text);
            let digest = commitment(&[9; 16], Some("k"), b"{}", &long);
            assert_eq!(digest, whole.as_ref(), "{length}");
        }
    }

    #[test]
    fn a_commitment_tells_fields_apart() {
        let base = commitment(&[0; 16], Some("ab"), b"c", b"d");
        assert_ne!(base, commitment(&[0; 16], Some("a"), b"bc", b"d"));
        assert_ne!(base, commitment(&[1; 16], Some("ab"), b"c", b"d"));
        assert_ne!(
            commitment(&[0; 16], None, b"", b""),
            commitment(&[0; 16], Some(""), b"", b"")
        );
    }
}
