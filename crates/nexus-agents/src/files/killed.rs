//! The process ends before every step on the disk, and every step goes wrong once: afterwards the files are as if
//! nothing had happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use nexus_core::{
    Catalogue, Clock, Command, EventQuery, Log, LogOptions, Memory, NewEvent, PatternSet,
    ProtocolEvent, Random, Seq,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    AgentsOptions, Connection, Dependency, Handle, Presence, Profile, Service, SessionId, WorkId,
    files::{
        FilesOptions, FilesService,
        disk::Disk,
        failpoint::{Failing, Failpoint},
        folder::Folder,
        name::stem_of,
        note,
    },
};

/// Files as other tools leave them.
const SESSIONS: &str = r#"{
  "2": {"session_id": "session-2", "number": 2, "role": "Architect", "status": "active", "terminal": "s002"},
  "13": {"session_id": "session-mind", "number": 13, "role": "Hub", "status": "inactive", "token": "secret"},
  "note": "kept by hand"
}"#;
const SSOT: &str = r#"{"last_update": "2025-11-21T08:15:21Z", "session_count": {"total_processes": 3},
  "terminals": ["s000"], "claude_sessions": {"2": {"session_id": "session-2", "status": "active"}}}"#;
const THEIR_HEARTBEAT: &str =
    r#"{"session_id": "session-2", "action": "started", "phase": "ACTIVE"}"#;

struct World {
    folder: TempDir,
    log: Log,
    agents: Handle,
}

fn id(text: &str) -> SessionId {
    SessionId::parse(text).unwrap()
}

