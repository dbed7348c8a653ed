//! The subscriptions of one connection: each a reader of its own, written in turn.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use nexus_core::{Log, Position, Seq};

use super::{acknowledging::Acknowledging, answers::Answer, consumers::Lease, refusal::Refusal};
use crate::{
    reader::{Next, Reader},
    selection::Rights,
    socket::{Chunk, Closing, Link},
};

/// So many ranges in which there is nothing are passed at once, before others may run.
const PASSED_MAX: usize = 8;

/// One subscription.
pub(super) struct Subscription {
    pub(super) id: Arc<str>,
    /// As the server numbered it.
    pub(super) sub: u32,
    pub(super) reader: Reader,
    pub(super) patterns: usize,
    /// With a durable cursor: the right to it, and what was acknowledged.
    pub(super) durable: Option<Box<Durable>>,
    /// How far its client knows to be, from an event or otherwise.
    told: Seq,
}

/// The durable cursor of a subscription.
pub(super) struct Durable {
    pub(super) lease: Lease,
    pub(super) acknowledging: Acknowledging,
}

impl Subscription {
    pub(super) fn new(
        id: Arc<str>,
        sub: u32,
        reader: Reader,
        patterns: usize,
        lease: Option<Lease>,
        start: Position,
    ) -> Self {
        let durable = lease.map(|lease| {
            Box::new(Durable {
                lease,
                acknowledging: Acknowledging::default(),
            })
        });
        Self {
            id,
            sub,
            reader,
            patterns,
            durable,
            told: start.seq,
        }
    }

    /// What was handed out behind a sequence did not reach the client.
    fn rewind(&mut self, position: Seq) {
        self.reader.rewind(position);
        self.told = self.told.min(position);
    }

    /// Takes back what the socket did not take.
    fn take_back(&mut self, link: &mut Link) {
        let sub = self.sub;
        link.outbound
            .retract(|reader| reader == sub, |_, position| self.rewind(position));
    }

    /// It is over: what was acknowledged is kept all the same.
    fn finish(self, log: &Log) {
        if let Some(durable) = self.durable {
            let Durable {
                lease,
                acknowledging,
            } = *durable;
            acknowledging.finish(log, &lease.cursor);
        }
    }

    /// Tells the client how far it is, if it does not know.
    fn tell(&mut self, least: u64, link: &mut Link) {
        let settled = self.reader.settled();
        if settled.get() < self.told.get() + least.max(1) || link.outbound.has(self.sub) {
            return;
        }
        // A client that takes next to nothing is told later: what it is told would pile up.
        if !link.outbound.takes_answers() {
            return;
        }
        self.told = settled;
        let position = link.shared().log.position(settled);
        let answer = Answer::Position {
            sub: self.sub,
            position,
        };
        link.outbound.answer(&answer.to_json());
    }
}

/// The subscriptions of one connection.
#[derive(Default)]
pub(super) struct Subscriptions {
    all: Vec<Subscription>,
    numbered: u32,
    /// Whose turn it is.
    turn: usize,
}

impl Subscriptions {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many patterns they have together.
    pub(super) fn patterns(&self) -> usize {
        self.all
            .iter()
            .map(|subscription| subscription.patterns)
            .sum()
    }

    /// The number of the next one.
    pub(super) fn number(&mut self) -> u32 {
        self.numbered += 1;
        self.numbered
    }

    pub(super) fn add(&mut self, subscription: Subscription) {
        self.all.push(subscription);
    }

