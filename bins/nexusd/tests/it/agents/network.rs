//! A network of a test's own, in which the addresses of the documents are free.

use std::{
    ffi::OsStr,
    process::{Command, Stdio},
};

use crate::support::Process;

/// It lasts as long as this.
pub(super) struct Network(Process);

/// Who is not root is it within a namespace of their own.
fn user_arguments(own: &[&'static str]) -> Vec<&'static str> {
    if rustix::process::geteuid().is_root() {
        Vec::new()
    } else {
        own.to_vec()
    }
}

impl Network {
    /// Nothing where this user may not make one.
    pub(super) fn make() -> Option<Self> {
        const UP: &str = "ip link set lo up && echo up && exec sleep infinity";
        let mut unshare = Command::new("unshare");
        unshare
            .arg("--net")
            .args(user_arguments(&["--user", "--map-root-user"]));
        let may = Command::new(unshare.get_program())
            .args(unshare.get_args())
            .args(["sh", "-c", "ip link set lo up"])
            .stderr(Stdio::null())
            .status();
        if !may.is_ok_and(|status| status.success()) {
            return None;
        }
        let process = Process::start(unshare.args(["sh", "-c", UP]));
        process.line(0, |line| line == "up");
        Some(Self(process))
    }

    /// A command within it, that sees nothing of this process's environment but where programs are.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.0.id().to_string(), "--net"])
            .args(user_arguments(&["--user", "--preserve-credentials"]))
            .arg("--")
            .arg(program)
            .env_clear();
        for name in ["PATH", "HOME"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }
}
