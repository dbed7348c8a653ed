//! Takes secrets out of what a server says.

use std::borrow::Cow;

use http::HeaderName;
use nexus_auth::Secret;
use nexus_core::write_json_string;
use url::Url;
use zeroize::Zeroizing;

/// What stands where a secret was.
const REDACTED: &[u8] = b"[redacted]";
/// Shorter values are no secrets: they would be found everywhere.
const CHARS_MIN: usize = 6;
/// In results only what surely is a credential is taken out: a folder or a word that was configured may
/// well be part of an answer.
const CREDENTIAL_CHARS_MIN: usize = 16;

/// Knows the secrets of one server.
pub struct Redactor {
    /// The longest first, so that of two that begin alike the whole one is taken out.
    all: Vec<Needle>,
    credentials: Vec<Needle>,
}

/// A text that is looked for.
struct Needle {
    text: Zeroizing<Vec<u8>>,
}

impl Redactor {
    /// Learns the secrets.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut all = Vec::new();
        for secret in secrets {
            let whole = secret.expose();
            // Of `Bearer …` a server may repeat the second word alone.
            let last = whole.rsplit(' ').next().unwrap_or(whole);
            for text in [whole, last] {
                if text.chars().count() >= CHARS_MIN {
                    all.push(Zeroizing::new(text.as_bytes().to_vec()));
                    all.push(Zeroizing::new(in_json(text)));
                }
            }
        }
        all.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| (**a).cmp(&**b)));
        all.dedup();
        let credentials = all.iter().filter(|text| is_credential(text)).cloned();
        Self {
            credentials: credentials.map(Needle::new).collect(),
            all: all.into_iter().map(Needle::new).collect(),
        }
    }

    /// Learns the secrets of a server at an address: the values of its headers, and the keys that some want in
    /// the query of the address.
    pub(crate) fn of_address(url: &Url, headers: &[(HeaderName, Secret)]) -> Self {
        let written = url.query().unwrap_or_default().split('&');
        let written = written.filter_map(|pair| Some(pair.split_once('=')?.1.to_owned()));
        let meant = url.query_pairs().map(|(_, value)| value.into_owned());
        let keys: Vec<Secret> = written
            .chain(meant)
            .filter(|value| is_credential(value.as_bytes()))
            .map(Secret::new)
            .collect();
        Self::new(headers.iter().map(|(_, value)| value).chain(&keys))
    }

    /// Whether it knows no secret.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// A message without the credentials in it.
    #[must_use]
    pub fn message<'a>(&self, message: &'a [u8]) -> Cow<'a, [u8]> {
        let mut message = Cow::Borrowed(message);
        for needle in &self.credentials {
            if let Some(without) = needle.take_out(&message) {
                message = Cow::Owned(without);
            }
        }
        message
    }

    /// A text for people without any secret in it.
    #[must_use]
    pub fn text(&self, text: &[u8]) -> String {
        let mut text = Cow::Borrowed(text);
        for needle in &self.all {
            if let Some(without) = needle.take_out(&text) {
                text = Cow::Owned(without);
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The end of a text that was cut off in front: what a secret may have left there is dropped.
    #[must_use]
    pub(crate) fn tail(&self, text: &[u8]) -> String {
        let longest = self.all.first().map_or(0, |needle| needle.text.len());
        // The latest place where a secret can end that began before the text does, moved behind each secret
        // that stands across it.
        let mut start = longest.saturating_sub(1).min(text.len());
        loop {
            let ends = self.all.iter().flat_map(|needle| {
                let length = needle.text.len();
                let places = needle.places(text);
                places.map(move |at| (at, at + length))
            });
            let mut across = ends.filter(|(from, to)| *from < start && start < *to);
            match across.next() {
                Some((_, to)) => start = to,
                None => break,
            }
        }
        self.text(&text[start..])
    }
}

impl Needle {
    fn new(text: Zeroizing<Vec<u8>>) -> Self {
        Self { text }
    }

    fn places<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        memchr::memmem::find_iter(text, self.text.as_slice())
    }

    /// The text without this; nothing when it does not have it.
    fn take_out(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut found = self.places(text).peekable();
        found.peek()?;
        let (mut out, mut from) = (Vec::with_capacity(text.len()), 0);
        for at in found {
            out.extend_from_slice(&text[from..at]);
            out.extend_from_slice(REDACTED);
            from = at + self.text.len();
        }
        out.extend_from_slice(&text[from..]);
        Some(out)
    }
}

/// A text as it stands in JSON, without the quotes.
fn in_json(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_json_string(&mut out, text);
    out.pop();
    out.remove(0);
    out
}

/// Whether a value looks like a key or a token, and not like a word, a sentence, a path or an address.
fn is_credential(text: &[u8]) -> bool {
    let has = |is: fn(&u8) -> bool| text.iter().any(is);
    text.len() >= CREDENTIAL_CHARS_MIN
        && !text.starts_with(b"/")
        && !text.windows(3).any(|three| three == b"://")
        && !has(u8::is_ascii_whitespace)
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_alphabetic)
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor")
            .field("secrets", &self.all.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "BSAfK3yT0ken1234567890";

    fn redactor(secrets: &[&str]) -> Redactor {
        let secrets: Vec<_> = secrets.iter().map(|text| Secret::new(*text)).collect();
        Redactor::new(&secrets)
    }

    #[test]
    fn a_credential_is_taken_out_of_messages_and_a_word_is_not() {
        let redactor = redactor(&[
            KEY,
            "information",
            "/srv/ana/my-projects1",
            "a\"b1cdefghijklmnop",
        ]);
        let message =
            format!(r#"{{"text":"{KEY} information /srv/ana/my-projects1","x":"{KEY}"}}"#);
        let expected =
            br#"{"text":"[redacted] information /srv/ana/my-projects1","x":"[redacted]"}"#;
        assert_eq!(*redactor.message(message.as_bytes()), expected[..]);
        let escaped = br#"{"text":"a\"b1cdefghijklmnop"}"#;
        let expected = br#"{"text":"[redacted]"}"#;
        assert_eq!(*redactor.message(escaped), expected[..]);
        let untouched = redactor.message(b"{}");
        assert!(matches!(untouched, Cow::Borrowed(_)));
    }

    #[test]
    fn people_see_no_secret_at_all_nor_the_word_after_bearer() {
        let redactor = redactor(&["Bearer tok-en", "hunter2", "short"]);
        let text = redactor.text(b"got 'Bearer tok-en', tok-en, hunter2 and short");
        assert_eq!(text, "got '[redacted]', [redacted], [redacted] and short");
        assert!(!format!("{redactor:?}").contains("hunter2"));
    }

    #[test]
    fn a_key_in_the_query_of_an_address_is_a_secret_too() {
        let address = "https://mcp.example.com/mcp?mode=all&key=BSAfK3%2FT0ken1234567890";
        let redactor = Redactor::of_address(&Url::parse(address).unwrap(), &[]);
        let text = redactor.text(b"BSAfK3%2FT0ken1234567890 is BSAfK3/T0ken1234567890 in mode all");
        assert_eq!(text, "[redacted] is [redacted] in mode all");
        let message = redactor.message(br#"{"url":"?key=BSAfK3%2FT0ken1234567890"}"#);
        assert_eq!(*message, br#"{"url":"?key=[redacted]"}"#[..]);
        let plain = Url::parse("https://mcp.example.com/mcp?mode=all").unwrap();
        assert!(Redactor::of_address(&plain, &[]).is_empty());
    }

    proptest! {
        #[test]
        fn no_part_of_a_secret_is_left_where_a_text_was_cut(
            before in "[ -~]{0,40}", between in "[x ]{0,30}", cut in 0_usize..120,
        ) {
            let redactor = redactor(&[KEY, "hunter2"]);
            let text = format!("{before}{KEY}{between}{KEY}{between}hunter2");
            let cut = cut.min(text.len());
            let tail = redactor.tail(&text.as_bytes()[cut..]);
            for part in KEY.as_bytes().windows(8) {
                let part = std::str::from_utf8(part).unwrap();
                prop_assert!(!tail.contains(part), "{part} in {tail}");
            }
        }
    }
}
