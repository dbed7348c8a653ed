//! What each reactor of a configuration is made from.

use std::{collections::BTreeMap, sync::Arc};

use nexus_auth::Secret;
use nexus_core::{Catalogue, PatternSet, ProtocolEvent, ReactorOptions, SharedReactor};
use nexus_reactors::{
    MintToNotify, PaymentToMint,
    rules::{Rule, RuleConfig, RuleContext},
};

use super::{super::options::rules_refused, Parts};
use crate::{
    Error,
    config::{Config, Fingerprint, Retry},
};

const PAYMENT_TO_MINT: &str = "payment-to-mint";
const MINT_TO_NOTIFY: &str = "mint-to-notify";
const FLOWPAY: &str = "flowpay";
const NEOBOT: &str = "neobot";

/// What a reactor is made from: equal recipes make equal reactors.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Recipe {
    /// A payment asks the factory to mint.
    PaymentToMint { key: Option<Secret>, retry: Retry },
    /// A node is told of events.
    Tell {
        node: String,
        events: Vec<String>,
        retry: Retry,
    },
    /// What the configuration says, with the values of the variables and the events that it may name.
    Rule {
        rule: Box<RuleConfig>,
        variables: BTreeMap<String, Secret>,
        events: Fingerprint,
    },
}

/// What a configuration asks for, by the name of the reactor.
pub(super) fn recipes(config: &Config) -> BTreeMap<String, Recipe> {
    let settings = &config.reactors;
    let retry = settings.retry;
    let mut recipes = BTreeMap::new();
    if settings.payment_to_mint {
        let key = settings.factory_key.clone();
        recipes.insert(
            PAYMENT_TO_MINT.to_owned(),
            Recipe::PaymentToMint { key, retry },
        );
    }
    for (node, events) in told(config) {
        let recipe = Recipe::Tell {
            node: node.clone(),
            events,
            retry,
        };
        recipes.insert(format!("{MINT_TO_NOTIFY}-{node}"), recipe);
    }
    // A rule takes the place of what ships under its name, and goes on where that stopped.
    for rule in &config.rules {
        let recipe = Recipe::Rule {
            rule: Box::new(rule.clone()),
            variables: config.variables.clone(),
            events: config.events_fingerprint,
        };
        recipes.insert(rule.name.clone(), recipe);
    }
    recipes
}

/// What each node is told of: what its entry says, else what the protocol does.
fn told(config: &Config) -> BTreeMap<String, Vec<String>> {
    use ProtocolEvent::{MintConfirmed, MintFailed};
    let mut told = BTreeMap::new();
    if config.reactors.mint_to_notify {
        let names = |events: &[ProtocolEvent]| {
            let topics = events.iter().map(|event| event.topic().to_owned());
            topics.collect::<Vec<_>>()
        };
        told.insert(FLOWPAY.to_owned(), names(&[MintConfirmed, MintFailed]));
        told.insert(NEOBOT.to_owned(), names(&[MintConfirmed]));
    }
    for node in &config.nodes {
        if let Some(events) = &node.events {
            told.insert(node.id.clone(), events.clone());
        }
    }
    told.retain(|_, events| !events.is_empty());
    told
}

impl Recipe {
    /// Makes it.
    pub(super) fn make(
        self,
        parts: &Parts,
        catalogue: &Arc<Catalogue>,
    ) -> Result<SharedReactor, Error> {
        let Parts {
            client,
            nodes,
            auth,
            alerts,
            clock,
        } = parts;
        let with = |retry: Retry| move |options: &mut ReactorOptions| options.retry = retry.into();
        let (client, nodes, clock) = (client.clone(), nodes.clone(), clock.clone());
        Ok(match self {
            Self::PaymentToMint { key, retry } => PaymentToMint::new(client, nodes, key, clock)
                .with_options(with(retry))
                .shared(),
            Self::Tell {
                node,
                events,
                retry,
            } => {
                let patterns = events.iter().map(|event| {
                    let (pattern, _) = catalogue.resolve_pattern(event)?;
                    Ok(pattern)
                });
                let on: PatternSet = patterns.collect::<Result<_, _>>().map_err(Error::Log)?;
                MintToNotify::new(&node, on, client, nodes, auth.clone(), clock)
                    .with_options(with(retry))
                    .shared()
            }
            Self::Rule {
                rule, variables, ..
            } => {
                let value = |name: &str| Some(variables.get(name)?.expose().to_owned());
                let context = RuleContext {
                    catalogue: catalogue.clone(),
                    client,
                    nodes,
                    auth: auth.clone(),
                    alerts: alerts.clone(),
                    clock,
                    env: &value,
                };
                Rule::compile(&rule, &context)
                    .map_err(|problems| {
                        rules_refused(&format!("reactors {}", rule.name), problems)
                    })?
                    .shared()
            }
        })
    }
}
