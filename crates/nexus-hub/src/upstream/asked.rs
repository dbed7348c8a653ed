//! What a server asks of its client: answered here, or by who made the request that it asks for.

use std::sync::Arc;

use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::calls::{Caller, Calls};
use crate::{
    Following, INTERNAL_ERROR, INVALID_PARAMS, Id, METHOD_NOT_FOUND, Raw, RpcError,
    message::{meta::raw_member, notification, response},
};

/// A question of a server that waits for its answer.
pub(crate) struct Asked {
    /// Where it is kept as open; nothing when there was no room for it.
    pub(super) calls: Option<Arc<Calls>>,
    pub(super) id: Id,
    pub(super) question: Question,
    pub(super) withdrawn: CancellationToken,
}

/// What is asked, and who can be turned to.
pub(super) struct Question {
    pub(super) method: Box<str>,
    pub(super) params: Option<Raw>,
    pub(super) caller: Option<Caller>,
}

impl Asked {
    /// The refusal, as the line that is sent, if there is no room for the question. Nobody has to wait for
    /// it to be sent, so that a server that asks without end and does not listen costs nothing.
    pub(crate) fn refused(&self) -> Option<Vec<u8>> {
        let is_refused = self.calls.is_none();
        is_refused.then(|| {
            let error = RpcError::new(INTERNAL_ERROR, "too many questions are open already");
            response(Some(&self.id), &Err(error))
        })
    }

    /// Finds the answer, as the line that is sent; nothing when it is not wanted any more. What is said of it
    /// before goes to `tell`, as a line too. The question is open until this is dropped: not before there is
    /// room to send the answer, or a server that takes none could have as many made as it likes.
    pub(crate) async fn answer(
        &self,
        tell: impl Fn(Vec<u8>) + Send + Sync + 'static,
    ) -> Option<Vec<u8>> {
        let following: Following = Arc::new(move |params: Raw| {
            tell(notification("notifications/progress", Some(&params)));
        });
        let outcome = tokio::select! {
            biased;
            () = self.withdrawn.cancelled() => return None,
            outcome = self.question.outcome(following) => outcome,
        };
        Some(response(Some(&self.id), &outcome))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(calls) = &self.calls {
            calls.end_question(&self.id);
        }
    }
}

impl Question {
    async fn outcome(&self, following: Following) -> Result<Raw, RpcError> {
        if &*self.method == "ping" {
            return Ok(fixed("{}"));
        }
        let caller = self.caller.as_ref();
        let Some((caller, peer)) = caller.and_then(|caller| Some((caller, caller.peer.as_ref()?)))
        else {
            return self.unasked();
        };
        let capabilities = peer.capabilities();
        let can = match &*self.method {
            "roots/list" => capabilities.has_roots(),
            "sampling/createMessage" => capabilities.has_sampling(),
            "elicitation/create" if self.is_for_an_address() => {
                if !capabilities.has_url_elicitation() {
                    let why = "the client does not visit addresses for a server";
                    return Err(RpcError::new(INVALID_PARAMS, why));
                }
                true
            }
            "elicitation/create" => capabilities.has_form_elicitation(),
            _ => true,
        };
        if !can {
            return self.unasked();
        }
        let _open = caller.patience.question();
        let params = self.params.clone();
        peer.ask_following(&self.method, params, following).await
    }

    /// The answer when nobody can be asked.
    fn unasked(&self) -> Result<Raw, RpcError> {
        match &*self.method {
            // Nexus said that it has roots, for those of its clients that do. The others have none.
            "roots/list" => Ok(fixed(r#"{"roots":[]}"#)),
            _ => Err(RpcError::new(
                METHOD_NOT_FOUND,
                "no client that can answer this is waiting for the server",
            )),
        }
    }

    fn is_for_an_address(&self) -> bool {
        raw_member(self.params.as_deref(), "mode").as_deref() == Some("\"url\"")
    }
}

/// JSON that is written in this file.
fn fixed(text: &str) -> Raw {
    RawValue::from_string(text.to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
