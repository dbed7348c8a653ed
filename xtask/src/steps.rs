//! A run of named steps: each is timed, all are summed up at the end, and one that fails fails the run.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::error::{Error, Result};

/// The steps that have run so far.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<Done>,
    left_out: Vec<LeftOut>,
}

#[derive(Debug)]
struct Done {
    name: &'static str,
    took: Duration,
    failed: bool,
}

/// Something that the machine did not allow, and what that costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub(crate) what: String,
    pub(crate) why: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "left out: {}: {}", self.what, self.why)
    }
}

impl Steps {
    /// Runs one step and says how it went; returns whether it succeeded.
    pub(crate) fn run(&mut self, name: &'static str, step: impl FnOnce() -> Result<()>) -> bool {
        println!("== {name}");
        let start = Instant::now();
        let result = step();
        let took = start.elapsed();
        let failed = match result {
            Ok(()) => false,
            Err(error) => {
                println!("== {name} FAILED: {}", error.chain());
                true
            }
        };
        self.done.push(Done { name, took, failed });
        !failed
    }

    /// Notes what this machine does not allow.
    pub(crate) fn leave_out(&mut self, left_out: impl IntoIterator<Item = LeftOut>) {
        self.left_out.extend(left_out);
    }

    /// Prints the summary. The run fails with its steps, and with what was left out if `all` is required.
    pub(crate) fn finish(self, all: bool) -> Result<()> {
        println!("\n== summary");
        for done in &self.done {
            let outcome = if done.failed { "FAILED" } else { "ok" };
            println!(
                "{outcome:>8} {:>7.1} s  {}",
                done.took.as_secs_f64(),
                done.name
            );
        }
        for left_out in &self.left_out {
            println!("{left_out}");
        }
        let mut failed: Vec<String> = self
            .done
            .iter()
            .filter(|done| done.failed)
            .map(|done| done.name.to_owned())
            .collect();
        if all {
            let missing = self.left_out.iter();
            failed.extend(missing.map(|left_out| format!("{} (left out)", left_out.what)));
        }
        let steps_failed = self.done.iter().filter(|done| done.failed).count();
        println!(
            "steps: {} passed, {steps_failed} failed, {} skipped",
            self.done.len() - steps_failed,
            self.left_out.len()
        );
        if failed.is_empty() {
            Ok(())
        } else {
            Err(Error::Steps { names: failed })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out() -> LeftOut {
        LeftOut {
            what: String::from("redis-server"),
            why: String::from("not root"),
        }
    }

    #[test]
    fn a_failed_step_fails_the_run_and_the_others_still_count() {
        let mut steps = Steps::default();
        assert!(steps.run("good", || Ok(())));
        assert!(!steps.run("bad", || Err(Error::Untidy { count: 1 })));
        match steps.finish(false) {
            Err(Error::Steps { names }) => assert_eq!(names, ["bad"]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_left_out_fails_only_a_run_that_requires_all() {
        let mut steps = Steps::default();
        steps.leave_out([left_out()]);
        assert!(steps.finish(false).is_ok());
        let mut steps = Steps::default();
        steps.leave_out([left_out()]);
        match steps.finish(true) {
            Err(Error::Steps { names }) => assert_eq!(names, ["redis-server (left out)"]),
            other => panic!("{other:?}"),
        }
    }
}
