//! Who wants to hear when a resource has other content.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::{Error, Scope, ServerId};

/// A connection to a server over which it tells of changes; nothing in place of a scope is the connection for all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Line {
    pub(crate) server: ServerId,
    pub(crate) scope: Option<Scope>,
}

/// A resource of a server, as that server knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Watched {
    pub(crate) line: Line,
    pub(crate) uri: Arc<str>,
}

/// All subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By session, then by the address under which it knows the resource.
    by_session: HashMap<Arc<str>, OfSession>,
    by_line: HashMap<Line, Resources>,
    /// The lines that are being restored, and whether they were lost again since it was last tried.
    restoring: HashMap<Line, bool>,
}

/// What one session listens to.
#[derive(Debug)]
struct OfSession {
    user: Arc<str>,
    uris: HashMap<Arc<str>, Watched>,
}

/// Who listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listener<'a> {
    pub(crate) session: &'a Arc<str>,
    pub(crate) user: &'a Arc<str>,
}

/// How much may be listened to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// By one session.
    pub(crate) session: usize,
    /// By all sessions of one user: so that nobody takes what is there for all.
    pub(crate) user: usize,
    /// By all.
    pub(crate) all: usize,
}

/// Of a longer address it is not looked who listens to something that it is a part of.
const WHOLE_BYTES_MAX: usize = 8 * 1024;
/// Of how many parts of an address, from its beginning, it is looked who listens to them.
const PARTS_MAX: usize = 64;

/// By the server's own address: the sessions that listen, with their addresses.
type Resources = HashMap<Arc<str>, HashSet<(Arc<str>, Arc<str>)>>;

impl Subscriptions {
    /// A session listens from now on. Gives whether it did not before.
    ///
    /// # Errors
    /// [`Error::TooMany`].
    pub(crate) fn add(
        &self,
        who: Listener<'_>,
        uri: &Arc<str>,
        watched: &Watched,
        bounds: Bounds,
    ) -> Result<bool, Error> {
        let mut state = self.0.lock();
        let session = who.session;
        let of_session = state.by_session.get(session);
        if !of_session.is_some_and(|of_session| of_session.uris.contains_key(uri)) {
            state.check(who, bounds)?;
        }
        let of_session = state
            .by_session
            .entry(session.clone())
            .or_insert_with(|| OfSession {
                user: who.user.clone(),
                uris: HashMap::new(),
            });
        let is_new = of_session
            .uris
            .insert(uri.clone(), watched.clone())
            .is_none();
        let resources = state.by_line.entry(watched.line.clone()).or_default();
        let listeners = resources.entry(watched.uri.clone()).or_default();
        listeners.insert((session.clone(), uri.clone()));
        Ok(is_new)
    }

    /// A session listens no more. Gives what nobody listens to any more.
    pub(crate) fn remove(&self, session: &str, uri: &str) -> Option<Watched> {
        let mut state = self.0.lock();
        let of_session = state.by_session.get_mut(session)?;
        let watched = of_session.uris.remove(uri)?;
        if of_session.uris.is_empty() {
            state.by_session.remove(session);
        }
        state.leave(&watched, session, uri).then_some(watched)
    }

    /// A session has ended. Gives what nobody listens to any more.
    pub(crate) fn forget_session(&self, session: &str) -> Vec<Watched> {
        let mut state = self.0.lock();
        let of_session = state.by_session.remove(session);
        let uris = of_session.map(|of_session| of_session.uris);
        uris.unwrap_or_default()
            .into_iter()
            .filter(|(uri, watched)| state.leave(watched, session, uri))
            .map(|(_, watched)| watched)
            .collect()
    }

    /// A server is gone.
    pub(crate) fn forget_server(&self, server: &ServerId) {
        let mut state = self.0.lock();
        state.by_line.retain(|line, _| line.server != *server);
        state.restoring.retain(|line, _| line.server != *server);
        for of_session in state.by_session.values_mut() {
            of_session
                .uris
                .retain(|_, watched| watched.line.server != *server);
        }
        let listens = |of_session: &OfSession| !of_session.uris.is_empty();
        state.by_session.retain(|_, of_session| listens(of_session));
    }

