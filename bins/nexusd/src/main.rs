//! The daemon: arguments, environment, exit codes; everything else is the `nexus` crate.
#![forbid(unsafe_code)]

mod arguments;
mod commands;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};

/// Gives memory back to the system sooner than the default, and costs less under many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let environment = nexus::environment::Environment::new(std::env::vars_os());
    let result = match arguments.command.unwrap_or(Command::Serve(arguments.serve)) {
        Command::Dev(options) => commands::run::dev(&options, &environment),
        Command::Serve(options) => commands::run::serve(&options, &environment),
        Command::Check(options) => commands::check::check(&options, &environment),
        Command::Migrate(options) => commands::database::migrate(&options, &environment),
        Command::Verify(options) => commands::database::verify(&options, &environment),
        Command::Backup(options) => commands::backup::backup(&options, &environment),
        Command::Restore(options) => commands::backup::restore(&options, &environment),
        Command::Keys(options) => commands::keys::keys(&options, &environment),
        Command::Healthcheck(options) => commands::healthcheck::healthcheck(&options, &environment),
        Command::Tail(options) => commands::tail::tail(&options, &environment),
        Command::Mcp(options) => commands::mcp::mcp(&options, &environment),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            commands::report(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}
