//! Asking servers now: what they offer, and whether they are there.

use serde::Serialize;

use super::{Live, Registry, view::ServerView};
use crate::{Caller, Error, ServerId, SyncReport};

/// What came of asking servers what they offer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Synced {
    /// How many servers were asked.
    pub servers: usize,
    /// How many tools they offer that can be used.
    pub tools: usize,
    /// How many resources.
    pub resources: usize,
    /// How many templates of resources.
    pub templates: usize,
    /// How many prompts.
    pub prompts: usize,
    /// Tools that wait for somebody to look at them.
    pub waiting: usize,
    /// Servers that did not answer, by their ids. What they offered before is kept.
    pub failed: Vec<String>,
    /// Servers of which a list came empty although it had been full, by their ids. What they offered before is
    /// kept, unless they are asked again now and say the same.
    pub doubted: Vec<String>,
}

impl Registry {
    /// Asks a server what it offers; without a name, each that the caller may change and that is on.
    ///
    /// # Errors
    /// [`Error::UnknownServer`], [`Error::Forbidden`]; of a server that was named, [`Error::SwitchedOff`],
    /// [`Error::StdioClosed`], and how it failed.
    pub async fn sync(&self, caller: &Caller, id: Option<&str>) -> Result<Synced, Error> {
        let mut synced = Synced::default();
        if let Some(id) = id {
            let live = self.owned(caller, id)?;
            synced.add(&live, &self.sync_one(&live).await?);
            return Ok(synced);
        }
        let all: Vec<_> = self.0.live.read().values().cloned().collect();
        let may_sync = |live: &Live| live.may_be_changed_by(caller) && self.can_be_used(live);
        for live in all.iter().filter(|live| may_sync(live)) {
            match self.sync_one(live).await {
                Ok(report) => synced.add(live, &report),
                // One that does not answer keeps nobody from the others.
                Err(_) => synced.failed.push(live.id.to_string()),
            }
        }
        Ok(synced)
    }

    async fn sync_one(&self, live: &Live) -> Result<SyncReport, Error> {
        let server = ServerId::new(live.id.clone());
        if let Some(why) = live.problem.clone() {
            return Err(Error::BrokenServer { server, why });
        }
        if self.is_closed(live) {
            return Err(Error::StdioClosed);
        }
        // Asking a program would start it, whoever switched it off.
        if !live.kept.settings.enabled {
            return Err(Error::SwitchedOff { server });
        }
        self.hub().sync(&server).await
    }

    /// How a server is, asked now if the caller may have it asked.
    ///
    /// # Errors
    /// [`Error::UnknownServer`].
    pub async fn ask(&self, caller: &Caller, id: &str) -> Result<ServerView, Error> {
        let live = self.seen(caller, id)?;
        if live.may_be_changed_by(caller) && self.can_be_used(&live) {
            // How it ended is what it is then.
            let _ = self.hub().ping(&ServerId::new(live.id.clone())).await;
        }
        self.get(caller, id)
    }
}

impl Synced {
    fn add(&mut self, live: &Live, report: &SyncReport) {
        if !report.doubted.is_empty() {
            self.doubted.push(live.id.to_string());
        }
        let [tools, resources, templates, prompts] = report.counts;
        self.servers += 1;
        self.tools += tools;
        self.resources += resources;
        self.templates += templates;
        self.prompts += prompts;
        self.waiting += report.waiting;
    }
}
