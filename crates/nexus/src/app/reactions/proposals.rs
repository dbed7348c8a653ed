//! Rules that somebody proposes, for a dry run: compiled as those of the configuration are.

use std::{collections::BTreeMap, sync::Arc};

use nexus_core::{Log, SharedReactor};
use nexus_http::Problem;
use nexus_reactors::{
    http::Propose,
    rules::{Rule, RuleConfig, RuleContext, RuleProblem},
};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::Parts;
use crate::config::Config;

/// What stands for the value of a variable that is not to be shown.
const HIDDEN: &str = "***";

/// Compiles rules that somebody proposes.
pub(super) struct Proposals {
    parts: Parts,
    log: Log,
    variables: Mutex<BTreeMap<String, String>>,
}

impl Proposals {
    pub(super) fn new(parts: Parts, log: Log, config: &Config) -> Arc<Self> {
        let variables = Mutex::new(variables(config));
        Arc::new(Self {
            parts,
            log,
            variables,
        })
    }

    /// Another configuration runs.
    pub(super) fn change(&self, config: &Config) {
        *self.variables.lock() = variables(config);
    }

    /// What the engine's routes call.
    pub(super) fn propose(self: &Arc<Self>) -> Arc<Propose> {
        let proposals = self.clone();
        Arc::new(move |target: &str, rule: &str| {
            let compiled = proposals.compile(target, rule);
            compiled.map_err(|problems| refused(&problems))
        })
    }

    fn compile(&self, target: &str, rule: &str) -> Result<SharedReactor, Vec<RuleProblem>> {
        let rule = RuleConfig::from_json(&named(target, rule)).map_err(|problem| vec![problem])?;
        let variables = self.variables.lock().clone();
        let context = RuleContext {
            catalogue: self.log.catalogue(),
            client: self.parts.client.clone(),
            nodes: self.parts.nodes.clone(),
            auth: self.parts.auth.clone(),
            alerts: self.parts.alerts.clone(),
            clock: self.parts.clock.clone(),
            env: &|name| variables.get(name).cloned(),
        };
        Rule::compile(&rule, &context).map(Rule::shared)
    }
}

/// The rule under the name of what it is compared with, whatever it calls itself: its `once` keys are that
/// one's. What is no object is refused when it is read.
fn named(target: &str, rule: &str) -> String {
    match serde_json::from_str::<Map<String, Value>>(rule) {
        Ok(mut members) => {
            members.insert("name".to_owned(), target.into());
            Value::Object(members).to_string()
        }
        Err(_) => rule.to_owned(),
    }
}

/// The variables that a proposed rule may name: those that the configuration names. Nothing is sent, so values
/// matter only where they say what leads where; others would be read by whoever proposes a rule that
/// shows them.
fn variables(config: &Config) -> BTreeMap<String, String> {
    let addresses: Vec<&str> = config
        .rules
        .iter()
        .filter_map(|rule| Some(rule.http.as_ref()?.url.as_str()))
        .collect();
    let value = |name: &str, secret: &nexus_auth::Secret| {
        let is_address = addresses.iter().any(|template| names(template, name));
        let value = if is_address { secret.expose() } else { HIDDEN };
        value.to_owned()
    };
    config
        .variables
        .iter()
        .map(|(name, secret)| (name.clone(), value(name, secret)))
        .collect()
}

/// Whether a template names a variable.
fn names(template: &str, variable: &str) -> bool {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    template.split("env.").skip(1).any(|rest| {
        let name = rest.split(|c| !is_of_name(c)).next();
        name == Some(variable)
    })
}

/// What is wrong with a rule, for whoever proposed it.
fn refused(problems: &[RuleProblem]) -> Problem {
    let first = problems.first();
    let first = first.map_or_else(String::new, |problem| format!(": {problem}"));
    let errors: Vec<Value> = problems
        .iter()
        .map(|problem| json!({ "place": problem.place, "detail": problem.what }))
        .collect();
    Problem::invalid_request(format!("the rule is wrong{first}")).with("errors", errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_named_by_its_whole_name() {
        for (template, variable, is_named) in [
            ("{{ env.URL }}/mint", "URL", true),
            ("{{env.URL}}", "URL", true),
            ("{{ env.URL_2 }}", "URL", false),
            ("{{ env.A }}{{ env.URL }}", "URL", true),
            ("https://env.example/URL", "URL", false),
            ("", "URL", false),
        ] {
            assert_eq!(names(template, variable), is_named, "{template}");
        }
    }

    #[test]
    fn a_proposal_has_the_name_of_what_it_is_compared_with() {
        let renamed = named("mint", r#"{"name":"other","on":["a.b"]}"#);
        let renamed: Value = serde_json::from_str(&renamed).unwrap();
        assert_eq!(renamed, json!({ "name": "mint", "on": ["a.b"] }));
        assert_eq!(named("mint", "[7]"), "[7]");
    }
}
