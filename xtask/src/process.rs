//! Programs that a task runs, and what they say.

use std::{
    collections::VecDeque,
    env,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Command, Stdio},
    sync::Mutex,
    thread,
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

/// How many of the last lines of a program are told again when it fails.
const LAST_LINES: usize = 400;

/// As [`run`]; if it fails, the error has the last lines of what it printed, for those who look at the end of a
/// long log.
pub(crate) fn run_and_tell(command: &mut Command) -> Result<()> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| Error::start(name_of(command), source))?;
    let last = Mutex::new(VecDeque::with_capacity(LAST_LINES));
    thread::scope(|scope| {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        scope.spawn(|| stdout.map(|stdout| pass_lines_on(stdout, &last)));
        if let Some(stderr) = stderr {
            pass_lines_on(stderr, &last);
        }
    });
    let status = child
        .wait()
        .map_err(|source| Error::start(name_of(command), source))?;
    if status.success() {
        return Ok(());
    }
    let last = last.into_inner().unwrap_or_default();
    Err(Error::FailedSaying {
        program: format!("{} ({status})", line_of(command)),
        said: Vec::from(last).join("\n"),
    })
}

/// Prints what comes line by line, and keeps the last of it.
fn pass_lines_on(from: impl Read, last: &Mutex<VecDeque<String>>) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(line.trim_ascii_end());
        println!("{text}");
        if let Ok(mut last) = last.lock() {
            if last.len() == LAST_LINES {
                last.pop_front();
            }
            last.push_back(text.into_owned());
        }
        line.clear();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn who_fails_is_quoted_with_its_last_words_of_both_kinds() {
        assert!(run_and_tell(&mut shell("echo fine")).is_ok());
        let failing = "seq 1000; echo complaint >&2; exit 3";
        let Err(Error::FailedSaying { program, said }) = run_and_tell(&mut shell(failing)) else {
            panic!("it succeeded");
        };
        assert!(program.contains("exit status: 3"), "{program}");
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), LAST_LINES);
        assert!(lines.contains(&"1000") && !lines.contains(&"1"), "{said}");
    }
}
