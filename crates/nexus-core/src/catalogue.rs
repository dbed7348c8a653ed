//! The catalogue: which events exist, under which names, and what their payloads must look like.

use std::{collections::HashMap, sync::Arc};

use crate::{
    DeclaredEvent, Error, EventType, NameForm, Pattern, ProtocolEvent, Topic,
    event_type::is_reserved, topic::shorten,
};

/// An event's name as somebody wrote it, understood.
#[derive(Debug, Clone)]
pub struct NamedEvent {
    /// What was named.
    pub event_type: Arc<EventType>,
    /// By which of its names.
    pub form: NameForm,
}

/// Every event that may be published, by each of its names.
#[derive(Debug)]
pub struct Catalogue {
    by_name: HashMap<Arc<str>, NamedEvent>,
    types: Vec<Arc<EventType>>,
    open: bool,
}

impl Catalogue {
    /// The known events and nothing else.
    #[must_use]
    pub fn known() -> Self {
        #[allow(clippy::expect_used, reason = "a test reads every known topic")]
        let types = ProtocolEvent::ALL.iter().map(|event| {
            EventType::of_known(
                *event,
                Topic::parse(event.topic()).expect("known topics are valid"),
            )
        });
        let mut catalogue = Self {
            by_name: HashMap::new(),
            types: Vec::new(),
            open: false,
        };
        for event_type in types {
            catalogue.insert(event_type);
        }
        catalogue
    }

    /// The known events, those that the configuration declares, and if `open` any other topic that is not
    /// reserved.
    ///
    /// ```
    /// # use nexus_core::{Catalogue, DeclaredEvent, Topic};
    /// let workout = DeclaredEvent {
    ///     topic: Topic::parse("workout.completed")?,
    ///     name: None,
    ///     owner: Some("gym".to_owned()),
    ///     key: vec!["athleteId".to_owned()],
    ///     schema: None,
    /// };
    /// let catalogue = Catalogue::new(vec![workout], false)?;
    /// let named = catalogue.resolve("WORKOUT_COMPLETED")?;
    /// assert_eq!(named.event_type.topic.as_str(), "workout.completed");
    /// assert!(catalogue.resolve("workout.begun").is_err());
    /// # Ok::<(), nexus_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidName`] when a declared event has the topic or name of another, or is reserved.
    pub fn new(declared: Vec<DeclaredEvent>, open: bool) -> Result<Self, Error> {
        let mut catalogue = Self {
            open,
            ..Self::known()
        };
        for event in declared {
            let event_type = EventType::of_declared(event);
            let refuse = |what, value: &str, why| Error::InvalidName {
                what,
                value: shorten(value),
                why,
            };
            if event_type.reserved {
                return Err(refuse(
                    "topic",
                    event_type.topic.as_str(),
                    "its first segment is reserved",
                ));
            }
            if catalogue.by_name.contains_key(event_type.topic.as_str()) {
                return Err(refuse(
                    "topic",
                    event_type.topic.as_str(),
                    "another event has it already",
                ));
            }
            if catalogue.by_name.contains_key(&event_type.name) {
                return Err(refuse(
                    "event name",
                    &event_type.name,
                    "another event has it already",
                ));
            }
            catalogue.insert(event_type);
        }
        Ok(catalogue)
    }

    fn insert(&mut self, event_type: EventType) {
        let event_type = Arc::new(event_type);
        for form in [NameForm::Topic, NameForm::Qualified, NameForm::Name] {
            let named = NamedEvent {
                event_type: event_type.clone(),
                form,
            };
            self.by_name.insert(event_type.name_in(form).into(), named);
        }
        self.types.push(event_type);
    }

    /// The event that a name, a qualified name or a topic names.
    ///
    /// # Errors
    /// [`Error::UnknownEvent`] with the names that would have been valid.
    pub fn resolve(&self, name: &str) -> Result<NamedEvent, Error> {
        if let Some(named) = self.by_name.get(name) {
            return Ok(named.clone());
        }
        if self.open
            && let Ok(topic) = Topic::parse(name)
            && !is_reserved(&topic)
        {
            let declared = DeclaredEvent {
                topic,
                name: None,
                owner: None,
                key: Vec::new(),
                schema: None,
            };
            let event_type = Arc::new(EventType::of_declared(declared));
            return Ok(NamedEvent {
                event_type,
                form: NameForm::Topic,
            });
        }
        Err(Error::UnknownEvent {
            name: shorten(name),
            valid: self.names(),
        })
    }

