//! The folder of all files: writes what happened, then how everything stands.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fs,
    path::{Path, PathBuf},
};

use nexus_core::Clock;
use tokio::time::Instant;

use crate::{
    Error,
    files::{
        card::Card,
        disk::{Disk, TEMPORARY},
        entries::{Numbers, merge},
        name::{file_name, stem, stem_of},
        note::{BROADCAST, DIRECT, HEARTBEATS, Note, is_our_heartbeat},
        roster::Roster,
        shared::{Edit, Outcome, SharedFile},
        ssot,
    },
};

/// So many old heartbeats are removed at once.
const PRUNED_AT_ONCE: usize = 10_000;

/// The folder, as one process writes it.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    disk: Disk,
    clock: Clock,
    sessions: SharedFile,
    ssot: SharedFile,
    names: Names,
    /// Of heartbeats: theirs is another time than that of what happened, and names are told apart by their second.
    beat_names: Names,
    /// Folders in which names were given that are not surely on the disk.
    unsynced: BTreeSet<PathBuf>,
}

/// What is to be written.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// What happened, the oldest first. What is written is taken away.
    pub(crate) notes: VecDeque<Note>,
    /// That somebody is still there; after what happened, and taken away too.
    pub(crate) beats: VecDeque<Note>,
    /// How everything stands.
    pub(crate) cards: Vec<Card>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Written {
    /// Whether the files are as they should be; else others are writing them.
    pub(crate) outcome: Outcome,
    /// What the entries say; nothing if they could not be read.
    pub(crate) roster: Option<Roster>,
}

/// The next name of each second and of everybody. Whoever is told of twice in one second has two files; what was
/// written before the process ended is found under its name, and has its file.
#[derive(Debug, Default)]
struct Names {
    stem: String,
    next: HashMap<(PathBuf, String), u32>,
}

impl Names {
    fn next(&mut self, note: &Note) -> &mut u32 {
        if self.stem != note.stem {
            self.stem.clone_from(&note.stem);
            self.next.clear();
        }
        let whose = (note.folder.clone(), note.who.clone());
        self.next.entry(whose).or_insert(1)
    }

    /// Writes a note under the first name of its second that is free, or finds it there.
    fn write(&mut self, disk: &Disk, folder: &Path, note: &Note) -> std::io::Result<()> {
        let next = self.next(note);
        let staged = disk.stage(folder, note.text.as_bytes())?;
        loop {
            let name = file_name(&note.stem, *next, &note.who);
            let is_written = disk.publish(&staged, &name)?
                || fs::read(folder.join(&name)).is_ok_and(|found| found == note.text.as_bytes());
            *next = next.saturating_add(1);
            if is_written {
                return Ok(());
            }
        }
    }
}

impl Folder {
    pub(crate) fn new(root: PathBuf, disk: Disk, clock: Clock) -> Self {
        Self {
            sessions: SharedFile::new(root.join("claude_sessions.json")),
            ssot: SharedFile::new(root.join("SSOT.json")),
            names: Names::default(),
            beat_names: Names::default(),
            unsynced: BTreeSet::new(),
            root,
            disk,
            clock,
        }
    }

    /// What the entries say now; nothing if they cannot be read.
    pub(crate) fn roster(&self) -> Option<Roster> {
        let text = self.sessions.text(&self.disk).ok()?;
        let merged = merge(&text, 0, &[], &Numbers::new(), self.clock.now_us())?;
        Some(merged.roster)
    }

    /// Whether others wrote the files since, or may have.
    pub(crate) fn is_changed(&mut self, now: Instant) -> Result<bool, Error> {
        let sessions = self.sessions.is_changed(&self.disk, now)?;
        let ssot = self.ssot.is_changed(&self.disk, now)?;
        Ok(sessions || ssot)
    }

