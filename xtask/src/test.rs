//! `cargo xtask test`: everything that must hold before a change lands, set-up included.

use std::{path::Path, process::Command, thread, time::Instant};

use clap::Args;

use crate::{
    bench,
    error::Result,
    layout,
    process::{self, run, run_and_tell},
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
    let cargo = |line: &str| cargo(&workspace.root, line);
    // Most of what setting up does is to wait for others to send packages. Nothing needs them before the tests do.
    let mut ready = thread::scope(|scope| {
        let setting_up = scope.spawn(|| {
            let start = Instant::now();
            let ready = setup::for_tests(&workspace.root, &workspace.tools());
            (start.elapsed(), ready)
        });
        steps.run("format", || run(&mut cargo("fmt --all --check")));
        steps.run("clippy", || {
            run_and_tell(&mut cargo(
                "clippy --release --workspace --all-targets -- -D warnings",
            ))
        });
        let (took, ready) = match setting_up.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        match ready {
            Ok(ready) => {
                steps.note("set-up, beside them", took, Ok(()));
                ready
            }
            Err(error) => {
                steps.note("set-up, beside them", took, Err(error));
                setup::Ready::default()
            }
        }
    });
    steps.leave_out(ready.left_out.drain(..));
    steps.run("tidy", || tidy::run(&workspace.root));
    let built = steps.run("build", || {
        // The tests too, so that no processor is idle before they are compiled.
        run_and_tell(&mut cargo(
            "build --release --workspace --bins --examples --tests",
        ))
    });
    if built {
        steps.run("layout", || {
            layout::check(&workspace.root, &workspace.release_folder().join("nexusd"))
        });
        steps.run("tests", || {
            let mut tests = if ready.nextest {
                nextest(cargo("nextest run --release --workspace"), options)
            } else {
                cargo("test --release --workspace --all-targets --no-fail-fast")
            };
            pass_on(&mut tests, workspace, &ready, options);
            run_and_tell(&mut tests)
        });
        steps.run("documentation tests", || {
            run_and_tell(&mut cargo("test --release --doc --workspace --quiet"))
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

/// How many run at once, and for how long, as `.config/nextest.toml` says.
fn nextest(mut nextest: Command, options: Options) -> Command {
    nextest.args(["--profile", if options.deep { "deep" } else { "ci" }]);
    // Many of the tests wait most of the time: for a deadline to pass, or for another process.
    let processors = thread::available_parallelism().map_or(1, usize::from);
    nextest.args(["--test-threads", &(processors + 1).to_string()]);
    nextest
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
