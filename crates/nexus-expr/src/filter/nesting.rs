//! How deep a text is nested, told before a parser that recurses sees it.

use super::FILTER_DEPTH_MAX;
use crate::FilterError;

/// Refuses a text whose brackets and choices (`? :`) stand too deep in each other.
///
/// It counts brackets that are open and every `?` so far, outside of texts in quotes and comments: never
/// less than the parser's recursion.
pub(super) fn check(text: &str) -> Result<(), FilterError> {
    let bytes = text.as_bytes();
    let (mut open, mut choices, mut at) = (0_usize, 0_usize, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            b'?' => choices += 1,
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at += bytes[at..]
                    .iter()
                    .take_while(|byte| **byte != b'\n')
                    .count();
            }
            b'"' | b'\'' => {
                at = after_quoted(bytes, at);
                continue;
            }
            _ => {}
        }
        if open + choices > FILTER_DEPTH_MAX {
            return Err(FilterError::new(text, at, &too_deep()));
        }
        at += 1;
    }
    Ok(())
}

pub(super) fn too_deep() -> String {
    format!("a filter is nested at most {FILTER_DEPTH_MAX} levels deep")
}

/// Where the text goes on behind the quoted text that begins at `start`.
fn after_quoted(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let is_raw = start > 0 && bytes[start - 1].eq_ignore_ascii_case(&b'r');
    let is_triple = bytes[start..].starts_with(&[quote; 3]);
    let length = if is_triple { 3 } else { 1 };
    let mut at = start + length;
    while at < bytes.len() {
        if bytes[at] == b'\\' && !is_raw {
            at += 2;
            continue;
        }
        if bytes[at] == quote && (!is_triple || bytes[at..].starts_with(&[quote; 3])) {
            return at + length;
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_the_parser_recurses_over() {
        let nested = |depth: usize| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
        let chosen = |depth: usize| format!("{}1", "a ? b : ".repeat(depth));
        assert!(check(&nested(FILTER_DEPTH_MAX)).is_ok());
        assert!(check(&chosen(FILTER_DEPTH_MAX)).is_ok());
        assert!(check(&chosen(FILTER_DEPTH_MAX + 1)).is_err());
        let refused = check(&nested(FILTER_DEPTH_MAX + 1)).unwrap_err();
        assert_eq!((refused.line, refused.column), (1, 33));
    }

    #[test]
    fn texts_and_comments_do_not_count() {
        let brackets = "([{?".repeat(20);
        for text in [
            format!("topic == '{brackets}'"),
            format!("topic == \"a\\\"{brackets}\""),
            format!("topic == '''a'{brackets}'''"),
            format!("topic == r'{brackets}\\'"),
            format!("topic == 'a' // {brackets}"),
        ] {
            assert!(check(&text).is_ok(), "{text}");
            assert!(check(&format!("{text}\n || {brackets}")).is_err(), "{text}");
        }
    }
}
