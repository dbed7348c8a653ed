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
