//! Finds which request a message answers that is too long to be held.

use super::Id;

/// An id has at most so many bytes here; those that Nexus gives have far fewer.
const WORD_BYTES_MAX: usize = 256;

/// Reads the outermost members of an object as it goes by, and holds none of it but names and the id.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    depth: u32,
    is_in_text: bool,
    is_escaped: bool,
    part: Part,
    word: Vec<u8>,
    id: Option<Vec<u8>>,
    is_call: bool,
}

/// What stands here in the outermost object.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    #[default]
    Name,
    Id,
    Other,
}

impl Scan {
    /// Reads on.
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        loop {
            // Most of what is too long to be held is a text that does not matter: it is not looked at byte by
            // byte, or a server could keep a processor busy by talking.
            if self.is_in_text && !self.is_escaped && !self.is_wanted() {
                let end = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                rest = &rest[end..];
            }
            let Some((byte, after)) = rest.split_first() else {
                return;
            };
            self.step(*byte);
            rest = after;
        }
    }

    /// The request that the message answers, if it does and all of it that matters was read.
    pub(crate) fn answered(&self) -> Option<Id> {
        let id = self.id.as_ref().filter(|_| !self.is_call)?;
        Id::read(std::str::from_utf8(id).ok()?).ok()?
    }

    fn step(&mut self, byte: u8) {
        if self.is_in_text {
            self.collect(byte);
            match (self.is_escaped, byte) {
                (true, _) => self.is_escaped = false,
                (false, b'\\') => self.is_escaped = true,
                (false, b'"') => self.is_in_text = false,
                (false, _) => {}
            }
            return;
        }
        match byte {
            b'"' => {
                self.is_in_text = true;
                self.collect(byte);
            }
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => {
                if self.depth == 1 {
                    self.end_member();
                }
                self.depth = self.depth.saturating_sub(1);
            }
            b':' if self.depth == 1 => self.begin_value(),
            b',' if self.depth == 1 => self.end_member(),
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => self.collect(byte),
        }
    }

    /// Whether what stands here is a name or the id.
    fn is_wanted(&self) -> bool {
        self.depth == 1 && self.part != Part::Other
    }

    fn collect(&mut self, byte: u8) {
        if self.is_wanted() && self.word.len() < WORD_BYTES_MAX {
            self.word.push(byte);
        }
    }

    fn begin_value(&mut self) {
        self.part = match self.word.as_slice() {
            b"\"id\"" => Part::Id,
            name => {
                self.is_call |= name == b"\"method\"";
                Part::Other
            }
        };
        self.word.clear();
    }

    fn end_member(&mut self) {
        let word = std::mem::take(&mut self.word);
        if self.part == Part::Id {
            self.id = Some(word);
        }
        self.part = Part::Name;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn answered(text: &str) -> Option<Id> {
        let mut scan = Scan::default();
        for piece in text.as_bytes().chunks(3) {
            scan.read(piece);
        }
        scan.answered()
    }

    #[test]
    fn the_id_of_an_answer_is_found_wherever_it_stands() {
        for text in [
            r#"{"jsonrpc":"2.0","id":7,"result":{"id":8,"text":"}, \"id\": 9"}}"#,
            r#" { "result" : [ {"id":1} , "\\" ] , "id" : 7 } "#,
            r#"{"result":{},"jsonrpc":"2.0","id":7"#,
            r#"{"id":7,"result":"cut off in the mid"#,
        ] {
            let expected = (!text.ends_with('7')).then_some(Id::Number(7));
            assert_eq!(answered(text), expected, "{text}");
        }
        let text = r#"{"id":"a\"b","error":{"code":1}}"#;
        assert_eq!(answered(text), Some(Id::Text("a\"b".into())));
    }

    #[test]
    fn what_answers_nothing_has_no_id() {
        for text in [
            r#"{"id":7,"method":"sampling/createMessage","params":{}}"#,
            r#"{"method":"notifications/message","params":{"id":7}}"#,
            r#"{"id":null,"error":{}}"#,
            r#"{"id":{"id":7},"result":1}"#,
            "no json",
            "",
        ] {
            assert_eq!(answered(text), None, "{text}");
        }
        let long = format!(r#"{{"id":"{}","result":1}}"#, "x".repeat(1_000));
        assert_eq!(answered(&long), None);
    }

    proptest! {
        #[test]
        fn any_answer_gives_its_id(id: i64, text: String, other: Vec<String>, is_first: bool) {
            let result = json!({"id": text, "other": other, "deep": [{"id": 5}]});
            let message = if is_first {
                format!(r#"{{"id":{id},"result":{result}}}"#)
            } else {
                format!(r#"{{"result":{result},"id":{id}}}"#)
            };
            prop_assert_eq!(answered(&message), Some(Id::Number(id)));
        }

        #[test]
        fn what_is_found_does_not_depend_on_the_pieces(text in r#"[\[\]{}:,"\\a-c0-9 ]{0,60}"#, at: usize) {
            let text = format!(r#"{{"id":7,"result":{text}"#);
            let (one, other) = text.as_bytes().split_at(at % (text.len() + 1));
            let mut whole = Scan::default();
            whole.read(text.as_bytes());
            let mut cut = Scan::default();
            cut.read(one);
            cut.read(other);
            prop_assert_eq!(whole.answered(), cut.answered());
            prop_assert_eq!(whole.answered(), answered(&text));
        }

        #[test]
        fn no_text_makes_it_fail(text: String) {
            let _ = answered(&text);
        }
    }
}
