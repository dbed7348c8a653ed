//! `cargo xtask bench hub`: what it costs to reach a server of tools through the hub and through its peers, and
//! what others notice of servers that answer badly.

mod beside;

use std::{fs, net::SocketAddr, path::Path, process::Command};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    bench::{
        book::{Better, Book, Budget},
        machine::private_memory_kib,
        peers::Peer,
        stage::{Benchmark, Options, SECRET, Stage, printed_line},
    },
    error::{Error, Result},
};

/// The benchmark.
pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "hub",
    what: "The same calls of the same tool, and the same list of 100 tools, over MCP's Streamable HTTP: of the server \
           itself (direct); through nexusd at /mcp/{alias} (nexus) and at /mcp (nexus-all), where the server is \
           reached over HTTP; at /mcp/{alias} where it is a program (nexus-stdio); through mcp-proxy, where it is a \
           program; through a proxy of FastMCP, where it is reached over HTTP. Each caller has a session and a \
           connection, and one request in flight. nexusd knows who calls, and what they may use. Beside bad \
           servers: 8 callers of the good server make 200 calls a second together, while five others are called \
           too (beside), and while they are not (alone).",
    short: Some(ONE.name),
    measure,
};

/// So many callers, and how many requests they may send: a server behind the hub may be called 100,000 times a
/// minute.
struct Callers {
    count: usize,
    requests_max: u64,
    name: &'static str,
    p50: &'static str,
    p99: &'static str,
    per_second: &'static str,
}

const ONE: Callers = Callers {
    count: 1,
    requests_max: 30_000,
    name: "1 caller",
    p50: "1 caller, tools/call, p50",
    p99: "1 caller, tools/call, p99",
    per_second: "1 caller, calls",
};
const MANY: Callers = Callers {
    count: 64,
    requests_max: 65_000,
    name: "64 callers",
    p50: "64 callers, tools/call, p50",
    p99: "64 callers, tools/call, p99",
    per_second: "64 callers, calls",
};
const ADDED: &str = "1 caller, tools/call, p50 above that of direct";
const LIST: &str = "1 caller, tools/list, p50";
const MEMORY: &str = "private memory after the calls";

const BUDGETS: [Budget; 5] = [
    beside::P99,
    beside::MEMORY,
    budget(ADDED, "nexus"),
    budget(ADDED, "nexus-all"),
    Budget {
        case: LIST,
        of: "nexus",
        to: None,
        must: 200.0,
        aim: Some(100.0),
    },
];

const fn budget(case: &'static str, of: &'static str) -> Budget {
    Budget {
        case,
        of,
        to: None,
        must: 400.0,
        aim: Some(150.0),
    }
}

/// What stands between the callers and the server, in the order of the first round.
const WAYS: [Way; 6] = [
    Way::Nexus,
    Way::Direct,
    Way::NexusAll,
    Way::NexusStdio,
    Way::McpProxy,
    Way::FastMcp,
];
/// What the names of its tools begin with at `/mcp`.
const ALIAS: &str = "bench";
const TOOL: &str = "echo";
/// Seals what the hub remembers of the server; nothing of it outlives the run.
const VAULT_KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Who adds the server and calls its tool, and the SHA-256 of that, which the configuration has.
const TOKEN: &str = "the-operator-of-a-benchmark-on-loopback";
const TOKEN_SHA256: &str = "330e2b55445d8bed920cf58a5ddaf5c9351b60e3b574f7af4b5bbe43ab81b77e";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Nexus,
    NexusAll,
    NexusStdio,
    Direct,
    McpProxy,
    FastMcp,
}

/// What the load generator says.
#[derive(Deserialize)]
struct Sample {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
}

/// What callers talk to: with its servers, which end with it.
struct Door {
    peer: Peer,
    path: String,
    tool: String,
    /// The server behind it, where that is not started by it.
    _upstream: Option<Peer>,
}

fn measure(stage: &Stage<'_>, options: &Options, book: &mut Book) -> Result<()> {
    let mut ways = WAYS;
    for round in 0..options.rounds {
        let mut p50s_us = Vec::new();
        for way in ways {
            // A server of its own each time: what the last run left behind would count.
            let door = way.open(stage, &stage.folder(&format!("{}-{round}", way.name())))?;
            if options.wants(ONE.name) {
                let sample = calls(stage, options, way, &door, &ONE, book)?;
                p50s_us.push((way, sample.p50_us));
                let list = ask(stage, options, &door, &ONE, true)?;
                book.record(LIST, "us", Better::Lower, way.name(), list.p50_us);
            }
            if options.wants(MANY.name) {
                calls(stage, options, way, &door, &MANY, book)?;
            }
            if way != Way::Direct {
                let kib = private_memory_kib(door.peer.process())? as f64;
                book.record(MEMORY, "KiB", Better::Lower, way.name(), kib);
            }
        }
        let direct = p50s_us.iter().find(|(way, _)| *way == Way::Direct);
        if let Some(&(_, direct_us)) = direct {
            for (way, p50_us) in p50s_us.iter().filter(|(way, _)| *way != Way::Direct) {
                let added_us = p50_us - direct_us;
                book.record(ADDED, "us", Better::Lower, way.name(), added_us);
            }
        }
        // The first of a case stays the one that is compared.
        ways.rotate_left(1);
    }
    if beside::is_wanted(options) {
        beside::measure(stage, options, book)?;
    }
    book.judge(&BUDGETS);
    Ok(())
}

