//! A file that others write too, while they do.

use std::{
    fs,
    io::{Seek, SeekFrom, Write},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::files::document::Document;

struct World {
    folder: TempDir,
    file: SharedFile,
    disk: Disk,
    clock: Clock,
    now: Instant,
}

/// Puts the member `bus` into the file; what is no object is broken.
fn mark(found: &str) -> Edit {
    let Some(mut document) = Document::parse(found) else {
        return Edit::Broken;
    };
    document.set("bus", &json!(1));
    if document.is_changed() {
        Edit::Text(document.write(0))
    } else {
        Edit::Same
    }
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = SharedFile::new(folder.path().join("f.json"));
        Self {
            folder,
            file,
            disk: Disk::default(),
            clock: Clock::manual(1_763_704_800_000_000),
            now: Instant::now(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("f.json")
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }

    /// The file under its name now, as who rewrites it in place opens it.
    fn open(&self) -> fs::File {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).open(self.path()).unwrap()
    }

    fn change(&mut self) -> Outcome {
        let edit = |found: &str, _| mark(found);
        let changed = self.file.change(&self.disk, &self.clock, self.now, edit);
        changed.unwrap()
    }

    fn is_changed(&mut self) -> bool {
        self.file.is_changed(&self.disk, self.now).unwrap()
    }

    fn found(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path()).unwrap()).unwrap()
    }

    /// What was kept of broken files, the oldest first.
    fn broken(&self) -> Vec<String> {
        let listed = fs::read_dir(self.folder.path()).unwrap();
        let mut paths: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.to_string_lossy().contains(".broken-"));
        paths.sort();
        let read = paths.iter().map(|path| fs::read_to_string(path).unwrap());
        read.collect()
    }
}

