//! The causes of an event as they are stored, taken apart without decoding them.

use uuid::Uuid;

use super::text::write_uuid;

/// What an event shows of its causes: each the JSON string as it is stored, quotes included.
///
/// A member's text is written on as it is, so nothing is decoded only to be encoded again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RawCauses<'a> {
    /// Whether the causes are known: they are not those of an erased event.
    is_known: bool,
    correlation_id: Option<&'a [u8]>,
    pub(super) causation_id: Option<&'a [u8]>,
    pub(super) origin_id: Option<&'a [u8]>,
    pub(super) occurred_at: Option<&'a [u8]>,
    pub(super) traceparent: Option<&'a [u8]>,
}

impl<'a> RawCauses<'a> {
    /// Takes apart what [`crate::Causes`] serialises to: one flat, compact object of strings and
    /// numbers. What is not one, such as the `null` of an erased event, has nothing to show.
    pub(super) fn of(causes: &'a [u8]) -> Self {
        let mut found = Self::default();
        let Some(mut rest) = causes.strip_prefix(b"{") else {
            return found;
        };
        found.is_known = true;
        while let Some((name, after)) = string(rest) {
            let Some(value) = after.strip_prefix(b":") else {
                break;
            };
            let after = if let Some((text, after)) = string(value) {
                match name {
                    b"\"correlation_id\"" => found.correlation_id = Some(text),
                    b"\"causation_id\"" => found.causation_id = Some(text),
                    b"\"origin_id\"" => found.origin_id = Some(text),
                    b"\"occurred_at\"" => found.occurred_at = Some(text),
                    b"\"traceparent\"" => found.traceparent = Some(text),
                    _ => {}
                }
                after
            } else {
                let end = value.iter().position(|byte| *byte == b',');
                &value[end.unwrap_or(value.len())..]
            };
            let Some(after) = after.strip_prefix(b",") else {
                break;
            };
            rest = after;
        }
        found
    }

    /// Writes a member for the chain that the event `id` belongs to: its own if it names no other. Writes
    /// nothing, and says so, if that is not known.
    pub(super) fn write_correlation(&self, out: &mut Vec<u8>, before: &[u8], id: Uuid) -> bool {
        if !self.is_known {
            return false;
        }
        out.extend_from_slice(before);
        if let Some(text) = self.correlation_id {
            out.extend_from_slice(text);
        } else {
            out.push(b'"');
            write_uuid(out, id);
            out.push(b'"');
        }
        true
    }
}

/// The JSON string that the text begins with, quotes included, and what follows it.
fn string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if text.first() != Some(&b'"') {
        return None;
    }
    let mut n = 1 + plain_bytes(&text[1..]);
    loop {
        match text.get(n)? {
            b'"' => return Some(text.split_at(n + 1)),
            b'\\' => n += 2,
            _ => n += 1,
        }
    }
}

/// So many bytes can be passed over, eight at a time, before a quote or a backslash may come.
fn plain_bytes(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = ONES << 7;
    let has = |word: u64, byte: u8| {
        // A byte that is the one looked for becomes zero, and only below a zero is a bit borrowed.
        let word = word ^ (ONES * u64::from(byte));
        word.wrapping_sub(ONES) & !word & HIGH_BITS != 0
    };
    let (words, _) = text.as_chunks::<8>();
    let plain = words.iter().take_while(|word| {
        let word = u64::from_ne_bytes(**word);
        !has(word, b'"') && !has(word, b'\\')
    });
    plain.count() * size_of::<u64>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Causes;

    fn decoded(raw: Option<&[u8]>) -> Option<String> {
        raw.map(|raw| serde_json::from_slice(raw).unwrap())
    }

    #[test]
    fn what_is_no_object_has_nothing_to_show() {
        for text in [
            "null",
            "",
            "{",
            "{}",
            "[]",
            "{\"origin_id",
            "{\"origin_id\":\"a\\",
        ] {
            let nothing = RawCauses {
                is_known: text.starts_with('{'),
                ..RawCauses::default()
            };
            assert_eq!(RawCauses::of(text.as_bytes()), nothing, "{text}");
        }
    }

    #[test]
    fn who_names_no_chain_began_one() {
        let written = |causes: &[u8]| {
            let mut out = Vec::new();
            let is_known =
                RawCauses::of(causes).write_correlation(&mut out, b"c:", Uuid::from_u128(1));
            is_known.then(|| String::from_utf8(out).unwrap())
        };
        let own = "c:\"00000000-0000-0000-0000-000000000001\"";
        assert_eq!(written(b"{}").as_deref(), Some(own));
        let other = br#"{"correlation_id":"x"}"#;
        assert_eq!(written(other).as_deref(), Some("c:\"x\""));
        assert_eq!(written(b"null"), None);
    }

    proptest! {
        #[test]
        fn finds_what_serde_wrote(
            ids in any::<[Option<u128>; 2]>(),
            texts in any::<[Option<String>; 6]>(),
            ttl_s: Option<u32>,
            hops in 0_u32..3,
        ) {
            let [origin_id, occurred_at, origin_source, request_id, remote, traceparent] = texts;
            let causes = Causes {
                correlation_id: ids[0].map(Uuid::from_u128),
                causation_id: ids[1].map(Uuid::from_u128),
                origin_id,
                occurred_at,
                origin_source,
                request_id,
                remote,
                traceparent,
                ttl_s,
                hops,
            };
            let text = serde_json::to_vec(&causes).unwrap();
            let raw = RawCauses::of(&text);
            prop_assert_eq!(decoded(raw.correlation_id), causes.correlation_id.map(|id| id.to_string()));
            prop_assert_eq!(decoded(raw.causation_id), causes.causation_id.map(|id| id.to_string()));
            prop_assert_eq!(decoded(raw.origin_id), causes.origin_id);
            prop_assert_eq!(decoded(raw.occurred_at), causes.occurred_at);
            prop_assert_eq!(decoded(raw.traceparent), causes.traceparent);
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = RawCauses::of(&bytes);
        }
    }
}
