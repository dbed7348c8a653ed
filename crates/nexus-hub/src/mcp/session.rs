//! A session: a client that said who it is and what it can do, with what runs for it and what it is owed.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use nexus_core::Source;
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    channel::{Budget, Channel, List},
    options::{
        ENDED_STREAM_KEPT, ENDED_STREAMS_MAX, QUESTIONS_PER_SESSION_MAX, REQUESTS_PER_SESSION_MAX,
    },
    version::Version,
};
use crate::{
    Caller, ClientCapabilities, Id, ItemKind, Raw, RpcError, View,
    message::{INTERNAL_ERROR, INVALID_REQUEST},
};

/// The stream that belongs to no request.
pub(crate) const STANDING: u64 = 0;

/// How grave a message of a log is, as MCP orders them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

impl Level {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "debug" => Self::Debug,
            "info" => Self::Info,
            "notice" => Self::Notice,
            "warning" => Self::Warning,
            "error" => Self::Error,
            "critical" => Self::Critical,
            "alert" => Self::Alert,
            "emergency" => Self::Emergency,
            _ => return None,
        })
    }
}

/// What the client of a new session said.
#[derive(Debug)]
pub(crate) struct Hello {
    pub(crate) version: Version,
    pub(crate) capabilities: ClientCapabilities,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    /// Drawn at random: who knows it and is its owner, is its client.
    pub(crate) id: Arc<str>,
    pub(crate) owner: Source,
    /// Which of the endpoint's addresses it is at; empty for the one that has everything.
    pub(crate) namespace: Arc<str>,
    pub(crate) version: Version,
    pub(crate) capabilities: ClientCapabilities,
    /// What belongs to no request.
    pub(crate) standing: Arc<Channel>,
    budget: Arc<Budget>,
    ended: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    heard: Instant,
    /// Its client, with the rights that it had when it was last heard of.
    caller: Caller,
    /// What its client knows of the lists, as far as it asked or was told.
    known: Known,
    /// Streams that are open.
    listening: usize,
    level: Option<Level>,
    running: HashMap<Id, CancellationToken>,
    questions: HashMap<i64, oneshot::Sender<Result<Raw, RpcError>>>,
    last_question: i64,
    last_stream: u64,
    /// Streams of requests that a client can come back to.
    streams: VecDeque<Kept>,
}

#[derive(Debug)]
struct Kept {
    channel: Arc<Channel>,
    /// When it was read to its end.
    read: Option<Instant>,
}

/// The digests of lists, as their client has seen them, in the order of [`ItemKind::ALL`].
#[derive(Debug, Default)]
struct Known([Option<u64>; 4]);

/// A request that runs: what cancels it. Dropped when it ends.
#[derive(Debug)]
pub(crate) struct Running {
    session: Arc<Session>,
    id: Id,
    pub(crate) cancel: CancellationToken,
}

/// A question that waits for its answer. Dropped when nobody waits any more.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    session: &'a Session,
    pub(crate) id: i64,
    pub(crate) answered: oneshot::Receiver<Result<Raw, RpcError>>,
}

/// Keeps a session from being idle.
#[derive(Debug)]
pub(crate) struct Listening(Arc<Session>);

impl Session {
    pub(crate) fn new(
        id: Arc<str>,
        caller: &Caller,
        namespace: Arc<str>,
        hello: Hello,
        budget: &Arc<Budget>,
    ) -> Arc<Self> {
        let mut caller = caller.clone();
        caller.session = Some(id.clone());
        Arc::new(Self {
            id,
            owner: caller.principal.source().clone(),
            namespace,
            version: hello.version,
            capabilities: hello.capabilities,
            standing: Channel::new(STANDING, budget),
            budget: budget.clone(),
            ended: CancellationToken::new(),
            state: Mutex::new(State {
                heard: Instant::now(),
                caller,
                known: Known::default(),
                listening: 0,
                level: None,
                running: HashMap::new(),
                questions: HashMap::new(),
                last_question: 0,
                last_stream: STANDING,
                streams: VecDeque::new(),
            }),
        })
    }

    /// Something was heard of its client, with these rights; as whom it asks.
    pub(crate) fn heard(&self, caller: &Caller) -> Caller {
        let mut caller = caller.clone();
        caller.session = Some(self.id.clone());
        let mut state = self.state.lock();
        state.heard = Instant::now();
        state.caller = caller.clone();
        caller
    }

    /// Its client, with the rights that it had when it was last heard of.
    pub(crate) fn caller(&self) -> Caller {
        self.state.lock().caller.clone()
    }

