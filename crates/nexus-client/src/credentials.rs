//! Who the client is to the server: a bearer token, or a node that signs.

use std::fmt;

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use nexus_auth::{NODE_HEADER, SIGNATURE_HEADER, Secret, Signer};
use parking_lot::RwLock;

use crate::Error;

/// What requests are signed or marked with.
pub(crate) struct Credentials {
    /// Behind a lock, because a token is replaced while streams go on.
    token: RwLock<Option<Secret>>,
    node: Option<Node>,
}

struct Node {
    id: HeaderValue,
    signer: Signer,
}

impl Credentials {
    pub(crate) fn new(
        token: Option<Secret>,
        node: Option<(String, Secret)>,
    ) -> Result<Self, Error> {
        let node = node.map(|(id, secret)| {
            Ok(Node {
                id: HeaderValue::from_str(&id)
                    .map_err(|_| Error::invalid("the id of the node", "it has odd characters"))?,
                signer: Signer::from_secret(&secret)
                    .map_err(|error| Error::invalid("the secret of the node", error.to_string()))?,
            })
        });
        if let Some(token) = &token {
            bearer(token)?;
        }
        Ok(Self {
            token: RwLock::new(token),
            node: node.transpose()?,
        })
    }

    pub(crate) fn replace_token(&self, token: Secret) -> Result<(), Error> {
        bearer(&token)?;
        *self.token.write() = Some(token);
        Ok(())
    }

    pub(crate) fn token(&self) -> Option<Secret> {
        self.token.read().clone()
    }

    /// The headers of a request with this body: signed by the node if there is one, else with the token.
    ///
    /// Only the plain signature is sent. The three headers of Standard Webhooks would make the server
    /// take their id for the key of the request, beside the one that the client sends.
    pub(crate) fn to_publish(&self, body: &[u8]) -> Result<HeaderMap, Error> {
        match &self.node {
            Some(node) => Ok(node.sign(body)),
            None => self.by_token(),
        }
    }

    /// The headers of a request that reads: with the token if there is one, else with the signature of
    /// the empty body, which servers take that were told to.
    pub(crate) fn to_read(&self) -> Result<HeaderMap, Error> {
        match (&self.node, &*self.token.read()) {
            (Some(node), None) => Ok(node.sign(b"")),
            _ => self.by_token(),
        }
    }

    fn by_token(&self) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::new();
        if let Some(token) = &*self.token.read() {
            headers.insert(AUTHORIZATION, bearer(token)?);
        }
        Ok(headers)
    }
}

impl Node {
    fn sign(&self, body: &[u8]) -> HeaderMap {
        let signed = self.signer.sign("", 0, body);
        let mut headers: HeaderMap = signed
            .into_iter()
            .filter(|(name, _)| *name == SIGNATURE_HEADER)
            .collect();
        headers.insert(NODE_HEADER, self.id.clone());
        headers
    }
}

fn bearer(token: &Secret) -> Result<HeaderValue, Error> {
    let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
    let mut value =
        value.map_err(|_| Error::invalid("the token", "a header cannot hold its characters"))?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("token", &self.token.read().is_some())
            .field("node", &self.node.as_ref().map(|node| &node.id))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_signs_and_a_token_is_shown() {
        let token = || Secret::new("a-token");
        let node = || (String::from("shop"), Secret::new("a-secret"));
        let both = Credentials::new(Some(token()), Some(node())).unwrap();
        let signed = both.to_publish(b"{}").unwrap();
        assert_eq!(signed[NODE_HEADER], "shop");
        assert_eq!(signed[SIGNATURE_HEADER].len(), 64);
        assert!(!signed.contains_key(AUTHORIZATION));
        assert_eq!(both.to_read().unwrap()[AUTHORIZATION], "Bearer a-token");

        let node_only = Credentials::new(None, Some(node())).unwrap();
        assert!(node_only.to_read().unwrap().contains_key(SIGNATURE_HEADER));
        let token_only = Credentials::new(Some(token()), None).unwrap();
        let headers = token_only.to_publish(b"{}").unwrap();
        assert_eq!(headers[AUTHORIZATION], "Bearer a-token");
    }

    #[test]
    fn a_secret_is_never_printed_and_an_odd_one_is_refused() {
        let node = Some((String::from("shop"), Secret::new("hunter2")));
        let credentials = Credentials::new(Some(Secret::new("hunter2")), node).unwrap();
        assert!(!format!("{credentials:?}").contains("hunter2"));
        let odd = credentials.replace_token(Secret::new("hunter2\n"));
        let error = odd.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        assert!(Credentials::new(None, Some((String::from("shop"), Secret::new("")))).is_err());
    }
}
