//! A rule as it is written: `[[reactors]]` in the configuration, or JSON.

use std::collections::BTreeMap;

use nexus_expr::Shape;
use serde::{Deserialize, Deserializer, Serialize};

use super::RuleProblem;

/// `[[reactors]]`: a rule.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Its name: 1 to 100 of a-z, 0-9, `-` and `_`. Its progress is kept under it.
    pub name: String,
    /// Names, topics and patterns of the events that it runs for.
    pub on: OneOrMany<String>,
    /// The condition that an event has to meet, in CEL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What is done only once, whatever event brings it: a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub once: Option<String>,
    /// A call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpConfig>,
    /// A node is told of the event, signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookConfig>,
    /// People are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<AlertConfig>,
    /// The events that follow, after the call if there is one.
    #[serde(default, skip_serializing_if = "OneOrMany::is_empty")]
    pub emit: OneOrMany<EmitConfig>,
    /// When a failed attempt is made again.
    #[serde(default)]
    pub retry: RetryConfig,
    /// How long an attempt may take. Unset: the call's time, and 12 s to look the receiver up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Which events wait for which.
    #[serde(default)]
    pub ordering: OrderingConfig,
    /// What events of an ordering key do behind one that failed.
    #[serde(default)]
    pub on_blocked: BlockedConfig,
    /// How many run at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<usize>,
    /// Where it begins when it has never run. Unset: as the engine says, with what happens next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begin: Option<BeginConfig>,
    /// How many attempts are begun in a second, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<f64>,
    /// When a receiver that fails is left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BreakerConfig>,
}

impl RuleConfig {
    /// Reads a rule from any format; a mistake in its form is told with its place.
    ///
    /// # Errors
    /// [`RuleProblem`], the first that is met.
    pub fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, RuleProblem> {
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            let place = match error.path().to_string() {
                path if path == "." => String::new(),
                path => path,
            };
            RuleProblem {
                place,
                what: error.into_inner().to_string(),
            }
        })
    }

    /// Reads a rule from JSON.
    ///
    /// # Errors
    /// As [`RuleConfig::read`].
    pub fn from_json(text: &str) -> Result<Self, RuleProblem> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let rule = Self::read(&mut deserializer)?;
        deserializer.end().map_err(|error| RuleProblem {
            place: String::new(),
            what: error.to_string(),
        })?;
        Ok(rule)
    }
}

/// `http`: a call.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    #[serde(default = "post")]
    pub method: String,
    /// Where to: a template.
    pub url: String,
    /// What to say beside the body: templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The variable that holds the bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_env: Option<String>,
    /// The body: JSON whose texts are templates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Shape>,
    /// How long the call may take.
    #[serde(default = "http_timeout_ms")]
    pub timeout_ms: u64,
    /// What is done while a variable that the call names is not set.
    #[serde(default)]
    pub when_unset: WhenUnset,
}

fn post() -> String {
    "POST".to_owned()
}

fn http_timeout_ms() -> u64 {
    30_000
}

/// `webhook`: a node is told of the event, signed.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// The node's id.
    pub node: String,
    /// Where below its address.
    #[serde(default = "webhook_path")]
    pub path: String,
    /// Which name the event is told by. Unset: as the node wants it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<NamesConfig>,
    /// What it is told instead of the event's payload: JSON whose texts are templates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Shape>,
    /// How long the call may take.
    #[serde(default = "webhook_timeout_ms")]
    pub timeout_ms: u64,
    /// What is done while nobody knows where the node is.
    #[serde(default)]
    pub when_unset: WhenUnset,
}

fn webhook_path() -> String {
    "api/webhook/nexus".to_owned()
}

fn webhook_timeout_ms() -> u64 {
    5_000
}

/// Which name of an event is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NamesConfig {
    /// `MINT_CONFIRMED`
    Name,
    /// `FACTORY:MINT_CONFIRMED`
    Qualified,
    /// `mint.confirmed`
    Topic,
}

/// `alert`: people are told.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AlertConfig {
    /// One sentence: a template.
    pub message: String,
    /// What it is about: alerts with one cause are told once in a quarter hour. A template; unset:
    /// `rule:<name>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// `emit`: an event that follows.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EmitConfig {
    /// Its topic, or one of its names.
    pub topic: String,
    /// Its payload: JSON whose texts are templates. Unset: the payload of the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Shape>,
    /// Its ordering key: a template. Unset: the event's, so that what follows from one order stays in one
    /// order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// What is done while something that a call needs is not configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenUnset {
    /// The rule is refused; where that is known only later, its attempts fail.
    #[default]
    Refuse,
    /// The rule goes on without the call, and says so.
    Skip,
}

/// `retry`: when a failed attempt is made again.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// How many attempts there are; the first counts.
    pub attempts: u32,
    /// How long after the first failure the second attempt is made.
    pub first_ms: u64,
    /// By how much each wait is longer than the one before.
    pub factor: f64,
    /// By which part of itself a wait is made longer or shorter at random.
    pub jitter: f64,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            attempts: 6,
            first_ms: 1_000,
            factor: 2.0,
            jitter: 0.2,
        }
    }
}

/// `breaker`: when a receiver that fails is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BreakerConfig {
    /// After so many failures one after the other.
    pub failures: u32,
    /// For so long; then one attempt is made.
    pub open_ms: u64,
}

/// Which events wait for which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderingConfig {
    /// None waits.
    #[default]
    None,
    /// Those with the same key run one after the other.
    Key,
    /// All run one after the other, and the first failure stops those behind it.
    All,
}

/// What events of an ordering key do behind one that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockedConfig {
    /// They wait until it is done or given up.
    #[default]
    Wait,
    /// They become dead letters that say so.
    Park,
}

/// Where a rule begins that has never run: `latest`, `earliest`, or behind a position.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct BeginConfig(pub String);

/// One, or a list of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> OneOrMany<T> {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

mod one_or_many {
    //! Reads one, or a list: which of them it is tells the format.

    use std::{fmt, marker::PhantomData};

    use serde::{
        Deserialize, Deserializer,
        de::{
            self, MapAccess, SeqAccess, Visitor,
            value::{MapAccessDeserializer, StrDeserializer},
        },
    };

    use super::OneOrMany;

    struct Reader<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
        type Value = OneOrMany<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("one, or a list")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            T::deserialize(StrDeserializer::new(text)).map(|one| OneOrMany(vec![one]))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut many = Vec::new();
            while let Some(one) = list.next_element()? {
                many.push(one);
            }
            Ok(OneOrMany(many))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(|one| OneOrMany(vec![one]))
        }
    }

    impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(Reader(PhantomData))
        }
    }
}
