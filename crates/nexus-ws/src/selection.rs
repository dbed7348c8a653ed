//! What a reader gets and how: a format, patterns in order, a filter, within the reader's rights.

use std::sync::Arc;

use nexus_core::{Event, Filter, Pattern, PatternSet, Principal, Scope, Source, Topic};

use crate::format::Format;

/// One subscription as the encoder needs it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) pattern: Pattern,
    /// The name that frames carry, as JSON; nothing = the event's topic.
    pub(crate) name: Option<Arc<str>>,
    /// Whether the events themselves are wanted, and not only what follows from them.
    pub(crate) is_asked: bool,
}

impl Entry {
    /// The subscription that a client wrote as `text`: a name is repeated as it was written, a pattern
    /// with wildcards gives topics.
    pub(crate) fn new(text: &str, pattern: Pattern) -> Self {
        let name = pattern
            .is_exact()
            .then(|| serde_json::Value::from(text).to_string().into());
        Self {
            pattern,
            name,
            is_asked: true,
        }
    }

    /// A pattern alone, where the format names events by itself.
    pub(crate) fn unnamed(pattern: Pattern) -> Self {
        Self {
            pattern,
            name: None,
            is_asked: true,
        }
    }

    /// A pattern for the sake of what follows from its events.
    pub(crate) fn implied(pattern: Pattern) -> Self {
        Self {
            is_asked: false,
            ..Self::unnamed(pattern)
        }
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
    /// The rights of readers each of whom has a view of their own: that hides from them what is not for them.
    pub(crate) fn with_view() -> Self {
        Self {
            readable: PatternSet::everything(),
            private: Private::All,
        }
    }

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

    /// Whether everything that the pattern stands for is known to be readable.
    fn cover(&self, pattern: &Pattern) -> bool {
        self.readable.is_everything()
            || self.readable.iter().any(|readable| readable == pattern)
            || (pattern.is_exact() && self.may_read(pattern))
    }
}

/// What a group of readers gets. Readers with equal selections get the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Selection {
    format: Format,
    entries: Box<[Entry]>,
    filter: Option<Filter>,
    rights: Rights,
}

impl Selection {
    pub(crate) fn new(
        format: Format,
        entries: Vec<Entry>,
        filter: Option<Filter>,
        rights: &Rights,
    ) -> Self {
        let mut rights = rights.clone();
        // Who it is matters only to those who may meet private events, and what else they may read only
        // to those who ask for more: all others share.
        if !entries.iter().any(|entry| may_be_private(&entry.pattern)) {
            rights.private = Private::All;
        }
        if entries.iter().all(|entry| rights.cover(&entry.pattern)) {
            rights.readable = PatternSet::everything();
        }
        Self {
            format,
            entries: entries.into(),
            filter,
            rights,
        }
    }

    /// What events of these patterns are in a format that names them by itself, in whatever order the
    /// patterns were written.
    pub(crate) fn of_patterns(
        format: Format,
        patterns: &PatternSet,
        filter: Option<Filter>,
        rights: &Rights,
    ) -> Self {
        let entries = patterns.iter().cloned().map(Entry::unnamed).collect();
        Self::new(format, entries, filter, rights)
    }

    /// The same within other rights.
    pub(crate) fn within(&self, rights: &Rights) -> Self {
        Self::new(
            self.format,
            self.entries.to_vec(),
            self.filter.clone(),
            rights,
        )
    }

    /// How the events are written.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Whether events of this topic may be read, if a pattern asks for them.
    pub(crate) fn may_read(&self, topic: &Topic) -> bool {
        self.rights.readable.matches(topic)
    }

    /// The patterns that are asked for.
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

    /// Whether events have to meet a condition.
    pub(crate) fn has_filter(&self) -> bool {
        self.filter.is_some()
    }

    /// Whether an event whose topic is wanted is shown: it meets the condition, and if it is private, it is
    /// the reader's.
    pub(crate) fn shows(&self, event: &Event) -> bool {
        let may_see = match &self.rights.private {
            Private::All => true,
            Private::Of(reader) => {
                !event.topic.is_private() || event.source == *reader || event.is_to(reader)
            }
        };
        may_see
            && self
                .filter
                .as_ref()
                .is_none_or(|filter| filter.matches(event))
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
        Selection::new(Format::Neo, entries.collect(), None, &Rights::of(principal))
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
        assert!(
            selection
                .entry(&Topic::parse("mint.failed").unwrap())
                .is_some()
        );
        assert!(
            selection
                .entry(&Topic::parse("payment.failed").unwrap())
                .is_none()
        );
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
        let sees = |principal: &Principal| selection(&[">"], principal).shows(&message);
        assert!(sees(&reader(sender)));
        assert!(sees(&reader(Source::session("two"))));
        assert!(!sees(&reader(Source::session("three"))));
        assert!(!sees(&reader(Source::node("two"))));
        let operator = Principal::new(Source::user("ops"), Publish::Nothing, Scopes::all());
        assert!(sees(&operator));
        let job = event("job.started", Source::nexus(), "{}");
        assert!(!selection(&["job.*"], &reader(Source::node("a"))).shows(&job));
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

    #[test]
    fn readers_with_other_rights_share_what_both_may_read() {
        let all = reader(Source::node("a"));
        let some = reader(Source::node("b"));
        let some = some.reading(PatternSet::parse(["payment.*", "mint.failed"]).unwrap());
        for texts in [&["payment.*"][..], &["MINT_FAILED", "payment.failed"]] {
            assert_eq!(selection(texts, &all), selection(texts, &some));
        }
        assert_ne!(selection(&["mint.*"], &all), selection(&["mint.*"], &some));
    }

    #[test]
    fn the_order_of_patterns_matters_only_where_it_names_events() {
        let rights = Rights::of(&reader(Source::node("a")));
        let set = |texts: [&str; 2]| PatternSet::parse(texts).unwrap();
        let of = |texts, filter| {
            Selection::of_patterns(Format::V1 { sub: 1 }, &set(texts), filter, &rights)
        };
        let (one, other) = (["a.b", "c.*"], ["c.*", "a.b"]);
        assert_eq!(of(one, None), of(other, None));
        let filter = Filter::new("key == \"a\"", |_| true);
        assert_ne!(of(one, None), of(one, Some(filter.clone())));
        assert_eq!(of(one, Some(filter.clone())), of(other, Some(filter)));
    }
}
