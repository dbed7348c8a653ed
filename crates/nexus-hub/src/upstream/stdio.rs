//! A server that is a child process: one message a line, over its standard streams.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::Bytes;
use nexus_auth::Secret;
use parking_lot::Mutex;
use tokio::{
    io::AsyncWriteExt,
    process::{ChildStdin, ChildStdout},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    CallError, Redactor, Scope, UpstreamConfig, Vitals,
    calls::{Calls, Ending},
    connection::{Connection, Wire},
    handshake::{greet, initialized},
};
use crate::{Id, Incoming, PoolOptions};

mod home;
pub(crate) mod lines;
mod process;
mod stderr;

use lines::{Line, Lines};
use process::Process;
use stderr::Stderr;

/// So many messages wait to be written to a child that does not read.
const FRAMES_WAITING_MAX: usize = 128;
/// What a child that ended has left in its pipes is read for so long at most.
const DRAIN: Duration = Duration::from_secs(1);
/// A child whose output has ended is given so long to end itself, so that it can be said how it did.
const LAST_BREATH: Duration = Duration::from_millis(100);

/// The wire to a child process.
pub(crate) struct Stdio {
    frames: mpsc::Sender<Bytes>,
    /// Says that the child is to end.
    closing: CancellationToken,
    /// Says that nothing is left of it.
    ended: CancellationToken,
    stderr: Arc<Stderr>,
    process_id: Option<u32>,
}

/// What is started.
pub(crate) struct Program<'a> {
    pub(crate) program: &'a str,
    pub(crate) args: &'a [String],
    pub(crate) env: &'a [(String, Secret)],
}

/// Starts a server and greets it.
pub(crate) async fn start(
    config: &UpstreamConfig,
    scope: Option<&Scope>,
    program: &Program<'_>,
    options: &PoolOptions,
) -> Result<Connection<Stdio>, CallError> {
    let limits = &config.limits;
    let redactor = Arc::new(Redactor::new(program.env.iter().map(|(_, value)| value)));
    let calls = Calls::new(config.isolation, limits.questions_max);
    let home = match &options.homes {
        Some(homes) => {
            let home = home::make(homes, &config.id, scope).await;
            Some(home.map_err(CallError::not_connected)?)
        }
        None => None,
    };
    let (process, pipes) = process::spawn(program, home.as_deref(), options)?;
    let (frames, to_write) = mpsc::channel(FRAMES_WAITING_MAX);
    let wire = Arc::new(Stdio {
        frames: frames.clone(),
        closing: CancellationToken::new(),
        ended: CancellationToken::new(),
        stderr: Arc::new(Stderr::new(options.stderr_bytes_max, redactor.clone())),
        process_id: process.id(),
    });
    let reader = Reader {
        lines: Lines::new(pipes.stdout, limits.message_bytes_max),
        message_bytes_max: limits.message_bytes_max,
        calls: calls.clone(),
        frames,
        redactor,
    };
    let tasks = Tasks {
        writer: tokio::spawn(write(pipes.stdin, to_write, wire.closing.clone())),
        reader: tokio::spawn(reader.run()),
        stderr: tokio::spawn(stderr::keep(pipes.stderr, wire.stderr.clone())),
    };
    let keeper = Keeper {
        process,
        tasks,
        calls: calls.clone(),
        closing: wire.closing.clone(),
        ended: wire.ended.clone(),
        stderr: wire.stderr.clone(),
        grace: options.grace,
    };
    tokio::spawn(keeper.run());
    // From here on dropping the wire's token ends the child, whatever becomes of this future.
    let hang_up = wire.closing.clone().drop_guard();
    let deadline = Instant::now() + limits.connect;
    let about = match greet(&*wire, &calls, &config.capabilities, limits, deadline).await {
        Err(CallError::NotConnected { source }) => {
            // How it ended says more than that nothing could be written to it.
            let _ = timeout(DRAIN, wire.ended()).await;
            let why = calls.why_gone().map(CallError::not_connected);
            return Err(why.unwrap_or(CallError::NotConnected { source }));
        }
        outcome => outcome?,
    };
    wire.send(initialized().into()).await?;
    hang_up.disarm();
    let about = Arc::new(ArcSwap::from_pointee(about));
    let subscriptions = Arc::new(Mutex::default());
    Ok(Connection::new(wire, calls, about, subscriptions, limits))
}

impl Wire for Stdio {
    async fn carry(&self, _id: i64, _method: &str, frame: Bytes) -> Result<(), CallError> {
        self.send(frame).await
    }

    async fn send(&self, frame: Bytes) -> Result<(), CallError> {
        let sent = self.frames.send(frame).await;
        sent.map_err(|_| CallError::not_connected("the server's input is closed"))
    }

    fn post(&self, frame: Bytes) {
        // A child that does not read misses what is only told.
        let _ = self.frames.try_send(frame);
    }

