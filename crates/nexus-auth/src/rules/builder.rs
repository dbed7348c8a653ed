//! Turns the options into rules, or into every reason why that cannot be done.

mod tokens;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use nexus_core::{Catalogue, PatternSet, Principal, Publish, Scope, Scopes, Source};

use super::{Bearer, LiveKeys, Node, Rules, Sources};
use crate::{
    AuthOptions, DEFAULT_NODE, Error, LiveSecret, NodeInfo, NodeOptions, SECRET_CHARS_MIN,
    SIGNATURE_ONLY_MAX, Secret, TokenValue, jwt::Judge, nodes::Registered, usage::Usage,
};

/// What the options come to.
pub(super) fn build(sources: &Sources<'_>) -> Result<Rules, Vec<Error>> {
    let options = sources.options;
    let mut builder = Builder {
        options,
        registered: sources.registered,
        catalogue: sources.catalogue,
        previous: sources.previous,
        strict_about: sources.strict_about,
        errors: Vec::new(),
        warnings: Vec::new(),
        prints: HashMap::new(),
        bearers: Vec::new(),
        owners: HashMap::new(),
    };
    if options.production && options.signed_get {
        builder.warnings.push(
            "signed reads are on: the signature of an empty body never changes, a token is safer"
                .into(),
        );
    }
    let nodes = builder.nodes();
    builder.tokens();
    builder.jwt();
    if !builder.errors.is_empty() {
        return Err(builder.errors);
    }
    let ids = nodes.iter().enumerate();
    Ok(Rules {
        by_id: ids
            .map(|(index, node)| (node.info.id.clone(), index))
            .collect(),
        nodes,
        bearers: builder.bearers,
        jwt: options.jwt.as_ref().map(Judge::new),
        signed_get: options.signed_get,
        warnings: builder.warnings,
    })
}

/// A refusal of the options does not hide the next: all are noted, then given back together.
struct Builder<'o> {
    options: &'o AuthOptions,
    registered: &'o [Registered],
    catalogue: &'o Catalogue,
    previous: Option<&'o Rules>,
    strict_about: Option<&'o str>,
    errors: Vec<Error>,
    warnings: Vec<String>,
    /// Who has a key, by its print.
    prints: HashMap<[u8; 32], String>,
    bearers: Vec<Bearer>,
    /// Who has a token, by its digest.
    owners: HashMap<[u8; 32], String>,
}

