//! A session: a client that said who it is and what it can do, with what runs for it and what it is owed.

mod level;
mod questions;
mod streams;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::AtomicUsize},
};

use bytes::Bytes;
use nexus_core::Source;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::{questions::Questions, streams::Streams};
use super::{
    budget::{Budget, Reservation, Share, Spent},
    channel::{Channel, List, Message, Unsaid},
    greeting::raw,
    options::REQUESTS_PER_SESSION_MAX,
    version::Version,
};
use crate::{
    Caller, ClientCapabilities, Id, ItemKind, RpcError, View,
    message::{self, INTERNAL_ERROR, INVALID_REQUEST, LIMITED, Response},
};

pub(crate) use self::{level::Level, questions::Follows, streams::STANDING};

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
    pub(crate) streams: Streams,
    pub(crate) questions: Questions,
    /// Changes of the client's roots that its servers have not been told of.
    pub(crate) roots_changed: AtomicUsize,
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
    /// What it asks for takes room while it runs.
    _room: Reservation,
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
        budget: Arc<Budget>,
    ) -> Arc<Self> {
        let mut caller = caller.clone();
        caller.session = Some(id.clone());
        Arc::new(Self {
            id,
            owner: caller.principal.source().clone(),
            namespace,
            version: hello.version,
            capabilities: hello.capabilities,
            standing: Channel::new(STANDING, &budget),
            streams: Streams::new(&budget),
            questions: Questions::default(),
            roots_changed: AtomicUsize::new(0),
            budget,
            ended: CancellationToken::new(),
            state: Mutex::new(State {
                heard: Instant::now(),
                caller,
                known: Known::default(),
                listening: 0,
                level: None,
                running: HashMap::new(),
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
        self.questions.end();
        self.streams.clear();
        for cancel in self.state.lock().running.values() {
            cancel.cancel();
        }
    }

    /// Begins a request that says so much.
    ///
    /// # Errors
    /// There are too many, one of that id runs, or there is no room for what they say.
    pub(crate) fn begin(self: &Arc<Self>, id: &Id, bytes: usize) -> Result<Running, RpcError> {
        let room = self.make_room(bytes);
        let room = room.map_err(|spent| no_room("the request", bytes, spent))?;
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
            _room: room,
        })
    }

    /// Cancels a request, if it runs.
    pub(crate) fn cancel(&self, id: &Id) {
        if let Some(cancel) = self.state.lock().running.get(id) {
            cancel.cancel();
        }
    }

    /// Says something on one of its streams.
    ///
    /// # Errors
    /// As [`Channel::push`].
    pub(crate) fn say(
        &self,
        channel: &Channel,
        text: Vec<u8>,
        kind: Message,
    ) -> Result<(), Unsaid> {
        match channel.push(text, kind) {
            Err(Unsaid::NoRoom { text, .. }) if kind != Message::Notification => {
                self.forget_read();
                channel.push(text, kind)
            }
            said => said,
        }
    }

    /// Gives the answer to a request; where there is no room for it, why there is none.
    pub(crate) fn give(&self, channel: &Channel, id: &Id, answer: Vec<u8>) {
        let bytes = answer.len();
        if let Err(Unsaid::NoRoom { spent, .. }) = self.say(channel, answer, Message::Answer) {
            let refused = Err(no_room("the answer", bytes, spent));
            let refusal = message::response(Some(id), &refused);
            // Nobody waits for it when there is no room for that either.
            let _ = channel.push(refusal, Message::Excuse);
        }
    }

    /// Holds the answer to a request until it is sent, in its parts; where there is no room for it, why there is
    /// none. What others are answered as well counts too: a slow client may be the last that has it.
    pub(crate) fn hold(&self, id: &Id, answer: Response) -> [Bytes; 2] {
        let bytes = answer.len();
        match self.make_room(bytes) {
            Ok(room) if answer.shared.is_empty() => [Bytes::new(), room.hold(answer.own)],
            Ok(room) => [answer.own.into(), room.hold(answer.shared)],
            Err(spent) => {
                let refused = Err(no_room("the answer", bytes, spent));
                [Bytes::new(), message::response(Some(id), &refused).into()]
            }
        }
    }

    /// Holds what was held in parts until now, so that there is room for it.
    pub(crate) fn hold_anyway(&self, answers: Vec<u8>) -> Bytes {
        match self.budget.reserve(answers.len(), Share::More) {
            Ok(room) => room.hold(answers),
            Err(_) => answers.into(),
        }
    }

    /// Takes room, if need be that of what its client was sent already.
    fn make_room(&self, bytes: usize) -> Result<Reservation, Spent> {
        self.budget.reserve(bytes, Share::Whole).or_else(|_| {
            self.forget_read();
            self.budget.reserve(bytes, Share::Whole)
        })
    }

    fn forget_read(&self) {
        self.standing.forget_read();
        self.streams.forget_read();
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

impl Drop for Listening {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.listening -= 1;
        state.heard = Instant::now();
    }
}

/// Why something is not done: too much is held for its client.
fn no_room(what: &str, bytes: usize, spent: Spent) -> RpcError {
    let Spent { of, max } = spent;
    let why = format!(
        "there is no room for {what} of {bytes} bytes: {of} may hold {max} bytes that wait for their client"
    );
    let data = json!({ "code": "too-much-unread", "limit_bytes": max });
    RpcError {
        data: Some(raw(&data)),
        ..RpcError::new(LIMITED, why)
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
    let budget = Budget::new("this test", usize::MAX);
    let caller = super::visitor::caller_for_test("ana");
    Session::new("s".into(), &caller, "".into(), hello, budget)
}

#[cfg(test)]
mod tests;
