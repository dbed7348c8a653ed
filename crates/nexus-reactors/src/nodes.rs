//! Where outside nodes are reached: configuration, else the ecosystem's directory, else a fallback.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ::http::{HeaderValue, Method, header::AUTHORIZATION};
use nexus_auth::Secret;
use nexus_core::{Clock, ReactorError};
use nexus_outbound::{Client, Outgoing, Trust};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Mutex as AsyncMutex;
use url::Url;

use crate::outgoing;

/// How long an address that was found is used.
const FOUND_US: i64 = 10 * 60 * 1_000_000;
/// How long a node that was not found is not looked for again.
const MISSED_US: i64 = 60 * 1_000_000;
/// How long a directory that gave no answer is left alone, when an address is known without it: otherwise
/// every call would wait for it first.
const FAILED_US: i64 = 30 * 1_000_000;
/// How long the failure to ask holds for those who know no other address: they have waited for it already.
const REFUSED_US: i64 = 1_000_000;
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// Other names under which a node is in the directory.
const ALIASES: [(&str, &str); 1] = [("smart-factory", "smart-core")];

/// Where nodes are reached, as the operator says.
#[derive(Debug, Clone, Default)]
pub struct NodeAddresses {
    /// By node: used before anything else.
    pub configured: HashMap<String, Url>,
    /// The ecosystem's directory, asked for nodes that are not configured.
    pub directory: Option<Directory>,
    /// By node: used when the directory has no answer.
    pub fallback: HashMap<String, Url>,
}

/// The directory of the ecosystem.
#[derive(Debug, Clone)]
pub struct Directory {
    /// Its root: `/api/ecosystem?id=<node>` is asked below it.
    pub url: Url,
    /// The bearer token that it wants.
    pub key: Option<Secret>,
}

/// Finds nodes. Cheap to clone; clones share what was found.
#[derive(Debug, Clone)]
pub struct Nodes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    addresses: Mutex<Arc<NodeAddresses>>,
    client: Client,
    clock: Clock,
    /// By node; only nodes that the configuration names are looked for.
    found: Mutex<HashMap<String, Found>>,
    turns: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
}

/// What the directory said last of a node.
#[derive(Debug, Clone)]
struct Found {
    url: Option<Url>,
    /// Why it could not be asked.
    failure: Option<Arc<str>>,
    until_us: i64,
}

impl Found {
    /// The address, or what is used in its place; an error when nothing is known and nobody could be asked.
    fn answer(&self, fallback: Option<Address>) -> Result<Option<Address>, ReactorError> {
        let address = self.url.clone().map(foreign_address).or(fallback);
        match (&self.failure, address) {
            (Some(failure), None) => Err(ReactorError::retry(&**failure)),
            (_, address) => Ok(address),
        }
    }
}

/// Where a node is, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) url: Url,
    pub(crate) trust: Trust,
}

