//! What a node's own webhooks mean: `POST /webhook/{node}`.

use std::sync::Arc;

use bytes::Bytes;
use nexus_core::{Catalogue, Coded, Event, EventType, Filter, Kind, NewEvent, Seq, Source, Topic};
use nexus_expr::{JsonTemplate, RenderError, Scope, Shape, Template, compile_filter_with};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    RuleProblem,
    context::{Env, before},
    problem::Problems,
};

/// What filters and templates of a mapping see as the topic of a webhook.
const TOPIC: &str = "webhook.received";
/// Why a webhook is ignored, unless the mapping says.
const IGNORED: &str = "ignored";

/// `[[nodes.webhook]]`: what one kind of webhook of a node means. The first whose condition holds is used.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MappingConfig {
    /// The condition that the body has to meet, in CEL: `payload` is the body. Unset: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The topic of the event that it is, or one of its names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// It is nothing: why, as the sender is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore: Option<String>,
    /// The event's payload: JSON whose texts are templates. Unset: the body as it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Shape>,
    /// The fact that it tells of: a second webhook with one is the first again. A template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub once: Option<String>,
    /// The event's ordering key: a template. Unset: what its payload says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// The mappings of one node, compiled.
pub struct Mappings {
    source: Source,
    catalogue: Arc<Catalogue>,
    topic: Topic,
    mappings: Vec<Mapping>,
}

struct Mapping {
    when: Option<Filter>,
    meaning: Meaning,
}

enum Meaning {
    Ignore(String),
    Event(Box<Made>),
}

/// How the event is made.
struct Made {
    event_type: Arc<EventType>,
    payload: Option<JsonTemplate>,
    once: Option<Template>,
    key: Option<Template>,
}

/// What a webhook means.
#[derive(Debug)]
pub enum Mapped {
    /// An event.
    Event {
        /// The event.
        event: Box<NewEvent>,
        /// The fact that it tells of, within the node.
        once: Option<String>,
    },
    /// Nothing.
    Ignored {
        /// Why, for the sender.
        reason: String,
    },
    /// No mapping says what it is.
    Unknown,
}

/// Why a webhook that a mapping fits is no event: its body lacks what the mapping asks for.
#[derive(Debug, thiserror::Error)]
#[error("{place} cannot be made of this body")]
pub struct MappingError {
    /// The part of the mapping.
    pub place: &'static str,
    /// What is missing.
    pub source: RenderError,
}

impl Coded for MappingError {
    fn kind(&self) -> Kind {
        Kind::Malformed
    }

    fn code(&self) -> &'static str {
        "invalid-payload"
    }
}

