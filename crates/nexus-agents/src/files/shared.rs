//! A file that others rewrite too, in place and at any time: read again before every write, and never written
//! over what was not read.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    time::Duration,
};

use nexus_core::{Clock, iso8601};
use tokio::time::Instant;

use crate::{
    Error,
    files::disk::{Disk, Found, Stamp, Time},
};

/// The largest file that is read.
pub(crate) const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A file that does not parse is being written by somebody; after so long it is broken.
pub(crate) const BROKEN_AFTER: Duration = Duration::from_secs(2);
/// Somebody who opened a file before it was replaced writes to what was there; so long it is looked at.
const REPLACED_WATCHED: Duration = Duration::from_secs(2);
/// At most so many versions that were replaced are looked at; the oldest go.
const REPLACED_KEPT: usize = 16;
/// Others may write while this is being written so many times in a row, before they are waited for.
const TRIES_MAX: usize = 5;
/// At most so many broken files are kept of one file.
const BROKEN_KEPT: usize = 20;

/// A file that others rewrite too.
#[derive(Debug)]
pub(crate) struct SharedFile {
    path: PathBuf,
    /// How it was when it was last looked at.
    seen: Option<Stamp>,
    /// It is looked at once more: a time of a file is too coarse to tell two writes in a row apart.
    is_looked_at_again: bool,
    /// As it last could be read. Who finds it broken goes on from there.
    last: Option<String>,
    broken_since: Option<Instant>,
    /// When others last wrote it, as far as that was seen.
    others_wrote: Option<Time>,
    /// The oldest first.
    replaced: VecDeque<Replaced>,
}

/// What was there before it was replaced, in which somebody may still be writing.
#[derive(Debug)]
struct Replaced {
    found: Found,
    until: Instant,
}

/// How a file is changed.
pub(crate) enum Edit {
    /// It cannot be understood.
    Broken,
    /// It is as it should be.
    Same,
    /// It becomes this.
    Text(String),
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The file is as it should be.
    Settled,
    /// Others are writing it: it is tried again soon.
    Later,
}