impl Nodes {
    /// Finds nodes by these addresses.
    #[must_use]
    pub fn new(addresses: NodeAddresses, client: Client, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            addresses: Mutex::new(Arc::new(addresses)),
            client,
            clock,
            found: Mutex::default(),
            turns: Mutex::default(),
        }))
    }

    /// Puts other addresses in the place of the present ones, and forgets what was found; all clones see
    /// them at once.
    pub fn replace(&self, addresses: NodeAddresses) {
        *self.0.addresses.lock() = Arc::new(addresses);
        self.0.found.lock().clear();
    }

    fn addresses(&self) -> Arc<NodeAddresses> {
        self.0.addresses.lock().clone()
    }

    /// Where a node is; nothing when nobody knows.
    ///
    /// # Errors
    /// When the directory cannot be asked, and nothing else is known.
    pub(crate) async fn find(&self, node: &str) -> Result<Option<Address>, ReactorError> {
        let addresses = self.addresses();
        let NodeAddresses {
            configured,
            directory,
            fallback,
        } = &*addresses;
        if let Some(url) = configured.get(node) {
            return Ok(Some(configured_address(url)));
        }
        let fallback = fallback.get(node).map(configured_address);
        let Some(directory) = directory else {
            return Ok(fallback);
        };
        let known = self.0.found.lock().get(node).cloned();
        if let Some(found) = &known
            && found.until_us > self.0.clock.now_us()
        {
            return found.answer(fallback);
        }
        // One asks for all. Those who have an old address go on with it meanwhile.
        let turn = self.turn(node);
        let _turn = match known.as_ref().and_then(|found| found.url.clone()) {
            Some(old) => match turn.try_lock() {
                Ok(turn) => turn,
                Err(_) => return Ok(Some(foreign_address(old))),
            },
            None => turn.lock().await,
        };
        let known = self.0.found.lock().get(node).cloned();
        if let Some(found) = &known
            && found.until_us > self.0.clock.now_us()
        {
            return found.answer(fallback);
        }
        let old = known.and_then(|found| found.url);
        let asked = self.look_up(directory, node).await;
        let found = self.judge(node, asked, old, fallback.is_some());
        // What was asked of a directory that was replaced meanwhile is not kept.
        if Arc::ptr_eq(&addresses, &self.addresses()) {
            let mut all = self.0.found.lock();
            all.insert(node.to_owned(), found.clone());
        }
        found.answer(fallback)
    }

    /// What is known after a look-up, and for how long.
    fn judge(
        &self,
        node: &str,
        asked: Result<Option<Url>, ReactorError>,
        old: Option<Url>,
        has_fallback: bool,
    ) -> Found {
        let (url, failure, kept_us) = match asked {
            Ok(Some(url)) => (Some(url), None, FOUND_US),
            Ok(None) => (None, None, MISSED_US),
            Err(error) => {
                tracing::warn!(node, %error, "the directory of nodes could not be asked");
                // An old address is better than none.
                let kept_us = match old.is_some() || has_fallback {
                    true => FAILED_US,
                    false => REFUSED_US,
                };
                (old, Some(error.to_string().into()), kept_us)
            }
        };
        Found {
            url,
            failure,
            until_us: self.0.clock.now_us() + kept_us,
        }
    }

    /// Whose turn it is to ask for a node.
    fn turn(&self, node: &str) -> Arc<AsyncMutex<()>> {
        let mut turns = self.0.turns.lock();
        turns.entry(node.to_owned()).or_default().clone()
    }

    /// Where a node is, as far as it is known without asking anybody; for people, so without what may be
    /// secret in it.
    pub(crate) fn shown(&self, node: &str, path: &str) -> Option<String> {
        Some(outgoing::shown(&below(&self.known(node)?, path)))
    }

    fn known(&self, node: &str) -> Option<Url> {
        let addresses = self.addresses();
        let NodeAddresses {
            configured,
            fallback,
            ..
        } = &*addresses;
        let found = || {
            self.0
                .found
                .lock()
                .get(node)
                .and_then(|found| found.url.clone())
        };
        configured
            .get(node)
            .cloned()
            .or_else(found)
            .or_else(|| fallback.get(node).cloned())
    }

    async fn look_up(
        &self,
        directory: &Directory,
        node: &str,
    ) -> Result<Option<Url>, ReactorError> {
        let alias = ALIASES
            .iter()
            .find(|(name, _)| *name == node)
            .map(|(_, alias)| *alias);
        for id in [Some(node), alias].into_iter().flatten() {
            if let Some(url) = self.ask(directory, id).await? {
                return Ok(Some(url));
            }
        }
        Ok(None)
    }

    async fn ask(&self, directory: &Directory, id: &str) -> Result<Option<Url>, ReactorError> {
        let mut url = below(&directory.url, "api/ecosystem");
        url.query_pairs_mut().append_pair("id", id);
        let mut call = Outgoing::new(Method::GET, url, Trust::Configured);
        call.timeout = LOOK_UP_TIMEOUT;
        if let Some(key) = &directory.key {
            call.headers.insert(AUTHORIZATION, bearer(key)?);
        }
        let answer = self
            .0
            .client
            .send(call)
            .await
            .map_err(|error| outgoing::failed(&error))?;
        match answer.status {
            200..=299 => production_url(&answer.body).ok_or_else(|| {
                ReactorError::retry("the directory of nodes answered something else than an entry")
            }),
            404 => Ok(None),
            status => Err(ReactorError::retry(format!(
                "the directory of nodes answered {status}"
            ))),
        }
    }
}

/// The header that carries a token.
pub(crate) fn bearer(key: &Secret) -> Result<HeaderValue, ReactorError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose()))
        .map_err(|_| ReactorError::final_("the configured key cannot be sent in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The address below another, whether or not that ends with a slash; its query is left out.
pub(crate) fn below(root: &Url, path: &str) -> Url {
    let mut url = root.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.set_path(&format!("{}/{path}", root.path().trim_end_matches('/')));
    url
}

/// `hosting.productionUrl` of an object, or of the one object of an array; nothing inside when the node is
/// not there or has no address, nothing at all when the answer is no entry.
fn production_url(body: &[u8]) -> Option<Option<Url>> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let entry = match &body {
        Value::Array(entries) => match entries.first() {
            Some(entry) => entry,
            None => return Some(None),
        },
        entry => entry,
    };
    let url = entry
        .as_object()?
        .get("hosting")
        .and_then(|hosting| hosting.get("productionUrl"))
        .and_then(Value::as_str)
        .and_then(|text| text.parse().ok())
        .filter(|url: &Url| matches!(url.scheme(), "http" | "https"));
    Some(url)
}

fn configured_address(url: &Url) -> Address {
    Address {
        url: url.clone(),
        trust: Trust::Configured,
    }
}

fn foreign_address(url: Url) -> Address {
    Address {
        url,
        trust: Trust::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_an_object_or_an_array_of_one() {
        let url = |body: &str| production_url(body.as_bytes()).map(|url| url.map(String::from));
        let found = Some(Some(String::from("https://factory.example/")));
        let entry = r#"{"id":"x","hosting":{"productionUrl":"https://factory.example"}}"#;
        assert_eq!(url(entry), found);
        assert_eq!(url(&format!("[{entry}]")), found);
        for body in [
            "[]",
            "{}",
            r#"{"hosting":null}"#,
            r#"{"hosting":{"productionUrl":"file:///etc"}}"#,
        ] {
            assert_eq!(url(body), Some(None), "{body}");
        }
        // A page for people is no news of a node.
        for body in ["<html>", "", "[1]", "\"later\""] {
            assert_eq!(url(body), None, "{body}");
        }
    }

    #[test]
    fn paths_are_put_below_the_root() {
        for (root, expected) in [
            ("https://a.example", "https://a.example/api/mint"),
            ("https://a.example/", "https://a.example/api/mint"),
            ("https://a.example/v2/?x=1", "https://a.example/v2/api/mint"),
        ] {
            assert_eq!(below(&root.parse().unwrap(), "api/mint").as_str(), expected);
        }
    }
}
