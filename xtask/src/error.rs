//! Why a task could not be carried out.

use std::{
    error::Error as _,
    io,
    path::{Path, PathBuf},
};

/// What went wrong, for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A program could not be started.
    #[error("cannot start {program}")]
    Start {
        program: String,
        #[source]
        source: io::Error,
    },
    /// A program ended with a failure.
    #[error("{program} failed")]
    Failed { program: String },
    /// A program ended with a failure, and this is the end of what it said.
    #[error("{program} failed, after it had said:\n{said}")]
    FailedSaying { program: String, said: String },
    /// A file or folder could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file or folder could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// What a program or file said is not the JSON that was expected.
    #[error("{what} is not the expected JSON")]
    Json {
        what: String,
        #[source]
        source: serde_json::Error,
    },
    /// Steps of a run failed; each was named when it did.
    #[error("failed: {}", names.join(", "))]
    Steps { names: Vec<String> },
    /// House rules are broken; each place was named.
    #[error("{count} findings")]
    Untidy { count: usize },
    /// Something that a run needs is not there.
    #[error("{what} is missing: {why}")]
    Missing { what: String, why: String },
    /// Something that was written from the code no longer fits it.
    #[error("{what} is out of date: {why}")]
    Stale {
        what: &'static str,
        why: &'static str,
    },
    /// A measurement that says nothing.
    #[error("the measurement is void: {0}")]
    Void(String),
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The error with its causes, in one line.
    pub(crate) fn chain(&self) -> String {
        let mut chain = self.to_string();
        let mut cause = self.source();
        while let Some(source) = cause {
            chain.push_str(": ");
            chain.push_str(&source.to_string());
            cause = source.source();
        }
        chain
    }

    pub(crate) fn start(program: impl Into<String>, source: io::Error) -> Self {
        Self::Start {
            program: program.into(),
            source,
        }
    }

    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read {
            path: path.to_path_buf(),
            source,
        }
    }

    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        Self::Write {
            path: path.to_path_buf(),
            source,
        }
    }
}
