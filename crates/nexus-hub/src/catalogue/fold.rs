//! What a list means for what is known: decided here alone, without asking or writing anything.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use nexus_core::Json;

use crate::{
    Error,
    catalogue::{
        ServerCatalogue,
        entry::{Entry, ItemKind, Offered, Pending, Standing, damaged},
        fetch::Fetched,
        review::{self, Finding, Verdict},
        server::{HubServer, Review},
    },
    fingerprint::Fingerprint,
    names,
    router::search,
};

/// A list of a server, and how it differs from before.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    /// The whole list, with what is gone.
    pub(crate) entries: Vec<Arc<Entry>>,
    /// Those that are not as they were; to be kept.
    pub(crate) changed: Vec<Arc<Entry>>,
    /// Those that are gone so long, or so many, that even their names are forgotten.
    pub(crate) forgotten: Vec<Arc<Entry>>,
    /// Tools that wait for somebody to look at them, since now.
    pub(crate) waiting: Vec<(Arc<Entry>, Vec<Finding>)>,
    /// Whether what is shown is other than before.
    pub(crate) is_other: bool,
}

/// Folds a list into what is known of its server.
///
/// `taken` are names that may not be given to anything new.
///
/// # Errors
/// [`Error::Damaged`].
pub(crate) fn fold(
    known: &ServerCatalogue,
    kind: ItemKind,
    fetched: Fetched,
    taken: &HashSet<Arc<str>>,
    gone_max: usize,
) -> Result<Folded, Error> {
    if kind.is_named() {
        fold_named(known, kind, fetched, taken, gone_max)
    } else {
        fold_plain(known, kind, fetched)
    }
}

/// Resources and templates: nothing hangs on one of them, so the list is what it is now.
fn fold_plain(known: &ServerCatalogue, kind: ItemKind, fetched: Fetched) -> Result<Folded, Error> {
    let mut old: HashMap<&str, &Arc<Entry>> = by_original(known, kind);
    let mut folded = Folded::default();
    for offered in fetched.offered {
        let same = old.remove(&*offered.original);
        let entry = match same.filter(|same| same.text == offered.text) {
            Some(same) => same.clone(),
            None => {
                folded.is_other = true;
                let exposed = offered.original.clone();
                let entry = Entry::new(&known.server, kind, exposed, offered, Standing::APPROVED)?;
                Arc::new(entry)
            }
        };
        folded.entries.push(entry);
    }
    if fetched.is_cut {
        folded.entries.extend(old.into_values().cloned());
    } else {
        folded.is_other |= !old.is_empty();
    }
    Ok(folded)
}

fn by_original(known: &ServerCatalogue, kind: ItemKind) -> HashMap<&str, &Arc<Entry>> {
    let entries = known.list(kind).iter();
    entries.map(|entry| (&*entry.original, entry)).collect()
}

fn fold_named(
    known: &ServerCatalogue,
    kind: ItemKind,
    fetched: Fetched,
    taken: &HashSet<Arc<str>>,
    gone_max: usize,
) -> Result<Folded, Error> {
    let server = &known.server;
    // A server that was reached before and had nothing then has something new now.
    let is_first = known.known.is_none() && known.list(kind).is_empty();
    let mut old = by_original(known, kind);
    let mut folded = Folded::default();
    let mut new = Vec::new();
    for offered in fetched.offered {
        match old.remove(&*offered.original) {
            Some(before) => folded.take_again(server, before, &offered)?,
            None => new.push(offered),
        }
    }
    let originals: Vec<&str> = new.iter().map(|offered| &*offered.original).collect();
    let own: HashSet<&str> = known
        .list(kind)
        .iter()
        .map(|entry| &*entry.exposed)
        .collect();
    let names = names::assign(&server.alias, &server.id, &originals, |name| {
        own.contains(name) || taken.contains(name) || search::is_own_name(name)
    });
    for (offered, name) in new.into_iter().zip(names) {
        folded.take_new(server, kind, name, offered, is_first)?;
    }
    for before in old.into_values() {
        folded.miss(before, fetched.is_cut);
    }
    folded.forget(gone_max);
    Ok(folded)
}