#[test]
fn what_nobody_changed_is_not_written_again() {
    let mut world = World::new();
    assert!(world.is_changed(), "it was never looked at");
    assert_eq!(world.change(), Outcome::Settled);
    let written = fs::metadata(world.path()).unwrap().modified().unwrap();
    assert!(!world.is_changed());
    assert_eq!(
        fs::metadata(world.path()).unwrap().modified().unwrap(),
        written
    );
    world.write(r#"{"other": 1}"#);
    assert!(world.is_changed());
    assert_eq!(world.change(), Outcome::Settled);
    assert_eq!(world.found(), json!({"other": 1, "bus": 1}));
}

#[test]
fn two_writes_at_one_moment_are_told_apart() {
    let mut world = World::new();
    world.write(r#"{"bus": 1, "other": 1}"#);
    world.change();
    let written = fs::metadata(world.path()).unwrap().modified().unwrap();
    world.write(r#"{"bus": 1, "other": 2}"#);
    let file = fs::File::options().append(true).open(world.path()).unwrap();
    file.set_modified(written).unwrap();
    assert!(world.is_changed(), "its time and its length say nothing");
    assert_eq!(world.change(), Outcome::Settled);
    assert!(!world.is_changed());
}

#[test]
fn a_file_that_is_gone_is_made_again() {
    let mut world = World::new();
    world.change();
    world.change();
    fs::remove_file(world.path()).unwrap();
    assert!(world.is_changed());
    assert_eq!(world.change(), Outcome::Settled);
    assert_eq!(world.found(), json!({"bus": 1}));
}

#[test]
fn half_a_file_is_waited_for_and_then_kept_and_mended() {
    let mut world = World::new();
    world.write("\u{feff}{\"other\": 1}");
    world.change();
    world.write("{\"other\": 1, \"new\":");
    assert_eq!(world.change(), Outcome::Later);
    world.now += BROKEN_AFTER / 2;
    assert_eq!(world.change(), Outcome::Later);
    assert!(world.is_changed(), "it is looked at until it can be read");
    assert!(world.broken().is_empty());
    world.write(r#"{"other": 1, "new": 2}"#);
    assert_eq!(world.change(), Outcome::Settled);
    assert_eq!(world.found(), json!({"other": 1, "new": 2, "bus": 1}));
    assert!(world.broken().is_empty());

    world.write("{\"oth");
    assert_eq!(world.change(), Outcome::Later);
    world.now += BROKEN_AFTER;
    assert_eq!(world.change(), Outcome::Settled);
    assert_eq!(world.broken(), ["{\"oth"]);
    // As it last could be read, so that nobody else's members are gone.
    assert_eq!(world.found(), json!({"other": 1, "new": 2, "bus": 1}));
}

#[test]
fn a_file_that_was_always_broken_is_kept_and_made_anew() {
    let mut world = World::new();
    fs::write(world.path(), [0xff, 0xfe, b'{']).unwrap();
    assert_eq!(world.change(), Outcome::Later);
    world.now += BROKEN_AFTER;
    assert_eq!(world.change(), Outcome::Settled);
    assert_eq!(world.found(), json!({"bus": 1}));
    let kept = fs::read_dir(world.folder.path()).unwrap();
    assert_eq!(kept.count(), 2, "the file, and its copy with all its bytes");
}

#[test]
fn who_breaks_a_file_again_and_again_does_not_fill_the_disk() {
    let mut world = World::new();
    for n in 0..BROKEN_KEPT + 5 {
        world.clock.advance_us(1_000_000);
        world.write(&format!("{{ {n}"));
        world.change();
        world.now += BROKEN_AFTER;
        assert_eq!(world.change(), Outcome::Settled);
    }
    let broken = world.broken();
    assert_eq!(broken.len(), BROKEN_KEPT);
    assert_eq!(broken[0], "{ 5", "the oldest went");
}

#[test]
fn what_is_written_while_it_is_changed_is_read_before_it_is_replaced() {
    let mut world = World::new();
    world.write("{}");
    let (path, mut looked) = (world.path(), 0);
    let changed = world
        .file
        .change(&world.disk, &world.clock, world.now, |found, _| {
            looked += 1;
            if looked == 1 {
                fs::write(&path, r#"{"other": 1}"#).unwrap();
            }
            mark(found)
        });
    assert_eq!(changed.unwrap(), Outcome::Settled);
    assert_eq!(world.found(), json!({"other": 1, "bus": 1}));
}

#[test]
fn who_always_writes_is_waited_for() {
    let mut world = World::new();
    world.write("{}");
    let (path, mut looked) = (world.path(), 0);
    let changed = world
        .file
        .change(&world.disk, &world.clock, world.now, |found, _| {
            looked += 1;
            fs::write(&path, format!(r#"{{"other": {looked}}}"#)).unwrap();
            mark(found)
        });
    assert_eq!(changed.unwrap(), Outcome::Later);
    assert_eq!(world.found(), json!({"other": looked}));
}

#[test]
fn what_is_written_to_a_file_that_was_replaced_is_not_lost() {
    let mut world = World::new();
    world.write(r#"{"first": 1}"#);
    let mut theirs = world.open();
    assert_eq!(world.change(), Outcome::Settled);
    world.change();
    assert!(!world.is_changed());
    // They opened it before it was replaced, and write to what nobody sees any more.
    theirs.set_len(0).unwrap();
    assert!(world.is_changed());
    assert_eq!(world.change(), Outcome::Later);
    theirs.seek(SeekFrom::Start(0)).unwrap();
    theirs.write_all(br#"{"first": 1, "theirs": 2}"#).unwrap();
    assert!(world.is_changed());
    assert_eq!(world.change(), Outcome::Settled);
    assert_eq!(world.found(), json!({"first": 1, "theirs": 2, "bus": 1}));
    world.change();
    assert!(!world.is_changed());
}

/// Writes a file that is open, as who does not know that it was replaced.
fn rewrite(file: &mut fs::File, text: &str) {
    file.set_len(0).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn who_writes_to_what_was_replaced_twice_loses_nothing() {
    let mut world = World::new();
    world.write(r#"{"first": 1}"#);
    let mut theirs = world.open();
    world.change();
    world.write(r#"{"second": 1}"#);
    world.change();
    rewrite(&mut theirs, r#"{"first": 1, "theirs": 2}"#);
    assert!(world.is_changed());
    assert_eq!(world.change(), Outcome::Settled);
    assert_eq!(world.found(), json!({"first": 1, "theirs": 2, "bus": 1}));
}

#[test]
fn who_opened_what_a_late_text_replaced_loses_nothing() {
    let mut world = World::new();
    world.write("{}");
    let mut first = world.open();
    world.change();
    let mut second = world.open();
    rewrite(&mut first, r#"{"theirs": 1}"#);
    assert_eq!(world.change(), Outcome::Settled);
    rewrite(&mut second, r#"{"theirs": 2}"#);
    assert!(world.is_changed());
    assert_eq!(world.change(), Outcome::Settled);
    assert_eq!(world.found(), json!({"theirs": 2, "bus": 1}));
    world.change();
    assert!(!world.is_changed(), "what came late counts once");
}

#[test]
fn what_was_written_under_the_name_since_is_not_undone_by_what_came_late() {
    let mut world = World::new();
    world.write("{}");
    let mut theirs = world.open();
    world.change();
    rewrite(&mut theirs, r#"{"theirs": "old"}"#);
    let earlier = theirs.metadata().unwrap().modified().unwrap() - REPLACED_WATCHED / 4;
    theirs.set_modified(earlier).unwrap();
    world.write(r#"{"theirs": "new"}"#);
    for _ in 0..3 {
        assert!(world.is_changed());
        assert_eq!(world.change(), Outcome::Settled);
        if !world.is_changed() {
            break;
        }
    }
    assert_eq!(world.found(), json!({"theirs": "new", "bus": 1}));
    assert!(!world.is_changed());
}

#[test]
fn no_more_than_so_many_versions_are_kept_open() {
    let mut world = World::new();
    for n in 0..REPLACED_KEPT * 2 {
        world.write(&format!(r#"{{"n": {n}}}"#));
        world.change();
    }
    assert_eq!(world.file.replaced.len(), REPLACED_KEPT);
}

#[test]
fn a_file_that_was_replaced_is_not_watched_for_ever() {
    let mut world = World::new();
    world.write("{}");
    let theirs = world.open();
    world.change();
    world.change();
    world.now += REPLACED_WATCHED;
    assert!(!world.is_changed());
    theirs.set_len(0).unwrap();
    assert!(!world.is_changed());
    assert_eq!(world.found(), json!({"bus": 1}));
}
