//! The handle that faces hold: verifies requests and tokens against the rules of the moment.

mod users;

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use http::{HeaderMap, header::AUTHORIZATION};
use nexus_core::{Catalogue, Clock, NameForm, Principal, Random, Scope, sha256};
use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use tokio::sync::{Notify, watch};
use url::Url;

use crate::{
    AuthOptions, DEFAULT_NODE, Error, JwkSet, NODE_HEADER, SIGNATURE_ONLY_BODY_BYTES_MAX, Secret,
    Signer,
    jwt::Proven,
    nodes::Registered,
    rules::{Node, Rules, Sources},
    search::{Search, is_live, newest},
    secret::Keys,
    signature::{Claim, only},
};

/// A request whose signature is to be checked, before anything of its body is parsed.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body, as it came.
    pub body: &'a [u8],
    /// The node that its path names, on `/webhook/{node}`.
    pub path_node: Option<&'a str>,
}

/// What others need to know of a node.
#[derive(Debug, Clone)]
pub struct NodeInfo {
    /// Its id, `flowpay`.
    pub id: Arc<str>,
    /// Where it is reached, as the configuration says.
    pub url: Option<Url>,
    /// Which names the events have that it is told of.
    pub names: NameForm,
}

/// Someone who came with a token, and until when it counts. A stream keeps it, and asks with
/// [`Auth::renew`] whether it still holds.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Who it is.
    pub principal: Principal,
    /// The last microsecond since 1970 at which the token counts.
    pub not_after_us: Option<i64>,
    proof: Proof,
}

/// How somebody got a grant; the token itself is not kept.
#[derive(Clone)]
enum Proof {
    Token([u8; 32]),
    SignedGet(Arc<str>),
    Jwt(Arc<Proven>),
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token",
            Self::SignedGet(_) => "SignedGet",
            Self::Jwt(_) => "Jwt",
        })
    }
}

/// Who may do what. Cheap to clone; all clones see a reload at once.
#[derive(Clone)]
pub struct Auth {
    shared: Arc<Shared>,
}

struct Shared {
    rules: ArcSwap<Rules>,
    /// What the rules were made of; held while others take their place.
    present: Mutex<Present>,
    clock: Clock,
    generation: watch::Sender<u64>,
    /// The public keys that JSON Web Tokens are signed with.
    jwks: ArcSwap<JwkSet>,
    /// Told of when a token is signed with a key that is not among them.
    jwks_wanted: Notify,
    /// Does the work of a node that does not exist, so that the time of an answer does not tell which do.
    decoy: Option<Keys>,
}

/// What rules are made of.
struct Present {
    options: AuthOptions,
    registered: Arc<[Registered]>,
}

