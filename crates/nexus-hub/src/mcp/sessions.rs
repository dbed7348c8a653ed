//! All sessions: found by their id and their owner alone, bounded for each owner and in all, and ended when
//! nothing is heard of them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use data_encoding::HEXLOWER;
use nexus_core::{Random, Source};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    budget::Budget,
    options::{McpOptions, SESSION_OWN_BYTES},
    session::{Hello, Session},
};
use crate::Caller;

/// The sessions of an endpoint.
#[derive(Debug)]
pub(crate) struct Sessions {
    by_owner: Mutex<Table>,
    bounds: Bounds,
    budget: Arc<Budget>,
    random: Random,
}

/// How many there may be, and how much is held for them.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    max: usize,
    per_owner_max: usize,
    session_bytes_max: usize,
    owner_bytes_max: usize,
}

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<Arc<str>, Arc<Session>>,
    /// Of those that have some, or for whom something is held, in the order in which they began.
    by_owner: HashMap<Source, Theirs>,
}

/// What one owner has.
#[derive(Debug)]
struct Theirs {
    sessions: Vec<Arc<Session>>,
    budget: Arc<Budget>,
}

/// There is no room for another session, because those that there are are in use.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Sessions {
    pub(crate) fn new(options: &McpOptions, random: Random) -> Self {
        Self {
            by_owner: Mutex::default(),
            bounds: Bounds {
                max: options.sessions_max,
                per_owner_max: options.sessions_per_caller_max,
                session_bytes_max: options.session_bytes_max,
                owner_bytes_max: options.caller_bytes_max,
            },
            budget: Budget::new("all sessions together", options.sessions_bytes_max),
            random,
        }
    }

    /// Begins a session. Most clients never end theirs: of an owner with too many, the one that was idle for
    /// longest goes. Gives the new one, and that one.
    pub(crate) fn begin(
        &self,
        caller: &Caller,
        namespace: Arc<str>,
        hello: Hello,
    ) -> Result<(Arc<Session>, Option<Arc<Session>>), Full> {
        let owner = caller.principal.source();
        let id: Arc<str> = HEXLOWER.encode(&self.random.bytes::<16>()).into();
        let mut table = self.by_owner.lock();
        let theirs = table.by_owner.get(owner);
        let theirs = theirs.map_or(&[][..], |theirs| theirs.sessions.as_slice());
        let is_full = theirs.len() >= self.bounds.per_owner_max;
        let ended = if is_full {
            let idle = theirs.iter().filter_map(|session| {
                let since = session.idle_since()?;
                Some((since, session))
            });
            let (_, longest) = idle.min_by_key(|(since, _)| *since).ok_or(Full)?;
            Some(longest.clone())
        } else {
            None
        };
        if let Some(ended) = &ended {
            table.remove(ended);
        }
        if table.by_id.len() >= self.bounds.max {
            return Err(Full);
        }
        let theirs = table.by_owner.entry(owner.clone());
        let theirs = theirs.or_insert_with(|| Theirs {
            sessions: Vec::new(),
            budget: self
                .budget
                .part("all sessions of this caller", self.bounds.owner_bytes_max),
        });
        let budget = theirs.budget.part_with_own(
            "this session",
            self.bounds.session_bytes_max,
            SESSION_OWN_BYTES,
        );
        let session = Session::new(id.clone(), caller, namespace, hello, budget);
        theirs.sessions.push(session.clone());
        table.by_id.insert(id, session.clone());
        Ok((session, ended))
    }

    /// The session of an id, if it is this owner's, and at this address.
    pub(crate) fn find(&self, id: &str, owner: &Source, namespace: &str) -> Option<Arc<Session>> {
        let table = self.by_owner.lock();
        let session = table.by_id.get(id)?;
        let is_theirs = session.owner == *owner && &*session.namespace == namespace;
        is_theirs.then(|| session.clone())
    }

    /// The session of an id, whoever's it is.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.by_owner.lock().by_id.get(id).cloned()
    }

    /// Forgets a session; whether it was known.
    pub(crate) fn remove(&self, session: &Arc<Session>) -> bool {
        self.by_owner.lock().remove(session)
    }

    /// Forgets the sessions that nothing was heard of for long, and what others no longer need; which those
    /// were.
    pub(crate) fn reap(&self, idle: Duration, now: Instant) -> Vec<Arc<Session>> {
        let all = self.all();
        let is_due = |session: &&Arc<Session>| {
            let since = session.idle_since();
            since.is_some_and(|since| now.duration_since(since) >= idle)
        };
        let due: Vec<_> = all.iter().filter(is_due).cloned().collect();
        for session in &all {
            session.streams.forget(now);
        }
        let mut table = self.by_owner.lock();
        table.by_owner.retain(|_, theirs| theirs.is_needed());
        // It may have come back, or been ended, since it was looked at.
        due.into_iter()
            .filter(|session| is_due(&session) && table.remove(session))
            .collect()
    }

    /// Every session.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.by_owner.lock().by_id.values().cloned().collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_owner.lock().by_id.len()
    }
}

