//! Cursors against a model: whatever happens to the log, a plain vector says what each of them gives.

use std::future::Future;

use nexus_core::{
    Catalogue, Clock, Command, Cursor, CursorPage, Epoch, Error, Event, Fatal, Filter, From, Log,
    LogOptions, Memory, NewEvent, PAGE_EVENTS_MAX, PatternSet, Position, Principal, Random,
    Recovery, Selector, Seq, Start,
};
use proptest::prelude::*;
use tokio::task::JoinHandle;

use crate::{
    cursor_steps::{PATTERNS, Place, Step, TOPICS, steps},
    slow::{Pauses, Slow},
};

/// An event as it was sent: its topic and its number, which is its payload too.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sent {
    topic: &'static str,
    number: u64,
}

/// What a reader wants, in the words of the model.
#[derive(Debug, Clone, Copy)]
struct Wants {
    patterns: usize,
    of: u64,
}

impl Wants {
    fn includes(self, sent: Sent) -> bool {
        let patterns = PatternSet::parse(PATTERNS[self.patterns].iter().copied()).unwrap();
        let topic = nexus_core::Topic::parse(sent.topic).unwrap();
        patterns.matches(&topic) && sent.number.is_multiple_of(self.of)
    }

    fn selector(self) -> Selector {
        let of = self.of;
        let filter = Filter::new(format!("payload.n % {of} == 0"), move |event| {
            number(event).is_multiple_of(of)
        });
        Selector {
            patterns: PatternSet::parse(PATTERNS[self.patterns].iter().copied()).unwrap(),
            filter: (of > 1).then_some(filter),
        }
    }
}

fn number(event: &Event) -> u64 {
    let text = std::str::from_utf8(&event.payload).unwrap();
    let digits = text.trim_start_matches("{\"n\":").trim_end_matches('}');
    digits.parse().unwrap()
}

struct Reader {
    cursor: Cursor,
    wants: Wants,
    /// How far it is by the pages that it got.
    after: usize,
}

/// The log, its readers, and what a plain vector knows of it.
struct World {
    log: Log,
    service: JoinHandle<Result<(), Fatal>>,
    memory: Memory,
    readers: Vec<Reader>,
    sent: Vec<Sent>,
    /// The last event of each request.
    ends: Vec<usize>,
    pruned: usize,
    numbers: u64,
    epochs: u64,
}

impl World {
    async fn new() -> Self {
        let memory = Memory::new(&Random::seeded(0));
        let (log, service) = open(&memory, 10).await;
        Self {
            log,
            service,
            memory,
            readers: Vec::new(),
            sent: Vec::new(),
            ends: Vec::new(),
            pruned: 0,
            numbers: 0,
            epochs: 0,
        }
    }

    async fn step(&mut self, step: &Step) {
        match *step {
            Step::Append { events, seed } => {
                let sent = (0..events).map(|n| {
                    self.numbers += 1;
                    // The last topic is rare.
                    let chosen = (seed / 7 + n * (seed % 11 + 1)) % 13;
                    Sent {
                        topic: TOPICS[(chosen / 4).min(3)],
                        number: self.numbers,
                    }
                });
                let sent: Vec<Sent> = sent.collect();
                self.append(&sent).await;
            }
            Step::Open { from, patterns, of } => self.open(from, Wants { patterns, of }).await,
            Step::Read {
                reader,
                pages,
                turns,
            } => {
                for _ in 0..pages {
                    if let Some(n) = self.chosen(reader) {
                        let read = within(turns, self.readers[n].cursor.next()).await;
                        self.check(n, read);
                    }
                }
            }
            Step::Prune { percent, reader } => self.prune(percent, reader).await,
            Step::Restart { ring } => {
                self.close().await;
                (self.log, self.service) = open(&self.memory, ring).await;
                self.come_back(Recovery::Recovered).await;
            }
            Step::Restore { percent } => self.restore(percent).await,
        }
    }

    fn chosen(&self, reader: usize) -> Option<usize> {
        reader.checked_rem(self.readers.len())
    }

    async fn append(&mut self, sent: &[Sent]) {
        let events = sent.iter().map(|sent| {
            let event_type = self.log.catalogue().resolve(sent.topic).unwrap().event_type;
            NewEvent::new(event_type, format!("{{\"n\":{}}}", sent.number))
        });
        let command = Command {
            events: events.collect(),
            ..Command::default()
        };
        let receipt = self.log.submit(&Principal::nexus(), command).await.unwrap();
        self.sent.extend_from_slice(sent);
        self.ends.push(self.sent.len());
        assert_eq!(receipt.last, seq(self.sent.len()));
        let mut head = self.log.head_changes();
        head.wait_for(|head| *head == receipt.last).await.unwrap();
    }

    async fn open(&mut self, from: Place, wants: Wants) {
        let end = self.sent.len();
        let (from, after, recovery) = match from {
            Place::Earliest => (From::Earliest, self.pruned, Recovery::Recovered),
            Place::Latest => (From::Latest, end, Recovery::Recovered),
            Place::After(percent) => {
                let after = (end * percent).div_ceil(100);
                let (start, recovery) = if after > end {
                    (end, Recovery::Ahead)
                } else if after < self.pruned {
                    (self.pruned, Recovery::Pruned)
                } else {
                    (after, Recovery::Recovered)
                };
                (From::After(self.log.position(seq(after))), start, recovery)
            }
            Place::Elsewhere => {
                let epoch = Epoch::new(!self.log.head().epoch.get());
                let position = Position {
                    epoch,
                    seq: seq(end / 2),
                };
                (From::After(position), end, Recovery::OtherEpoch)
            }
        };
        let (cursor, start) = self.log.cursor(from, wants.selector()).await.unwrap();
        let position = self.log.position(seq(after));
        assert_eq!(start, Start { position, recovery });
        self.readers.push(Reader {
            cursor,
            wants,
            after,
        });
    }

