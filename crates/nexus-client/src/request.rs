//! Requests over HTTP: one attempt, and attempts until there is an answer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{ACCEPT, CONTENT_TYPE},
};
use nexus_core::Position;
use nexus_outbound::{Answer, Outgoing, Trust};
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use url::Url;
use uuid::{Builder, Uuid};

use crate::{
    Batch, BatchReceipt, Client, Error, Publish, Receipt, Refusal, client::Shared, error::Source,
    publish::Request, refusal::read_refusal, retry::Backoff,
};

const EVENTS: &str = "api/v1/events";
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const EXPECTED_LAST: HeaderName = HeaderName::from_static("nexus-expected-last-sequence");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// What the server says when it does not know itself whether it stored an event.
const OUTCOME_UNKNOWN: &str = "outcome-unknown";

/// The data of a good answer.
#[derive(Deserialize)]
struct Enveloped<T> {
    data: T,
}

#[derive(Deserialize)]
struct StoredOne {
    id: Option<Uuid>,
    position: String,
}

#[derive(Deserialize)]
struct StoredMany {
    first: String,
    last: String,
}

impl Client {
    /// Publishes an event: when this comes back, the event is stored and synced.
    ///
    /// What fails for the moment is sent again with the same idempotency key, until the time is up.
    ///
    /// ```no_run
    /// use nexus_client::{Client, Error, Publish};
    ///
    /// # async fn example(client: Client) -> Result<(), Error> {
    /// let vote = serde_json::json!({ "proposalId": "p-1", "voterId": "ana", "decision": "for" });
    /// let event = Publish::new("vote.cast", &vote);
    /// let receipt = match client.publish(event.clone()).await {
    ///     // It may be stored. Under the same key it is not stored twice.
    ///     Err(Error::Unknown { idempotency_key, .. }) => {
    ///         client.publish(event.idempotency_key(idempotency_key)).await?
    ///     }
    ///     outcome => outcome?,
    /// };
    /// println!("stored at {}", receipt.position);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Unavailable`] when it was certainly not stored, and
    /// [`Error::Unknown`], with the key to ask again with, when that is not certain. Nothing is sent after
    /// [`Error::Payload`], [`Error::Invalid`] and [`Error::Draining`].
    pub async fn publish(&self, event: Publish) -> Result<Receipt, Error> {
        let answer = self.send(event.into_request()?).await?;
        let stored: StoredOne = data(&answer)?;
        Ok(Receipt {
            position: position(&stored.position)?,
            id: stored.id,
            replayed: answer.headers.contains_key(IDEMPOTENT_REPLAYED),
        })
    }

    /// Publishes events together, at most 1,000: all of them or none.
    ///
    /// # Errors
    /// As [`Client::publish`]. Of a batch that was refused, `details` of the refusal has each place.
    pub async fn publish_all(&self, batch: impl Into<Batch>) -> Result<BatchReceipt, Error> {
        let answer = self.send(batch.into().into_request()?).await?;
        let stored: StoredMany = data(&answer)?;
        Ok(BatchReceipt {
            first: position(&stored.first)?,
            last: position(&stored.last)?,
            replayed: answer.headers.contains_key(IDEMPOTENT_REPLAYED),
        })
    }

    async fn send(&self, request: Request) -> Result<Answer, Error> {
        let shared = &self.shared;
        shared.refuse_if_draining()?;
        let _under_way = shared.tasks.token();
        let key = request.idempotency_key.unwrap_or_else(|| shared.new_key());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, JSON);
        let key_value = HeaderValue::from_str(&key)
            .map_err(|error| Error::invalid("the idempotency key", error.to_string()))?;
        headers.insert(IDEMPOTENCY_KEY, key_value);
        if let Some(seq) = request.expected_last {
            headers.insert(EXPECTED_LAST, seq.into());
        }
        let body = Bytes::from(request.body);
        let attempts = Attempts::new(shared, Some(key));
        attempts
            .until_answered(Method::POST, shared.url(EVENTS)?, &headers, &body)
            .await
    }
}

impl Shared {
    /// A key that nobody else makes.
    pub(crate) fn new_key(&self) -> String {
        let bytes = self.random.bytes();
        Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    /// Reads something, again and again while it fails for the moment.
    pub(crate) async fn get(&self, url: Url) -> Result<Answer, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, JSON);
        Attempts::new(self, None)
            .until_answered(Method::GET, url, &headers, &Bytes::new())
            .await
    }
}

