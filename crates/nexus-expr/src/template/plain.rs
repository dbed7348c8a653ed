//! Expressions that only choose among values: `payload.orderId or payload.transactionId`.
//!
//! Most of what people write is of this kind. It is read here and not by MiniJinja, because a value then
//! goes through as its sender wrote it, and nothing but what is chosen is looked at.

use std::{borrow::Cow, iter::Peekable, str::CharIndices};

use super::{
    TemplateContext,
    found::Found,
    names::{self, Field, Named, Root},
    scope::{Scope, Step},
};

/// Values of which the first that is true is chosen, else the last.
#[derive(Debug, Clone)]
pub(crate) struct Plain(Vec<Operand>);

/// One value that can be chosen.
#[derive(Clone, PartialEq)]
enum Operand {
    Field(Field),
    Path(Root, Vec<Step>),
    /// A number, `true`, `false` or `null`.
    Fixed(String),
    /// A text that stands in the template, or in a variable of the environment.
    Text(String),
    /// A variable of the environment that is not set.
    Unset,
}

impl std::fmt::Debug for Operand {
    /// Leaves out texts: a variable of the environment may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Field(field) => write!(f, "{field:?}"),
            Self::Path(root, steps) => write!(f, "{root:?}{steps:?}"),
            Self::Fixed(text) => f.write_str(text),
            Self::Text(_) => f.write_str("Text"),
            Self::Unset => f.write_str("Unset"),
        }
    }
}

/// What was read of a plain expression.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) plain: Plain,
    /// Variables of the environment that are not set, and behind which no other value stands.
    pub(crate) unset: Vec<String>,
    /// Whether all its values come from the environment and the template itself.
    pub(crate) is_constant: bool,
}

impl Plain {
    pub(crate) fn evaluate<'s>(&'s self, scope: &'s Scope<'_>) -> Found<'s> {
        let mut found = Found::Nothing;
        for operand in &self.0 {
            found = operand.evaluate(scope);
            if found.is_true() {
                break;
            }
        }
        found
    }

    /// The text, if it is known before there is an event.
    pub(crate) fn constant(&self) -> Option<Cow<'_, str>> {
        let mut chosen = None;
        for operand in &self.0 {
            chosen = match operand {
                Operand::Text(text) => Some(Cow::Borrowed(text.as_str())),
                Operand::Fixed(text) => Some(Cow::Borrowed(text.as_str())),
                _ => None,
            };
            if chosen.as_ref().is_some_and(|text| !text.is_empty()) {
                break;
            }
        }
        chosen
    }
}

impl Operand {
    fn evaluate<'s>(&'s self, scope: &'s Scope<'_>) -> Found<'s> {
        match self {
            Self::Field(field) => scope.field(*field),
            Self::Path(root, steps) => scope.walk(*root, steps),
            Self::Fixed(text) => Found::Raw(text),
            Self::Text(text) => Found::Text(Cow::Borrowed(text)),
            Self::Unset => Found::Nothing,
        }
    }
}

/// Reads an expression if it is of this kind.
///
/// # Errors
/// For one that is, but names what is not known: the byte at which, and what to tell.
pub(crate) fn read(
    text: &str,
    context: &TemplateContext<'_>,
) -> Option<Result<Read, (usize, String)>> {
    let written = parse(text)?;
    let count = written.len();
    let mut read = Read {
        plain: Plain(Vec::with_capacity(count)),
        unset: Vec::new(),
        is_constant: true,
    };
    for (n, (at, operand)) in written.into_iter().enumerate() {
        let operand = match operand {
            Written::Fixed(text) => Operand::Fixed(text),
            Written::Text(text) => Operand::Text(text),
            Written::Path(steps) => match bind(&steps, context) {
                Ok(Bound::Value(operand)) => {
                    read.is_constant = false;
                    operand
                }
                Ok(Bound::Variable(name)) => match (context.env)(&name) {
                    Some(value) => Operand::Text(value),
                    None => {
                        if n + 1 == count {
                            read.unset.push(name);
                        }
                        Operand::Unset
                    }
                },
                Err(message) => return Some(Err((at, message))),
            },
        };
        read.plain.0.push(operand);
    }
    Some(Ok(read))
}

enum Bound {
    Value(Operand),
    Variable(String),
}

