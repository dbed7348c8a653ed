//! What is needed beside Rust: found in the environment, or the test says that it was skipped.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Where the readers are that others could have written.
pub(crate) const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

/// Something that is installed, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Node.js, and the packages that the clients use.
    Node,
    /// Python with the packages that the clients use.
    Python,
    /// Python with the SDK of MCP beside them.
    McpSdk,
    /// Servers of MCP that people use, those in Node.js and those in Python, and what Inspector needs.
    McpServers,
    /// bash, curl and openssl.
    Shell,
    /// A browser that needs no screen.
    Browser,
    /// A library that gives a program another clock than the machine's.
    Clock,
}

/// The program that runs what is written for a tool; nothing when it is not installed.
pub(crate) fn tool(tool: Tool) -> Option<PathBuf> {
    match tool {
        Tool::Node => node_modules().and(program("node")),
        Tool::Python => python(PACKAGES),
        Tool::McpSdk => python("import httpx2, mcp"),
        Tool::McpServers => newer_node()
            .and(server_modules())
            .and(python("import mcp_server_fetch, mcp_server_time")),
        Tool::Browser => program("chromium-headless-shell").or_else(|| program("chromium")),
        Tool::Shell => program("curl").and(program("openssl")).and(program("bash")),
        Tool::Clock => clock(),
    }
}

/// Where the packages of the clients in Node.js are.
pub(crate) fn node_modules() -> Option<PathBuf> {
    let told = std::env::var_os("NEXUS_TEST_NODE_MODULES").map(PathBuf::from);
    let here = Path::new(CLIENTS).join("node_modules");
    told.or(Some(here)).filter(|folder| {
        has(
            folder,
            &[
                "@modelcontextprotocol/sdk",
                "cloudevents",
                "standardwebhooks",
                "svix",
                "ws",
            ],
        )
    })
}

/// Where the servers of MCP are that people use, and Inspector.
pub(crate) fn server_modules() -> Option<PathBuf> {
    let told = std::env::var_os("NEXUS_TEST_CONFORMANCE").map(PathBuf::from);
    let usual = "../../crates/nexus-hub/tests/conformance/node_modules";
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join(usual);
    // Whole, because programs are started elsewhere with it.
    let folder = std::fs::canonicalize(told.unwrap_or(here)).ok()?;
    let packages = [
        "@brave/brave-search-mcp-server",
        "@cablate/mcp-google-map",
        "@modelcontextprotocol/inspector",
        "@modelcontextprotocol/server-everything",
        "@modelcontextprotocol/server-filesystem",
        "@modelcontextprotocol/server-memory",
        "@playwright/mcp",
    ];
    has(&folder, &packages).then_some(folder)
}

/// A Node.js that is newer than Debian's, as Inspector asks for: for this processor.
pub(crate) fn newer_node() -> Option<PathBuf> {
    let modules = server_modules()?;
    let mut nodes = ["x64", "arm64"]
        .map(|cpu| modules.join(format!("node-linux-{cpu}/bin/node")))
        .into_iter();
    nodes.find(|node| node.is_file())
}

fn has(modules: &Path, packages: &[&str]) -> bool {
    packages
        .iter()
        .all(|package| modules.join(package).join("package.json").is_file())
}

/// What the clients in Python import.
const PACKAGES: &str =
    "import cloudevents.core, httpx, standardwebhooks, svix, websockets.sync.client";

fn python(imports: &str) -> Option<PathBuf> {
    let told = std::env::var_os("NEXUS_TEST_PYTHON").map(PathBuf::from);
    let python = told.or_else(|| program("python3"))?;
    let has_packages = Command::new(&python).args(["-c", imports]).output();
    has_packages
        .is_ok_and(|output| output.status.success())
        .then_some(python)
}

/// Where Debian puts the library, whatever the processor.
fn clock() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?;
    let libraries = folders
        .flatten()
        .map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    libraries.into_iter().find(|file| file.is_file())
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Whether all of these are there. Without one the test is to be skipped, which is said, and which is a
/// failure where everything was asked for.
pub(crate) fn need(tools: &[Tool]) -> bool {
    let missing: Vec<_> = tools
        .iter()
        .filter(|wanted| tool(**wanted).is_none())
        .collect();
    if missing.is_empty() {
        return true;
    }
    let required = std::env::var_os("NEXUS_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!required, "not installed: {missing:?}");
    println!("skipped: not installed: {missing:?}; `cargo xtask test` installs it");
    false
}
