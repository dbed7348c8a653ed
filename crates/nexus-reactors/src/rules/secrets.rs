//! Keeps values of the environment out of what people are shown of a call.

use nexus_core::Exchange;
use url::Url;

/// A shorter value is no secret, and would be found everywhere.
const SECRET_BYTES_MIN: usize = 6;
/// A segment of a path that is as long may be a token, as in the addresses of chats.
const TOKEN_BYTES_MIN: usize = 16;
const HIDDEN: &str = "***";

/// Values that are not shown.
#[derive(Clone, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// Adds values that headers and bodies hold, also as JSON writes them.
    pub(super) fn add(&mut self, values: Vec<String>) {
        let is_secret = |value: &String| value.len() >= SECRET_BYTES_MIN;
        for value in values.into_iter().filter(is_secret) {
            // A string always serialises.
            let printed = serde_json::to_string(&value).unwrap_or_default();
            let inner = printed
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'));
            if let Some(inner) = inner.filter(|inner| **inner != value) {
                self.0.push(inner.to_owned());
            }
            self.0.push(value);
        }
    }

    /// Adds values that an address holds. Where it leads is no secret, and its query is never shown; a
    /// path that holds a token is.
    pub(super) fn add_of_address(&mut self, values: Vec<String>) {
        for value in values {
            match value.parse::<Url>() {
                Ok(url) if url.has_host() => {
                    let path = url.path().trim_end_matches('/');
                    if path.split('/').any(|part| part.len() >= TOKEN_BYTES_MIN) {
                        self.add(vec![path.to_owned()]);
                    }
                }
                _ => self.add(vec![value]),
            }
        }
    }

    /// Hides them in a text.
    pub(super) fn hide(&self, text: &str) -> String {
        let mut shown = text.to_owned();
        for secret in &self.0 {
            if shown.contains(secret) {
                shown = shown.replace(secret, HIDDEN);
            }
        }
        shown
    }

    /// Hides them in what is kept of a call.
    pub(super) fn hide_in(&self, exchange: &mut Exchange) {
        if self.0.is_empty() {
            return;
        }
        exchange.url = self.hide(&exchange.url);
        for (_, value) in &mut exchange.headers {
            *value = self.hide(value);
        }
        for bytes in [&mut exchange.body, &mut exchange.answer] {
            let text = String::from_utf8_lossy(bytes);
            let is_in = self.0.iter().any(|secret| text.contains(secret));
            if is_in {
                *bytes = self.hide(&text).into();
            }
        }
    }
}
