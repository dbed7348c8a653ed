//! The files of the agents, as whoever reads and writes them sees it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use nexus_agents::{
    Availability, Dependency, Profile,
    files::{FilesOptions, FilesService},
};
use nexus_core::{NewEvent, Principal, ProtocolEvent};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{World, able, options, session, until, work};

/// Files as they were found in use, shortened: unusual keys, wrong types, members that nobody but their tools
/// knows.
const SESSIONS: &str = r#"{
  "13": {
    "session_id": "session-collective-mind", "number": 13, "role": "Meta-Coordinator \u0026 Hub",
    "status": "inactive", "terminal": "s001", "marked_inactive_at": "2025-11-17T07:12:18.404936Z"
  },
  "5": {"session_id": "session-5", "number": "5", "role": "Nexus - Integration", "goal": "Build", "capabilities": ["python"],
    "token": "a-token-by-hand", "terminal": "unknown", "cost": 1.10},
  "7": {"role": "Dashboard Hub", "status": 3, "responsible_services": [1, 2, {"x": null}]},
  "session-x": {"session_id": "session-8", "capabilities": "python"},
  "_comment": "edited by hand", "9": null, "10": ["old", "form"]
}"#;
const SSOT: &str = r#"{"last_update": "2025-11-21T08:15:21Z",
  "session_count": {"total_processes": 3, "registered": 23, "unregistered": -20, "active": 1, "idle": 2},
  "terminals": ["s000", "s001"], "server_status": {"8000": "online"},
  "claude_sessions": {"2": {"session_id": "session-2", "number": 2, "status": "active", "terminal": "s002"}},
  "services": {"total": 2, "price": 0.10}}"#;

/// A bus with its files.
struct Files {
    world: World,
    folder: TempDir,
    dependency: Dependency,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Files {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("claude_sessions.json"), SESSIONS).unwrap();
        fs::write(folder.path().join("SSOT.json"), SSOT).unwrap();
        Self::over(World::new().await, folder, |_| {}).await
    }

    async fn over(
        world: World,
        folder: TempDir,
        set: impl FnOnce(&mut FilesOptions) + Send,
    ) -> Self {
        let mut options = FilesOptions::new(folder.path());
        options.gather = Duration::from_millis(20);
        options.look = Duration::from_millis(20);
        set(&mut options);
        let dependency = Dependency::files(Some(folder.path().display().to_string()));
        let service = FilesService::open(world.agents.clone(), options, dependency.clone());
        let stop = CancellationToken::new();
        let running = tokio::spawn(service.await.unwrap().run(stop.clone()));
        Self {
            world,
            folder,
            dependency,
            stop,
            running,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> Value {
        read(&self.path(name)).unwrap()
    }

    /// An entry, as it stands in both files.
    fn entry(&self, key: &str) -> Option<Value> {
        let sessions = self.read("claude_sessions.json");
        let ssot = self.read("SSOT.json");
        let (here, there) = (&sessions[key], &ssot["claude_sessions"][key]);
        let ours = ["session_id", "status", "current_work", "last_heartbeat"];
        let is_same = ours.iter().all(|name| here[name] == there[name]);
        (is_same && here.is_object()).then(|| here.clone())
    }

    async fn until_entry(&self, key: &str, holds: impl Fn(&Value) -> bool) -> Value {
        until(&format!("the entry of {key}"), async || {
            self.entry(key).is_some_and(|entry| holds(&entry))
        })
        .await;
        self.entry(key).unwrap()
    }

    /// The files of a folder with their contents, by name.
    fn list(&self, folder: &str) -> Vec<(String, Value)> {
        let Ok(listed) = fs::read_dir(self.path(folder)) else {
            return Vec::new();
        };
        let paths = listed.map(|entry| entry.unwrap().path());
        let files = paths.filter(|path| path.extension().is_some_and(|end| end == "json"));
        let mut files: Vec<_> = files
            .map(|path| {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, read(&path).unwrap())
            })
            .collect();
        files.sort_by(|a, b| a.0.cmp(&b.0));
        files
    }

    async fn say(&self, by: &str, event: ProtocolEvent, payload: Value) {
        let known = self.world.log.catalogue().known_type(event);
        let said = NewEvent::new(known, payload.to_string());
        self.world.agents.publish(&session(by), said).await.unwrap();
    }

    /// Ends the files with what happened until then in them.
    async fn end(self) -> (World, TempDir) {
        self.stop.cancel();
        self.running.await.unwrap();
        (self.world, self.folder)
    }
}

fn read(path: &Path) -> io::Result<Value> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

