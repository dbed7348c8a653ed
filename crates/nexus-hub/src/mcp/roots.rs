//! The roots of a client are others: the servers that work for it alone are told, once for all changes that come
//! meanwhile.

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use super::{Shared, peer::StandingPeer, session::Session};
use crate::Peer;

/// The client of a session says that its roots are others.
pub(crate) fn changed(shared: &Arc<Shared>, session: &Arc<Session>) {
    if !session.capabilities.has_roots() {
        return;
    }
    let Some(telling) = Telling::begin(session) else {
        return;
    };
    let client = StandingPeer::new(session, shared.options.question_timeout);
    let client: Arc<dyn Peer> = Arc::new(client);
    let (hub, session) = (shared.hub.clone(), session.clone());
    tokio::spawn(telling.run(move || {
        let (hub, session, client) = (hub.clone(), session.clone(), client.clone());
        async move { hub.roots_changed(&session.caller(), client).await }
    }));
}

/// Somebody tells the servers of a session. However that ends, the next change is told of again.
#[derive(Debug)]
struct Telling {
    session: Arc<Session>,
    is_done: bool,
}

impl Telling {
    /// Counts a change; nothing when somebody is telling, who then tells of this one as well.
    fn begin(session: &Arc<Session>) -> Option<Self> {
        let is_first = session.roots_changed.fetch_add(1, SeqCst) == 0;
        is_first.then(|| Self {
            session: session.clone(),
            is_done: false,
        })
    }

    async fn run<F: Future<Output = ()>>(mut self, tell: impl Fn() -> F) {
        while !self.is_done {
            let changes = &self.session.roots_changed;
            let seen = changes.load(SeqCst);
            tell().await;
            self.is_done = changes.compare_exchange(seen, 0, SeqCst, SeqCst).is_ok();
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        // Who is done has said so, and another may have begun since.
        if !self.is_done {
            self.session.roots_changed.store(0, SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::mcp::{session::for_test, version::Version};

    #[tokio::test]
    async fn a_change_that_comes_while_one_is_told_of_is_told_of_as_well() {
        let session = for_test(Version::LATEST);
        let told = AtomicUsize::new(0);
        let telling = Telling::begin(&session).unwrap();
        let tell = || async {
            if told.fetch_add(1, SeqCst) == 0 {
                assert!(Telling::begin(&session).is_none());
                assert!(Telling::begin(&session).is_none());
            }
        };
        telling.run(tell).await;
        assert_eq!(told.load(SeqCst), 2, "two changes at once are one more");
        assert!(Telling::begin(&session).is_some());
    }

    #[tokio::test]
    async fn a_telling_that_comes_to_no_end_keeps_no_other_from_beginning() {
        let session = for_test(Version::LATEST);
        let telling = Telling::begin(&session).unwrap();
        let failed = tokio::spawn(telling.run(|| async { panic!("a server's answer broke it") }));
        assert!(failed.await.unwrap_err().is_panic());
        let telling = Telling::begin(&session).expect("the next change is told of");
        // Nor does one that is given up in the middle.
        let given_up = tokio::spawn(telling.run(std::future::pending));
        given_up.abort();
        assert!(given_up.await.unwrap_err().is_cancelled());
        assert!(Telling::begin(&session).is_some());
    }
}
