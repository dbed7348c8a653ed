//! What one connection of a session subscribed to: a set, so that subscribing again changes nothing.

use nexus_core::{Catalogue, Error, Pattern, PatternSet, Seq, Topic};

use super::frames;
use crate::{
    address::{HELP_OFFERED, MESSAGE_DIRECT},
    format::Format,
    selection::{Entry, Rights, Selection},
};

/// What sessions call everything that is said to all of them. The notifications among it come to whoever
/// subscribed to anything.
const BROADCAST: &str = "broadcast";
const MESSAGE_BROADCAST: &str = "message.broadcast";

/// One topic.
#[derive(Debug, Clone)]
struct Subscribed {
    pattern: Pattern,
    /// What matches and follows this is sent.
    since: Seq,
    /// What the connection itself publishes is sent to it too.
    is_echoed: bool,
}

/// The topics of one connection, by their patterns.
#[derive(Debug, Clone, Default)]
pub(crate) struct Topics(Vec<Subscribed>);

impl Topics {
    /// How many there would be with these.
    pub(super) fn count_with(&self, patterns: &[Pattern]) -> usize {
        let new: PatternSet = patterns
            .iter()
            .filter(|pattern| self.place(pattern).is_err())
            .cloned()
            .collect();
        self.0.len() + new.iter().count()
    }

    /// Adds topics, from a sequence on. One that is there already goes on from where it is.
    pub(super) fn add(&mut self, patterns: Vec<Pattern>, since: Seq, is_echoed: bool) {
        for pattern in patterns {
            match self.place(&pattern) {
                Ok(place) => self.0[place].is_echoed = is_echoed,
                Err(place) => self.0.insert(
                    place,
                    Subscribed {
                        pattern,
                        since,
                        is_echoed,
                    },
                ),
            }
        }
    }

    /// Takes topics out.
    pub(super) fn remove(&mut self, patterns: &[Pattern]) {
        self.0.retain(|topic| !patterns.contains(&topic.pattern));
    }

    /// What follows a sequence is sent, also what was sent before.
    pub(super) fn replay(&mut self, from: Seq) {
        for topic in &mut self.0 {
            topic.since = topic.since.min(from);
        }
    }

    /// The patterns, in their order.
    pub(super) fn names(&self) -> Vec<&str> {
        self.0.iter().map(|topic| topic.pattern.as_str()).collect()
    }

    /// Behind this, every topic is sent.
    pub(super) fn since(&self) -> Seq {
        let since = self.0.iter().map(|topic| topic.since);
        since.fold(Seq::ZERO, Seq::max)
    }

    /// Whether an event is asked for.
    pub(super) fn want(&self, topic: &Topic, seq: Seq) -> bool {
        let mut topics = self.0.iter().filter(|each| each.since < seq);
        topics.any(|each| each.pattern.matches(topic))
    }

    /// Whether anything was asked for before an event, so that it is told to people.
    pub(super) fn are_notified(&self, topic: &Topic, seq: Seq) -> bool {
        frames::NOTIFYING.contains(&topic.as_str()) && self.0.iter().any(|each| each.since < seq)
    }

    /// Whether what the connection itself publishes is asked for.
    pub(super) fn are_echoed(&self, topic: &Topic) -> bool {
        let mut echoed = self.0.iter().filter(|each| each.is_echoed);
        echoed.any(|each| each.pattern.matches(topic))
    }

    /// What connections with these topics share: what is addressed to a session in any case and, once it
    /// subscribed to something, who comes and goes. What of it each of them sees, its view says.
    pub(super) fn selection(&self) -> Selection {
        let asked = self.0.iter().map(|topic| topic.pattern.clone());
        let mut entries: Vec<Entry> = asked.map(Entry::unnamed).collect();
        let known = |text: &&str| Pattern::parse(text).ok();
        let addressed = [MESSAGE_DIRECT, HELP_OFFERED];
        entries.extend(addressed.iter().filter_map(known).map(Entry::unnamed));
        if !self.0.is_empty() {
            let notifying = frames::NOTIFYING.iter().filter_map(known);
            entries.extend(notifying.map(|pattern| {
                if pattern.as_str() == frames::NOTIFICATION {
                    Entry::unnamed(pattern)
                } else {
                    Entry::implied(pattern)
                }
            }));
        }
        Selection::new(Format::Agents, entries, None, &Rights::with_view())
    }

