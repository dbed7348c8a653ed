//! What templates may call: filters and tests that take no more room than they are given.

use std::{collections::BTreeSet, sync::LazyLock};

use minijinja::{
    Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value, filters,
    syntax::SyntaxConfig, tests,
};

use super::{RENDERED_BYTES_MAX, write_json, write_text};
use crate::template::{FUEL, error::RenderError};

/// Expressions and blocks stand at most this deep in each other.
const RECURSION_MAX: usize = 32;

/// The environment of every template. It has no loader and no functions: a template reaches nothing but
/// what it is handed.
pub(super) fn shared() -> &'static Environment<'static> {
    &SHARED.environment
}

/// Whether there is a filter of this name.
pub(super) fn has_filter(name: &str) -> bool {
    SHARED.filters.contains(name)
}

/// Whether there is a test of this name.
pub(super) fn has_test(name: &str) -> bool {
    SHARED.tests.contains(name)
}

struct Shared {
    environment: Environment<'static>,
    filters: BTreeSet<&'static str>,
    tests: BTreeSet<&'static str>,
}

static SHARED: LazyLock<Shared> = LazyLock::new(|| {
    let mut shared = Shared {
        environment: Environment::empty(),
        filters: BTreeSet::new(),
        tests: BTreeSet::new(),
    };
    shared.add_filters();
    shared.add_tests();
    let environment = &mut shared.environment;
    // A text ends as it was written.
    let mut syntax = SyntaxConfig::builder();
    if let Ok(syntax) = syntax.keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION_MAX);
    environment.set_formatter(print);
    // Costly on each error; the place of a mistake is told without it.
    environment.set_debug(false);
    shared
});

macro_rules! add {
    ($self:ident, $set:ident, $add:ident, $($name:literal => $function:expr),+ $(,)?) => {
        $(
            $self.$set.insert($name);
            $self.environment.$add($name, $function);
        )+
    };
}

impl Shared {
    fn add_filters(&mut self) {
        add!(self, filters, add_filter,
            "abs" => filters::abs,
            "bool" => filters::bool,
            "capitalize" => filters::capitalize,
            "count" => filters::length,
            "d" => filters::default,
            "default" => filters::default,
            "first" => filters::first,
            "float" => filters::float,
            "int" => filters::int,
            "items" => filters::items,
            "join" => join,
            "last" => filters::last,
            "length" => filters::length,
            "list" => filters::list,
            "lower" => filters::lower,
            "map" => filters::map,
            "max" => filters::max,
            "min" => filters::min,
            "reject" => filters::reject,
            "rejectattr" => filters::rejectattr,
            "replace" => replace,
            "reverse" => filters::reverse,
            "round" => filters::round,
            "select" => filters::select,
            "selectattr" => filters::selectattr,
            "sort" => filters::sort,
            "split" => filters::split,
            "string" => string,
            "sum" => filters::sum,
            "title" => filters::title,
            "tojson" => to_json,
            "trim" => filters::trim,
            "unique" => filters::unique,
            "upper" => filters::upper,
            "urlencode" => filters::urlencode,
        );
    }

    fn add_tests(&mut self) {
        add!(self, tests, add_test,
            "boolean" => tests::is_boolean,
            "defined" => tests::is_defined,
            "divisibleby" => tests::is_divisibleby,
            "endingwith" => tests::is_endingwith,
            "eq" => tests::is_eq,
            "even" => tests::is_even,
            "false" => tests::is_false,
            "float" => tests::is_float,
            "ge" => tests::is_ge,
            "gt" => tests::is_gt,
            "in" => tests::is_in,
            "integer" => tests::is_integer,
            "iterable" => tests::is_iterable,
            "le" => tests::is_le,
            "lower" => tests::is_lower,
            "lt" => tests::is_lt,
            "mapping" => tests::is_mapping,
            "ne" => tests::is_ne,
            "none" => tests::is_none,
            "number" => tests::is_number,
            "odd" => tests::is_odd,
            "sequence" => tests::is_sequence,
            "startingwith" => tests::is_startingwith,
            "string" => tests::is_string,
            "true" => tests::is_true,
            "undefined" => tests::is_undefined,
            "upper" => tests::is_upper,
        );
    }
}

/// How `{{ }}` prints in a text with statements: as everywhere else, so nothing and `null` are mistakes.
fn print(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if value.is_undefined() || value.is_none() {
        return Err(ErrorKind::UndefinedError.into());
    }
    let text = printed(value)?;
    out.write_str(&text)
        .map_err(|_| Error::from(ErrorKind::WriteFailure))
}

fn printed(value: &Value) -> Result<String, Error> {
    let mut text = String::new();
    write_text(value, &mut text).map_err(refused)?;
    Ok(text)
}

fn string(value: &Value) -> Result<String, Error> {
    printed(value)
}

fn to_json(value: &Value) -> Result<String, Error> {
    let mut text = String::new();
    write_json(value, &mut text).map_err(refused)?;
    Ok(text)
}

fn refused(error: RenderError) -> Error {
    match error {
        RenderError::TooLarge { .. } => ErrorKind::WriteFailure.into(),
        other => Error::new(ErrorKind::InvalidOperation, other.to_string()),
    }
}

/// MiniJinja's own takes as much room as the list and what stands between its items ask for.
fn join(value: &Value, between: Option<&str>) -> Result<String, Error> {
    let mut text = String::new();
    for (n, item) in value.try_iter()?.enumerate() {
        if n > 0 {
            fits(text.len() + between.map_or(0, str::len))?;
            text.push_str(between.unwrap_or_default());
        }
        write_text(&item, &mut text).map_err(refused)?;
    }
    Ok(text)
}

/// MiniJinja's own takes as much room as what is put in asks for.
fn replace(value: &str, from: &str, to: &str) -> Result<String, Error> {
    let found = value.matches(from).count();
    fits(value.len().saturating_add(found.saturating_mul(to.len())))?;
    Ok(value.replace(from, to))
}

fn fits(bytes: usize) -> Result<(), Error> {
    if bytes > RENDERED_BYTES_MAX {
        return Err(ErrorKind::WriteFailure.into());
    }
    Ok(())
}
