//! What variables of the environment set, directly or through a file.

use super::{
    given::Given,
    load::{FILE_SUFFIX, LISTS, Loader, read_secret, unknown},
    sections::AlertFormat,
    settings::SETTINGS,
};
use crate::environment::{self, Sets, VARIABLES};

/// What stands before any setting in the environment.
const SETTING_PREFIX: &str = "NEXUS__";

impl Loader {
    pub(super) fn setting_variables(&mut self) {
        let names: Vec<String> = self
            .environment
            .iter()
            .map(|(name, _)| name.to_owned())
            .filter(|name| name.starts_with(SETTING_PREFIX))
            .collect();
        for name in names {
            let key = |name: &str| {
                name[SETTING_PREFIX.len()..]
                    .to_lowercase()
                    .replace("__", ".")
            };
            let find = |key: &str| SETTINGS.iter().find(|setting| setting.key == key);
            let bare = name.strip_suffix(FILE_SUFFIX).unwrap_or(&name);
            let variable = if find(&key(&name)).is_none() && find(&key(bare)).is_some() {
                bare
            } else {
                &name
            };
            let written = key(variable);
            match find(&written) {
                Some(setting) => {
                    if let Some((place, text)) = self.variable(variable) {
                        self.set(setting, place, &Given::Raw(text));
                    }
                }
                None if LISTS
                    .iter()
                    .any(|list| written == *list || written.starts_with(&format!("{list}."))) =>
                {
                    self.problems
                        .add(name, "lists of entries are written in the file");
                }
                None => {
                    let known = SETTINGS.iter().map(|setting| setting.key);
                    let what = unknown("setting", &written, known);
                    self.problems.add(name, what);
                }
            }
        }
    }

    pub(super) fn named_variables(&mut self) {
        for variable in VARIABLES {
            let Sets::Setting(key) = variable.sets else {
                continue;
            };
            let setting = SETTINGS.iter().find(|setting| setting.key == key);
            if let Some(setting) = setting
                && let Some((place, text)) = self.variable(variable.name)
            {
                self.set(setting, place, &Given::Raw(text));
                let is_discord = variable.name == environment::DISCORD_WEBHOOK_URL.name;
                if is_discord && self.config.alerts.format == AlertFormat::Auto {
                    self.config.alerts.format = AlertFormat::Discord;
                }
            }
        }
    }

    /// The value of a variable, or of the file that `X_FILE` names, with the name to blame.
    pub(crate) fn variable(&mut self, name: &str) -> Option<(String, String)> {
        match self.look_up(name) {
            Ok(found) => found,
            Err((place, what)) => {
                if !self.problems.has(&place) {
                    self.problems.add(place, what);
                }
                None
            }
        }
    }

    /// As [`Loader::variable`]; an error is a place and what is wrong there.
    pub(crate) fn look_up(&self, name: &str) -> Result<Option<(String, String)>, (String, String)> {
        let file_name = format!("{name}{FILE_SUFFIX}");
        let direct = self.environment.get(name).map(str::to_owned);
        let Some(file) = self.environment.get(&file_name) else {
            return Ok(direct.map(|text| (name.to_owned(), text)));
        };
        if direct.is_some() {
            let what = format!("{name} is set too: only one of them can count");
            return Err((file_name, what));
        }
        match read_secret(&self.working_dir.join(file)) {
            Ok(text) => Ok(Some((file_name, text))),
            Err(error) => {
                let what = format!("the file {file:?} cannot be read: {error}");
                Err((file_name, what))
            }
        }
    }

    pub(crate) fn unknown_variables(&mut self) {
        let named = VARIABLES.iter().map(|variable| variable.name);
        let named: Vec<&str> = named.filter(|name| !name.contains('<')).collect();
        for (name, _) in self.environment.iter() {
            let bare = name.strip_suffix(FILE_SUFFIX).unwrap_or(name);
            if environment::NOT_YET.contains(&bare) {
                self.warnings.add(name, "this version does not use it");
            }
            let is_known = named.contains(&bare)
                || bare.starts_with(SETTING_PREFIX)
                || node_of_secret(bare).is_some()
                || bare.ends_with("_API_URL")
                || self.claimed.contains(bare);
            if bare.starts_with("NEXUS_") && !is_known {
                let what = unknown("variable", bare, named.iter().copied());
                self.warnings.add(name, what);
            }
        }
    }
}

/// The part of `NEXUS_NODE_<ID>_SECRET` that stands for the node.
pub(crate) fn node_of_secret(name: &str) -> Option<&str> {
    let (prefix, suffix) = environment::NODE_SECRET.name.split_once("<ID>")?;
    name.strip_prefix(prefix)?
        .strip_suffix(suffix)
        .filter(|node| !node.is_empty())
}

/// How a node's id is written in the name of a variable.
pub(crate) fn in_capitals(id: &str) -> String {
    id.to_uppercase().replace('-', "_")
}
