//! What the tests and benches use besides Rust: installed where it is missing and may be, named where not.

mod stamp;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    error::{Error, Result},
    process::{cargo, find, run, stdout_of},
    setup::stamp::Stamp,
    steps::LeftOut,
};

/// A program, the Debian package that has it, and what uses it.
struct Tool {
    program: &'static str,
    package: &'static str,
    used_by: &'static str,
}

/// Everything that tests and benches start.
const TOOLS: [Tool; 15] = [
    Tool::new("git", "git", "tidy and the machine's part of a benchmark"),
    Tool::new("cc", "gcc libc6-dev", "building SQLite"),
    Tool::new("node", "nodejs", "the clients written in Node.js"),
    Tool::new("npm", "npm", "the clients written in Node.js"),
    Tool::new("python3", "python3", "the clients written in Python"),
    Tool::new("curl", "curl", "the examples of the documents"),
    Tool::new("openssl", "openssl", "the examples of the documents"),
    Tool::new(
        "chromium-headless-shell",
        "chromium-headless-shell",
        "the page that follows a stream",
    ),
    Tool::new("redis-server", "redis-server", "the benchmarks' peer"),
    Tool::new("nats-server", "nats-server", "the benchmarks' peer"),
    Tool::new("strace", "strace", "the tests that make a sync fail"),
    Tool::new("mount", "mount", "the tests that fill a disk"),
    Tool::new("setpriv", "util-linux", "stopping what a benchmark started"),
    Tool::new(
        "ip",
        "iproute2",
        "the examples that run in a network of their own",
    ),
    Tool::new("faketime", "faketime", "the tests that set the clock"),
];

/// Where the clients that the tests run are described.
const CLIENTS: &str = "bins/nexusd/tests/clients";
/// Where the official suite of MCP is, with the Node.js that it needs.
const CONFORMANCE: &str = "crates/nexus-hub/tests/conformance";
/// Where the stack is that the benchmarks compare with.
const REFERENCE: &str = "bench/reference";
/// The environment of Python that the clients have, below the folder of the tools.
const PYTHON_OF_CLIENTS: &str = "venv";

/// What the benchmarks compare with and is written in Python.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PythonStack {
    /// Where it is.
    pub(crate) folder: &'static str,
    /// Its environment, below the folder of the tools.
    environment: &'static str,
}

/// The stack that the specification of the agents names.
pub(crate) const REFERENCE_AGENTS: PythonStack = PythonStack {
    folder: "bench/reference-agents",
    environment: "venv-reference-agents",
};
/// Two peers of the hub, which cannot share their packages.
pub(crate) const MCP_PROXY: PythonStack = PythonStack {
    folder: "bench/reference-hub/mcp-proxy",
    environment: "venv-mcp-proxy",
};
pub(crate) const FASTMCP: PythonStack = PythonStack {
    folder: "bench/reference-hub/fastmcp",
    environment: "venv-fastmcp",
};
pub(crate) const PYTHON_STACKS: [PythonStack; 3] = [REFERENCE_AGENTS, MCP_PROXY, FASTMCP];
/// The version whose options are used here.
const NEXTEST_VERSION: &str = "0.9.143";

/// What was found or installed.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    /// Variables that tell the tests where things are.
    pub(crate) variables: Vec<(&'static str, PathBuf)>,
    pub(crate) left_out: Vec<LeftOut>,
    /// Whether tests run by cargo-nextest; else by `cargo test`.
    pub(crate) nextest: bool,
}

impl Tool {
    const fn new(program: &'static str, package: &'static str, used_by: &'static str) -> Self {
        Self {
            program,
            package,
            used_by,
        }
    }
}

/// Sets up everything and says what could not be.
pub(crate) fn run_alone(root: &Path, tools: &Path) -> Result<()> {
    let ready = for_tests(root, tools)?;
    for left_out in &ready.left_out {
        println!("{left_out}");
    }
    println!("set up, with {} left out", ready.left_out.len());
    Ok(())
}