fn bind(steps: &[Step], context: &TemplateContext<'_>) -> Result<Bound, String> {
    // Names up to the first `[0]`: what has a meaning by itself comes before any.
    let names: Vec<&str> = steps
        .iter()
        .map_while(|step| match step {
            Step::Member(name) => Some(name.as_str()),
            Step::Item(_) => None,
        })
        .collect();
    Ok(match names::resolve(&names, context)? {
        Named::Root(root, taken) => Bound::Value(Operand::Path(root, steps[taken..].to_vec())),
        Named::Field(field) if names.len() == steps.len() => Bound::Value(Operand::Field(field)),
        Named::Variable(name) if names.len() == steps.len() => Bound::Variable(name),
        Named::Field(_) | Named::Variable(_) => {
            return Err(format!("{} has no items", names.join(".")));
        }
    })
}

/// A value as it is written.
enum Written {
    Path(Vec<Step>),
    Fixed(String),
    Text(String),
}

/// The values between which `or` stands, each with the byte at which it begins; nothing for an expression
/// of another kind.
fn parse(text: &str) -> Option<Vec<(usize, Written)>> {
    let mut reader = Reader {
        text,
        chars: text.char_indices().peekable(),
    };
    let mut operands = Vec::new();
    loop {
        reader.skip_space();
        let at = reader.at();
        operands.push((at, reader.operand()?));
        reader.skip_space();
        if reader.chars.peek().is_none() {
            return Some(operands);
        }
        if reader.word()? != "or" {
            return None;
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    chars: Peekable<CharIndices<'t>>,
}

impl<'t> Reader<'t> {
    fn at(&mut self) -> usize {
        self.chars.peek().map_or(self.text.len(), |(at, _)| *at)
    }

    fn skip_space(&mut self) {
        while self
            .chars
            .next_if(|(_, c)| c.is_ascii_whitespace())
            .is_some()
        {}
    }

    fn take(&mut self, wanted: char) -> bool {
        self.chars.next_if(|(_, c)| *c == wanted).is_some()
    }

    /// What comes next of characters of this kind.
    fn run(&mut self, is_part: impl Fn(char) -> bool) -> &'t str {
        let start = self.at();
        while self.chars.next_if(|(_, c)| is_part(*c)).is_some() {}
        let end = self.at();
        &self.text[start..end]
    }

    fn word(&mut self) -> Option<&'t str> {
        let word = self.run(|c| c.is_ascii_alphanumeric() || c == '_');
        let first = word.chars().next()?;
        (!first.is_ascii_digit()).then_some(word)
    }

    fn operand(&mut self) -> Option<Written> {
        let (_, first) = *self.chars.peek()?;
        match first {
            '"' | '\'' => self.string().map(Written::Text),
            '-' | '0'..='9' => {
                let number = self.run(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
                // What is no number in JSON may still be one in MiniJinja.
                serde_json::from_str::<serde_json::Number>(number).ok()?;
                Some(Written::Fixed(number.to_owned()))
            }
            _ => match self.word()? {
                "true" | "True" => Some(Written::Fixed("true".to_owned())),
                "false" | "False" => Some(Written::Fixed("false".to_owned())),
                "none" | "None" | "null" => Some(Written::Fixed("null".to_owned())),
                "not" | "and" | "or" | "in" | "is" | "if" | "else" => None,
                word => self.path(word),
            },
        }
    }

    fn path(&mut self, first: &str) -> Option<Written> {
        let mut steps = vec![Step::Member(first.to_owned())];
        loop {
            if self.take('.') {
                steps.push(Step::Member(self.word()?.to_owned()));
            } else if self.take('[') {
                let (_, next) = *self.chars.peek()?;
                steps.push(match next {
                    '"' | '\'' => Step::Member(self.string()?),
                    _ => Step::Item(self.run(|c| c.is_ascii_digit()).parse().ok()?),
                });
                if !self.take(']') {
                    return None;
                }
            } else {
                return Some(Written::Path(steps));
            }
        }
    }

    /// A text in quotation marks. One with a backslash is left to MiniJinja.
    fn string(&mut self) -> Option<String> {
        let (_, quote) = self.chars.next()?;
        let text = self.run(|c| c != quote && c != '\\');
        self.take(quote).then(|| text.to_owned())
    }
}
