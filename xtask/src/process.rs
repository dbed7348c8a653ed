//! Programs that a task runs, and what they say.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::error::{Error, Result};

/// Runs it to its end, shows what it prints, and fails if it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|source| Error::start(name_of(command), source))?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Failed {
            program: format!("{} ({status})", line_of(command)),
        })
    }
}

/// Runs it to its end and returns what it printed; what it complained of is part of the error.
pub(crate) fn stdout_of(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::start(name_of(command), source))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let last = complaint.trim().lines().next_back().unwrap_or_default();
    Err(Error::Failed {
        program: format!("{} ({}: {last})", line_of(command), output.status),
    })
}

/// Cargo, as it would be started from a shell.
///
/// This program is started by cargo, whose variables about *it* must not reach the next cargo: build scripts
/// watch some of them, and everything above such a crate would be built again each time.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    let ours = |name: &str| {
        [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix))
            || [
                "CARGO",
                "CARGO_PRIMARY_PACKAGE",
                "LD_LIBRARY_PATH",
                "OUT_DIR",
            ]
            .contains(&name)
    };
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(ours) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Where a program is, by `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let paths = env::var_os("PATH")?;
    env::split_paths(&paths)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// The command as it would be typed.
pub(crate) fn line_of(command: &Command) -> String {
    let mut line = name_of(command);
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

fn name_of(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
