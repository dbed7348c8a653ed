//! Names that MiniJinja looks up only when it comes to them: filters, tests, statements. A mistake in one is
//! told when the template is read.

use super::environment;
use crate::template::blocks::{Block, Kind};

/// Statements that a template may hold.
const STATEMENTS: [&str; 9] = [
    "if", "elif", "else", "endif", "for", "endfor", "set", "with", "endwith",
];

/// Statements that give a name to what they compute.
const BINDING: [&str; 3] = ["set", "with", "for"];
/// What a template binds, one from the other, may be joined of so many parts in all: steps do not bound how
/// large a value is that is joined with itself again and again.
const PARTS_MAX: usize = 16;

/// Checks the statements and expressions of a text.
///
/// # Errors
/// The byte at which a name stands that is not known, and what to tell.
pub(crate) fn check_blocks(blocks: &[Block<'_>]) -> Result<(), (usize, String)> {
    let mut parts = 1_usize;
    for block in blocks {
        // `{%- if` and its like only say what becomes of white space.
        let inner = block.text.trim_start_matches(['-', '+']).trim_start();
        let at = block.at + (block.text.len() - inner.len());
        let moved = |(word_at, message): (usize, String)| (at + word_at, message);
        match block.kind {
            Kind::Statement => {
                let word = inner.split_whitespace().next().unwrap_or_default();
                let name = word.trim_end_matches(['-', '+']);
                if !STATEMENTS.contains(&name) {
                    return Err(moved((0, format!("there is no statement {name:?} here"))));
                }
                check(inner).map_err(moved)?;
                if BINDING.contains(&name) {
                    parts = parts.saturating_mul(1 + joints(inner));
                }
                if parts > PARTS_MAX {
                    let message = format!("what is bound may have {PARTS_MAX} parts in all");
                    return Err(moved((0, message)));
                }
            }
            Kind::Expression => check(inner).map_err(moved)?,
            Kind::Text | Kind::Comment => {}
        }
    }
    Ok(())
}

/// Checks the filters and tests of an expression.
///
/// # Errors
/// As [`check_blocks`].
pub(super) fn check(expression: &str) -> Result<(), (usize, String)> {
    let tokens = tokens(expression);
    for (n, token) in tokens.iter().enumerate() {
        let next = tokens.get(n + 1);
        let Token::Word(at, word) = *token else {
            continue;
        };
        let before = n.checked_sub(1).and_then(|n| tokens.get(n));
        match before {
            Some(Token::Sign('|')) if !environment::has_filter(word) => {
                return Err((at, format!("there is no filter {word:?}")));
            }
            Some(Token::Word(_, "is")) if word != "not" && !environment::has_test(word) => {
                return Err((at, format!("there is no test {word:?}")));
            }
            Some(Token::Word(_, "not"))
                if n.checked_sub(2)
                    .and_then(|n| tokens.get(n))
                    .is_some_and(is_word_is)
                    && !environment::has_test(word) =>
            {
                return Err((at, format!("there is no test {word:?}")));
            }
            Some(Token::Sign('.')) if matches!(next, Some(Token::Sign('('))) => {
                return Err((at, format!("values have no methods: write x | {word}")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// How often something is joined with something.
fn joints(text: &str) -> usize {
    let joins = |token: &&Token<'_>| matches!(token, Token::Sign('~' | '+' | ','));
    tokens(text).iter().filter(joins).count()
}

/// Where a name stands by itself, not as a member of another.
pub(super) fn find(part: &str, name: &str) -> Option<usize> {
    let tokens = tokens(part);
    let mut before = None;
    for token in tokens {
        match (before, token) {
            (Some(Token::Sign('.')), _) => {}
            (_, Token::Word(at, word)) if word == name => return Some(at),
            _ => {}
        }
        before = Some(token);
    }
    None
}

fn is_word_is(token: &Token<'_>) -> bool {
    matches!(token, Token::Word(_, "is"))
}

#[derive(Debug, Clone, Copy)]
enum Token<'t> {
    Word(usize, &'t str),
    Sign(char),
}

/// The words and signs outside of texts.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == '"' || c == '\'' {
            while let Some((_, inner)) = chars.next() {
                if inner == '\\' {
                    chars.next();
                } else if inner == c {
                    break;
                }
            }
            tokens.push(Token::Sign(c));
        } else if is_part(c) {
            let mut end = at + c.len_utf8();
            while let Some((part_at, part)) = chars.next_if(|(_, c)| is_part(*c)) {
                end = part_at + part.len_utf8();
            }
            tokens.push(Token::Word(at, &text[at..end]));
        } else if !c.is_whitespace() {
            tokens.push(Token::Sign(c));
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_known_are_found_with_their_place() {
        for (text, at) in [
            ("payload.x | uper", 12),
            ("payload.x|upper|uper", 16),
            ("payload.x is defned", 13),
            ("payload.x is not defned", 17),
            ("'| a' ~ payload.x | b", 20),
            ("payload.x.upper()", 10),
        ] {
            assert_eq!(check(text).unwrap_err().0, at, "{text}");
        }
        for text in [
            "payload.x | upper | default('| nope')",
            "payload.x is not defined or payload.y is string",
            "not payload.x",
            "payload.is.not.x",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }
}
