//! Adding, changing and removing servers, and whether they may be used.

use std::sync::Arc;

use nexus_http::Fault;

use super::{
    Live, Registry,
    alias::derive,
    connection::Connection,
    input::{ServerInput, ServerPatch, TransportKind},
    record::Kept,
    settings::{self, Checked, Settings},
    system::SystemServer,
    view::ServerView,
};
use crate::{Caller, Error, OWN_ALIAS, ServerId};

/// What was secret for one place does not go along to another that somebody names later.
const SECRETS_OF_ANOTHER: &str =
    "must be given again, or be null, when the server is another: their values are secret";

/// A server that could be added.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Validated {
    /// What the names of its tools would begin with.
    pub alias: String,
    /// What would be told of where it leads.
    pub target: String,
}

impl Registry {
    /// Judges what is asked for as if it were to be added, and adds nothing.
    ///
    /// # Errors
    /// [`Error::InvalidServer`], [`Error::StdioClosed`], [`Error::Forbidden`].
    pub fn validate(&self, caller: &Caller, input: &ServerInput) -> Result<Validated, Error> {
        let (checked, owner) = self.admit(caller, input)?;
        Ok(Validated {
            alias: self.alias(&checked, owner.as_ref())?,
            target: checked.connection.target(),
        })
    }

    /// Adds a server for the caller, or for everybody when an operator says so.
    ///
    /// # Errors
    /// [`Error::InvalidServer`], [`Error::StdioClosed`], [`Error::Forbidden`], [`Error::TooMany`],
    /// [`Error::Vault`] when there is no key to seal its configuration with, and what the log and the hub say.
    pub async fn add(&self, caller: &Caller, input: &ServerInput) -> Result<ServerView, Error> {
        let (checked, owner) = self.admit(caller, input)?;
        let _turn = self.0.turn.lock().await;
        self.check_room(owner.as_ref())?;
        let alias = self.alias(&checked, owner.as_ref())?;
        let id: Arc<str> = self.0.ids.next().to_string().into();
        let now_us = self.now_us();
        let Checked {
            settings,
            connection,
            ..
        } = checked;
        let kept = Kept {
            settings,
            alias,
            owner,
            target: connection.target(),
            hints: connection.hints(),
            sealed_version: 1,
            seed: None,
            by_operator: caller.is_operator,
            created_us: now_us,
            changed_us: now_us,
        };
        let receipt = self.keep(&id, None, &kept, Some(&connection)).await?;
        let live = self.put(Live {
            id,
            kept,
            revision: receipt.revision,
            problem: None,
        });
        self.run(&live, &connection).await?;
        Ok(self.view(&live))
    }

    /// What is asked for, if the caller may ask for it, and whose it would be.
    fn admit(
        &self,
        caller: &Caller,
        input: &ServerInput,
    ) -> Result<(Checked, Option<Arc<str>>), Error> {
        let is_shared = input.shared == Some(true);
        if is_shared && !caller.is_operator {
            return Err(Error::Forbidden { who: "an operator" });
        }
        self.check_stdio(caller, input)?;
        let checked = self.check(caller, input)?;
        Ok((checked, (!is_shared).then(|| caller.user.clone())))
    }

    /// A program runs as Nexus does: users may have one started only where an operator said so.
    fn check_stdio(&self, caller: &Caller, input: &ServerInput) -> Result<(), Error> {
        let is_program = input.transport == Some(TransportKind::Stdio) || input.command.is_some();
        let may = caller.is_operator || self.0.options.stdio_users;
        match is_program && !may {
            true => Err(Error::StdioClosed),
            false => Ok(()),
        }
    }

    fn check_room(&self, owner: Option<&Arc<str>>) -> Result<(), Error> {
        let options = &self.0.options;
        let all = self.0.live.read();
        let of_owner = all
            .values()
            .filter(|live| live.kept.owner.as_ref() == owner);
        if owner.is_some() && of_owner.count() >= options.servers_per_user_max {
            return Err(Error::TooMany {
                what: "servers of yours",
                limit: options.servers_per_user_max,
            });
        }
        if all.len() >= options.servers_max {
            return Err(Error::TooMany {
                what: "servers",
                limit: options.servers_max,
            });
        }
        Ok(())
    }

