//! What a reader gets and under which name: its subscriptions in order, within its rights.

use std::sync::Arc;

use nexus_core::{Event, Pattern, PatternSet, Principal, Scope, Source, Topic};

/// One subscription as the encoder needs it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) pattern: Pattern,
    /// The name that frames carry, as JSON; nothing = the event's topic.
    pub(crate) name: Option<Arc<str>>,
}

impl Entry {
    /// The subscription that a client wrote as `text`: a name is repeated as it was written, a pattern
    /// with wildcards gives topics.
    pub(crate) fn new(text: &str, pattern: Pattern) -> Self {
        let name = pattern
            .is_exact()
            .then(|| serde_json::Value::from(text).to_string().into());
        Self { pattern, name }
    }
}

/// Who may see events that are between two.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Private {
    /// All of them: an operator, or somebody who did not ask for any.
    All,
    /// Those from or to this one.
    Of(Source),
}

/// What a reader is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Rights {
    readable: PatternSet,
    private: Private,
}

impl Rights {
    pub(crate) fn of(principal: &Principal) -> Self {
        let private = if principal.scopes().has(Scope::Operate) {
            Private::All
        } else {
            Private::Of(principal.source().clone())
        };
        Self {
            readable: principal.readable().clone(),
            private,
        }
    }
}

impl Rights {
    /// Whether anything that the pattern stands for may be read, as far as that is known.
    pub(crate) fn may_read(&self, pattern: &Pattern) -> bool {
        match Topic::parse(pattern.as_str()) {
            Ok(topic) => self.readable.matches(&topic),
            Err(_) => !self.readable.is_empty(),
        }
    }
}

/// What a group of readers gets. Readers with equal selections get the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Selection {
    entries: Box<[Entry]>,
    rights: Rights,
}

impl Selection {
    pub(crate) fn new(entries: Vec<Entry>, rights: &Rights) -> Self {
        let mut rights = rights.clone();
        // Who it is matters only to those who may meet private events: all others share.
        if !entries.iter().any(|entry| may_be_private(&entry.pattern)) {
            rights.private = Private::All;
        }
        Self {
            entries: entries.into(),
            rights,
        }
    }

    /// Whether an event of this topic can be in the selection.
    pub(crate) fn wants(&self, topic: &Topic) -> bool {
        self.rights.readable.matches(topic)
            && self
                .entries
                .iter()
                .any(|entry| entry.pattern.matches(topic))
    }

    /// The patterns to ask the store for.
    pub(crate) fn patterns(&self) -> PatternSet {
        self.entries
            .iter()
            .map(|entry| entry.pattern.clone())
            .collect()
    }

    /// The subscription that an event of this topic is sent for: the first that matches.
    pub(crate) fn entry(&self, topic: &Topic) -> Option<&Entry> {
        if !self.rights.readable.matches(topic) {
            return None;
        }
        self.entries
            .iter()
            .find(|entry| entry.pattern.matches(topic))
    }

    /// Whether the event may be shown, as far as it is private.
    pub(crate) fn may_see(&self, event: &Event) -> bool {
        match &self.rights.private {
            Private::All => true,
            Private::Of(reader) => {
                !event.topic.is_private() || event.source == *reader || event.is_to(reader)
            }
        }
    }
}

fn may_be_private(pattern: &Pattern) -> bool {
    let text = pattern.as_str();
    match text.split('.').next() {
        Some("job" | "tool" | "*" | ">") => true,
        Some("message") => text == "message.direct" || text.contains('*'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use nexus_core::{Catalogue, Publish, Scopes, Seq};

    use super::*;

    fn selection(texts: &[&str], principal: &Principal) -> Selection {
        let catalogue = Catalogue::known();
        let entries = texts
            .iter()
            .map(|text| Entry::new(text, catalogue.resolve_pattern(text).unwrap().0));
        Selection::new(entries.collect(), &Rights::of(principal))
    }

    fn reader(source: Source) -> Principal {
        Principal::new(
            source,
            Publish::Nothing,
            [Scope::Read].into_iter().collect(),
        )
    }

    fn event(topic: &str, source: Source, payload: &'static str) -> Event {
        Event {
            seq: Seq::new(1),
            id: uuid::Uuid::nil(),
            topic: Topic::parse(topic).unwrap(),
            source,
            key: None,
            time_us: 0,
            causes: "{}".into(),
            payload: payload.into(),
        }
    }

    #[test]
    fn the_first_subscription_that_matches_names_the_event() {
        let node = reader(Source::node("a"));
        let topic = Topic::parse("payment.received").unwrap();
        for (texts, name) in [
            (
                &["PAYMENT_RECEIVED", "payment.*"][..],
                Some("\"PAYMENT_RECEIVED\""),
            ),
            (&["payment.*", "PAYMENT_RECEIVED"], None),
            (
                &["FLOWPAY:PAYMENT_RECEIVED", "PAYMENT_RECEIVED"],
                Some("\"FLOWPAY:PAYMENT_RECEIVED\""),
            ),
        ] {
            let selection = selection(texts, &node);
            assert_eq!(selection.entry(&topic).unwrap().name.as_deref(), name);
        }
        assert!(selection(&["mint.*"], &node).entry(&topic).is_none());
    }

    #[test]
    fn rights_hide_topics() {
        let reader = reader(Source::node("a")).reading(PatternSet::parse(["mint.*"]).unwrap());
        let selection = selection(&[">"], &reader);
        assert!(selection.wants(&Topic::parse("mint.failed").unwrap()));
        assert!(!selection.wants(&Topic::parse("payment.failed").unwrap()));
        assert!(
            selection
                .entry(&Topic::parse("payment.failed").unwrap())
                .is_none()
        );
    }

    #[test]
    fn a_direct_message_is_for_sender_recipient_and_operators() {
        let sender = Source::session("one");
        let message = event(
            "message.direct",
            sender.clone(),
            r#"{"to":"two","message":"x"}"#,
        );
        let sees = |principal: &Principal| selection(&[">"], principal).may_see(&message);
        assert!(sees(&reader(sender)));
        assert!(sees(&reader(Source::session("two"))));
        assert!(!sees(&reader(Source::session("three"))));
        assert!(!sees(&reader(Source::node("two"))));
        let operator = Principal::new(Source::user("ops"), Publish::Nothing, Scopes::all());
        assert!(sees(&operator));
        let job = event("job.started", Source::nexus(), "{}");
        assert!(!selection(&["job.*"], &reader(Source::node("a"))).may_see(&job));
    }

    #[test]
    fn readers_share_unless_private_events_are_possible() {
        let (a, b) = (reader(Source::node("a")), reader(Source::node("b")));
        assert_eq!(selection(&["payment.*"], &a), selection(&["payment.*"], &b));
        assert_eq!(
            selection(&["MESSAGE_BROADCAST"], &a),
            selection(&["MESSAGE_BROADCAST"], &b)
        );
        assert_ne!(selection(&[">"], &a), selection(&[">"], &b));
        assert_ne!(selection(&["*.direct"], &a), selection(&["*.direct"], &b));
    }
}
