//! What a developer of Nexus runs: test, tidy, bench, fuzz, coverage, layout.

mod bench;
mod coverage;
mod error;
mod fuzz;
mod layout;
mod process;
mod setup;
mod steps;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{error::Result, workspace::Workspace};

/// The tasks of the workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what the tests and benchmarks use; `test` begins with it.
    Setup,
    /// Install what the tests use, then run everything that must hold before a change lands.
    Test(test::Options),
    /// Check the house rules: layers, who may name what, file heads, promises, licences.
    Tidy,
    /// Run a benchmark, or list them.
    Bench {
        #[command(subcommand)]
        bench: Option<bench::Bench>,
    },
    /// Feed the parsers with random input.
    Fuzz(fuzz::Options),
    /// Report which lines the tests run.
    Coverage,
    /// Record which functions a start runs, for the linker to put side by side.
    Layout,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {}", error.chain());
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let workspace = Workspace::find();
    match task {
        Task::Setup => setup::run_alone(&workspace.root, &workspace.tools()),
        Task::Test(options) => test::run_all(&workspace, options),
        Task::Tidy => tidy::run(&workspace.root),
        Task::Bench { bench } => bench::run(&workspace, bench),
        Task::Fuzz(options) => fuzz::run_targets(&workspace, &options),
        Task::Coverage => coverage::report(&workspace),
        Task::Layout => layout::record(&workspace),
    }
}
