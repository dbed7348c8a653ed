//! Templates that give an address: where it leads is fixed by whoever wrote it, and what an event fills in
//! can only be a value in it.

use std::fmt;

use super::{
    TemplateContext,
    blocks::Kind,
    error::{RenderError, TemplateError},
    found::push,
    scope::Scope,
    text::{self, Piece},
};

/// An address with `{{ expressions }}` in it, compiled once.
///
/// Scheme, host and port stand in the text or come from the environment. What comes from an event stands
/// behind them and is percent-encoded, so it is one segment of the path or one value of the query, whatever
/// the event holds. A slash between a variable of the environment and what follows is there once.
///
/// ```
/// use nexus_expr::{TemplateContext, UrlTemplate};
///
/// let env = |name: &str| (name == "FACTORY").then(|| "https://factory.example/".to_owned());
/// let context = TemplateContext { env: &env, ..TemplateContext::default() };
/// let url = UrlTemplate::compile("{{ env.FACTORY }}/api/mint/{{ payload.orderId }}", &context)?;
/// assert_eq!(url.base(), "https://factory.example/api/mint/");
///
/// let refused = UrlTemplate::compile("https://{{ payload.host }}/api", &context).unwrap_err();
/// assert_eq!(refused.column, 12);
/// # Ok::<(), nexus_expr::TemplateError>(())
/// ```
pub struct UrlTemplate {
    text: String,
    /// What stands before the first value of an event.
    base: String,
    rest: Vec<Piece>,
    unset: Vec<String>,
}

impl UrlTemplate {
    /// Compiles an address.
    ///
    /// # Errors
    /// [`TemplateError`], with the place in the text: also when the host would come from an event.
    pub fn compile(text: &str, context: &TemplateContext<'_>) -> Result<Self, TemplateError> {
        let blocks = text::split(text)?;
        if text::is_computed_whole(&blocks) {
            let at = blocks
                .iter()
                .find(|block| block.kind != Kind::Text)
                .map_or(0, |block| block.at);
            let message = "in an address there are only {{ expressions }}";
            return Err(TemplateError::new(text, at, message));
        }
        let mut unset = Vec::new();
        let pieces = text::pieces(text, &blocks, context, &mut unset)?;
        let mut base = String::new();
        let mut rest = Vec::new();
        let mut ends_in_variable = false;
        for (piece, block) in pieces.into_iter().zip(&blocks) {
            let constant = match &piece {
                Piece::Text(text) => Some(text.clone()),
                Piece::Expression(expression) => expression.constant().map(String::from),
            };
            match constant {
                Some(constant) if rest.is_empty() => {
                    if ends_in_variable && constant.starts_with('/') {
                        base.truncate(base.trim_end_matches('/').len());
                    }
                    base.push_str(&constant);
                    ends_in_variable = block.kind == Kind::Expression;
                }
                // Text stays as it is, also behind a value.
                Some(constant) => rest.push(Piece::Text(constant)),
                None => {
                    // What is not set is told, and never called.
                    if rest.is_empty() && unset.is_empty() && !has_host(&base) {
                        let at = block.at + (block.text.len() - block.text.trim_start().len());
                        let message =
                            "the host of an address does not come from an event, nor from a filter";
                        return Err(TemplateError::new(text, at, message));
                    }
                    rest.push(piece);
                }
            }
        }
        Ok(Self {
            text: text.to_owned(),
            base,
            rest,
            unset,
        })
    }

    /// The text that it was compiled from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The part of the address that is the same for every event. Variables of the environment are in it.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether the whole address is the same for every event.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        self.rest.is_empty()
    }

    /// The variables of the environment that it needs and that are not set.
    #[must_use]
    pub fn unset(&self) -> &[String] {
        &self.unset
    }

    /// The address for an event.
    ///
    /// # Errors
    /// [`RenderError`]: something that it asks for is missing, or a segment would be `.` or `..`, which
    /// leads to another path.
    pub fn render(&self, scope: &Scope<'_>) -> Result<String, RenderError> {
        let mut out = self.base.clone();
        let mut value = String::new();
        for piece in &self.rest {
            match piece {
                Piece::Text(text) => push(&mut out, text)?,
                Piece::Expression(expression) => {
                    value.clear();
                    expression.write_text(scope, &mut value)?;
                    push_encoded(&mut out, &value)?;
                }
            }
        }
        if !self.rest.is_empty() && leads_elsewhere(&out) {
            return Err(RenderError::failed(
                "a segment of the address would be . or ..",
            ));
        }
        Ok(out)
    }
}

impl fmt::Debug for UrlTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UrlTemplate").field(&self.text).finish()
    }
}

/// Whether nothing behind it can still belong to the host.
fn has_host(base: &str) -> bool {
    base.split_once("://").is_some_and(|(_, rest)| {
        rest.contains(['/', '?', '#']) && !rest.starts_with(['/', '?', '#'])
    })
}

/// Percent-encodes everything but letters, digits, `-`, `.`, `_` and `~`.
fn push_encoded(out: &mut String, text: &str) -> Result<(), RenderError> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            push(out, char::from(byte).encode_utf8(&mut [0; 4]))?;
        } else {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            push(out, "%")?;
            push(out, char::from(HEX[high]).encode_utf8(&mut [0; 4]))?;
            push(out, char::from(HEX[low]).encode_utf8(&mut [0; 4]))?;
        }
    }
    Ok(())
}

fn leads_elsewhere(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.split(['/', '\\']).any(|segment| {
        let segment = segment.to_ascii_lowercase().replace("%2e", ".");
        segment == "." || segment == ".."
    })
}
