//! `http`: a call to an address that the operator wrote.

use std::time::Duration;

use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING},
};
use bytes::Bytes;
use nexus_auth::Secret;
use nexus_core::{Attempt, Catalogue, Clock, ReactorError};
use nexus_expr::{Asked, JsonTemplate, Scope, Template, UrlTemplate};
use nexus_outbound::{Client, Outgoing, Trust};
use url::Url;

use super::{
    action::Done,
    config::{HttpConfig, WhenUnset},
    context::{Env, RuleContext, before},
    problem::Problems,
    secrets::Secrets,
};
use crate::{
    nodes::bearer,
    outgoing::{self, IDEMPOTENCY_KEY, idempotency_key},
};

const METHODS: [Method; 5] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];
/// Headers that the connection, or the promise of one key for all attempts, is made of.
const OWN_HEADERS: [HeaderName; 5] = [
    HOST,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    CONNECTION,
    IDEMPOTENCY_KEY,
];

/// Makes a call.
pub(super) struct HttpAction {
    method: Method,
    /// Nothing while a variable of it is not set, and the rule goes on without.
    url: Option<UrlTemplate>,
    headers: Vec<(HeaderName, Template)>,
    bearer: Option<HeaderValue>,
    body: Option<JsonTemplate>,
    timeout: Duration,
    secrets: Secrets,
    client: Client,
    clock: Clock,
}

impl HttpAction {
    pub(super) fn compile(
        config: &HttpConfig,
        context: &RuleContext<'_>,
        env: &Env<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let method = METHODS
            .into_iter()
            .find(|method| method.as_str() == config.method);
        if method.is_none() {
            let what = "the method is GET, POST, PUT, PATCH or DELETE";
            problems.add("http.method", what);
        }
        env.take_values();
        let mut secrets = Secrets::default();
        let url = url(config, &context.client, env, problems);
        secrets.add_of_address(env.take_values());
        let headers = headers(config, env, problems);
        let bearer = bearer_of(config, env, problems);
        let body = body(config, env, problems);
        secrets.add(env.take_values());
        Some(Self {
            method: method?,
            url: url?,
            headers: headers?,
            bearer: bearer?,
            body: body?,
            timeout: Duration::from_millis(config.timeout_ms),
            secrets,
            client: context.client.clone(),
            clock: context.clock.clone(),
        })
    }

    /// Where it leads, for people.
    pub(super) fn shown(&self) -> Option<String> {
        let url = self.url.as_ref()?;
        let shown = match url.base().parse::<Url>() {
            Ok(base) => outgoing::shown(&base),
            Err(_) => return None,
        };
        let rest = if url.is_fixed() { "" } else { "…" };
        Some(format!("{}{rest}", self.secrets.hide(&shown)))
    }

    pub(super) async fn run(
        &self,
        attempt: &Attempt,
        catalogue: &Catalogue,
    ) -> Result<Done, ReactorError> {
        let body = self.body(attempt, catalogue)?;
        let Some(call) = self.outgoing(attempt, catalogue, &body)? else {
            let seq = attempt.event.seq.get();
            tracing::warn!(seq, "the address is not configured: nobody is called");
            return Ok(Done::Skipped(Some(Asked::new(
                self.method.as_str(),
                "",
                body,
            ))));
        };
        let shown = self.secrets.hide(&outgoing::shown(&call.url));
        let hide = |exchange: &mut nexus_core::Exchange| self.secrets.hide_in(exchange);
        let answer = outgoing::call_hiding(&self.client, call, attempt, &self.clock, &hide).await?;
        Ok(match answer {
            Some(answer) => {
                let method = self.method.as_str();
                Done::answered(method, &shown, body, answer.status, &answer.body)
            }
            None => Done::NotCalled,
        })
    }

    fn body(&self, attempt: &Attempt, catalogue: &Catalogue) -> Result<Bytes, ReactorError> {
        let Some(body) = &self.body else {
            return Ok(Bytes::new());
        };
        body.render(&Scope::new(&attempt.event, catalogue))
            .map(Bytes::from)
            .map_err(|error| ReactorError::final_(error.to_string()))
    }

    /// The call; nothing when the address is not configured.
    fn outgoing(
        &self,
        attempt: &Attempt,
        catalogue: &Catalogue,
        body: &Bytes,
    ) -> Result<Option<Outgoing>, ReactorError> {
        let Some(url) = &self.url else {
            return Ok(None);
        };
        let scope = Scope::new(&attempt.event, catalogue);
        let url = url
            .render(&scope)
            .map_err(|error| ReactorError::final_(format!("http.url: {error}")))?;
        let url = url
            .parse()
            .map_err(|_| ReactorError::final_("http.url: this gives no address"))?;
        let mut call = Outgoing::new(self.method.clone(), url, Trust::Configured);
        call.timeout = self.timeout;
        call.headers = self.headers(&scope)?;
        call.headers
            .insert(IDEMPOTENCY_KEY, idempotency_key(attempt)?);
        call.body = body.clone();
        Ok(Some(call))
    }

