//! Old messages: which of their files go, so that no folder grows for ever.
//!
//! Counted and removed are the bus's own alone. What a session that is known has still to receive stays, however
//! much that is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nexus_core::Seq;

use crate::{
    Error, Handle, SessionId,
    files::{
        disk::{Disk, Found},
        folder::fail,
        name::{stem, stem_of},
        note::{BROADCAST, DIRECT, is_our_message},
    },
};

/// At most so many files of one folder are removed at once.
const REMOVED_AT_ONCE: usize = 10_000;
/// A message is at most this long: no event is longer.
const MESSAGE_BYTES_MAX: u64 = 2 << 20;

/// A folder with more files than may be kept in it.
#[derive(Debug)]
pub(crate) struct Crowded {
    folder: PathBuf,
    /// To whom its messages were sent; nobody in particular.
    pub(crate) to: Option<SessionId>,
    /// The names of what may be messages of the bus, the oldest first.
    names: Vec<String>,
}

/// Which of the messages of a folder may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MayGo {
    All,
    /// Those before a second, as names begin with it.
    Before(String),
    None,
}

/// The folders below a root with more messages than may be kept in each.
pub(crate) fn crowded(root: &Path, kept: usize) -> Result<Vec<Crowded>, Error> {
    let broadcast = root.join(BROADCAST);
    let mut found = Vec::new();
    found.extend(look(broadcast, None, kept)?);
    let direct = root.join(DIRECT);
    for name in names(&direct)? {
        if let Ok(id) = SessionId::parse(&name) {
            found.extend(look(direct.join(name), Some(id), kept)?);
        }
    }
    Ok(found)
}

fn look(folder: PathBuf, to: Option<SessionId>, kept: usize) -> Result<Option<Crowded>, Error> {
    let mut names = names(&folder)?;
    names.retain(|name| stem_of(name).is_some());
    if names.len() <= kept {
        return Ok(None);
    }
    names.sort_unstable();
    Ok(Some(Crowded { folder, to, names }))
}

/// What is in a folder; nothing where there is none.
fn names(folder: &Path) -> Result<Vec<String>, Error> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(Vec::new()),
        Err(error) => return Err(fail(folder, error)),
    };
    let mut names = Vec::new();
    for entry in listed {
        let name = entry.map_err(|error| fail(folder, error))?.file_name();
        names.extend(name.into_string());
    }
    Ok(names)
}

impl Crowded {
    /// Removes the oldest of the bus's own messages, as far as they may go, until so many are left.
    pub(crate) fn thin(mut self, kept: usize, may_go: &MayGo, disk: &Disk) -> Result<usize, Error> {
        // One that cannot be read is not known to be ours.
        let is_ours = |name: &String| {
            let read = disk.read(&self.folder.join(name), MESSAGE_BYTES_MAX);
            let text = read.ok().flatten().map(|Found { bytes, .. }| bytes);
            let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
            stem_of(name)
                .zip(text)
                .is_some_and(|(stem, text)| is_our_message(stem, &text))
        };
        self.names.retain(is_ours);
        let too_many = self.names.len().saturating_sub(kept).min(REMOVED_AT_ONCE);
        let mut removed = 0;
        for name in &self.names[..too_many] {
            let goes = match may_go {
                MayGo::All => true,
                MayGo::Before(second) => stem_of(name).is_some_and(|stem| stem < second.as_str()),
                MayGo::None => false,
            };
            if !goes {
                break;
            }
            let path = self.folder.join(name);
            disk.remove(&path).map_err(|error| fail(&path, error))?;
            removed += 1;
        }
        Ok(removed)
    }
}

/// Which messages to a session may go: those that it has received. To one that is not known any more nothing is
/// owed.
pub(crate) async fn received(agents: &Handle, id: &SessionId) -> Result<MayGo, Error> {
    let log = agents.log();
    let received = match agents.received(id).await {
        Ok(received) => received,
        Err(Error::UnknownSession { .. }) => return Ok(MayGo::All),
        Err(error) => return Err(error),
    };
    let stored = log.stored();
    if received.epoch != stored.epoch {
        return Ok(MayGo::None);
    }
    let pruned: Seq = log.pruned_through().await?;
    let behind = received.seq.max(pruned);
    if behind >= stored.seq {
        return Ok(MayGo::All);
    }
    let next = log.event(behind.next()).await?;
    Ok(next.map_or(MayGo::None, |next| MayGo::Before(stem(next.time_us))))
}