    /// The alias of a server that is to be added: the one that was asked for, or one made of its name.
    fn alias(&self, checked: &Checked, owner: Option<&Arc<str>>) -> Result<String, Error> {
        let all = self.0.live.read();
        // A name is seen by its owner beside those of the system, and one of the system beside all others.
        let is_taken = |alias: &str| {
            let meets = |live: &Live| {
                let other = live.kept.owner.as_ref();
                owner.is_none() || other.is_none() || other == owner
            };
            alias == OWN_ALIAS
                || SystemServer::named(alias).is_some()
                || all
                    .values()
                    .any(|live| live.kept.alias == alias && meets(live))
        };
        let fault = |detail: &str| Error::InvalidServer {
            faults: vec![Fault::new("/alias", detail)],
        };
        match &checked.alias {
            Some(alias) if is_taken(alias.as_str()) => Err(fault("is that of another server")),
            Some(alias) => Ok(alias.to_string()),
            None => derive(&checked.settings.name, is_taken)
                .ok_or_else(|| fault("must be given: too many servers have this name")),
        }
    }

    /// Changes a server of which `seen` is the revision that the caller knows, if they know one.
    ///
    /// # Errors
    /// [`Error::UnknownServer`], [`Error::Forbidden`], [`Error::StaleServer`], [`Error::InvalidServer`],
    /// [`Error::SystemServer`], [`Error::StdioClosed`], and what the vault, the log and the hub say.
    pub async fn change(
        &self,
        caller: &Caller,
        id: &str,
        seen: Option<u64>,
        patch: ServerPatch,
    ) -> Result<ServerView, Error> {
        let _turn = self.0.turn.lock().await;
        let live = self.owned(caller, id)?;
        if seen.is_some_and(|seen| seen != live.revision) {
            return Err(Error::StaleServer);
        }
        if live.is_seed() {
            return self.change_system(&live, patch).await;
        }
        let before = self.unseal(&live).await;
        let mut input = live.kept.settings.input();
        if let Ok(before) = &before {
            before.fill(&mut input);
        }
        let is_transport_kept = input.transport;
        let changed = patch.apply(&mut input);
        if input.transport != is_transport_kept {
            forget_other_transport(&mut input, &changed);
        }
        let is_way_changed = changed.iter().any(|member| WAY.contains(member));
        // A program that somebody switched off is not started by a user where users may start none. An
        // operator who switches on what is on already opens one that is closed.
        let says_enabled = changed.contains(&"enabled") && caller.is_operator;
        let is_switched_on =
            input.enabled.unwrap_or(true) && (!live.kept.settings.enabled || says_enabled);
        if is_way_changed || is_switched_on {
            self.check_stdio(caller, &input)?;
        }
        // What was judged when it was kept is not judged again: an operator may have allowed it.
        let (settings, connection) = if is_way_changed {
            let checked = self.check(caller, &input)?;
            if let Ok(before) = &before {
                refuse_moved_secrets(before, &checked.connection, &changed)?;
            }
            (checked.settings, checked.connection)
        } else {
            let before = before?;
            (judged(&input, before.kind())?, before)
        };
        let mut kept = Kept {
            settings,
            changed_us: self.now_us(),
            ..live.kept.clone()
        };
        if is_way_changed || is_switched_on {
            kept.by_operator = caller.is_operator;
        }
        if is_way_changed {
            kept.sealed_version += 1;
            kept.target = connection.target();
            kept.hints = connection.hints();
        }
        let sealed = is_way_changed.then_some(&connection);
        let receipt = self.keep(id, Some(live.revision), &kept, sealed).await?;
        let live = self.put(Live {
            id: live.id.clone(),
            kept,
            revision: receipt.revision,
            problem: None,
        });
        self.run(&live, &connection).await?;
        Ok(self.view(&live))
    }

