//! What one stream has to say: kept until the client has it, and a while longer, for a client that lost its
//! connection and comes back with the id of the last message that it saw.

use std::{
    collections::{BTreeSet, VecDeque},
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::timeout;

use super::options::{STREAM_BYTES_MAX, STREAM_MESSAGES_MAX};

/// The bytes that all channels together hold.
#[derive(Debug)]
pub(crate) struct Budget {
    held: AtomicUsize,
    max: usize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        let held = AtomicUsize::new(0);
        Arc::new(Self { held, max })
    }

    fn is_spent(&self) -> bool {
        self.held.load(Ordering::Relaxed) >= self.max
    }

    #[cfg(test)]
    fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// Lists that a session's client is told to read again. Said once, however often they change before it
/// listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum List {
    Tools,
    Resources,
    Prompts,
}

impl List {
    fn message(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Tools => br#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#,
            Self::Resources => {
                br#"{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}"#
            }
            Self::Prompts => br#"{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}"#,
        })
    }
}

/// What a message is to whoever has no room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// Goes before others when there is no room.
    Notification,
    /// Somebody waits for what comes of it.
    Question,
    /// The client waits for it.
    Answer,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Channel {
    /// Which of its session's; part of the ids of its messages.
    pub(crate) number: u64,
    budget: Arc<Budget>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The messages that are kept; the first of them has the number `first`.
    kept: VecDeque<Bytes>,
    first: u64,
    bytes: usize,
    /// Everything before this number was given to a reader.
    unread: u64,
    /// Nothing more comes.
    is_ended: bool,
    /// It held something else than answers.
    is_mixed: bool,
    /// What is told when somebody listens.
    lists: BTreeSet<List>,
    updated: BTreeSet<Arc<str>>,
    /// Which reader is the last that came: those before it end.
    reader: u64,
    waker: Option<Waker>,
    lost: u64,
}

impl State {
    fn end(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// How the answer to a request begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// Everything is there, and it is nothing but answers.
    Whole(Vec<Bytes>),
    /// There is more to say, or it takes long.
    Stream,
}

impl Channel {
    pub(crate) fn new(number: u64, budget: &Arc<Budget>) -> Arc<Self> {
        let state = State {
            first: 1,
            unread: 1,
            ..State::default()
        };
        Arc::new(Self {
            number,
            budget: budget.clone(),
            state: Mutex::new(state),
        })
    }

    /// Says something; whether there was room for it.
    pub(crate) fn push(&self, message: Bytes, kind: Message) -> bool {
        let mut state = self.state.lock();
        if state.is_ended {
            return false;
        }
        let is_kept = self.keep(&mut state, message, kind);
        state.is_mixed |= kind != Message::Answer;
        state.wake();
        is_kept
    }

    fn keep(&self, state: &mut State, message: Bytes, kind: Message) -> bool {
        let is_full = |state: &State| {
            state.kept.len() >= STREAM_MESSAGES_MAX
                || state.bytes + message.len() > STREAM_BYTES_MAX
                || self.budget.is_spent()
        };
        // What the client was sent is kept for the case that it did not arrive, and only as far as there
        // is room.
        while is_full(state) && state.first < state.unread {
            self.forget_first(state);
        }
        if is_full(state) && kind == Message::Notification {
            state.lost += 1;
            if state.lost.is_power_of_two() {
                let lost = state.lost;
                tracing::warn!(lost, "a client does not take its notifications");
            }
            return false;
        }
        self.budget.held.fetch_add(message.len(), Ordering::Relaxed);
        state.bytes += message.len();
        state.kept.push_back(message);
        true
    }

    fn forget_first(&self, state: &mut State) {
        if let Some(message) = state.kept.pop_front() {
            self.budget.held.fetch_sub(message.len(), Ordering::Relaxed);
            state.bytes -= message.len();
            state.first += 1;
            state.unread = state.unread.max(state.first);
        }
    }

    /// Tells, when somebody listens, that a list is another.
    pub(crate) fn list_changed(&self, list: List) {
        let mut state = self.state.lock();
        if !state.is_ended && state.lists.insert(list) {
            state.wake();
        }
    }

