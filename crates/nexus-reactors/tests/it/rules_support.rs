//! Rules, as tests write them.

use std::{collections::HashMap, sync::Arc};

use nexus_auth::{Auth, AuthOptions, NodeOptions, Secret};
use nexus_core::{
    Attempt, Catalogue, Clock, Event, Mode, NameForm, ReactorError, Seq, SharedReactor, Source,
    Topic,
};
use nexus_outbound::{Client, OutboundOptions};
use nexus_reactors::{
    Alerts, NodeAddresses, Nodes,
    rules::{Rule, RuleConfig, RuleContext, RuleProblem},
};
use url::Url;
use uuid::Uuid;

/// 2026-11-21T06:00:00.123456Z
pub(crate) const TIME_US: i64 = 1_795_240_800_123_456;

pub(crate) fn client() -> Client {
    Client::new(&OutboundOptions {
        allow_loopback: true,
        ..OutboundOptions::default()
    })
    .unwrap()
}

pub(crate) fn nodes(configured: &[(&str, Url)]) -> Nodes {
    let configured: HashMap<String, Url> = configured
        .iter()
        .map(|(node, url)| ((*node).to_owned(), url.clone()))
        .collect();
    let addresses = NodeAddresses {
        configured,
        ..NodeAddresses::default()
    };
    Nodes::new(addresses, client(), Clock::manual(TIME_US))
}

pub(crate) fn auth() -> Auth {
    let secret = || Secret::new("a-secret-of-at-least-32-characters");
    let mut flowpay = NodeOptions::new("flowpay");
    flowpay = flowpay.secret(Secret::new("another-secret-of-32-characters-or-more"));
    flowpay.names = NameForm::Qualified;
    let options = AuthOptions {
        default_secrets: vec![secret().into()],
        nodes: vec![flowpay],
        ..AuthOptions::default()
    };
    Auth::new(&options, &Catalogue::known(), Clock::manual(TIME_US)).unwrap()
}

/// What rules of tests are compiled against.
pub(crate) struct Ground {
    pub(crate) variables: HashMap<String, String>,
    pub(crate) nodes: Nodes,
    pub(crate) alerts: Alerts,
}

impl Ground {
    pub(crate) fn new() -> Self {
        Self {
            variables: HashMap::new(),
            nodes: nodes(&[]),
            alerts: Alerts::none(),
        }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn compile(&self, config: &RuleConfig) -> Result<Rule, Vec<RuleProblem>> {
        let context = RuleContext {
            catalogue: Arc::new(Catalogue::known()),
            client: client(),
            nodes: self.nodes.clone(),
            auth: auth(),
            alerts: self.alerts.clone(),
            clock: Clock::manual(TIME_US),
            env: &|name| self.variables.get(name).cloned(),
        };
        Rule::compile(config, &context)
    }

    /// A rule that has to be good.
    pub(crate) fn rule(&self, toml: &str) -> SharedReactor {
        let config = read(toml);
        let rule = self.compile(&config);
        rule.unwrap_or_else(|problems| panic!("{problems:?}"))
            .shared()
    }

    /// What is wrong with a rule, place by place.
    pub(crate) fn problems(&self, toml: &str) -> Vec<String> {
        // Not from the text: then what is told holds a part of it.
        let table: toml::Table = toml::from_str(toml).unwrap();
        let config = match RuleConfig::read(toml::Value::Table(table)) {
            Ok(config) => config,
            Err(problem) => return vec![problem.to_string()],
        };
        let problems = self.compile(&config).expect_err(toml);
        problems.iter().map(ToString::to_string).collect()
    }
}

/// A rule in TOML.
pub(crate) fn read(toml: &str) -> RuleConfig {
    let deserializer = toml::de::Deserializer::parse(toml).unwrap();
    RuleConfig::read(deserializer).unwrap_or_else(|problem| panic!("{problem}"))
}

/// The rules of `deploy/config/reactors.example.toml`.
pub(crate) fn shipped() -> Vec<RuleConfig> {
    #[derive(serde::Deserialize)]
    struct File {
        reactors: Vec<RuleConfig>,
    }
    let text = include_str!("../../../../deploy/config/reactors.example.toml");
    toml::from_str::<File>(text).unwrap().reactors
}

/// An event with this payload.
pub(crate) fn event(topic: &str, payload: &str) -> Arc<Event> {
    Arc::new(Event {
        seq: Seq::new(1042),
        id: Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0002),
        topic: Topic::parse(topic).unwrap(),
        source: Source::parse("node:flowpay").unwrap(),
        key: Some("order-9".into()),
        time_us: TIME_US,
        causes: bytes::Bytes::from_static(b"{}"),
        payload: payload.to_owned().into(),
    })
}

/// The attempt that the engine would make.
pub(crate) fn attempt(reactor: &SharedReactor, event: &Arc<Event>, mode: Mode) -> Attempt {
    let name = reactor.options().name;
    let key = reactor
        .once(event)
        .unwrap_or_else(|| format!("{name}:{}", event.id));
    let delivery = format!("{name}/{}", event.seq);
    Attempt::new(event.clone(), 1, key.into(), delivery.into(), mode)
}

/// Payments as they come, and as they could.
pub(crate) const PAYMENTS: [&str; 10] = [
    r#"{"transactionId":"tx-1","amount":1250,"payerId":"payer-7"}"#,
    r#"{"orderId":"o-1","amount":100.50,"payerId":"payer-7"}"#,
    r#"{"transactionId":"tx-2","orderId":"o-2","amount":"12345678901234567890.10","payerId":"p"}"#,
    r#" { "orderId" : "o-3", "transactionId":null, "amount" : 1e3 , "payerId":"p\u0041\"", "x":[] } "#,
    r#"{"orderId":null,"transactionId":"tx 3","amount":123456789012345678901234567890,"payerId":"é"}"#,
    r#"{"orderId":"ö%\\","amount":0.10,"payerId":"p","metadata":{"a":1}}"#,
    r#"{"payerId":"p","amount":-0.0,"transactionId":"tx-4","currency":"BRL"}"#,
    r#"{"payerId":"p","amount":0,"orderId":"o-5"}"#,
    r#"{"payerId":"p","amount":"0.00","orderId":"o-6"}"#,
    "null",
];

/// What came of an attempt: the events that follow, or why there are none.
pub(crate) async fn outcome(
    reactor: &SharedReactor,
    topic: &str,
    payload: &str,
) -> Result<Vec<String>, String> {
    let event = event(topic, payload);
    let attempt = attempt(reactor, &event, Mode::Live);
    match reactor.react(attempt).await {
        Ok(reaction) => {
            let shown = reaction.emit.iter().map(|new| {
                let payload = String::from_utf8(new.payload.to_vec()).unwrap();
                format!("{} {:?} {payload}", new.event_type.topic, new.key)
            });
            Ok(shown.collect())
        }
        Err(ReactorError::Retry { detail, after }) => Err(format!("retry {after:?} {detail}")),
        Err(error) => Err(format!("final {error}")),
    }
}
