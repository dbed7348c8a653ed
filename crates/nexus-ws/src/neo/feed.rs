//! What one connection of the neo face reads: its subscriptions, merged into one reader, and what came
//! before for those who ask.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::future::BoxFuture;
use nexus_core::{Event, Position, Seq, Start};

use super::{
    protocol::Refusal,
    subscriptions::{Subscriptions, Wanted},
};
use crate::{
    format::Format,
    handle::Shared,
    pages::{self, Page, Range},
    reader::{Next, Reader},
    selection::{Rights, Selection},
    signal::Signal,
    socket::Chunk,
};

/// Replays that a connection may have asked for and not got.
const REPLAYS_MAX: usize = 4;

/// Which of a connection's chunks are part of the common order …
pub(crate) const LIVE: u32 = 0;
/// … and which fill in what came before.
pub(crate) const REPLAY: u32 = 1;

/// What comes next for a connection.
#[derive(Debug)]
pub(crate) enum Fed {
    Chunk(Chunk),
    /// Retention removed what it had still to get.
    Pruned,
}

/// The subscriptions of one connection.
pub(crate) struct Feed {
    shared: Arc<Shared>,
    signal: Arc<Signal>,
    pub(crate) rights: Rights,
    pub(crate) subscriptions: Subscriptions,
    /// What is live; nothing without subscriptions.
    live: Option<Reader>,
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

/// Those that were asked for, without those that were sent already.
struct ReplayFilter {
    wanted: nexus_core::PatternSet,
    sent: Subscriptions,
}

impl ReplayFilter {
    fn wants(&self, event: &Event) -> bool {
        self.wanted.matches(&event.topic) && !self.sent.cover(event)
    }
}

impl Feed {
    pub(crate) fn new(shared: Arc<Shared>, signal: Arc<Signal>, rights: Rights) -> Self {
        Self {
            shared,
            signal,
            rights,
            subscriptions: Subscriptions::default(),
            live: None,
            replays: VecDeque::new(),
            page: None,
        }
    }

    /// What comes next. Pending when there is nothing; the signal then wakes the connection.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Fed> {
        loop {
            if let Some(page) = &mut self.page {
                let page = ready!(page.as_mut().poll(context));
                self.page = None;
                match page {
                    Page::Read(segment) => {
                        if let Some(chunk) = self.replayed(Arc::new(segment)) {
                            return Poll::Ready(Fed::Chunk(chunk));
                        }
                    }
                    Page::Pruned => return Poll::Ready(Fed::Pruned),
                    Page::Failed => {}
                }
            } else if let Some(replay) = self.replays.front() {
                self.page = Some(self.read_page(replay));
            } else if let Some(live) = &mut self.live {
                match ready!(live.poll_next(context)) {
                    Next::Slice(slice) => {
                        return Poll::Ready(Fed::Chunk(Chunk::new(LIVE, slice, Format::Neo)));
                    }
                    Next::Passed => {}
                    Next::Pruned => return Poll::Ready(Fed::Pruned),
                }
            } else {
                return Poll::Pending;
            }
        }
    }

    fn replayed(&mut self, segment: Arc<crate::segment::Segment>) -> Option<Chunk> {
        let replay = self.replays.front_mut()?;
        let after = std::mem::replace(&mut replay.after, segment.through);
        if segment.through >= replay.through {
            self.replays.pop_front();
        }
        let slice = segment.slice(after, Format::Neo)?;
        Some(Chunk::new(REPLAY, slice, Format::Neo))
    }

    fn read_page(&self, replay: &Replay) -> BoxFuture<'static, Page> {
        let filter = replay.filter.clone();
        let range = Range {
            after: replay.after,
            through: replay.through,
        };
        let selection = replay.selection.clone();
        pages::read(self.shared.clone(), selection, range, move |event| {
            filter.wants(event)
        })
    }

    /// How far the connection is: everything up to here was handed out or is not for it.
    fn settled(&self) -> Seq {
        match &self.live {
            Some(live) => live.settled(),
            None => self.shared.log.head().seq,
        }
    }

    /// From where a client that got everything that was handed out has to go on, replays included.
    pub(crate) fn resume(&self) -> Seq {
        let replays = self.replays.iter().map(|replay| replay.after);
        replays.fold(self.settled(), Seq::min)
    }

    /// What was handed out and not sent is handed out again.
    pub(crate) fn rewind(&mut self, position: Seq) {
        if let Some(live) = &mut self.live {
            live.rewind(position);
        }
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
        let mut position = settled;
        if self.subscriptions.is_empty() {
            position = since;
        }
        let replays = since < position && !wanted.patterns().is_empty();
        let leaps = since > position;
        if (replays || leaps) && self.replays.len() >= REPLAYS_MAX {
            return Err(Refusal::TooManyReplays);
        }
        if leaps && let Some(live) = &self.live {
            // The new ones begin further on than the connection is: what lies between is for the old
            // ones alone.
            let selection = live.selection().clone();
            let filter = ReplayFilter {
                wanted: selection.patterns(),
                sent: Subscriptions::default(),
            };
            self.replays.push_back(Replay {
                selection,
                filter: Arc::new(filter),
                after: position,
                through: since,
            });
            position = since;
        }
        let filter = replays.then(|| ReplayFilter {
            wanted: wanted.patterns(),
            sent: self.subscriptions.clone(),
        });
        self.subscriptions.add(wanted, since.min(position));
        self.regroup(position);
        if let (Some(filter), Some(live)) = (filter, &self.live) {
            self.replays.push_back(Replay {
                selection: live.selection().clone(),
                filter: Arc::new(filter),
                after: since,
                through: position,
            });
        }
        Ok(self.shared.log.position(since))
    }

    /// Takes subscriptions out.
    pub(crate) fn unsubscribe(&mut self, texts: &[String]) {
        self.subscriptions.remove(texts);
        self.regroup(self.settled());
    }

    /// Goes on with other rights.
    pub(crate) fn restrict(&mut self, rights: Rights) {
        self.rights = rights;
        self.regroup(self.settled());
    }

    /// Drops what was read and not handed out, from a client that takes nothing: it costs memory, and a page
    /// that is being read keeps others from reading.
    pub(crate) fn forget(&mut self) {
        self.page = None;
        if let Some(live) = &mut self.live {
            live.forget();
        }
    }

    /// Nothing more is wanted: the group is left, so that no commit wakes the connection any more.
    pub(crate) fn leave(&mut self) {
        self.subscriptions = Subscriptions::default();
        self.regroup(Seq::ZERO);
    }

    /// Reads what the subscriptions now ask for, from a sequence on.
    fn regroup(&mut self, position: Seq) {
        self.page = None;
        if self.subscriptions.is_empty() {
            self.live = None;
            self.replays.clear();
            return;
        }
        let entries = self.subscriptions.entries();
        let selection = Selection::new(Format::Neo, entries, None, &self.rights);
        match &mut self.live {
            Some(live) => live.reselect(selection, position),
            None => {
                let (shared, signal) = (self.shared.clone(), self.signal.clone());
                self.live = Some(Reader::new(shared, signal, selection, position));
            }
        }
        // What was asked for before is given within what is wanted and allowed now.
        if let Some(live) = &self.live {
            for replay in &mut self.replays {
                replay.selection = live.selection().clone();
            }
        }
    }
}
