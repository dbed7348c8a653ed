//! Control: what others ask of a running target, and what it learns of its receiver.

use std::sync::Arc;

use nexus_core::{Change, Command as LogCommand, Mode};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

use super::Target;
use crate::{
    Error,
    attempt::{FailureKind, Sign},
    delivery::{self, DEAD, Delivery},
    handle::{ReplayState, TargetState},
    ledger::{Ledger, Wanted, Written},
    standing::Standing,
    waiting,
};

/// Who is told when something is done; dropped when the target ends before.
pub(crate) type Done = oneshot::Sender<Result<(), Error>>;

/// What others ask of a running target.
#[derive(Debug)]
pub(crate) enum Command {
    /// To run, or not to.
    Stand(TargetState, Option<Arc<str>>, Done),
    /// To make all attempts at a dead letter again.
    Retry(u64, Done),
    /// To forget a dead letter.
    Discard(u64, Done),
}

/// Something that was asked for of a dead letter, as it ended.
pub(crate) struct Chore {
    seq: u64,
    outcome: Handled,
    done: Done,
}

enum Handled {
    Retried(Box<Result<Delivery, Error>>),
    Discarded(Result<(), Error>),
}

impl Target {
    /// Does what somebody asks for.
    pub(super) fn command(&mut self, command: Command) {
        let (seq, done, is_retry) = match command {
            Command::Stand(state, why, done) => return self.stand(state, why, Some(done)),
            Command::Retry(seq, done) => (seq, done, true),
            Command::Discard(seq, done) => (seq, done, false),
        };
        let refusal = if self.waiting.get(seq).is_some() || self.in_hand.contains(&seq) {
            Some(Error::Conflict {
                what: "it is no dead letter any more: it waits for an attempt".into(),
            })
        } else {
            let name = self.status.name.to_string();
            (is_retry && self.is_full()).then_some(Error::Full { name })
        };
        if let Some(refusal) = refusal {
            // Nobody may be waiting any more.
            let _ = done.send(Err(refusal));
            return;
        }
        self.in_hand.insert(seq);
        let (ledger, name) = (self.ledger.clone(), self.status.name.clone());
        self.chores.spawn(async move {
            let outcome = if is_retry {
                Handled::Retried(Box::new(retry(&ledger, &name, seq).await))
            } else {
                Handled::Discarded(discard(&ledger, &name, seq).await)
            };
            Chore { seq, outcome, done }
        });
    }

    /// Takes what was asked for and is done.
    pub(super) fn take_chore(&mut self, chore: Chore) {
        self.in_hand.remove(&chore.seq);
        let answer = match chore.outcome {
            Handled::Retried(result) => result.map(|delivery| self.revived(delivery)),
            Handled::Discarded(result) => result.map(|()| self.dead = self.dead.saturating_sub(1)),
        };
        self.tell();
        // Nobody may be waiting for the answer any more.
        let _ = chore.done.send(answer);
    }

    /// A dead letter waits again, in its place among those with its key.
    fn revived(&mut self, delivery: Delivery) {
        let seq = delivery.seq;
        let entry = waiting::Entry {
            due_us: self.runner.log.clock().now_us(),
            created_us: delivery.created_us,
            key: delivery.key.clone(),
            once: delivery.once,
            is_suspect: false,
        };
        self.dead = self.dead.saturating_sub(1);
        self.waiting.put(seq, entry);
        match &delivery.key {
            None => self.waiting.arm(seq),
            Some(key) => {
                let head = self.lanes.turn(key);
                self.block(key, seq, false);
                if self.lanes.turn(key) == Some(seq) {
                    // Whoever had its turn there has to wait again.
                    if let Some(head) = head {
                        self.waiting.disarm(head);
                    }
                    self.waiting.arm(seq);
                }
            }
        }
    }

    /// Whether the change to how it stands has to be written.
    pub(super) fn has_unwritten_standing(&self) -> bool {
        self.unwritten_standing.is_some()
    }

    /// Runs from now on, or does not; who asked is told when that is kept.
    pub(super) fn stand(&mut self, state: TargetState, why: Option<Arc<str>>, done: Option<Done>) {
        // Who asks again while it is being written is told when that is kept, too.
        let is_kept = self.unwritten_standing.is_none() && self.writing.standing.is_none();
        if self.standing.state == state && is_kept {
            if let Some(done) = done {
                // Nobody may be waiting any more.
                let _ = done.send(Ok(()));
            }
            return;
        }
        let now_us = self.runner.log.clock().now_us();
        self.standing = Standing::new(state, why, now_us);
        self.unwritten_standing.get_or_insert_default().extend(done);
        if state == TargetState::Running {
            self.circuit.worked();
            self.failing_since_us = None;
        }
    }

    /// How it stands is kept: whoever waits for it is told.
    pub(super) fn stood(&mut self, standing: &Standing, waiting: Vec<Done>) {
        self.tell();
        let name = &self.status.name;
        let why = standing.why.as_deref().unwrap_or("");
        tracing::info!(reactor = %name, state = standing.state.as_str(), why, "a reactor changed its state");
        // Without anybody who listens there is nobody to tell.
        let _ = self.changes.send(standing.change(name));
        for done in waiting {
            let _ = done.send(Ok(()));
        }
    }

