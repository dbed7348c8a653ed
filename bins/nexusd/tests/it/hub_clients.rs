//! Servers that people use behind one daemon, and the clients that people use in front of it.

#[path = "hub_clients/client.rs"]
mod client;
#[path = "hub_clients/world.rs"]
mod world;

use serde_json::{Value, json};

use self::{
    client::{Sdk, Way, inspector},
    world::{BRAVE_KEY, LONG, TOKEN, World},
};
use crate::support::{
    Answer, Daemon, DaemonOptions, Process, Proxy, SlowServer, Stub, Tool, mcp_server, need, post,
    until, until_within,
};

/// One tool of each of the eight.
const OF_EACH: [&str; 8] = [
    "brave_web_search",
    "everything_echo",
    "fetch",
    "files_read_text_file",
    "googlemap_maps_geocode",
    "memory_read_graph",
    "playwright_browser_navigate",
    "time_convert_time",
];
const RESOURCE: &str = "demo://resource/static/document/features.md";
const PROMPT: &str = "everything_args-prompt";

/// The calls that a client makes, and what each answer has to say.
fn calls(world: &World, who: &str) -> Vec<(Value, String)> {
    let call = |name: &str, arguments: Value, says: &str| {
        let call = json!({ "name": name, "arguments": arguments });
        (call, says.to_owned())
    };
    let zones = json!({
        "source_timezone": "Asia/Kolkata",
        "time": "12:00",
        "target_timezone": "Asia/Tokyo",
    });
    let entity = json!({ "name": who, "entityType": "client", "observations": ["was here"] });
    let file = world.files().join("hello.txt");
    vec![
        call("everything_echo", json!({ "message": who }), who),
        call(
            "everything_trigger-long-running-operation",
            json!({ "duration": 1, "steps": 2 }),
            "completed",
        ),
        call(
            "files_read_text_file",
            json!({ "path": file }),
            "hello from a file",
        ),
        call(
            "memory_create_entities",
            json!({ "entities": [entity] }),
            who,
        ),
        call("memory_read_graph", json!({}), who),
        call("time_convert_time", zones, "15:30:00+09:00"),
        call("fetch", json!({ "url": world.page() }), "Hello from a page"),
        call(
            "brave_web_search",
            json!({ "query": "nexus" }),
            "Found by a stand-in",
        ),
        call(
            "playwright_browser_navigate",
            json!({ "url": world.page() }),
            "Page Title: Title 42",
        ),
        call(
            "playwright_browser_snapshot",
            json!({}),
            "written by a script: 42",
        ),
    ]
}

/// What a result says in words.
fn text(result: &Value) -> String {
    let blocks = result["content"].as_array().into_iter().flatten();
    let texts: Vec<&str> = blocks.filter_map(|block| block["text"].as_str()).collect();
    texts.join("\n")
}

fn names(seen: &Value, member: &str) -> Vec<String> {
    let mut names: Vec<String> = serde_json::from_value(seen[member].clone()).unwrap();
    names.sort_unstable();
    names
}

/// A client of an SDK sees everything, calls each server that can be called, reads a resource and gets a prompt.
fn an_sdk_uses_all(world: &World, sdk: Sdk, way: Way, tools: &[String]) {
    let who = format!("{sdk:?} by {way:?}");
    let calls = calls(world, &who);
    let wanted: Vec<&Value> = calls.iter().map(|(call, _)| call).collect();
    let plan = json!({
        "calls": wanted,
        "read": [RESOURCE],
        "prompts": [{ "name": PROMPT, "arguments": { "city": "Berlin" } }],
    });
    let seen = sdk.run(way, &world.url(), &plan);
    assert_eq!(names(&seen, "tools"), tools, "{who}");
    let resources = names(&seen, "resources");
    assert!(resources.contains(&RESOURCE.to_owned()), "{who}: {seen}");
    assert!(
        resources.contains(&"memory://knowledge-graph".to_owned()),
        "{who}: {seen}"
    );
    let prompts = names(&seen, "prompts");
    for prompt in [PROMPT, "fetch"] {
        assert!(prompts.contains(&prompt.to_owned()), "{who}: {seen}");
    }
    for ((call, says), answer) in calls.iter().zip(seen["calls"].as_array().unwrap()) {
        let result = &answer["result"];
        assert_ne!(result["isError"], true, "{who}: {call}: {answer}");
        assert!(text(result).contains(says), "{who}: {call}: {answer}");
        let steps = if call["name"] == "everything_trigger-long-running-operation" {
            2
        } else {
            0
        };
        assert_eq!(answer["progress"], steps, "{who}: {call}: {answer}");
    }
    assert_eq!(seen["calls"].as_array().unwrap().len(), calls.len());
    let read = &seen["read"][0]["contents"][0];
    assert!(
        read["text"].as_str().unwrap().contains("# Everything"),
        "{who}: {read}"
    );
    let got = &seen["got"][0]["messages"][0]["content"];
    assert!(
        got["text"].as_str().unwrap().contains("Berlin"),
        "{who}: {got}"
    );
    assert!(!seen.to_string().contains(BRAVE_KEY), "{who}: {seen}");
}

