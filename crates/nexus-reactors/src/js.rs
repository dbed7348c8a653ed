//! JSON as JavaScript prints it: what `JSON.stringify(JSON.parse(text))` gives.
//!
//! Receivers that verify a signature over what they parsed and printed again need to be sent exactly
//! that. One thing differs on purpose: a number that a double cannot hold stays as it was written, because
//! an amount that changes on its way is worse than a signature that does not fit.

mod number;

use std::collections::HashMap;

use number::print_number;

/// Arrays and objects may stand this deep in each other: events are no deeper, so the stack suffices.
const DEPTH_MAX: usize = 128;

/// The text as JavaScript prints it; nothing when it is not JSON.
pub(crate) fn stringify(text: &str) -> Option<String> {
    let mut reader = Reader { text, at: 0 };
    let mut out = String::with_capacity(text.len());
    reader.value(&mut out, DEPTH_MAX)?;
    reader.skip_space();
    (reader.at == text.len()).then_some(out)
}

/// Reads JSON from left to right and prints as it goes.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes the byte if it comes next, behind white space.
    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn value(&mut self, out: &mut String, depth_left: usize) -> Option<()> {
        self.skip_space();
        match self.peek()? {
            b'{' => self.object(out, depth_left.checked_sub(1)?),
            b'[' => self.array(out, depth_left.checked_sub(1)?),
            b'"' => {
                let token = self.string()?;
                print_string(token, out)
            }
            b'-' | b'0'..=b'9' => {
                let token = self.number();
                out.push_str(&print_number(token)?);
                Some(())
            }
            _ => {
                let word = ["null", "true", "false"]
                    .into_iter()
                    .find(|word| self.text[self.at..].starts_with(word))?;
                self.at += word.len();
                out.push_str(word);
                Some(())
            }
        }
    }

    fn array(&mut self, out: &mut String, depth_left: usize) -> Option<()> {
        self.at += 1;
        out.push('[');
        if !self.take(b']') {
            loop {
                self.value(out, depth_left)?;
                if self.take(b']') {
                    break;
                }
                if !self.take(b',') {
                    return None;
                }
                out.push(',');
            }
        }
        out.push(']');
        Some(())
    }

    /// JavaScript keeps members in the order they came, but puts those whose name is an array index
    /// before all others, by number. Of two with one name the last value counts, in the first's place.
    fn object(&mut self, out: &mut String, depth_left: usize) -> Option<()> {
        self.at += 1;
        let mut members: Vec<(Option<u32>, String, String)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        if !self.take(b'}') {
            loop {
                self.skip_space();
                let token = self.string()?;
                let mut name = String::with_capacity(token.len());
                print_string(token, &mut name)?;
                if !self.take(b':') {
                    return None;
                }
                let mut value = String::new();
                self.value(&mut value, depth_left)?;
                match places.get(&name) {
                    Some(place) => members[*place].2 = value,
                    None => {
                        places.insert(name.clone(), members.len());
                        members.push((array_index(&name), name, value));
                    }
                }
                if self.take(b'}') {
                    break;
                }
                if !self.take(b',') {
                    return None;
                }
            }
        }
        // Stable: names that are no index stay in their order, behind the indexes.
        members.sort_by_key(|(index, _, _)| index.unwrap_or(u32::MAX));
        out.push('{');
        for (n, (_, name, value)) in members.iter().enumerate() {
            if n > 0 {
                out.push(',');
            }
            out.push_str(name);
            out.push(':');
            out.push_str(value);
        }
        out.push('}');
        Some(())
    }

    /// The string that comes next, with its quotation marks.
    fn string(&mut self) -> Option<&'a str> {
        let start = self.at;
        if self.peek()? != b'"' {
            return None;
        }
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.text.get(start..self.at)
    }

    fn number(&mut self) -> &'a str {
        let start = self.at;
        while matches!(
            self.peek(),
            Some(b'+' | b'-' | b'.' | b'e' | b'E' | b'0'..=b'9')
        ) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }
}

/// Prints a string: JavaScript escapes what has to be escaped, in the same way as serde_json does.
fn print_string(token: &str, out: &mut String) -> Option<()> {
    if token.contains('\\') {
        let text: String = serde_json::from_str(token).ok()?;
        out.push_str(&serde_json::to_string(&text).ok()?);
    } else {
        if token.bytes().any(|b| b < 0x20) {
            return None;
        }
        out.push_str(token);
    }
    Some(())
}

/// The array index that a printed name stands for: `"0"` up to `"4294967294"`.
fn array_index(name: &str) -> Option<u32> {
    let digits = name.strip_prefix('"')?.strip_suffix('"')?;
    let is_plain = digits.bytes().all(|b| b.is_ascii_digit());
    if !is_plain || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    digits.parse().ok().filter(|index| *index < u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn strings_objects_and_arrays_are_printed_as_javascript_prints_them() {
        for (written, printed) in [
            (
                r#" { "b" : 1 , "a" : [ true , null ] } "#,
                r#"{"b":1,"a":[true,null]}"#,
            ),
            (
                r#"{"b":0,"10":1,"9":2,"a":3,"01":4}"#,
                r#"{"9":2,"10":1,"b":0,"a":3,"01":4}"#,
            ),
            (
                r#"{"4294967295":1,"4294967294":2,"-1":3}"#,
                r#"{"4294967294":2,"4294967295":1,"-1":3}"#,
            ),
            (r#"{"\u0061":1,"a":2,"\u0031":3}"#, r#"{"1":3,"a":2}"#),
            (r#""\u00e9\/\u0041 \ud83d\ude00""#, r#""é/A 😀""#),
            (
                r#""\u0008\u0009\u000a\u000c\u000d\u0022\u005c""#,
                r#""\b\t\n\f\r\"\\""#,
            ),
            (
                r#""\u0000\u001F\u007f\u2028""#,
                "\"\\u0000\\u001f\u{7f}\u{2028}\"",
            ),
            ("[]", "[]"),
            ("{}", "{}"),
            ("[[1.0],[]]", "[[1],[]]"),
        ] {
            assert_eq!(stringify(written).as_deref(), Some(printed), "{written}");
        }
    }

    /// Looked for one by one, so many names would hold up a thread for minutes.
    #[test]
    fn very_many_members_are_printed_too() {
        let members: Vec<String> = (0..500_000).map(|n| format!("\"m{n}\":{n}")).collect();
        let text = format!("{{{}}}", members.join(","));
        assert_eq!(stringify(&text).as_deref(), Some(&*text));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            "nul",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "-",
            "[1,]",
            "[1 2]",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "\"",
            "\"\\\"",
            "\"\\ud800\"",
            "\"\n\"",
            "1 2",
            "{1:2}",
            "NaN",
            "[",
        ] {
            assert_eq!(stringify(text), None, "{text:?}");
        }
        assert_eq!(stringify(&"[".repeat(100_000)), None);
    }

    proptest! {
        #[test]
        fn printing_again_changes_nothing(text in "[\\[\\]{}:,\"0-9a-c.eE+\\\\ -]{0,24}") {
            if let Some(printed) = stringify(&text) {
                prop_assert_eq!(stringify(&printed), Some(printed.clone()));
                prop_assert!(serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok());
            }
        }
    }
}