fn work(text: &str) -> WorkId {
    WorkId::parse(text).unwrap()
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("claude_sessions.json"), SESSIONS).unwrap();
        fs::write(folder.path().join("SSOT.json"), SSOT).unwrap();
        let random = Random::seeded(7);
        let memory = Memory::new(&random);
        let opened = Log::open(
            memory.clone(),
            memory,
            Catalogue::known(),
            LogOptions::default(),
            // All of it happens in one second.
            Clock::manual(1_763_704_800_000_000),
            random,
        );
        let (log, writer) = opened.await.unwrap();
        tokio::spawn(writer.run());
        let options = AgentsOptions {
            grace: Duration::ZERO,
            ..AgentsOptions::default()
        };
        let (agents, service) = Service::open(log.clone(), options).await.unwrap();
        tokio::spawn(service.run());
        Self {
            folder,
            log,
            agents,
        }
    }

    async fn files(&self, failpoint: Failpoint) -> FilesService {
        self.files_with(failpoint, FilesOptions::new(self.folder.path()))
            .await
    }

    async fn files_with(&self, failpoint: Failpoint, options: FilesOptions) -> FilesService {
        let path = self.folder.path();
        let disk = Disk::failing(failpoint);
        let folder = Folder::new(path.to_owned(), disk, self.log.clock().clone());
        let dependency = Dependency::files(Some(path.display().to_string()));
        let files = FilesService::over(self.agents.clone(), options, dependency, folder);
        files.await.unwrap()
    }

    async fn claim(&self, by: &str, item: &str) {
        let claimed = self.agents.claim(&id(by), &work(item), item, None).await;
        claimed.unwrap();
    }

    async fn say(&self, by: &str, event: ProtocolEvent, payload: Value) {
        let known = self.log.catalogue().known_type(event);
        let said = NewEvent::new(known, payload.to_string());
        self.agents.publish(&id(by), said).await.unwrap();
    }

    async fn leave(&self, connection: Connection) {
        let gone = connection.id().clone();
        drop(connection);
        let is_gone = || self.agents.session(&gone).unwrap().presence == Presence::Offline;
        let waited = async {
            while !is_gone() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waited)
            .await
            .unwrap();
    }

    /// What happens before the failure; what stays connected.
    async fn first(&self) -> Connection {
        let five = id("session-5");
        let five = self
            .agents
            .connect(&five, Profile::default())
            .await
            .unwrap();
        let alpha = self
            .agents
            .connect(&id("alpha"), Profile::default())
            .await
            .unwrap();
        self.claim("session-5", "deploy").await;
        self.claim("curl-3", "test").await;
        let message = json!({"message": "same", "subject": "s"});
        let broadcast = self
            .log
            .catalogue()
            .known_type(ProtocolEvent::MessageBroadcast);
        let twice = vec![NewEvent::new(broadcast, message.to_string()); 2];
        let command = Command {
            events: twice,
            ..Command::default()
        };
        let principal = self.agents.principal(&id("alpha")).unwrap();
        self.log.submit(&principal, command).await.unwrap();
        self.leave(alpha).await;
        five
    }

    /// What happens after it.
    async fn second(&self) {
        let deploy = work("deploy");
        self.agents
            .complete(&id("session-5"), &deploy, None)
            .await
            .unwrap();
        let direct = json!({"to": "session-5", "message": "for you"});
        self.say("curl-3", ProtocolEvent::MessageDirect, direct)
            .await;
        let idle = json!({"status": "idle", "task": "waiting"});
        self.say("session-5", ProtocolEvent::StatusUpdate, idle)
            .await;
        self.agents
            .register(&id("late"), Profile::default())
            .await
            .unwrap();
    }

    /// Every file that the events have to have made, by folder: how often each text is there.
    async fn expected_notes(&self) -> BTreeMap<(PathBuf, String), usize> {
        let everything = PatternSet::everything();
        let query = EventQuery::page(Seq::ZERO, self.log.stored().seq, everything);
        let page = self.log.events(&query).await.unwrap();
        assert!(page.done);
        let mut notes = BTreeMap::new();
        for note in page.events.iter().filter_map(|event| note::of_event(event)) {
            *notes.entry((note.folder, note.text)).or_default() += 1;
        }
        notes
    }

    fn read(&self, name: &str) -> Value {
        let text = fs::read(self.folder.path().join(name)).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    async fn check(&self, when: &str) {
        let (notes, others) = notes(self.folder.path());
        assert_eq!(notes, self.expected_notes().await, "{when}");
        let known = ["SSOT.json", "claude_sessions.json"].map(PathBuf::from);
        assert_eq!(others, BTreeSet::from(known), "{when}");
        let (sessions, ssot) = (self.read("claude_sessions.json"), self.read("SSOT.json"));
        let before: Value = serde_json::from_str(SESSIONS).unwrap();
        for key in ["2", "13", "note"] {
            assert_eq!(sessions[key], before[key], "{when}: {key}");
        }
        for (key, session, status, current_work) in [
            ("5", "session-5", "idle", json!("waiting")),
            ("3", "curl-3", "working", json!("test")),
            ("14", "alpha", "inactive", Value::Null),
            ("15", "late", "inactive", Value::Null),
        ] {
            for entry in [&sessions[key], &ssot["claude_sessions"][key]] {
                assert_eq!(entry["session_id"], session, "{when}: {key} in {sessions}");
                assert_eq!(entry["status"], status, "{when}: {key}");
                assert_eq!(entry["current_work"], current_work, "{when}: {key}");
            }
        }
        assert_eq!(ssot["session_count"]["total_processes"], 3, "{when}");
        assert_eq!(ssot["session_count"]["active"], 2, "{when}");
        assert_eq!(ssot["terminals"], json!(["s000"]), "{when}");
    }
}

/// The files that are written once, and all others.
fn notes(root: &Path) -> (BTreeMap<(PathBuf, String), usize>, BTreeSet<PathBuf>) {
    let (mut notes, mut others) = (BTreeMap::new(), BTreeSet::new());
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let place = folder.strip_prefix(root).unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if stem_of(name).is_some() && !place.as_os_str().is_empty() {
                let text = fs::read_to_string(&path).unwrap();
                *notes.entry((place, text)).or_default() += 1;
            } else {
                others.insert(place.join(name));
            }
        }
    }
    (notes, others)
}

/// One life in which a step fails; whether there was such a step.
async fn live(step: u64, failing: Failing) -> bool {
    let world = World::new().await;
    let failpoint = Failpoint::after(step, failing);
    let mut files = world.files(failpoint.clone()).await;
    let _five = world.first().await;
    files.catch_up().await;
    if failing == Failing::Kill {
        drop(files);
        world.second().await;
        files = world.files(Failpoint::default()).await;
    } else {
        world.second().await;
    }
    // Whatever failed may be tried again.
    let mut tries = 0;
    while !files.catch_up().await {
        tries += 1;
        assert!(tries < 5, "{failing:?} before step {step}");
    }
    files.tidy().await;
    world
        .check(&format!("{failing:?} before step {step}"))
        .await;
    failpoint.has_failed()
}

