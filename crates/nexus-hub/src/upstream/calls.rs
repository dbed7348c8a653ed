//! The requests of one connection that wait for an answer, and whom a message of the server concerns.

mod roots;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::{
    sync::{broadcast, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::roots::Roots;
use super::{
    CallError, Changed, Isolation, Peer,
    asked::{Asked, Question},
    patience::Patience,
};
use crate::{
    Id, Incoming, Raw,
    message::meta::{progress_token, raw_member, text_member, with_progress_token},
};

/// So many changes are kept for who reads them late.
const CHANGES_KEPT: usize = 64;
/// A server may go on with a request that was given up, and speak of it, for so long.
const GIVEN_UP_WORKED_ON: Duration = Duration::from_secs(300);

/// What a request came to.
pub(crate) type Outcome = Result<Raw, CallError>;

/// The table of one connection.
pub(crate) struct Calls {
    isolation: Isolation,
    questions_max: usize,
    next_id: AtomicI64,
    table: Mutex<Table>,
    /// The server's own requests that are being answered.
    questions: Mutex<HashMap<Id, CancellationToken>>,
    /// Whose roots the server knows.
    pub(crate) roots: Roots,
    changes: broadcast::Sender<Changed>,
    garbage: AtomicU64,
}

#[derive(Default)]
struct Table {
    waiting: HashMap<i64, Waiting>,
    /// Until when a request that was somebody's, and was given up, may be worked on.
    worked_on_until: Option<Instant>,
    /// Set when nothing can be asked any more.
    ended: Option<Ending>,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It was lost.
    Gone(String),
    /// Nexus closed it.
    Closed,
}

impl Table {
    /// Whether a request that was somebody's, and was given up, may still be worked on.
    fn is_given_up_worked_on(&self) -> bool {
        self.worked_on_until
            .is_some_and(|until| Instant::now() < until)
    }
}

/// A request that waits for its answer.
struct Waiting {
    answer: oneshot::Sender<Outcome>,
    caller: Caller,
}

/// Who made a request.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) peer: Option<Arc<dyn Peer>>,
    /// The progress token that it gave.
    pub(crate) token: Option<Arc<RawValue>>,
    pub(crate) patience: Arc<Patience>,
    /// Whether somebody asked, and not Nexus for itself.
    pub(crate) is_somebodys: bool,
    /// Ends with the request: what the server asked for its sake is withdrawn then.
    pub(crate) ended: CancellationToken,
}

impl Calls {
    pub(crate) fn new(isolation: Isolation, questions_max: usize) -> Arc<Self> {
        Arc::new(Self {
            isolation,
            questions_max,
            next_id: AtomicI64::new(1),
            table: Mutex::default(),
            questions: Mutex::default(),
            roots: Roots::new(isolation),
            changes: broadcast::channel(CHANGES_KEPT).0,
            garbage: AtomicU64::new(0),
        })
    }

    /// The number that the next request is sent under: its id, and its progress token.
    pub(crate) fn next_id(&self) -> i64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Enters a request.
    ///
    /// # Errors
    /// [`CallError::Closed`] or [`CallError::NotConnected`] when the connection has ended.
    pub(crate) fn begin(
        &self,
        id: i64,
        caller: Caller,
    ) -> Result<oneshot::Receiver<Outcome>, CallError> {
        let (answer, answered) = oneshot::channel();
        let mut table = self.table.lock();
        match &table.ended {
            None => {}
            Some(Ending::Closed) => return Err(CallError::Closed),
            Some(Ending::Gone(why)) => return Err(CallError::not_connected(why.clone())),
        }
        table.waiting.insert(id, Waiting { answer, caller });
        Ok(answered)
    }

    /// Takes a request out that waits no more. Gives whether it was still waiting.
    pub(crate) fn forget(&self, id: i64) -> bool {
        let mut table = self.table.lock();
        let found = table.waiting.remove(&id);
        if let Some(waiting) = &found {
            waiting.caller.ended.cancel();
            if waiting.caller.is_somebodys {
                table.worked_on_until = Some(Instant::now() + GIVEN_UP_WORKED_ON);
            }
        }
        found.is_some()
    }

