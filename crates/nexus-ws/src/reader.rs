//! A reader: one selection, one position. From its group near the head, from the store behind it.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use nexus_core::{Event, Position, Recovery, Seq};

use crate::{
    address,
    agents::View,
    group::Taken,
    groups::Membership,
    handle::Shared,
    pages::{self, Page, Range},
    segment::{Seen, Segment, Slice},
    selection::{Rights, Selection},
    signal::Signal,
};

/// What comes next for a reader.
#[derive(Debug)]
pub(crate) enum Next {
    /// Events, already written.
    Slice(Slice),
    /// Some of the log was passed in which nothing is for the reader.
    Passed,
    /// Retention removed what the reader had still to get.
    Pruned,
}

/// One reader of the log. It belongs to a connection, whose signal it waits with.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    signal: Arc<Signal>,
    membership: Membership,
    /// Everything up to here was handed out or is not for the reader.
    position: Seq,
    /// What was read or encoded, as long as something of it is to be handed out.
    held: Option<Arc<Segment>>,
    page: Option<MaybeDone<BoxFuture<'static, Page>>>,
}

impl Reader {
    /// A reader of what follows a sequence.
    pub(crate) fn new(
        shared: Arc<Shared>,
        signal: Arc<Signal>,
        selection: Selection,
        after: Seq,
    ) -> Self {
        let membership = shared.groups.join(selection, signal.clone());
        Self {
            shared,
            signal,
            membership,
            position: after,
            held: None,
            page: None,
        }
    }

    /// What comes next. Pending when there is nothing; the signal then wakes the connection.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        self.poll_next_if(context, true)
    }

    /// The same, for a connection with more than one reader: it says whether this one may begin to read from
    /// the store. If not, it is pending until the one that does is done.
    pub(crate) fn poll_next_if(&mut self, context: &mut Context<'_>, may_read: bool) -> Poll<Next> {
        self.poll(context, may_read, None)
    }

    /// As [`Reader::poll_next`], for a reader that sees part of what its group shares. Also pending while that
    /// is not known of the next event; whoever lets the view know asks again.
    pub(crate) fn poll_next_seen(&mut self, context: &mut Context<'_>, view: &View) -> Poll<Next> {
        self.poll(context, true, Some(view))
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        may_read: bool,
        view: Option<&View>,
    ) -> Poll<Next> {
        let mut waiting = false;
        loop {
            if let Some(page) = &mut self.page {
                let mut page = Pin::new(page);
                ready!(page.as_mut().poll(context));
                let page = page.take_output();
                self.page = None;
                match page {
                    Some(Page::Read(segment)) => self.held = Some(Arc::new(segment)),
                    Some(Page::Pruned) => return Poll::Ready(Next::Pruned),
                    Some(Page::Failed) | None => {}
                }
            }
            if let Some(held) = self.held.take() {
                let through = held.through;
                let next = self.advance(held.clone(), view);
                if self.position < through {
                    self.held = Some(held);
                }
                return next;
            }
            match self.membership.take(self.position, &self.shared.log) {
                // Also what a message of a batch has no room for: nobody else may keep it.
                Taken::Segment(segment) | Taken::Encoded { segment, .. } => {
                    self.held = Some(segment);
                }
                Taken::Behind if !may_read => return Poll::Pending,
                Taken::Behind => self.page = Some(maybe_done(self.read_page())),
                Taken::UpToDate if waiting => return Poll::Pending,
                Taken::UpToDate => {
                    // Looks once more after saying so: what came between would not wake it.
                    self.signal.wait();
                    waiting = true;
                }
            }
        }
    }

    /// Whether it is reading from the store, or keeps what it read.
    pub(crate) fn is_reading(&self) -> bool {
        self.page.is_some() || self.held.is_some()
    }

    /// Goes on reading, also while nothing is wanted: whoever reads keeps others from it.
    pub(crate) fn read_on(&mut self, context: &mut Context<'_>) {
        if let Some(page) = &mut self.page {
            let _ = Pin::new(page).poll(context);
        }
    }

    fn advance(&mut self, segment: Arc<Segment>, view: Option<&View>) -> Poll<Next> {
        let through = segment.through;
        let format = self.membership.group.selection.format();
        let slice = match view {
            None => segment.slice(self.position, format),
            Some(view) => match segment.seen(self.position, view) {
                Seen::Slice(slice) => Some(slice),
                Seen::Nothing => None,
                Seen::NotYet => return Poll::Pending,
            },
        };
        Poll::Ready(match slice {
            Some(slice) => {
                self.position = slice.through;
                Next::Slice(slice)
            }
            None => {
                self.position = self.position.max(through);
                Next::Passed
            }
        })
    }

    fn read_page(&self) -> BoxFuture<'static, Page> {
        let group = &self.membership.group;
        let range = Range {
            after: self.position,
            through: group.tail(),
        };
        let selection = group.selection.clone();
        let session = self.signal.session().cloned();
        let wanted = move |event: &Event| match &session {
            Some(session) => address::concerns(event, session),
            None => true,
        };
        pages::read(self.shared.clone(), selection, range, wanted)
    }

    /// How far it is: everything up to here was handed out or is not for it.
    pub(crate) fn settled(&self) -> Seq {
        // In this order: what is announced between the two can only make the tail larger.
        let announced = self.shared.groups.announced();
        if self.position >= self.membership.group.tail() {
            self.position.max(announced)
        } else {
            self.position
        }
    }

    /// Everything up to here was handed out or passed.
    pub(crate) fn position(&self) -> Seq {
        self.position
    }

    /// As a position, for its client.
    pub(crate) fn settled_position(&self) -> Position {
        self.shared.log.position(self.settled())
    }

    /// What was handed out after a sequence is handed out again.
    pub(crate) fn rewind(&mut self, position: Seq) {
        self.position = position;
        self.forget();
    }

    /// Goes on with another selection, from a sequence on.
    pub(crate) fn reselect(&mut self, selection: Selection, after: Seq) {
        self.position = after;
        self.forget();
        self.membership = self.shared.groups.join(selection, self.signal.clone());
    }

    /// Goes on within other rights; what was handed out stays handed out.
    pub(crate) fn restrict(&mut self, rights: &Rights) {
        let selection = self.selection().within(rights);
        self.reselect(selection, self.settled());
    }

    /// What it gets.
    pub(crate) fn selection(&self) -> &Arc<Selection> {
        &self.membership.group.selection
    }

    /// Drops what was read and not handed out: it is of a position or selection that is no more, or costs too
    /// much memory.
    pub(crate) fn forget(&mut self) {
        self.held = None;
        self.page = None;
    }
}

/// Why a reader does not begin where it wanted to, in a word for its client.
pub(crate) const fn reason(recovery: Recovery) -> Option<&'static str> {
    match recovery {
        Recovery::Recovered => None,
        Recovery::OtherEpoch => Some("epoch"),
        Recovery::Pruned => Some("pruned"),
        Recovery::Ahead => Some("ahead"),
    }
}