    /// Writes everything. What failed is begun again with what is left of the round.
    pub(crate) fn write(&mut self, round: &mut Round, now: Instant) -> Result<Written, Error> {
        let made = self.disk.make_folder(&self.root);
        made.map_err(|error| fail(&self.root, error))?;
        self.write_notes(&mut round.notes, false)?;
        self.write_notes(&mut round.beats, true)?;
        let (cards, now_us) = (&round.cards, self.clock.now_us());
        let (mut roster, mut numbers) = (None, Numbers::new());
        let edit = |found: &str, _| {
            let Some(merged) = merge(found, 0, cards, &Numbers::new(), now_us) else {
                return Edit::Broken;
            };
            (roster, numbers) = (Some(merged.roster), merged.numbers);
            merged.written.map_or(Edit::Same, Edit::Text)
        };
        let mut outcome = self.sessions.change(&self.disk, &self.clock, now, edit)?;
        if outcome == Outcome::Settled {
            let edit = |found: &str, is_forced| match ssot::merge(
                found, cards, &numbers, now_us, is_forced,
            ) {
                Some(Some(text)) => Edit::Text(text),
                Some(None) => Edit::Same,
                None => Edit::Broken,
            };
            outcome = self.ssot.change(&self.disk, &self.clock, now, edit)?;
        }
        self.disk.pause().map_err(|error| fail(&self.root, error))?;
        Ok(Written { outcome, roster })
    }

    /// Writes what happened. What is written is taken away at once: begun again, it would be there twice.
    fn write_notes(&mut self, notes: &mut VecDeque<Note>, are_beats: bool) -> Result<(), Error> {
        let names = if are_beats {
            &mut self.beat_names
        } else {
            &mut self.names
        };
        while let Some(note) = notes.front() {
            let path = self.root.join(&note.folder);
            let written = self.disk.make_folder(&path).and_then(|()| {
                self.unsynced.insert(path.clone());
                names.write(&self.disk, &path, note)
            });
            written.map_err(|error| fail(&path, error))?;
            notes.pop_front();
        }
        while let Some(folder) = self.unsynced.first() {
            let synced = self.disk.sync_folder(folder);
            synced.map_err(|error| fail(folder, error))?;
            self.unsynced.pop_first();
        }
        Ok(())
    }

    /// Removes what a process left behind that ended while it wrote.
    pub(crate) fn tidy(&self) -> Result<(), Error> {
        let direct = self.root.join(DIRECT);
        let addressed = fs::read_dir(&direct).into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = addressed.map(|entry| entry.path()).collect();
        folders.push(self.root.clone());
        for name in [HEARTBEATS, BROADCAST] {
            folders.push(self.root.join(name));
        }
        for folder in folders {
            let left = folder.join(TEMPORARY);
            if left.symlink_metadata().is_ok() {
                self.disk
                    .remove(&left)
                    .map_err(|error| fail(&left, error))?;
            }
        }
        Ok(())
    }

    /// What writes and removes here.
    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Removes the bus's own heartbeats of before a time, in microseconds since 1970; how many.
    pub(crate) fn prune(&self, before_us: i64) -> Result<usize, Error> {
        let folder = self.root.join(HEARTBEATS);
        let listed = match fs::read_dir(&folder) {
            Ok(listed) => listed,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(fail(&folder, error)),
        };
        let (before, mut removed) = (stem(before_us), 0);
        for entry in listed {
            let path = entry.map_err(|error| fail(&folder, error))?.path();
            let name = path.file_name().map(|name| name.to_string_lossy());
            let old = name.as_deref().and_then(stem_of);
            let Some(old) = old.filter(|stem| **stem < *before) else {
                continue;
            };
            // One that cannot be read is not known to be ours.
            let is_ours = fs::read_to_string(&path).is_ok_and(|text| is_our_heartbeat(old, &text));
            if is_ours {
                self.disk
                    .remove(&path)
                    .map_err(|error| fail(&path, error))?;
                removed += 1;
            }
            if removed >= PRUNED_AT_ONCE {
                break;
            }
        }
        Ok(removed)
    }
}

pub(crate) fn fail(path: &Path, source: std::io::Error) -> Error {
    Error::File {
        path: path.to_owned(),
        source,
    }
}
