//! What is wrong with a rule, and where.

use std::{fmt, sync::Arc};

use nexus_core::{Catalogue, EventType};
use nexus_expr::{JsonTemplate, Shape, TemplateContext, TemplateError};

/// One thing that is wrong with a rule or a mapping.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RuleProblem {
    /// Where, below the rule: `http.body.amount`. Empty for the rule as a whole.
    pub place: String,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for RuleProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() {
            f.write_str(&self.what)
        } else {
            write!(f, "{}: {}", self.place, self.what)
        }
    }
}

impl From<TemplateError> for RuleProblem {
    fn from(error: TemplateError) -> Self {
        let TemplateError {
            place,
            line,
            column,
            message,
        } = error;
        let what = if line == 1 {
            format!("column {column}: {message}")
        } else {
            format!("line {line}, column {column}: {message}")
        };
        Self { place, what }
    }
}

/// Collects what is wrong, and what is only to be known.
#[derive(Debug, Default)]
pub(super) struct Problems {
    all: Vec<RuleProblem>,
    notes: Vec<RuleProblem>,
}

impl Problems {
    pub(super) fn add(&mut self, place: impl Into<String>, what: impl Into<String>) {
        self.all.push(RuleProblem {
            place: place.into(),
            what: what.into(),
        });
    }

    /// Something that is not wrong.
    pub(super) fn note(&mut self, place: &str, what: String) {
        self.notes.push(RuleProblem {
            place: place.to_owned(),
            what,
        });
    }

    pub(super) fn take_notes(&mut self) -> Vec<RuleProblem> {
        std::mem::take(&mut self.notes)
    }

    /// Variables of the environment that have to be set.
    pub(super) fn unset(&mut self, place: &str, names: &[String]) {
        for name in names {
            self.add(place, format!("the variable {name} is not set"));
        }
    }

    pub(super) fn template(&mut self, place: &str, mut error: TemplateError) {
        if error.place.is_empty() {
            place.clone_into(&mut error.place);
        }
        self.all.push(error.into());
    }

    /// Compiles a structure if there is one; nothing at all when something is wrong with it.
    pub(super) fn json(
        &mut self,
        place: &str,
        shape: Option<&Shape>,
        context: &TemplateContext<'_>,
    ) -> Option<Option<JsonTemplate>> {
        let Some(shape) = shape else {
            return Some(None);
        };
        match JsonTemplate::compile(shape, place, context) {
            Ok(template) => {
                self.unset(place, template.unset());
                Some(Some(template))
            }
            Err(errors) => {
                for error in errors {
                    self.template(place, error);
                }
                None
            }
        }
    }

    /// Finds the event that is to be emitted.
    pub(super) fn event(
        &mut self,
        place: &str,
        name: &str,
        catalogue: &Catalogue,
    ) -> Option<Arc<EventType>> {
        match catalogue.resolve(name) {
            Ok(named) if !named.event_type.reserved => Some(named.event_type),
            Ok(_) => {
                self.add(
                    place,
                    format!("{name} is reserved: only Nexus itself emits it"),
                );
                None
            }
            Err(_) => {
                self.add(place, format!("{name:?} is no known event"));
                None
            }
        }
    }

    /// What there is, if it fits what else was found.
    pub(super) fn finish<T>(self, made: Option<T>) -> Result<T, Vec<RuleProblem>> {
        match made {
            Some(made) if self.all.is_empty() => Ok(made),
            _ => Err(self.all),
        }
    }
}