/// Sets up all that `cargo xtask test` uses. Fails only if the disk cannot be written.
pub(crate) fn for_tests(root: &Path, tools: &Path) -> Result<Ready> {
    let mut ready = Ready::default();
    fs::create_dir_all(tools).map_err(|source| Error::write(tools, source))?;
    debian(&mut ready);
    for folder in [CLIENTS, CONFORMANCE, REFERENCE] {
        if let Err(error) = npm(&root.join(folder), tools) {
            ready.leave_out(format!("npm packages of {folder}"), &error);
        }
    }
    let modules = root.join(CLIENTS).join("node_modules");
    if modules.is_dir() {
        ready.variables.push(("NEXUS_TEST_NODE_MODULES", modules));
    }
    let modules = root.join(CONFORMANCE).join("node_modules");
    if modules.is_dir() {
        ready.variables.push(("NEXUS_TEST_CONFORMANCE", modules));
    }
    match python(&root.join(CLIENTS), &tools.join(PYTHON_OF_CLIENTS)) {
        Ok(Some(python)) => ready.variables.push(("NEXUS_TEST_PYTHON", python)),
        Ok(None) => {}
        Err(error) => ready.leave_out(format!("Python packages of {CLIENTS}"), &error),
    }
    for stack in PYTHON_STACKS {
        if let Err(error) = stack.set_up(root, tools) {
            ready.leave_out(format!("Python packages of {}", stack.folder), &error);
        }
    }
    ready.nextest = nextest();
    Ok(ready)
}

/// Sets up the reference stacks alone.
pub(crate) fn for_benches(root: &Path, tools: &Path) -> Result<Ready> {
    let mut ready = Ready::default();
    fs::create_dir_all(tools).map_err(|source| Error::write(tools, source))?;
    debian(&mut ready);
    npm(&root.join(REFERENCE), tools)?;
    for stack in PYTHON_STACKS {
        stack.set_up(root, tools)?;
    }
    Ok(ready)
}

impl PythonStack {
    fn set_up(self, root: &Path, tools: &Path) -> Result<()> {
        python(&root.join(self.folder), &tools.join(self.environment)).map(|_| ())
    }

    /// Its Python, once its packages are installed.
    pub(crate) fn python(self, tools: &Path) -> Option<PathBuf> {
        let environment = tools.join(self.environment);
        let is_whole = stamp_of(&environment).is_file();
        is_whole.then(|| python_in(&environment))
    }
}

/// The Node.js that the reference stack brings for this processor, once it is installed.
pub(crate) fn reference_node(root: &Path) -> Option<PathBuf> {
    let modules = root.join(REFERENCE).join("node_modules");
    let found = ["x64", "arm64"].map(|cpu| modules.join(format!("node-linux-{cpu}/bin/node")));
    found.into_iter().find(|node| node.is_file())
}

fn debian(ready: &mut Ready) {
    let missing = || TOOLS.iter().filter(|tool| find(tool.program).is_none());
    if missing().next().is_none() {
        return;
    }
    let obstacle = if !rustix::process::geteuid().is_root() {
        Some("it can be installed by root only")
    } else if find("apt-get").is_none() {
        Some("there is no apt-get to install it with")
    } else {
        let packages: Vec<&str> = missing().flat_map(|tool| tool.package.split(' ')).collect();
        install(&packages);
        None
    };
    for tool in missing() {
        ready.left_out.push(LeftOut {
            what: tool.program.to_owned(),
            why: format!(
                "{} (package {}, for {})",
                obstacle.unwrap_or("apt-get could not install it"),
                tool.package,
                tool.used_by
            ),
        });
    }
}

/// Installs one package if that is possible here; the caller looks whether it is there.
pub(crate) fn install_debian(package: &str) {
    install(&[package]);
}

/// What cannot be installed is seen by the caller, who looks for it again.
fn install(packages: &[&str]) {
    if !rustix::process::geteuid().is_root() || find("apt-get").is_none() {
        return;
    }
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.args(["-q", "-y"]).args(arguments);
        // Nothing asks, and no service is started by its installation.
        apt.env("DEBIAN_FRONTEND", "noninteractive")
            .env("RUNLEVEL", "1");
        run(&mut apt)
    };
    let report = |result: Result<()>| {
        if let Err(error) = &result {
            println!("{}", error.chain());
        }
        result.is_ok()
    };
    report(apt(&["update"]));
    let install = ["install", "--no-install-recommends"];
    if !report(apt(&[&install[..], packages].concat())) {
        // One that does not exist here must not keep the others away.
        for package in packages {
            report(apt(&[&install[..], &[*package]].concat()));
        }
    }
}