    pub(super) fn get(&mut self, id: &str) -> Option<&mut Subscription> {
        self.all
            .iter_mut()
            .find(|subscription| &*subscription.id == id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.all.iter()
    }

    /// Ends a subscription: nothing of it follows. Says whether there was one.
    pub(super) fn remove(&mut self, id: &str, link: &mut Link) -> bool {
        let place = self
            .all
            .iter()
            .position(|subscription| &*subscription.id == id);
        let Some(place) = place else {
            return false;
        };
        let mut subscription = self.all.remove(place);
        subscription.take_back(link);
        subscription.finish(&link.shared().log);
        true
    }

    /// Hands over events, one reader after the other, as far ahead of the socket as it may be.
    pub(super) fn fill(&mut self, link: &mut Link, context: &mut Context<'_>) -> bool {
        let mut filled = false;
        let mut passed = 0;
        let mut idle = 0;
        // One at a time, so that a connection with many costs no more memory than one with one.
        let mut reads = self
            .all
            .iter_mut()
            .position(|each| each.reader.is_reading());
        if let Some(place) = reads {
            self.all[place].reader.read_on(context);
        }
        while idle < self.all.len() && link.outbound.wants_events() {
            self.turn = (self.turn + 1) % self.all.len();
            let subscription = &mut self.all[self.turn];
            let may_read = reads.is_none_or(|place| place == self.turn);
            let next = subscription.reader.poll_next_if(context, may_read);
            if may_read {
                reads = subscription.reader.is_reading().then_some(self.turn);
            }
            match next {
                Poll::Ready(Next::Slice(slice)) => {
                    subscription.told = subscription.told.max(slice.last);
                    let format = subscription.reader.selection().format();
                    link.outbound
                        .push(Chunk::new(subscription.sub, slice, format));
                    filled = true;
                    idle = 0;
                }
                Poll::Ready(Next::Passed) => {
                    idle = 0;
                    passed += 1;
                    if passed == PASSED_MAX {
                        context.waker().wake_by_ref();
                        break;
                    }
                }
                Poll::Ready(Next::Pruned) => {
                    link.close(Closing::Pruned);
                    return true;
                }
                Poll::Pending => idle += 1,
            }
        }
        if passed > 0 {
            self.tell(link.shared().options.position_events, link);
        }
        filled
    }

    /// Tells the client of each how far it is, if so many events were passed since it knew.
    pub(super) fn tell(&mut self, least: u64, link: &mut Link) {
        for subscription in &mut self.all {
            subscription.tell(least, link);
        }
    }

    /// Takes back from a client that takes nothing.
    pub(super) fn give_back(&mut self, link: &mut Link) {
        let all = &mut self.all;
        link.outbound.give_back(
            |_| true,
            |sub, position| {
                if let Some(subscription) = all.iter_mut().find(|each| each.sub == sub) {
                    subscription.rewind(position);
                }
            },
        );
        for subscription in all {
            subscription.reader.forget();
        }
    }

    /// Goes on with other rights.
    pub(super) fn restrict(&mut self, rights: &Rights, link: &mut Link) {
        for subscription in &mut self.all {
            subscription.take_back(link);
            subscription.reader.restrict(rights);
        }
    }

    /// Ends them all, and tells how far each was. Gives from where all of them are complete.
    pub(super) fn leave(&mut self, link: &mut Link) -> Option<Position> {
        let mut resume: Option<Seq> = None;
        for subscription in &mut self.all {
            subscription.take_back(link);
            subscription.tell(1, link);
            let settled = subscription.reader.settled();
            resume = Some(resume.map_or(settled, |resume| resume.min(settled)));
        }
        for subscription in self.all.drain(..) {
            subscription.finish(&link.shared().log);
        }
        resume.map(|resume| link.shared().log.position(resume))
    }

    /// Goes on with what is acknowledged. Gives what came of one.
    pub(super) fn poll_acknowledging(
        &mut self,
        log: &Log,
        context: &mut Context<'_>,
    ) -> Option<(Arc<str>, Result<Position, Refusal>)> {
        self.all.iter_mut().find_map(|subscription| {
            let durable = subscription.durable.as_mut()?;
            let cursor = &durable.lease.cursor;
            let written = durable.acknowledging.poll(log, cursor, context)?;
            let written = written.map_err(|error| Refusal::of(&error));
            Some((subscription.id.clone(), written))
        })
    }

    /// Whether nothing that was acknowledged waits to be written.
    pub(super) fn is_acknowledged(&self) -> bool {
        let mut durable = self.all.iter().filter_map(|each| each.durable.as_ref());
        durable.all(|durable| durable.acknowledging.is_done())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{future::poll_fn, task::noop_waker_ref};
    use nexus_auth::{Auth, AuthOptions};
    use nexus_core::{
        Catalogue, Clock, Command, LogOptions, Memory, PatternSet, Principal, Random,
    };

    use super::*;
    use crate::{Edge, WsOptions, format::Format, selection::Selection};

    const EVENTS: usize = 400;

    /// An edge over a log that keeps only the last events in memory.
    async fn edge() -> (Edge, Position) {
        let random = Random::seeded(1);
        let memory = Memory::new(&random);
        let options = LogOptions {
            ring_events_max: EVENTS,
            ..LogOptions::default()
        };
        let catalogue = Catalogue::known();
        let auth = Auth::new(&AuthOptions::default(), &catalogue, Clock::System).unwrap();
        let (log, service) = Log::open(
            memory.clone(),
            memory,
            catalogue,
            options,
            Clock::System,
            random,
        )
        .await
        .unwrap();
        tokio::spawn(service.run());
        let payload = format!(r#"{{"orderId":"o","note":"{}"}}"#, "x".repeat(1_000));
        let failed = log
            .catalogue()
            .resolve("payment.failed")
            .unwrap()
            .event_type;
        let events = vec![nexus_core::NewEvent::new(failed, payload); EVENTS];
        for _ in 0..3 {
            let command = Command {
                events: events.clone(),
                ..Command::default()
            };
            log.submit(&Principal::nexus(), command).await.unwrap();
        }
        let last = Seq::new(3 * EVENTS as u64);
        let mut heads = log.head_changes();
        heads.wait_for(|head| *head == last).await.unwrap();
        let options = WsOptions {
            page_reads_max: 1,
            ..WsOptions::default()
        };
        let position = log.position(last);
        (Edge::new(log, auth, options), position)
    }

    /// A subscription that reads while the socket takes nothing keeps nobody from reading.
    #[tokio::test]
    async fn who_reads_goes_on_while_the_socket_takes_nothing() {
        let (edge, end) = edge().await;
        let shared = edge.0.shared.clone();
        let mut link = Link::new(edge.seat(), None);
        let mut all = Subscriptions::default();
        let rights = Rights::of(&Principal::nexus());
        let far_behind = [0, 1];
        let near = end.seq.get() - EVENTS as u64;
        for after in far_behind.into_iter().chain([near]) {
            let sub = all.number();
            let format = Format::V1 { sub };
            let selection =
                Selection::of_patterns(format, &PatternSet::everything(), None, &rights);
            let signal = link.seat.signal.clone();
            let reader = Reader::new(shared.clone(), signal, selection, Seq::new(after));
            let start = shared.log.position(Seq::new(after));
            all.add(Subscription::new("a".into(), sub, reader, 1, None, start));
        }
        let mut context = Context::from_waker(noop_waker_ref());
        let elsewhere = shared.page_reads.acquire().await.unwrap();
        assert!(all.fill(&mut link, &mut context), "one is near enough");
        assert!(!link.outbound.wants_events());
        let reading = |all: &Subscriptions| {
            let reading = all.iter().filter(|each| each.reader.is_reading());
            reading.count()
        };
        assert_eq!(reading(&all), 1, "one at a time");
        // Its turn comes, and nothing more is wanted of it for now.
        drop(elsewhere);
        let mut elsewhere = Box::pin(shared.page_reads.acquire());
        let acquired = poll_fn(|context| {
            all.fill(&mut link, context);
            elsewhere.as_mut().poll(context)
        });
        assert!(acquired.await.is_ok());
        assert_eq!(reading(&all), 1, "what it read waits");
    }
}