    fn headers(&self, scope: &Scope<'_>) -> Result<HeaderMap, ReactorError> {
        let mut headers = HeaderMap::new();
        if self.body.is_some() {
            let json = HeaderValue::from_static("application/json");
            headers.insert(CONTENT_TYPE, json);
        }
        if let Some(bearer) = &self.bearer {
            headers.insert(AUTHORIZATION, bearer.clone());
        }
        for (name, template) in &self.headers {
            let failed = |why: &str| ReactorError::final_(format!("http.headers.{name}: {why}"));
            let text = template
                .render(scope)
                .map_err(|error| failed(&error.to_string()))?;
            let value = HeaderValue::from_str(&text)
                .map_err(|_| failed("this cannot be sent in a header"))?;
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

/// Nothing when there is a mistake; within, nothing when a variable is not set and need not be.
fn url(
    config: &HttpConfig,
    client: &Client,
    env: &Env<'_>,
    problems: &mut Problems,
) -> Option<Option<UrlTemplate>> {
    const PLACE: &str = "http.url";
    let look_up = |name: &str| env.get(name);
    let url = UrlTemplate::compile(&config.url, &before(&look_up))
        .map_err(|error| problems.template(PLACE, error))
        .ok()?;
    if !url.unset().is_empty() {
        if config.when_unset == WhenUnset::Skip {
            let names = url.unset().join(" and ");
            problems.note(PLACE, format!("{names} is not set: nobody is called"));
            return Some(None);
        }
        problems.unset(PLACE, url.unset());
        return None;
    }
    let Ok(base) = url.base().parse::<Url>() else {
        problems.add(PLACE, "this is no address");
        return None;
    };
    if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
        problems.add(
            PLACE,
            "the address of a call begins with http:// or https://",
        );
        return None;
    }
    if let Err(error) = client.check(&base, Trust::Configured) {
        problems.add(PLACE, error.to_string());
        return None;
    }
    Some(Some(url))
}

fn headers(
    config: &HttpConfig,
    env: &Env<'_>,
    problems: &mut Problems,
) -> Option<Vec<(HeaderName, Template)>> {
    let look_up = |name: &str| env.get(name);
    let mut headers: Vec<(HeaderName, Template)> = Vec::new();
    let mut is_good = true;
    for (name, text) in &config.headers {
        let place = format!("http.headers.{name}");
        let Ok(header) = HeaderName::try_from(name) else {
            problems.add(place, "this is no name of a header");
            is_good = false;
            continue;
        };
        if OWN_HEADERS.contains(&header) {
            problems.add(place, "Nexus says this header itself");
            is_good = false;
            continue;
        }
        if header == AUTHORIZATION && config.bearer_env.is_some() {
            problems.add(place, "bearer_env says this header already");
            is_good = false;
            continue;
        }
        match Template::compile(text, &before(&look_up)) {
            Ok(template) if template.unset().is_empty() => headers.push((header, template)),
            Ok(template) if config.when_unset == WhenUnset::Skip => {
                let names = template.unset().join(" and ");
                problems.note(
                    &place,
                    format!("{names} is not set: the header is left out"),
                );
            }
            Ok(template) => {
                problems.unset(&place, template.unset());
                is_good = false;
            }
            Err(error) => {
                problems.template(&place, error);
                is_good = false;
            }
        }
    }
    is_good.then_some(headers)
}

fn bearer_of(
    config: &HttpConfig,
    env: &Env<'_>,
    problems: &mut Problems,
) -> Option<Option<HeaderValue>> {
    const PLACE: &str = "http.bearer_env";
    let Some(name) = &config.bearer_env else {
        return Some(None);
    };
    match env.get(name) {
        Some(token) => match bearer(&Secret::new(token)) {
            Ok(value) => Some(Some(value)),
            Err(error) => {
                problems.add(PLACE, error.to_string());
                None
            }
        },
        None if config.when_unset == WhenUnset::Skip => {
            problems.note(PLACE, format!("{name} is not set: it is called without"));
            Some(None)
        }
        None => {
            problems.unset(PLACE, std::slice::from_ref(name));
            None
        }
    }
}

fn body(
    config: &HttpConfig,
    env: &Env<'_>,
    problems: &mut Problems,
) -> Option<Option<JsonTemplate>> {
    let look_up = |name: &str| env.get(name);
    problems.json("http.body", config.body.as_ref(), &before(&look_up))
}
