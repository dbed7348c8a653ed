//! Principals: who is asking, and what they may do.

use std::{fmt, sync::Arc};

use crate::{Error, Event, PatternSet, Topic, topic::shorten};

/// Who an event came from: `node:flowpay`, `session:session-5`, `user:ana`, `reactor:payment-to-mint`,
/// `nexus`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source(Arc<str>);

/// A source has at most this many bytes: a name of 64 characters, four bytes each, and what stands before it.
pub const SOURCE_BYTES_MAX: usize = 320;

impl Source {
    /// Nexus itself.
    #[must_use]
    pub fn nexus() -> Self {
        Self("nexus".into())
    }

    /// An outside service.
    #[must_use]
    pub fn node(id: &str) -> Self {
        Self(format!("node:{id}").into())
    }

    /// A person, or an operator's token.
    #[must_use]
    pub fn user(name: &str) -> Self {
        Self(format!("user:{name}").into())
    }

    /// A reactor.
    #[must_use]
    pub fn reactor(name: &str) -> Self {
        Self(format!("reactor:{name}").into())
    }

    /// A connected agent.
    #[must_use]
    pub fn session(id: &str) -> Self {
        Self(format!("session:{id}").into())
    }

    /// Reads a source as it was written.
    ///
    /// # Errors
    /// [`Error::InvalidName`] when it is empty, too long or has a control character.
    pub fn parse(text: &str) -> Result<Self, Error> {
        check(text)?;
        Ok(Self(text.into()))
    }

    /// Whether it is a source that can be read again: one that was put together of a name may not be.
    pub(crate) fn check(&self) -> Result<(), Error> {
        check(&self.0)
    }

    /// The source as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(source: &str) -> Result<(), Error> {
    let why = if source.is_empty() || source.len() > SOURCE_BYTES_MAX {
        "a source has 1 to 320 bytes"
    } else if source.chars().any(char::is_control) {
        "it has a control character"
    } else {
        return Ok(());
    };
    Err(Error::InvalidName {
        what: "source",
        value: shorten(source),
        why,
    })
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Read events and streams.
    Read,
    /// Publish events.
    Publish,
    /// See how the system runs, and look after it: health details, reactors, endpoints, dead letters.
    Operate,
    /// Change nodes and their secrets, replace the vault's key, try rules that are not configured.
    Admin,
}

impl Scope {
    /// Every scope, in the order they are written.
    pub const ALL: [Self; 4] = [Self::Read, Self::Publish, Self::Operate, Self::Admin];

    /// The scope as configuration writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

/// A set of scopes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// No scope.
    pub const NONE: Self = Self(0);

    /// Every scope.
    #[must_use]
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Whether the scope is in the set.
    #[must_use]
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(
            scopes
                .into_iter()
                .fold(0, |set, scope| set | (1 << scope as u8)),
        )
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(Scope::ALL.iter().filter(|scope| self.has(**scope)))
            .finish()
    }
}

/// Which topics someone may publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publish {
    /// None.
    Nothing,
    /// Those that match, except the reserved.
    Matching(PatternSet),
    /// All that are not reserved.
    Unreserved,
    /// All; only Nexus itself, because reserved topics tell outcomes.
    Anything,
}

/// Someone who proved who they are, with what they may do.
///
/// ```
/// # use nexus_core::{PatternSet, Principal, Publish, Scope, Scopes, Source, Topic};
/// let payments = PatternSet::parse(["payment.*"])?;
/// let scopes: Scopes = [Scope::Read].into_iter().collect();
/// let shop = Principal::new(Source::node("shop"), Publish::Matching(payments.clone()), scopes)
///     .reading(payments);
///
/// let is_reserved = false;
/// assert!(shop.may_publish(&Topic::parse("payment.received")?, is_reserved));
/// assert!(!shop.may_publish(&Topic::parse("vote.cast")?, is_reserved));
/// # Ok::<(), nexus_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Principal {
    source: Source,
    publish: Arc<Publish>,
    read: PatternSet,
    scopes: Scopes,
}

