//! Credentials that can be told from everything else, looked for everywhere: answers, events, the log of the
//! process, and every file of the database.

use std::{
    io,
    path::Path,
    sync::{Arc, OnceLock},
};

use http::Method;
use nexus_auth::Secret;
use nexus_core::{Catalogue, Clock, Log, LogOptions, Random};
use nexus_store::{Sqlite, SqliteOptions};
use parking_lot::Mutex;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use super::{
    stub::Stub,
    support::{ANA, Api, BOB, OPERATOR, World},
};

const HEADER: &str = "canary-header-4f1c9e77-zzzz";
const QUERY: &str = "canary-query-93ab61d2-zzzz";
const VARIABLE: &str = "canary-variable-b7720c15-zzzz";
const SYSTEM: &str = "canary-system-0d5e8a3f-zzzz";
const CANARIES: [&str; 4] = [HEADER, QUERY, VARIABLE, SYSTEM];

/// What the process has logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Logged {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Everything that is logged from here on, down to the last detail.
fn logged() -> Logged {
    static LOGGED: OnceLock<Logged> = OnceLock::new();
    let begin = || {
        let logged = Logged::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(logged.clone())
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
        logged
    };
    LOGGED.get_or_init(begin).clone()
}

/// The canaries in some bytes, also with their letters as numbers.
fn found(bytes: &[u8]) -> Vec<&'static str> {
    let has = |needle: &[u8]| memchr::memmem::find(bytes, needle).is_some();
    let hex = |text: &str| data_encoding::HEXLOWER.encode(text.as_bytes());
    // Without the last four characters, which may be shown.
    let is_in = |canary: &&&str| {
        let hidden = &canary[..canary.len() - 4];
        let encoded = data_encoding::BASE64.encode(hidden.as_bytes());
        has(hidden.as_bytes()) || has(hex(hidden).as_bytes()) || has(&encoded.as_bytes()[..28])
    };
    CANARIES.iter().filter(is_in).copied().collect()
}

async fn open(folder: &Path) -> World {
    let clock = Clock::System;
    let random = Random::system();
    let options = SqliteOptions::new(folder.join("log.db"));
    let opened = Sqlite::open(options, clock.clone(), random.clone()).await;
    let (backend, pages) = opened.unwrap();
    let options = LogOptions::default();
    let opened = Log::open(
        backend,
        pages,
        Catalogue::known(),
        options,
        clock.clone(),
        random,
    );
    let (log, service) = opened.await.unwrap();
    tokio::spawn(service.run());
    World::on(log, clock).await
}

/// Everything that a user and an operator can be told.
async fn everything_told(api: &Api, server: &str) -> Vec<String> {
    let mut told = Vec::new();
    for token in [ANA, BOB, OPERATOR] {
        for path in [
            "/api/v1/servers".to_owned(),
            format!("/api/v1/servers/{server}"),
            format!("/api/v1/servers/{server}/health"),
            "/api/v1/tools".to_owned(),
            "/api/v1/tools/waiting".to_owned(),
            "/api/v1/resources".to_owned(),
            "/api/v1/prompts".to_owned(),
            "/api/v1/jobs".to_owned(),
        ] {
            told.push(api.ask(token, Method::GET, &path, None).await.text);
        }
        for action in ["list_servers", "list_tools", "health_check"] {
            told.push(api.act(token, json!({ "action": action })).await.text);
        }
    }
    told
}