/// Installs the packages of a folder, unless the same ones are there already.
fn npm(folder: &Path, tools: &Path) -> Result<()> {
    if !folder.join("package.json").is_file() {
        return Ok(());
    }
    let lock = folder.join("package-lock.json");
    let name = folder.to_string_lossy().replace(['/', '\\'], "-");
    let stamp = Stamp::of(
        tools.join(format!("npm{name}.stamp")),
        &[folder.join("package.json"), lock.clone()],
    );
    if stamp.is_current() && has_all_modules(folder) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    if lock.is_file() {
        npm.arg("ci");
    } else {
        npm.args(["install", "--no-package-lock"]);
    }
    // What is used here ships ready-made; nothing of it needs to run while it is installed.
    npm.args(["--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(folder);
    run(&mut npm)?;
    stamp.write()
}

/// Whether the folder of each package is there that npm says it has put there: somebody may have removed some.
fn has_all_modules(folder: &Path) -> bool {
    #[derive(serde::Deserialize)]
    struct Installed {
        /// By path, such as `node_modules/ws`.
        packages: BTreeMap<String, serde::de::IgnoredAny>,
    }
    let Ok(written) = fs::read(folder.join("node_modules/.package-lock.json")) else {
        return false;
    };
    let installed: Option<Installed> = serde_json::from_slice(&written).ok();
    installed.is_some_and(|installed| {
        let mut packages = installed.packages.keys();
        packages.all(|package| folder.join(package).join("package.json").is_file())
    })
}

fn python_in(environment: &Path) -> PathBuf {
    environment.join("bin/python")
}

/// What says from what an environment was made.
fn stamp_of(environment: &Path) -> PathBuf {
    environment.with_extension("stamp")
}

/// Installs the packages that a folder asks for into an environment of their own; `None` when there are none to
/// install.
fn python(folder: &Path, environment: &Path) -> Result<Option<PathBuf>> {
    let requirements = folder.join("requirements.txt");
    if !requirements.is_file() {
        return Ok(None);
    }
    let python = python_in(environment);
    let stamp = Stamp::of(stamp_of(environment), std::slice::from_ref(&requirements));
    if python.is_file() && stamp.is_current() {
        return Ok(Some(python));
    }
    if stdout_of(Command::new("python3").args(["-c", "import ensurepip, venv"])).is_err() {
        // Debian keeps this part of Python in a package of its own.
        install_debian("python3-venv");
    }
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(environment))?;
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--requirement"])
        .arg(requirements))?;
    stamp.write()?;
    Ok(Some(python))
}

/// Installs cargo-nextest if it is missing.
fn nextest() -> bool {
    let installed = || stdout_of(cargo().args(["nextest", "--version"])).is_ok();
    if installed() {
        return true;
    }
    let result = run(cargo()
        .args(["install", "cargo-nextest", "--locked", "--version"])
        .arg(NEXTEST_VERSION));
    if let Err(error) = result {
        println!("{}; the tests run by `cargo test`", error.chain());
    }
    installed()
}

impl Ready {
    fn leave_out(&mut self, what: String, error: &Error) {
        self.left_out.push(LeftOut {
            what,
            why: error.chain(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_there_until_one_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let modules = folder.path().join("node_modules");
        assert!(!has_all_modules(folder.path()));
        for package in ["ws", "@scope/b"] {
            fs::create_dir_all(modules.join(package)).unwrap();
            fs::write(modules.join(package).join("package.json"), "{}").unwrap();
        }
        let list =
            r#"{"packages": {"node_modules/ws": {}, "node_modules/@scope/b": {"optional": true}}}"#;
        fs::write(modules.join(".package-lock.json"), list).unwrap();
        assert!(has_all_modules(folder.path()));
        fs::remove_dir_all(modules.join("ws")).unwrap();
        assert!(!has_all_modules(folder.path()));
    }
}
