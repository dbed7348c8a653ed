//! `[[reactors]]`, `[[endpoints]]` and what webhooks of nodes mean: read here, understood by the crates that run them.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use nexus_auth::{Auth, AuthOptions, Secret};
use nexus_core::{Catalogue, Clock};
use nexus_outbound::Client;
use nexus_reactors::{
    Alerts, Nodes,
    rules::{MappingConfig, Mappings, Rule, RuleConfig, RuleContext, RuleProblem},
};
use nexus_webhooks::{Configured, EndpointConfig, EndpointsOptions};

use super::{
    foreign::Written,
    given::{Entry, Given},
    lists::At,
    load::Loader,
};

/// Nodes whose webhooks have a meaning of their own.
const OWN_WEBHOOKS: [&str; 2] = ["flowpay", "factory"];

impl Loader {
    /// Reads an entry of `[[reactors]]`.
    pub(super) fn rule(&mut self, at: &At, entries: Vec<Entry>) {
        let written = at.written(entries);
        let Some(rule) = written.read::<RuleConfig>(&mut self.problems) else {
            return;
        };
        if self
            .config
            .rules
            .iter()
            .any(|other| other.name == rule.name)
        {
            let what = format!("another reactor is named {:?} already", rule.name);
            self.problems.add(written.place("name"), what);
        }
        self.config.rules.push(rule);
        self.written_rules.push(written);
    }

    /// Reads an entry of `[[endpoints]]`.
    pub(super) fn endpoint(&mut self, at: &At, entries: Vec<Entry>) {
        let written = at.written(entries);
        if let Some(endpoint) = written.read::<EndpointConfig>(&mut self.problems) {
            self.config.endpoints.push(endpoint);
            self.written_endpoints.push(written);
        }
    }

    /// Reads what the webhooks of a node mean: one table, or a list of them.
    pub(super) fn mappings(&mut self, at: &At, entry: Entry) -> Vec<(Written, MappingConfig)> {
        let Entry { key, line, given } = entry;
        let tables = match given {
            Given::List(items) => items,
            table => vec![table],
        };
        let mut mappings = Vec::new();
        for table in tables {
            let Given::Table(entries) = table else {
                let what = format!("{table} is not an entry: write [[nodes.{key}]]");
                self.problems.add(at.key(&key), what);
                continue;
            };
            let written = at.written_member(&key, line, entries);
            if let Some(mapping) = written.read(&mut self.problems) {
                mappings.push((written, mapping));
            }
        }
        mappings
    }

    /// Lets the crates that run rules and endpoints judge them, and keeps the variables that these name.
    pub(super) fn check_foreign(&mut self, catalogue: &Arc<Catalogue>) {
        // What is wrong with nodes was told, and whose secret signs is asked when a rule runs.
        let auth = AuthOptions::default();
        let Ok(auth) = Auth::new(&auth, catalogue, Clock::System) else {
            return;
        };
        let client = match Client::new(&self.config.outbound_options()) {
            Ok(client) => client,
            Err(error) => {
                let what = crate::chain(&error);
                return self.problems.add("outbound", what);
            }
        };
        let used = RefCell::new(BTreeMap::new());
        let refused = RefCell::new(Vec::<(String, String)>::new());
        let env = |name: &str| {
            let found = self.look_up(name).unwrap_or_else(|problem| {
                refused.borrow_mut().push(problem);
                None
            });
            let (_, text) = found?;
            let secret = Secret::new(text.as_str());
            used.borrow_mut().insert(name.to_owned(), secret);
            Some(text)
        };
        let nodes = self.config.node_addresses();
        let context = RuleContext {
            catalogue: catalogue.clone(),
            nodes: Nodes::new(nodes, client.clone(), Clock::System),
            client: client.clone(),
            auth,
            alerts: Alerts::none(),
            clock: Clock::System,
            env: &env,
        };
        let mut found = self.judge_rules(&context);
        found.extend(self.judge_endpoints(catalogue, &client, &env));
        found.extend(self.judge_mappings(catalogue, &env));
        let (used, refused) = (used.into_inner(), refused.into_inner());
        self.claimed.extend(used.keys().cloned());
        self.config.variables = used;
        for (place, what) in refused {
            if !self.problems.has(&place) {
                self.problems.add(place, what);
            }
        }
        for Found { place, what, grave } in found {
            let told = if grave {
                &mut self.problems
            } else {
                &mut self.warnings
            };
            told.add(place, what);
        }
    }

    fn judge_rules(&self, context: &RuleContext<'_>) -> Vec<Found> {
        let mut found = Vec::new();
        for (rule, written) in self.config.rules.iter().zip(&self.written_rules) {
            let (problems, grave) = match Rule::compile(rule, context) {
                Ok(rule) => (rule.notes().to_vec(), false),
                Err(problems) => (problems, true),
            };
            let at = |place: &str| written.place(place);
            found.extend(problems.into_iter().map(|problem| Found {
                place: at(&problem.place),
                what: problem.what,
                grave,
            }));
        }
        found
    }

    fn judge_endpoints(
        &self,
        catalogue: &Arc<Catalogue>,
        client: &Client,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Vec<Found> {
        let judged = Configured::check(
            &self.config.endpoints,
            |name| env(name).map(Secret::new),
            catalogue,
            client,
            &EndpointsOptions::default(),
            Clock::System.now_us(),
        );
        let problems = judged.err().unwrap_or_default();
        let found = problems.into_iter().map(|problem| Found {
            place: self.endpoint_place(&problem.place),
            what: problem.what,
            grave: true,
        });
        found.collect()
    }

    fn judge_mappings(
        &self,
        catalogue: &Arc<Catalogue>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Vec<Found> {
        let mut found = Vec::new();
        for (node, written) in self.config.nodes.iter().zip(&self.written_mappings) {
            let mut add = |place: String, what: String| {
                found.push(Found {
                    place,
                    what,
                    grave: true,
                });
            };
            if let Some(first) = written
                .first()
                .filter(|_| OWN_WEBHOOKS.contains(&&*node.id))
            {
                let what = format!("`/webhook/{}` has a meaning of its own", node.id);
                add(first.place(""), what);
            }
            let judged = Mappings::compile(&node.id, &node.webhook, catalogue, env);
            for RuleProblem { place, what } in judged.err().unwrap_or_default() {
                let at = || {
                    let (index, member) = place.strip_prefix('[')?.split_once(']')?;
                    let written = written.get(index.parse::<usize>().ok()?)?;
                    Some(written.place(member.trim_start_matches('.')))
                };
                let place = at().unwrap_or_else(|| self.place(&format!("node {}", node.id)));
                add(place, what);
            }
        }
        found
    }

    /// Where `endpoints[2].url` stands in the file.
    fn endpoint_place(&self, place: &str) -> String {
        let written = || {
            let (index, member) = place.strip_prefix("endpoints[")?.split_once(']')?;
            let written: &Written = self.written_endpoints.get(index.parse::<usize>().ok()?)?;
            Some(written.place(member.trim_start_matches('.')))
        };
        written().unwrap_or_else(|| place.to_owned())
    }
}

/// Something that is said of a rule, an endpoint or a mapping, and where.
struct Found {
    place: String,
    what: String,
    /// Whether it cannot run like that.
    grave: bool,
}
