//! What every benchmark stands on: binaries, a folder for data, the date, and the load generator.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use clap::Args;
use serde::de::DeserializeOwned;

use crate::{
    bench::{
        book::Book,
        machine::{self, Machine, Ticks},
        page,
        peers::Peer,
    },
    error::{Error, Result},
    process::{cargo, run as run_command, stdout_of},
    setup,
    workspace::Workspace,
};

/// Signs and lets in, on loopback.
pub(crate) const SECRET: &str = "the-secret-of-a-benchmark-on-loopback";
/// How long it is watched whether others use the machine.
const WATCH: Duration = Duration::from_secs(2);

/// How long is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 4)]
    pub(crate) seconds: u64,
    /// How often each is measured; the median counts.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Measure the cases whose name has this in it; a result is written only of all.
    #[arg(long)]
    pub(crate) only: Option<String>,
    /// The date that the result is given, if not today's.
    #[arg(long)]
    pub(crate) date: Option<String>,
    /// Fail if a budget is missed.
    #[arg(long)]
    pub(crate) enforce: bool,
}

impl Options {
    /// A second of each: whether it works, not how fast it is.
    fn smoke(only: Option<&str>) -> Self {
        Self {
            seconds: 1,
            rounds: 1,
            only: only.map(str::to_owned),
            date: None,
            enforce: false,
        }
    }

    /// Whether a case is to be measured.
    pub(crate) fn wants(&self, case: &str) -> bool {
        self.only.as_ref().is_none_or(|only| case.contains(only))
    }
}

/// The binaries that take part.
#[derive(Debug)]
pub(crate) struct Binaries {
    pub(crate) nexusd: PathBuf,
    pub(crate) load: PathBuf,
    pub(crate) append_rate: PathBuf,
}

impl Binaries {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self {
            nexusd: folder.join("nexusd"),
            load: folder.join("bench-load"),
            append_rate: folder.join("examples/append_rate"),
        }
    }
}

/// A folder for data that is gone with this.
#[derive(Debug)]
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let path = folder.join(std::process::id().to_string());
        fs::create_dir_all(&path).map_err(|source| Error::write(&path, source))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind is below the target folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Where a benchmark runs.
#[derive(Debug)]
pub(crate) struct Stage<'w> {
    pub(crate) workspace: &'w Workspace,
    pub(crate) binaries: Binaries,
    pub(crate) scratch: Scratch,
}

/// A benchmark: what it measures, and how.
pub(crate) struct Benchmark {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// The cases that are enough to see whether it works.
    pub(crate) short: Option<&'static str>,
    pub(crate) measure: fn(&Stage<'_>, &Options, &mut Book) -> Result<()>,
}

impl Benchmark {
    /// Builds as for shipping, measures, prints and writes the result.
    pub(crate) fn run(&self, workspace: &Workspace, options: &Options) -> Result<()> {
        for left_out in setup::for_benches(&workspace.root, &workspace.tools())?.left_out {
            println!("{left_out}");
        }
        build(workspace)?;
        let binaries = Binaries::in_folder(&workspace.dist_folder());
        let book = self.measured(workspace, binaries, options)?;
        print!("{}", book.table());
        if options.only.is_none() && !book.is_disturbed() {
            let file = format!("bench/results/{}.json", self.name);
            write(&workspace.root.join(file), &book)?;
            page::write(&workspace.root, self.name, &book.markdown())?;
        }
        let missed = book.missed();
        if options.enforce && !missed.is_empty() {
            return Err(Error::Void(missed.join("; ")));
        }
        Ok(())
    }

    /// Measures for a second with what `--release` built.
    pub(crate) fn smoke(&self, workspace: &Workspace) -> Result<()> {
        let binaries = Binaries::in_folder(&workspace.release_folder());
        let book = self.measured(workspace, binaries, &Options::smoke(self.short))?;
        print!("{}", book.table());
        Ok(())
    }

    fn measured(
        &self,
        workspace: &Workspace,
        binaries: Binaries,
        options: &Options,
    ) -> Result<Book> {
        let stage = Stage {
            workspace,
            binaries,
            scratch: Scratch::new(&workspace.scratch())?,
        };
        // Where it is only asked whether it works, it does not matter.
        let others_busy = if options.seconds > 1 {
            others_busy()?
        } else {
            0.0
        };
        let mut book = Book::new(
            self.name,
            self.what,
            date(options.date.as_deref())?,
            machine::revision(&workspace.root),
            options.seconds,
            Machine::of(&stage.scratch.0)?,
            others_busy,
        );
        (self.measure)(&stage, options, &mut book)?;
        Ok(book)
    }
}

impl Stage<'_> {
    /// A folder for one server.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.scratch.0.join(name)
    }

    /// Nexus in a folder of its own.
    pub(crate) fn nexusd(&self, name: &str) -> Result<Peer> {
        Peer::nexusd(&self.binaries.nexusd, &self.folder(name), SECRET, None)
    }

    /// The same with a configuration file.
    pub(crate) fn nexusd_with(&self, name: &str, config: &str) -> Result<Peer> {
        let folder = self.folder(name);
        Peer::nexusd(&self.binaries.nexusd, &folder, SECRET, Some(config))
    }

    /// Runs the load generator to its end and reads its line.
    pub(crate) fn load<T: DeserializeOwned>(
        &self,
        kind: &str,
        server: &str,
        peer: &Peer,
        arguments: &[(&str, String)],
    ) -> Result<T> {
        let mut load = Command::new(&self.binaries.load);
        load.args([kind, "--server", server, "--secret", SECRET])
            .args(["--address", &peer.address.to_string()]);
        for (name, value) in arguments {
            load.arg(format!("--{name}"));
            if !value.is_empty() {
                load.arg(value);
            }
        }
        printed_line(&mut load)
    }
}

/// Runs the load generator to its end and reads its line.
pub(crate) fn printed_line<T: DeserializeOwned>(load: &mut Command) -> Result<T> {
    let printed = stdout_of(load)?;
    serde_json::from_slice(&printed).map_err(|source| Error::Json {
        what: String::from("the line of the load generator"),
        source,
    })
}

/// Builds what takes part, as it is shipped.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--profile", "dist"]);
    // One command, because another would choose other features for what they share.
    for package in ["bench-load", "nexusd", "nexus-store"] {
        build.args(["--package", package]);
    }
    build.args(["--bins", "--example", "append_rate"]);
    run_command(build.current_dir(&workspace.root))
}

/// The part of all cores that is busy before anything of the benchmark runs.
fn others_busy() -> Result<f64> {
    let before = Ticks::now()?;
    std::thread::sleep(WATCH);
    Ok(Ticks::now()?.busy_since(before))
}

/// The given date, else today's.
pub(crate) fn date(given: Option<&str>) -> Result<String> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let date = stdout_of(Command::new("date").args(["--utc", "+%Y-%m-%d"]))?;
    Ok(String::from_utf8_lossy(&date).trim().to_owned())
}

/// Keeps a result in the repository.
pub(crate) fn write(path: &Path, report: &impl serde::Serialize) -> Result<()> {
    let json = serde_json::to_string_pretty(report).map_err(|source| Error::Json {
        what: String::from("the report"),
        source,
    })?;
    let failed = |source| Error::write(path, source);
    path.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .map_err(failed)?;
    fs::write(path, json + "\n").map_err(failed)?;
    println!("written to {}", path.display());
    Ok(())
}
