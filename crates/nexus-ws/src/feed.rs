//! How one connection reads the log: from its group near the head, from the store behind it, and what
//! came before for those who ask.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::future::BoxFuture;
use nexus_core::{EventQuery, From, PAGE_EXAMINED_MAX, PatternSet, Position, Seq, Start};

use crate::{
    group::{Signal, Taken},
    groups::Membership,
    handle::Shared,
    outbound::Chunk,
    protocol::Refusal,
    segment::{Encoder, Segment},
    selection::{Rights, Selection},
    subscriptions::{Subscriptions, Wanted},
};

/// A page has at most this many events.
const PAGE_EVENTS_MAX: usize = 1_000;
/// How long a reader waits when the store cannot be read.
const READ_RETRY: Duration = Duration::from_millis(250);
/// Replays that a connection may have asked for and not got.
const REPLAYS_MAX: usize = 4;

/// What comes next for a reader.
#[derive(Debug)]
pub(crate) enum Next {
    Chunk(Chunk),
    /// Retention removed what the reader had still to get, up to here.
    Pruned,
}

/// One reader of the log.
pub(crate) struct Feed {
    shared: Arc<Shared>,
    signal: Arc<Signal>,
    pub(crate) rights: Rights,
    pub(crate) subscriptions: Subscriptions,
    membership: Option<Membership>,
    /// Everything up to here that is live for the reader was handed out.
    position: Seq,
    /// Older events that were asked for while others were already being sent.
    replays: VecDeque<Replay>,
    page: Option<BoxFuture<'static, Page>>,
}

/// Events of `(after, through]` for subscriptions that were added later.
struct Replay {
    selection: Arc<Selection>,
    filter: Arc<ReplayFilter>,
    after: Seq,
    through: Seq,
}

struct ReplayFilter {
    /// What was asked for …
    wanted: PatternSet,
    /// … without what these have sent already.
    sent: Subscriptions,
}

/// A page from the store.
enum Page {
    Read { segment: Segment, live: bool },
    Pruned,
    Failed,
}

impl Feed {
    pub(crate) fn new(shared: Arc<Shared>, signal: Arc<Signal>, rights: Rights) -> Self {
        Self {
            shared,
            signal,
            rights,
            subscriptions: Subscriptions::default(),
            membership: None,
            position: Seq::ZERO,
            replays: VecDeque::new(),
            page: None,
        }
    }

