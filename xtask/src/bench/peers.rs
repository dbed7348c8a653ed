//! The servers that a benchmark measures: started on loopback in a folder of their own, ended with it.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    error::{Error, Result},
    process::{find, line_of},
    setup::{self, PythonStack},
    workspace::Workspace,
};

/// How long a server may take until it accepts connections.
const READY_WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// A running server; it is killed when this is dropped, its data was only for the benchmark.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Peer {
    /// Nexus as it is shipped, durable, without rate limits and without reactors, which its peers have not;
    /// with a configuration file, if one is given.
    pub(crate) fn nexusd(
        binary: &Path,
        folder: &Path,
        secret: &str,
        config: Option<&str>,
    ) -> Result<Self> {
        let address = free_address()?;
        if let Some(config) = config {
            let file = folder.join("nexus.toml");
            fs::create_dir_all(folder)
                .and_then(|()| fs::write(&file, config))
                .map_err(|source| Error::write(&file, source))?;
        }
        let mut nexusd = nexusd(binary, address, folder, secret);
        // Several run at once, and who measures something else asks for no agents.
        nexusd.env("AGENTS_PORT", "0");
        Self::start(nexusd, address, folder)
    }

    /// The same for agents, where nobody has to prove who they are: its address is that of their face.
    pub(crate) fn agents(binary: &Path, folder: &Path, secret: &str) -> Result<Self> {
        let address = free_address()?;
        let mut nexusd = nexusd(binary, free_address()?, folder, secret);
        nexusd
            .env("AGENTS_PORT", address.port().to_string())
            .env("NEXUS__AGENTS__AUTH", "open");
        Self::start(nexusd, address, folder)
    }

    /// An event bus for agents on the stack that their specification names.
    pub(crate) fn reference_agents(workspace: &Workspace, folder: &Path) -> Result<Self> {
        let address = free_address()?;
        let python = python_of(setup::REFERENCE_AGENTS, workspace)?;
        let stack = workspace.root.join(setup::REFERENCE_AGENTS.folder);
        let mut uvicorn = ends_with_us(&python);
        uvicorn
            .args(["-m", "uvicorn", "server:app", "--app-dir"])
            .arg(stack)
            .args(["--host", &address.ip().to_string()])
            .args(["--port", &address.port().to_string()])
            .args(["--loop", "uvloop", "--http", "httptools"])
            .args(["--log-level", "warning", "--no-access-log"])
            .env("PYTHONDONTWRITEBYTECODE", "1");
        Self::start(uvicorn, address, folder)
    }

    /// The server of tools that the hub and its peers stand before, in a mood.
    pub(crate) fn upstream(load: &Path, folder: &Path, mood: &str) -> Result<Self> {
        let address = free_address()?;
        let mut upstream = ends_with_us(load);
        upstream.args(["upstream", "--address", &address.to_string()]);
        upstream.args(["--mood", mood]);
        Self::start(upstream, address, folder)
    }

    /// `mcp-proxy` before the same server as a program.
    pub(crate) fn mcp_proxy(workspace: &Workspace, load: &Path, folder: &Path) -> Result<Self> {
        let address = free_address()?;
        let mut proxy = ends_with_us(&python_of(setup::MCP_PROXY, workspace)?);
        proxy
            .args(["-m", "mcp_proxy", "--log-level", "WARNING"])
            .args(["--host", &address.ip().to_string()])
            .args(["--port", &address.port().to_string(), "--"])
            .arg(load)
            .arg("upstream")
            .env("PYTHONDONTWRITEBYTECODE", "1");
        Self::start(proxy, address, folder)
    }

    /// A proxy of FastMCP before a server over HTTP.
    pub(crate) fn fastmcp(
        workspace: &Workspace,
        upstream: SocketAddr,
        folder: &Path,
    ) -> Result<Self> {
        let address = free_address()?;
        let stack = workspace.root.join(setup::FASTMCP.folder);
        let mut proxy = ends_with_us(&python_of(setup::FASTMCP, workspace)?);
        proxy
            .arg(stack.join("proxy.py"))
            .args([format!("http://{upstream}/mcp"), address.port().to_string()])
            .env("FASTMCP_CHECK_FOR_UPDATES", "off")
            .env("PYTHONDONTWRITEBYTECODE", "1");
        Self::start(proxy, address, folder)
    }

    /// The reference stack on the Node.js that it brings.
    pub(crate) fn reference(root: &Path, folder: &Path, secret: &str) -> Result<Self> {
        let address = free_address()?;
        let stack = root.join("bench/reference");
        let node = setup::reference_node(root).ok_or_else(|| Error::Missing {
            what: String::from("the Node.js of the reference stack"),
            why: String::from("`cargo xtask setup` says why it could not be installed"),
        })?;
        let mut reference = ends_with_us(&node);
        reference
            .arg(stack.join("server.mjs"))
            .env("NODE_ENV", "production")
            .env("NEXUS_SECRET", secret)
            .env("PORT", address.port().to_string())
            .env("REFERENCE_DATABASE", absolute(folder)?.join("events.db"));
        Self::start(reference, address, folder)
    }

    /// Redis with every write synced before its answer, and nothing else to do.
    pub(crate) fn redis(folder: &Path) -> Result<Self> {
        let address = free_address()?;
        let mut redis = ends_with_us(Path::new("redis-server"));
        redis
            .args(["--bind", &address.ip().to_string()])
            .args(["--port", &address.port().to_string()])
            .args(["--appendonly", "yes", "--appendfsync", "always"])
            // Its rewriting of the file would be measured in some rounds and not in others.
            .args(["--auto-aof-rewrite-percentage", "0", "--save", ""]);
        Self::start(redis, address, folder)
    }

    /// Core NATS, which keeps nothing.
    pub(crate) fn nats(folder: &Path) -> Result<Self> {
        let address = free_address()?;
        let mut nats = ends_with_us(Path::new("nats-server"));
        nats.args(["--addr", &address.ip().to_string()])
            .args(["--port", &address.port().to_string()]);
        Self::start(nats, address, folder)
    }

    /// The id of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    fn start(mut command: Command, address: SocketAddr, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|source| Error::write(folder, source))?;
        let log = folder.join("output.log");
        let output = File::create(&log).map_err(|source| Error::write(&log, source))?;
        let again = output
            .try_clone()
            .map_err(|source| Error::write(&log, source))?;
        let child = command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(again)
            .spawn()
            .map_err(|source| Error::start(line_of(&command), source))?;
        let mut peer = Self { address, child };
        peer.wait_until_ready(&log)?;
        Ok(peer)
    }

    fn wait_until_ready(&mut self, log: &Path) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || Instant::now() > deadline {
                let said = fs::read_to_string(log).unwrap_or_default();
                let last = said.trim().lines().next_back().unwrap_or("it said nothing");
                return Err(Error::Void(format!("a server did not start: {last}")));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Sends one HTTP request and returns the status of its answer.
    pub(crate) fn status_of(&self, request: &str) -> Result<u16> {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(READY_WITHIN))?;
            stream.write_all(request.as_bytes())?;
            let mut head = [0; 64];
            let length = stream.read(&mut head)?;
            Ok(String::from_utf8_lossy(&head[..length]).into_owned())
        };
        let answer = ask().map_err(|error| Error::Void(error.to_string()))?;
        answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| Error::Void(format!("no HTTP status in {answer:?}")))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nexus as it is shipped, in its own environment.
