//! `cargo xtask layout`: records which functions a start and an idle daemon run, so that the linker puts them side
//! by side.
//!
//! The system maps a program in pieces of 64 KiB. The functions of a start are a sixth of the program and were
//! spread over two thirds of it, all of which an idle daemon then held.

mod fit;
mod names;
mod trace;

use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

pub(crate) use self::fit::{Fit, check};

use crate::{
    bench::free_address,
    error::{Error, Result},
    process::{cargo, find, line_of, run, stdout_of},
    setup::install_debian,
    workspace::Workspace,
};

/// What the linker of `nexusd` reads.
const SCRIPT: &str = "bins/nexusd/layout.ld";
/// Whatever is not Rust and runs at the start, by the files that it is compiled from: SQLite and the allocator.
const FILES: [&str; 2] = ["*sqlite3.o", "*static.o"];
/// While it is followed, everything takes fifty times as long.
const READY_WITHIN: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);
/// Longer than the intervals at which an idle daemon looks after something.
const IDLE: Duration = Duration::from_secs(90);

/// Builds the daemon as it is shipped, follows it, and writes the script.
pub(crate) fn record(workspace: &Workspace) -> Result<()> {
    if find("valgrind").is_none() {
        install_debian("valgrind");
    }
    let path = workspace.root.join(SCRIPT);
    // The tracer names functions of the usual section only, so they are all put there first.
    write(
        &path,
        "SECTIONS { .text.start : { } } INSERT BEFORE .text;\n",
    )?;
    let mut build = cargo();
    build.args(["build", "--profile", "dist", "--package", "nexusd"]);
    run(build.current_dir(&workspace.root))?;
    let binary = workspace.dist_folder().join("nexusd");
    let folder = workspace.layout();
    // What the last run left.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|source| Error::write(&folder, source))?;
    let trace = Followed::start(&binary, &folder)?.trace()?;
    let ran = trace::functions(&trace, &binary.to_string_lossy());
    if ran.is_empty() {
        return Err(Error::Void(String::from("the trace has no functions")));
    }
    let table = stdout_of(Command::new("nm").arg("--print-size").arg(&binary))?;
    let symbols = names::symbols(&String::from_utf8_lossy(&table));
    let patterns = names::patterns(&symbols, &ran);
    write(&path, &script(&compiler()?, &patterns))?;
    let (functions, patterns) = (ran.len(), patterns.len());
    println!("{patterns} patterns for {functions} functions written to {SCRIPT}");
    Ok(())
}

fn write(path: &Path, script: &str) -> Result<()> {
    fs::write(path, script).map_err(|source| Error::write(path, source))
}

/// The compiler and its version: another one may name functions otherwise.
fn compiler() -> Result<String> {
    let version = stdout_of(Command::new("rustc").arg("--version"))?;
    Ok(String::from_utf8_lossy(&version).trim().to_owned())
}

/// What the linker reads: a section of its own, before that of all other functions.
fn script(compiler: &str, patterns: &[String]) -> String {
    let mut script = format!(
        "/* The functions that a start and an idle daemon run. Written by `cargo xtask layout`, of what \
         {compiler} built. */\n\
         SECTIONS {{\n  .text.start : {{\n",
    );
    for file in FILES {
        script.push_str(&format!("    {file}(.text .text.*)\n"));
    }
    for pattern in patterns {
        // What the compiler takes for seldom run, as all that runs once, is in a section of another name.
        script.push_str(&format!(
            "    *(.text.{pattern} .text.unlikely.{pattern})\n"
        ));
    }
    script.push_str("  }\n} INSERT BEFORE .text;\n");
    script
}

/// A daemon that is followed; it is killed when this is dropped.
struct Followed {
    child: Child,
    address: SocketAddr,
    out: PathBuf,
}

impl Followed {
    fn start(binary: &Path, folder: &Path) -> Result<Self> {
        let address = free_address()?;
        let out = folder.join("trace");
        let mut valgrind = Command::new("valgrind");
        valgrind
            .args(["--quiet", "--tool=callgrind", "--demangle=no"])
            .arg(format!("--callgrind-out-file={}", out.display()))
            .arg(binary)
            .arg("serve")
            .env("NEXUS_SECRET", "layout-secret-0123456789abcdef-0123456789")
            .env("NEXUS_HOST", address.ip().to_string())
            .env("PORT", address.port().to_string())
            .env("AGENTS_PORT", "0")
            .env("DATA_DIR", folder.join("data"))
            .env("LOG_LEVEL", "warn")
            .stdin(Stdio::null())
            .current_dir(folder);
        let child = valgrind
            .spawn()
            .map_err(|source| Error::start(line_of(&valgrind), source))?;
        Ok(Self {
            child,
            address,
            out,
        })
    }

    /// What ran until it had been asked whether it is ready, and had then been idle for a while.
    fn trace(mut self) -> Result<String> {
        let deadline = Instant::now() + READY_WITHIN;
        while self.asked().is_err() {
            if self.child.try_wait().ok().flatten().is_some() || Instant::now() > deadline {
                return Err(Error::Void(String::from("the daemon did not start")));
            }
            thread::sleep(POLL);
        }
        thread::sleep(IDLE);
        let process = self.child.id().to_string();
        run(Command::new("callgrind_control").args(["--dump", &process]))?;
        let dump = self.out.with_extension("1");
        fs::read_to_string(&dump).map_err(|source| Error::read(&dump, source))
    }

    fn asked(&self) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(READY_WITHIN))?;
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: nexus\r\nConnection: close\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_puts_what_ran_before_everything_else() {
        let script = script("rustc 1.95.0", &[String::from("_ZN5nexus6config*")]);
        let lines: Vec<&str> = script.lines().map(str::trim).collect();
        assert!(lines[0].contains("rustc 1.95.0"));
        assert_eq!(
            lines[1..],
            [
                "SECTIONS {",
                ".text.start : {",
                "*sqlite3.o(.text .text.*)",
                "*static.o(.text .text.*)",
                "*(.text._ZN5nexus6config* .text.unlikely._ZN5nexus6config*)",
                "}",
                "} INSERT BEFORE .text;",
            ]
        );
    }
}