    /// Since when nothing was heard of its client; nothing while it listens or something runs for it.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let state = self.state.lock();
        let is_idle = state.listening == 0 && state.running.is_empty();
        is_idle.then_some(state.heard)
    }

    pub(crate) fn listen(self: &Arc<Self>) -> Listening {
        self.state.lock().listening += 1;
        Listening(self.clone())
    }

    /// Cancelled when the session ends.
    pub(crate) fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Ends it: what runs for it is cancelled, and its streams end.
    pub(crate) fn end(&self) {
        self.ended.cancel();
        self.standing.end();
        let mut state = self.state.lock();
        for cancel in state.running.values() {
            cancel.cancel();
        }
        state.questions.clear();
        state.streams.clear();
    }

    /// Begins a request.
    ///
    /// # Errors
    /// There are too many, or one of that id runs.
    pub(crate) fn begin(self: &Arc<Self>, id: &Id) -> Result<Running, RpcError> {
        let mut state = self.state.lock();
        if state.running.contains_key(id) {
            let why = "a request of this id is being worked on";
            return Err(RpcError::new(INVALID_REQUEST, why));
        }
        if state.running.len() >= REQUESTS_PER_SESSION_MAX {
            let why = format!("{REQUESTS_PER_SESSION_MAX} requests of this session run already");
            return Err(RpcError::new(INTERNAL_ERROR, why));
        }
        let cancel = self.ended.child_token();
        state.running.insert(id.clone(), cancel.clone());
        Ok(Running {
            session: self.clone(),
            id: id.clone(),
            cancel,
        })
    }

    /// Cancels a request, if it runs.
    pub(crate) fn cancel(&self, id: &Id) {
        if let Some(cancel) = self.state.lock().running.get(id) {
            cancel.cancel();
        }
    }

    /// Gets a question ready.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn question(&self) -> Result<Question<'_>, RpcError> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.state.lock();
        if state.questions.len() >= QUESTIONS_PER_SESSION_MAX {
            let why = format!("{QUESTIONS_PER_SESSION_MAX} questions to the client are open");
            return Err(RpcError::new(INTERNAL_ERROR, why));
        }
        state.last_question += 1;
        let id = state.last_question;
        state.questions.insert(id, answer);
        Ok(Question {
            session: self,
            id,
            answered,
        })
    }

    /// Takes the client's answer to a question; one that nobody waits for is passed over.
    pub(crate) fn answered(&self, id: Option<&Id>, outcome: Result<Raw, RpcError>) {
        let Some(Id::Number(id)) = id else {
            return;
        };
        let asker = self.state.lock().questions.remove(id);
        if let Some(asker) = asker {
            // Who asked may be gone.
            let _ = asker.send(outcome);
        }
    }

    /// Its client read the first page of a list, or is as good as told of it.
    pub(crate) fn saw(&self, kind: ItemKind, digest: u64) {
        self.state.lock().known.0[kind.place()] = Some(digest);
    }

    /// Its client will ask for the lists of a view.
    pub(crate) fn knows(&self, view: &View) {
        for kind in ItemKind::ALL {
            self.saw(kind, view.list(kind).digest());
        }
    }

    /// The lists of a view that are others than its client knows; from now on it counts as told.
    pub(crate) fn differs(&self, view: &View) -> BTreeSet<List> {
        let known = &mut self.state.lock().known;
        let changed = ItemKind::ALL.into_iter().filter(|kind| {
            let digest = Some(view.list(*kind).digest());
            std::mem::replace(&mut known.0[kind.place()], digest) != digest
        });
        changed
            .map(|kind| match kind {
                ItemKind::Tool => List::Tools,
                ItemKind::Resource | ItemKind::Template => List::Resources,
                ItemKind::Prompt => List::Prompts,
            })
            .collect()
    }

    /// A new stream for the answer to a request.
    pub(crate) fn open_stream(&self) -> Arc<Channel> {
        let mut state = self.state.lock();
        state.last_stream += 1;
        Channel::new(state.last_stream, &self.budget)
    }

    /// Keeps a stream, so that the client can come back to it.
    pub(crate) fn keep_stream(&self, channel: &Arc<Channel>) {
        let mut state = self.state.lock();
        while state.streams.len() >= ENDED_STREAMS_MAX {
            let Some(read) = state.streams.iter().position(|kept| kept.read.is_some()) else {
                break;
            };
            state.streams.remove(read);
        }
        // More than run at once are those whose client never came to read the end.
        if state.streams.len() >= REQUESTS_PER_SESSION_MAX + ENDED_STREAMS_MAX {
            state.streams.pop_front();
        }
        let channel = channel.clone();
        state.streams.push_back(Kept {
            channel,
            read: None,
        });
    }

    /// A stream was read to its end. It may have been lost on its way: it is kept a while longer.
    pub(crate) fn stream_read(&self, number: u64) {
        let mut state = self.state.lock();
        let mut streams = state.streams.iter_mut();
        if let Some(kept) = streams.find(|kept| kept.channel.number == number) {
            kept.read = Some(Instant::now());
        }
    }

    /// A stream of a request; nothing when it is no longer kept.
    pub(crate) fn stream(&self, number: u64) -> Option<Arc<Channel>> {
        let state = self.state.lock();
        let mut streams = state.streams.iter();
        let kept = streams.find(|kept| kept.channel.number == number)?;
        Some(kept.channel.clone())
    }

    /// Lets go of what no client will come back to.
    pub(crate) fn forget_streams(&self, now: Instant) {
        let is_due = |kept: &Kept| {
            kept.read
                .is_some_and(|read| now.duration_since(read) >= ENDED_STREAM_KEPT)
        };
        self.state.lock().streams.retain(|kept| !is_due(kept));
    }

    /// Which messages of logs the client wants: those of that level, and graver ones.
    pub(crate) fn set_level(&self, level: Level) {
        self.state.lock().level = Some(level);
    }

    /// Whether the client wants a message of a level. Who never said gets all.
    pub(crate) fn wants(&self, level: Level) -> bool {
        self.state.lock().level.is_none_or(|wanted| level >= wanted)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.session.state.lock();
        state.running.remove(&self.id);
        state.heard = Instant::now();
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.session.state.lock().questions.remove(&self.id);
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.listening -= 1;
        state.heard = Instant::now();
    }
}

