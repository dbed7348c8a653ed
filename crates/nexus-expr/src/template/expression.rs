//! One `{{ expression }}`: chosen among values by itself, or computed by MiniJinja.

use super::{
    TemplateContext,
    error::{RenderError, TemplateError},
    found::Found,
    jinja::Jinja,
    plain::{self, Plain},
    scope::Scope,
};

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Expression {
    kind: Kind,
    /// As it was written, for those who read why it cannot be rendered.
    text: String,
    /// Whether nothing of an event is in it.
    pub(crate) is_constant: bool,
}

#[derive(Debug)]
enum Kind {
    Plain(Plain),
    Jinja(Box<Jinja>),
}

impl Expression {
    /// Compiles the expression that stands at a byte of a text. Variables of the environment that are not
    /// set are added to `unset`.
    pub(crate) fn compile(
        text: &str,
        at: usize,
        expression: &str,
        context: &TemplateContext<'_>,
        unset: &mut Vec<String>,
    ) -> Result<Self, TemplateError> {
        let (kind, is_constant) = match plain::read(expression, context) {
            Some(Ok(read)) => {
                unset.extend(read.unset);
                (Kind::Plain(read.plain), read.is_constant)
            }
            Some(Err((part_at, message))) => {
                return Err(TemplateError::new(text, at + part_at, &message));
            }
            None => {
                let jinja = Jinja::expression(text, at, expression, context)?;
                unset.extend(jinja.unset().map(str::to_owned));
                let is_constant = jinja.is_constant();
                (Kind::Jinja(Box::new(jinja)), is_constant)
            }
        };
        Ok(Self {
            kind,
            text: expression.trim().to_owned(),
            is_constant,
        })
    }

    pub(crate) fn evaluate<'s>(&'s self, scope: &'s Scope<'_>) -> Result<Found<'s>, RenderError> {
        match &self.kind {
            Kind::Plain(plain) => Ok(plain.evaluate(scope)),
            Kind::Jinja(jinja) => jinja.evaluate(&self.text, scope),
        }
    }

    /// Writes what it gives into a text.
    pub(crate) fn write_text(
        &self,
        scope: &Scope<'_>,
        out: &mut String,
    ) -> Result<(), RenderError> {
        self.evaluate(scope)?.write_text(&self.text, out)
    }

    /// The text, if it is a choice among constants.
    pub(crate) fn constant(&self) -> Option<std::borrow::Cow<'_, str>> {
        match &self.kind {
            Kind::Plain(plain) if self.is_constant => plain.constant(),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}
