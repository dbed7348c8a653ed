//! What the figures were measured on: processor, memory, kernel, and how long its disk takes to sync.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::Command,
    time::Instant,
};

use serde::Serialize;

use crate::{
    error::{Error, Result},
    process::stdout_of,
};

const SYNCS: usize = 200;
const SYNC_BYTES: usize = 4096;

/// The machine, as far as it explains figures.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    memory_mib: u64,
    kernel: String,
    /// The median of appending 4 KiB and syncing them, on the disk that is measured.
    sync_us: u64,
}

impl Machine {
    /// Asks the system, and times some syncs in `folder`.
    pub(crate) fn of(folder: &Path) -> Result<Self> {
        let processors = read("/proc/cpuinfo")?;
        let memory = read("/proc/meminfo")?;
        Ok(Self {
            processor: field(&processors, "model name")
                .unwrap_or("unknown")
                .to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: kib(&memory, "MemTotal").unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            sync_us: sync_us(folder)?,
        })
    }

    /// The line that goes before the table.
    pub(crate) fn line(&self) -> String {
        format!(
            "{}, {} cores, {} MiB, Linux {}; one sync takes {} us",
            self.processor, self.cores, self.memory_mib, self.kernel, self.sync_us
        )
    }
}

/// The memory that only this process has, in KiB.
pub(crate) fn private_memory_kib(process: u32) -> Result<u64> {
    let rollup = read(&format!("/proc/{process}/smaps_rollup"))?;
    Ok(["Private_Clean", "Private_Dirty"]
        .iter()
        .filter_map(|name| kib(&rollup, name))
        .sum())
}

/// What the processors have done so far, in ticks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticks {
    idle: u64,
    all: u64,
}

impl Ticks {
    pub(crate) fn now() -> Result<Self> {
        Ok(Self::of(&read("/proc/stat")?))
    }

    /// The first line sums up all cores: user, nice, system, idle, waiting for disks, and so on.
    fn of(stat: &str) -> Self {
        let first = stat.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = first
            .split_whitespace()
            .skip(1)
            .map(|ticks| ticks.parse().unwrap_or(0))
            .collect();
        Self {
            idle: ticks.get(3).copied().unwrap_or(0),
            all: ticks.iter().sum(),
        }
    }

    /// The part of all cores that was not idle since `earlier`; waiting for a disk is not idle.
    pub(crate) fn busy_since(self, earlier: Self) -> f64 {
        let all = self.all.saturating_sub(earlier.all).max(1);
        let idle = self.idle.saturating_sub(earlier.idle);
        1.0 - idle as f64 / all as f64
    }
}

/// The commit that was measured, with `+` if the tree differs from it.
pub(crate) fn revision(root: &Path) -> String {
    let git = |arguments: &[&str]| {
        stdout_of(Command::new("git").args(arguments).current_dir(root))
            .map(|said| String::from_utf8_lossy(&said).trim().to_owned())
    };
    let Ok(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return String::from("unknown");
    };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Ok(changes) if changes.is_empty() => commit,
        _ => commit + "+",
    }
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|source| Error::read(Path::new(path), source))
}

/// The value of the first `name : value`.
fn field<'text>(text: &'text str, name: &str) -> Option<&'text str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

fn kib(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.strip_suffix(" kB")?.trim().parse().ok()
}

fn sync_us(folder: &Path) -> Result<u64> {
    let path = folder.join("sync");
    let failed = |source| Error::write(&path, source);
    let mut file = File::create(&path).map_err(failed)?;
    let mut took_us = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let start = Instant::now();
        file.write_all(&[0; SYNC_BYTES]).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        took_us.push(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    took_us.sort_unstable();
    Ok(took_us[SYNCS / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_of_its_own() {
        assert!(private_memory_kib(std::process::id()).unwrap() > 100);
    }

    #[test]
    fn ticks_tell_how_busy_the_cores_were() {
        let before = Ticks::of("cpu  100 0 50 800 50 0 0\ncpu0 1 2 3\n");
        let after = Ticks::of("cpu  120 0 60 860 60 0 0\n");
        assert!((after.busy_since(before) - 0.4).abs() < 1e-9);
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "Private_Clean_X: 1 kB\nPrivate_Clean:   12 kB\n";
        assert_eq!(kib(text, "Private_Clean"), Some(12));
        assert_eq!(kib(text, "Private"), None);
    }
}
