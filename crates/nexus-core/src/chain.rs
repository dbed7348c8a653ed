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
    let mut hash = Context::new(&SHA256);
    // An absent key differs from an empty one.
    let key = key.map(|key| key.as_bytes());
    field(&mut hash, salt);
    hash.update(&[u8::from(key.is_some())]);
    field(&mut hash, key.unwrap_or_default());
    field(&mut hash, causes);
    field(&mut hash, payload);
    finish(hash)
}

/// `SHA-256(id, topic, source, commitment)`, fields length-prefixed.
#[must_use]
pub fn leaf(id: Uuid, topic: &Topic, source: &Source, commitment: &Digest) -> Digest {
    let mut hash = Context::new(&SHA256);
    field(&mut hash, id.as_bytes());
    field(&mut hash, topic.as_str().as_bytes());
    field(&mut hash, source.as_str().as_bytes());
    field(&mut hash, commitment);
    finish(hash)
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
    let mut hash = Context::new(&SHA256);
    field(&mut hash, previous);
    field(&mut hash, &first.get().to_be_bytes());
    field(&mut hash, &last.get().to_be_bytes());
    field(&mut hash, &time_us.to_be_bytes());
    for leaf in leaves {
        field(&mut hash, leaf);
    }
    finish(hash)
}

/// `SHA-256` of some bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Digest {
    let mut hash = Context::new(&SHA256);
    hash.update(bytes);
    finish(hash)
}

pub(crate) fn field(hash: &mut Context, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    hash.update(&length.to_be_bytes());
    hash.update(bytes);
}

pub(crate) fn finish(hash: Context) -> Digest {
    let mut digest = [0; 32];
    digest.copy_from_slice(hash.finish().as_ref());
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

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