#[tokio::test]
async fn what_a_session_does_is_in_the_files() {
    let files = Files::new().await;
    let agents = files.world.agents.clone();
    let five = session("session-5");
    let connection = agents.connect(&five, Profile::default()).await.unwrap();
    let entry = files
        .until_entry("5", |entry| entry["status"] == "active")
        .await;
    assert_eq!(entry["number"], 5);
    assert_eq!(entry["role"], "Nexus - Integration");
    assert_eq!(
        (&entry["terminal"], &entry["cost"]),
        (&json!("unknown"), &json!(1.1))
    );
    agents
        .claim(&session("session-5"), &work("w"), "Deploy it", None)
        .await
        .unwrap();
    files
        .until_entry("5", |entry| {
            entry["status"] == "working" && entry["current_work"] == "Deploy it"
        })
        .await;
    agents
        .complete(&session("session-5"), &work("w"), None)
        .await
        .unwrap();
    files
        .until_entry("5", |entry| {
            entry["status"] == "active" && entry["current_work"].is_null()
        })
        .await;
    let idle = json!({"status": "idle", "current_work": "waiting"});
    files
        .say("session-5", ProtocolEvent::StatusUpdate, idle)
        .await;
    files
        .until_entry("5", |entry| entry["status"] == "idle")
        .await;
    drop(connection);
    files
        .until_entry("5", |entry| {
            entry["status"] == "inactive" && entry["current_work"].is_null()
        })
        .await;
    let actions: Vec<_> = files
        .list("heartbeats")
        .into_iter()
        .map(|(name, beat)| {
            assert!(name.ends_with("-session-5.json"), "{name}");
            assert_eq!(beat["session_id"], "session-5");
            beat["action"].as_str().unwrap().to_owned()
        })
        .collect();
    for action in ["connected", "claimed", "completed", "disconnected"] {
        assert!(
            actions.contains(&action.to_owned()),
            "{action} in {actions:?}"
        );
    }
    assert_eq!(actions.len(), 4);
    assert_eq!(files.dependency.availability(), Availability::Available);
}