    fn examine(&self, vitals: &mut Vitals) {
        vitals.process_id = self.process_id.filter(|_| !self.ended.is_cancelled());
        vitals.stderr = self.stderr.text();
    }

    fn hang_up(&self) {
        self.closing.cancel();
    }

    async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

/// Writes until the connection is to end. Then the child's input ends.
async fn write(
    mut stdin: ChildStdin,
    mut frames: mpsc::Receiver<Bytes>,
    closing: CancellationToken,
) {
    let writing = async {
        while let Some(frame) = frames.recv().await {
            let mut line = Vec::with_capacity(frame.len() + 1);
            line.extend_from_slice(&frame);
            line.push(b'\n');
            if stdin.write_all(&line).await.is_err() {
                // It reads no more. That it ended is seen elsewhere.
                return;
            }
        }
    };
    tokio::select! {
        () = closing.cancelled() => {}
        () = writing => {}
    }
}

/// Reads what the child writes, and hands each message on.
struct Reader {
    lines: Lines<ChildStdout>,
    message_bytes_max: usize,
    calls: Arc<Calls>,
    frames: mpsc::Sender<Bytes>,
    redactor: Arc<Redactor>,
}

impl Reader {
    async fn run(mut self) {
        // A pipe that cannot be read has ended.
        while let Ok(Some(line)) = self.lines.next().await {
            match line {
                Line::Text(text) => self.take(&text),
                Line::TooLong(id) => self.give_up(id.as_ref()),
            }
        }
    }

    fn take(&self, text: &[u8]) {
        let text = text.trim_ascii();
        if text.is_empty() {
            return;
        }
        let text = self.redactor.message(text);
        // Redacting may have made it longer: what was short enough to be read is read.
        let limit_bytes = self.message_bytes_max.max(text.len());
        let Ok(message) = Incoming::parse(&text, limit_bytes) else {
            // Some print greetings or logs where messages belong.
            self.calls.note_garbage();
            return;
        };
        let Some(asked) = self.calls.receive(message, None) else {
            return;
        };
        if let Some(refusal) = asked.refused() {
            let _ = self.frames.try_send(refusal.into());
            return;
        }
        let frames = self.frames.clone();
        tokio::spawn(async move {
            let told = frames.clone();
            // A child that does not read misses what is only told.
            let tell = move |frame: Vec<u8>| drop(told.try_send(frame.into()));
            if let Some(frame) = asked.answer(tell).await
                // The child may have ended meanwhile.
                && let Ok(place) = frames.reserve().await
            {
                // Its id is free before the child can know that.
                drop(asked);
                place.send(frame.into());
            }
        });
    }

    /// An answer that was too long to be held ends its request, and no other.
    fn give_up(&self, id: Option<&Id>) {
        match id {
            Some(Id::Number(id)) => {
                let limit_bytes = self.message_bytes_max;
                self.calls
                    .settle(*id, Err(CallError::TooLarge { limit_bytes }));
            }
            _ => self.calls.note_garbage(),
        }
    }
}

struct Tasks {
    writer: JoinHandle<()>,
    reader: JoinHandle<()>,
    stderr: JoinHandle<()>,
}

/// Watches a child until nothing is left of it.
struct Keeper {
    process: Process,
    tasks: Tasks,
    calls: Arc<Calls>,
    closing: CancellationToken,
    ended: CancellationToken,
    stderr: Arc<Stderr>,
    grace: Duration,
}

impl Keeper {
    async fn run(mut self) {
        let _ended = self.ended.clone().drop_guard();
        let why = tokio::select! {
            why = self.process.exited() => why,
            _ = &mut self.tasks.reader => self.without_output().await,
            () = self.closing.cancelled() => {
                self.calls.end(Ending::Closed);
                self.end().await
            }
        };
        // An answer that it wrote just before it ended still counts.
        drain(&mut self.tasks.reader).await;
        drain(&mut self.tasks.stderr).await;
        self.closing.cancel();
        drain(&mut self.tasks.writer).await;
        let words = self.stderr.last_words();
        self.calls.end(Ending::Gone(if words.is_empty() {
            why
        } else {
            format!("{why}; its last words: {words}")
        }));
    }

    /// Without its output nobody can be answered. Mostly the child is about to end.
    async fn without_output(&mut self) -> String {
        if let Ok(why) = timeout(LAST_BREATH, self.process.exited()).await {
            return why;
        }
        self.calls
            .end(Ending::Gone(String::from("it closed its output")));
        self.end().await
    }

    /// Ends the child's input, and then the child.
    async fn end(&mut self) -> String {
        self.closing.cancel();
        self.process.end(self.grace).await
    }
}

/// Waits until a task has read all there is. A grandchild that left the group may hold the pipe for longer.
async fn drain(task: &mut JoinHandle<()>) {
    if !task.is_finished() && timeout(DRAIN, &mut *task).await.is_err() {
        task.abort();
    }
}
