//! `nexusd backup` and `nexusd restore`: the log as one file, beside a daemon that runs or without one.

use std::{
    io::{IsTerminal, stderr},
    path::PathBuf,
};

use nexus::{
    Error, Stop,
    config::Mode,
    database::{self, Progress, Verified},
    environment::Environment,
};

use super::{Failure, runtime, sources};
use crate::arguments::{BackupOptions, RestoreOptions};

/// What a backup is never, so that nobody finds out when it is needed.
const NOT_IN_IT: &str =
    "not in a backup: the vault's key, the configuration and the coordination files";

pub(crate) fn backup(options: &BackupOptions, environment: &Environment) -> Result<(), Failure> {
    let log = log(options.config.as_ref(), environment)?;
    let made = runtime()?.block_on(async {
        let mut stop = Stop::listen()?;
        let mut told = Told::new();
        let making = database::backup(&log, &options.to, options.force, |at| told.hear(at));
        stop.unless_stopped(making).await
    });
    // A signal in the middle of it leaves nothing of it.
    let Some(made) = made.map_err(|error| unconfirmed(error, ""))? else {
        let detail = "stopped by a signal; no backup was made".to_owned();
        return Err(Failure::Refused { detail });
    };
    let verified = made.verified;
    println!(
        "backed up {} up to {}-{} to {} ({}); the chain holds",
        events(&verified),
        verified.epoch,
        verified.last,
        options.to.display(),
        size(made.bytes),
    );
    println!("{NOT_IN_IT}");
    Ok(())
}

pub(crate) fn restore(options: &RestoreOptions, environment: &Environment) -> Result<(), Failure> {
    let mut log = log(options.config.as_ref(), environment)?;
    if let Some(folder) = &options.into {
        log = folder.join(log.file_name().unwrap_or_default());
    }
    let kept = ", and what is there is kept beside it";
    let restored = runtime()?
        .block_on(async {
            let mut told = Told::new();
            database::restore(&options.from, &log, options.force, |at| told.hear(at)).await
        })
        .map_err(|error| unconfirmed(error, kept))?;
    let verified = restored.verified;
    println!(
        "restored {} to {}; the chain holds",
        events(&verified),
        log.display(),
    );
    println!(
        "the log is now at {}-{}; readers that come with a position of {} are told that it is another log",
        verified.epoch, verified.last, restored.epoch_before,
    );
    if let Some(folder) = restored.put_aside {
        println!("the log that was there is in {}", folder.display());
    }
    println!("{NOT_IN_IT}");
    Ok(())
}

/// Where the log is. Nothing else of the configuration is needed, its secrets least of all.
fn log(file: Option<&PathBuf>, environment: &Environment) -> Result<PathBuf, Failure> {
    let url = environment.get("DATABASE_URL").unwrap_or_default();
    if ["postgres:", "postgresql:"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
    {
        return Err(Failure::Foreign {
            detail: "DATABASE_URL names a database in Postgres: pg_dump makes a backup of it and pg_restore \
                     restores it; this command is for a log in SQLite"
                .to_owned(),
        });
    }
    let storage = sources(Mode::Serve, file, environment).storage();
    let storage = storage.map_err(Error::Config)?;
    Ok(storage.database_path())
}

/// What would be replaced is told with the flag that allows it.
fn unconfirmed(error: Error, then: &str) -> Failure {
    match error {
        Error::Taken { path } => Failure::Unconfirmed {
            what: format!(
                "{} is there already and would be replaced{then}",
                path.display()
            ),
            flag: "--force",
        },
        error => error.into(),
    }
}

/// How many events there are.
fn events(verified: &Verified) -> String {
    let count = verified.last.get() - verified.pruned_through.get();
    match count {
        1 => "1 event".to_owned(),
        count => format!("{count} events"),
    }
}

/// A size for people.
fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    match bytes {
        bytes if bytes < MIB => format!("{} KiB", bytes.div_ceil(1 << 10)),
        bytes => format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB),
    }
}

/// Shows on a terminal how far it is, in one line that is gone at the end.
struct Told {
    is_terminal: bool,
}

impl Told {
    fn new() -> Self {
        let is_terminal = stderr().is_terminal();
        Self { is_terminal }
    }

    fn hear(&mut self, progress: Progress) {
        if !self.is_terminal {
            return;
        }
        match progress {
            Progress::Copying { bytes, bytes_total } => {
                let percent = (bytes * 100).checked_div(bytes_total).unwrap_or(0).min(100);
                let (bytes, total) = (size(bytes), size(bytes_total));
                eprint!("\r\x1b[Kcopying: {percent} % ({bytes} of {total})");
            }
            Progress::Checking => eprint!("\r\x1b[Kchecking"),
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if self.is_terminal {
            eprint!("\r\x1b[K");
        }
    }
}
