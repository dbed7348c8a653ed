//! A reactor crate: all that it needs is `nexus-core`.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

use std::sync::Arc;

use nexus_core::{
    Attempt, Catalogue, Causes, Json, NewEvent, PatternSet, ProtocolEvent, Reaction, Reactor,
    ReactorError, ReactorOptions,
};

/// Verifies the identity of everyone who pays: for each payment, an identity.verified event follows.
pub struct VerifyPayer {
    catalogue: Arc<Catalogue>,
}

impl VerifyPayer {
    /// A reactor that publishes events of this catalogue.
    #[must_use]
    pub fn new(catalogue: Arc<Catalogue>) -> Self {
        Self { catalogue }
    }
}

impl Reactor for VerifyPayer {
    fn options(&self) -> ReactorOptions {
        ReactorOptions::new(
            "verify-payer",
            PatternSet::from(ProtocolEvent::PaymentReceived),
        )
    }

    async fn react(&self, attempt: Attempt) -> Result<Reaction, ReactorError> {
        let payload = Json::parse(&attempt.event.payload).map_err(|error| {
            ReactorError::final_(format!("the payment cannot be read: {error}"))
        })?;
        let Some(payer) = payload.get("payerId").and_then(Json::as_str) else {
            return Err(ReactorError::final_("the payment names no payer"));
        };
        // A service of yours would be asked here. It gets `attempt.idempotency_key`, because a crash can
        // make the same attempt run again.
        let verified = NewEvent {
            causes: Causes::following(&attempt.event),
            ..NewEvent::new(
                self.catalogue.known_type(ProtocolEvent::IdentityVerified),
                serde_json::json!({ "payerId": payer }).to_string(),
            )
        };
        Ok(Reaction::emit(verified))
    }
}
