//! Feeds the parsers with random input: one program for each target, instrumented, on the stable compiler.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use clap::{Args, ValueEnum};

use crate::{
    error::{Error, Result},
    process::{cargo, find, run, stdout_of},
    setup::install_debian,
    workspace::Workspace,
};

/// What marks every branch and comparison, so that the fuzzer sees where an input leads.
const INSTRUMENTED: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    // The linker would drop the tables, which only their names keep.
    "-Clink-arg=-Wl,-z,nostart-stop-gc",
    "--cfg=fuzzing",
];
/// An input that takes longer than this many seconds counts as a crash.
const INPUT_SECONDS_MAX: u32 = 5;
/// A target that holds more memory than this counts as one.
const MEMORY_MIB_MAX: u32 = 1024;

/// How long, and what.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long each target runs.
    #[arg(long, default_value_t = 300)]
    seconds: u32,
    /// One target; all of them, one after the other, if none is named.
    target: Option<Target>,
}

/// What is fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Target {
    Frames,
    Filters,
    Templates,
    Patterns,
    CloudEvents,
    Messages,
}

impl Target {
    const fn name(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::Filters => "filters",
            Self::Templates => "templates",
            Self::Patterns => "patterns",
            Self::CloudEvents => "cloud_events",
            Self::Messages => "messages",
        }
    }

    /// Longer inputs say nothing new and take longer.
    const fn input_bytes_max(self) -> u32 {
        match self {
            Self::Patterns => 512,
            Self::Frames | Self::Filters | Self::Templates | Self::CloudEvents | Self::Messages => {
                4096
            }
        }
    }
}

/// Builds and runs the targets; fails with the input that broke one.
pub(crate) fn run_targets(workspace: &Workspace, options: &Options) -> Result<()> {
    let folders = Folders::of(workspace);
    compiler_for_cpp()?;
    let triple = host_triple()?;
    build(&folders, &triple)?;
    let targets = match options.target {
        Some(target) => vec![target],
        None => Target::value_variants().to_vec(),
    };
    let mut broken = Vec::new();
    for target in targets {
        println!("== {} for {} s", target.name(), options.seconds);
        if let Err(error) = feed(&folders, &triple, target, options.seconds) {
            println!("== {} FAILED: {}", target.name(), error.chain());
            broken.push(target.name().to_owned());
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    let inputs = files_below(&folders.artifacts())?;
    for input in inputs {
        println!("input: {}", input.display());
    }
    Err(Error::Steps { names: broken })
}

/// Where the targets are and what they leave.
struct Folders {
    /// The package, with what is committed.
    package: PathBuf,
    /// What is built and found.
    target: PathBuf,
    root_lock: PathBuf,
}

impl Folders {
    fn of(workspace: &Workspace) -> Self {
        Self {
            package: workspace.root.join("fuzz"),
            target: workspace.fuzz(),
            root_lock: workspace.root.join("Cargo.lock"),
        }
    }

    fn artifacts(&self) -> PathBuf {
        self.target.join("artifacts")
    }

    fn seeds(&self, target: Target) -> PathBuf {
        self.package.join("corpus").join(target.name())
    }
}

/// Its own workspace has the dependencies of this one, in the same versions.
fn build(folders: &Folders, triple: &str) -> Result<()> {
    let lock = folders.package.join("Cargo.lock");
    fs::copy(&folders.root_lock, &lock).map_err(|source| Error::write(&lock, source))?;
    // With `--target`, build scripts and macros are not instrumented: they have no fuzzer to report to.
    run(cargo()
        .args(["build", "--release", "--target", triple])
        .arg("--manifest-path")
        .arg(folders.package.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&folders.target)
        .env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTED.join("\x1f")))
}

fn feed(folders: &Folders, triple: &str, target: Target, seconds: u32) -> Result<()> {
    let found = folders.target.join("corpus").join(target.name());
    let artifacts = folders.artifacts().join(target.name());
    for folder in [&found, &artifacts] {
        fs::create_dir_all(folder).map_err(|source| Error::write(folder, source))?;
    }
    let program = folders
        .target
        .join(triple)
        .join("release")
        .join(target.name());
    let dictionary = folders
        .package
        .join("dictionaries")
        .join(format!("{}.dict", target.name()));
    run(Command::new(program)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={}", target.input_bytes_max()))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .arg(format!("-dict={}", dictionary.display()))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-print_final_stats=1", "-verbosity=1"])
        // What is found goes into the first folder; the seeds stay as they are.
        .arg(&found)
        .arg(folders.seeds(target)))
}

/// The fuzzer itself is written in C++.
fn compiler_for_cpp() -> Result<()> {
    if find("c++").is_none() {
        install_debian("g++");
    }
    match find("c++") {
        Some(_) => Ok(()),
        None => Err(Error::Missing {
            what: String::from("a C++ compiler"),
            why: String::from("the fuzzer is built with it; install g++"),
        }),
    }
}

fn host_triple() -> Result<String> {
    let said = stdout_of(Command::new("rustc").arg("-vV"))?;
    let said = String::from_utf8_lossy(&said);
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Error::Missing {
        what: String::from("the host's triple"),
        why: String::from("rustc -vV does not tell it"),
    })
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|source| Error::read(&folder, source))?;
        for entry in entries {
            let path = entry.map_err(|source| Error::read(&folder, source))?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_target_is_there_with_seeds_and_words() {
        let folders = Folders::of(&Workspace::find());
        let manifest = fs::read_to_string(folders.package.join("Cargo.toml")).unwrap();
        let manifest: toml::Table = toml::from_str(&manifest).unwrap();
        let programs: BTreeSet<&str> = manifest["bin"]
            .as_array()
            .unwrap()
            .iter()
            .map(|program| program["name"].as_str().unwrap())
            .collect();
        let targets: BTreeSet<&str> = Target::value_variants()
            .iter()
            .map(|target| target.name())
            .collect();
        assert_eq!(programs, targets);
        for target in Target::value_variants() {
            let seeds = files_below(&folders.seeds(*target)).unwrap();
            assert!(!seeds.is_empty(), "{target:?}");
            let bytes: u64 = seeds
                .iter()
                .map(|seed| fs::metadata(seed).unwrap().len())
                .sum();
            assert!(bytes < 64 * 1024, "the corpus of {target:?} is kept small");
            let words = folders.package.join("dictionaries");
            assert!(words.join(format!("{}.dict", target.name())).is_file());
        }
    }
}
