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
    /// Why it failed, if it did.
    failed: Option<String>,
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
        self.note(name, start.elapsed(), result)
    }

    /// Notes how a step went that ran beside others; returns whether it succeeded.
    pub(crate) fn note(&mut self, name: &'static str, took: Duration, result: Result<()>) -> bool {
        let failed = result.err().map(|error| error.chain());
        if let Some(why) = &failed {
            println!("== {name} FAILED: {why}");
        }
        let succeeded = failed.is_none();
        self.done.push(Done { name, took, failed });
        succeeded
    }

    /// Notes what this machine does not allow.
    pub(crate) fn leave_out(&mut self, left_out: impl IntoIterator<Item = LeftOut>) {
        self.left_out.extend(left_out);
    }

    /// Prints the summary, with the reason of each failure: who reads a long log begins at its end. The run fails
    /// with its steps, and with what was left out if `all` is required.
    pub(crate) fn finish(self, all: bool) -> Result<()> {
        println!("\n== summary");
        for done in &self.done {
            let outcome = if done.failed.is_some() {
                "FAILED"
            } else {
                "ok"
            };
            println!(
                "{outcome:>8} {:>7.1} s  {}",
                done.took.as_secs_f64(),
                done.name
            );
        }
        for left_out in &self.left_out {
            println!("{left_out}");
        }
        let failures = self.done.iter().filter(|done| done.failed.is_some());
        let mut failed: Vec<String> = failures.map(|done| done.name.to_owned()).collect();
        let steps_failed = failed.len();
        if all {
            let missing = self.left_out.iter();
            failed.extend(missing.map(|left_out| format!("{} (left out)", left_out.what)));
        }
        println!(
            "steps: {} passed, {steps_failed} failed, {} skipped",
            self.done.len() - steps_failed,
            self.left_out.len()
        );
        for done in &self.done {
            if let Some(why) = &done.failed {
                println!("\n== why {} FAILED: {why}", done.name);
            }
        }
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