    /// Who hears of a change of a resource, each under its own address. A change within what somebody listens to
    /// is told with the rest of its address.
    pub(crate) fn listeners(&self, line: &Line, uri: &str) -> Vec<(Arc<str>, Arc<str>)> {
        let state = self.0.lock();
        let Some(resources) = state.by_line.get(line) else {
            return Vec::new();
        };
        let mut heard = Vec::new();
        if let Some(listeners) = resources.get(uri) {
            heard.extend(listeners.iter().cloned());
        }
        // The server chooses how long it is and how many parts it has, and each is looked for.
        let is_short = uri.len() <= WHOLE_BYTES_MAX;
        let parts = uri.match_indices('/').take(PARTS_MAX);
        for (at, _) in parts.filter(|_| is_short) {
            for whole in [&uri[..at], &uri[..=at]] {
                let listeners = resources.get(whole).into_iter().flatten();
                heard.extend(listeners.filter(|_| whole != uri).map(|(session, own)| {
                    let rest = &uri[whole.len()..];
                    (session.clone(), format!("{own}{rest}").into())
                }));
            }
        }
        heard
    }

    /// A connection was lost. Gives whether somebody has to restore what was listened to over it; whoever
    /// already does tries again.
    pub(crate) fn begin_restoring(&self, line: &Line) -> bool {
        let mut state = self.0.lock();
        if let Some(is_lost_again) = state.restoring.get_mut(line) {
            *is_lost_again = true;
            return false;
        }
        state.restoring.insert(line.clone(), false);
        true
    }

    /// What was listened to over a connection is listened to again. Gives whether that is all: not when the
    /// connection was lost again meanwhile.
    pub(crate) fn end_restoring(&self, line: &Line) -> bool {
        let mut state = self.0.lock();
        let is_lost_again = state.restoring.get_mut(line);
        if is_lost_again.is_some_and(std::mem::take) {
            return false;
        }
        state.restoring.remove(line);
        true
    }

    /// What a session listens to, by its own addresses.
    pub(crate) fn of_session(&self, session: &str) -> Vec<Arc<str>> {
        let state = self.0.lock();
        let of_session = state.by_session.get(session);
        of_session
            .map(|of_session| of_session.uris.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// The connections over which something is listened to.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.0.lock().by_line.keys().cloned().collect()
    }

    /// What is listened to over a connection.
    pub(crate) fn over(&self, line: &Line) -> Vec<Arc<str>> {
        let state = self.0.lock();
        let resources = state.by_line.get(line);
        resources
            .map(|resources| resources.keys().cloned().collect())
            .unwrap_or_default()
    }
}

impl State {
    /// Refuses one more where there are as many as may be.
    fn check(&self, who: Listener<'_>, bounds: Bounds) -> Result<(), Error> {
        let (mut of_session, mut of_user, mut of_all) = (0, 0, 0);
        for (session, other) in &self.by_session {
            let count = other.uris.len();
            of_all += count;
            of_user += if other.user == *who.user { count } else { 0 };
            of_session += if session == who.session { count } else { 0 };
        }
        let counts = [
            (of_session, bounds.session, "subscriptions of this session"),
            (of_user, bounds.user, "subscriptions of this user"),
            (of_all, bounds.all, "subscriptions of all users"),
        ];
        let full = counts.into_iter().find(|(count, limit, _)| count >= limit);
        match full {
            Some((_, limit, what)) => Err(Error::TooMany { what, limit }),
            None => Ok(()),
        }
    }

