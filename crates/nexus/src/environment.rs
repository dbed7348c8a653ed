//! The variables that Nexus reads: one documented constant each.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

/// The environment of a process as a plain value: only the daemon reads the real one.
///
/// A variable that is empty counts as not set, because orchestrators cannot always leave one out.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    folder: PathBuf,
}

impl Environment {
    /// The variables as the system gives them; what is not UTF-8 in them is replaced.
    #[must_use]
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let text = |text: OsString| text.to_string_lossy().into_owned();
        variables
            .into_iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    /// The same environment with another working folder than that of the process.
    #[must_use]
    pub fn in_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = folder.into();
        self
    }

    /// The working folder, against which relative names of files count; empty: that of the process.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The value of a variable that is set and not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    /// Every variable that is not empty, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .filter(|(_, text)| !text.is_empty())
    }

    /// Adds a variable unless it is set already.
    pub fn add(&mut self, name: &str, text: &str) {
        if self.get(name).is_none() {
            self.variables.insert(name.to_owned(), text.to_owned());
        }
    }
}

impl<N: Into<String>, T: Into<String>> FromIterator<(N, T)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, T)>>(variables: I) -> Self {
        let owned = |(name, text): (N, T)| (name.into(), text.into());
        Self {
            variables: variables.into_iter().map(owned).collect(),
            folder: PathBuf::new(),
        }
    }
}

impl fmt::Debug for Environment {
    /// Names only: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

/// A variable that Nexus reads.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name; `<…>` stands for a part that varies.
    pub name: &'static str,
    /// The setting that it sets, whose default and meaning are its own; or what it does.
    pub sets: Sets,
}

