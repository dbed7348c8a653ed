//! What a template may ask about.

use super::TemplateContext;

/// A value that stands by itself under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Id,
    Topic,
    Name,
    Source,
    Key,
    Time,
    Seq,
    CorrelationId,
    CausationId,
    OriginId,
    OccurredAt,
    RequestMethod,
    RequestUrl,
    ResponseStatus,
    ResponseText,
}

/// A value with members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    Payload,
    RequestBody,
    ResponseJson,
}

/// What the first names of a path stand for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Named {
    Field(Field),
    /// With how many names of the path it took.
    Root(Root, usize),
    /// A variable of the environment, by its name.
    Variable(String),
}

pub(crate) const FIELDS: [(&str, Field); 11] = [
    ("id", Field::Id),
    ("topic", Field::Topic),
    ("name", Field::Name),
    ("source", Field::Source),
    ("key", Field::Key),
    ("time", Field::Time),
    ("seq", Field::Seq),
    ("correlation_id", Field::CorrelationId),
    ("causation_id", Field::CausationId),
    ("origin_id", Field::OriginId),
    ("occurred_at", Field::OccurredAt),
];

/// What the names of a path stand for in this context.
///
/// # Errors
/// What to tell whoever wrote it.
pub(crate) fn resolve(path: &[&str], context: &TemplateContext<'_>) -> Result<Named, String> {
    let (first, rest) = path.split_first().ok_or("this is empty")?;
    if *first == "payload" {
        return Ok(Named::Root(Root::Payload, 1));
    }
    if let Some((_, field)) = FIELDS.iter().find(|(name, _)| name == first) {
        return plain(*field, first, rest);
    }
    match *first {
        "env" => match rest {
            [name] => Ok(Named::Variable((*name).to_owned())),
            _ => Err("variables of the environment are written env.NAME".to_owned()),
        },
        "request" if context.has_request => match rest {
            ["body", ..] => Ok(Named::Root(Root::RequestBody, 2)),
            ["method", rest @ ..] => plain(Field::RequestMethod, "request.method", rest),
            ["url", rest @ ..] => plain(Field::RequestUrl, "request.url", rest),
            _ => Err("of a request there are request.method, .url and .body".to_owned()),
        },
        "response" if context.has_response => match rest {
            ["json", ..] => Ok(Named::Root(Root::ResponseJson, 2)),
            ["status", rest @ ..] => plain(Field::ResponseStatus, "response.status", rest),
            ["text", rest @ ..] => plain(Field::ResponseText, "response.text", rest),
            _ => Err("of a response there are response.status, .json and .text".to_owned()),
        },
        "request" | "response" => Err(format!(
            "there is no {first} here: only what is emitted after a call has one"
        )),
        _ => Err(format!(
            "{first:?} is not known here; an event has payload, {}, and there is env",
            FIELDS.map(|(name, _)| name).join(", ")
        )),
    }
}

fn plain(field: Field, name: &str, rest: &[&str]) -> Result<Named, String> {
    if rest.is_empty() {
        Ok(Named::Field(field))
    } else {
        Err(format!("{name} has no members"))
    }
}
