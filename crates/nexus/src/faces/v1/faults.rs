//! Everything that is wrong with a body of events, each thing with its place.

use nexus_core::{Catalogue, Coded, Error, Log, PayloadProblem, Principal};
use nexus_http::Problem;
use serde_json::{Value, json};

use super::body::{Body, Item};

/// An answer tells at most this many things.
const FAULTS_MAX: usize = 100;

/// Whether an error is about one event and not about the request or the log.
pub(super) fn is_about_an_event(error: &Error) -> bool {
    matches!(
        error,
        Error::MalformedJson { .. }
            | Error::UnknownEvent { .. }
            | Error::InvalidEvent { .. }
            | Error::InvalidPayload { .. }
            | Error::NotPermitted { .. }
            | Error::TooLarge { .. }
    )
}

/// A refusal that names every event that is wrong. The first of them decides what kind of refusal it is.
///
/// Slow, and asked for only when something is wrong: everything is read and checked anew.
pub(super) fn explain(
    body: &Body<'_>,
    log: &Log,
    catalogue: &Catalogue,
    principal: &Principal,
    first: Error,
) -> Problem {
    let items = match body.items() {
        Ok(items) => items,
        Err(whole) => return Problem::from(whole),
    };
    // Nobody would read what is wrong with each of them, and it would be much work.
    if let Err(too_many) = log.check_count(items.len()) {
        return Problem::from(too_many);
    }
    let mut faults = Faults::default();
    for item in &items {
        let checked = body
            .read_item(item, catalogue)
            .and_then(|event| log.check(principal, &event));
        if let Err(error) = checked {
            faults.add(body, item, error);
        }
    }
    faults.into_problem(body, items.len(), first)
}

#[derive(Default)]
struct Faults {
    /// The first error that was found, and where.
    first: Option<(Error, String)>,
    /// How many events are wrong.
    events: usize,
    /// How many things are wrong with them.
    count: usize,
    /// The first of those.
    told: Vec<Value>,
}

impl Faults {
    fn add(&mut self, body: &Body<'_>, item: &Item<'_>, error: Error) {
        self.events += 1;
        let code = error.code();
        for PayloadProblem { pointer, detail } in places(body, item, &error) {
            self.count += 1;
            if self.told.len() < FAULTS_MAX {
                self.told.push(match body.header_of(&pointer) {
                    Some(header) => json!({ "header": header, "code": code, "detail": detail }),
                    None => {
                        // Where attributes are headers, the body itself is the data.
                        let pointer = if body.payload_member().is_empty() {
                            pointer.strip_prefix("/data").unwrap_or(&pointer)
                        } else {
                            &pointer
                        };
                        let pointer = format!("{}{pointer}", item.pointer());
                        json!({ "pointer": pointer, "code": code, "detail": detail })
                    }
                });
            }
        }
        if self.first.is_none() {
            let place = match item.line {
                Some(line) => format!("the event on line {line}: "),
                None if body.is_one() => String::new(),
                None => format!("the event at {}: ", item.pointer()),
            };
            self.first = Some((error, place));
        }
    }

    fn into_problem(self, body: &Body<'_>, items: usize, first: Error) -> Problem {
        // The request as a whole was refused, or what was wrong a moment ago is right now, as after the
        // configuration changed.
        let Some((error, place)) = self.first else {
            return Problem::from(first);
        };
        let mut problem = Problem::from(error);
        problem.detail = format!("{place}{}", problem.detail);
        if !body.is_one() {
            let are = if self.events == 1 { "is" } else { "are" };
            let how_many = format!("{} of {items} events {are} wrong", self.events);
            problem.detail = format!("{how_many}, and none was stored; {}", problem.detail);
        }
        if !self.told.is_empty() {
            let left_out = self.count - self.told.len();
            problem = problem.with("errors", self.told);
            if left_out > 0 {
                problem = problem.with("errorsLeftOut", left_out);
            }
        }
        problem
    }
}

/// The places that an error is about, from the event.
fn places(body: &Body<'_>, item: &Item<'_>, error: &Error) -> Vec<PayloadProblem> {
    let one = |pointer: &str| {
        vec![PayloadProblem {
            pointer: pointer.to_owned(),
            detail: error.to_string(),
        }]
    };
    match error {
        Error::InvalidEvent { problems } => problems.clone(),
        Error::InvalidPayload { problems } => problems
            .iter()
            .map(|problem| PayloadProblem {
                pointer: format!("{}{}", data_member(body), problem.pointer),
                detail: problem.detail.clone(),
            })
            .collect(),
        Error::UnknownEvent { .. } | Error::NotPermitted { .. } => one(body.name_member(item)),
        Error::TooLarge { .. } => one(data_member(body)),
        _ => one(""),
    }
}

/// The payload's member, also where it is the whole body: those pointers are shortened where they are told.
fn data_member(body: &Body<'_>) -> &'static str {
    match body.payload_member() {
        "" => "/data",
        member => member,
    }
}
