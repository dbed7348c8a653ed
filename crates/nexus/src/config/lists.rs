//! Nodes, tokens, declared events and permissions: from the file, the environment and the permissions file.

use std::{collections::BTreeMap, fs, path::Path};

use nexus_auth::{Secret, TokenValue};
use nexus_core::{Json, Owner, ProtocolEvent, Scopes};
use nexus_expr::Schema;

use super::{
    entries::{EVENT, EventEntry, NODE, NodeEntry, TOKEN, TokenEntry},
    given::{Entry, Given},
    load::{FILE_SUFFIX, Loader, in_capitals, node_of_secret, read_secret, read_text, unknown},
    sections::{EventDeclaration, Node, Token},
    setting::Setting,
    value::Address,
};
use crate::environment::{FLOWPAY_WEBHOOK_SECRET, NODE_API_URL};

/// The node that `FLOWPAY_WEBHOOK_SECRET` belongs to.
const FLOWPAY: &str = "flowpay";
/// Nodes that own no event and are told of some.
const TOLD: [&str; 1] = ["neobot"];
/// Where the permissions file is looked for, in this order, beside the configuration file and then in the
/// working folder.
const PERMISSIONS_BESIDE: [&str; 2] = ["config/permissions.json", "permissions.json"];
const PERMISSIONS_HERE: &str = "config/permissions.json";

/// Where the members of one entry stand.
struct At {
    file: String,
    list: String,
    lines: BTreeMap<String, usize>,
}

impl At {
    fn new(file: &str, list: &str, entries: &[Entry]) -> Self {
        let lines = entries.iter().map(|entry| (entry.key.clone(), entry.line));
        Self {
            file: file.to_owned(),
            list: list.to_owned(),
            lines: lines.collect(),
        }
    }

    fn has(&self, key: &str) -> bool {
        self.lines.contains_key(key)
    }

    /// The entry itself: the line of its first member.
    fn entry(&self) -> String {
        match self.lines.values().min() {
            Some(line) => format!("{}:{line} {}", self.file, self.list),
            None => format!("{} {}", self.file, self.list),
        }
    }

    fn key(&self, key: &str) -> String {
        match self.lines.get(key) {
            Some(line) => format!("{}:{line} {}.{key}", self.file, self.list),
            None => format!("{}.{key}", self.entry()),
        }
    }
}

impl Loader {
    /// Reads a list of entries of the file.
    pub(crate) fn list(&mut self, file: &str, key: &str, items: Vec<Given>) {
        for item in items {
            let Given::Table(entries) = item else {
                let what = format!("{item} is not an entry: write [[{key}]]");
                self.problems.add(format!("{file} {key}"), what);
                continue;
            };
            let at = At::new(file, key, &entries);
            match key {
                "nodes" => self.node(&at, entries),
                "tokens" => self.token(&at, entries),
                _ => self.event(&at, entries),
            }
        }
    }

    /// Reads the members of an entry; those that are wrong are noted.
    fn entry<T: Default>(
        &mut self,
        at: &At,
        settings: &'static [Setting<T>],
        entries: Vec<Entry>,
    ) -> T {
        let mut read = T::default();
        for Entry { key, given, .. } in entries {
            let Some(setting) = settings.iter().find(|setting| setting.key == key) else {
                let known = settings.iter().map(|setting| setting.key);
                self.problems
                    .add(at.key(&key), unknown("setting", &key, known));
                continue;
            };
            if let Err(what) = (setting.apply)(&mut read, &given, setting.bounds) {
                let allowed = (setting.allowed)(setting.bounds);
                self.problems.add_with(at.key(&key), what, allowed);
            }
        }
        read
    }

    fn node(&mut self, at: &At, entries: Vec<Entry>) {
        let read: NodeEntry = self.entry(at, NODE, entries);
        self.needed(at, "id");
        let Some(id) = read.id else { return };
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
        self.config.nodes.push(Node {
            id,
            secrets,
            publish: read.publish,
            read: read.read,
            signature_only: read.signature_only,
            url: read.url,
            names: read.names,
        });
    }

    fn token(&mut self, at: &At, entries: Vec<Entry>) {
        let read: TokenEntry = self.entry(at, TOKEN, entries);
        self.needed(at, "name");
        self.needed(at, "scopes");
        if at.has("scopes") && read.scopes == Scopes::NONE {
            let what = "it has no scope, so that it opens nothing";
            self.warnings.add(at.key("scopes"), what);
        }
        if at.has("token_env") == at.has("token_sha256") {
            let what = "one of `token_env` and `token_sha256` is needed, and not both";
            self.problems.add(at.entry(), what);
        }
        let plain = read
            .token_env
            .and_then(|name| self.named_variable(at, "token_env", &name))
            .map(TokenValue::Plain);
        let (Some(name), Some(value)) = (read.name, plain.or(read.token_sha256)) else {
            return;
        };
        self.origins.insert(format!("the token {name}"), at.entry());
        self.keep_rights(at, "publish", read.publish.as_deref());
        self.keep_rights(at, "read", read.read.as_deref());
        self.config.tokens.push(Token {
            name,
            value,
            scopes: read.scopes,
            read: read.read,
            publish: read.publish,
            expires_us: read.expires.map(|moment| moment.0),
        });
    }

    /// Keeps names and patterns to be checked when all events are known.
    fn keep_rights(&mut self, at: &At, key: &str, names: Option<&[String]>) {
        if let Some(names) = names {
            self.rights.push((at.key(key), names.to_vec()));
        }
    }

    /// Notes that a member is missing.
    fn needed(&mut self, at: &At, key: &str) {
        if !at.has(key) {
            self.problems.add(at.entry(), format!("`{key}` is missing"));
        }
    }

    /// The secret in the variable that an entry names.
    fn named_variable(&mut self, at: &At, key: &str, name: &str) -> Option<Secret> {
        self.claimed.insert(name.to_owned());
        let file_name = format!("{name}{FILE_SUFFIX}");
        let is_set =
            self.environment.get(name).is_some() || self.environment.get(&file_name).is_some();
        if !is_set {
            self.problems.add(at.key(key), format!("{name} is not set"));
        }
        self.variable(name).map(|(_, text)| Secret::new(text))
    }

    fn event(&mut self, at: &At, entries: Vec<Entry>) {
        let read: EventEntry = self.entry(at, EVENT, entries);
        self.needed(at, "topic");
        if read.subject.is_some() {
            self.warnings
                .add(at.key("subject"), "this version does not use it");
        }
        let schema = read.schema.and_then(|path| self.schema(at, &path));
        let Some(topic) = read.topic else { return };
        self.origins.insert(format!("event {topic}"), at.entry());
        self.config.events.declared.push(EventDeclaration {
            topic,
            name: read.name,
            owner: read.owner,
            key: read.key,
            subject: read.subject,
            schema,
        });
    }

    /// Compiles the schema in a file.
    fn schema(&mut self, at: &At, path: &Path) -> Option<Schema> {
        let name = path.display();
        let compiled = match read_text(&self.file_dir().join(path)) {
            Err(error) => Err(format!("{name} cannot be read: {error}")),
            Ok(text) => serde_json::from_str(&text)
                .map_err(|error| format!("{name} is not JSON: {error}"))
                .and_then(|schema| {
                    Schema::compile(&schema)
                        .map_err(|error| format!("{name}: {}", crate::chain(&error)))
                }),
        };
        compiled
            .map_err(|what| self.problems.add(at.key("schema"), what))
            .ok()
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