fn nexusd(binary: &Path, address: SocketAddr, folder: &Path, secret: &str) -> Command {
    let mut nexusd = ends_with_us(binary);
    nexusd
        .arg("serve")
        .env_clear()
        .env("NEXUS_SECRET", secret)
        .env("NEXUS_HOST", address.ip().to_string())
        .env("PORT", address.port().to_string())
        .env("DATA_DIR", folder.join("data"))
        .env("LOG_LEVEL", "warn")
        // The benchmarks name their own topics, and open more sockets than the default allows.
        .env("NEXUS__EVENTS__OPEN", "true")
        .env("NEXUS__LIMITS__CONNECTIONS", "12000");
    for limit in [
        "ANONYMOUS_REQUESTS_PER_SECOND",
        "ADDRESS_REQUESTS_PER_SECOND",
        "NODE_EVENTS_PER_SECOND",
        "CONNECTIONS_PER_ADDRESS",
    ] {
        nexusd.env(format!("NEXUS__LIMITS__{limit}"), "0");
    }
    for reactor in ["PAYMENT_TO_MINT", "MINT_TO_NOTIFY"] {
        nexusd.env(format!("NEXUS__REACTORS__{reactor}"), "false");
    }
    nexusd
}

fn python_of(stack: PythonStack, workspace: &Workspace) -> Result<PathBuf> {
    stack
        .python(&workspace.tools())
        .ok_or_else(|| Error::Missing {
            what: format!("the Python of {}", stack.folder),
            why: String::from("`cargo xtask setup` says why it could not be installed"),
        })
}

/// A command that the system ends when this process ends, however that happens.
fn ends_with_us(program: &Path) -> Command {
    match find("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|source| Error::start("a listener on loopback", source))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|source| Error::read(path, source))
}
