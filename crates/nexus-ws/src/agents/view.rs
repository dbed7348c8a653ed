//! What one connection of a session sees of what it shares with others: its own topics from where they began, what
//! is addressed to it, and not what it said itself.

use std::{collections::VecDeque, sync::Arc};

use nexus_core::{Seq, Source};

use super::topics::Topics;
use crate::{
    address::{Address, Audience},
    segment::Slice,
};

/// So many of its own events a connection may have said that were not passed yet; then it has to take some.
const SAID_MAX: usize = 4_096;

/// Whether an event is for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    Shown,
    Hidden,
    /// The connection is publishing, and this may be what it publishes: its answer will say.
    NotYet,
}

/// What one connection of a session sees.
#[derive(Debug)]
pub(crate) struct View {
    name: Arc<str>,
    me: Source,
    topics: Topics,
    /// Behind this, every topic is sent: nothing has to be looked up.
    since: Seq,
    /// Help that was offered up to here was offered to a connection before this one.
    offers_since: Seq,
    /// What the connection published and has still to pass, in order.
    said: VecDeque<Seq>,
    is_saying: bool,
}

impl View {
    /// The view of a session's connection, with nothing subscribed to, from where it begins.
    pub(super) fn new(name: &str, offers_since: Seq) -> Self {
        Self {
            name: name.into(),
            me: Source::session(name),
            topics: Topics::default(),
            since: Seq::ZERO,
            offers_since,
            said: VecDeque::new(),
            is_saying: false,
        }
    }

    /// The session.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn topics(&self) -> &Topics {
        &self.topics
    }

    /// Changes the topics.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Topics)) {
        change(&mut self.topics);
        self.since = self.topics.since();
    }

    /// What follows a sequence is seen again.
    pub(super) fn replay(&mut self, from: Seq) {
        self.change(|topics| topics.replay(from));
        self.offers_since = self.offers_since.min(from);
    }

    /// The connection begins to publish: until the answer comes, any event of its session may be the one.
    pub(super) fn says(&mut self) {
        self.is_saying = true;
    }

    /// What it published is this event; nothing if it was refused, or is told in the words of others.
    pub(super) fn said(&mut self, event: Option<Seq>) {
        self.is_saying = false;
        self.said.extend(event);
    }

    /// Whether it may say more before it takes what others said.
    pub(super) fn may_say(&self) -> bool {
        self.said.len() < SAID_MAX
    }

    /// Everything up to here was sent or passed, for good.
    pub(super) fn passed(&mut self, through: Seq) {
        while self.said.front().is_some_and(|said| *said <= through) {
            self.said.pop_front();
        }
        if self.said.is_empty() {
            // A connection that says nothing keeps nothing for it.
            self.said = VecDeque::new();
        }
    }

    /// Whether a message to the session is among these events.
    pub(super) fn has_message(&self, slice: &Slice) -> bool {
        let mut addresses = slice.addresses().iter();
        addresses.any(|address| address.audience == Audience::Message && self.is_to_me(address))
    }

    /// Whether an event is for the connection.
    pub(crate) fn sight(&self, seq: Seq, address: &Address) -> Sight {
        let topic = &address.topic;
        let is_from_me = address.from == self.me;
        let is_shown = match address.audience {
            Audience::Message => {
                self.is_to_me(address)
                    || (is_from_me && self.topics.want(topic, seq) && self.topics.are_echoed(topic))
            }
            Audience::Offer => seq > self.offers_since && self.is_to_me(address),
            Audience::Owner => is_from_me && self.topics.want(topic, seq),
            Audience::Everybody => {
                if is_from_me && !self.topics.are_echoed(topic) {
                    if self.said.contains(&seq) {
                        return Sight::Hidden;
                    }
                    if self.is_saying {
                        return Sight::NotYet;
                    }
                }
                seq > self.since
                    || self.topics.want(topic, seq)
                    || self.topics.are_notified(topic, seq)
            }
        };
        if is_shown {
            Sight::Shown
        } else {
            Sight::Hidden
        }
    }

    fn is_to_me(&self, address: &Address) -> bool {
        address.to.as_deref() == Some(&*self.name)
    }
}

#[cfg(test)]
mod tests {
    use nexus_core::{Catalogue, Epoch, Event, Topic};
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::{
        agents::topics::resolve,
        segment::{Encoder, Seen, Segment},
    };

    fn view(texts: &[&str], is_echoed: bool) -> View {
        let texts: Vec<String> = texts.iter().map(|&text| text.into()).collect();
        let patterns = resolve(&texts, &Catalogue::known()).unwrap();
        let mut view = View::new("me", Seq::new(3));
        view.change(|topics| topics.add(patterns, Seq::new(5), is_echoed));
        view
    }