    /// Switches a system server on or off, or limits it.
    async fn change_system(&self, live: &Live, patch: ServerPatch) -> Result<ServerView, Error> {
        let mut input = ServerInput::default();
        let changed = patch.apply(&mut input);
        let is_allowed = |member: &&str| matches!(*member, "enabled" | "rate_limit_per_minute");
        if !changed.iter().all(is_allowed) {
            return Err(Error::SystemServer);
        }
        let Some(server) = SystemServer::named(&live.id) else {
            return Err(Error::SystemServer);
        };
        let options = &self.0.options;
        let connection = server.connection(&options.system);
        if input.enabled == Some(true) && connection.is_none() {
            let what = server.needs.unwrap_or("its key");
            return Err(Error::NeedsKey { what });
        }
        judged_rate(&input)?;
        let mut said = live.kept.clone();
        if let Some(seed) = &mut said.seed {
            for member in &changed {
                match *member {
                    "enabled" => seed.enabled = input.enabled,
                    _ => seed.rate_limit_per_minute = input.rate_limit_per_minute,
                }
            }
        }
        said.changed_us = self.now_us();
        let kept = server.kept(options, Some(&said), self.now_us());
        let receipt = self
            .keep(&live.id, Some(live.revision), &kept, None)
            .await?;
        let live = self.put(Live {
            id: live.id.clone(),
            kept,
            revision: receipt.revision,
            problem: None,
        });
        if let Some(connection) = connection {
            self.run(&live, &connection).await?;
        }
        Ok(self.view(&live))
    }

    /// Removes a server, with its configuration, its tools and what is known of them.
    ///
    /// # Errors
    /// [`Error::UnknownServer`], [`Error::Forbidden`], [`Error::StaleServer`], [`Error::SystemServer`], and
    /// what the log and the hub say.
    pub async fn remove(&self, caller: &Caller, id: &str, seen: Option<u64>) -> Result<(), Error> {
        let _turn = self.0.turn.lock().await;
        let live = self.owned(caller, id)?;
        if live.is_seed() {
            return Err(Error::SystemServer);
        }
        if seen.is_some_and(|seen| seen != live.revision) {
            return Err(Error::StaleServer);
        }
        self.forget(&live).await?;
        self.0.live.write().remove(id);
        self.hub()
            .remove_server(&ServerId::new(live.id.clone()))
            .await
    }
}

/// The members that say how a server is reached.
const WAY: [&str; 6] = ["transport", "url", "headers", "command", "args", "env"];

/// A server that is reached in another way from now on loses what belonged to the old one and was not said
/// anew.
fn forget_other_transport(input: &mut ServerInput, changed: &[&str]) {
    let is_stale = |member: &str| !changed.contains(&member);
    match input.transport {
        Some(TransportKind::Http) => {
            if is_stale("command") {
                input.command = None;
            }
            if is_stale("args") {
                input.args = None;
            }
            if is_stale("env") {
                input.env = None;
            }
        }
        _ => {
            if is_stale("url") {
                input.url = None;
            }
            if is_stale("headers") {
                input.headers = None;
            }
        }
    }
}

fn refuse_moved_secrets(
    before: &Connection,
    now: &Connection,
    changed: &[&str],
) -> Result<(), Error> {
    let member = now.secret_member();
    let would_go_along = now.has_secrets() && !changed.contains(&member);
    if would_go_along && now.leads_elsewhere(before) {
        let faults = vec![Fault::new(format!("/{member}"), SECRETS_OF_ANOTHER)];
        return Err(Error::InvalidServer { faults });
    }
    Ok(())
}

/// All but the way to the server, which stays.
fn judged(input: &ServerInput, transport: TransportKind) -> Result<Settings, Error> {
    let mut faults = Vec::new();
    let settings = settings::check_settings(input, transport, &mut faults);
    match settings {
        Some(settings) if faults.is_empty() => Ok(settings),
        _ => Err(Error::InvalidServer { faults }),
    }
}

/// The limit of a system server, of which nothing else can be said.
fn judged_rate(input: &ServerInput) -> Result<(), Error> {
    let named = ServerInput {
        name: Some("system".into()),
        ..input.clone()
    };
    judged(&named, TransportKind::Http).map(|_| ())
}
