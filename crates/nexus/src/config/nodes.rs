//! Nodes: from the file, the environment and the permissions file.

use std::{collections::BTreeMap, fs};

use nexus_auth::Secret;
use nexus_core::{Json, Owner, ProtocolEvent};

use super::{
    entries::{NODE, NodeEntry},
    given::Entry,
    lists::At,
    load::{FILE_SUFFIX, Loader, read_secret, read_text},
    sections::Node,
    value::Address,
    variables::{in_capitals, node_of_secret},
};
use crate::environment::{FLOWPAY_WEBHOOK_SECRET, NODE_API_URL};

/// The node that `FLOWPAY_WEBHOOK_SECRET` belongs to.
const FLOWPAY: &str = "flowpay";
/// Nodes that own no event and are told of some.
const TOLD: [&str; 1] = ["neobot"];
/// The member of a node that says what its webhooks mean.
const WEBHOOK: &str = "webhook";
/// Where the permissions file is looked for, in this order, beside the configuration file and then in the
/// working folder.
const PERMISSIONS_BESIDE: [&str; 2] = ["config/permissions.json", "permissions.json"];
const PERMISSIONS_HERE: &str = "config/permissions.json";

impl Loader {
    /// Reads a node's entry.
    pub(super) fn node(&mut self, at: &At, entries: Vec<Entry>) {
        let (webhook, entries): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.key == WEBHOOK);
        let read: NodeEntry = self.entry(at, NODE, entries);
        self.needed(at, "id");
        let webhook = webhook
            .into_iter()
            .map(|entry| self.mappings(at, entry))
            .collect::<Vec<_>>();
        let Some(id) = read.id else { return };
        let (written, webhook) = webhook.into_iter().flatten().unzip();
        self.written_mappings.push(written);
        let mut secrets = Vec::new();
        if let Some(name) = &read.secret_env {
            secrets.extend(self.named_variable(at, "secret_env", name));
        }
        if let Some(path) = &read.secret_file {
            match read_secret(&self.file_dir().join(path)) {
                Ok(text) => secrets.push(Secret::new(text)),
                Err(error) => self.problems.add(
                    at.key("secret_file"),
                    format!("{} cannot be read: {error}", path.display()),
                ),
            }
        }
        secrets.extend(read.secrets);
        self.origins.insert(format!("node {id}"), at.entry());
        self.keep_rights(at, "publish", read.publish.as_deref());
        self.keep_rights(at, "read", read.read.as_deref());
        self.keep_rights(at, "events", read.events.as_deref());
        self.config.nodes.push(Node {
            id,
            secrets,
            publish: read.publish,
            read: read.read,
            signature_only: read.signature_only,
            url: read.url,
            names: read.names,
            events: read.events,
            webhook,
        });
    }

    /// Secrets and addresses of nodes that stand in the environment.
    pub(crate) fn node_variables(&mut self) {
        let mut ids: BTreeMap<String, String> = self
            .config
            .nodes
            .iter()
            .map(|node| (in_capitals(&node.id), node.id.clone()))
            .collect();
        let names: Vec<String> = self
            .environment
            .iter()
            .map(|(name, _)| name.strip_suffix(FILE_SUFFIX).unwrap_or(name).to_owned())
            .collect();
        for name in &names {
            let id = if name == FLOWPAY_WEBHOOK_SECRET.name {
                FLOWPAY.to_owned()
            } else if let Some(node) = node_of_secret(name) {
                let made = || node.to_lowercase().replace('_', "-");
                ids.get(node).cloned().unwrap_or_else(made)
            } else {
                continue;
            };
            ids.entry(in_capitals(&id)).or_insert_with(|| id.clone());
            // An entry that names the variable has its secret already.
            if self.claimed.contains(name) {
                continue;
            }
            if let Some((place, text)) = self.variable(name) {
                self.origins.entry(format!("node {id}")).or_insert(place);
                let secrets = self.config.auth.environment_secrets.entry(id).or_default();
                let secret = Secret::new(text);
                if !secrets.contains(&secret) {
                    secrets.push(secret);
                }
            }
        }
        self.node_addresses(ids);
    }

    fn node_addresses(&mut self, mut ids: BTreeMap<String, String>) {
        let owners = ProtocolEvent::ALL
            .iter()
            .filter_map(|event| match event.owner() {
                Owner::Node(id) => Some(id),
                Owner::Sessions | Owner::Reserved => None,
            });
        for id in owners.chain(TOLD) {
            ids.entry(in_capitals(id)).or_insert_with(|| id.to_owned());
        }
        for (capitals, id) in ids {
            let name = NODE_API_URL.name.replace("<NODE>", &capitals);
            let Some((place, text)) = self.variable(&name) else {
                continue;
            };
            match Address::parse(&text) {
                Ok(address) => {
                    self.config.reactors.node_urls.insert(id, address);
                }
                // The registry's address is a setting as well, and was refused as that.
                Err(_) if self.problems.has(&place) => {}
                Err(what) => self
                    .problems
                    .add_with(place, what, "an http or https address"),
            }
        }
    }

    /// Reads the permissions file, if there is one.
    pub(crate) fn permissions(&mut self) {
        let beside = self.file_dir();
        let beside = PERMISSIONS_BESIDE.map(|name| beside.join(name));
        let here = self.working_dir.join(PERMISSIONS_HERE);
        let beside = beside.into_iter().filter(|_| self.file.is_some());
        let Some(path) = beside
            .chain([here])
            .find(|path| fs::metadata(path).is_ok_and(|file| file.is_file()))
        else {
            return;
        };
        let shown = path.strip_prefix(&self.working_dir).unwrap_or(&path);
        let place = shown.display().to_string();
        let text = match read_text(&path) {
            Ok(text) => text,
            Err(error) => {
                let what = format!("it cannot be read: {error}");
                return self.problems.add(place, what);
            }
        };
        match Json::parse(text.as_bytes()) {
            Ok(Json::Object(members)) => {
                for (id, events) in members {
                    self.permission(&place, &id, &events);
                }
            }
            Ok(_) => self.problems.add_with(place, "it is not an object", SHAPE),
            Err(error) => self.problems.add(place, error.to_string()),
        }
    }

    fn permission(&mut self, file: &str, id: &str, events: &Json<'_>) {
        let place = format!("{file} {id}");
        let name = |item: &Json<'_>| match item {
            Json::String(name) => Some(name.to_string()),
            _ => None,
        };
        let names = match events {
            Json::Array(items) => items.iter().map(name).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        let Some(names) = names else {
            let what = "this is not a list of names";
            return self.problems.add_with(place, what, SHAPE);
        };
        self.rights.push((place.clone(), names.clone()));
        self.origins.entry(format!("node {id}")).or_insert(place);
        self.config.auth.permissions.insert(id.to_owned(), names);
    }
}

/// What the permissions file looks like.
const SHAPE: &str = r#"{"flowpay": ["PAYMENT_RECEIVED", "payment.*"]}"#;