    /// Gives a request its outcome. Nothing happens to one that waits no more.
    pub(crate) fn settle(&self, id: i64, outcome: Outcome) {
        let found = self.table.lock().waiting.remove(&id);
        if let Some(waiting) = found {
            waiting.caller.ended.cancel();
            // Whoever asked may have gone away meanwhile.
            let _ = waiting.answer.send(outcome);
        }
    }

    /// Whether a request waits for its answer.
    pub(crate) fn is_waiting(&self, id: i64) -> bool {
        self.table.lock().waiting.contains_key(&id)
    }

    /// How many requests wait for their answers.
    pub(crate) fn in_flight(&self) -> usize {
        self.table.lock().waiting.len()
    }

    /// Ends the connection: what waits fails, nothing can be asked any more. The first ending counts.
    pub(crate) fn end(&self, ending: Ending) {
        let (waiting, changed) = {
            let mut table = self.table.lock();
            if table.ended.is_some() {
                return;
            }
            let changed = match &ending {
                Ending::Gone(_) => Changed::Gone,
                Ending::Closed => Changed::Closed,
            };
            table.ended = Some(ending.clone());
            (std::mem::take(&mut table.waiting), changed)
        };
        let why = match ending {
            Ending::Gone(why) => why,
            Ending::Closed => String::from("it was closed"),
        };
        for waiting in waiting.into_values() {
            waiting.caller.ended.cancel();
            let _ = waiting
                .answer
                .send(Err(CallError::Gone { why: why.clone() }));
        }
        for question in std::mem::take(&mut *self.questions.lock()).into_values() {
            question.cancel();
        }
        self.tell(changed);
    }

    /// Whether requests can be made.
    pub(crate) fn is_open(&self) -> bool {
        self.table.lock().ended.is_none()
    }

    /// How the connection was lost, if it was.
    pub(crate) fn why_gone(&self) -> Option<String> {
        match &self.table.lock().ended {
            Some(Ending::Gone(why)) => Some(why.clone()),
            Some(Ending::Closed) | None => None,
        }
    }

    /// What the server says by itself, from now on.
    pub(crate) fn changes(&self) -> broadcast::Receiver<Changed> {
        self.changes.subscribe()
    }

    pub(crate) fn tell(&self, changed: Changed) {
        // Nobody has to listen.
        let _ = self.changes.send(changed);
    }