/// What a variable does.
#[derive(Debug, Clone, Copy)]
pub enum Sets {
    /// It sets the setting with this key.
    Setting(&'static str),
    /// It does what the sentence says.
    Special(&'static str),
}

const fn setting(name: &'static str, key: &'static str) -> Variable {
    Variable {
        name,
        sets: Sets::Setting(key),
    }
}

const fn special(name: &'static str, meaning: &'static str) -> Variable {
    Variable {
        name,
        sets: Sets::Special(meaning),
    }
}

/// What the process is for.
pub const NEXUS_ENV: Variable = setting("NEXUS_ENV", "environment");
/// The port to listen on.
pub const PORT: Variable = setting("PORT", "server.port");
/// The address to listen on.
pub const NEXUS_HOST: Variable = setting("NEXUS_HOST", "server.host");
/// Browser origins that may call.
pub const ALLOWED_ORIGINS: Variable = setting("ALLOWED_ORIGINS", "server.allowed_origins");
/// The secret of the default node.
pub const NEXUS_SECRET: Variable = setting("NEXUS_SECRET", "auth.secret");
/// An operator's token.
pub const NEXUS_ADMIN_TOKEN: Variable = setting("NEXUS_ADMIN_TOKEN", "auth.admin_token");
/// The key of the vault.
pub const VAULT_ENCRYPTION_KEY: Variable = setting("VAULT_ENCRYPTION_KEY", "vault.key");
/// The key of the vault before it.
pub const VAULT_PREVIOUS_ENCRYPTION_KEY: Variable =
    setting("VAULT_PREVIOUS_ENCRYPTION_KEY", "vault.previous_key");
/// The folder of everything that is kept.
pub const DATA_DIR: Variable = setting("DATA_DIR", "storage.data_dir");
/// The database.
pub const DATABASE_URL: Variable = setting("DATABASE_URL", "storage.database_url");
/// The least level that is logged.
pub const LOG_LEVEL: Variable = setting("LOG_LEVEL", "log.level");
/// How log lines are written.
pub const LOG_FORMAT: Variable = setting("LOG_FORMAT", "log.format");
/// The factory.
pub const FACTORY_API_URL: Variable = setting("FACTORY_API_URL", "reactors.factory_url");
/// The bearer key of the factory.
pub const FACTORY_API_KEY: Variable = setting("FACTORY_API_KEY", "reactors.factory_key");
/// The registry, which is also the node neobot.
pub const NEOBOT_API_URL: Variable = setting("NEOBOT_API_URL", "reactors.registry_url");
/// The bearer key of the registry.
pub const NEOBOT_API_KEY: Variable = setting("NEOBOT_API_KEY", "reactors.registry_key");
/// Where alerts are sent.
pub const DISCORD_WEBHOOK_URL: Variable = setting("DISCORD_WEBHOOK_URL", "alerts.url");
/// The port of the face for agents.
pub const AGENTS_PORT: Variable = setting("AGENTS_PORT", "agents.port");
/// The folder of the files of sessions.
pub const COORDINATION_PATH: Variable = setting("COORDINATION_PATH", "agents.coordination_path");
/// The registry that services register with.
pub const REGISTRY_URL: Variable = setting("REGISTRY_URL", "agents.registry_url");
/// The chat that is told of events.
pub const CHAT_URL: Variable = setting("CHAT_URL", "agents.chat_url");

/// The key of users' JSON Web Tokens.
pub const JWT_SECRET: Variable = setting("JWT_SECRET", "auth.jwt_secret");
/// Where the keys of an identity provider are.
pub const JWKS_URL: Variable = setting("JWKS_URL", "auth.jwks_url");
/// Who must have made a JSON Web Token.
pub const JWT_ISSUER: Variable = setting("JWT_ISSUER", "auth.jwt_issuer");
/// For whom a JSON Web Token must have been made.
pub const JWT_AUDIENCE: Variable = setting("JWT_AUDIENCE", "auth.jwt_audience");
/// The key of Brave Search.
pub const BRAVE_API_KEY: Variable = setting("BRAVE_API_KEY", "hub.brave_key");
/// The key of Google Maps.
pub const GOOGLE_MAPS_API_KEY: Variable = setting("GOOGLE_MAPS_API_KEY", "hub.maps_key");
/// The token for GitHub.
pub const GITHUB_TOKEN: Variable = setting("GITHUB_TOKEN", "hub.github_token");
/// Where programs are found.
pub const PATH: Variable = setting("PATH", "hub.stdio_path");

/// The secret of a node.
pub const NODE_SECRET: Variable = special(
    "NEXUS_NODE_<ID>_SECRET",
    "A secret of the node `<ID>`, in capitals and with `_` for `-`: `NEXUS_NODE_SMART_FACTORY_SECRET`. It makes the \
     node when the file does not have it, and then the default node keeps its rights.",
);
/// The secret of flowpay, as its documents call it.
pub const FLOWPAY_WEBHOOK_SECRET: Variable = special(
    "FLOWPAY_WEBHOOK_SECRET",
    "The same as `NEXUS_NODE_FLOWPAY_SECRET`.",
);
/// Where a node is called.
pub const NODE_API_URL: Variable = special(
    "<NODE>_API_URL",
    "Where the node is called when neither its entry nor the registry says it: `FLOWPAY_API_URL`, \
     `NEOBOT_API_URL`. Read for nodes that own an event, for neobot and for those that are configured.",
);
/// Any setting.
pub const ANY_SETTING: Variable = special(
    "NEXUS__<SECTION>__<KEY>",
    "Any setting below: `NEXUS__LIMITS__BODY_BYTES=65536`. Lists are separated by commas.",
);
/// Any variable from a file.
pub const ANY_FILE: Variable = special(
    "<VARIABLE>_FILE",
    "Reads any of these variables from the file that is named, without the line end: `NEXUS_SECRET_FILE`.",
);

/// Every variable, in the order of the reference.
pub const VARIABLES: [&Variable; 34] = [
    &NEXUS_ENV,
    &PORT,
    &NEXUS_HOST,
    &AGENTS_PORT,
    &ALLOWED_ORIGINS,
    &NEXUS_SECRET,
    &NEXUS_ADMIN_TOKEN,
    &NODE_SECRET,
    &FLOWPAY_WEBHOOK_SECRET,
    &VAULT_ENCRYPTION_KEY,
    &VAULT_PREVIOUS_ENCRYPTION_KEY,
    &JWT_SECRET,
    &JWKS_URL,
    &JWT_ISSUER,
    &JWT_AUDIENCE,
    &DATA_DIR,
    &DATABASE_URL,
    &LOG_LEVEL,
    &LOG_FORMAT,
    &FACTORY_API_URL,
    &FACTORY_API_KEY,
    &NEOBOT_API_URL,
    &NEOBOT_API_KEY,
    &NODE_API_URL,
    &DISCORD_WEBHOOK_URL,
    &COORDINATION_PATH,
    &REGISTRY_URL,
    &CHAT_URL,
    &BRAVE_API_KEY,
    &GOOGLE_MAPS_API_KEY,
    &GITHUB_TOKEN,
    &PATH,
    &ANY_SETTING,
    &ANY_FILE,
];

/// Variables that other versions of Nexus read and this one does not: set, they are a warning, so that
/// nobody trusts in what is not there.
pub const NOT_YET: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "REDIS_URL"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_not_set_and_the_first_value_wins() {
        let mut environment = Environment::from_iter([("PORT", ""), ("NEXUS_HOST", "::1")]);
        assert_eq!(environment.get("PORT"), None);
        environment.add("PORT", "1");
        environment.add("PORT", "2");
        environment.add("NEXUS_HOST", "::2");
        let all: Vec<_> = environment.iter().collect();
        assert_eq!(all, [("NEXUS_HOST", "::1"), ("PORT", "1")]);
    }

    #[test]
    fn values_are_not_printed() {
        let environment = Environment::from_iter([("NEXUS_SECRET", "hunter2")]);
        assert_eq!(format!("{environment:?}"), r#"{"NEXUS_SECRET"}"#);
    }
}