    /// Whether nobody listens any more.
    fn leave(&mut self, watched: &Watched, session: &str, uri: &str) -> bool {
        let Some(resources) = self.by_line.get_mut(&watched.line) else {
            return false;
        };
        let Some(listeners) = resources.get_mut(&watched.uri) else {
            return false;
        };
        listeners.retain(|(of, own)| &**of != session || &**own != uri);
        if !listeners.is_empty() {
            return false;
        }
        resources.remove(&watched.uri);
        if resources.is_empty() {
            self.by_line.remove(&watched.line);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(uri: &str) -> Watched {
        Watched {
            line: Line {
                server: ServerId::new("s"),
                scope: None,
            },
            uri: uri.into(),
        }
    }

    const BOUNDS: Bounds = Bounds {
        session: 2,
        user: 3,
        all: 4,
    };

    /// A session listens; its name begins with that of its user.
    fn add(
        subscriptions: &Subscriptions,
        session: &str,
        uri: &str,
        at: &str,
    ) -> Result<bool, Error> {
        let user: Arc<str> = session[..1].into();
        let who = Listener {
            session: &session.into(),
            user: &user,
        };
        subscriptions.add(who, &uri.into(), &watched(at), BOUNDS)
    }

    fn told(subscriptions: &Subscriptions, uri: &str) -> Vec<String> {
        let mut told: Vec<String> = subscriptions
            .listeners(&watched("").line, uri)
            .into_iter()
            .map(|(session, uri)| format!("{session} {uri}"))
            .collect();
        told.sort();
        told
    }

    #[test]
    fn each_hears_under_its_own_address_until_it_listens_no_more() {
        let subscriptions = Subscriptions::default();
        let a = watched("x://a");
        let add = |session: &str, uri: &str| add(&subscriptions, session, uri, "x://a");
        assert!(add("1", "x://a").unwrap() && add("2", "s+x://a").unwrap());
        assert!(!add("1", "x://a").unwrap());
        assert_eq!(told(&subscriptions, "x://a"), ["1 x://a", "2 s+x://a"]);
        assert!(told(&subscriptions, "x://ab").is_empty());
        assert_eq!(
            told(&subscriptions, "x://a/b"),
            ["1 x://a/b", "2 s+x://a/b"]
        );
        assert_eq!(subscriptions.remove("1", "x://a"), None);
        assert_eq!(subscriptions.remove("1", "x://a"), None);
        assert_eq!(subscriptions.forget_session("2"), [watched("x://a")]);
        assert!(subscriptions.over(&a.line).is_empty());
    }

    #[test]
    fn an_address_of_countless_parts_is_looked_at_no_further_than_it_may() {
        let subscriptions = Subscriptions::default();
        assert!(add(&subscriptions, "a", "x://a", "x://a").unwrap());
        let parts = |count: usize| format!("x://a{}", "/b".repeat(count));
        for count in [1, PARTS_MAX, WHOLE_BYTES_MAX / 2 - 4] {
            let expected = [format!("a {}", parts(count))];
            assert_eq!(told(&subscriptions, &parts(count)), expected, "{count}");
        }
        // Looking for each of these would take hours.
        assert!(told(&subscriptions, &parts(4 * 1024 * 1024)).is_empty());
    }

    #[test]
    fn a_line_is_restored_by_one_and_again_when_it_was_lost_again() {
        let subscriptions = Subscriptions::default();
        let line = watched("x://a").line;
        assert!(subscriptions.begin_restoring(&line));
        assert!(subscriptions.end_restoring(&line));
        assert!(subscriptions.begin_restoring(&line));
        assert!(!subscriptions.begin_restoring(&line) && !subscriptions.begin_restoring(&line));
        assert!(!subscriptions.end_restoring(&line), "it was lost meanwhile");
        assert!(subscriptions.end_restoring(&line));
        assert!(subscriptions.begin_restoring(&line));
        // A server that is gone needs nobody.
        subscriptions.forget_server(&line.server);
        assert!(subscriptions.begin_restoring(&line));
    }

    #[test]
    fn nobody_listens_to_so_much_that_nothing_is_left_for_others() {
        let subscriptions = Subscriptions::default();
        let add = |session: &str, uri: &str| add(&subscriptions, session, uri, uri);
        let refused = |session: &str, uri: &str| match add(session, uri) {
            Err(Error::TooMany { what, limit }) => (what, limit),
            other => panic!("{other:?}"),
        };
        assert!(add("a1", "a").is_ok() && add("a1", "b").is_ok() && add("a1", "b").is_ok());
        assert_eq!(refused("a1", "c"), ("subscriptions of this session", 2));
        assert!(add("a2", "a").is_ok());
        assert_eq!(refused("a2", "b"), ("subscriptions of this user", 3));
        // Another still can.
        assert!(add("b1", "a").is_ok());
        assert_eq!(refused("b1", "b"), ("subscriptions of all users", 4));
        // What was refused was not kept, and what ends makes room.
        assert_eq!(subscriptions.forget_session("a1"), [watched("b")]);
        assert!(add("a2", "c").is_ok());
    }

    #[test]
    fn of_a_server_that_is_gone_there_is_nothing_to_hear() {
        let subscriptions = Subscriptions::default();
        let add = |uri: &str| add(&subscriptions, "a", uri, uri);
        assert!(add("a").is_ok() && add("b").is_ok() && add("c").is_err());
        subscriptions.forget_server(&ServerId::new("s"));
        assert!(add("c").is_ok());
        assert_eq!(told(&subscriptions, "a"), Vec::<String>::new());
    }
}