    fn address(topic: &str, from: &str, to: Option<&str>) -> Address {
        let topic = Topic::parse(topic).unwrap();
        Address {
            audience: Audience::of(&topic),
            topic,
            from: Source::session(from),
            to: to.map(Into::into),
        }
    }

    #[test]
    fn who_sees_what_is_not_for_everybody() {
        use Sight::{Hidden, Shown};
        let (to_me, to_you) = (Some("me"), Some("you"));
        // As seen by: nothing subscribed, everything subscribed, and that with an echo.
        for (topic, from, to, expected) in [
            ("message.direct", "you", to_me, [Shown, Shown, Shown]),
            ("message.direct", "you", to_you, [Hidden, Hidden, Hidden]),
            ("message.direct", "me", to_you, [Hidden, Hidden, Shown]),
            ("message.direct", "me", to_me, [Shown, Shown, Shown]),
            ("message.direct", "you", None, [Hidden, Hidden, Hidden]),
            ("help.offered", "you", to_me, [Shown, Shown, Shown]),
            ("help.offered", "you", to_you, [Hidden, Hidden, Hidden]),
            ("help.offered", "me", to_you, [Hidden, Hidden, Hidden]),
            ("job.started", "me", None, [Hidden, Shown, Shown]),
            ("job.started", "you", None, [Hidden, Hidden, Hidden]),
            ("tool.called", "you", to_me, [Hidden, Hidden, Hidden]),
        ] {
            let address = address(topic, from, to);
            let views = [view(&[], false), view(&["*"], false), view(&["*"], true)];
            for (view, expected) in views.iter().zip(expected) {
                let sight = view.sight(Seq::new(9), &address);
                assert_eq!(sight, expected, "{address:?} {:?}", view.topics().names());
            }
        }
    }

    #[test]
    fn an_offer_that_was_made_to_an_earlier_connection_is_over_and_a_message_is_not() {
        let me = view(&[], false);
        let offer = address("help.offered", "you", Some("me"));
        assert_eq!(me.sight(Seq::new(3), &offer), Sight::Hidden);
        assert_eq!(me.sight(Seq::new(4), &offer), Sight::Shown);
        let message = address("message.direct", "you", Some("me"));
        assert_eq!(me.sight(Seq::new(1), &message), Sight::Shown);
    }

    #[test]
    fn what_the_connection_said_is_not_sent_back_and_what_its_session_said_elsewhere_is() {
        let mut me = view(&["status.*"], false);
        let status = address("status.update", "me", None);
        me.says();
        assert_eq!(me.sight(Seq::new(7), &status), Sight::NotYet);
        let other = address("status.update", "you", None);
        assert_eq!(me.sight(Seq::new(6), &other), Sight::Shown);
        me.said(Some(Seq::new(7)));
        assert_eq!(me.sight(Seq::new(7), &status), Sight::Hidden);
        assert_eq!(me.sight(Seq::new(8), &status), Sight::Shown);
        me.passed(Seq::new(6));
        assert_eq!(me.sight(Seq::new(7), &status), Sight::Hidden);
        me.passed(Seq::new(7));
        assert!(me.said.is_empty());
        me.says();
        me.said(None);
        assert_eq!(me.sight(Seq::new(8), &status), Sight::Shown);
        let mut echoing = view(&["status.*"], true);
        echoing.says();
        assert_eq!(echoing.sight(Seq::new(7), &status), Sight::Shown);
        echoing.said(Some(Seq::new(7)));
        assert_eq!(echoing.sight(Seq::new(7), &status), Sight::Shown);
    }

    #[test]
    fn topics_begin_where_they_were_subscribed_to_and_replays_before() {
        let mut me = view(&["status.*"], false);
        let status = address("status.update", "you", None);
        let came = address("session.connected", "you", None);
        for address in [&status, &came] {
            assert_eq!(me.sight(Seq::new(5), address), Sight::Hidden);
            assert_eq!(me.sight(Seq::new(6), address), Sight::Shown);
        }
        me.replay(Seq::new(1));
        for address in [&status, &came, &address("help.offered", "you", Some("me"))] {
            assert_eq!(me.sight(Seq::new(1), address), Sight::Hidden);
            assert_eq!(me.sight(Seq::new(2), address), Sight::Shown);
        }
    }

    #[test]
    fn how_much_may_be_said_before_it_is_passed_is_bounded() {
        let mut me = view(&["status.*"], false);
        for seq in 1..=SAID_MAX as u64 {
            assert!(me.may_say());
            me.says();
            me.said(Some(Seq::new(seq)));
        }
        assert!(!me.may_say());
        me.passed(Seq::new(1));
        assert!(me.may_say());
    }