    async fn prune(&mut self, percent: usize, reader: usize) {
        let through = self.sent.len() * percent / 100;
        let log = self.log.clone();
        let pruning = log.prune(seq(through));
        let chosen = self.chosen(reader);
        let (pruned, read) = match chosen {
            Some(n) => {
                let reading = within(8, self.readers[n].cursor.next());
                let (pruned, read) = tokio::join!(pruning, reading);
                (pruned, Some((n, read)))
            }
            None => (pruning.await, None),
        };
        // Whole requests go, and the newest stays.
        let newest = self.ends.last().copied();
        let gone = self
            .ends
            .iter()
            .copied()
            .filter(|end| *end <= through && Some(*end) != newest);
        self.pruned = gone.max().unwrap_or(0).max(self.pruned);
        assert_eq!(pruned.unwrap(), seq(self.pruned));
        if let Some((n, read)) = read {
            self.check(n, read);
        }
    }

    /// Checks what a reader got, if it got anything, against the model.
    fn check(&mut self, n: usize, read: Option<Result<CursorPage, Error>>) {
        let reader = &mut self.readers[n];
        match read {
            Some(Ok(page)) => {
                let through = index(page.through);
                assert!(
                    through > reader.after && through <= self.sent.len(),
                    "it moves on"
                );
                assert!(page.events.len() <= PAGE_EVENTS_MAX);
                let got: Vec<(usize, &str, u64)> = page
                    .events
                    .iter()
                    .map(|event| (index(event.seq), event.topic.as_str(), number(event)))
                    .collect();
                let expected: Vec<(usize, &str, u64)> = (reader.after..through)
                    .map(|n| (n + 1, self.sent[n]))
                    .filter(|(_, sent)| reader.wants.includes(*sent))
                    .map(|(n, sent)| (n, sent.topic, sent.number))
                    .collect();
                assert_eq!(got, expected, "{:?} after {}", reader.wants, reader.after);
                reader.after = through;
            }
            Some(Err(Error::Pruned { through })) => {
                let through = index(through.seq);
                assert!(
                    through > reader.after && through <= self.pruned,
                    "it was removed"
                );
                reader.after = through;
            }
            Some(Err(error)) => panic!("{error:?}"),
            None => {}
        }
        let position = self.readers[n].cursor.position();
        assert_eq!(index(position.seq), self.readers[n].after);
    }

    /// Reads everything to the end, with every reader.
    async fn drain(&mut self) {
        for n in 0..self.readers.len() {
            while self.readers[n].after < self.sent.len() {
                let read = self.readers[n].cursor.try_next().await;
                let read = read.transpose().expect("there is more to read");
                self.check(n, Some(read));
            }
            assert!(self.readers[n].cursor.try_next().await.unwrap().is_none());
        }
    }

    async fn close(&mut self) {
        self.log.close();
        (&mut self.service).await.unwrap().unwrap();
    }

    /// Every reader comes back with its position.
    async fn come_back(&mut self, expected: Recovery) {
        let end = self.sent.len();
        for reader in &mut self.readers {
            let selector = reader.wants.selector();
            let from = From::After(reader.cursor.position());
            let start;
            (reader.cursor, start) = self.log.cursor(from, selector).await.unwrap();
            let (after, recovery) = match expected {
                Recovery::Recovered if reader.after < self.pruned => {
                    (self.pruned, Recovery::Pruned)
                }
                Recovery::Recovered => (reader.after, Recovery::Recovered),
                other => (end, other),
            };
            let position = self.log.position(seq(after));
            assert_eq!(start, Start { position, recovery });
            reader.after = after;
        }
    }

    async fn restore(&mut self, percent: usize) {
        self.close().await;
        self.epochs += 1;
        self.memory = Memory::new(&Random::seeded(self.epochs));
        (self.log, self.service) = open(&self.memory, 10).await;
        let kept = self.sent.len() * percent / 100;
        let kept = self.sent[..kept].to_vec();
        self.sent.clear();
        self.ends.clear();
        self.pruned = 0;
        for chunk in kept.chunks(17) {
            self.append(chunk).await;
        }
        self.come_back(Recovery::OtherEpoch).await;
    }
}

async fn open(memory: &Memory, ring: usize) -> (Log, JoinHandle<Result<(), Fatal>>) {
    let pages = Slow::new(memory.clone(), Pauses::default());
    let options = LogOptions {
        ring_events_max: ring,
        ..LogOptions::default()
    };
    let catalogue = Catalogue::new(Vec::new(), true).unwrap();
    let clock = Clock::manual(1_763_704_800_000_000);
    let random = Random::seeded(7);
    let (log, service) = Log::open(memory.clone(), pages, catalogue, options, clock, random)
        .await
        .unwrap();
    (log, tokio::spawn(service.run()))
}

fn seq(index: usize) -> Seq {
    Seq::new(index as u64)
}

fn index(seq: Seq) -> usize {
    usize::try_from(seq.get()).unwrap()
}

/// What a future gives, or nothing if it needs more than so many turns: it is dropped in the middle.
async fn within<T>(turns: usize, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = async { for _ in 0..turns { tokio::task::yield_now().await } } => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is published, removed, restarted or restored, wherever readers begin and whatever they
    /// want, also when they are dropped in the middle: each gets exactly what it wants of what follows,
    /// once, in order, or is told what it can no longer get.
    #[test]
    fn cursors_follow_the_model(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in &steps {
                world.step(step).await;
            }
            world.drain().await;
            world.close().await;
        });
    }
}
