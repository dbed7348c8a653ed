//! How jobs are bounded, and how long they are kept.

use std::time::Duration;

/// What holds for all jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobsOptions {
    /// A call that takes longer becomes a job, for callers that can follow one.
    pub promote_after: Duration,
    /// How long a job may take.
    pub timeout: Duration,
    /// At most this many jobs run at once; others wait.
    pub running_max: usize,
    /// At most this many jobs of one user are unfinished.
    pub unfinished_per_user_max: usize,
    /// At most this many jobs are unfinished altogether.
    pub unfinished_max: usize,
    /// At most this many bytes of a result are kept.
    pub result_bytes_max: usize,
    /// How long a job is kept that has ended.
    pub keep_ended: Duration,
    /// How long a job is kept that has not, and that nobody runs.
    pub keep_orphans: Duration,
    /// How often it is looked which jobs are no longer kept.
    pub cleanup_interval: Duration,
    /// How long it is tried to keep what became of a job while the log refuses.
    pub keep_trying: Duration,
}

impl Default for JobsOptions {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self {
            promote_after: Duration::from_secs(5),
            timeout: Duration::from_secs(600),
            running_max: 64,
            unfinished_per_user_max: 100,
            unfinished_max: 1_000,
            result_bytes_max: 4 * 1024 * 1024,
            keep_ended: DAY * 7,
            keep_orphans: DAY,
            cleanup_interval: Duration::from_secs(3_600),
            keep_trying: Duration::from_secs(600),
        }
    }
}
