//! payment-to-mint: a payment that arrived asks the factory for tokens, once.

use std::{borrow::Cow, sync::Arc, time::Duration};

use ::http::{
    HeaderValue, Method,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use bytes::Bytes;
use nexus_auth::Secret;
use nexus_core::{
    Attempt, Catalogue, Clock, Event, EventType, Json, NewEvent, ProtocolEvent, RawObject,
    Reaction, Reactor, ReactorError, ReactorOptions, SharedReactor,
};
use nexus_outbound::{Client, Outgoing};

use crate::{
    nodes::{Nodes, bearer, below},
    options::changed,
    outgoing::{self, IDEMPOTENCY_KEY, idempotency_key},
};

const NAME: &str = "payment-to-mint";
/// How long the factory may take to answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an attempt may take: the call, and before it a look into the directory.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(42);
const FACTORY: &str = "smart-factory";
const PATH: &str = "api/mint";

/// On `payment.received`, asks the factory to mint; its answer goes into `mint.requested`.
#[derive(Debug)]
pub struct PaymentToMint {
    options: ReactorOptions,
    client: Client,
    nodes: Nodes,
    key: Option<Secret>,
    mint_requested: Arc<EventType>,
    clock: Clock,
}

impl PaymentToMint {
    /// The reactor. `key` is the factory's bearer token.
    ///
    /// Without an address for `smart-factory` it only emits `mint.requested`, for whoever mints then.
    #[must_use]
    pub fn new(client: Client, nodes: Nodes, key: Option<Secret>, clock: Clock) -> Self {
        let mut options = ReactorOptions::new(NAME, ProtocolEvent::PaymentReceived.into());
        options.timeout = ATTEMPT_TIMEOUT;
        Self {
            options,
            client,
            nodes,
            key,
            mint_requested: Catalogue::known().known_type(ProtocolEvent::MintRequested),
            clock,
        }
    }

    /// The same reactor with other options, such as another retry schedule. Its name and what it runs
    /// for stay.
    #[must_use]
    pub fn with_options(mut self, change: impl FnOnce(&mut ReactorOptions)) -> Self {
        self.options = changed(self.options, change);
        self
    }

    /// For [`Engine::start`](crate::Engine::start).
    #[must_use]
    pub fn shared(self) -> SharedReactor {
        Arc::new(self)
    }

    fn reaction(&self, event: &Event, payload: String) -> Reaction {
        let mut requested = NewEvent::new(self.mint_requested.clone(), payload);
        // What follows from one order stays in one order.
        requested.key = event.key.clone();
        Reaction::emit(requested)
    }
}

impl Reactor for PaymentToMint {
    fn options(&self) -> ReactorOptions {
        self.options.clone()
    }

    fn once(&self, event: &Event) -> Option<String> {
        let payload = RawObject::parse(&event.payload).ok()??;
        let id = ["transactionId", "orderId"]
            .iter()
            .find_map(|name| payload.text(name).ok().flatten())?;
        Some(format!("mint:{id}"))
    }

    fn target_url(&self) -> Option<String> {
        self.nodes.shown(FACTORY, PATH)
    }

    fn rehearses(&self) -> bool {
        true
    }

    async fn react(&self, attempt: Attempt) -> Result<Reaction, ReactorError> {
        let event = &attempt.event;
        let body = mint_body(&event.payload)
            .ok_or_else(|| ReactorError::final_("the payload holds no payment, or was erased"))?;
        let Some(factory) = self.nodes.find(FACTORY).await? else {
            tracing::warn!(
                seq = event.seq.get(),
                "no factory is configured: mint.requested is emitted without asking one"
            );
            return Ok(self.reaction(event, body));
        };
        let mut call = Outgoing::new(Method::POST, below(&factory.url, PATH), factory.trust);
        call.timeout = CALL_TIMEOUT;
        call.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        call.headers
            .insert(IDEMPOTENCY_KEY, idempotency_key(&attempt)?);
        if let Some(key) = &self.key {
            call.headers.insert(AUTHORIZATION, bearer(key)?);
        }
        call.body = Bytes::from(body.clone());
        let answer = outgoing::call(&self.client, call, &attempt, &self.clock).await?;
        // Without an answer there is nothing that could be said of it.
        let reaction =
            answer.map(|answer| self.reaction(event, with_response(&body, &answer.body)));
        Ok(reaction.unwrap_or_default())
    }
}

/// What the factory is sent; every value is the sender's own text.
fn mint_body(payload: &[u8]) -> Option<String> {
    let payload = RawObject::parse(payload).ok()??;
    let payer = payload.get("payerId")?;
    let amount = payload.get("amount")?;
    let reference = payload
        .get("orderId")
        .or_else(|| payload.get("transactionId"))?;
    Some(format!(
        r#"{{"address":{payer},"amount":{amount},"reason":"purchase","refTransactionId":{reference},"targetAddress":{payer},"tokenId":"NEOFLW"}}"#
    ))
}

/// The body with the factory's answer as one more member: as JSON if it is, else as text.
fn with_response(body: &str, answer: &[u8]) -> String {
    let response: Cow<'_, str> = match (std::str::from_utf8(answer), Json::parse(answer)) {
        (Ok(text), Ok(_)) => text.trim().into(),
        _ if answer.is_empty() => "null".into(),
        // A string always serialises.
        _ => serde_json::to_string(&String::from_utf8_lossy(answer))
            .unwrap_or_default()
            .into(),
    };
    let open = body.strip_suffix('}').unwrap_or(body);
    format!(r#"{open},"factoryResponse":{response}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_amount_is_carried_as_it_was_written() {
        let body = mint_body(
            br#"{"transactionId":"tx-1", "amount": 100.50 ,"payerId":"p\u0041","note":1}"#,
        );
        assert_eq!(
            body.as_deref(),
            Some(
                r#"{"address":"p\u0041","amount":100.50,"reason":"purchase","refTransactionId":"tx-1","targetAddress":"p\u0041","tokenId":"NEOFLW"}"#
            )
        );
        let both = br#"{"transactionId":"t","orderId":"o","amount":"12345678901234567890.10","payerId":"p"}"#;
        let body = mint_body(both).unwrap();
        assert!(
            body.contains(r#""amount":"12345678901234567890.10","reason""#),
            "{body}"
        );
        assert!(body.contains(r#""refTransactionId":"o""#));
        assert_eq!(mint_body(b"null"), None);
        assert_eq!(mint_body(br#"{"amount":1}"#), None);
    }

    #[test]
    fn the_answer_is_kept_whatever_it_is() {
        for (answer, expected) in [
            (r#"{"ok":true}"#, r#"{"a":1,"factoryResponse":{"ok":true}}"#),
            ("", r#"{"a":1,"factoryResponse":null}"#),
            ("<html>", r#"{"a":1,"factoryResponse":"<html>"}"#),
            (
                r#"{"a":1,"a":2}"#,
                r#"{"a":1,"factoryResponse":"{\"a\":1,\"a\":2}"}"#,
            ),
        ] {
            assert_eq!(with_response(r#"{"a":1}"#, answer.as_bytes()), expected);
        }
    }
}
