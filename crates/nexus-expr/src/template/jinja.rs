//! Expressions and texts that MiniJinja computes, and what its values are in JSON.

mod environment;
mod node;
mod words;

pub(crate) use words::check_blocks;

use std::{
    fmt,
    io::{self, Write},
    sync::Arc,
};

use minijinja::{
    Environment, Error, Expression, Value,
    value::{Object, ValueKind},
};

use super::{
    RENDERED_BYTES_MAX, TemplateContext,
    error::{RenderError, TemplateError},
    found::{Found, push, push_json_string},
    names::{self, Field, Named, Root},
    scope::Scope,
};

/// Lists and objects that a template made are written this deep.
const DEPTH_MAX: usize = 32;
/// The name of the one template in an environment.
const WHOLE: &str = "template";

/// What MiniJinja computes for an event.
pub(crate) struct Jinja {
    program: Program,
    used: Vec<Used>,
}

enum Program {
    /// `{{ expression }}`: gives a value.
    Expression(Expression<'static, 'static>),
    /// A text with statements in it; in an environment that holds it alone.
    Whole(Box<Environment<'static>>),
}

/// Something of the scope that is handed to MiniJinja.
#[derive(Clone, PartialEq)]
enum Used {
    Field(String, Field),
    Payload,
    Request,
    Response,
    /// A variable of the environment and its value.
    Variable(String, Option<String>),
}

impl fmt::Debug for Jinja {
    /// Leaves out values of the environment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jinja")
    }
}

impl Jinja {
    /// Compiles the expression that stands at a byte of a text.
    pub(crate) fn expression(
        text: &str,
        at: usize,
        expression: &str,
        context: &TemplateContext<'_>,
    ) -> Result<Self, TemplateError> {
        words::check(expression)
            .map_err(|(word_at, message)| TemplateError::new(text, at + word_at, &message))?;
        let compiled = environment::shared()
            .compile_expression_owned(expression.to_owned())
            .map_err(|error| TemplateError::of_jinja(text, at, &error))?;
        let names = compiled.undeclared_variables(true);
        let used = used(text, at, expression, names, context)?;
        Ok(Self {
            program: Program::Expression(compiled),
            used,
        })
    }

    /// Compiles a text with statements in it.
    pub(crate) fn whole(text: &str, context: &TemplateContext<'_>) -> Result<Self, TemplateError> {
        let of_jinja = |error: Error| TemplateError::of_jinja(text, 0, &error);
        let mut environment = Box::new(environment::shared().clone());
        environment
            .add_template_owned(WHOLE, text.to_owned())
            .map_err(of_jinja)?;
        let names = environment
            .get_template(WHOLE)
            .map_err(of_jinja)?
            .undeclared_variables(true);
        let used = used(text, 0, text, names, context)?;
        Ok(Self {
            program: Program::Whole(environment),
            used,
        })
    }

    /// The variables of the environment that it names and that are not set.
    pub(crate) fn unset(&self) -> impl Iterator<Item = &str> {
        self.used.iter().filter_map(|used| match used {
            Used::Variable(name, None) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Whether nothing of an event is in it.
    pub(crate) fn is_constant(&self) -> bool {
        let is_variable = |used: &Used| matches!(used, Used::Variable(..));
        self.used.iter().all(is_variable)
    }

    pub(crate) fn evaluate<'s>(
        &self,
        expression: &str,
        scope: &Scope<'_>,
    ) -> Result<Found<'s>, RenderError> {
        node::forget_numbers();
        let globals = self.globals(scope);
        let failed = |error: Error| RenderError::of_jinja(expression, &error);
        match &self.program {
            Program::Expression(compiled) => {
                let value = compiled.eval(globals).map_err(failed)?;
                Ok(Found::Made(value))
            }
            Program::Whole(environment) => {
                let mut out = Bounded(Vec::new());
                let template = environment.get_template(WHOLE).map_err(failed)?;
                template
                    .render_captured_to(globals, &mut out)
                    .map_err(failed)?;
                let text = String::from_utf8_lossy(&out.0).into_owned();
                Ok(Found::Text(text.into()))
            }
        }
    }

    fn globals(&self, scope: &Scope<'_>) -> Value {
        let mut globals = Members::default();
        let mut variables = Members::default();
        for used in &self.used {
            match used {
                Used::Field(name, field) => globals.put(name, of_found(&scope.field(*field))),
                Used::Payload => globals.put("payload", root(scope, Root::Payload)),
                Used::Variable(name, value) => {
                    variables.put(name, value.as_deref().map(Value::from));
                }
                Used::Request => {
                    let field = |field| of_found(&scope.field(field));
                    let mut request = Members::default();
                    request.put("method", field(Field::RequestMethod));
                    request.put("url", field(Field::RequestUrl));
                    request.put("body", root(scope, Root::RequestBody));
                    globals.put("request", Some(Value::from_object(request)));
                }
                Used::Response => {
                    let field = |field| of_found(&scope.field(field));
                    let mut response = Members::default();
                    response.put("status", field(Field::ResponseStatus));
                    response.put("text", field(Field::ResponseText));
                    response.put("json", root(scope, Root::ResponseJson));
                    globals.put("response", Some(Value::from_object(response)));
                }
            }
        }
        globals.put("env", Some(Value::from_object(variables)));
        Value::from_object(globals)
    }
}

fn root(scope: &Scope<'_>, root: Root) -> Option<Value> {
    scope.document(root).map(node::of_document)
}

fn of_found(found: &Found<'_>) -> Option<Value> {
    match found {
        Found::Text(text) => Some(Value::from(text.as_ref())),
        Found::Whole(number) => Some(Value::from(*number)),
        Found::Made(value) => Some(value.clone()),
        Found::Nothing | Found::Raw(_) => None,
    }
}

/// A few values by their names.
#[derive(Debug, Default)]
struct Members(Vec<(String, Value)>);

impl Members {
    fn put(&mut self, name: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.0.push((name.to_owned(), value));
        }
    }
}