impl SharedFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            seen: None,
            is_looked_at_again: true,
            last: None,
            broken_since: None,
            others_wrote: None,
            replaced: VecDeque::new(),
        }
    }

    /// What stands in the file now.
    pub(crate) fn text(&self, disk: &Disk) -> Result<String, Error> {
        let found = self.read(disk)?;
        let text = found.as_ref().map_or("{}", |found| text_of(&found.bytes));
        Ok(text.to_owned())
    }

    /// Whether somebody else wrote it since it was last looked at, or may have.
    pub(crate) fn is_changed(&mut self, disk: &Disk, now: Instant) -> Result<bool, Error> {
        let stamp = disk.stamp(&self.path).map_err(|error| self.fail(error))?;
        if stamp != self.seen {
            return Ok(true);
        }
        if std::mem::take(&mut self.is_looked_at_again)
            && self.last.as_deref() != Some(self.text(disk)?.as_str())
        {
            return Ok(true);
        }
        self.replaced.retain(|replaced| replaced.until > now);
        Ok(self.late(disk).is_some() || self.broken_since.is_some())
    }

    /// What was there before, if somebody wrote to it after everything that others wrote under its name.
    fn late(&self, disk: &Disk) -> Option<usize> {
        // What somebody wrote since under its name is looked at first.
        if disk.stamp(&self.path).ok().flatten() != self.seen {
            return None;
        }
        let stamps = self.replaced.iter().enumerate().filter_map(|(n, it)| {
            let now = Stamp::of(&it.found.file).ok()?;
            (now != it.found.stamp && Some(now.modified) >= self.others_wrote)
                .then_some((now.modified, n))
        });
        stamps.max().map(|(_, n)| n)
    }

    /// Changes the file as `edit` says of what stands in it; `edit` is told whether that is kept elsewhere, so
    /// that it may go.
    pub(crate) fn change(
        &mut self,
        disk: &Disk,
        clock: &Clock,
        now: Instant,
        mut edit: impl FnMut(&str, bool) -> Edit,
    ) -> Result<Outcome, Error> {
        if let Some(late) = self.late(disk) {
            return self.take_late(late, disk, now, edit);
        }
        for _ in 0..TRIES_MAX {
            let found = self.read(disk)?;
            self.look(found.as_ref());
            let text = found.as_ref().map_or("{}", |found| text_of(&found.bytes));
            let new = match edit(text, false) {
                Edit::Broken if !self.is_broken(now) => return Ok(Outcome::Later),
                Edit::Broken => {
                    self.keep_broken(disk, clock)?;
                    self.mend(text, &mut edit)
                }
                Edit::Text(new) => new,
                Edit::Same => {
                    self.broken_since = None;
                    self.last = Some(text.to_owned());
                    return Ok(Outcome::Settled);
                }
            };
            self.broken_since = None;
            let again = self.read(disk)?;
            if again.as_ref().map(|again| &again.bytes) != found.as_ref().map(|found| &found.bytes)
            {
                continue;
            }
            self.replace(disk, new, again, now)?;
            return Ok(Outcome::Settled);
        }
        Ok(Outcome::Later)
    }

    /// What a broken file becomes: what can be kept of it, else what it was before, else new.
    fn mend(&self, text: &str, edit: &mut impl FnMut(&str, bool) -> Edit) -> String {
        for found in [text, self.last.as_deref().unwrap_or("{}"), "{}"] {
            match edit(found, true) {
                Edit::Text(new) => return new,
                Edit::Same => return found.to_owned(),
                Edit::Broken => {}
            }
        }
        "{}".to_owned()
    }

    /// Somebody wrote to what was replaced, and does not know: what they wrote is put back, with ours in it.
    fn take_late(
        &mut self,
        late: usize,
        disk: &Disk,
        now: Instant,
        mut edit: impl FnMut(&str, bool) -> Edit,
    ) -> Result<Outcome, Error> {
        let read = Disk::read_open(&mut self.replaced[late].found.file, FILE_BYTES_MAX);
        let (stamp, bytes) = read.map_err(|error| self.fail(error))?;
        let text = text_of(&bytes);
        let new = match edit(text, false) {
            Edit::Text(new) => new,
            Edit::Same => text.to_owned(),
            // They are not done; what they leave broken is given up in time, and what replaced it stays.
            Edit::Broken => return Ok(Outcome::Later),
        };
        let found = self.read(disk)?;
        if found.as_ref().map(|found| found.stamp) != self.seen {
            return Ok(Outcome::Later);
        }
        // It counts once, however often it is looked at.
        self.replaced[late].found.stamp = stamp;
        self.others_wrote = Some(stamp.modified);
        self.replace(disk, new, found, now)?;
        Ok(Outcome::Settled)
    }

    fn replace(
        &mut self,
        disk: &Disk,
        new: String,
        found: Option<Found>,
        now: Instant,
    ) -> Result<(), Error> {
        let replaced = disk.replace(&self.path, new.as_bytes());
        self.seen = Some(replaced.map_err(|error| self.fail(error))?);
        self.last = Some(new);
        self.is_looked_at_again = true;
        let until = now + REPLACED_WATCHED;
        if self.replaced.len() == REPLACED_KEPT {
            self.replaced.pop_front();
        }
        self.replaced
            .extend(found.map(|found| Replaced { found, until }));
        Ok(())
    }

    fn read(&self, disk: &Disk) -> Result<Option<Found>, Error> {
        let found = disk.read(&self.path, FILE_BYTES_MAX);
        found.map_err(|error| self.fail(error))
    }

    fn look(&mut self, found: Option<&Found>) {
        let stamp = found.map(|found| found.stamp);
        self.is_looked_at_again = stamp != self.seen;
        if stamp != self.seen {
            self.others_wrote = stamp.map(|stamp| stamp.modified);
        }
        self.seen = stamp;
    }

    /// Whether the file is broken for so long that nobody can be writing it.
    fn is_broken(&mut self, now: Instant) -> bool {
        let since = *self.broken_since.get_or_insert(now);
        now.saturating_duration_since(since) >= BROKEN_AFTER
    }

    /// Keeps a copy of the file as it is, under a name that tells when.
    fn keep_broken(&self, disk: &Disk, clock: &Clock) -> Result<(), Error> {
        let time: String = iso8601(clock.now_us())
            .chars()
            .map(|c| if c == ':' { '-' } else { c })
            .collect();
        let mut kept = self.path.clone().into_os_string();
        kept.push(format!(".broken-{time}"));
        let kept = PathBuf::from(kept);
        let copied = disk.copy(&self.path, &kept);
        copied.map_err(|error| self.fail(error))?;
        tracing::warn!(
            file = %self.path.display(), copy = %kept.display(),
            "a file that others write too cannot be read; it was copied, and is written anew"
        );
        self.prune_broken(disk)
    }

    /// Somebody who breaks it again and again does not fill the disk.
    fn prune_broken(&self, disk: &Disk) -> Result<(), Error> {
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Ok(());
        };
        let begin = format!("{}.broken-", name.to_string_lossy());
        let listed = std::fs::read_dir(folder).map_err(|error| self.fail(error))?;
        let mut kept: Vec<PathBuf> = listed
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| is_called(path, &begin))
            .collect();
        kept.sort();
        let surplus = kept.len().saturating_sub(BROKEN_KEPT);
        for path in &kept[..surplus] {
            disk.remove(path).map_err(|error| self.fail(error))?;
        }
        Ok(())
    }

    fn fail(&self, source: std::io::Error) -> Error {
        Error::File {
            path: self.path.clone(),
            source,
        }
    }
}

fn is_called(path: &Path, begin: &str) -> bool {
    let name = path.file_name();
    name.is_some_and(|name| name.to_string_lossy().starts_with(begin))
}

/// The text of a file; nothing of one that is no text, and so does not parse.
fn text_of(bytes: &[u8]) -> &str {
    const BYTE_ORDER_MARK: char = '\u{feff}';
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

#[cfg(test)]
mod tests;
