//! What a stream of events is asked for: its query and `Last-Event-ID`, understood.

use http::HeaderName;
use nexus_core::{Filter, From, Kind, PatternSet};
use nexus_expr::compile_filter_with;
use nexus_http::{Call, Problem};

use crate::{
    format::Format,
    handle::Shared,
    selection::{Rights, Selection},
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a query may say.
const PARAMETERS: [&str; 3] = ["patterns", "filter", "from"];

/// What a stream is asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    patterns: PatternSet,
    filter: Option<Filter>,
    pub(crate) from: From,
}

impl Asked {
    /// Reads a request.
    pub(crate) fn read(call: &Call, shared: &Shared, rights: &Rights) -> Result<Self, Problem> {
        refuse_unknown(call)?;
        let filter = match call.query("filter") {
            Some(text) if !text.trim().is_empty() => Some(read_filter(&text, shared)?),
            _ => None,
        };
        Ok(Self {
            patterns: read_patterns(call, shared, rights)?,
            filter,
            from: read_from(call)?,
        })
    }

    /// The group that it belongs to.
    pub(crate) fn selection(self, format: Format, rights: &Rights) -> Selection {
        Selection::of_patterns(format, &self.patterns, self.filter, rights)
    }
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::Malformed, "invalid-request", detail)
}

/// What was misspelt and passed over would give what nobody asked for.
fn refuse_unknown(call: &Call) -> Result<(), Problem> {
    let query = call.uri.query().unwrap_or_default();
    let mut names = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split('=').next().unwrap_or_default());
    match names.find(|name| !PARAMETERS.contains(name)) {
        Some(_) => Err(invalid(format!(
            "the query may have: {}",
            PARAMETERS.join(", ")
        ))),
        None => Ok(()),
    }
}

/// Names, qualified names, topics and patterns, separated by commas or each on its own; by default all.
fn read_patterns(call: &Call, shared: &Shared, rights: &Rights) -> Result<PatternSet, Problem> {
    let patterns_max = shared.options.patterns_max;
    let catalogue = shared.log.catalogue();
    let mut patterns = Vec::new();
    for list in call.query_all("patterns") {
        for text in list.split(',').map(str::trim) {
            if text.is_empty() {
                continue;
            }
            if patterns.len() == patterns_max {
                let detail = format!("a stream may have {patterns_max} patterns");
                return Err(invalid(detail));
            }
            let (pattern, _) = catalogue.resolve_pattern(text)?;
            if !rights.may_read(&pattern) {
                let detail = format!("the token may not read `{pattern}`");
                return Err(Problem::new(Kind::Forbidden, "not-permitted", detail));
            }
            patterns.push(pattern);
        }
    }
    if patterns.is_empty() {
        return Ok(PatternSet::everything());
    }
    Ok(patterns.into_iter().collect())
}

fn read_filter(text: &str, shared: &Shared) -> Result<Filter, Problem> {
    compile_filter_with(text, &shared.log.catalogue()).map_err(|error| {
        let (line, column) = (error.line, error.column);
        Problem::from(error)
            .with("line", line)
            .with("column", column)
    })
}

/// Where it begins. What a browser adds when it comes back counts more than what the page once wrote.
fn read_from(call: &Call) -> Result<From, Problem> {
    let last = call.headers.get(&LAST_EVENT_ID).map(|id| id.as_bytes());
    if let Some(last) = last.filter(|id| !id.is_empty()) {
        let position = std::str::from_utf8(last)
            .ok()
            .and_then(|id| id.parse().ok());
        return position.map(From::After).ok_or_else(|| {
            invalid("`Last-Event-ID` must be the id of an event of such a stream, a position")
        });
    }
    match call.query("from").as_deref() {
        None | Some("" | "latest") => Ok(From::Latest),
        Some("earliest") => Ok(From::Earliest),
        Some(text) => text.parse().map(From::After).map_err(|_| {
            invalid("`from` must be a position, as `7f3a09c2-1042`, `earliest` or `latest`")
        }),
    }
}
