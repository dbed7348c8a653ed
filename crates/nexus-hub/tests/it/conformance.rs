//! The official suite of MCP, run through the hub: what a server can do, it can do behind the hub as well.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nexus_core::{Principal, Random};
use nexus_http::{Server, ServerOptions};
use nexus_hub::{
    ClientCapabilities, Isolation, Jobs, JobsOptions, ServerId, Transport, UpstreamConfig,
    UpstreamLimits,
    mcp::{Door, Mcp, McpOptions},
};
use nexus_outbound::Trust;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;

use crate::mcp::client::{hub, log, server};

/// The suite as npm installs it, the program that runs it, and the server that it is run against.
struct Suite {
    node: PathBuf,
    script: PathBuf,
    fixture: PathBuf,
}

/// Far longer than the suite takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// What the revision requires.
const REQUIRED: usize = 30;

/// What npm installed for these tests.
pub(crate) fn modules() -> PathBuf {
    let told = std::env::var_os("NEXUS_TEST_CONFORMANCE").map(PathBuf::from);
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/node_modules");
    told.unwrap_or(here)
}

/// The Node.js among it that is for this processor.
pub(crate) fn node() -> PathBuf {
    let nodes = ["x64", "arm64"].map(|cpu| modules().join(format!("node-linux-{cpu}/bin/node")));
    let [usual, _] = &nodes;
    nodes
        .iter()
        .find(|node| node.is_file())
        .unwrap_or(usual)
        .clone()
}

/// Whether all of these are there. Without one the test is to be skipped, which is said, and which is a failure
/// where everything was asked for.
pub(crate) fn need(files: &[&Path]) -> bool {
    let Some(missing) = files.iter().find(|file| !file.is_file()) else {
        return true;
    };
    let required = std::env::var_os("NEXUS_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!required, "not there: {}", missing.display());
    println!(
        "skipped: there is no {}; `cargo xtask test` makes it",
        missing.display()
    );
    false
}

/// The suite, if all of it is there.
fn suite() -> Option<Suite> {
    let suite = Suite {
        node: node(),
        script: modules().join("@modelcontextprotocol/conformance/dist/index.js"),
        fixture: fixture(),
    };
    need(&[&suite.node, &suite.script, &suite.fixture]).then_some(suite)
}

/// The server: where the build of everything put it, else beside this test.
fn fixture() -> PathBuf {
    const NAME: &str = "mcp-fixture";
    if let Some(folder) = std::env::var_os("NEXUS_TEST_BIN_DIR") {
        return Path::new(&folder).join(NAME);
    }
    let test = std::env::current_exe().unwrap();
    let deps = test.ancestors().find(|folder| folder.ends_with("deps"));
    deps.unwrap().with_file_name(NAME)
}

/// Starts the server; it ends with what is given. Where it listens.
async fn start(fixture: &Path) -> (Child, String) {
    let mut child = Command::new(fixture)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines
        .next_line()
        .await
        .unwrap()
        .expect("it says where it listens");
    let url = line.strip_prefix("listening on ").unwrap().to_owned();
    (child, url)
}

/// A hub before the fixture, at the address of which nobody needs a token; that address.
async fn through_the_hub(fixture: &str, stop: &CancellationToken) -> String {
    let log = log().await;
    let hub = hub(log.clone()).await;
    let (server, _) = server("fixture");
    let config = UpstreamConfig {
        id: ServerId::new("fixture"),
        revision: 1,
        transport: Transport::Http {
            url: fixture.parse().unwrap(),
            trust: Trust::Configured,
            headers: Vec::new(),
        },
        isolation: Isolation::Shared,
        capabilities: ClientCapabilities::all(),
        limits: UpstreamLimits::http(),
    };
    hub.put_server(server, config).await.unwrap();
    hub.sync(&ServerId::new("fixture")).await.unwrap();
    let jobs = Jobs::open(log, hub.clone(), JobsOptions::default());
    let mcp = Mcp::new(
        hub,
        Door::Open(Principal::nexus()),
        McpOptions::default(),
        Random::system(),
    )
    .with_tasks(jobs.await.unwrap());
    let options = ServerOptions {
        anonymous_rate: None,
        ..ServerOptions::default()
    };
    let address = ([127, 0, 0, 1], 0).into();
    let listener = Server::bind(address, mcp.routes(), options).await.unwrap();
    let url = format!("http://{}/mcp/fixture", listener.local_addr());
    tokio::spawn(listener.run(stop.clone()));
    tokio::spawn(mcp.run(stop.clone()));
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_suite_finds_everything_behind_the_hub() {
    let Some(suite) = suite() else {
        return;
    };
    let stop = CancellationToken::new();
    let (_fixture, url) = start(&suite.fixture).await;
    let url = through_the_hub(&url, &stop).await;
    let run = Command::new(&suite.node)
        .arg(&suite.script)
        .args(["server", "--url", &url, "--requirements", "2025-11-25"])
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    println!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", output.status);
    let passed = text
        .lines()
        .filter(|line| line.starts_with("✓ ") && line.ends_with(", 0 failed"));
    assert!(passed.count() >= REQUIRED);
    stop.cancel();
}