#[tokio::test]
async fn nothing_of_others_is_lost() {
    let files = Files::new().await;
    let agents = &files.world.agents;
    let mut connections = Vec::new();
    for id in [
        "session-5",
        "session-7",
        "session-8",
        "alpha",
        "session-9",
        "session-13",
    ] {
        connections.push(agents.connect(&session(id), able(&["rust"])).await.unwrap());
    }
    files
        .until_entry("16", |entry| entry["status"] == "active")
        .await;
    let sessions = files.read("claude_sessions.json");
    let before: Value = serde_json::from_str(SESSIONS).unwrap();
    for key in ["13", "_comment", "9", "10"] {
        assert_eq!(sessions[key], before[key], "{key}");
    }
    for (key, id) in [
        ("5", "session-5"),
        ("7", "session-7"),
        ("session-x", "session-8"),
    ] {
        assert_eq!(sessions[key]["session_id"], id);
        assert_eq!(sessions[key]["capabilities"], json!(["rust"]), "{key}");
    }
    assert_eq!(
        sessions["7"]["responsible_services"],
        before["7"]["responsible_services"]
    );
    assert_eq!(sessions["7"]["role"], "Dashboard Hub");
    // 9 and 13 are others'.
    let ids: Vec<_> = ["14", "15", "16"]
        .map(|key| sessions[key]["session_id"].clone())
        .into();
    for id in ["alpha", "session-9", "session-13"] {
        assert!(ids.contains(&json!(id)), "{id} in {ids:?}");
    }
    let text = fs::read_to_string(files.path("claude_sessions.json")).unwrap();
    assert!(
        text.contains(r#""role": "Meta-Coordinator \u0026 Hub""#),
        "{text}"
    );
    let ssot = files.read("SSOT.json");
    let before: Value = serde_json::from_str(SSOT).unwrap();
    for name in ["terminals", "server_status", "services"] {
        assert_eq!(ssot[name], before[name], "{name}");
    }
    assert_eq!(ssot["claude_sessions"]["2"], before["claude_sessions"]["2"]);
    let count = &ssot["session_count"];
    assert_eq!(
        (&count["total_processes"], &count["unregistered"]),
        (&json!(3), &json!(-20))
    );
    assert_eq!(
        count["registered"],
        ssot["claude_sessions"].as_object().unwrap().len()
    );
    assert_ne!(ssot["last_update"], before["last_update"]);
}

#[tokio::test]
async fn messages_are_files_and_several_in_one_second_are_several() {
    let files = Files::new().await;
    for n in 0..5 {
        let message = json!({"message": format!("m{n}"), "subject": "News", "priority": "high"});
        files
            .say("session-5", ProtocolEvent::MessageBroadcast, message)
            .await;
    }
    let direct = json!({"to": "session-7", "message": "for you"});
    files
        .say("session-5", ProtocolEvent::MessageDirect, direct)
        .await;
    until("all messages are files", async || {
        files.list("messages/broadcast").len() == 5
            && files.list("messages/direct/session-7").len() == 1
    })
    .await;
    let mut texts = Vec::new();
    for (name, message) in files.list("messages/broadcast") {
        assert!(name.ends_with("-session-5.json"), "{name}");
        assert_eq!(
            (
                &message["from"],
                &message["to"],
                &message["subject"],
                &message["priority"]
            ),
            (
                &json!("session-5"),
                &json!("broadcast"),
                &json!("News"),
                &json!("high")
            )
        );
        texts.push(message["message"].as_str().unwrap().to_owned());
    }
    texts.sort();
    assert_eq!(texts, ["m0", "m1", "m2", "m3", "m4"]);
    let (_, direct) = files.list("messages/direct/session-7").remove(0);
    assert_eq!(
        (&direct["to"], &direct["message"]),
        (&json!("session-7"), &json!("for you"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_reads_constantly_never_sees_half_a_file_or_less_than_there_was() {
    let files = Files::new().await;
    let (stop, reads) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let readers: Vec<_> = ["claude_sessions.json", "SSOT.json"]
        .into_iter()
        .map(|name| {
            let (path, stop, reads) = (files.path(name), stop.clone(), reads.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let found = read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
                    if name == "SSOT.json" {
                        assert_eq!(found["claude_sessions"]["2"]["terminal"], "s002");
                        assert_eq!(found["services"]["total"], 2);
                    } else {
                        assert_eq!(found["13"]["terminal"], "s001");
                        assert_eq!(found["5"]["token"], "a-token-by-hand");
                    }
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let agents = &files.world.agents;
    let _connection = agents
        .connect(&session("session-5"), Profile::default())
        .await
        .unwrap();
    for n in 0..30 {
        let item = work(&format!("w{n}"));
        agents
            .claim(&session("session-5"), &item, &format!("item {n}"), None)
            .await
            .unwrap();
        let doing = json!(format!("item {n}"));
        files
            .until_entry("5", |entry| entry["current_work"] == doing)
            .await;
        agents
            .release(&session("session-5"), &item, None)
            .await
            .unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
    assert!(
        reads.load(Ordering::Relaxed) > 60,
        "hardly anything was read"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_that_rewrites_a_file_in_place_and_the_bus_do_not_undo_each_other() {
    let files = Files::new().await;
    let agents = &files.world.agents;
    let _connection = agents
        .connect(&session("session-5"), Profile::default())
        .await
        .unwrap();
    let path = files.path("claude_sessions.json");
    let tool = thread::spawn(move || {
        for n in 0..40 {
            // As such tools do: what is half written by another is read again.
            let mut found = loop {
                if let Ok(found) = read(&path) {
                    break found;
                }
            };
            found[format!("tool-{n}")] = json!({"added": n});
            fs::write(&path, serde_json::to_string_pretty(&found).unwrap()).unwrap();
            thread::sleep(Duration::from_millis(15));
        }
    });
    for n in 0..30 {
        let item = work(&format!("w{n}"));
        agents
            .claim(&session("session-5"), &item, &format!("item {n}"), None)
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(15)).await;
        agents
            .release(&session("session-5"), &item, None)
            .await
            .unwrap();
    }
    tokio::task::spawn_blocking(move || tool.join().unwrap())
        .await
        .unwrap();
    agents
        .claim(&session("session-5"), &work("last"), "the last", None)
        .await
        .unwrap();
    files
        .until_entry("5", |entry| entry["current_work"] == "the last")
        .await;
    // What the tool wrote into a file that was being replaced is found there, and comes back.
    until("the tool's last entry is there", async || {
        files.read("claude_sessions.json")["tool-39"] == json!({"added": 39})
    })
    .await;
    let sessions = files.read("claude_sessions.json");
    assert_eq!(sessions["13"]["terminal"], "s001");
    assert_eq!(sessions["5"]["status"], "working");
}

#[tokio::test]
async fn a_token_in_a_file_counts_at_once_and_no_longer_than_it_stands_there() {
    let files = Files::new().await;
    let agents = &files.world.agents;
    // From the first moment, before anything was written.
    assert_eq!(
        agents.session_of_token("a-token-by-hand"),
        Some(session("session-5"))
    );
    let hash = data_encoding::HEXLOWER.encode(&nexus_core::sha256(b"hashed"));
    let mut found = files.read("claude_sessions.json");
    found["5"]["token"] = json!("another-token");
    found["13"]["token_sha256"] = json!(hash);
    fs::write(files.path("claude_sessions.json"), found.to_string()).unwrap();
    until("the new tokens count", async || {
        agents.session_of_token("another-token") == Some(session("session-5"))
            && agents.session_of_token("hashed") == Some(session("session-collective-mind"))
    })
    .await;
    assert_eq!(agents.session_of_token("a-token-by-hand"), None);
    fs::write(files.path("claude_sessions.json"), "{}").unwrap();
    until("no token counts", async || {
        agents.session_of_token("hashed").is_none()
    })
    .await;
    let registered = agents
        .register(&session("session-5"), Profile::default())
        .await
        .unwrap();
    assert_eq!(
        agents.session_of_token(registered.expose()),
        Some(session("session-5"))
    );
}

#[tokio::test]
async fn what_the_files_say_of_a_session_holds_until_it_says_otherwise() {
    let files = Files::new().await;
    let agents = &files.world.agents;
    let five = agents
        .connect(&session("session-5"), Profile::default())
        .await
        .unwrap();
    let view = agents.session(five.id()).unwrap();
    assert_eq!(
        (view.role.as_str(), view.goal.as_deref()),
        ("Nexus - Integration", Some("Build"))
    );
    assert_eq!(view.capabilities, ["python"]);
    let says = Profile {
        role: Some("Builder".into()),
        ..Profile::default()
    };
    let _again = agents.connect(&session("session-5"), says).await.unwrap();
    files
        .until_entry("5", |entry| entry["role"] == "Builder")
        .await;
    let stranger = agents
        .connect(&session("stranger"), Profile::default())
        .await
        .unwrap();
    assert_eq!(agents.session(stranger.id()).unwrap().role, "Unknown");
}

#[tokio::test]
async fn who_is_registered_or_only_claims_is_in_the_files_too() {
    let files = Files::new().await;
    let agents = &files.world.agents;
    agents
        .register(&session("session-20"), able(&["go"]))
        .await
        .unwrap();
    let entry = files
        .until_entry("20", |entry| entry["capabilities"] == json!(["go"]))
        .await;
    assert_eq!(
        (&entry["status"], &entry["role"]),
        (&json!("inactive"), &json!("Unknown"))
    );
    // By curl, without ever being connected.
    agents
        .claim(&session("session-3"), &work("w"), "Deploy", None)
        .await
        .unwrap();
    files
        .until_entry("3", |entry| {
            entry["status"] == "working" && entry["current_work"] == "Deploy"
        })
        .await;
    agents
        .complete(&session("session-3"), &work("w"), None)
        .await
        .unwrap();
    files
        .until_entry("3", |entry| entry["status"] == "active")
        .await;
    let connection = agents
        .connect(&session("session-20"), Profile::default())
        .await
        .unwrap();
    files
        .until_entry("20", |entry| entry["status"] == "active")
        .await;
    agents.sign_off(&session("session-20")).await.unwrap();
    let entry = files
        .until_entry("20", |entry| entry["status"] == "inactive")
        .await;
    assert_eq!(
        entry["capabilities"],
        json!(["go"]),
        "nobody's entry is removed"
    );
    drop(connection);
}

#[tokio::test]
async fn what_is_not_for_the_files_is_not_held_for_them() {
    let often = |options: &mut FilesOptions| options.pass = Duration::from_millis(50);
    let folder = tempfile::tempdir().unwrap();
    let files = Files::over(World::new().await, folder, often).await;
    let log = files.world.log.clone();
    let vote = log.catalogue().known_type(ProtocolEvent::VoteCast);
    let payload = json!({ "proposalId": "p", "voterId": "v", "decision": "for" });
    let vote = NewEvent::new(vote, payload.to_string());
    let receipt = log.dispatch(&Principal::nexus(), vote).await.unwrap();
    until("the files to be behind it", async || {
        let cursors = log.durable_cursors().await.unwrap();
        cursors[0].cursor.position == receipt.position()
    })
    .await;
}

#[tokio::test]
async fn who_is_connected_gets_heartbeats() {
    let folder = tempfile::tempdir().unwrap();
    let often = |options: &mut FilesOptions| options.heartbeat = Duration::from_millis(50);
    let files = Files::over(World::new().await, folder, often).await;
    let agents = &files.world.agents;
    let _here = agents
        .connect(&session("session-1"), Profile::default())
        .await
        .unwrap();
    agents
        .register(&session("session-2"), Profile::default())
        .await
        .unwrap();
    agents
        .claim(&session("session-1"), &work("w"), "Deploy", None)
        .await
        .unwrap();
    until("heartbeats came", async || {
        let beats = files.list("heartbeats");
        let beats = beats
            .iter()
            .filter(|(_, beat)| beat["action"] == "heartbeat");
        beats.filter(|(_, beat)| beat["target"] == "Deploy").count() >= 3
    })
    .await;
    let beats = files.list("heartbeats");
    assert!(
        beats
            .iter()
            .all(|(_, beat)| beat["session_id"] == "session-1")
    );
    let last = beats
        .iter()
        .filter_map(|(_, beat)| beat["timestamp"].as_str())
        .max()
        .unwrap();
    files
        .until_entry("1", |entry| {
            entry["last_heartbeat"]
                .as_str()
                .is_some_and(|at| at >= last)
        })
        .await;
}

#[tokio::test]
async fn a_restart_goes_on_where_the_files_are() {
    let files = Files::new().await;
    let agents = files.world.agents.clone();
    let connection = agents
        .connect(&session("session-5"), Profile::default())
        .await
        .unwrap();
    let message = json!({"message": "before"});
    files
        .say("session-5", ProtocolEvent::MessageBroadcast, message)
        .await;
    let (world, folder) = files.end().await;
    let listed = fs::read_dir(folder.path().join("messages/broadcast")).unwrap();
    assert_eq!(listed.count(), 1, "what happened before the end is written");
    // While nobody writes the files.
    agents
        .claim(&session("session-5"), &work("w"), "Meanwhile", None)
        .await
        .unwrap();
    let known = world
        .log
        .catalogue()
        .known_type(ProtocolEvent::MessageBroadcast);
    let said = NewEvent::new(known, json!({"message": "meanwhile"}).to_string());
    agents.publish(&session("session-5"), said).await.unwrap();
    let world = world.restart(options()).await;
    let files = Files::over(world, folder, |_| {}).await;
    files
        .until_entry("5", |entry| entry["current_work"] == "Meanwhile")
        .await;
    until("what was missed is there", async || {
        files.list("messages/broadcast").len() == 2
    })
    .await;
    let beats = files.list("heartbeats");
    assert_eq!(beats.len(), 2, "{beats:?}");
    drop(connection);
}

#[tokio::test]
async fn the_bus_goes_on_while_the_files_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    // Where the folder of heartbeats would be, there is a file.
    fs::write(folder.path().join("heartbeats"), "in the way").unwrap();
    let files = Files::over(World::new().await, folder, |_| {}).await;
    let agents = &files.world.agents;
    let _here = agents
        .connect(&session("session-1"), Profile::default())
        .await
        .unwrap();
    until("the files are unavailable", async || {
        files.dependency.availability() == Availability::Unavailable
            && agents.measured().errors_last_hour > 0
    })
    .await;
    agents
        .claim(&session("session-1"), &work("w"), "Deploy", None)
        .await
        .unwrap();
    fs::remove_file(files.path("heartbeats")).unwrap();
    until("everything is written", async || {
        files.list("heartbeats").len() == 2
            && files.dependency.availability() == Availability::Available
    })
    .await;
    files
        .until_entry("1", |entry| entry["current_work"] == "Deploy")
        .await;
}

#[tokio::test]
async fn a_broken_file_is_kept_and_nobody_waits_for_it() {
    let files = Files::new().await;
    let agents = &files.world.agents;
    let _here = agents
        .connect(&session("session-5"), Profile::default())
        .await
        .unwrap();
    files
        .until_entry("5", |entry| entry["status"] == "active")
        .await;
    let half = &SESSIONS[..SESSIONS.len() / 2];
    fs::write(files.path("claude_sessions.json"), half).unwrap();
    let message = json!({"message": "goes on"});
    files
        .say("session-5", ProtocolEvent::MessageBroadcast, message)
        .await;
    until("the message is written", async || {
        files.list("messages/broadcast").len() == 1
    })
    .await;
    until("the file is whole again", async || {
        let sessions = read(&files.path("claude_sessions.json"));
        sessions.is_ok_and(|sessions| sessions["13"]["terminal"] == "s001")
    })
    .await;
    let listed = fs::read_dir(files.folder.path()).unwrap();
    let names = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let broken: Vec<_> = names
        .filter(|name| name.starts_with("claude_sessions.json.broken-"))
        .collect();
    assert_eq!(broken.len(), 1, "{broken:?}");
    assert_eq!(fs::read_to_string(files.path(&broken[0])).unwrap(), half);
    assert_eq!(
        agents.session_of_token("a-token-by-hand"),
        Some(session("session-5"))
    );
}
