//! The lists of the file, entry by entry: tokens and declared events here, the others in files of their own.

use std::{collections::BTreeMap, path::Path};

use nexus_auth::{Secret, TokenValue};
use nexus_core::Scopes;
use nexus_expr::Schema;

use super::{
    entries::{EVENT, EventEntry, TOKEN, TokenEntry},
    foreign::Written,
    given::{Entry, Given},
    load::{FILE_SUFFIX, Loader, read_text, unknown},
    sections::{EventDeclaration, Token},
    setting::Setting,
};

/// Where the members of one entry stand.
pub(super) struct At {
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

    /// The entry, for a schema that belongs to another crate.
    pub(super) fn written(&self, entries: Vec<Entry>) -> Written {
        let line = self.lines.values().min().copied().unwrap_or(1);
        Written::new(&self.file, &self.list, line, entries)
    }

    /// What stands in a member of the entry, for a schema that belongs to another crate.
    pub(super) fn written_member(&self, key: &str, line: usize, entries: Vec<Entry>) -> Written {
        let line = entries.iter().map(|entry| entry.line).min().unwrap_or(line);
        Written::new(&self.file, &format!("{}.{key}", self.list), line, entries)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.lines.contains_key(key)
    }

    /// The entry itself: the line of its first member.
    pub(super) fn entry(&self) -> String {
        match self.lines.values().min() {
            Some(line) => format!("{}:{line} {}", self.file, self.list),
            None => format!("{} {}", self.file, self.list),
        }
    }

    pub(super) fn key(&self, key: &str) -> String {
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
            self.lists.entry(key, &entries);
            match key {
                "nodes" => self.node(&at, entries),
                "tokens" => self.token(&at, entries),
                "reactors" | "reactors.rules" => self.rule(&at, entries),
                "endpoints" => self.endpoint(&at, entries),
                _ => self.event(&at, entries),
            }
        }
    }

    /// Reads the members of an entry; those that are wrong are noted.
    pub(super) fn entry<T: Default>(
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
    pub(super) fn keep_rights(&mut self, at: &At, key: &str, names: Option<&[String]>) {
        if let Some(names) = names {
            self.rights.push((at.key(key), names.to_vec()));
        }
    }

    /// Notes that a member is missing.
    pub(super) fn needed(&mut self, at: &At, key: &str) {
        if !at.has(key) {
            self.problems.add(at.entry(), format!("`{key}` is missing"));
        }
    }

    /// The secret in the variable that an entry names.
    pub(super) fn named_variable(&mut self, at: &At, key: &str, name: &str) -> Option<Secret> {
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
                .inspect(|_| self.lists.text("events", &text))
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
}