#[tokio::test]
async fn a_process_that_is_killed_before_any_step_leaves_files_that_are_put_right() {
    let mut step = 0;
    while live(step, Failing::Kill).await {
        step += 1;
    }
    assert!(step > 50, "only {step} steps were tried");
}

#[tokio::test]
async fn any_step_may_go_wrong_once() {
    let mut step = 0;
    while live(step, Failing::Once).await {
        step += 1;
    }
    assert!(step > 50, "only {step} steps were tried");
}

#[tokio::test]
async fn heartbeats_of_others_are_never_removed_and_ours_when_they_are_old() {
    let world = World::new().await;
    let mut files = world.files(Failpoint::default()).await;
    let heartbeats = world.folder.path().join("heartbeats");
    fs::create_dir(&heartbeats).unwrap();
    let theirs = heartbeats.join("2020-01-01_00-00-00-session-2.json");
    fs::write(&theirs, THEIR_HEARTBEAT).unwrap();
    fs::write(heartbeats.join("notes.txt"), "x").unwrap();
    let _five = world.first().await;
    assert!(files.catch_up().await);
    let count = || fs::read_dir(&heartbeats).unwrap().count();
    let all = count();
    assert!(all > 4, "{all}");
    files.prune().await;
    assert_eq!(count(), all);
    world.log.clock().advance_us(8 * 86_400 * 1_000_000);
    files.prune().await;
    assert_eq!(count(), 2);
    assert!(theirs.exists());
}

/// Of messages beyond what is kept the oldest go; never those of others, nor those that a session has still to
/// receive.
#[tokio::test]
async fn the_oldest_messages_go_but_not_what_was_not_received() {
    const SENT: usize = 6;
    let world = World::new().await;
    let options = FilesOptions {
        messages_kept: 3,
        ..FilesOptions::new(world.folder.path())
    };
    let mut files = world.files_with(Failpoint::default(), options).await;
    let to = ["reader", "away", "stranger"];
    for known in &to[..2] {
        let known = id(known);
        let registered = world.agents.register(&known, Profile::default());
        registered.await.unwrap();
    }
    let mut received = world.log.stored();
    for n in 0..SENT {
        world.log.clock().advance_us(1_000_000);
        let said = json!({"message": n.to_string()});
        world
            .say("alpha", ProtocolEvent::MessageBroadcast, said)
            .await;
        for to in to {
            let said = json!({"to": to, "message": n.to_string()});
            world.say("alpha", ProtocolEvent::MessageDirect, said).await;
        }
        if n == 1 {
            received = world.log.stored();
        }
    }
    let reader = id("reader");
    world.agents.keep_received(&reader, received).await.unwrap();
    assert!(files.catch_up().await);
    let folder = |name: &str| world.folder.path().join("messages").join(name);
    let theirs = folder("broadcast").join("2020-01-01_00-00-00-session-2.json");
    fs::write(&theirs, THEIR_HEARTBEAT).unwrap();
    let left = |name: &str| {
        let listed = fs::read_dir(folder(name)).unwrap();
        let texts = listed.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
        let read = texts.map(|text| serde_json::from_str::<Value>(&text).unwrap());
        let mut left: Vec<String> = read
            .filter_map(|read| Some(read.get("message")?.as_str()?.to_owned()))
            .collect();
        left.sort();
        left.concat()
    };
    files.prune().await;
    assert_eq!(left("broadcast"), "345");
    assert!(theirs.exists());
    assert_eq!(left("direct/reader"), "2345", "two were received");
    assert_eq!(left("direct/away"), "012345", "none was");
    assert_eq!(left("direct/stranger"), "345", "nobody is known who could");
    // What was received meanwhile goes as well.
    let received = world.log.stored();
    world.agents.keep_received(&reader, received).await.unwrap();
    files.prune().await;
    assert_eq!(left("direct/reader"), "345");
    assert_eq!(left("direct/away"), "012345");
}
