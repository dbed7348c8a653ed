//! From samples to medians, ratios and a verdict; as a table for people and as JSON for the record.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::bench::machine::Machine;

/// More than this part of all cores in other hands, and a figure says more about them.
pub(crate) const OTHERS_BUSY_MAX: f64 = 0.1;

/// What the load generator printed about one run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) ok: u64,
    pub(crate) errors: u64,
    pub(crate) per_second: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
}

/// One server at one number of connections, over all rounds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Series {
    pub(crate) server: &'static str,
    pub(crate) connections: usize,
    pub(crate) rounds: Vec<Sample>,
}

/// The quotient of two series, round by round, and what it must be.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Ratio {
    pub(crate) of: &'static str,
    pub(crate) to: &'static str,
    pub(crate) connections: usize,
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    pub(crate) must: Option<f64>,
}

/// The memory of a server that has nothing to do.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Idle {
    pub(crate) private_kib: u64,
    pub(crate) after_seconds: u64,
    pub(crate) must_kib: u64,
    /// The part of all cores that was busy meanwhile: with others, for nothing of the benchmark ran.
    pub(crate) others_busy: f64,
}

/// Everything that a run found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) benchmark: &'static str,
    pub(crate) date: String,
    pub(crate) revision: String,
    pub(crate) what: &'static str,
    pub(crate) seconds: u64,
    pub(crate) machine: Machine,
    pub(crate) idle: Option<Idle>,
    pub(crate) ratios: Vec<Ratio>,
    pub(crate) series: Vec<Series>,
}

impl Series {
    pub(crate) fn median(&self, of: impl Fn(&Sample) -> u64) -> u64 {
        let mut values: Vec<u64> = self.rounds.iter().map(of).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or(0)
    }
}

impl Ratio {
    /// Compares rounds that ran one after the other, so that what slows the machine for a while slows both.
    pub(crate) fn of(series: &Series, to: &Series, must: Option<f64>) -> Option<Self> {
        let mut quotients: Vec<f64> = series
            .rounds
            .iter()
            .zip(&to.rounds)
            .map(|(sample, to)| sample.per_second as f64 / to.per_second.max(1) as f64)
            .collect();
        quotients.sort_by(f64::total_cmp);
        Some(Self {
            of: series.server,
            to: to.server,
            connections: series.connections,
            median: *quotients.get(quotients.len() / 2)?,
            lowest: *quotients.first()?,
            highest: *quotients.last()?,
            must,
        })
    }

    fn is_met(&self) -> bool {
        self.must.is_none_or(|must| self.median >= must)
    }
}

impl Idle {
    fn is_met(&self) -> bool {
        self.private_kib <= self.must_kib
    }
}

impl Report {
    /// Whether others used the machine too much for the figures to mean anything.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.idle
            .is_some_and(|idle| idle.others_busy > OTHERS_BUSY_MAX)
    }

    /// What is below its budget, in words.
    pub(crate) fn missed(&self) -> Vec<String> {
        let ratios = self.ratios.iter().filter(|ratio| !ratio.is_met());
        let mut missed: Vec<String> = ratios
            .map(|ratio| {
                format!(
                    "{} / {} at {} connections is {:.2}, must be {:.2}",
                    ratio.of,
                    ratio.to,
                    ratio.connections,
                    ratio.median,
                    ratio.must.unwrap_or_default()
                )
            })
            .collect();
        if let Some(idle) = self.idle.filter(|idle| !idle.is_met()) {
            missed.push(format!(
                "idle memory is {} KiB, must be at most {} KiB",
                idle.private_kib, idle.must_kib
            ));
        }
        missed
    }

    /// The table that is printed.
    pub(crate) fn table(&self) -> String {
        let mut table = format!(
            "\n{}\n{:>11}  {:<10} {:>9} {:>9} {:>9} {:>7}\n",
            self.machine.line(),
            "connections",
            "server",
            "events/s",
            "p50 us",
            "p99 us",
            "errors"
        );
        for series in &self.series {
            let errors: u64 = series.rounds.iter().map(|round| round.errors).sum();
            // Writing to a string cannot fail.
            let _ = writeln!(
                table,
                "{:>11}  {:<10} {:>9} {:>9} {:>9} {errors:>7}",
                series.connections,
                series.server,
                series.median(|round| round.per_second),
                series.median(|round| round.p50_us),
                series.median(|round| round.p99_us),
            );
        }
        for ratio in &self.ratios {
            let must = ratio.must.map_or_else(String::new, |must| {
                let verdict = if ratio.is_met() { "met" } else { "NOT MET" };
                format!("  must be {must:.2}: {verdict}")
            });
            let name = format!("{} / {}", ratio.of, ratio.to);
            let _ = writeln!(
                table,
                "{:>11}  {name:<20} {:>7.2} x ({:.2} to {:.2}){must}",
                ratio.connections, ratio.median, ratio.lowest, ratio.highest
            );
        }
        if let Some(idle) = self.idle {
            let verdict = if idle.is_met() { "met" } else { "NOT MET" };
            let _ = writeln!(
                table,
                "private memory idle, {} s after start: {:.1} MiB  must be {:.1}: {verdict}",
                idle.after_seconds,
                idle.private_kib as f64 / 1024.0,
                idle.must_kib as f64 / 1024.0
            );
        }
        if self.is_disturbed() {
            table.push_str("others kept the machine busy: these figures are no result\n");
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(server: &'static str, per_second: &[u64]) -> Series {
        let rounds = per_second.iter().map(|per_second| Sample {
            ok: *per_second,
            errors: 0,
            per_second: *per_second,
            p50_us: 1,
            p99_us: 2,
        });
        Series {
            server,
            connections: 64,
            rounds: rounds.collect(),
        }
    }

    #[test]
    fn a_ratio_is_the_median_of_rounds_and_not_of_sums() {
        let ours = series("nexus", &[100, 10, 90]);
        let theirs = series("redis", &[100, 20, 30]);
        let ratio = Ratio::of(&ours, &theirs, Some(1.0)).unwrap();
        assert_eq!((ratio.lowest, ratio.median, ratio.highest), (0.5, 1.0, 3.0));
        assert!(ratio.is_met());
        assert!(!Ratio::of(&ours, &theirs, Some(1.1)).unwrap().is_met());
        assert_eq!(ours.median(|round| round.per_second), 90);
        assert!(Ratio::of(&series("nexus", &[]), &theirs, None).is_none());
    }
}
