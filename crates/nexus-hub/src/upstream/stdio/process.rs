//! A child process with its group: started without a shell, ended without a trace.

use std::{path::Path, process::Stdio, time::Duration};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, prlimit};
use tokio::{
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    time::timeout,
};
use tracing::debug;

use super::{CallError, Program};
use crate::PoolOptions;

/// A child that runs. Dropping it kills it and its group.
pub(super) struct Process {
    child: Child,
    group: Option<Group>,
}

/// Its standard streams.
pub(super) struct Pipes {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

/// Starts a program in a group of its own, with nothing of Nexus's own environment.
pub(super) fn spawn(
    program: &Program<'_>,
    home: Option<&Path>,
    options: &PoolOptions,
) -> Result<(Process, Pipes), CallError> {
    let mut command = Command::new(program.program);
    let own = program.env.iter();
    if let Some(home) = home {
        command.current_dir(home);
    }
    command
        .args(program.args)
        .env_clear()
        .envs(
            options
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .envs(home.map(|home| ("HOME", home)))
        .envs(own.map(|(name, value)| (name, value.expose())))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(CallError::not_connected)?;
    let group = Group::of(&child);
    if let Some(Group(id)) = &group {
        limit(*id, options);
    }
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(CallError::not_connected("the child has no pipes"));
    };
    let pipes = Pipes {
        stdin,
        stdout,
        stderr,
    };
    Ok((Process { child, group }, pipes))
}

/// Bounds what a child and its children may use. They have begun by then, but hardly started.
fn limit(id: Pid, options: &PoolOptions) {
    let limits = [
        (Resource::Nofile, options.open_files_max),
        (Resource::Data, options.data_bytes_max),
        // Its memory may hold secrets, which do not belong on a disk.
        (Resource::Core, 0),
    ];
    for (resource, most) in limits {
        let inherited = rustix::process::getrlimit(resource).maximum;
        let most = Some(inherited.map_or(most, |inherited| inherited.min(most)));
        let limit = Rlimit {
            current: most,
            maximum: most,
        };
        // It may have ended already.
        if let Err(error) = prlimit(Some(id), resource, limit) {
            debug!(%error, ?resource, "a child process is not limited");
        }
    }
}

impl Process {
    /// Its number, while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until it has ended, and then ends what it has left running. Gives how it ended.
    pub(super) async fn exited(&mut self) -> String {
        let status = self.child.wait().await;
        // At once: the number of the group is not given to others as long as someone is in it, and after
        // that not before all other numbers were.
        self.group.take();
        match status {
            Ok(status) => format!("it ended with {status}"),
            Err(_) => String::from("it ended"),
        }
    }

    /// Ends it: its input has ended, which is the sign to go; else it is told to, else it is killed.
    pub(super) async fn end(&mut self, grace: Duration) -> String {
        if let Ok(how) = timeout(grace, self.exited()).await {
            return how;
        }
        self.signal(Signal::TERM);
        if let Ok(how) = timeout(grace, self.exited()).await {
            return how;
        }
        self.signal(Signal::KILL);
        self.exited().await
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = &self.group {
            group.signal(signal);
        }
    }
}

/// The group that a child leads.
struct Group(Pid);

impl Group {
    fn of(child: &Child) -> Option<Self> {
        let id = i32::try_from(child.id()?).ok()?;
        Pid::from_raw(id).map(Self)
    }

    fn signal(&self, signal: Signal) {
        // Nobody may be left in it.
        let _ = kill_process_group(self.0, signal);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