impl Mappings {
    /// Compiles the mappings of a node. `env` gives the variables of the environment that they name.
    ///
    /// # Errors
    /// Everything that is wrong with them, each with its place: `[2].payload.amount`.
    pub fn compile(
        node: &str,
        configs: &[MappingConfig],
        catalogue: &Arc<Catalogue>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<RuleProblem>> {
        let mut problems = Problems::default();
        let env = Env::new(env);
        let source = Source::parse(&format!("node:{node}"))
            .map_err(|_| problems.add("", "this is no id of a node"))
            .ok();
        let topic = Topic::parse(TOPIC)
            .map_err(|error| problems.add("", error.to_string()))
            .ok();
        let mappings: Vec<Mapping> = configs
            .iter()
            .enumerate()
            .filter_map(|(n, config)| {
                let place = format!("[{n}]");
                Mapping::compile(config, &place, catalogue, &env, &mut problems)
            })
            .collect();
        for (n, mapping) in mappings.iter().enumerate() {
            if mapping.when.is_none() && n + 1 < configs.len() && mappings.len() == configs.len() {
                let what = "it has no condition, so those behind it are never used";
                problems.add(format!("[{n}].when"), what);
            }
        }
        let made = source.zip(topic).map(|(source, topic)| Self {
            source,
            catalogue: Arc::clone(catalogue),
            topic,
            mappings,
        });
        problems.finish(made)
    }

    /// What a webhook of the node means. The body is JSON that was read strictly.
    ///
    /// # Errors
    /// [`MappingError`]: the sender has left out what the mapping needs.
    pub fn apply(&self, body: &Bytes, time_us: i64) -> Result<Mapped, MappingError> {
        let received = Event {
            seq: Seq::new(0),
            id: Uuid::nil(),
            topic: self.topic.clone(),
            source: self.source.clone(),
            key: None,
            time_us,
            causes: Bytes::from_static(b"{}"),
            payload: body.clone(),
        };
        let fits = |mapping: &&Mapping| {
            let when = mapping.when.as_ref();
            when.is_none_or(|when| when.matches(&received))
        };
        let Some(mapping) = self.mappings.iter().find(fits) else {
            return Ok(Mapped::Unknown);
        };
        let made = match &mapping.meaning {
            Meaning::Ignore(reason) => {
                let reason = reason.clone();
                return Ok(Mapped::Ignored { reason });
            }
            Meaning::Event(made) => made,
        };
        let scope = Scope::new(&received, &self.catalogue);
        let failed = |place| move |source| MappingError { place, source };
        let payload = match &made.payload {
            Some(payload) => payload.render(&scope).map_err(failed("payload"))?.into(),
            None => body.clone(),
        };
        let text = |place, template: &Option<Template>| {
            let text = template.as_ref().map(|template| template.render(&scope));
            text.transpose().map_err(failed(place))
        };
        let mut event = NewEvent::new(Arc::clone(&made.event_type), payload);
        event.key = text("key", &made.key)?.map(Into::into);
        Ok(Mapped::Event {
            event: Box::new(event),
            once: text("once", &made.once)?,
        })
    }
}

impl std::fmt::Debug for Mappings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mappings")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl Mapping {
    fn compile(
        config: &MappingConfig,
        place: &str,
        catalogue: &Arc<Catalogue>,
        env: &Env<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let when = match &config.when {
            None => Some(None),
            Some(when) => match compile_filter_with(when, catalogue) {
                Ok(filter) => Some(Some(filter)),
                Err(error) => {
                    let (line, column) = (error.line, error.column);
                    let what = format!("line {line}, column {column}: {}", error.message);
                    problems.add(format!("{place}.when"), what);
                    None
                }
            },
        };
        let meaning = match (&config.event, &config.ignore) {
            (Some(event), None) => meaning(event, config, place, catalogue, env, problems),
            (None, Some(reason)) => {
                if config.payload.is_some() || config.once.is_some() || config.key.is_some() {
                    problems.add(place, "what is ignored has no payload, once or key");
                }
                let reason = if reason.is_empty() { IGNORED } else { reason };
                Some(Meaning::Ignore(reason.to_owned()))
            }
            _ => {
                problems.add(place, "say either event or ignore");
                None
            }
        };
        Some(Self {
            when: when?,
            meaning: meaning?,
        })
    }
}

fn meaning(
    event: &str,
    config: &MappingConfig,
    place: &str,
    catalogue: &Catalogue,
    env: &Env<'_>,
    problems: &mut Problems,
) -> Option<Meaning> {
    let look_up = |name: &str| env.get(name);
    let context = before(&look_up);
    let event_type = problems.event(&format!("{place}.event"), event, catalogue);
    let payload = format!("{place}.payload");
    let payload = problems.json(&payload, config.payload.as_ref(), &context);
    let mut text = |member: &str, text: &Option<String>| match text {
        None => Some(None),
        Some(text) => {
            let place = format!("{place}.{member}");
            let template = Template::compile(text, &context)
                .map_err(|error| problems.template(&place, error))
                .ok()?;
            problems.unset(&place, template.unset());
            Some(Some(template))
        }
    };
    let once = text("once", &config.once);
    let key = text("key", &config.key);
    Some(Meaning::Event(Box::new(Made {
        event_type: event_type?,
        payload: payload?,
        once: once?,
        key: key?,
    })))
}