/// Inspector does one thing each time it is run.
fn inspector_uses_all(world: &World, tools: &[String]) {
    let home = tempfile::tempdir().unwrap();
    let ask = |way: Way, arguments: &[&str]| inspector(way, &world.url(), home.path(), arguments);
    let named = |answer: &Value, list: &str, member: &str| {
        let list = answer[list].as_array().unwrap();
        let mut names: Vec<String> = list
            .iter()
            .map(|entry| entry[member].as_str().unwrap().to_owned())
            .collect();
        names.sort_unstable();
        names
    };
    for way in [Way::Http, Way::Command] {
        let listed = ask(way, &["--method", "tools/list"]);
        assert_eq!(named(&listed, "tools", "name"), tools, "{way:?}");
        let echo = ["--method", "tools/call", "--tool-name", "everything_echo"];
        let echo = ask(way, &[&echo[..], &["--tool-arg", "message=hello"]].concat());
        assert!(text(&echo).contains("hello"), "{way:?}: {echo}");
    }
    let url = json!({ "url": world.page() }).to_string();
    let navigate = ["--method", "tools/call", "--tool-args-json", &url];
    let tool = ["--tool-name", "playwright_browser_navigate"];
    let opened = ask(Way::Http, &[&navigate[..], &tool].concat());
    assert!(text(&opened).contains("Page Title: Title 42"), "{opened}");
    let resources = ask(Way::Http, &["--method", "resources/list"]);
    let resources = named(&resources, "resources", "uri");
    assert!(resources.contains(&RESOURCE.to_owned()), "{resources:?}");
    let read = ask(
        Way::Http,
        &["--method", "resources/read", "--uri", RESOURCE],
    );
    let read = read["contents"][0]["text"].as_str().unwrap();
    assert!(read.contains("# Everything"), "{read}");
    let prompts = ask(Way::Http, &["--method", "prompts/list"]);
    let prompts = named(&prompts, "prompts", "name");
    assert!(prompts.contains(&PROMPT.to_owned()), "{prompts:?}");
}

/// A server that is switched off is gone from the list of a client that is told of it, and back when it is on.
fn a_client_hears_of_changes(world: &World, way: Way, tools: &[String]) {
    let others: Vec<String> = tools
        .iter()
        .filter(|name| !name.starts_with("playwright_"))
        .cloned()
        .collect();
    for (what, left) in [("disable", &others[..]), ("enable", tools)] {
        let plan = json!({ "change": format!("/api/v1/servers/playwright/{what}") });
        let seen = Sdk::TypeScript.run(way, &world.url(), &plan);
        assert_eq!(names(&seen, "after"), left, "{way:?}: {what}");
    }
}

#[test]
fn every_client_uses_the_tools_of_eight_servers_as_one() {
    if !need(&[Tool::Node, Tool::McpSdk, Tool::McpServers, Tool::Browser]) {
        return;
    }
    let world = World::start();
    let tools = world.tools("");
    for name in OF_EACH {
        assert!(tools.contains(&name.to_owned()), "{name}: {tools:?}");
    }
    let mut asked = 0;
    for sdk in [Sdk::Python, Sdk::TypeScript] {
        for way in [Way::Http, Way::Command] {
            an_sdk_uses_all(&world, sdk, way, &tools);
            asked += 1;
        }
    }
    inspector_uses_all(&world, &tools);
    for way in [Way::Http, Way::Command] {
        a_client_hears_of_changes(&world, way, &tools);
    }
    // The stand-in answers nobody without the key. So each client's call came to it, with the key, and the key was
    // told nobody else.
    assert_eq!(world.brave.count(), asked);
    let said = world.daemon.process().stderr();
    assert!(!said.contains(BRAVE_KEY), "{said}");
}