impl Folded {
    /// Something that was known before.
    fn take_again(
        &mut self,
        server: &HubServer,
        before: &Arc<Entry>,
        offered: &Offered,
    ) -> Result<(), Error> {
        let standing = &before.standing;
        if standing.is_listed && standing.pending.is_none() && before.text == offered.text {
            self.entries.push(before.clone());
            return Ok(());
        }
        let verdict = if server.review == Review::Nothing {
            Verdict::Take
        } else if before.kind == ItemKind::Tool && standing.is_approved {
            let approved = Json::parse(&before.text).map_err(|_| damaged(&before.original))?;
            let now = Json::parse(&offered.text).map_err(|_| damaged(&offered.original))?;
            review::compare(&approved, &now)
        } else if before.kind == ItemKind::Tool {
            Verdict::Hide(found_in(offered)?)
        } else {
            Verdict::Take
        };
        let (text, now) = match verdict {
            Verdict::Same | Verdict::Take => (offered.text.clone(), Standing::APPROVED),
            Verdict::Keep(findings) => (
                before.text.clone(),
                Standing {
                    pending: Some(pending(offered, findings)?),
                    ..Standing::APPROVED
                },
            ),
            Verdict::Hide(findings) => {
                let text = if standing.is_approved {
                    &before.text
                } else {
                    &offered.text
                };
                let now = Standing {
                    is_listed: true,
                    is_approved: standing.is_approved,
                    is_waiting: true,
                    pending: Some(pending(offered, findings)?),
                };
                (text.clone(), now)
            }
        };
        let seen = standing.pending.as_ref().map(|pending| pending.fingerprint);
        let is_news = now.is_waiting && now.pending.as_ref().map(|now| now.fingerprint) != seen;
        let offered = Offered {
            original: before.original.clone(),
            text,
        };
        let exposed = before.exposed.clone();
        let entry = Arc::new(Entry::new(server, before.kind, exposed, offered, now)?);
        if is_news {
            self.wait(&entry);
        }
        let is_same = entry.text == before.text
            && entry.standing.is_listed == standing.is_listed
            && entry.standing.is_waiting == standing.is_waiting;
        self.is_other |= !is_same;
        let pending_text = |entry: &Entry| entry.standing.pending.as_ref().map(|p| p.text.clone());
        if is_same && pending_text(&entry) == pending_text(before) {
            self.entries.push(before.clone());
        } else {
            self.changed.push(entry.clone());
            self.entries.push(entry);
        }
        Ok(())
    }

    /// Something that was never there.
    fn take_new(
        &mut self,
        server: &HubServer,
        kind: ItemKind,
        name: Arc<str>,
        offered: Offered,
        is_first: bool,
    ) -> Result<(), Error> {
        let standing = if kind == ItemKind::Tool && server.review != Review::Nothing {
            let found = found_in(&offered)?;
            let is_trusted = match server.review {
                Review::Nothing | Review::Changes => true,
                Review::ChangesAndNew => is_first,
                Review::Everything => false,
            };
            if is_trusted && found == [Finding::New] {
                Standing::APPROVED
            } else {
                Standing {
                    is_listed: true,
                    is_approved: false,
                    is_waiting: true,
                    pending: Some(pending(&offered, found)?),
                }
            }
        } else {
            Standing::APPROVED
        };
        let entry = Arc::new(Entry::new(server, kind, name, offered, standing)?);
        if entry.standing.is_waiting {
            self.wait(&entry);
        }
        self.is_other = true;
        self.changed.push(entry.clone());
        self.entries.push(entry);
        Ok(())
    }

    /// Something that is not in the list any more.
    fn miss(&mut self, before: &Arc<Entry>, is_cut: bool) {
        if is_cut || !before.standing.is_listed {
            self.entries.push(before.clone());
            return;
        }
        let mut gone = Entry::clone(before);
        gone.standing.is_listed = false;
        let gone = Arc::new(gone);
        self.is_other = true;
        self.changed.push(gone.clone());
        self.entries.push(gone);
    }

    fn wait(&mut self, entry: &Arc<Entry>) {
        let pending = entry.standing.pending.as_ref();
        let findings = pending.map(|pending| pending.findings.clone());
        self.waiting
            .push((entry.clone(), findings.unwrap_or_default()));
    }

    /// Of what is gone only so much is remembered; first those are forgotten that were gone before.
    fn forget(&mut self, gone_max: usize) {
        let is_gone = |entry: &Entry| !entry.standing.is_listed;
        let mut excess = self
            .entries
            .iter()
            .filter(|entry| is_gone(entry))
            .count()
            .saturating_sub(gone_max);
        if excess == 0 {
            return;
        }
        let just_now: HashSet<Arc<str>> = self
            .changed
            .iter()
            .map(|entry| entry.exposed.clone())
            .collect();
        for only_older in [true, false] {
            let (kept, dropped): (Vec<_>, Vec<_>) = std::mem::take(&mut self.entries)
                .into_iter()
                .partition(|entry| {
                    let goes = excess > 0
                        && is_gone(entry)
                        && !(only_older && just_now.contains(&entry.exposed));
                    excess -= usize::from(goes);
                    !goes
                });
            self.entries = kept;
            self.forgotten.extend(dropped);
        }
        let forgotten: HashSet<&str> = self.forgotten.iter().map(|entry| &*entry.exposed).collect();
        self.changed
            .retain(|entry| !forgotten.contains(&*entry.exposed));
    }
}

fn found_in(offered: &Offered) -> Result<Vec<Finding>, Error> {
    let json = Json::parse(&offered.text).map_err(|_| damaged(&offered.original))?;
    let mut found = vec![Finding::New];
    found.extend(review::suspicious(&json));
    Ok(found)
}

fn pending(offered: &Offered, findings: Vec<Finding>) -> Result<Pending, Error> {
    let json = Json::parse(&offered.text).map_err(|_| damaged(&offered.original))?;
    Ok(Pending {
        fingerprint: Fingerprint::of(&json),
        text: offered.text.clone(),
        findings,
    })
}

#[cfg(test)]
mod tests;