fn calls(
    stage: &Stage<'_>,
    options: &Options,
    way: Way,
    door: &Door,
    callers: &Callers,
    book: &mut Book,
) -> Result<Sample> {
    let sample = ask(stage, options, door, callers, false)?;
    let name = way.name();
    book.record(callers.p50, "us", Better::Lower, name, sample.p50_us);
    book.record(callers.p99, "us", Better::Lower, name, sample.p99_us);
    let per_second = sample.per_second;
    book.record(
        callers.per_second,
        "calls/s",
        Better::Higher,
        name,
        per_second,
    );
    Ok(sample)
}

fn ask(
    stage: &Stage<'_>,
    options: &Options,
    door: &Door,
    callers: &Callers,
    is_list: bool,
) -> Result<Sample> {
    let mut load = Command::new(&stage.binaries.load);
    load.arg("tools");
    for (name, value) in [
        ("address", door.peer.address.to_string()),
        ("path", door.path.clone()),
        ("token", String::from(TOKEN)),
        ("tool", door.tool.clone()),
        ("callers", callers.count.to_string()),
        ("requests-max", callers.requests_max.to_string()),
        ("seconds", options.seconds.to_string()),
    ] {
        load.arg(format!("--{name}")).arg(value);
    }
    if is_list {
        load.arg("--list");
    }
    printed_line(&mut load)
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Nexus => "nexus",
            Self::NexusAll => "nexus-all",
            Self::NexusStdio => "nexus-stdio",
            Self::Direct => "direct",
            Self::McpProxy => "mcp-proxy",
            Self::FastMcp => "fastmcp",
        }
    }

    fn open(self, stage: &Stage<'_>, folder: &Path) -> Result<Door> {
        let load = std::path::absolute(&stage.binaries.load)
            .map_err(|source| Error::read(&stage.binaries.load, source))?;
        let upstream = match self {
            // They start it.
            Self::NexusStdio | Self::McpProxy => None,
            _ => Some(Peer::upstream(&load, &folder.join("upstream"), "well")?),
        };
        let behind = upstream.as_ref().map(|upstream| upstream.address);
        let peer = match (self, behind) {
            (Self::McpProxy, _) => Peer::mcp_proxy(stage.workspace, &load, folder)?,
            (Self::FastMcp, Some(behind)) => Peer::fastmcp(stage.workspace, behind, folder)?,
            (Self::Direct, _) => match upstream {
                Some(peer) => return Ok(Door::plain(peer, None)),
                None => return Err(Error::Void(String::from("there is no server to call"))),
            },
            (_, behind) => nexus(stage, &load, behind, folder)?,
        };
        Ok(match self {
            Self::Nexus | Self::NexusStdio => Door {
                path: format!("/mcp/{ALIAS}"),
                ..Door::plain(peer, upstream)
            },
            Self::NexusAll => Door {
                tool: format!("{ALIAS}_{TOOL}"),
                ..Door::plain(peer, upstream)
            },
            _ => Door::plain(peer, upstream),
        })
    }
}

impl Door {
    fn plain(peer: Peer, upstream: Option<Peer>) -> Self {
        Self {
            peer,
            path: String::from("/mcp"),
            tool: String::from(TOOL),
            _upstream: upstream,
        }
    }
}

/// Nexus with the server behind its hub: the one at this address, else a program that it starts.
fn nexus(
    stage: &Stage<'_>,
    load: &Path,
    behind: Option<SocketAddr>,
    folder: &Path,
) -> Result<Peer> {
    let peer = empty_nexus(stage, load, folder)?;
    match behind {
        Some(address) => add_server(&peer, ALIAS, &at(address), folder)?,
        None => add_server(&peer, ALIAS, &program(load, &["upstream"]), folder)?,
    }
    Ok(peer)
}

/// Nexus, whose operator may have the load generator started.
fn empty_nexus(stage: &Stage<'_>, load: &Path, folder: &Path) -> Result<Peer> {
    let config = format!(
        "[vault]\nkey = \"{VAULT_KEY}\"\n\n[outbound]\nallow_cidrs = [\"127.0.0.1/32\"]\n\n[hub]\n\
         user_calls_per_minute = 0\ntool_calls_per_minute = 0\nstdio_programs = [{:?}]\n\n\
         [[tokens]]\nname = \"bench\"\ntoken_sha256 = \"{TOKEN_SHA256}\"\nscopes = [\"read\", \"publish\", \"operate\"]\n",
        load.to_string_lossy()
    );
    Peer::nexusd(&stage.binaries.nexusd, folder, SECRET, Some(&config))
}

/// The way to a server at an address.
fn at(address: SocketAddr) -> Value {
    json!({ "transport": "http", "url": format!("http://{address}/mcp") })
}

/// The way to a server that is a program.
fn program(load: &Path, arguments: &[&str]) -> Value {
    json!({ "transport": "stdio", "command": load.to_string_lossy(), "args": arguments })
}

/// Puts a server behind the hub, for everybody.
fn add_server(peer: &Peer, alias: &str, way: &Value, folder: &Path) -> Result<()> {
    let mut server = way.clone();
    server["name"] = alias.into();
    server["alias"] = alias.into();
    server["shared"] = true.into();
    server["rate_limit_per_minute"] = 100_000.into();
    let body = server.to_string();
    let status = peer.status_of(&format!(
        "POST /api/v1/servers HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        peer.address,
        body.len()
    ))?;
    if status != 201 {
        let said = fs::read_to_string(folder.join("output.log")).unwrap_or_default();
        let what = format!("the hub answered {status} to its server: {}", said.trim());
        return Err(Error::Void(what));
    }
    Ok(())
}