impl Object for Members {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let found = self.0.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.clone())
    }
}

/// What of the scope a part names.
fn used(
    text: &str,
    part_at: usize,
    part: &str,
    names: impl IntoIterator<Item = String>,
    context: &TemplateContext<'_>,
) -> Result<Vec<Used>, TemplateError> {
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort();
    let mut all = Vec::new();
    for name in names {
        let path: Vec<&str> = name.split('.').collect();
        let first = path.first().copied().unwrap_or_default();
        let one = match (first, names::resolve(&path, context)) {
            // As a whole too: what is in them is there by its name.
            ("request", _) if context.has_request && path.len() == 1 => Used::Request,
            ("response", _) if context.has_response && path.len() == 1 => Used::Response,
            ("request", Ok(_)) => Used::Request,
            ("response", Ok(_)) => Used::Response,
            (_, Ok(Named::Variable(name))) => {
                let value = (context.env)(&name);
                Used::Variable(name, value)
            }
            (_, Ok(Named::Field(field))) => Used::Field(first.to_owned(), field),
            (_, Ok(Named::Root(..))) => Used::Payload,
            (_, Err(message)) => {
                let at = words::find(part, first).unwrap_or(0);
                return Err(TemplateError::new(text, part_at + at, &message));
            }
        };
        if !all.contains(&one) {
            all.push(one);
        }
    }
    Ok(all)
}

/// Takes a text until it is too large.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > RENDERED_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a value as JSON.
pub(crate) fn write_json(value: &Value, out: &mut String) -> Result<(), RenderError> {
    write_deep(value, out, DEPTH_MAX)
}

/// Writes a value into a text: texts as they are, all else as JSON.
pub(crate) fn write_text(value: &Value, out: &mut String) -> Result<(), RenderError> {
    match value.as_str() {
        Some(text) => push(out, text),
        None => write_json(value, out),
    }
}

fn write_deep(value: &Value, out: &mut String, depth_left: usize) -> Result<(), RenderError> {
    if let Some(raw) = node::raw(value) {
        return push(out, raw);
    }
    let failed = |error: Error| RenderError::of_jinja("a value", &error);
    let deeper = || {
        depth_left
            .checked_sub(1)
            .ok_or_else(|| RenderError::failed("its values are too deep in each other"))
    };
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => push(out, "null"),
        ValueKind::Bool => push(out, if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => write_number(value, out),
        ValueKind::String => push_json_string(out, value.as_str().unwrap_or_default()),
        ValueKind::Seq | ValueKind::Iterable => {
            let depth_left = deeper()?;
            push(out, "[")?;
            for (n, item) in value.try_iter().map_err(failed)?.enumerate() {
                if n > 0 {
                    push(out, ",")?;
                }
                write_deep(&item, out, depth_left)?;
            }
            push(out, "]")
        }
        ValueKind::Map => {
            let depth_left = deeper()?;
            push(out, "{")?;
            let mut is_first = true;
            for name in value.try_iter().map_err(failed)? {
                let member = value.get_item(&name).map_err(failed)?;
                if member.is_undefined() {
                    continue;
                }
                let Some(name) = name.as_str() else {
                    return Err(RenderError::failed("the name of a member is no text"));
                };
                if !is_first {
                    push(out, ",")?;
                }
                is_first = false;
                push_json_string(out, name)?;
                push(out, ":")?;
                write_deep(&member, out, depth_left)?;
            }
            push(out, "}")
        }
        _ => Err(RenderError::failed("it gives what is no JSON")),
    }
}

/// A number that was only handed through is written as its sender wrote it.
fn write_number(value: &Value, out: &mut String) -> Result<(), RenderError> {
    if value.is_integer() {
        return push(out, &value.to_string());
    }
    let number = f64::try_from(value.clone()).unwrap_or(f64::NAN);
    if let Some(written) = node::written(number) {
        return push(out, &written);
    }
    match serde_json::Number::from_f64(number) {
        Some(number) => push(out, &number.to_string()),
        None => Err(RenderError::failed("it computes what is no number")),
    }
}
