//! The parts of a template: text, `{{ expressions }}`, `{% statements %}` and `{# comments #}`.

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Expression,
    Statement,
    Comment,
}

/// One part: without its brackets, with the byte at which it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block<'t> {
    pub(crate) kind: Kind,
    pub(crate) at: usize,
    pub(crate) text: &'t str,
}

/// The parts in their order.
///
/// # Errors
/// The byte at which something begins that does not end, and what to tell.
pub(crate) fn split(text: &str) -> Result<Vec<Block<'_>>, (usize, &'static str)> {
    const OPEN: [(&str, Kind, &str); 3] = [
        ("{{", Kind::Expression, "this {{ has no }}"),
        ("{%", Kind::Statement, "this {% has no %}"),
        ("{#", Kind::Comment, "this {# has no #}"),
    ];
    let mut blocks = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let opened = OPEN
            .into_iter()
            .filter_map(|open| rest.find(open.0).map(|found| (found, open)))
            .min_by_key(|(found, _)| *found);
        let Some((found, (open, kind, message))) = opened else {
            blocks.push(Block {
                kind: Kind::Text,
                at,
                text: rest,
            });
            break;
        };
        if found > 0 {
            blocks.push(Block {
                kind: Kind::Text,
                at,
                text: &rest[..found],
            });
        }
        let inner_at = at + found + open.len();
        let inner = &text[inner_at..];
        let length = match kind {
            Kind::Comment => inner.find("#}"),
            Kind::Statement => end(inner, "%}"),
            _ => end(inner, "}}"),
        };
        let length = length.ok_or((at + found, message))?;
        blocks.push(Block {
            kind,
            at: inner_at,
            text: &inner[..length],
        });
        at = inner_at + length + 2;
    }
    Ok(blocks)
}

/// Where the closing brackets are that stand neither in a text nor within others.
fn end(text: &str, close: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut quote) = (0, 0_usize, None);
    while let Some(byte) = bytes.get(at) {
        match (quote, byte) {
            (Some(_), b'\\') => at += 1,
            (Some(open), _) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, _) if depth == 0 && bytes[at..].starts_with(close.as_bytes()) => {
                return Some(at);
            }
            (None, b'{' | b'[' | b'(') => depth += 1,
            (None, b'}' | b']' | b')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_told_apart() {
        let text = r#"a {{ x["}}"] }}b{% if y %}{{ {"k": {"m": 1}} }}{# }} #}"#;
        let parts: Vec<_> = split(text)
            .unwrap()
            .into_iter()
            .map(|block| (block.kind, block.text))
            .collect();
        assert_eq!(
            parts,
            [
                (Kind::Text, "a "),
                (Kind::Expression, r#" x["}}"] "#),
                (Kind::Text, "b"),
                (Kind::Statement, " if y "),
                (Kind::Expression, r#" {"k": {"m": 1}} "#),
                (Kind::Comment, " }} "),
            ]
        );
        assert_eq!(split("}} a { b %}").unwrap().len(), 1);
        assert_eq!(split("").unwrap(), []);
    }

    #[test]
    fn what_does_not_end_is_told_with_its_place() {
        for (text, at) in [("é {{ x", 3), ("{% a", 0), ("{{ x }}{#", 7), ("{{ '}}", 0)] {
            assert_eq!(split(text).unwrap_err().0, at, "{text}");
        }
    }
}
