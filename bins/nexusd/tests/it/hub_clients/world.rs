//! A daemon with eight servers behind it that people use: six that its operator added, two that it knows by itself.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    Daemon, DaemonOptions, Respond, Stub, Tool, newer_node, request, server_modules, tool,
    until_within,
};

pub(super) const TOKEN: &str = "operator-token-0123456789abcdef01234567";
/// What Brave's stand-in answers nobody without.
pub(super) const BRAVE_KEY: &str = "the-key-of-brave-5d0c1a4b7e9f2d3c";
/// How long what starts many programs may take. Only a failing test waits that long.
pub(super) const LONG: Duration = Duration::from_secs(300);

/// A page whose title and last words are there only where its script has run.
const PAGE: &str = r#"<!doctype html><html><head><title>A page</title></head><body>
<h1>Hello from a page</h1><p>It has a paragraph, as pages do.</p>
<script>document.title = `Title ${6 * 7}`; document.body.append(`written by a script: ${6 * 7}`);</script>
</body></html>"#;

pub(super) struct World {
    pub(super) daemon: Daemon,
    /// Serves the page.
    pages: Stub,
    /// What Brave's server takes for Brave.
    pub(super) brave: Stub,
}

impl World {
    /// Starts everything, one server after another: each is there when the next one starts.
    pub(super) fn start() -> Self {
        let brave = Stub::start(|request| {
            let is_known = request.header("x-subscription-token") == Some(BRAVE_KEY);
            if !is_known || !request.path.starts_with("/res/v1/web/search?q=nexus&") {
                return Respond::json(422, r#"{"error":"who asks for what?"}"#);
            }
            // It says the key again, as a careless service might.
            let found = json!({
                "title": "Found by a stand-in",
                "url": "https://example.com/",
                "description": format!("for {BRAVE_KEY}"),
            });
            Respond::json(200, json!({ "web": { "results": [found] } }).to_string())
        });
        let pages = Stub::start(|request| match request.path.as_str() {
            "/page" => Respond::With(200, "Content-Type: text/html\r\n".into(), PAGE.into()),
            _ => Respond::With(404, String::new(), String::new()),
        });
        let folder = tempfile::tempdir().unwrap();
        configure(folder.path(), &brave.url());
        let options = DaemonOptions::dev()
            .argument("--config")
            .argument("nexus.toml")
            .env("NEXUS_ADMIN_TOKEN", TOKEN)
            .env("BRAVE_API_KEY", BRAVE_KEY);
        let world = Self {
            daemon: Daemon::start(options, folder),
            pages,
            brave,
        };
        world.await_tools("brave");
        world.api("POST", "/api/v1/servers/playwright/enable", "");
        world.await_tools("playwright");
        for config in world.to_add() {
            let added = world.api("POST", "/api/v1/servers", &config.to_string());
            world.await_tools(added["data"]["id"].as_str().unwrap());
        }
        world
    }

    /// The servers that an operator adds: programs that the configuration allows.
    fn to_add(&self) -> [Value; 6] {
        let node = newer_node().expect("it was asked for");
        let python = tool(Tool::McpSdk).expect("it was asked for");
        let modules = server_modules().expect("it was asked for");
        let files = self.files();
        fs::write(files.join("hello.txt"), "hello from a file").unwrap();
        let in_node = |alias: &str, script: &str, more: &[&str], env: Value| {
            let script = modules.join(script);
            let args = [&[script.to_str().unwrap()][..], more].concat();
            json!({ "name": alias, "alias": alias, "transport": "stdio", "command": node, "args": args, "env": env })
        };
        let in_python = |alias: &str, more: &[&str]| {
            let module = format!("mcp_server_{alias}");
            let args = [&["-m", module.as_str()][..], more].concat();
            json!({ "name": alias, "alias": alias, "transport": "stdio", "command": python, "args": args })
        };
        [
            in_node(
                "everything",
                "@modelcontextprotocol/server-everything/dist/index.js",
                &[],
                json!({}),
            ),
            in_node(
                "files",
                "@modelcontextprotocol/server-filesystem/dist/index.js",
                &[files.to_str().unwrap()],
                json!({}),
            ),
            in_node(
                "memory",
                "@modelcontextprotocol/server-memory/dist/index.js",
                &[],
                json!({ "MEMORY_FILE_PATH": files.join("memory.json") }),
            ),
            // Without a key that counts it only says what it could do.
            in_node(
                "googlemap",
                "@cablate/mcp-google-map/dist/cli.js",
                &["--stdio"],
                json!({ "GOOGLE_MAPS_API_KEY": "no-key" }),
            ),
            in_python("fetch", &["--allow-private-ips"]),
            in_python("time", &["--local-timezone", "Asia/Kolkata"]),
        ]
    }

    /// What the server of files may see.
    pub(super) fn files(&self) -> &Path {
        self.daemon.folder()
    }

    pub(super) fn page(&self) -> String {
        format!("{}/page", self.pages.url())
    }

    pub(super) fn url(&self) -> String {
        format!("{}/mcp", self.daemon.url())
    }

    /// Asks the API as the operator.
    #[track_caller]
    pub(super) fn api(&self, method: &str, path: &str, body: &str) -> Value {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        let answer = request(self.daemon.address(), method, path, &headers, body);
        assert!(
            (200..300).contains(&answer.status),
            "{path}: {}",
            answer.text()
        );
        answer.json()
    }

    /// The names of the tools that there are, of one server or of all.
    pub(super) fn tools(&self, query: &str) -> Vec<String> {
        let answer = self.api("GET", &format!("/api/v1/tools?limit=200{query}"), "");
        assert_eq!(answer["meta"]["has_more"], false, "they fit into one page");
        let tools = answer["data"].as_array().unwrap();
        tools
            .iter()
            .map(|tool| tool["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Waits until a server has said what it offers. One that did not start in time is started again by the hub.
    fn await_tools(&self, id: &str) {
        until_within(LONG, &format!("the tools of {id}"), || {
            let tools = self.tools(&format!("&server={id}"));
            (!tools.is_empty()).then_some(())
        });
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the daemon said:\n{}", self.daemon.process().stderr());
        }
    }
}

/// Writes what the daemon reads, and what it starts for `npx`.
fn configure(folder: &Path, brave: &str) {
    let modules = server_modules().expect("it was asked for");
    let browser = folder.join("browser.json");
    let launched = json!({
        "browserName": "chromium",
        "launchOptions": {
            "executablePath": tool(Tool::Browser).expect("it was asked for"),
            // Root may not have the sandbox.
            "chromiumSandbox": false,
            "timeout": LONG.as_millis(),
        },
    });
    fs::write(&browser, json!({ "browser": launched }).to_string()).unwrap();

    let npx = folder.join("npx");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/npx");
    let lines = [
        "#!/bin/sh".to_owned(),
        format!("export NPX_MODULES='{}'", modules.display()),
        format!(
            "export NPX_BRAVE='{brave}' NPX_BROWSER='{}'",
            browser.display()
        ),
        format!("exec '{script}' \"$@\""),
    ];
    fs::write(&npx, lines.join("\n")).unwrap();
    fs::set_permissions(&npx, fs::Permissions::from_mode(0o755)).unwrap();

    let programs = [newer_node(), tool(Tool::McpSdk)].map(|it| it.expect("it was asked for"));
    // A list of texts is written in TOML as in JSON.
    let file = format!(
        "[hub]\nnpx = {}\nstdio_programs = {}\n",
        json!(npx),
        json!(programs)
    );
    fs::write(folder.join("nexus.toml"), file).unwrap();
}
