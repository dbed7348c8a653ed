//! Templates that give a text.

use std::fmt;

use super::{
    TEMPLATE_BYTES_MAX, TemplateContext,
    blocks::{self, Block, Kind},
    error::{RenderError, TemplateError},
    expression::Expression,
    found::push,
    jinja::{self, Jinja},
    scope::Scope,
};

/// A text with `{{ expressions }}` in it, compiled once.
///
/// ```
/// use nexus_expr::{Template, TemplateContext};
///
/// let context = TemplateContext::default();
/// let template = Template::compile("mint:{{ payload.transactionId or payload.orderId }}", &context)?;
/// assert_eq!(template.text(), "mint:{{ payload.transactionId or payload.orderId }}");
///
/// let refused = Template::compile("mint:{{ pyload.orderId }}", &context).unwrap_err();
/// assert_eq!((refused.line, refused.column), (1, 9));
/// # Ok::<(), nexus_expr::TemplateError>(())
/// ```
pub struct Template {
    text: String,
    body: Body,
    unset: Vec<String>,
}

enum Body {
    Pieces(Vec<Piece>),
    Whole(Box<Jinja>),
}

/// A part of a text.
pub(crate) enum Piece {
    Text(String),
    Expression(Expression),
}

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    /// [`TemplateError`], with the place in the text.
    pub fn compile(text: &str, context: &TemplateContext<'_>) -> Result<Self, TemplateError> {
        let blocks = split(text)?;
        let mut unset = Vec::new();
        let body = if is_computed_whole(&blocks) {
            jinja::check_blocks(&blocks)
                .map_err(|(at, message)| TemplateError::new(text, at, &message))?;
            let whole = Jinja::whole(text, context)?;
            unset.extend(whole.unset().map(str::to_owned));
            Body::Whole(Box::new(whole))
        } else {
            Body::Pieces(pieces(text, &blocks, context, &mut unset)?)
        };
        Ok(Self {
            text: text.to_owned(),
            body,
            unset,
        })
    }

    /// The text that it was compiled from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The variables of the environment that it needs and that are not set.
    #[must_use]
    pub fn unset(&self) -> &[String] {
        &self.unset
    }

    /// The text for an event.
    ///
    /// # Errors
    /// [`RenderError`]: something that it asks for is missing, or it would be too large.
    pub fn render(&self, scope: &Scope<'_>) -> Result<String, RenderError> {
        let mut out = String::with_capacity(self.text.len());
        self.write(scope, &mut out)?;
        Ok(out)
    }

    /// The text for an event; nothing when something that it asks for is missing.
    ///
    /// # Errors
    /// [`RenderError`] for every other reason.
    pub fn render_if_there(&self, scope: &Scope<'_>) -> Result<Option<String>, RenderError> {
        match self.render(scope) {
            Ok(text) => Ok(Some(text)),
            Err(RenderError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn write(&self, scope: &Scope<'_>, out: &mut String) -> Result<(), RenderError> {
        match &self.body {
            Body::Pieces(pieces) => pieces.iter().try_for_each(|piece| match piece {
                Piece::Text(text) => push(out, text),
                Piece::Expression(expression) => expression.write_text(scope, out),
            }),
            Body::Whole(jinja) => jinja
                .evaluate(&self.text, scope)?
                .write_text(&self.text, out),
        }
    }

    /// The text, if nothing is to be filled in.
    pub(crate) fn fixed(&self) -> Option<&str> {
        match &self.body {
            Body::Pieces(pieces) => match pieces.as_slice() {
                [] => Some(""),
                [Piece::Text(text)] => Some(text),
                _ => None,
            },
            Body::Whole(_) => None,
        }
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.text).finish()
    }
}

/// The parts of a text that may be a template.
pub(crate) fn split(text: &str) -> Result<Vec<Block<'_>>, TemplateError> {
    if text.len() > TEMPLATE_BYTES_MAX {
        let message = format!("a template is at most {TEMPLATE_BYTES_MAX} bytes long");
        return Err(TemplateError::new(text, 0, &message));
    }
    blocks::split(text).map_err(|(at, message)| TemplateError::new(text, at, message))
}

/// Whether MiniJinja has to see the text as a whole: for its statements, and for white space that is to
/// be cut off.
pub(crate) fn is_computed_whole(blocks: &[Block<'_>]) -> bool {
    blocks.iter().any(|block| match block.kind {
        Kind::Text => false,
        Kind::Statement | Kind::Comment => true,
        Kind::Expression => block.text.starts_with(['-', '+']) || block.text.ends_with(['-', '+']),
    })
}

/// Compiles the parts one by one.
pub(crate) fn pieces(
    text: &str,
    blocks: &[Block<'_>],
    context: &TemplateContext<'_>,
    unset: &mut Vec<String>,
) -> Result<Vec<Piece>, TemplateError> {
    blocks
        .iter()
        .map(|block| match block.kind {
            Kind::Text => Ok(Piece::Text(block.text.to_owned())),
            _ => Expression::compile(text, block.at, block.text, context, unset)
                .map(Piece::Expression),
        })
        .collect()
}
