//! The loop: follows the log, and tells it what ran out.

mod forgetting;

use std::{collections::HashSet, sync::Arc, time::Duration};

use nexus_core::{Command, Cursor, Error as LogError, Log, PatternSet, Principal, Seq};
use tokio::{sync::watch, task::JoinSet, time::Instant};

use crate::{
    AgentsOptions, Error, Handle, SessionId, WorkId,
    board::{Board, deadlines::Due},
    handle::leaving::Leaving,
    session::{
        Presence,
        activity::{ACTIVITY, Activity},
        kept::{Kept, SESSION},
    },
    work::{Standing, kept, rules::Ending, writing},
};

/// How soon what could not be written or read is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// So many claims that ran out are told at once.
const EXPIRED_AT_ONCE: usize = 64;

/// What the loop follows.
const FOLLOWED: [&str; 6] = [
    "work.*",
    "session.*",
    "status.*",
    "capability.*",
    "help.*",
    "message.*",
];

/// The loop of the agents. Nothing runs out while it does not run.
pub struct Service {
    log: Log,
    board: Arc<Board>,
    cursor: Cursor,
    through: watch::Sender<Seq>,
    handle: Handle,
}

impl Service {
    /// Reads what is kept, and gives what others hold and the loop. Every lease begins anew: a session that
    /// was connected has the time of a lease to come back, and no claim ends earlier than it would have.
    ///
    /// # Errors
    /// [`Error::Log`] when the log cannot be read.
    pub async fn open(log: Log, options: AgentsOptions) -> Result<(Handle, Self), Error> {
        let board = Arc::new(Board::new(options.sane()));
        // Before the records are read: what happens meanwhile is applied on top of them.
        let cursor = log.live_cursor(PatternSet::parse(FOLLOWED)?);
        let (through, applied) = watch::channel(cursor.position().seq);
        load(&log, &board).await?;
        let handle = Handle::new(log.clone(), board.clone(), applied);
        let service = Self {
            log,
            board,
            cursor,
            through,
            handle: handle.clone(),
        };
        Ok((handle, service))
    }

    /// Runs until the log is closed.
    pub async fn run(self) {
        let Self {
            log,
            board,
            cursor,
            through,
            handle,
        } = self;
        tokio::select! {
            () = follow(&handle, cursor, &through) => {}
            () = watch_deadlines(&log, &board, &handle) => {}
            () = forgetting::forget_again_and_again(&log, &handle) => {}
        }
    }
}

