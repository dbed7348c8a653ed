//! What a process on this machine costs: its processor time and its memory, as the system counts them.

use std::{fs, io, time::Duration};

use rustix::param::clock_ticks_per_second;
use tokio::time::Instant;

/// A process that is watched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watched(pub(crate) u32);

/// Its processor time at a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    at: Instant,
    ticks: u64,
}

impl Watched {
    /// What it has spent so far.
    pub(crate) fn spent(self) -> io::Result<Spent> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        Ok(Spent {
            at: Instant::now(),
            ticks: ticks(&stat).ok_or(io::ErrorKind::InvalidData)?,
        })
    }

    /// How much of one core it took since then, in percent.
    pub(crate) fn busy_percent_since(self, earlier: Spent) -> io::Result<f64> {
        let now = self.spent()?;
        let seconds = (now.ticks - earlier.ticks) as f64 / clock_ticks_per_second() as f64;
        let passed = now
            .at
            .duration_since(earlier.at)
            .max(Duration::from_millis(1));
        Ok(seconds / passed.as_secs_f64() * 100.0)
    }

    /// The memory that only this process has, in KiB.
    pub(crate) fn private_kib(self) -> io::Result<u64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.0))?;
        Ok(private_kib(&rollup))
    }
}

/// Time in user and in system mode; the name before them may have spaces, and ends with a parenthesis.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn private_kib(rollup: &str) -> u64 {
    let private = rollup
        .lines()
        .filter(|line| line.starts_with("Private_Clean:") || line.starts_with("Private_Dirty:"));
    let kib = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
    private.filter_map(kib).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_a_name_with_spaces() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 99 1 2";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("7"), None);
    }

    #[test]
    fn private_memory_is_what_is_clean_and_what_is_dirty() {
        let rollup = "Rss: 900 kB\nPrivate_Clean:  12 kB\nPrivate_Dirty: 30 kB\nPrivate_X: 5 kB\n";
        assert_eq!(private_kib(rollup), 42);
        let own = Watched(std::process::id());
        assert!(own.private_kib().unwrap() > 100);
        assert!(own.spent().is_ok());
    }
}