    /// What comes next. Pending when there is nothing; the signal then wakes the connection.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        let mut waiting = false;
        loop {
            if let Some(page) = &mut self.page {
                let page = ready!(page.as_mut().poll(context));
                self.page = None;
                match self.take_page(page) {
                    Some(next) => return Poll::Ready(next),
                    None => continue,
                }
            }
            if let Some(replay) = self.replays.front() {
                self.page = Some(self.replay_page(replay));
                continue;
            }
            let Some(membership) = &self.membership else {
                return Poll::Pending;
            };
            match membership.take(self.position, &self.shared.log) {
                Taken::Segment(segment) | Taken::Encoded(segment) => {
                    let after = std::mem::replace(&mut self.position, segment.through);
                    if let Some(chunk) = Chunk::new(segment, after, true) {
                        return Poll::Ready(Next::Chunk(chunk));
                    }
                }
                Taken::Behind => self.page = Some(self.live_page(membership)),
                Taken::UpToDate if waiting => return Poll::Pending,
                Taken::UpToDate => {
                    // Looks once more after saying so: what came between would not wake it.
                    self.signal.wait();
                    waiting = true;
                }
            }
        }
    }

    fn take_page(&mut self, page: Page) -> Option<Next> {
        match page {
            Page::Read { segment, live } => {
                let segment = Arc::new(segment);
                let through = segment.through;
                let after = if live {
                    std::mem::replace(&mut self.position, through)
                } else {
                    let replay = self.replays.front_mut()?;
                    let after = std::mem::replace(&mut replay.after, through);
                    if through >= replay.through {
                        self.replays.pop_front();
                    }
                    after
                };
                Chunk::new(segment, after, live).map(Next::Chunk)
            }
            Page::Pruned => Some(Next::Pruned),
            Page::Failed => None,
        }
    }

    fn live_page(&self, membership: &Membership) -> BoxFuture<'static, Page> {
        let selection = membership.group.selection.clone();
        let through = membership.group.tail();
        self.read_page(selection, None, self.position, through)
    }

    fn replay_page(&self, replay: &Replay) -> BoxFuture<'static, Page> {
        let filter = Some(replay.filter.clone());
        self.read_page(
            replay.selection.clone(),
            filter,
            replay.after,
            replay.through,
        )
    }

    fn read_page(
        &self,
        selection: Arc<Selection>,
        filter: Option<Arc<ReplayFilter>>,
        after: Seq,
        through: Seq,
    ) -> BoxFuture<'static, Page> {
        let shared = self.shared.clone();
        Box::pin(async move {
            // Fair: whoever asked first reads first. It is never closed.
            let _permit = shared.page_reads.acquire().await;
            let read = read_page(&shared, &selection, filter.as_deref(), after, through).await;
            read.unwrap_or_else(|error| {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a reader could not read the log"
                );
                Page::Failed
            })
        })
    }

    /// How far the reader is: everything up to here was handed out or is not for it.
    fn settled(&self) -> Seq {
        let Some(membership) = &self.membership else {
            return self.shared.log.head().seq;
        };
        // In this order: what is announced between the two can only make the tail larger.
        let announced = self.shared.groups.announced();
        if self.position >= membership.group.tail() {
            self.position.max(announced)
        } else {
            self.position
        }
    }

    /// From where a client that got everything that was handed out has to go on, replays included.
    pub(crate) fn resume(&self) -> Seq {
        let replays = self.replays.iter().map(|replay| replay.after);
        replays.fold(self.settled(), Seq::min)
    }

    /// What was handed out and not sent is handed out again.
    pub(crate) fn rewind(&mut self, position: Seq) {
        self.position = position;
        self.leave_page();
    }

    /// Drops a page that is being read for a position or selection that is no more.
    fn leave_page(&mut self) {
        self.page = None;
    }

    /// Where a subscription begins; nothing when that needs no reading, because it begins now.
    pub(crate) fn start(&self, from: From) -> BoxFuture<'static, Result<Start, nexus_core::Error>> {
        let log = self.shared.log.clone();
        Box::pin(async move {
            let nothing = PatternSet::default();
            log.cursor(from, nothing).await.map(|(_, start)| start)
        })
    }

    /// Adds subscriptions. Without a start they begin where the connection is.
    pub(crate) fn subscribe(
        &mut self,
        wanted: Wanted,
        start: Option<Start>,
    ) -> Result<Position, Refusal> {
        if self.subscriptions.count_with(&wanted) > self.shared.options.patterns_max {
            return Err(Refusal::TooManyPatterns);
        }
        let settled = self.settled();
        let since = start.map_or(settled, |start| start.position.seq);
        self.position = settled;
        if self.subscriptions.is_empty() {
            self.position = since;
        }
        let replays = since < self.position && !wanted.patterns().is_empty();
        let leaps = since > self.position;
        if (replays || leaps) && self.replays.len() >= REPLAYS_MAX {
            return Err(Refusal::TooManyReplays);
        }
        if leaps && let Some(membership) = &self.membership {
            // The new ones begin further on than the connection is: what lies between is for the old
            // ones alone.
            let selection = membership.group.selection.clone();
            let filter = ReplayFilter {
                wanted: selection.patterns(),
                sent: Subscriptions::default(),
            };
            self.replays.push_back(Replay {
                selection,
                filter: Arc::new(filter),
                after: self.position,
                through: since,
            });
            self.position = since;
        }
        let filter = replays.then(|| ReplayFilter {
            wanted: wanted.patterns(),
            sent: self.subscriptions.clone(),
        });
        self.subscriptions.add(wanted, since.min(self.position));
        self.regroup();
        if let (Some(filter), Some(membership)) = (filter, &self.membership) {
            self.replays.push_back(Replay {
                selection: membership.group.selection.clone(),
                filter: Arc::new(filter),
                after: since,
                through: self.position,
            });
        }
        Ok(self.shared.log.position(since))
    }

    /// Takes subscriptions out.
    pub(crate) fn unsubscribe(&mut self, texts: &[String]) {
        self.position = self.settled();
        self.subscriptions.remove(texts);
        self.regroup();
    }

    /// Goes on with other rights.
    pub(crate) fn restrict(&mut self, rights: Rights) {
        self.position = self.settled();
        self.rights = rights;
        self.regroup();
        if let Some(membership) = &self.membership {
            for replay in &mut self.replays {
                replay.selection = membership.group.selection.clone();
            }
        }
    }

    /// Nothing more is wanted: the group is left, so that no commit wakes the connection any more.
    pub(crate) fn leave(&mut self) {
        self.subscriptions = Subscriptions::default();
        self.regroup();
    }

    /// Joins the group that the subscriptions now belong to.
    fn regroup(&mut self) {
        self.leave_page();
        self.membership = (!self.subscriptions.is_empty()).then(|| {
            let selection = Selection::new(self.subscriptions.entries(), &self.rights);
            self.shared.groups.join(selection, self.signal.clone())
        });
        if self.membership.is_none() {
            self.replays.clear();
        }
    }
}

async fn read_page(
    shared: &Shared,
    selection: &Selection,
    filter: Option<&ReplayFilter>,
    after: Seq,
    through: Seq,
) -> Result<Page, nexus_core::Error> {
    let query = EventQuery {
        events_max: PAGE_EVENTS_MAX,
        bytes_max: shared.options.page_bytes_max,
        examined_max: PAGE_EXAMINED_MAX,
        ..EventQuery::page(after, through, selection.patterns())
    };
    let page = match shared.log.events(&query).await {
        Ok(page) => page,
        Err(error) => {
            tokio::time::sleep(READ_RETRY).await;
            return Err(error);
        }
    };
    // Asked after the page: what was removed before it was read would be missing.
    if shared.log.pruned_through().await? > after {
        return Ok(Page::Pruned);
    }
    shared.metrics.pages.fetch_add(1, Ordering::Relaxed);
    let epoch = shared.log.head().epoch;
    let mut encoder = Encoder::new(selection, epoch, after, usize::MAX);
    let wanted: Vec<_> = page
        .events
        .into_iter()
        .filter(|event| {
            filter.is_none_or(|filter| {
                filter.wanted.matches(&event.topic) && !filter.sent.cover(event)
            })
        })
        .collect();
    encoder.reserve(&wanted);
    for event in &wanted {
        encoder.push(event);
    }
    encoder.reach(page.reached);
    let segment = encoder.finish();
    Ok(Page::Read {
        segment,
        live: filter.is_none(),
    })
}