    /// The server wrote something that is no message.
    pub(crate) fn note_garbage(&self) {
        self.garbage.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it did.
    pub(crate) fn garbage(&self) -> u64 {
        self.garbage.load(Ordering::Relaxed)
    }

    /// Takes a message of the server, which it sent for the sake of the request `during` if that is known.
    /// A question that it asks has to be answered by who carries the messages.
    pub(crate) fn receive(
        self: &Arc<Self>,
        message: Incoming,
        during: Option<i64>,
    ) -> Option<Asked> {
        if let Some(caller) = during.and_then(|id| self.caller(id)) {
            caller.patience.touch();
        }
        match message {
            Incoming::Response { id, outcome } => {
                let id = match id {
                    Some(Id::Number(id)) => Some(id),
                    // The server could not read whose answer it is: whoever it was sent to knows.
                    None => during,
                    Some(Id::Text(_)) => None,
                };
                match id {
                    Some(id) => self.settle(id, outcome.map_err(CallError::Rpc)),
                    None => self.note_garbage(),
                }
                None
            }
            Incoming::Notification { method, params } => {
                self.told(&method, params, during);
                None
            }
            Incoming::Request { id, method, params } => {
                let caller = self.concerned(during);
                Some(self.question(id, method, params, caller))
            }
        }
    }

    fn caller(&self, id: i64) -> Option<Caller> {
        let table = self.table.lock();
        table.waiting.get(&id).map(|waiting| waiting.caller.clone())
    }

    /// Whose request a message belongs to. Where the server does not say it, the newest request of someone
    /// who can be told things is meant; on a connection that several people share, only if there is no
    /// other, because what one of them is asked is not for another's eyes.
    fn concerned(&self, during: Option<i64>) -> Option<Caller> {
        if let Some(id) = during {
            return self.caller(id);
        }
        let table = self.table.lock();
        let waiting = table.waiting.iter();
        let has_peer = |waiting: &Waiting| waiting.caller.peer.is_some();
        let found = match self.isolation {
            Isolation::Shared if table.is_given_up_worked_on() => None,
            Isolation::Shared => {
                // Who cannot be told things may be meant as well.
                let of_somebody = |waiting: &Waiting| waiting.caller.is_somebodys;
                let mut all = waiting.filter(|(_, one)| has_peer(one) || of_somebody(one));
                all.next().filter(|_| all.next().is_none())
            }
            Isolation::PerUser | Isolation::PerSession => {
                let waiting = waiting.filter(|(_, one)| has_peer(one));
                waiting.max_by_key(|(id, _)| **id)
            }
        };
        found.map(|(_, waiting)| waiting.caller.clone())
    }

    /// Whether something that the server says of no request may be about somebody's: on a connection that
    /// several share it is not for all of them then.
    fn may_be_somebodys(&self, during: Option<i64>) -> bool {
        let table = self.table.lock();
        // What is said for the sake of a request that has ended is for nobody but who made it.
        let is_late = during.is_some_and(|id| !table.waiting.contains_key(&id));
        let mut waiting = table.waiting.values();
        self.isolation == Isolation::Shared
            && (is_late
                || table.is_given_up_worked_on()
                || waiting.any(|waiting| waiting.caller.is_somebodys))
    }

    fn told(&self, method: &str, params: Option<Raw>, during: Option<i64>) {
        match method {
            "notifications/progress" => self.progressed(params),
            "notifications/cancelled" => self.withdraw(params.as_deref()),
            "notifications/tools/list_changed" => self.tell(Changed::Tools),
            "notifications/resources/list_changed" => self.tell(Changed::Resources),
            "notifications/prompts/list_changed" => self.tell(Changed::Prompts),
            "notifications/resources/updated" => {
                if let Some(uri) = text_member(params.as_deref(), "uri") {
                    self.tell(Changed::ResourceUpdated(uri.into()));
                }
            }
            _ => match self.concerned(during).and_then(|caller| caller.peer) {
                Some(peer) => peer.notify(method, params),
                None if self.may_be_somebodys(during) => {
                    debug!(method, "nobody can tell for whom the server says it");
                }
                None => self.tell(Changed::Notified {
                    method: method.into(),
                    params: params.map(Arc::from),
                }),
            },
        }
    }

    fn progressed(&self, params: Option<Raw>) {
        let Some(params) = params else { return };
        let Some(caller) = progress_token(&params).and_then(|id| self.caller(id)) else {
            return;
        };
        caller.patience.touch();
        // Who gave no token did not ask for progress: then it was Nexus that wanted a sign of life.
        if let (Some(peer), Some(token)) = (caller.peer, caller.token)
            && let Some(params) = with_progress_token(&params, &token)
        {
            peer.notify("notifications/progress", Some(params));
        }
    }

    /// The server does not want its question answered any more.
    fn withdraw(&self, params: Option<&RawValue>) {
        let Some(id) = raw_member(params, "requestId") else {
            return;
        };
        let Ok(Some(id)) = Id::read(&id) else { return };
        if let Some(question) = self.questions.lock().get(&id) {
            question.cancel();
        }
    }

    fn question(
        self: &Arc<Self>,
        id: Id,
        method: Box<str>,
        params: Option<Raw>,
        caller: Option<Caller>,
    ) -> Asked {
        let caller = match &*method {
            "roots/list" => self.roots.asked(caller),
            _ => caller,
        };
        let withdrawn = caller
            .as_ref()
            .map_or_else(CancellationToken::new, |caller| caller.ended.child_token());
        let is_within_bounds = {
            let mut questions = self.questions.lock();
            let is_new = !questions.contains_key(&id);
            let has_room = is_new && questions.len() < self.questions_max;
            if has_room {
                questions.insert(id.clone(), withdrawn.clone());
            }
            has_room
        };
        if !is_within_bounds {
            debug!(method = &*method, "the server asks too much at once");
        }
        // What was read after the end is for nobody.
        if !self.is_open() {
            withdrawn.cancel();
        }
        Asked {
            calls: is_within_bounds.then(|| self.clone()),
            id,
            question: Question {
                method,
                params,
                caller,
            },
            withdrawn,
        }
    }

    /// A question of the server is answered, or needs no answer.
    pub(crate) fn end_question(&self, id: &Id) {
        self.questions.lock().remove(id);
    }
}

#[cfg(test)]
mod tests;