/// What is known of a request that was sent before.
struct Attempts<'s> {
    shared: &'s Shared,
    backoff: Backoff,
    deadline: Instant,
    made: u32,
    /// An attempt may have been carried out although its answer did not come.
    maybe_done: bool,
    /// The key of a request that changes something.
    key: Option<String>,
}

/// How one attempt failed.
struct Failed {
    source: Source,
    maybe_done: bool,
    again: bool,
    after: Option<Duration>,
    refusal: Option<Refusal>,
}

impl<'s> Attempts<'s> {
    fn new(shared: &'s Shared, key: Option<String>) -> Self {
        let options = &shared.options;
        Self {
            shared,
            backoff: Backoff::new(options.retry.clone(), shared.random.clone()),
            deadline: Instant::now() + options.request_timeout,
            made: 0,
            maybe_done: false,
            key,
        }
    }

    async fn until_answered(
        mut self,
        method: Method,
        url: Url,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Answer, Error> {
        loop {
            let mut call = Outgoing::new(method.clone(), url.clone(), Trust::Configured);
            call.headers = headers.clone();
            let credentials = &self.shared.credentials;
            call.headers.extend(match self.key {
                Some(_) => credentials.to_publish(body)?,
                None => credentials.to_read()?,
            });
            call.body = body.clone();
            let left = self.deadline.saturating_duration_since(Instant::now());
            call.timeout = self.shared.options.attempt_timeout.min(left);
            self.made += 1;
            let failed = match self.shared.http.send(call).await {
                Ok(answer) if answer.is_success() => return Ok(answer),
                Ok(answer) => Failed::by_answer(&answer),
                Err(error) => Failed::by_network(error),
            };
            self.maybe_done |= failed.maybe_done;
            if !failed.again {
                return Err(self.refused(failed));
            }
            let wait = self.backoff.wait(failed.after);
            if Instant::now() + wait >= self.deadline {
                return Err(self.gave_up(failed));
            }
            sleep(wait).await;
        }
    }

    /// An answer that will not change.
    fn refused(self, failed: Failed) -> Error {
        let Some(refusal) = failed.refusal else {
            return self.gave_up(failed);
        };
        // Who may not ask any more does not learn whether an earlier attempt was carried out.
        let learns_nothing = matches!(refusal.status, Some(401 | 403));
        if self.maybe_done && learns_nothing {
            return self.gave_up(failed_with(refusal));
        }
        Error::Refused(Box::new(refusal))
    }

    fn gave_up(self, failed: Failed) -> Error {
        let source = failed.source;
        match self.key {
            Some(idempotency_key) if self.maybe_done => Error::Unknown {
                idempotency_key,
                source,
            },
            _ => Error::Unavailable {
                attempts: self.made,
                source,
            },
        }
    }
}

fn failed_with(refusal: Refusal) -> Failed {
    Failed {
        source: Arc::new(refusal),
        maybe_done: false,
        again: false,
        after: None,
        refusal: None,
    }
}

impl Failed {
    fn by_answer(answer: &Answer) -> Self {
        let refusal = read_refusal(answer.status, &answer.headers, &answer.body);
        let said_by_nexus = refusal.details.contains_key("request_id");
        let not_done = match answer.status {
            // What was refused for its form, its sender or its rate was not carried out.
            400..=407 | 409..=499 => true,
            // Nexus knows what it did; somebody between does not.
            503 => said_by_nexus && refusal.code != OUTCOME_UNKNOWN,
            _ => false,
        };
        Self {
            source: Arc::new(refusal.clone()),
            maybe_done: !not_done,
            again: refusal.retryable,
            after: refusal.retry_after,
            refusal: Some(refusal),
        }
    }

    fn by_network(error: nexus_outbound::Error) -> Self {
        let again = error.is_transient();
        Self {
            maybe_done: !matches!(
                error,
                nexus_outbound::Error::Connect { .. } | nexus_outbound::Error::Refused { .. }
            ),
            source: Arc::new(error),
            again,
            after: None,
            refusal: None,
        }
    }
}

/// The data of a good answer.
fn data<T: for<'de> Deserialize<'de>>(answer: &Answer) -> Result<T, Error> {
    let enveloped: Result<Enveloped<T>, _> = serde_json::from_slice(&answer.body);
    enveloped
        .map(|enveloped| enveloped.data)
        .map_err(|error| Error::unreadable(format!("status {}: {error}", answer.status)))
}

fn position(text: &str) -> Result<Position, Error> {
    text.parse()
        .map_err(|_| Error::unreadable(format!("{text:?} is no position")))
}