#[test]
fn an_sdk_that_lost_its_connection_in_a_call_comes_back_for_the_answer() {
    if !need(&[Tool::Node]) {
        return;
    }
    let slow = SlowServer::start();
    let daemon = DaemonOptions::dev().env("NEXUS_ADMIN_TOKEN", TOKEN).start();
    let config = json!({ "name": "slow", "transport": "http", "url": slow.url() });
    let added = ask(&daemon, "/api/v1/servers", &config.to_string());
    assert_eq!(added.status, 201, "{}", added.text());
    until_within(LONG, "the tool of the server", || {
        let tools = daemon.read("/api/v1/tools?q=report", TOKEN);
        (tools["data"][0]["name"] == "slow_report").then_some(())
    });

    let proxy = Proxy::start(daemon.address());
    let url = format!("{}/mcp", proxy.url());
    let plan = json!({ "calls": [{ "name": "slow_report", "arguments": {} }] });
    let mut client = Process::start(&mut Sdk::TypeScript.command(Way::Http, &url, &plan));
    // From here on the answer comes over a stream, and the client knows where it stands there.
    client.line(0, |line| line.starts_with(r#"{"id":"#));
    proxy.cut(Some(daemon.address()));
    slow.go_on();
    let status = client.end_within(LONG);
    assert!(status.success(), "{}", client.stderr());
    let (_, seen) = client.line(0, |line| line.starts_with(r#"{"tools":"#));
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(text(&seen["calls"][0]["result"]), "done", "{seen}");
    assert!(seen["resumed"].as_u64().unwrap() > 0, "{seen}");
    assert_eq!(slow.calls(), 1, "it was asked once");
}

/// A stand-in of a service, with one tool that says who it is.
fn stand_in(name: &'static str) -> Stub {
    let tool = json!({ "name": "whoami", "inputSchema": { "type": "object" } });
    mcp_server(
        tool,
        move |_| json!({ "content": [{ "type": "text", "text": name }] }),
    )
}

#[test]
fn servers_that_nexus_knows_are_asked_with_the_keys_of_the_environment() {
    let (maps, github) = (stand_in("maps"), stand_in("github"));
    let (key, token) = (
        "the-key-of-maps-4d7c9a2b5d0c",
        "the-token-of-github-8b0e1f4d7c9a",
    );
    let daemon = DaemonOptions::serve()
        .env("NEXUS_ADMIN_TOKEN", TOKEN)
        .env("GOOGLE_MAPS_API_KEY", key)
        .env("NEXUS__HUB__MAPS_URL", format!("{}/mcp", maps.url()))
        .env("GITHUB_TOKEN", token)
        .env("NEXUS__HUB__GITHUB_URL", format!("{}/mcp", github.url()))
        .start();
    let bearer = format!("Bearer {token}");
    let sent = [
        ("maps", &maps, "x-goog-api-key", key),
        ("github", &github, "authorization", &bearer),
    ];
    for (id, stub, header, value) in sent {
        until(&format!("the tool of {id}"), || {
            let tools = daemon.read(&format!("/api/v1/tools?server={id}"), TOKEN);
            (tools["data"][0]["name"] == format!("{id}_whoami")).then_some(())
        });
        let called = ask(&daemon, &format!("/api/v1/tools/{id}_whoami/call"), "{}");
        assert_eq!(text(&called.json()["data"]), id, "{}", called.text());
        for request in stub.received("/mcp") {
            assert_eq!(request.header(header), Some(value), "{id}");
            // Whoever calls, what they showed Nexus goes nowhere.
            assert!(!request.says(TOKEN), "{id}");
        }
    }
    let said = daemon.process().stderr();
    assert!(!said.contains(key) && !said.contains(token), "{said}");
}

/// Posts something as the operator.
fn ask(daemon: &Daemon, path: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    post(daemon.address(), path, &headers, body)
}
