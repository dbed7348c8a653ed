//! The table of routes: which route answers to a method and path, and what a path that is not plain means.

use std::{borrow::Cow, collections::BTreeMap};

use http::{HeaderValue, Method, header};
use nexus_core::Kind;

use crate::{Error, Form, Problem, Route};

/// The parameters of a matched pattern, owned, because the handler outlives the table's borrow.
#[derive(Debug, Default)]
pub(crate) struct Params(Vec<(Box<str>, Box<str>)>);

impl Params {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| **key == *name)
            .map(|(_, value)| &**value)
    }
}

/// All routes of one path.
#[derive(Debug)]
struct Entry {
    routes: Vec<Route>,
    allow: HeaderValue,
}

/// What a path led to.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// A route, and the parameters of its pattern.
    Route(&'a Route, Params),
    /// OPTIONS for a path that exists; these are its methods.
    Options(&'a HeaderValue),
}

/// Every route of a server, by path and method.
#[derive(Debug)]
pub(crate) struct Router {
    table: matchit::Router<usize>,
    entries: Vec<Entry>,
    forms: Vec<(String, Form)>,
}

impl Router {
    /// Builds the table.
    ///
    /// # Errors
    /// A pattern that is not well formed or contradicts another, or the same method and path twice.
    pub(crate) fn new(routes: Vec<Route>, mut forms: Vec<(String, Form)>) -> Result<Self, Error> {
        // The longest prefix is tried first.
        forms.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        let mut by_path: BTreeMap<String, Vec<Route>> = BTreeMap::new();
        for route in routes {
            let same_path = by_path.entry(route.path.clone()).or_default();
            if same_path.iter().any(|other| other.method == route.method) {
                return Err(Error::DuplicateRoute {
                    method: route.method,
                    path: route.path,
                });
            }
            same_path.push(route);
        }
        let mut table = matchit::Router::new();
        let mut entries = Vec::with_capacity(by_path.len());
        for (path, routes) in by_path {
            table
                .insert(path.clone(), entries.len())
                .map_err(|source| Error::Pattern { path, source })?;
            let allow = allow(&routes);
            entries.push(Entry { routes, allow });
        }
        Ok(Self {
            table,
            entries,
            forms,
        })
    }

    /// What a method and a decoded path lead to.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Result<Found<'_>, Problem> {
        let Some((entry, params)) = self.entry(path) else {
            return Err(Problem::not_found());
        };
        // A GET route answers HEAD; the connection leaves the body out.
        let wanted = if *method == Method::HEAD && !entry.has(&Method::HEAD) {
            &Method::GET
        } else {
            method
        };
        if let Some(route) = entry.routes.iter().find(|route| route.method == *wanted) {
            return Ok(Found::Route(route, params));
        }
        if *method == Method::OPTIONS {
            return Ok(Found::Options(&entry.allow));
        }
        Err(Problem::new(
            Kind::MethodNotAllowed,
            "method-not-allowed",
            "this path does not take this method",
        )
        .header(header::ALLOW, entry.allow.clone()))
    }

    /// How a problem is written when no route was found.
    pub(crate) fn form_of(&self, path: &str) -> Form {
        // Where only the method is wrong, the path's own routes know.
        if let Some((entry, _)) = self.entry(path)
            && let Some(route) = entry.routes.first()
        {
            return route.form;
        }
        self.forms
            .iter()
            .find(|(prefix, _)| {
                path.strip_prefix(prefix.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
            .map_or(Form::Neo, |(_, form)| *form)
    }

    fn entry(&self, path: &str) -> Option<(&Entry, Params)> {
        let found = self.table.at(path).ok()?;
        let params = found
            .params
            .iter()
            .map(|(name, value)| (Box::from(name), Box::from(value)))
            .collect();
        Some((self.entries.get(*found.value)?, Params(params)))
    }
}

impl Entry {
    fn has(&self, method: &Method) -> bool {
        self.routes.iter().any(|route| route.method == *method)
    }
}

fn allow(routes: &[Route]) -> HeaderValue {
    let mut methods: Vec<&str> = routes.iter().map(|route| route.method.as_str()).collect();
    for (implied, by) in [("HEAD", Some("GET")), ("OPTIONS", None)] {
        if !methods.contains(&implied) && by.is_none_or(|by| methods.contains(&by)) {
            methods.push(implied);
        }
    }
    // Methods are tokens, so this is always a valid value.
    HeaderValue::from_str(&methods.join(", ")).unwrap_or(HeaderValue::from_static("OPTIONS"))
}

/// Decodes a path once, so that the router and the handlers see the same thing.
///
/// # Errors
/// `invalid-request` for what has no safe reading (a bad escape, an encoded slash, a control character),
/// `not-found` for what could be read as another path elsewhere (empty and dot segments).
pub(crate) fn decode_path(raw: &str) -> Result<Cow<'_, str>, Problem> {
    let path = if raw.contains('%') {
        Cow::Owned(percent_decode(raw).ok_or_else(|| {
            Problem::new(
                Kind::Malformed,
                "invalid-request",
                "the path has an escape that is not allowed",
            )
        })?)
    } else {
        Cow::Borrowed(raw)
    };
    let ambiguous = !path.starts_with('/')
        || path.contains("//")
        || (path.contains("/.") && path.split('/').any(|part| part == "." || part == ".."));
    if ambiguous {
        return Err(Problem::not_found());
    }
    Ok(path)
}

fn percent_decode(raw: &str) -> Option<String> {
    let bytes = raw.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'%' {
            let value = hex_byte(bytes.get(at + 1..at + 3)?)?;
            if matches!(value, b'/' | b'\\' | 0..=31 | 127) {
                return None;
            }
            decoded.push(value);
            at += 3;
        } else {
            decoded.push(byte);
            at += 1;
        }
    }
    String::from_utf8(decoded).ok()
}

/// The byte that two hexadecimal digits stand for.
pub(crate) fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| {
        digits
            .get(at)
            .and_then(|digit| char::from(*digit).to_digit(16))
    };
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}
