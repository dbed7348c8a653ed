//! Who may use which tool: everybody every tool that they see, unless somebody said otherwise.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use nexus_core::{Change, Command, Family, Fence, Key, Log, Principal, sha256};
use serde::{Deserialize, Serialize};

use crate::{Error, ServerId};

const PERMISSION: Family = Family::new("tool_permission");
/// Of one user, and of all users together as one.
pub const PERMISSIONS_PER_USER_MAX: usize = 10_000;

/// What was said of one tool.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Rule {
    /// Whom it is for; nothing for all users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<Arc<str>>,
    pub(crate) server: Arc<str>,
    /// The tool as its server names it.
    pub(crate) tool: Arc<str>,
    pub(crate) allowed: bool,
    /// Whether an operator said it: then a user cannot take it back.
    pub(crate) by_operator: bool,
}

type Tools = HashMap<(ServerId, Arc<str>), Rule>;

#[derive(Debug, Default, Clone)]
struct Rules {
    of_user: HashMap<Arc<str>, Arc<Tools>>,
    of_all: Arc<Tools>,
}

/// All permissions, in memory as in the log.
#[derive(Debug)]
pub(crate) struct Permissions {
    rules: ArcSwap<Rules>,
    /// Goes up with each change.
    generation: AtomicU64,
    changing: tokio::sync::Mutex<()>,
}

impl Permissions {
    /// Reads what is kept.
    ///
    /// # Errors
    /// [`Error::Log`].
    pub(crate) async fn load(log: &Log) -> Result<Self, Error> {
        let mut rules = Rules::default();
        let mut pages = log.all_records(PERMISSION, None);
        while let Some(page) = pages.next().await? {
            for record in &page {
                match serde_json::from_slice(&record.body) {
                    Ok(rule) => rules.insert(rule),
                    Err(_) => {
                        tracing::warn!(record = %record.key, "a permission cannot be understood");
                    }
                }
            }
        }
        Ok(Self {
            rules: ArcSwap::from_pointee(rules),
            generation: AtomicU64::new(0),
            changing: tokio::sync::Mutex::default(),
        })
    }

    /// How often they have changed since this process began.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether anything was said of a user alone.
    pub(crate) fn has_own(&self, user: &str) -> bool {
        self.rules.load().of_user.contains_key(user)
    }

    /// Whether a user may use a tool: what an operator said of them counts, else what was said of all.
    pub(crate) fn allows(&self, user: Option<&str>, server: &ServerId, tool: &Arc<str>) -> bool {
        let rules = self.rules.load();
        let key = (server.clone(), tool.clone());
        let of_all = rules.of_all.get(&key).is_none_or(|rule| rule.allowed);
        match user.and_then(|user| rules.of_user.get(user)?.get(&key)) {
            Some(own) if own.by_operator => own.allowed,
            // What users say of themselves can only take away.
            Some(own) => own.allowed && of_all,
            None => of_all,
        }
    }

    /// What was said of a user; of all users for nobody.
    pub(crate) fn of(&self, user: Option<&str>) -> Vec<Rule> {
        let rules = self.rules.load();
        let tools = match user {
            Some(user) => rules.of_user.get(user),
            None => Some(&rules.of_all),
        };
        let mut all: Vec<Rule> = tools
            .into_iter()
            .flat_map(|tools| tools.values().cloned())
            .collect();
        all.sort_by(|one, other| (&one.server, &one.tool).cmp(&(&other.server, &other.tool)));
        all
    }