    /// Tells, when somebody listens, that a resource is another.
    pub(crate) fn resource_updated(&self, uri: &Arc<str>) {
        let mut state = self.state.lock();
        // A server can name as many parts of what somebody listens to as it likes, and nobody may be listening.
        let bytes: usize = state.updated.iter().map(|uri| uri.len()).sum();
        let has_room = state.updated.len() < STREAM_MESSAGES_MAX
            && bytes.saturating_add(uri.len()) <= STREAM_BYTES_MAX;
        if !state.is_ended && has_room && state.updated.insert(uri.clone()) {
            state.wake();
        }
    }

    /// Nothing more comes.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        state.is_ended = true;
        state.wake();
    }

    /// Waits until it is known how an answer begins, at most for `patience`.
    pub(crate) async fn begins(&self, patience: Duration) -> Beginning {
        let begins = poll_fn(|context| {
            let mut state = self.state.lock();
            if state.is_mixed {
                return Poll::Ready(Beginning::Stream);
            }
            if state.is_ended {
                return Poll::Ready(Beginning::Whole(state.kept.iter().cloned().collect()));
            }
            state.waker = Some(context.waker().clone());
            Poll::Pending
        });
        timeout(patience, begins).await.unwrap_or(Beginning::Stream)
    }

    /// Reads from here on, instead of whoever read before: behind a message, or from the first that nobody
    /// was given.
    pub(crate) fn read(self: &Arc<Self>, after: Option<u64>) -> Reader {
        let mut state = self.state.lock();
        state.reader += 1;
        state.wake();
        let next = match after {
            // What is no longer kept is passed over; the answer always is.
            Some(after) => after.saturating_add(1).clamp(state.first, state.end()),
            None => state.unread,
        };
        Reader {
            channel: self.clone(),
            number: state.reader,
            next,
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        let bytes = self.state.get_mut().bytes;
        self.budget.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Somebody who reads a channel.
#[derive(Debug)]
pub(crate) struct Reader {
    channel: Arc<Channel>,
    number: u64,
    next: u64,
}

impl Reader {
    /// The next message and its number; nothing when no more comes, or somebody else reads now.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<(u64, Bytes)>> {
        let channel = self.channel.clone();
        let mut state = channel.state.lock();
        if state.reader != self.number {
            return Poll::Ready(None);
        }
        self.next = self.next.max(state.first);
        if self.next >= state.end() {
            channel.tell(&mut state);
        }
        let at = usize::try_from(self.next - state.first).unwrap_or(usize::MAX);
        if let Some(message) = state.kept.get(at).cloned() {
            let number = self.next;
            self.next += 1;
            state.unread = state.unread.max(self.next);
            return Poll::Ready(Some((number, message)));
        }
        if state.is_ended {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// The number of the last message that it was given.
    pub(crate) fn last(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// Which stream it reads.
    pub(crate) fn stream(&self) -> u64 {
        self.channel.number
    }
}

impl Channel {
    /// Turns what waited for a listener into messages.
    fn tell(&self, state: &mut State) {
        let lists = std::mem::take(&mut state.lists);
        let updated = std::mem::take(&mut state.updated);
        let updated = updated.into_iter().map(|uri| {
            let uri = serde_json::Value::from(&*uri);
            Bytes::from(format!(
                "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/resources/updated\",\"params\":{{\"uri\":{uri}}}}}"
            ))
        });
        for message in lists.into_iter().map(List::message).chain(updated) {
            self.keep(state, message, Message::Notification);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn next(reader: &mut Reader) -> Option<Option<(u64, String)>> {
        let mut context = Context::from_waker(Waker::noop());
        match reader.poll_next(&mut context) {
            Poll::Pending => None,
            Poll::Ready(read) => {
                Some(read.map(|(number, message)| {
                    (number, String::from_utf8_lossy(&message).into_owned())
                }))
            }
        }
    }

    fn text(number: u64, message: &str) -> Option<Option<(u64, String)>> {
        Some(Some((number, message.to_owned())))
    }

    #[test]
    fn a_client_that_comes_back_goes_on_where_it_was() {
        let channel = Channel::new(7, &Budget::new(1_000));
        for message in ["a", "b", "c"] {
            assert!(channel.push(message.into(), Message::Notification));
        }
        let mut first = channel.read(None);
        assert_eq!(next(&mut first), text(1, "a"));
        assert_eq!(next(&mut first), text(2, "b"));

        let mut again = channel.read(Some(1));
        assert_eq!(next(&mut first), Some(None), "the older reader ends");
        assert_eq!(next(&mut again), text(2, "b"));
        assert_eq!(next(&mut again), text(3, "c"));
        assert_eq!(next(&mut again), None);
        channel.end();
        assert_eq!(next(&mut again), Some(None));
        assert_eq!(again.last(), 3);

        // Who has no id gets what nobody was given; and an id that is made up leads nowhere bad.
        assert_eq!(next(&mut channel.read(None)), Some(None));
        assert_eq!(next(&mut channel.read(Some(u64::MAX))), Some(None));
    }

    #[test]
    fn what_was_sent_makes_room_and_what_nobody_was_sent_stays() {
        let budget = Budget::new(usize::MAX);
        let channel = Channel::new(1, &budget);
        for number in 0..STREAM_MESSAGES_MAX {
            assert!(channel.push(number.to_string().into(), Message::Notification));
        }
        assert!(!channel.push("lost".into(), Message::Notification));
        assert!(channel.push("question".into(), Message::Question));
        let mut reader = channel.read(None);
        assert_eq!(next(&mut reader), text(1, "0"));
        assert_eq!(next(&mut reader), text(2, "1"));
        assert!(channel.push("kept".into(), Message::Notification));
        // The first two are gone now, so that going on behind the first begins with the third.
        assert_eq!(next(&mut channel.read(Some(1))), text(3, "2"));
        assert!(budget.held() > 0);
        drop(reader);
        drop(channel);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn all_channels_share_one_bound_and_an_answer_always_has_room() {
        let budget = Budget::new(10);
        let (one, other) = (Channel::new(1, &budget), Channel::new(2, &budget));
        assert!(one.push(vec![b'x'; 10].into(), Message::Answer));
        assert!(!other.push("note".into(), Message::Notification));
        assert!(other.push("answer".into(), Message::Answer));
        // What the client was sent goes first.
        assert!(next(&mut one.read(None)).is_some());
        assert!(one.push("more".into(), Message::Answer));
        assert_eq!(budget.held(), "answer".len() + "more".len());
    }

    #[test]
    fn changes_are_told_once_and_only_when_somebody_listens() {
        let channel = Channel::new(0, &Budget::new(1_000));
        let uri: Arc<str> = "nexus://events/\"a\"".into();
        for _ in 0..3 {
            channel.list_changed(List::Tools);
            channel.resource_updated(&uri);
        }
        let mut reader = channel.read(None);
        let tools = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
        assert_eq!(next(&mut reader), text(1, tools));
        let updated = r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"nexus://events/\"a\""}}"#;
        assert_eq!(next(&mut reader), text(2, updated));
        assert_eq!(next(&mut reader), None);
        channel.list_changed(List::Tools);
        assert_eq!(next(&mut reader), text(3, tools));
    }

    #[test]
    fn what_nobody_listens_to_is_not_gathered_without_end() {
        let waiting = |uris: &mut dyn Iterator<Item = String>| {
            let channel = Channel::new(0, &Budget::new(usize::MAX));
            for uri in uris {
                channel.resource_updated(&uri.into());
            }
            channel.state.lock().updated.len()
        };
        let parts = &mut (0..10_000).map(|n| format!("notes://all/{n}"));
        assert_eq!(waiting(parts), STREAM_MESSAGES_MAX);
        let long = &mut (0..100).map(|n| format!("{n}{}", "x".repeat(STREAM_BYTES_MAX / 4)));
        assert_eq!(waiting(long), 3);
    }

    #[tokio::test]
    async fn an_answer_alone_is_whole_and_anything_else_a_stream() {
        let budget = Budget::new(1_000);
        let patience = Duration::from_secs(60);
        let whole = Channel::new(1, &budget);
        whole.push("answer".into(), Message::Answer);
        whole.end();
        let answer = vec![Bytes::from("answer")];
        assert_eq!(whole.begins(patience).await, Beginning::Whole(answer));

        let mixed = Channel::new(2, &budget);
        mixed.push("note".into(), Message::Notification);
        assert_eq!(mixed.begins(patience).await, Beginning::Stream);

        let slow = Channel::new(3, &budget);
        let moment = Duration::from_millis(1);
        assert_eq!(slow.begins(moment).await, Beginning::Stream);

        // Nothing is owed to who cancelled.
        let cancelled = Channel::new(4, &budget);
        cancelled.end();
        assert_eq!(
            cancelled.begins(patience).await,
            Beginning::Whole(Vec::new())
        );
    }
}
