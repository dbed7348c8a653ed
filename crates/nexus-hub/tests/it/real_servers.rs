//! Servers that people use, as npm and pip install them, behind one hub: listed together and called.

use std::path::PathBuf;

use nexus_auth::Secret;
use nexus_hub::{ServerId, Transport, UpstreamConfig};
use serde_json::{Value, json};

use crate::{
    conformance::{modules, node},
    mcp::client::{Endpoint, Session, server},
};

/// A server: what the hub calls it, its package and what it is started with.
struct Real {
    alias: &'static str,
    script: &'static str,
    args: Vec<String>,
    env: Vec<(&'static str, String)>,
    /// Some of its tools, as the hub names them.
    tools: &'static [&'static str],
}

/// The servers; `folder` is theirs.
fn servers(folder: &std::path::Path) -> Vec<Real> {
    let folder = folder.display().to_string();
    vec![
        Real {
            alias: "everything",
            script: "@modelcontextprotocol/server-everything/dist/index.js",
            args: Vec::new(),
            env: Vec::new(),
            tools: &["everything_echo"],
        },
        Real {
            alias: "files",
            script: "@modelcontextprotocol/server-filesystem/dist/index.js",
            args: vec![folder.clone()],
            env: Vec::new(),
            tools: &["files_list_directory", "files_read_text_file"],
        },
        Real {
            alias: "memory",
            script: "@modelcontextprotocol/server-memory/dist/index.js",
            args: Vec::new(),
            env: vec![("MEMORY_FILE_PATH", format!("{folder}/memory.json"))],
            tools: &["memory_create_entities", "memory_read_graph"],
        },
        // Without a key that counts they only say what they could do.
        Real {
            alias: "brave",
            script: "@brave/brave-search-mcp-server/dist/index.js",
            args: Vec::new(),
            env: vec![("BRAVE_API_KEY", "no-key".to_owned())],
            tools: &["brave_web_search"],
        },
        Real {
            alias: "maps",
            script: "@cablate/mcp-google-map/dist/cli.js",
            args: vec!["--stdio".to_owned()],
            env: vec![("GOOGLE_MAPS_API_KEY", "no-key".to_owned())],
            tools: &["maps_geocode"],
        },
    ]
}

fn config(real: &Real, node: &std::path::Path, script: &std::path::Path) -> UpstreamConfig {
    let (_, config) = server(real.alias);
    let script = script.display().to_string();
    let env = real.env.iter();
    UpstreamConfig {
        transport: Transport::Stdio {
            program: node.display().to_string(),
            args: [vec![script], real.args.clone()].concat(),
            env: env
                .map(|(name, value)| ((*name).to_owned(), Secret::new(value.as_str())))
                .collect(),
        },
        ..config
    }
}

async fn call(session: &Session<'_>, name: &str, arguments: Value) -> Value {
    let params = json!({ "name": name, "arguments": arguments });
    let answer = session.ask(1, "tools/call", params).await;
    assert_ne!(answer["result"]["isError"], true, "{name}: {answer}");
    answer["result"].clone()
}

/// The Python that has its own servers, if set-up made it.
fn python() -> PathBuf {
    let told = std::env::var_os("NEXUS_TEST_PYTHON").map(PathBuf::from);
    told.unwrap_or_else(|| PathBuf::from("NEXUS_TEST_PYTHON"))
}

/// Puts a server of a Python package in.
async fn put_module(endpoint: &Endpoint, alias: &str, module: &str, more: &[&str]) {
    let (server, config) = server(alias);
    let id = ServerId::new(alias);
    let args = [&["-m", module][..], more].concat();
    let transport = Transport::Stdio {
        program: python().display().to_string(),
        args: args.into_iter().map(str::to_owned).collect(),
        env: Vec::new(),
    };
    let config = UpstreamConfig {
        transport,
        ..config
    };
    endpoint.hub.put_server(server, config).await.unwrap();
    let report = endpoint.hub.sync(&id).await;
    assert!(report.is_ok(), "{alias}: {report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_in_python_are_behind_the_hub_as_well() {
    if !crate::conformance::need(&[&python()]) {
        return;
    }
    let endpoint = Endpoint::start().await;
    let zone = ["--local-timezone", "Europe/Berlin"];
    put_module(&endpoint, "time", "mcp_server_time", &zone).await;
    put_module(&endpoint, "fetch", "mcp_server_fetch", &[]).await;
    let session = endpoint.begin("ana", json!({})).await;
    let tools = session.ask(1, "tools/list", json!({})).await;
    for name in ["time_convert_time", "fetch"] {
        let tools = tools["result"]["tools"].as_array().unwrap();
        assert!(
            tools.iter().any(|tool| tool["name"] == name),
            "{name}: {tools:?}"
        );
    }
    let arguments = json!({
        "source_timezone": "Europe/Berlin",
        "time": "12:00",
        "target_timezone": "UTC",
    });
    let converted = call(&session, "time_convert_time", arguments).await;
    assert!(converted.to_string().contains("UTC"), "{converted}");
    endpoint.hub.upstreams().close_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_people_use_are_one_behind_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let real = servers(folder.path());
    let scripts: Vec<PathBuf> = real
        .iter()
        .map(|real| modules().join(real.script))
        .collect();
    let files: Vec<&std::path::Path> = scripts.iter().map(PathBuf::as_path).collect();
    let node = node();
    if !crate::conformance::need(&[&files[..], &[&node]].concat()) {
        return;
    }
    std::fs::write(folder.path().join("hello.txt"), "hello from a file").unwrap();
    let endpoint = Endpoint::start().await;
    for (real, script) in real.iter().zip(&scripts) {
        let (server, _) = server(real.alias);
        let id = ServerId::new(real.alias);
        let config = config(real, &node, script);
        endpoint.hub.put_server(server, config).await.unwrap();
        let report = endpoint.hub.sync(&id).await;
        assert!(report.is_ok(), "{}: {report:?}", real.alias);
    }
    let session = endpoint.begin("ana", json!({})).await;
    let tools = session.ask(1, "tools/list", json!({})).await;
    let tools = tools["result"]["tools"].as_array().unwrap();
    let names: Vec<&str> = tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    for name in real.iter().flat_map(|real| real.tools) {
        assert!(names.contains(name), "{name} is not in {names:?}");
    }

    let echo = call(&session, "everything_echo", json!({ "message": "hello" })).await;
    let text = echo["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("hello"), "{echo}");
    let path = folder.path().join("hello.txt");
    let read = call(&session, "files_read_text_file", json!({ "path": path })).await;
    assert_eq!(read["content"][0]["text"], "hello from a file", "{read}");
    let entity = json!({ "name": "Nexus", "entityType": "hub", "observations": ["it works"] });
    call(
        &session,
        "memory_create_entities",
        json!({ "entities": [entity] }),
    )
    .await;
    let graph = call(&session, "memory_read_graph", json!({})).await;
    assert!(graph.to_string().contains("it works"), "{graph}");
    endpoint.hub.upstreams().close_all().await;
}
