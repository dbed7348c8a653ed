//! The registry that services register with: told at the start, and again as long as this runs.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use nexus_outbound::{Answer, Client, Outgoing, Trust};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{Dependency, Error};

/// What the bus is called there.
const NAME: &str = "nexus-event-bus";
/// What it is known by where services choose that themselves.
const ID: &str = "nexus-event-bus-001";
/// What it offers.
const CAPABILITIES: [&str; 2] = ["event-streaming", "session-coordination"];
/// How long the registry may take for an answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// What is registered, and where.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// The address of the registry; its paths are below it.
    pub url: Url,
    /// Where this is reached.
    pub public_url: String,
    /// How soon it is tried again while the registry does not answer, or refuses.
    pub retry: Duration,
    /// How often it is registered again once it is.
    pub again: Duration,
}

impl RegistryOptions {
    /// As the specification of the event bus says.
    #[must_use]
    pub fn new(url: Url, public_url: impl Into<String>) -> Self {
        Self {
            url,
            public_url: public_url.into(),
            retry: Duration::from_secs(60),
            again: Duration::from_secs(300),
        }
    }
}

/// Registers this at the registry. The bus runs without.
pub struct Registry {
    client: Client,
    options: RegistryOptions,
    dependency: Dependency,
}

impl Registry {
    /// Says who calls, what is registered, and who is told whether it was.
    #[must_use]
    pub fn new(client: Client, options: RegistryOptions, dependency: Dependency) -> Self {
        Self {
            client,
            options,
            dependency,
        }
    }

    /// Registers again and again until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.register_again_and_again())
            .await;
    }

    async fn register_again_and_again(&self) {
        let mut was_registered = None;
        loop {
            let registered = self.register().await;
            self.dependency.set_available(registered.is_ok());
            let is_news = was_registered != Some(registered.is_ok());
            was_registered = Some(registered.is_ok());
            let after = match &registered {
                Ok(()) => self.options.again,
                Err(_) => self.options.retry,
            };
            match registered {
                Ok(()) if is_news => tracing::info!("registered at the registry"),
                Err(error) if is_news => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "not registered at the registry; it is tried again"
                ),
                _ => {}
            }
            tokio::time::sleep(after).await;
        }
    }

    /// Registers once.
    ///
    /// # Errors
    /// [`Error::Outside`] when the registry cannot be reached, [`Error::Answered`] when it refuses.
    pub async fn register(&self) -> Result<(), Error> {
        let body = json!({
            "name": NAME,
            "id": ID,
            "url": self.options.public_url,
            "version": env!("CARGO_PKG_VERSION"),
            "capabilities": CAPABILITIES,
        });
        let answer = self.call(Method::POST, &["register"], Some(&body)).await?;
        if answer.is_success() {
            return Ok(());
        }
        // It wants something else of those who register, a number as the id for example.
        self.register_droplet().await
    }

    async fn register_droplet(&self) -> Result<(), Error> {
        let body = json!({
            "name": NAME,
            "endpoint": self.options.public_url,
            "metadata": {
                "id": ID,
                "version": env!("CARGO_PKG_VERSION"),
                "capabilities": CAPABILITIES,
            },
        });
        let answer = self.call(Method::POST, &["droplets"], Some(&body)).await?;
        if answer.status != StatusCode::CONFLICT.as_u16() {
            return accepted(&answer);
        }
        let Some(id) = self.droplet().await? else {
            return accepted(&answer);
        };
        let endpoint = json!({ "endpoint": self.options.public_url });
        let path = ["droplets", id.as_str()];
        accepted(&self.call(Method::PATCH, &path, Some(&endpoint)).await?)
    }

    /// Under which id this is known there: asked by its name, else looked for among all.
    async fn droplet(&self) -> Result<Option<String>, Error> {
        let by_name = self.call(Method::GET, &["droplets", "name", NAME], None);
        if let Some(id) = id_in(&by_name.await?) {
            return Ok(Some(id));
        }
        let all = self.call(Method::GET, &["droplets"], None);
        Ok(id_in(&all.await?))
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
    ) -> Result<Answer, Error> {
        let mut url = self.options.url.clone();
        url.set_query(None);
        url.set_fragment(None);
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut call = Outgoing::new(method, url, Trust::Configured);
        call.timeout = CALL_TIMEOUT;
        if let Some(body) = body {
            let json = HeaderValue::from_static("application/json");
            call.headers.insert(CONTENT_TYPE, json);
            call.body = Bytes::from(body.to_string());
        }
        let answer = self.client.send(call).await;
        answer.map_err(|error| Error::Outside {
            what: "the registry",
            source: error.into(),
        })
    }
}

fn accepted(answer: &Answer) -> Result<(), Error> {
    if answer.is_success() {
        return Ok(());
    }
    Err(Error::Answered {
        what: "the registry",
        status: answer.status,
    })
}

/// The id of this in an answer: one droplet, or a list of them, in a wrapper or not.
fn id_in(answer: &Answer) -> Option<String> {
    if !answer.is_success() {
        return None;
    }
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let inner = body.get("droplet").or_else(|| body.get("droplets"));
    let found = match inner.unwrap_or(&body) {
        Value::Array(all) => all.iter().find(|droplet| droplet["name"] == NAME)?,
        one => Some(one).filter(|droplet| droplet["name"] == NAME)?,
    };
    match &found["id"] {
        Value::Number(id) => Some(id.to_string()),
        Value::String(id) if !id.is_empty() => Some(id.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn id(status: u16, body: &str) -> Option<String> {
        id_in(&Answer {
            status,
            headers: HeaderMap::new(),
            body: Bytes::from(body.to_owned()),
            is_cut: false,
        })
    }

    #[test]
    fn an_id_is_found_in_every_form_of_answer() {
        for (body, expected) in [
            (
                r#"{"droplet":{"id":7,"name":"nexus-event-bus"}}"#,
                Some("7"),
            ),
            (r#"{"id":"n-1","name":"nexus-event-bus"}"#, Some("n-1")),
            (
                r#"{"droplets":[{"id":1,"name":"other"},{"id":2,"name":"nexus-event-bus"}],"total":2}"#,
                Some("2"),
            ),
            (r#"[{"id":3,"name":"nexus-event-bus"}]"#, Some("3")),
            (r#"{"droplet":{"id":7,"name":"other"}}"#, None),
            (r#"{"droplet":{"id":null,"name":"nexus-event-bus"}}"#, None),
            ("[]", None),
            ("<html>", None),
        ] {
            assert_eq!(id(200, body).as_deref(), expected, "{body}");
        }
        assert_eq!(id(404, r#"{"id":7,"name":"nexus-event-bus"}"#), None);
    }
}