impl Principal {
    /// Someone with these rights; reads everything if the scopes have [`Scope::Read`].
    #[must_use]
    pub fn new(source: Source, publish: Publish, scopes: Scopes) -> Self {
        let read = if scopes.has(Scope::Read) {
            PatternSet::everything()
        } else {
            PatternSet::default()
        };
        Self {
            source,
            publish: Arc::new(publish),
            read,
            scopes,
        }
    }

    /// The same principal, reading only what matches.
    #[must_use]
    pub fn reading(mut self, patterns: PatternSet) -> Self {
        self.read = patterns;
        self
    }

    /// Nexus itself.
    #[must_use]
    pub fn nexus() -> Self {
        Self::new(Source::nexus(), Publish::Anything, Scopes::all())
    }

    /// A reactor: any topic that is not reserved.
    #[must_use]
    pub fn reactor(name: &str) -> Self {
        Self::new(Source::reactor(name), Publish::Unreserved, Scopes::NONE)
    }

    /// Who it is.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What the token may be used for.
    #[must_use]
    pub fn scopes(&self) -> Scopes {
        self.scopes
    }

    /// Whether the principal may publish the topic.
    #[must_use]
    pub fn may_publish(&self, topic: &Topic, reserved: bool) -> bool {
        match &*self.publish {
            Publish::Nothing => false,
            Publish::Matching(patterns) => !reserved && patterns.matches(topic),
            Publish::Unreserved => !reserved,
            Publish::Anything => true,
        }
    }

    /// Whether the principal may read the event: its topic matches, and if that is private it is from them,
    /// to them, or they operate.
    #[must_use]
    pub fn may_read(&self, event: &Event) -> bool {
        let is_theirs = || {
            self.scopes.has(Scope::Operate)
                || event.source == self.source
                || event.is_to(&self.source)
        };
        self.read.matches(&event.topic) && (!event.topic.is_private() || is_theirs())
    }

    /// What the principal may read.
    #[must_use]
    pub fn readable(&self) -> &PatternSet {
        &self.read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_topics_are_for_nexus_alone() {
        let topic = Topic::parse("work.claimed").unwrap();
        let everything = Publish::Matching(PatternSet::everything());
        let node = Principal::new(Source::node("x"), everything, Scopes::NONE);
        assert!(node.may_publish(&topic, false));
        assert!(!node.may_publish(&topic, true));
        assert!(!Principal::reactor("r").may_publish(&topic, true));
        assert!(Principal::nexus().may_publish(&topic, true));
    }

    #[test]
    fn a_source_of_any_name_that_a_token_may_have_is_read_again() {
        let longest = Source::user(&"\u{1f980}".repeat(64));
        assert_eq!(Source::parse(longest.as_str()).unwrap(), longest);
        for name in ["x".repeat(SOURCE_BYTES_MAX), "a\nb".to_owned()] {
            assert!(Source::user(&name).check().is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_private_event_is_for_those_it_concerns() {
        let message = crate::Validated::for_test(
            uuid::Uuid::nil(),
            Topic::parse("message.direct").unwrap(),
            Source::session("a"),
            bytes::Bytes::from_static(br#"{"to":"b","message":"m"}"#),
        );
        let message = message.numbered(crate::Seq::new(1), 1);
        let reader = |source| {
            Principal::new(
                source,
                Publish::Nothing,
                [Scope::Read].into_iter().collect(),
            )
        };
        assert!(reader(Source::session("a")).may_read(&message));
        assert!(reader(Source::session("b")).may_read(&message));
        assert!(!reader(Source::session("c")).may_read(&message));
        assert!(!reader(Source::node("b")).may_read(&message));
        assert!(Principal::nexus().may_read(&message));
        let nothing = reader(Source::session("a")).reading(PatternSet::default());
        assert!(!nothing.may_read(&message));
    }

    #[test]
    fn scopes_are_a_set() {
        let scopes: Scopes = [Scope::Read, Scope::Admin].into_iter().collect();
        assert!(scopes.has(Scope::Read) && scopes.has(Scope::Admin));
        assert!(!scopes.has(Scope::Operate) && !Scopes::NONE.has(Scope::Read));
        assert_eq!(format!("{scopes:?}"), "{Read, Admin}");
    }
}
