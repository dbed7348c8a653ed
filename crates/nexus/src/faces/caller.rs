//! Who asks: what the faces have in common when they find out.

use std::sync::Arc;

use http::header;
use nexus_auth::{Auth, SignedRequest};
use nexus_core::{Principal, Scope};
use nexus_http::{Call, Problem};

use crate::limits::NodeLimits;

/// Finds out who asks. A failure costs the address an anonymous token, taken before anything is verified,
/// so that guessing is as slow as any stranger's requests.
#[derive(Clone)]
pub(crate) struct Callers {
    pub(crate) auth: Auth,
    /// The same buckets for all faces.
    pub(crate) node_limits: Arc<NodeLimits>,
}

impl Callers {
    /// Who signed the request. `path_node` is whose webhook it came in by.
    pub(super) fn signer(
        &self,
        call: &Call,
        path_node: Option<&str>,
    ) -> Result<Principal, Problem> {
        call.identify(|headers| {
            self.auth.verify(&SignedRequest {
                headers,
                body: &call.body,
                path_node,
            })
        })
    }

    /// Who reads, if they have the scope.
    pub(super) fn reader(&self, call: &Call, scope: Scope) -> Result<Principal, Problem> {
        call.identify(|headers| self.auth.asks_for(headers, scope))
    }

    /// Who publishes: whose token it is, if it may publish, else who signed.
    pub(super) fn publisher(&self, call: &Call) -> Result<Principal, Problem> {
        if !call.headers.contains_key(header::AUTHORIZATION) {
            return self.signer(call, None);
        }
        let principal = call.identify(|headers| self.auth.bearer(headers))?;
        self.auth.require(&principal, Scope::Publish)?;
        Ok(principal)
    }
}