    fn place(&self, pattern: &Pattern) -> Result<usize, usize> {
        self.0.binary_search_by(|topic| topic.pattern.cmp(pattern))
    }
}

/// The patterns that topics stand for.
///
/// # Errors
/// [`Error::UnknownEvent`] for the first that stands for none.
pub(super) fn resolve(texts: &[String], catalogue: &Catalogue) -> Result<Vec<Pattern>, Error> {
    let resolved = texts.iter().map(|text| {
        let name = if text == BROADCAST {
            MESSAGE_BROADCAST
        } else {
            text
        };
        catalogue.resolve_pattern(name).map(|(pattern, _)| pattern)
    });
    resolved.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        let texts: Vec<String> = texts.iter().map(|&text| text.into()).collect();
        resolve(&texts, &Catalogue::known()).unwrap()
    }

    fn topics(texts: &[&str]) -> Topics {
        let mut topics = Topics::default();
        topics.add(patterns(texts), Seq::new(5), false);
        topics
    }

    fn topic(text: &str) -> Topic {
        Topic::parse(text).unwrap()
    }

    #[test]
    fn one_topic_by_any_of_its_names_is_one() {
        let mut work = topics(&["work.claimed", "WORK_CLAIMED", "work.claimed", "work.*"]);
        assert_eq!(work.names(), ["work.*", "work.claimed"]);
        assert_eq!(
            work.count_with(&patterns(&["work.*", "help.*", "help.*"])),
            3
        );
        work.remove(&patterns(&["WORK_CLAIMED"]));
        assert_eq!(work.names(), ["work.*"]);
        assert_eq!(topics(&["broadcast"]).names(), ["message.broadcast"]);
        let unknown = resolve(&["no.such".to_owned()], &Catalogue::known());
        assert!(matches!(unknown, Err(Error::UnknownEvent { .. })));
    }

    #[test]
    fn a_topic_is_sent_from_where_it_began_and_a_replay_from_before() {
        let mut both = topics(&["work.*"]);
        both.add(patterns(&["help.*", "work.*"]), Seq::new(9), false);
        assert_eq!(both.since(), Seq::new(9));
        let wanted = |topics: &Topics, name: &str, seq| topics.want(&topic(name), Seq::new(seq));
        assert!(!wanted(&both, "work.claimed", 5) && wanted(&both, "work.claimed", 6));
        assert!(!wanted(&both, "help.needed", 9) && wanted(&both, "help.needed", 10));
        both.replay(Seq::new(2));
        assert!(wanted(&both, "help.needed", 3) && !wanted(&both, "help.needed", 2));
        assert!(!wanted(&both, "status.update", 100));
    }

    #[test]
    fn who_subscribed_to_anything_is_notified() {
        let (came, work) = (topic("session.connected"), topic("work.claimed"));
        assert!(!Topics::default().are_notified(&came, Seq::new(9)));
        let some = topics(&["help.*"]);
        assert!(some.are_notified(&came, Seq::new(6)) && !some.are_notified(&came, Seq::new(5)));
        assert!(!some.are_notified(&work, Seq::new(6)));
        assert!(some.selection().entry(&came).is_some() && some.selection().entry(&work).is_none());
        assert!(!some.selection().entry(&came).unwrap().is_asked);
        assert!(
            topics(&["session.*"])
                .selection()
                .entry(&came)
                .unwrap()
                .is_asked
        );
    }

    #[test]
    fn what_is_addressed_is_selected_without_asking() {
        let nothing = Topics::default().selection();
        for name in [MESSAGE_DIRECT, HELP_OFFERED] {
            assert!(nothing.entry(&topic(name)).is_some());
        }
        for name in frames::NOTIFYING {
            assert!(nothing.entry(&topic(name)).is_none());
        }
    }

    #[test]
    fn connections_with_the_same_topics_share_whatever_their_order() {
        let one = topics(&["work.*", "help.*"]).selection();
        assert_eq!(one, topics(&["help.*", "work.*", "help.*"]).selection());
        assert_ne!(one, topics(&["help.*"]).selection());
    }

    #[test]
    fn an_echo_is_as_it_was_asked_for_last() {
        let mut echoed = topics(&["status.*"]);
        assert!(!echoed.are_echoed(&topic("status.update")));
        echoed.add(patterns(&["status.*"]), Seq::new(9), true);
        assert!(echoed.are_echoed(&topic("status.update")));
        assert!(!echoed.are_echoed(&topic("help.needed")));
        assert_eq!(echoed.since(), Seq::new(5));
    }
}