impl Theirs {
    /// Whether there is a session, or something that is held of one that has ended.
    fn is_needed(&self) -> bool {
        !self.sessions.is_empty() || Arc::strong_count(&self.budget) > 1
    }
}

impl Table {
    fn remove(&mut self, session: &Arc<Session>) -> bool {
        if self.by_id.remove(&session.id).is_none() {
            return false;
        }
        if let Some(theirs) = self.by_owner.get_mut(&session.owner) {
            // What is held for it may still be on its way, and counts for the owner's next session.
            theirs.sessions.retain(|other| !Arc::ptr_eq(other, session));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ClientCapabilities, Id,
        mcp::{version::Version, visitor::caller_for_test},
    };

    fn sessions(max: usize, per_owner_max: usize) -> Sessions {
        let options = McpOptions {
            sessions_max: max,
            sessions_per_caller_max: per_owner_max,
            ..McpOptions::default()
        };
        Sessions::new(&options, Random::seeded(1))
    }

    fn hello() -> Hello {
        Hello {
            version: Version::LATEST,
            capabilities: ClientCapabilities::default(),
        }
    }

    #[test]
    fn a_session_is_found_by_its_owner_at_its_address_alone() {
        let (ana, bob) = (Source::user("ana"), Source::user("bob"));
        let sessions = sessions(10, 10);
        let caller = caller_for_test("ana");
        let (session, _) = sessions.begin(&caller, "brave".into(), hello()).unwrap();
        assert_eq!(session.id.len(), 32);
        let found = |owner, namespace| sessions.find(&session.id, owner, namespace).is_some();
        assert!(found(&ana, "brave"));
        assert!(!found(&bob, "brave"));
        assert!(!found(&ana, "") && !found(&ana, "maps"));
        assert!(sessions.find("0", &ana, "brave").is_none());
        assert!(sessions.remove(&session) && !sessions.remove(&session));
        assert!(!found(&ana, "brave") && sessions.get(&session.id).is_none());
    }

    #[test]
    fn of_too_many_the_one_that_was_idle_for_longest_goes() {
        let (ana, bob) = (caller_for_test("ana"), caller_for_test("bob"));
        let sessions = sessions(3, 2);
        let (first, _) = sessions.begin(&ana, "".into(), hello()).unwrap();
        let (second, _) = sessions.begin(&ana, "".into(), hello()).unwrap();
        first.heard(&ana);
        let (third, ended) = sessions.begin(&ana, "".into(), hello()).unwrap();
        assert_eq!(ended.unwrap().id, second.id);
        // Those that are in use stay.
        let _listening = (first.listen(), third.listen());
        assert_eq!(sessions.begin(&ana, "".into(), hello()).unwrap_err(), Full);
        sessions.begin(&bob, "".into(), hello()).unwrap();
        assert_eq!(sessions.begin(&bob, "".into(), hello()).unwrap_err(), Full);
        assert_eq!(sessions.len(), 3);
    }

    #[test]
    fn what_is_held_of_the_last_session_counts_for_the_next() {
        let ana = caller_for_test("ana");
        let options = McpOptions {
            caller_bytes_max: 100,
            ..McpOptions::default()
        };
        let sessions = Sessions::new(&options, Random::seeded(1));
        let (first, _) = sessions.begin(&ana, "".into(), hello()).unwrap();
        // An answer that a slow client still takes, when it has left and nothing else is there of its owner.
        let on_its_way = first.hold(&Id::Number(1), vec![b'x'; 90].into());
        assert!(sessions.remove(&first));
        drop(first);
        sessions.reap(Duration::ZERO, Instant::now());

        let (next, _) = sessions.begin(&ana, "".into(), hello()).unwrap();
        assert!(next.begin(&Id::Number(1), 20).is_err());
        drop(on_its_way);
        assert!(next.begin(&Id::Number(1), 20).is_ok());
        // Of whom nothing is held, nothing is kept.
        assert!(sessions.remove(&next));
        drop(next);
        sessions.reap(Duration::ZERO, Instant::now());
        assert!(sessions.by_owner.lock().by_owner.is_empty());
    }

    #[test]
    fn sessions_that_nothing_is_heard_of_are_reaped() {
        let ana = caller_for_test("ana");
        let sessions = sessions(10, 10);
        let (quiet, _) = sessions.begin(&ana, "".into(), hello()).unwrap();
        let (listens, _) = sessions.begin(&ana, "".into(), hello()).unwrap();
        let listening = listens.listen();
        let idle = Duration::from_secs(60);
        let later = Instant::now() + idle;
        let reaped = sessions.reap(idle, later);
        assert_eq!(reaped.len(), 1);
        assert_eq!(reaped[0].id, quiet.id);
        assert_eq!(sessions.len(), 1);
        // It was heard of when it stopped to listen.
        drop(listening);
        assert!(sessions.reap(idle, later).is_empty());
        let later = Instant::now() + idle;
        assert_eq!(sessions.reap(idle, later).len(), 1);
        assert_eq!(sessions.len(), 0);
    }
}
