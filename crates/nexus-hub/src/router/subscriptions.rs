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
    by_session: HashMap<Arc<str>, HashMap<Arc<str>, Watched>>,
    by_line: HashMap<Line, Resources>,
}

/// By the server's own address: the sessions that listen, with their addresses.
type Resources = HashMap<Arc<str>, HashSet<(Arc<str>, Arc<str>)>>;

impl Subscriptions {
    /// A session listens from now on. Gives whether it did not before.
    pub(crate) fn add(
        &self,
        session: &Arc<str>,
        uri: &Arc<str>,
        watched: &Watched,
        max: usize,
    ) -> Result<bool, Error> {
        let mut state = self.0.lock();
        let of_session = state.by_session.entry(session.clone()).or_default();
        if of_session.len() >= max && !of_session.contains_key(uri) {
            return Err(Error::TooMany {
                what: "subscriptions of this session",
                limit: max,
            });
        }
        let is_new = of_session.insert(uri.clone(), watched.clone()).is_none();
        let resources = state.by_line.entry(watched.line.clone()).or_default();
        let listeners = resources.entry(watched.uri.clone()).or_default();
        listeners.insert((session.clone(), uri.clone()));
        Ok(is_new)
    }

    /// A session listens no more. Gives what nobody listens to any more.
    pub(crate) fn remove(&self, session: &str, uri: &str) -> Option<Watched> {
        let mut state = self.0.lock();
        let of_session = state.by_session.get_mut(session)?;
        let watched = of_session.remove(uri)?;
        if of_session.is_empty() {
            state.by_session.remove(session);
        }
        state.leave(&watched, session, uri).then_some(watched)
    }

    /// A session has ended. Gives what nobody listens to any more.
    pub(crate) fn forget_session(&self, session: &str) -> Vec<Watched> {
        let mut state = self.0.lock();
        let of_session = state.by_session.remove(session).unwrap_or_default();
        of_session
            .into_iter()
            .filter(|(uri, watched)| state.leave(watched, session, uri))
            .map(|(_, watched)| watched)
            .collect()
    }

    /// A server is gone.
    pub(crate) fn forget_server(&self, server: &ServerId) {
        let mut state = self.0.lock();
        state.by_line.retain(|line, _| line.server != *server);
        for of_session in state.by_session.values_mut() {
            of_session.retain(|_, watched| watched.line.server != *server);
        }
        state.by_session.retain(|_, uris| !uris.is_empty());
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
        for (at, _) in uri.match_indices('/') {
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
        let add = |session: &str, uri: &str| subscriptions.add(&session.into(), &uri.into(), &a, 2);
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
    fn a_session_has_only_so_many_and_a_server_that_is_gone_none() {
        let subscriptions = Subscriptions::default();
        let add = |uri: &str| subscriptions.add(&"1".into(), &uri.into(), &watched(uri), 2);
        assert!(add("a").is_ok() && add("b").is_ok() && add("b").is_ok());
        assert!(matches!(add("c"), Err(Error::TooMany { limit: 2, .. })));
        subscriptions.forget_server(&ServerId::new("s"));
        assert!(add("c").is_ok());
        assert_eq!(told(&subscriptions, "a"), Vec::<String>::new());
    }
}
