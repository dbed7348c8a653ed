//! What each reactor of a configuration is made from.

use std::{collections::BTreeMap, sync::Arc};

use nexus_auth::Secret;
use nexus_core::{Catalogue, PatternSet, ProtocolEvent, ReactorOptions, SharedReactor};
use nexus_reactors::{
    MintToNotify, PaymentToMint,
    rules::{
        BlockedConfig, OneOrMany, OrderingConfig, RetryConfig, Rule, RuleConfig, RuleContext,
        WebhookConfig, WhenUnset,
    },
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
    /// A node is told of what the protocol says.
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
    let name = |node: &str| format!("{MINT_TO_NOTIFY}-{node}");
    for (node, events) in told_by_protocol(config) {
        let recipe = Recipe::Tell {
            node: node.to_owned(),
            events,
            retry,
        };
        recipes.insert(name(node), recipe);
    }
    let rule = |rule: RuleConfig| Recipe::Rule {
        rule: Box::new(rule),
        variables: config.variables.clone(),
        events: config.events_fingerprint,
    };
    // What a node's entry says takes the place of what the protocol does.
    for node in &config.nodes {
        let Some(events) = &node.events else { continue };
        let name = name(&node.id);
        if events.is_empty() {
            recipes.remove(&name);
        } else {
            let told = tell(name.clone(), &node.id, events, retry);
            recipes.insert(name, rule(told));
        }
    }
    // A rule takes the place of what ships under its name, and goes on where that stopped.
    for written in &config.rules {
        recipes.insert(written.name.clone(), rule(written.clone()));
    }
    recipes
}

/// What the protocol tells nodes of.
fn told_by_protocol(config: &Config) -> Vec<(&'static str, Vec<String>)> {
    use ProtocolEvent::{MintConfirmed, MintFailed};
    if !config.reactors.mint_to_notify {
        return Vec::new();
    }
    let names = |events: &[ProtocolEvent]| {
        let topics = events.iter().map(|event| event.topic().to_owned());
        topics.collect::<Vec<_>>()
    };
    vec![
        (FLOWPAY, names(&[MintConfirmed, MintFailed])),
        (NEOBOT, names(&[MintConfirmed])),
    ]
}

/// The rule that tells a node of the events that it wants.
fn tell(name: String, node: &str, events: &[String], retry: Retry) -> RuleConfig {
    let webhook = WebhookConfig {
        node: node.to_owned(),
        path: "api/webhook/nexus".to_owned(),
        names: None,
        payload: None,
        timeout_ms: 5_000,
        when_unset: WhenUnset::Skip,
    };
    RuleConfig {
        name,
        on: OneOrMany(events.to_vec()),
        when: None,
        once: None,
        http: None,
        webhook: Some(webhook),
        alert: None,
        emit: OneOrMany::default(),
        retry: RetryConfig {
            attempts: retry.attempts,
            first_ms: retry.first_ms,
            factor: retry.factor,
            jitter: retry.jitter,
        },
        timeout_ms: None,
        ordering: OrderingConfig::default(),
        on_blocked: BlockedConfig::default(),
        concurrency: None,
        begin: None,
        rate_per_second: None,
        breaker: None,
    }
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
