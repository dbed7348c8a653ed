//! `cargo xtask test`: everything that must hold before a change lands, set-up included.

use std::{path::Path, process::Command};

use clap::Args;

use crate::{
    bench,
    error::Result,
    process::{self, run},
    setup,
    steps::{LeftOut, Steps},
    tidy,
    workspace::Workspace,
};

/// What is asked of a test run.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Options {
    /// Run the long forms of the tests too.
    #[arg(long)]
    deep: bool,
    /// Fail if anything had to be left out.
    #[arg(long)]
    require_all: bool,
}

/// Runs all steps. A step that fails does not keep the others from running, unless they need what it builds.
pub(crate) fn run_all(workspace: &Workspace, options: Options) -> Result<()> {
    let mut steps = Steps::default();
    let mut ready = setup::Ready::default();
    steps.run("set-up", || {
        ready = setup::for_tests(&workspace.root, &workspace.tools())?;
        Ok(())
    });
    steps.leave_out(ready.left_out.drain(..));
    let cargo = |line: &str| cargo(&workspace.root, line);

    steps.run("format", || run(&mut cargo("fmt --all --check")));
    steps.run("clippy", || {
        run(&mut cargo(
            "clippy --release --workspace --all-targets -- -D warnings",
        ))
    });
    steps.run("tidy", || tidy::run(&workspace.root));
    let built = steps.run("build", || {
        run(&mut cargo("build --release --workspace --bins --examples"))
    });
    if built {
        steps.run("tests", || {
            let mut tests = if ready.nextest {
                cargo("nextest run --release --workspace --no-fail-fast")
            } else {
                cargo("test --release --workspace --all-targets --no-fail-fast")
            };
            pass_on(&mut tests, workspace, &ready, options);
            run(&mut tests)
        });
        steps.run("documentation tests", || {
            run(&mut cargo("test --release --doc --workspace"))
        });
        steps.run("documentation", || {
            let mut doc = cargo("doc --release --workspace --no-deps --lib --quiet");
            run(doc.env("RUSTDOCFLAGS", "-D warnings"))
        });
        if bench::can_run(workspace) {
            steps.run("benchmark, in short", || bench::smoke(workspace, None));
        } else {
            steps.leave_out([LeftOut {
                what: String::from("benchmark, in short"),
                why: String::from("its peers are not installed"),
            }]);
        }
    }
    steps.finish(options.require_all)
}

fn cargo(root: &Path, line: &str) -> Command {
    let mut cargo = process::cargo();
    cargo.args(line.split(' ')).current_dir(root);
    cargo
}

/// Tells the tests where things are and how much is asked of them.
fn pass_on(tests: &mut Command, workspace: &Workspace, ready: &setup::Ready, options: Options) {
    for (name, value) in &ready.variables {
        tests.env(name, value);
    }
    tests.env("NEXUS_TEST_BIN_DIR", workspace.release_folder());
    if options.deep {
        tests.env("NEXUS_DEEP", "1");
    }
    if options.require_all {
        tests.env("NEXUS_REQUIRE_ALL", "1");
    }
}