/// Applies every event, in order, until nothing follows.
async fn follow(handle: &Handle, mut cursor: Cursor, through: &watch::Sender<Seq>) {
    let (log, board) = (handle.log(), handle.board());
    loop {
        let before = cursor.position().seq;
        match cursor.next().await {
            Ok(page) => {
                let passed = page.through.get().saturating_sub(before.get());
                handle.figures().events(passed, Instant::now());
                {
                    let mut state = board.lock();
                    let now = Instant::now();
                    for event in &page.events {
                        state.apply(event, now);
                    }
                }
                through.send_replace(page.through);
                board.sooner.notify_one();
            }
            Err(LogError::Closed) => return,
            Err(error) => {
                handle.failed();
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the events of agents could not be read; it is tried again"
                );
                if matches!(error, LogError::Pruned { .. })
                    && let Err(error) = load(log, board).await
                {
                    tracing::warn!(error = &error as &dyn std::error::Error, "nor the records");
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Tells the log what ran out, as soon as it has.
async fn watch_deadlines(log: &Log, board: &Board, handle: &Handle) {
    loop {
        let first = board.lock().deadlines.first();
        match first {
            Some(at) if at <= Instant::now() => tell_due(log, board, handle).await,
            Some(at) => tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = board.sooner.notified() => {}
            },
            None => board.sooner.notified().await,
        }
    }
}

async fn tell_due(log: &Log, board: &Board, handle: &Handle) {
    let mut told = JoinSet::new();
    while told.len() < EXPIRED_AT_ONCE {
        let now = Instant::now();
        let Some(due) = board.lock().deadlines.pop(now) else {
            break;
        };
        match due {
            Due::Session(id) => {
                told.spawn(leave(handle.clone(), id));
            }
            Due::Claim(work_id, token) => {
                if let Some(command) = expiry(log, board, &work_id, token, now) {
                    told.spawn(expire(log.clone(), handle.clone(), work_id, token, command));
                }
            }
        }
    }
    told.join_all().await;
}

/// The command that ends a claim whose time is over; nothing if it is not, and then it is looked at again.
fn expiry(log: &Log, board: &Board, work_id: &WorkId, token: Seq, now: Instant) -> Option<Command> {
    let mut state = board.lock();
    let held = state
        .work
        .get(work_id)
        .filter(|held| held.claim.token == token)?;
    let until = state.held_until(held);
    if until > now && !held.is_ending {
        state
            .deadlines
            .add(until, Due::Claim(work_id.clone(), token));
        return None;
    }
    let mut command = Command::default();
    let claim = held.claim.clone();
    writing::end(&mut command, &log.catalogue(), &claim, Ending::Expired, 0);
    // From here on it is not renewed, or it could end although its holder was told that it lasts.
    if let Some(held) = state.work.get_mut(work_id) {
        held.is_ending = true;
    }
    Some(command)
}

async fn expire(log: Log, handle: Handle, work_id: WorkId, token: Seq, command: Command) {
    match log.submit(&Principal::nexus(), command).await {
        Ok(receipt) => handle.caught_up(receipt.last).await,
        // Its holder was faster: the board hears of it from the log.
        Err(LogError::Refused { .. }) => {}
        Err(error) => {
            handle.failed();
            tracing::warn!(
                error = &error as &dyn std::error::Error, %work_id,
                "a claim that ran out could not be ended; it is tried again"
            );
            let mut state = handle.board().lock();
            let again = Instant::now() + RETRY;
            state.deadlines.add(again, Due::Claim(work_id, token));
        }
    }
}

async fn leave(handle: Handle, id: SessionId) {
    match handle.leave(&id, Leaving::Elapsed).await {
        // It may have been signed off while its time ran.
        Ok(()) | Err(Error::UnknownSession { .. }) => {}
        Err(error) => {
            handle.failed();
            tracing::warn!(
                error = &error as &dyn std::error::Error, session = %id,
                "it could not be told that a session is gone; it is tried again"
            );
            let mut state = handle.board().lock();
            let again = Instant::now() + RETRY;
            state.deadlines.add(again, Due::Session(id));
        }
    }
}

/// Reads every claim and every session into the board.
async fn load(log: &Log, board: &Board) -> Result<(), Error> {
    let now = Instant::now();
    for record in log.all_records(SESSION, None).collect().await? {
        let (Ok(id), Some(kept)) = (SessionId::parse(&record.key.key), Kept::read(&record)) else {
            tracing::warn!(record = %record.key, "the record of a session cannot be understood");
            continue;
        };
        let mut state = board.lock();
        let is_new = !state.sessions.contains_key(&id);
        let presence = match (kept.is_connected, kept.connected_us) {
            (true, _) => Presence::Grace(now + state.options.silence),
            (false, Some(_)) => Presence::Offline,
            (false, None) => Presence::Registered,
        };
        state.set_kept(&id, kept);
        if is_new {
            state.set_presence(&id, presence, now);
        }
    }
    for record in log.all_records(ACTIVITY, None).collect().await? {
        if let (Ok(id), Some(activity)) =
            (SessionId::read(&record.key.key), Activity::read(&record))
        {
            board.lock().set_activity(&id, activity);
        }
    }
    let mut held = HashSet::new();
    for record in log.all_records(kept::CLAIM, None).collect().await? {
        let Some(Standing::Held(claim)) = kept::standing(&record) else {
            tracing::warn!(record = %record.key, "the record of a claim cannot be understood");
            continue;
        };
        held.insert(claim.token);
        let mut state = board.lock();
        let known = state.work.get(&claim.work_id);
        if known.is_none_or(|held| held.claim.token < claim.token) {
            state.hold(claim, now);
        }
    }
    // What ended while nobody could read of it.
    board.lock().keep_only(&held);
    Ok(())
}