    /// Learns of the receiver how an attempt ended.
    pub(super) fn learn(&mut self, sign: Sign) {
        let now = Instant::now();
        let now_us = self.runner.log.clock().now_us();
        let (kind, detail) = match sign {
            Sign::Works => {
                self.status.attempted(true);
                self.circuit.worked();
                self.failing_since_us = None;
                return self.note_failing();
            }
            Sign::Nothing => return self.circuit.said_nothing(now, now_us),
            Sign::Fails(kind, detail) => (kind, detail),
        };
        self.status.attempted(false);
        if kind != FailureKind::Passing {
            self.circuit.worked();
        } else if self.circuit.failed(now, now_us) {
            let name = &self.status.name;
            tracing::warn!(reactor = %name, error = &*detail, "a receiver is left alone for a while");
        }
        if kind == FailureKind::Gone {
            return self.disable(&detail);
        }
        let Some(patience) = self.runner.options.gives_up_after else {
            return;
        };
        let since_us = *self.failing_since_us.get_or_insert(now_us);
        self.note_failing();
        if u128::try_from(now_us.saturating_sub(since_us)).unwrap_or(0) >= patience.as_micros() {
            self.disable(&format!("nothing succeeded for {patience:?}: {detail}"));
        }
    }

    fn disable(&mut self, why: &str) {
        if self.standing.state == TargetState::Disabled {
            return;
        }
        let name = self.status.name.clone();
        tracing::warn!(reactor = %name, why, "a reactor is disabled");
        self.alerts.send(&format!("disabled:{name}"), || {
            format!("{name} is disabled: {why}")
        });
        self.stand(TargetState::Disabled, Some(why.into()), None);
    }

    /// Whether everything that a replay shows is settled, and nothing of it waits.
    pub(super) fn is_through(&self) -> bool {
        let through = self.replay.as_ref().map(|replay| replay.through);
        through.is_some_and(|through| self.progress.position() >= through)
            && self.attempts.is_empty()
            && self.jobs.is_empty()
            && self.waiting.len() == 0
            && self.finished.is_empty()
            && self.write.is_none()
    }

    /// Writes that the replay is done, in the commit that removes its place in the log.
    pub(super) async fn end_replay(&mut self, stop: &mut watch::Receiver<bool>) {
        let Some(replay) = &self.replay else {
            return;
        };
        let now_us = self.runner.log.clock().now_us();
        let position = self.progress.position();
        let ended = replay.ended(ReplayState::Done, position, self.dead, now_us);
        let command = LogCommand {
            changes: vec![ended.put(), Change::Delete(self.cursor_key.clone())],
            ..LogCommand::default()
        };
        let write = self
            .ledger
            .write(command, &self.cursor_key, self.revision, &Wanted::Gone);
        tokio::select! {
            written = write => {
                if !matches!(written, Written::Stored(_)) {
                    tracing::warn!(replay = %self.status.name, ?written, "the end of a replay was not kept");
                }
            }
            // It ends once more when it is started again.
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// Whether it follows the log, and is not a replay.
    pub(super) fn is_live(&self) -> bool {
        self.runner.mode == Mode::Live
    }
}

/// Makes a dead letter wait for attempts again.
async fn retry(ledger: &Ledger, name: &Arc<str>, seq: u64) -> Result<Delivery, Error> {
    let (mut delivery, revision) = dead_letter(ledger, name, seq).await?;
    delivery.revive();
    let now_us = ledger.log.clock().now_us();
    let command = LogCommand {
        changes: vec![delivery.put(name, Some(now_us))],
        ..LogCommand::default()
    };
    let wanted = Wanted::Body(delivery.encode());
    let key = delivery::key(name, seq);
    let written = ledger.write(command, &key, revision, &wanted).await;
    kept(&written, name)?;
    Ok(delivery)
}

/// Removes a dead letter.
pub(crate) async fn discard(ledger: &Ledger, name: &Arc<str>, seq: u64) -> Result<(), Error> {
    let (_, revision) = dead_letter(ledger, name, seq).await?;
    let key = delivery::key(name, seq);
    let command = LogCommand {
        changes: vec![Change::Delete(key.clone())],
        ..LogCommand::default()
    };
    let written = ledger.write(command, &key, revision, &Wanted::Gone).await;
    kept(&written, name)
}

async fn dead_letter(ledger: &Ledger, name: &Arc<str>, seq: u64) -> Result<(Delivery, u64), Error> {
    let key = delivery::key(name, seq);
    let Some(record) = ledger.log.record(&key).await? else {
        return Err(Error::NotFound {
            what: "dead letter",
            name: key.key.to_string(),
        });
    };
    if &*record.state != DEAD {
        return Err(Error::Conflict {
            what: format!("{} is no dead letter: it waits for an attempt", key.key),
        });
    }
    let delivery = Delivery::decode(&record).ok_or_else(|| Error::Damaged {
        record: key.to_string(),
    })?;
    Ok((delivery, record.revision))
}

fn kept(written: &Written, name: &Arc<str>) -> Result<(), Error> {
    match written {
        Written::Stored(_) => Ok(()),
        Written::Lost | Written::Replayed => Err(Error::Conflict {
            what: "somebody else changed the dead letter at the same time".into(),
        }),
        Written::Refused(_) | Written::Closed => Err(Error::NotRunning {
            name: name.to_string(),
        }),
    }
}