    /// Keeps what is said of a tool, then shows it.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when an operator has said otherwise and this is nobody of them,
    /// [`Error::TooMany`], [`Error::Log`].
    pub(crate) async fn set(&self, log: &Log, rule: Rule) -> Result<(), Error> {
        let _alone = self.changing.lock().await;
        let mut rules = Rules::clone(&self.rules.load());
        let tools = match &rule.user {
            Some(user) => rules.of_user.get(user).cloned().unwrap_or_default(),
            None => rules.of_all.clone(),
        };
        let key = rule.of();
        let said = |tools: &Tools| {
            tools
                .get(&key)
                .is_some_and(|rule| rule.by_operator && !rule.allowed)
        };
        if !rule.by_operator && rule.allowed && (said(&tools) || said(&rules.of_all)) {
            return Err(Error::Forbidden { who: "an operator" });
        }
        if tools.len() >= PERMISSIONS_PER_USER_MAX && !tools.contains_key(&key) {
            return Err(Error::TooMany {
                what: "permissions",
                limit: PERMISSIONS_PER_USER_MAX,
            });
        }
        let command = Command {
            changes: vec![rule.put()],
            ..Command::default()
        };
        log.submit(&Principal::nexus(), command).await?;
        rules.insert(rule);
        self.rules.store(Arc::new(rules));
        self.generation.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Forgets what was said of the tools of a server that is gone.
    ///
    /// # Errors
    /// [`Error::Log`].
    pub(crate) async fn forget_server(&self, log: &Log, server: &ServerId) -> Result<(), Error> {
        /// So many are forgotten in one commit.
        const AT_ONCE: usize = 500;
        let _alone = self.changing.lock().await;
        let mut rules = Rules::clone(&self.rules.load());
        let gone = rules.take_server(server.as_str());
        for some in gone.chunks(AT_ONCE) {
            let command = Command {
                changes: some.iter().map(|rule| Change::Delete(rule.key())).collect(),
                ..Command::default()
            };
            log.submit(&Principal::nexus(), command).await?;
        }
        self.rules.store(Arc::new(rules));
        self.generation.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}

impl Rules {
    fn insert(&mut self, rule: Rule) {
        let tools = match &rule.user {
            Some(user) => self.of_user.entry(user.clone()).or_default(),
            None => &mut self.of_all,
        };
        let key = rule.of();
        Arc::make_mut(tools).insert(key, rule);
    }

    /// Takes out everything that was said of a server's tools.
    fn take_server(&mut self, server: &str) -> Vec<Rule> {
        let mut taken = Vec::new();
        let all = self.of_user.values_mut().chain([&mut self.of_all]);
        for tools in all {
            if tools.keys().any(|(of, _)| of.as_str() == server) {
                let (gone, kept) = tools
                    .iter()
                    .map(|(key, rule)| (key.clone(), rule.clone()))
                    .partition::<Tools, _>(|((of, _), _)| of.as_str() == server);
                taken.extend(gone.into_values());
                *tools = Arc::new(kept);
            }
        }
        self.of_user.retain(|_, tools| !tools.is_empty());
        taken
    }
}

impl Rule {
    fn of(&self) -> (ServerId, Arc<str>) {
        (ServerId::new(self.server.clone()), self.tool.clone())
    }

    fn key(&self) -> Key {
        let user = self.user.as_deref();
        // The lengths keep apart what is together the same text.
        let name = format!(
            "{}:{}:{}:{}:{}",
            user.map_or(0, |user| user.len() + 1),
            user.unwrap_or_default(),
            self.server.len(),
            self.server,
            self.tool
        );
        Key::new(PERMISSION, HEXLOWER.encode(&sha256(name.as_bytes())[..16]))
    }

    fn put(&self) -> Change {
        Change::Put {
            key: self.key(),
            owner: self.user.clone(),
            scope: self.user.clone().unwrap_or_else(|| "".into()),
            state: "".into(),
            due_us: None,
            fence: Fence::Keep,
            // Texts and truth values always serialise.
            body: Bytes::from(serde_json::to_vec(self).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use nexus_core::Nexus;

    use super::*;

    fn rule(user: Option<&str>, allowed: bool, by_operator: bool) -> Rule {
        Rule {
            user: user.map(Into::into),
            server: "s".into(),
            tool: "t".into(),
            allowed,
            by_operator,
        }
    }

    #[tokio::test]
    async fn what_was_said_of_a_user_counts_more_and_operators_have_the_last_word() {
        let log = Nexus::in_memory().await.unwrap().log().clone();
        let permissions = Permissions::load(&log).await.unwrap();
        let (s, t) = (ServerId::new("s"), Arc::from("t"));
        let allows = |user| permissions.allows(Some(user), &s, &t);
        assert!(allows("ana") && permissions.allows(None, &s, &t));
        permissions
            .set(&log, rule(Some("ana"), false, false))
            .await
            .unwrap();
        assert!(!allows("ana") && allows("bob"));
        permissions
            .set(&log, rule(Some("ana"), true, false))
            .await
            .unwrap();
        assert!(allows("ana"));
        permissions
            .set(&log, rule(None, false, true))
            .await
            .unwrap();
        assert!(!allows("ana") && !allows("bob"), "nobody allows themselves");
        let refused = permissions.set(&log, rule(Some("bob"), true, false)).await;
        assert!(matches!(refused, Err(Error::Forbidden { .. })));
        permissions
            .set(&log, rule(Some("bob"), true, true))
            .await
            .unwrap();
        assert!(allows("bob"));

        let again = Permissions::load(&log).await.unwrap();
        assert!(again.allows(Some("bob"), &s, &t) && !again.allows(Some("eve"), &s, &t));
        assert_eq!(again.of(None).len(), 1);
        again.forget_server(&log, &s).await.unwrap();
        assert!(again.allows(Some("eve"), &s, &t) && !again.has_own("bob"));
        let last = Permissions::load(&log).await.unwrap();
        assert!(last.of(None).is_empty() && last.of(Some("bob")).is_empty());
    }
}