#[cfg(test)]
pub(crate) fn for_test(version: Version) -> Arc<Session> {
    with_hello_for_test(Hello {
        version,
        capabilities: ClientCapabilities::default(),
    })
}

#[cfg(test)]
pub(crate) fn with_hello_for_test(hello: Hello) -> Arc<Session> {
    let budget = Budget::new(usize::MAX);
    let caller = super::visitor::caller_for_test("ana");
    Session::new("s".into(), &caller, "".into(), hello, &budget)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_and_who_says_none_gets_all() {
        let session = for_test(Version::LATEST);
        assert!(session.wants(Level::Debug));
        session.set_level(Level::Warning);
        let names = [
            "debug",
            "info",
            "notice",
            "warning",
            "error",
            "critical",
            "alert",
            "emergency",
        ];
        let wanted = names.map(|name| session.wants(Level::parse(name).unwrap()));
        assert_eq!(wanted, [false, false, false, true, true, true, true, true]);
        assert_eq!(Level::parse("warn"), None);
    }

    #[test]
    fn a_request_runs_once_and_is_cancelled_by_its_id() {
        let session = for_test(Version::LATEST);
        let (one, text) = (Id::Number(1), Id::Text("1".into()));
        let running = session.begin(&one).unwrap();
        assert_eq!(session.begin(&one).unwrap_err().code, INVALID_REQUEST);
        let other = session.begin(&text).unwrap();
        session.cancel(&one);
        assert!(running.cancel.is_cancelled() && !other.cancel.is_cancelled());
        drop(running);
        session.begin(&one).unwrap();
        session.end();
        assert!(other.cancel.is_cancelled());
    }

    #[test]
    fn no_session_is_worked_for_without_end() {
        let session = for_test(Version::LATEST);
        let running: Vec<_> = (0..REQUESTS_PER_SESSION_MAX)
            .map(|n| session.begin(&Id::Number(n as i64)).unwrap())
            .collect();
        assert!(session.begin(&Id::Number(-1)).is_err());
        assert!(session.idle_since().is_none());
        drop(running);
        assert!(session.idle_since().is_some());

        let questions: Vec<_> = (0..QUESTIONS_PER_SESSION_MAX)
            .map(|_| session.question().unwrap())
            .collect();
        assert!(session.question().is_err());
        drop(questions);
        assert!(session.question().is_ok());
    }

    #[tokio::test]
    async fn answers_find_their_question_and_no_other() {
        let session = for_test(Version::LATEST);
        let mut first = session.question().unwrap();
        let mut second = session.question().unwrap();
        let raw = |text: &str| serde_json::value::RawValue::from_string(text.to_owned()).unwrap();
        session.answered(Some(&Id::Number(99)), Ok(raw("0")));
        session.answered(Some(&Id::Text(second.id.to_string().into())), Ok(raw("1")));
        session.answered(None, Ok(raw("2")));
        session.answered(Some(&Id::Number(second.id)), Ok(raw("3")));
        assert_eq!((&mut second.answered).await.unwrap().unwrap().get(), "3");
        assert!(first.answered.try_recv().is_err());
    }

    #[test]
    fn streams_are_kept_for_a_while_after_they_were_read() {
        let session = for_test(Version::LATEST);
        let streams: Vec<_> = (0..ENDED_STREAMS_MAX + 2)
            .map(|_| {
                let channel = session.open_stream();
                session.keep_stream(&channel);
                session.stream_read(channel.number);
                channel.number
            })
            .collect();
        // The oldest made room.
        let kept = |number: &u64| session.stream(*number).is_some();
        assert!(!kept(&streams[0]) && !kept(&streams[1]) && kept(&streams[2]));
        session.forget_streams(Instant::now());
        assert!(kept(&streams[2]));
        let open = session.open_stream();
        session.keep_stream(&open);
        session.forget_streams(Instant::now() + ENDED_STREAM_KEPT);
        assert!(!kept(&streams[2]) && kept(&open.number));
    }
}