impl Auth {
    /// Reads the options. Names of events are those of the catalogue.
    ///
    /// # Errors
    /// Every reason why the options are refused.
    pub fn new(
        options: &AuthOptions,
        catalogue: &Catalogue,
        clock: Clock,
    ) -> Result<Self, Vec<Error>> {
        let present = Present {
            options: options.clone(),
            registered: Arc::default(),
        };
        let rules = Rules::new(&present.sources(catalogue, None))?;
        let shared = Shared {
            rules: ArcSwap::from_pointee(rules),
            present: Mutex::new(present),
            clock,
            generation: watch::Sender::new(0),
            jwks: ArcSwap::default(),
            jwks_wanted: Notify::new(),
            decoy: Secret::generate(&Random::system()).keys().ok(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Puts other options in the place of the present ones. Nodes and secrets that a
    /// [`NodeRegistry`](crate::NodeRegistry) added stay.
    ///
    /// # Errors
    /// Every reason why the options are refused; the present ones stay.
    pub fn replace(&self, options: &AuthOptions, catalogue: &Catalogue) -> Result<(), Vec<Error>> {
        let mut present = self.shared.present.lock();
        let next = Present {
            options: options.clone(),
            registered: present.registered.clone(),
        };
        self.adopt(&mut present, next, catalogue)
    }

    /// The same for what was made through the API.
    pub(crate) fn register(
        &self,
        registered: Vec<Registered>,
        catalogue: &Catalogue,
    ) -> Result<(), Vec<Error>> {
        let mut present = self.shared.present.lock();
        let next = Present {
            options: present.options.clone(),
            registered: registered.into(),
        };
        self.adopt(&mut present, next, catalogue)
    }

    /// Whether [`Auth::register`] would do it, and every name in one of the nodes is of an event.
    pub(crate) fn check_registered(
        &self,
        registered: &[Registered],
        strict_about: &str,
        catalogue: &Catalogue,
    ) -> Result<(), Vec<Error>> {
        let present = self.shared.present.lock();
        let sources = Sources {
            options: &present.options,
            registered,
            catalogue,
            strict_about: Some(strict_about),
            previous: None,
        };
        Rules::new(&sources).map(|_| ())
    }

    fn adopt(
        &self,
        present: &mut Present,
        next: Present,
        catalogue: &Catalogue,
    ) -> Result<(), Vec<Error>> {
        let shared = &self.shared;
        let previous = shared.rules.load();
        let rules = Rules::new(&next.sources(catalogue, Some(&**previous)))?;
        *present = next;
        shared.rules.store(Arc::new(rules));
        shared.generation.send_modify(|generation| *generation += 1);
        Ok(())
    }

    /// Reads what the rules of the moment are made of, and the rules.
    pub(crate) fn inspect<T>(&self, read: impl FnOnce(&AuthOptions, &Rules) -> T) -> T {
        let present = self.shared.present.lock();
        read(&present.options, &self.shared.rules.load())
    }

    /// Changes with each [`Auth::replace`]: who holds a stream open then checks its right anew.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.generation.subscribe()
    }

    /// What is weak in the options, though it is not refused.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.shared.rules.load().warnings.clone()
    }

    /// Who signed a request. All keys that could be meant are tried, whether or not one was right.
    ///
    /// With `X-Nexus-Node`, those of that node. Without it, on a webhook's path those of the path's node
    /// and the default node; elsewhere those of the default node and, for a body of at most
    /// [`SIGNATURE_ONLY_BODY_BYTES_MAX`] bytes, of the nodes that are marked `signature_only`.
    ///
    /// # Errors
    /// [`Error::Unauthorized`].
    pub fn verify(&self, request: &SignedRequest<'_>) -> Result<Principal, Error> {
        let rules = self.shared.rules.load();
        let node = self.signed_by(&rules, request).ok_or(Error::Unauthorized)?;
        Ok(node.publisher.clone())
    }

    fn signed_by<'r>(&'r self, rules: &'r Rules, request: &SignedRequest<'_>) -> Option<&'r Node> {
        let now_us = self.shared.clock.now_us();
        let now_s = now_us.div_euclid(1_000_000);
        // Nothing of this depends on which nodes exist, so it may end early.
        let claim = Claim::read(request.headers, request.path_node, now_s)?;
        let mut search = Search {
            claim,
            body: request.body,
            now_us,
            decoy: self.shared.decoy.as_ref(),
            found: None,
        };
        if request.headers.contains_key(NODE_HEADER) {
            let named = only(request.headers, &NODE_HEADER);
            search.attempt(named.and_then(|id| rules.node(id)));
        } else if let Some(id) = request.path_node {
            search.attempt(rules.node(id));
            if id != DEFAULT_NODE {
                search.attempt(rules.node(DEFAULT_NODE));
            }
        } else {
            search.attempt(rules.node(DEFAULT_NODE));
            if request.body.len() <= SIGNATURE_ONLY_BODY_BYTES_MAX {
                let by_signature = rules
                    .nodes
                    .iter()
                    .filter(|node| node.signature_only && &*node.info.id != DEFAULT_NODE);
                by_signature.for_each(|node| search.attempt(Some(node)));
            }
        }
        search.found
    }

    /// Whose token `Authorization: Bearer` carries.
    ///
    /// # Errors
    /// [`Error::Unauthorized`].
    pub fn bearer(&self, headers: &HeaderMap) -> Result<Principal, Error> {
        self.token(bearer_token(headers).ok_or(Error::Unauthorized)?)
    }

    /// Whose token it is: an operator's, a configured one, a node's secret, which may read, or a user's JSON
    /// Web Token.
    ///
    /// # Errors
    /// [`Error::Unauthorized`].
    pub fn token(&self, token: &str) -> Result<Principal, Error> {
        self.grant(token).map(|grant| grant.principal)
    }

    /// As [`Auth::token`], with what a stream needs to notice that the token ended.
    ///
    /// # Errors
    /// [`Error::Unauthorized`].
    pub fn grant(&self, token: &str) -> Result<Grant, Error> {
        match self.grant_of(sha256(token.as_bytes())) {
            Err(_) => self.jwt_grant(token),
            granted => granted,
        }
    }

    /// The grant as it is now: with the rights of the moment.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] when the token was taken away or has expired, or when the node that signed
    /// has no secret any more.
    pub fn renew(&self, grant: &Grant) -> Result<Grant, Error> {
        match &grant.proof {
            Proof::Token(digest) => self.grant_of(*digest),
            Proof::SignedGet(id) => {
                let rules = self.shared.rules.load();
                let now_us = self.shared.clock.now_us();
                let node = rules
                    .node(id)
                    .filter(|node| rules.signed_get && newest(&node.keys, now_us).is_some());
                node.ok_or(Error::Unauthorized).and_then(signed_get_grant)
            }
            Proof::Jwt(proven) => {
                let (rules, keys) = (self.shared.rules.load(), self.shared.jwks.load());
                let now_us = self.shared.clock.now_us();
                let judge = rules.jwt.as_ref();
                let counts = judge.is_some_and(|judge| judge.still_counts(proven, &keys, now_us));
                counts.then(|| grant.clone()).ok_or(Error::Unauthorized)
            }
        }
    }

    fn grant_of(&self, digest: [u8; 32]) -> Result<Grant, Error> {
        let rules = self.shared.rules.load();
        let now_us = self.shared.clock.now_us();
        let mut found = None;
        for bearer in &rules.bearers {
            let equal: bool = bearer.digest.ct_eq(&digest).into();
            if equal && is_live(bearer.not_after_us, now_us) && found.is_none() {
                found = Some(bearer);
            }
        }
        let bearer = found.ok_or(Error::Unauthorized)?;
        if let Some(usage) = &bearer.usage {
            usage.note(now_us);
        }
        Ok(Grant {
            principal: bearer.principal.clone(),
            not_after_us: bearer.not_after_us,
            proof: Proof::Token(digest),
        })
    }

    /// Who reads: by a token, or by the signature of the empty body where that is allowed.
    ///
    /// # Errors
    /// [`Error::Unauthorized`].
    pub fn reader(&self, headers: &HeaderMap) -> Result<Principal, Error> {
        self.reader_grant(headers).map(|grant| grant.principal)
    }

    /// Who asks at a route that wants a scope: by a token with that scope, or by the signature of the empty
    /// body, where that is allowed, by a node that may read. Live nodes look after their own deliveries
    /// that way.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] and [`Error::ScopeMissing`].
    pub fn asks_for(&self, headers: &HeaderMap, scope: Scope) -> Result<Principal, Error> {
        let principal = self.reader(headers)?;
        let is_token = headers.contains_key(AUTHORIZATION);
        self.require(&principal, if is_token { scope } else { Scope::Read })?;
        Ok(principal)
    }

    /// As [`Auth::reader`], with what a stream needs to notice that the right ended.
    ///
    /// # Errors
    /// [`Error::Unauthorized`].
    pub fn reader_grant(&self, headers: &HeaderMap) -> Result<Grant, Error> {
        if headers.contains_key(AUTHORIZATION) {
            return self.grant(bearer_token(headers).ok_or(Error::Unauthorized)?);
        }
        let rules = self.shared.rules.load();
        if !rules.signed_get {
            return Err(Error::Unauthorized);
        }
        let request = SignedRequest {
            headers,
            body: b"",
            path_node: None,
        };
        let node = self.signed_by(&rules, &request);
        node.ok_or(Error::Unauthorized).and_then(signed_get_grant)
    }

    /// Whether the principal's token was made for this.
    ///
    /// # Errors
    /// [`Error::ScopeMissing`] when it was not.
    pub fn require(&self, principal: &Principal, scope: Scope) -> Result<(), Error> {
        if principal.scopes().has(scope) {
            Ok(())
        } else {
            Err(Error::ScopeMissing { scope })
        }
    }

    /// What signs messages to a node: its own secret, else the default one; nothing when there is
    /// neither.
    #[must_use]
    pub fn signer(&self, node: &str) -> Option<Signer> {
        let rules = self.shared.rules.load();
        let now_us = self.shared.clock.now_us();
        let key_of = |id| rules.node(id).and_then(|node| newest(&node.keys, now_us));
        let keys = key_of(node).or_else(|| key_of(DEFAULT_NODE))?;
        Some(Signer::new(keys.clone()))
    }

    /// What is known of a node.
    #[must_use]
    pub fn node(&self, id: &str) -> Option<NodeInfo> {
        self.shared
            .rules
            .load()
            .node(id)
            .map(|node| node.info.clone())
    }

    /// Every node, by its id.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeInfo> {
        let rules = self.shared.rules.load();
        rules.nodes.iter().map(|node| node.info.clone()).collect()
    }
}

impl Present {
    fn sources<'a>(&'a self, catalogue: &'a Catalogue, previous: Option<&'a Rules>) -> Sources<'a> {
        Sources {
            options: &self.options,
            registered: &self.registered,
            catalogue,
            strict_about: None,
            previous,
        }
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("generation", &*self.shared.generation.borrow())
            .finish_non_exhaustive()
    }
}

fn signed_get_grant(node: &Node) -> Result<Grant, Error> {
    if !node.reader.scopes().has(Scope::Read) {
        return Err(Error::Unauthorized);
    }
    Ok(Grant {
        principal: node.reader.clone(),
        not_after_us: None,
        proof: Proof::SignedGet(node.info.id.clone()),
    })
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = only(headers, &AUTHORIZATION)?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
