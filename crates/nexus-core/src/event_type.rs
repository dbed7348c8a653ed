//! What is known of one event: its names, who may publish it, what its payload must look like.

use std::{fmt, sync::Arc};

use crate::{Json, Owner, PayloadProblem, ProtocolEvent, Topic, protocol_event::RESERVED_PREFIXES};

/// Checks the raw text of a payload against a schema that core does not know.
pub type SchemaCheck = Arc<dyn Fn(&[u8]) -> Vec<PayloadProblem> + Send + Sync>;

/// An event that the configuration declares.
#[derive(Clone)]
pub struct DeclaredEvent {
    /// Where it is filed.
    pub topic: Topic,
    /// Its name; by default the topic in upper case with `_` for `.`.
    pub name: Option<String>,
    /// The node that may publish it.
    pub owner: Option<String>,
    /// The member of the payload that is the ordering key, as names from the root.
    pub key: Vec<String>,
    /// What its payload must look like.
    pub schema: Option<SchemaCheck>,
}

/// Which of its names an event was called by: an answer uses the form that its client used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NameForm {
    /// `PAYMENT_RECEIVED`
    Name,
    /// `FLOWPAY:PAYMENT_RECEIVED`
    Qualified,
    /// `payment.received`
    Topic,
}

/// What is known of one topic.
pub struct EventType {
    /// Where it is filed.
    pub topic: Topic,
    /// The short name, `PAYMENT_RECEIVED`.
    pub name: Arc<str>,
    /// The name that live nodes use, `FLOWPAY:PAYMENT_RECEIVED`.
    pub qualified_name: Arc<str>,
    /// The node that may publish it when it is configured without a list of its own.
    pub owner: Option<Arc<str>>,
    /// Whether only Nexus itself may publish it.
    pub reserved: bool,
    known: Option<ProtocolEvent>,
    key: Vec<String>,
    schema: Option<SchemaCheck>,
}

impl EventType {
    /// The name in a form.
    #[must_use]
    pub fn name_in(&self, form: NameForm) -> &str {
        match form {
            NameForm::Name => &self.name,
            NameForm::Qualified => &self.qualified_name,
            NameForm::Topic => self.topic.as_str(),
        }
    }

    /// The known event that it is, if it is one.
    #[must_use]
    pub fn known(&self) -> Option<ProtocolEvent> {
        self.known
    }

    /// What is wrong with a payload; `text` is what `payload` was read from.
    #[must_use]
    pub fn check(&self, payload: &Json<'_>, text: &[u8]) -> Vec<PayloadProblem> {
        match (self.known, &self.schema) {
            (Some(known), _) => known.check(payload),
            (None, Some(schema)) => schema(text),
            (None, None) => Vec::new(),
        }
    }

    /// The ordering key of a payload: its order, else its transaction, else its payer, else what the
    /// declaration names.
    #[must_use]
    pub fn key_of(&self, payload: &Json<'_>) -> Option<Arc<str>> {
        ["orderId", "transactionId", "payerId"]
            .iter()
            .find_map(|name| payload.get(name).and_then(scalar_text))
            .or_else(|| {
                let (first, rest) = self.key.split_first()?;
                let member = rest
                    .iter()
                    .try_fold(payload.get(first)?, |value, name| value.get(name));
                member.and_then(scalar_text)
            })
    }

    pub(crate) fn of_known(event: ProtocolEvent, topic: Topic) -> Self {
        let (owner, reserved) = match event.owner() {
            Owner::Node(id) => (Some(id.into()), false),
            Owner::Sessions => (None, false),
            Owner::Reserved => (None, true),
        };
        Self {
            topic,
            name: event.name().into(),
            qualified_name: event.qualified_name().into(),
            owner,
            reserved,
            known: Some(event),
            key: Vec::new(),
            schema: None,
        }
    }

    pub(crate) fn of_declared(declared: DeclaredEvent) -> Self {
        let name: Arc<str> = match declared.name {
            Some(name) => name.into(),
            None => declared
                .topic
                .as_str()
                .to_uppercase()
                .replace('.', "_")
                .into(),
        };
        Self {
            reserved: is_reserved(&declared.topic),
            topic: declared.topic,
            qualified_name: name.clone(),
            name,
            owner: declared.owner.map(Into::into),
            known: None,
            key: declared.key,
            schema: declared.schema,
        }
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventType")
            .field("topic", &self.topic)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A key longer than this is no ordering key.
pub(crate) const KEY_BYTES_MAX: usize = 256;

fn scalar_text(value: &Json<'_>) -> Option<Arc<str>> {
    match value {
        Json::String(text) if !text.is_empty() && text.len() <= KEY_BYTES_MAX => {
            Some(text.as_ref().into())
        }
        Json::Number(number) => Some(number.to_string().into()),
        _ => None,
    }
}

/// Whether only Nexus itself may publish the topic, whatever was declared.
pub(crate) fn is_reserved(topic: &Topic) -> bool {
    RESERVED_PREFIXES
        .iter()
        .any(|prefix| topic.as_str().starts_with(prefix))
}
