//! Whose roots the server of a connection knows, and who is asked for them where no request tells it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Caller, Isolation, Patience, Peer};

/// Whose roots a server knows.
pub(crate) struct Roots {
    isolation: Isolation,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    were_asked: bool,
    /// Who said last that they are others.
    client: Option<Arc<dyn Peer>>,
}

impl Roots {
    pub(super) fn new(isolation: Isolation) -> Self {
        let state = Mutex::default();
        Self { isolation, state }
    }

    /// The roots of the client that the connection is for are others. Gives whether the server has to hear of
    /// it: what it never asked for, it does not know. A connection that several share is for none of them.
    pub(crate) fn changed(&self, client: Arc<dyn Peer>) -> bool {
        if self.isolation == Isolation::Shared {
            return false;
        }
        let mut state = self.state.lock();
        state.client = Some(client);
        state.were_asked
    }

    /// The server asks for them, for the sake of a request if that is known. Gives who is asked.
    pub(super) fn asked(&self, during: Option<Caller>) -> Option<Caller> {
        let mut state = self.state.lock();
        state.were_asked = true;
        let client = || state.client.clone();
        during.or_else(|| {
            Some(Caller {
                peer: Some(client()?),
                token: None,
                patience: Patience::endless(),
                is_somebodys: true,
                ended: CancellationToken::new(),
            })
        })
    }
}