#[tokio::test]
async fn credentials_of_servers_are_nowhere_in_clear() {
    let logged = logged();
    let folder = tempfile::tempdir().unwrap();
    let world = open(folder.path()).await;
    let (stub, maps) = (Stub::start().await, Stub::start().await);
    let api = world
        .start_with(|options| {
            options.registry.stdio_users = true;
            options.registry.system.maps_key = Some(Secret::new(SYSTEM));
            options.registry.system.maps_url = Some(maps.url.parse().unwrap());
        })
        .await;
    let bearer = format!("Bearer {HEADER}");
    stub.wants(&bearer);
    let config = json!({
        "name": "notes", "transport": "http", "url": format!("{}?key={QUERY}", stub.url),
        "headers": { "Authorization": bearer },
    });
    let added = api
        .act(ANA, json!({ "action": "add_server", "config": config }))
        .await;
    let id = added.body["server_id"].as_str().unwrap().to_owned();
    let mut told = vec![added.text];
    let sync = json!({ "action": "sync_tools", "serverId": id });
    told.push(api.act(ANA, sync.clone()).await.text);

    // Its server tells what it was sent, at once and as a job.
    let leak = json!({ "action": "invoke", "toolName": "notes_leak" });
    let leaked = api.act(ANA, leak.clone()).await;
    assert!(leaked.text.contains("you sent"), "{}", leaked.text);
    told.push(leaked.text);
    let mut as_job = leak;
    as_job["async"] = json!(true);
    let job = api.act(ANA, as_job).await;
    let job = job.body["job_id"].as_str().unwrap().to_owned();
    told.push(api.until_job(ANA, &job, "completed").await.to_string());
    let system = json!({ "action": "invoke", "toolName": "maps_leak" });
    let maps_synced = json!({ "action": "sync_tools", "serverId": "maps" });
    told.push(api.act(OPERATOR, maps_synced).await.text);
    told.push(api.act(ANA, system).await.text);

    // What fails says no more: other credentials, a server that is not there, one that cannot be sealed.
    stub.wants("Bearer another");
    told.push(api.call(ANA, "notes_echo", json!({})).await.text);
    told.push(api.act(ANA, sync).await.text);
    let away = json!({
        "name": "away", "transport": "http", "url": format!("http://127.0.0.1:9/{QUERY}?key={QUERY}"),
        "headers": { "X-Api-Key": HEADER },
    });
    let refused = api
        .act(ANA, json!({ "action": "add_server", "config": away }))
        .await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    told.push(refused.text);
    let program = json!({
        "name": "program", "transport": "stdio", "command": "npx", "args": ["-y", "x@1.2.3"],
        "env": { "API_KEY": VARIABLE }, "enabled": false,
    });
    told.push(
        api.act(ANA, json!({ "action": "add_server", "config": program }))
            .await
            .text,
    );
    let wrong = json!({
        "name": "wrong", "transport": "stdio", "command": "npx", "args": ["x"],
        "env": { "LD_PRELOAD": VARIABLE },
    });
    told.push(
        api.act(ANA, json!({ "action": "add_server", "config": wrong }))
            .await
            .text,
    );
    told.extend(everything_told(&api, &id).await);
    for text in &told {
        assert_eq!(found(text.as_bytes()), [""; 0], "{text}");
    }
    let events = world.all("*").await;
    assert!(events.len() >= 3, "{}", events.len());
    for event in &events {
        assert_eq!(found(&event.payload), [""; 0], "{event:?}");
    }

    // Also what the database has, with what was written ahead, and a backup of it.
    let (log, backup) = (
        folder.path().join("log.db"),
        folder.path().join("backup.db"),
    );
    let made = Sqlite::backup(&log, &backup, false, &Random::system(), |_| {}).await;
    assert!(made.unwrap().verified.last.get() >= 3);
    drop(api);
    world.log.close();
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let content = std::fs::read(&path).unwrap();
        bytes += content.len();
        assert_eq!(found(&content), [""; 0], "{}", path.display());
    }
    assert!(bytes > 10_000 && backup.exists(), "{bytes}");
    let logged = logged.0.lock().clone();
    assert!(logged.len() > 1_000, "{}", logged.len());
    let lines = String::from_utf8_lossy(&logged);
    let bad: Vec<&str> = lines
        .lines()
        .filter(|line| !found(line.as_bytes()).is_empty())
        .collect();
    assert_eq!(bad, [""; 0]);
}