impl Builder<'_> {
    fn nodes(&mut self) -> Vec<Node> {
        let drafts = self.drafts();
        let others_configured = self
            .options
            .nodes
            .iter()
            .map(|node| &node.id)
            .chain(self.options.permissions.keys())
            .any(|id| id != DEFAULT_NODE);
        self.check_default(&drafts, others_configured);
        let signature_only = drafts.iter().filter(|node| node.signature_only).count();
        if signature_only > SIGNATURE_ONLY_MAX {
            self.errors.push(Error::SignatureOnlyTooMany {
                count: signature_only,
                max: SIGNATURE_ONLY_MAX,
            });
        }
        drafts
            .into_iter()
            .map(|draft| self.node(draft, others_configured))
            .collect()
    }

    /// One entry for each node, with its secrets from everywhere.
    fn drafts(&mut self) -> Vec<NodeOptions> {
        let mut drafts: BTreeMap<&str, NodeOptions> = BTreeMap::new();
        for node in &self.options.nodes {
            if drafts.insert(&node.id, node.clone()).is_some() {
                self.errors.push(Error::NodeTwice {
                    id: node.id.clone(),
                });
            }
        }
        let default = (DEFAULT_NODE, &self.options.default_secrets);
        let environment = self.options.environment_secrets.iter();
        let environment = environment.map(|(id, secrets)| (id.as_str(), secrets));
        for (id, secrets) in environment.chain([default]) {
            if !secrets.is_empty() {
                let draft = drafts.entry(id).or_insert_with(|| NodeOptions::new(id));
                for live in secrets {
                    if !draft
                        .secrets
                        .iter()
                        .any(|known| known.secret == live.secret)
                    {
                        draft.secrets.push(live.clone());
                    }
                }
            }
        }
        self.add_registered(&mut drafts);
        let known: BTreeSet<&str> = drafts.keys().copied().collect();
        for id in self.options.permissions.keys() {
            if !known.contains(id.as_str()) {
                self.warnings.push(format!(
                    "the permissions name the node {id}, which has no secret: it cannot sign"
                ));
            }
        }
        drafts.into_values().collect()
    }

    /// Adds what was made through the API. Of a node that is configured too, the configuration says what it
    /// may do, and the secrets of both count.
    fn add_registered<'o>(&mut self, drafts: &mut BTreeMap<&'o str, NodeOptions>)
    where
        Self: 'o,
    {
        for node in self.registered {
            match (drafts.get_mut(node.id.as_str()), &node.settings) {
                (Some(draft), _) => draft.secrets.extend(node.secrets.iter().cloned()),
                (None, Some(settings)) => {
                    drafts.insert(&node.id, settings.to_options(&node.id, &node.secrets));
                }
                (None, None) => self.warnings.push(format!(
                    "secrets were added to the node {}, which is not configured any more: they do not count",
                    node.id
                )),
            }
        }
    }

    fn check_default(&mut self, drafts: &[NodeOptions], others_configured: bool) {
        let default = drafts.iter().find(|node| node.id == DEFAULT_NODE);
        let Some(default) = default.filter(|node| !node.secrets.is_empty()) else {
            if self.options.production {
                self.errors.push(Error::SecretMissing);
            } else {
                self.warnings.push(
                    "NEXUS_SECRET is not set: only nodes with a secret of their own can sign"
                        .into(),
                );
            }
            return;
        };
        if others_configured && self.listed(default).is_none() {
            self.warnings.push(
                "nodes are configured, and the default node has no entry: it may publish nothing"
                    .into(),
            );
        }
    }

    fn node(&mut self, draft: NodeOptions, others_configured: bool) -> Node {
        if !is_node_id(&draft.id) {
            self.errors.push(Error::NodeIdInvalid {
                id: draft.id.chars().take(64).collect(),
            });
        }
        let owner = format!("node {}", draft.id);
        let publish = self.publish(&draft, &owner, others_configured);
        let read = match &draft.read {
            None => PatternSet::everything(),
            Some(names) => self.patterns(names, &owner),
        };
        let source = Source::node(&draft.id);
        let reads: Scopes = (!read.is_empty())
            .then_some(Scope::Read)
            .into_iter()
            .collect();
        let reader = Principal::new(source.clone(), Publish::Nothing, reads).reading(read);
        let publisher = Principal::new(source, publish, [Scope::Publish].into_iter().collect());
        let mut keys = Vec::new();
        for live in &draft.secrets {
            let Some(live_keys) = self.live_keys(live, &draft.id, &owner) else {
                continue;
            };
            if !reader.readable().is_empty() {
                self.bearers.push(Bearer {
                    digest: TokenValue::Plain(live.secret.clone()).to_digest(),
                    principal: reader.clone(),
                    not_after_us: live.not_after_us,
                    usage: Some(live_keys.usage.clone()),
                });
            }
            keys.push(live_keys);
        }
        Node {
            info: NodeInfo {
                id: draft.id.into(),
                url: draft.url,
                names: draft.names,
            },
            keys,
            signature_only: draft.signature_only,
            publisher,
            reader,
        }
    }

    /// The list that says what a node may publish: its entry's, else that of the permissions file.
    fn listed<'a>(&'a self, node: &'a NodeOptions) -> Option<&'a [String]> {
        let listed = node.publish.as_ref();
        listed
            .or_else(|| self.options.permissions.get(&node.id))
            .map(Vec::as_slice)
    }

    fn publish(&mut self, node: &NodeOptions, owner: &str, others_configured: bool) -> Publish {
        if let Some(names) = self.listed(node).map(<[String]>::to_vec) {
            return Publish::Matching(self.patterns(&names, owner));
        }
        if node.id == DEFAULT_NODE {
            return if others_configured {
                Publish::Nothing
            } else {
                Publish::Unreserved
            };
        }
        let types = self.catalogue.types().iter();
        let owned = types.filter(|event| event.owner.as_deref() == Some(node.id.as_str()));
        Publish::Matching(owned.map(|event| (&event.topic).into()).collect())
    }

    fn patterns(&mut self, names: &[String], owner: &str) -> PatternSet {
        let mut patterns = Vec::new();
        for name in names {
            match self.catalogue.resolve_pattern(name) {
                Ok((pattern, _)) => patterns.push(pattern),
                Err(_) if self.forgives(owner) => self.warnings.push(format!(
                    "the permissions of {owner} name {name:?}, which is no event any more"
                )),
                Err(source) => self.errors.push(Error::PermissionUnknown {
                    owner: owner.to_owned(),
                    event: name.chars().take(64).collect(),
                    source,
                }),
            }
        }
        patterns.into_iter().collect()
    }

    /// Whether a name that is of no event is passed over.
    fn forgives(&self, owner: &str) -> bool {
        let id = owner.strip_prefix("node ");
        let mut registered = self.registered.iter();
        id != self.strict_about
            && registered.any(|node| node.settings.is_some() && id == Some(&*node.id))
    }

    fn live_keys(&mut self, live: &LiveSecret, id: &str, owner: &str) -> Option<LiveKeys> {
        let keys = match live.secret.keys() {
            Ok(keys) => keys,
            Err(why) => {
                self.errors.push(Error::SecretInvalid {
                    owner: owner.to_owned(),
                    why,
                });
                return None;
            }
        };
        self.check_strength(&live.secret, owner);
        let token = TokenValue::Plain(live.secret.clone()).to_digest();
        self.owners.insert(token, owner.to_owned());
        let print = keys.prints()[0];
        let prints: BTreeSet<_> = keys.prints().into_iter().collect();
        let mut shared: BTreeSet<String> = BTreeSet::new();
        for print in prints {
            match self.prints.insert(print, owner.to_owned()) {
                Some(first) if first != owner => {
                    shared.insert(first);
                }
                _ => {}
            }
        }
        self.errors
            .extend(shared.into_iter().map(|first| Error::SecretShared {
                first,
                second: owner.to_owned(),
            }));
        Some(LiveKeys {
            keys,
            not_after_us: live.not_after_us,
            print,
            hint: live.secret.hint(),
            usage: self.usage(id, print),
        })
    }

    /// The counter of a secret: the one that it had before, if it was there.
    fn usage(&self, id: &str, print: [u8; 32]) -> Arc<Usage> {
        let before = self.previous.and_then(|rules| rules.node(id));
        let before = before.and_then(|node| node.keys.iter().find(|live| live.print == print));
        before.map_or_else(Arc::default, |live| live.usage.clone())
    }

    fn check_strength(&mut self, secret: &Secret, owner: &str) {
        let chars = secret.chars();
        if chars >= SECRET_CHARS_MIN {
            return;
        }
        if self.options.production {
            self.errors.push(Error::SecretWeak {
                owner: owner.to_owned(),
                chars,
                min: SECRET_CHARS_MIN,
            });
        } else {
            self.warnings.push(format!(
                "the secret of {owner} has {chars} characters: production refuses less than {SECRET_CHARS_MIN}"
            ));
        }
    }
}

/// Whether this is written as the id of a node.
pub(crate) fn is_node_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}