    const TOPICS: [&str; 5] = [
        "status.update",
        "message.direct",
        "help.offered",
        "help.needed",
        "session.connected",
    ];
    const SESSIONS: [&str; 3] = ["me", "you", "other"];

    fn event(seq: u64, topic: &str, from: &str, to: &str) -> Event {
        Event {
            seq: Seq::new(seq),
            id: Uuid::nil(),
            topic: Topic::parse(topic).unwrap(),
            source: Source::session(from),
            key: None,
            time_us: 0,
            causes: "{}".into(),
            payload: json!({ "to": to, "session_id": from }).to_string().into(),
        }
    }

    /// What all of them share, in segments of a few events.
    fn segments(view: &View, events: &[Event]) -> Vec<Arc<Segment>> {
        let selection = view.topics().selection();
        let catalogue = Arc::new(Catalogue::known());
        let mut segments = Vec::new();
        let mut after = Seq::ZERO;
        while let Some(last) = events.last()
            && after < last.seq
        {
            let mut encoder =
                Encoder::new(&selection, Epoch::new(1), catalogue.clone(), after, 900);
            for event in events.iter().filter(|event| event.seq > after) {
                if !encoder.push(event) {
                    break;
                }
            }
            let segment = encoder.finish();
            after = segment.through;
            segments.push(Arc::new(segment));
        }
        segments
    }

    /// The types of the frames, and the numbers of the events.
    fn frames(mut bytes: &[u8]) -> Vec<(String, Option<u64>)> {
        let mut frames = Vec::new();
        while let [0x81, length, rest @ ..] = bytes {
            let (body_bytes, rest) = match (length, rest) {
                (126, [high, low, rest @ ..]) => {
                    (usize::from(u16::from_be_bytes([*high, *low])), rest)
                }
                (length, rest) => (usize::from(*length), rest),
            };
            let (body, rest) = rest.split_at(body_bytes);
            let frame: Value = serde_json::from_slice(body).unwrap();
            let event_type = frame["event_type"].as_str().unwrap().to_owned();
            frames.push((event_type, frame["seq"].as_u64()));
            bytes = rest;
        }
        assert!(bytes.is_empty());
        frames
    }

    proptest! {
        /// Of what is shared, wherever its segments end, a connection is sent what is for it, once and in order,
        /// and not a byte of anything else.
        #[test]
        fn of_what_is_shared_each_sees_its_own(
            drawn in prop::collection::vec((0..TOPICS.len(), 0..3_usize, 0..3_usize), 1..60),
            said: u64, is_echoed: bool,
        ) {
            let texts = ["status.*".to_owned(), "message.*".to_owned()];
            let patterns = resolve(&texts, &Catalogue::known()).unwrap();
            let mut view = View::new("me", Seq::ZERO);
            view.change(|topics| topics.add(patterns, Seq::ZERO, is_echoed));
            let mut events = Vec::new();
            let mut expected = Vec::new();
            for (seq, (topic, from, to)) in (1..).zip(drawn) {
                let (topic, from, to) = (TOPICS[topic], SESSIONS[from], SESSIONS[to]);
                let (is_mine, is_to_me) = (from == "me", to == "me");
                let is_said = is_mine && topic == "status.update" && said >> (seq % 64) & 1 == 1;
                if is_said {
                    view.says();
                    view.said(Some(Seq::new(seq)));
                }
                let shown = match topic {
                    "status.update" => is_echoed || !is_said,
                    "message.direct" => is_to_me || (is_mine && is_echoed),
                    "help.offered" => is_to_me,
                    "session.connected" => true,
                    _ => false,
                };
                if shown && topic == "session.connected" {
                    expected.push(("system.notification".to_owned(), None));
                } else if shown {
                    expected.push((topic.to_owned(), Some(seq)));
                }
                events.push(event(seq, topic, from, to));
            }
            let mut seen = Vec::new();
            let mut position = Seq::ZERO;
            for segment in segments(&view, &events) {
                loop {
                    match segment.clone().seen(position, &view) {
                        Seen::Slice(slice) => {
                            prop_assert!(slice.through > position);
                            prop_assert_eq!(slice.after, position);
                            position = slice.through;
                            let is_message = slice.addresses().iter().any(|address| {
                                address.audience == Audience::Message && address.to.as_deref() == Some("me")
                            });
                            prop_assert_eq!(view.has_message(&slice), is_message);
                            seen.extend(frames(slice.bytes()));
                        }
                        Seen::Nothing => break,
                        Seen::NotYet => prop_assert!(false, "everything is known"),
                    }
                }
                position = position.max(segment.through);
            }
            prop_assert_eq!(seen, expected);
        }
    }
}
