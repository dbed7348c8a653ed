//! Rust source as tidy reads it: comments, literals and unit tests blanked, lines kept, paths found in the rest.

/// Source in which everything but code is spaces; offsets and lines are those of the file.
#[derive(Debug)]
pub(crate) struct Code {
    text: String,
}

/// A name in the code, with the byte offset where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Name<'code> {
    at: usize,
    text: &'code str,
}

impl Code {
    pub(crate) fn of(source: &str) -> Self {
        let mut bytes = blank_comments_and_literals(source.as_bytes());
        blank_unit_tests(&mut bytes);
        Self {
            // Only whole runs were blanked, and code outside literals is left as it was.
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    /// The lines on which a path begins with this crate: `name::…`, `use name`, `extern crate name`.
    pub(crate) fn lines_naming_crate(&self, name: &str) -> Vec<usize> {
        self.roots(name)
            .filter(|found| {
                let after = self.text[found.at + name.len()..].trim_start();
                let before = self.word_before(found.at);
                after.starts_with("::") || before == "use" || before == "crate"
            })
            .map(|found| self.line_of(found.at))
            .collect()
    }

    /// The lines on which `root::child` is named, alone or in a `use root::{…}`.
    pub(crate) fn lines_naming_path(&self, root: &str, child: &str) -> Vec<usize> {
        let mut lines = Vec::new();
        for found in self.roots(root) {
            let after = self.text[found.at + root.len()..].trim_start();
            let Some(after) = after.strip_prefix("::").map(str::trim_start) else {
                continue;
            };
            let hit = match after.strip_prefix('{') {
                Some(group) => group_heads(group).contains(&child),
                None => leading_name(after) == child,
            };
            if hit {
                lines.push(self.line_of(found.at));
            }
        }
        lines
    }

    /// The lines on which this macro is called.
    pub(crate) fn lines_calling_macro(&self, name: &str) -> Vec<usize> {
        self.names()
            .filter(|found| {
                found.text == name && self.text[found.at + name.len()..].starts_with('!')
            })
            .map(|found| self.line_of(found.at))
            .collect()
    }

    /// Names that stand at the beginning of a path.
    fn roots<'code>(&'code self, name: &'code str) -> impl Iterator<Item = Name<'code>> {
        self.names()
            .filter(move |found| found.text == name && self.begins_path(found.at))
    }

    fn begins_path(&self, at: usize) -> bool {
        let before = self.text[..at].trim_end();
        if before.ends_with('.') && !before.ends_with("..") {
            return false;
        }
        match before.strip_suffix("::") {
            // `::name` begins a path, `other::name` and `Type<_>::name` do not.
            Some(before) => !before.ends_with(|last: char| is_name(last) || last == '>'),
            None => true,
        }
    }

    fn word_before(&self, at: usize) -> &str {
        let before = self.text[..at].trim_end().trim_end_matches(':').trim_end();
        let start = before.rfind(|c: char| !is_name(c)).map_or(0, |at| at + 1);
        &before[start..]
    }

    fn names(&self) -> impl Iterator<Item = Name<'_>> {
        let mut rest = 0;
        std::iter::from_fn(move || {
            let start = rest + self.text[rest..].find(is_name)?;
            let length = self.text[start..]
                .find(|c| !is_name(c))
                .unwrap_or(self.text.len() - start);
            rest = start + length;
            Some(Name {
                at: start,
                text: &self.text[start..rest],
            })
        })
    }

    fn line_of(&self, at: usize) -> usize {
        1 + self.text[..at].matches('\n').count()
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn leading_name(text: &str) -> &str {
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    &text[..end]
}

/// The first name of each member of a `{a::b, c, d::{e}}` whose opening brace was taken off.
fn group_heads(group: &str) -> Vec<&str> {
    let mut heads = Vec::new();
    let mut depth = 0_usize;
    let mut member = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                heads.push(leading_name(group[member..at].trim_start()));
                member = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    heads
}

fn blank_comments_and_literals(source: &[u8]) -> Vec<u8> {
    let mut out = source.to_vec();
    let mut at = 0;
    while at < source.len() {
        let end = match source[at] {
            b'/' if source[at..].starts_with(b"//") => line_end(source, at),
            b'/' if source[at..].starts_with(b"/*") => block_comment_end(source, at),
            b'"' => string_end(source, at),
            b'r' if !continues_name(source, at) => raw_string_end(source, at).unwrap_or(at),
            b'\'' => char_end(source, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            at += 1;
        } else {
            blank(&mut out[at..end]);
            at = end;
        }
    }
    out
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

/// `br"…"` and `cr"…"` are raw strings too, a name that ends in `r` is not.
fn continues_name(source: &[u8], at: usize) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let mut before = source[..at].iter().rev();
    match before.next() {
        Some(b'b' | b'c') => before.next().is_some_and(is_name),
        Some(byte) => is_name(byte),
        None => false,
    }
}

fn line_end(source: &[u8], at: usize) -> usize {
    let length = source[at..].iter().position(|byte| *byte == b'\n');
    length.map_or(source.len(), |length| at + length)
}

fn block_comment_end(source: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at < source.len() {
        if source[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if source[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    source.len()
}

fn string_end(source: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < source.len() {
        match source[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    source.len()
}

fn raw_string_end(source: &[u8], start: usize) -> Option<usize> {
    let hashes = source[start + 1..]
        .iter()
        .take_while(|b| **b == b'#')
        .count();
    let open = start + 1 + hashes;
    if source.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let length = source[open + 1..]
        .windows(close.len())
        .position(|window| window == close);
    Some(length.map_or(source.len(), |length| open + 1 + length + close.len()))
}

/// A character literal; `None` for a lifetime.
fn char_end(source: &[u8], start: usize) -> Option<usize> {
    if source.get(start + 1) == Some(&b'\\') {
        let length = source[start + 3..].iter().position(|byte| *byte == b'\'')?;
        return Some(start + 3 + length + 1);
    }
    let text = std::str::from_utf8(source.get(start + 1..source.len().min(start + 6))?);
    let first = match text {
        Ok(text) => text.chars().next()?.len_utf8(),
        Err(error) if error.valid_up_to() > 0 => {
            let text = std::str::from_utf8(&source[start + 1..start + 1 + error.valid_up_to()]);
            text.ok()?.chars().next()?.len_utf8()
        }
        Err(_) => return None,
    };
    let close = start + 1 + first;
    (source.get(close) == Some(&b'\'')).then_some(close + 1)
}

/// Blanks each item under `#[cfg(test)]`.
fn blank_unit_tests(code: &mut [u8]) {
    const MARK: &[u8] = b"#[cfg(test)]";
    let mut from = 0;
    while let Some(found) = code[from..].windows(MARK.len()).position(|w| w == MARK) {
        let start = from + found;
        let end = item_end(code, start + MARK.len());
        blank(&mut code[start..end]);
        from = end;
    }
}

/// An item ends with its first `;` outside braces, or with the brace that closes its first.
fn item_end(code: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.iter().enumerate().skip(start) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return at + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_literals_and_unit_tests_are_not_code() {
        let source = r###"
            // sqlx::query
            /* sqlx:: /* nested sqlx:: */ sqlx:: */
            const A: &str = "sqlx::\" sqlx::";
            const B: &str = r#"sqlx::" sqlx::"#;
            const C: char = '"'; const D: char = '\''; const E: char = 'é';
            fn lifetime<'a>(a: &'a str) -> &'a str { a }
            #[cfg(test)]
            mod tests { fn f() { { sqlx::x(); } } }
            fn real() { sqlx::query("sqlx::") }
        "###;
        assert_eq!(Code::of(source).lines_naming_crate("sqlx"), [10]);
    }

    #[test]
    fn a_crate_is_named_only_at_the_beginning_of_a_path() {
        let named = |source: &str| !Code::of(source).lines_naming_crate("sqlx").is_empty();
        for yes in [
            "use sqlx::Row;",
            "use sqlx;",
            "use ::sqlx::Row;",
            "extern crate sqlx;",
            "let a = <X as sqlx::Row>::get();",
            "for x in 0..sqlx::MAX {}",
        ] {
            assert!(named(yes), "{yes}");
        }
        for no in [
            "use crate::sqlx::Row;",
            "self.sqlx.get()",
            "let sqlx = 1;",
            "sqlx_like::x()",
            "Vec::<u8>::sqlx::x()",
        ] {
            assert!(!named(no), "{no}");
        }
    }

    #[test]
    fn a_path_is_found_alone_and_in_a_group() {
        let lines = |source: &str| Code::of(source).lines_naming_path("std", "env");
        assert_eq!(lines("fn f() {\n std::env::var(\"A\"); }"), [2]);
        assert_eq!(lines("use std::{fs::{self, File},\n env, io};"), [1]);
        assert_eq!(lines("use std::{env::{self, var}, io};"), [1]);
        assert!(lines("use std::{fs::{env}, io};").is_empty());
        assert!(lines("use crate::std::env;").is_empty());
    }
}