    /// The pattern that a name, a qualified name, a topic or a pattern stands for, and the form in which
    /// events that match it are called.
    ///
    /// # Errors
    /// [`Error::UnknownEvent`] when it is no pattern and names no event.
    pub fn resolve_pattern(&self, text: &str) -> Result<(Pattern, NameForm), Error> {
        if let Some(named) = self.by_name.get(text) {
            return Ok((Pattern::from(&named.event_type.topic), named.form));
        }
        match Pattern::parse(text) {
            Ok(pattern) if !pattern.is_exact() || self.open => Ok((pattern, NameForm::Topic)),
            _ => Err(Error::UnknownEvent {
                name: shorten(text),
                valid: self.names(),
            }),
        }
    }

    /// What is known of a topic; nothing for a topic that is not in the catalogue.
    #[must_use]
    pub fn get(&self, topic: &Topic) -> Option<&Arc<EventType>> {
        self.by_name
            .get(topic.as_str())
            .map(|named| &named.event_type)
    }

    /// The type of a known event.
    #[must_use]
    pub fn known_type(&self, event: ProtocolEvent) -> Arc<EventType> {
        // A declared event cannot take a known topic, and `known` inserted them all in this order.
        self.types[event as usize].clone()
    }

    /// Every event type, the known ones first.
    #[must_use]
    pub fn types(&self) -> &[Arc<EventType>] {
        &self.types
    }

    /// The names of every event that someone may publish or subscribe to.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.types
            .iter()
            .map(|event_type| event_type.name.to_string())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Json;

    fn declared(topic: &str) -> DeclaredEvent {
        DeclaredEvent {
            topic: Topic::parse(topic).unwrap(),
            name: None,
            owner: Some("wod-x-pro".into()),
            key: vec!["athlete".into(), "id".into()],
            schema: None,
        }
    }

    #[test]
    fn one_event_under_three_names() {
        let catalogue = Catalogue::known();
        for (name, form) in [
            ("PAYMENT_RECEIVED", NameForm::Name),
            ("FLOWPAY:PAYMENT_RECEIVED", NameForm::Qualified),
            ("payment.received", NameForm::Topic),
        ] {
            let named = catalogue.resolve(name).unwrap();
            assert_eq!(
                (named.event_type.topic.as_str(), named.form),
                ("payment.received", form)
            );
            assert_eq!(named.event_type.name_in(form), name);
        }
        // Where the names coincide, the plain one is the form.
        assert_eq!(
            catalogue.resolve("HELP_NEEDED").unwrap().form,
            NameForm::Name
        );
    }

    #[test]
    fn unknown_names_are_refused_with_the_valid_ones() {
        let Err(Error::UnknownEvent { valid, .. }) = Catalogue::known().resolve("NOPE") else {
            panic!()
        };
        assert!(valid.contains(&"PAYMENT_RECEIVED".to_owned()));
        assert!(Catalogue::known().resolve("workout.completed").is_err());
    }

    #[test]
    fn declared_events_are_known_and_open_ones_too() {
        let catalogue = Catalogue::new(vec![declared("workout.completed")], true).unwrap();
        let event_type = catalogue.resolve("WORKOUT_COMPLETED").unwrap().event_type;
        let payload = Json::parse(br#"{"athlete":{"id":7}}"#).unwrap();
        assert_eq!(event_type.key_of(&payload).as_deref(), Some("7"));
        assert!(catalogue.resolve("any.thing").is_ok());
        assert!(catalogue.resolve("job.done").is_err());
        assert!(Catalogue::new(vec![declared("payment.received")], false).is_err());
        assert!(Catalogue::new(vec![declared("job.done")], false).is_err());
    }

    #[test]
    fn patterns_take_names_and_wildcards() {
        let catalogue = Catalogue::known();
        let (pattern, form) = catalogue.resolve_pattern("FACTORY:MINT_CONFIRMED").unwrap();
        assert_eq!(
            (pattern.as_str(), form),
            ("mint.confirmed", NameForm::Qualified)
        );
        assert_eq!(
            catalogue.resolve_pattern("payment.*").unwrap().1,
            NameForm::Topic
        );
        assert!(catalogue.resolve_pattern("no.such").is_err());
        assert!(catalogue.resolve_pattern("nonsense").is_err());
    }

    #[test]
    fn known_types_are_found_by_event() {
        let catalogue = Catalogue::known();
        for event in ProtocolEvent::ALL {
            assert_eq!(catalogue.known_type(*event).known(), Some(*event));
        }
    }
}
