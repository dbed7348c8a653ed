//! A process of the test's own: its lines are kept, and it ends with the test.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::{PATIENCE, until, until_within};

/// What a process wrote to one output, line by line.
#[derive(Default)]
struct Lines {
    written: Mutex<Written>,
    more: Condvar,
}

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    /// Nobody writes there any more.
    ended: bool,
}

impl Lines {
    fn read(self: &Arc<Self>, from: impl Read + Send + 'static) {
        let lines = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                lines.change(|written| written.lines.push(line));
            }
            lines.change(|written| written.ended = true);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Written)) {
        change(&mut self.written.lock().unwrap());
        self.more.notify_all();
    }

    fn all(&self) -> Vec<String> {
        self.written.lock().unwrap().lines.clone()
    }

    fn has_ended(&self) -> bool {
        self.written.lock().unwrap().ended
    }

    /// The first line from `skip` on that is wanted, and where it stands; else all there are.
    fn wait(
        &self,
        skip: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(usize, String), Vec<String>> {
        let deadline = Instant::now() + PATIENCE;
        let mut written = self.written.lock().unwrap();
        let mut at = skip;
        loop {
            while let Some(line) = written.lines.get(at) {
                if wanted(line) {
                    return Ok((at, line.clone()));
                }
                at += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || written.ended {
                return Err(written.lines.clone());
            }
            written = self.more.wait_timeout(written, left).unwrap().0;
        }
    }
}

/// A process in a group of its own, so that what it starts ends with it.
pub(crate) struct Process {
    child: Child,
    /// Where it reads, if it was started so that a test can tell it things.
    stdin: Option<ChildStdin>,
    stdout: Arc<Lines>,
    stderr: Arc<Lines>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_with(command, Stdio::null())
    }

    /// Starts one that reads what the test writes.
    pub(crate) fn start_reading(command: &mut Command) -> Self {
        Self::start_with(command, Stdio::piped())
    }

    fn start_with(command: &mut Command, stdin: Stdio) -> Self {
        let child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let (stdout, stderr) = (Arc::<Lines>::default(), Arc::<Lines>::default());
        stdout.read(child.stdout.take().unwrap());
        stderr.read(child.stderr.take().unwrap());
        Self {
            stdin: child.stdin.take(),
            child,
            stdout,
            stderr,
        }
    }

    /// Writes a line to its standard input.
    pub(crate) fn write_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("it was started to read");
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Ends its standard input.
    pub(crate) fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Runs to the end; its status, and what it wrote to either output.
    pub(crate) fn run(command: &mut Command) -> (ExitStatus, String, String) {
        let mut process = Self::start(command);
        let status = process.end();
        (status, process.stdout(), process.stderr())
    }

    /// The first line of standard output, from number `skip` on, that is wanted.
    #[track_caller]
    pub(crate) fn line(&self, skip: usize, wanted: impl Fn(&str) -> bool) -> (usize, String) {
        self.stdout.wait(skip, wanted).unwrap_or_else(|lines| {
            panic!(
                "the line did not come; out: {lines:#?} err: {:#?}",
                self.stderr.all()
            )
        })
    }

    /// The same of standard error.
    #[track_caller]
    pub(crate) fn error_line(&self, skip: usize, wanted: impl Fn(&str) -> bool) -> (usize, String) {
        self.stderr
            .wait(skip, wanted)
            .unwrap_or_else(|lines| panic!("the line did not come; err: {lines:#?}"))
    }

    pub(crate) fn stdout(&self) -> String {
        self.stdout.all().join("\n")
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.all().join("\n")
    }

    pub(crate) fn terminate(&self) {
        kill_process(self.pid(), Signal::TERM).unwrap();
    }

    pub(crate) fn hang_up(&self) {
        kill_process(self.pid(), Signal::HUP).unwrap();
    }

    /// Stops it where it is, until it is resumed.
    pub(crate) fn pause(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    pub(crate) fn resume(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// Ends it where it is.
    pub(crate) fn kill(&self) {
        kill_process(self.pid(), Signal::KILL).unwrap();
    }

    /// Waits for its end, and for its last lines.
    #[track_caller]
    pub(crate) fn end(&mut self) -> ExitStatus {
        self.end_within(PATIENCE)
    }

    /// Waits so long for its end, and for its last lines.
    #[track_caller]
    pub(crate) fn end_within(&mut self, patience: Duration) -> ExitStatus {
        let status = until_within(patience, "the end of the process", || {
            self.child.try_wait().unwrap()
        });
        until("the last lines of the process", || {
            (self.stdout.has_ended() && self.stderr.has_ended()).then_some(())
        });
        status
    }

    /// What the system calls it.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group may be gone already, and that is as good.
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.child.wait();
    }
}
