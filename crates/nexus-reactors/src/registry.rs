//! The registry: which targets run, and one change at a time of each.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Weak},
};

use nexus_core::SharedReactor;
use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{AbortHandle, JoinSet},
};

use crate::{
    Error,
    handle::{ReplayId, TargetState},
    replay::Replay,
    replays,
    status::Status,
    target::{Command, Common, Done, Target},
    turns::Turns,
};

/// A target's name has at most this many characters.
const NAME_CHARS_MAX: usize = 100;
/// At most this many things asked of a target wait to be looked at; then whoever asks waits.
const COMMANDS_MAX: usize = 64;

/// All targets of one engine.
pub(crate) struct Registry {
    pub(crate) common: Common,
    targets: RwLock<Targets>,
    /// One change at a time of a target and the replays to it, by its name.
    pub(crate) turns: Turns,
    /// Held by whoever begins a replay, so that there are never too many.
    pub(crate) beginning_replay: tokio::sync::Mutex<()>,
    /// What was asked for goes on when whoever asked goes away, and ends with the engine.
    operations: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Targets {
    by_name: BTreeMap<Arc<str>, Entry>,
    is_ended: bool,
}

/// A target that runs, or has ended by itself.
struct Entry {
    status: Arc<Status>,
    reactor: SharedReactor,
    replay: Option<Replay>,
    commands: mpsc::Sender<Command>,
    stop: watch::Sender<bool>,
    task: AbortHandle,
    /// Closed when the task has ended, however it did.
    ended: watch::Receiver<()>,
}

impl Registry {
    pub(crate) fn new(common: Common) -> Arc<Self> {
        Arc::new(Self {
            common,
            targets: RwLock::default(),
            turns: Turns::default(),
            beginning_replay: tokio::sync::Mutex::default(),
            operations: Mutex::default(),
        })
    }

    /// Runs something to its end, whoever waits for it.
    pub(crate) async fn operate<T: Send + 'static>(
        &self,
        operation: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let (done, answer) = oneshot::channel();
        {
            let mut operations = self.operations.lock();
            while operations.try_join_next().is_some() {}
            operations.spawn(async move {
                // Nobody may be waiting any more.
                let _ = done.send(operation.await);
            });
        }
        answer.await.unwrap_or(Err(Error::Ended))
    }

    /// The targets that follow the log, by name.
    pub(crate) fn statuses(&self) -> Vec<Arc<Status>> {
        let targets = self.targets.read();
        let live = targets
            .by_name
            .values()
            .filter(|entry| entry.replay.is_none());
        live.map(|entry| entry.status.clone()).collect()
    }

    /// The names of all targets, replays among them.
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        self.targets.read().by_name.keys().cloned().collect()
    }

    /// How a target stands.
    pub(crate) fn status(&self, name: &str) -> Option<Arc<Status>> {
        let targets = self.targets.read();
        targets.by_name.get(name).map(|entry| entry.status.clone())
    }

    /// The reactor of a target that follows the log.
    pub(crate) fn reactor(&self, name: &str) -> Option<SharedReactor> {
        let targets = self.targets.read();
        let entry = targets
            .by_name
            .get(name)
            .filter(|entry| entry.replay.is_none());
        entry.map(|entry| entry.reactor.clone())
    }

    /// Takes a reactor's place in the log, with the replays to it that were under way.
    pub(crate) async fn open(
        self: &Arc<Self>,
        reactor: SharedReactor,
    ) -> Result<Vec<Opened>, Error> {
        let name = reactor.options().name;
        let mut opened = vec![self.open_one(reactor.clone(), None).await?];
        for replay in replays::running(&self.common.log, &name).await? {
            opened.push(self.open_one(reactor.clone(), Some(replay)).await?);
        }
        Ok(opened)
    }

    pub(crate) async fn open_one(
        self: &Arc<Self>,
        reactor: SharedReactor,
        replay: Option<Replay>,
    ) -> Result<Opened, Error> {
        let (commands, asked) = mpsc::channel(COMMANDS_MAX);
        let target =
            Target::open(self.common.clone(), reactor.clone(), replay.clone(), asked).await?;
        Ok(Opened {
            target,
            reactor,
            replay,
            commands,
        })
    }

    /// Lets a target run.
    pub(crate) fn run(self: &Arc<Self>, opened: Opened) -> Result<(), Error> {
        let Opened {
            target,
            reactor,
            replay,
            commands,
        } = opened;
        let status = target.status();
        let mut targets = self.targets.write();
        if targets.is_ended {
            return Err(Error::Ended);
        }
        let (stop, stopped) = watch::channel(false);
        let (running, ended) = watch::channel(());
        let (name, registry) = (status.name.clone(), Arc::downgrade(self));
        let is_replay = replay.is_some();
        let task = tokio::spawn(async move {
            target.run(stopped).await;
            drop(running);
            if is_replay {
                forget(&registry, &name);
            }
        });
        let entry = Entry {
            status: status.clone(),
            reactor,
            replay,
            commands,
            stop,
            task: task.abort_handle(),
            ended,
        };
        targets.by_name.insert(status.name.clone(), entry);
        Ok(())
    }

    /// Begins to follow the log with a reactor; one of the same name is drained first, and its record goes
    /// on.
    pub(crate) async fn add(self: &Arc<Self>, reactor: SharedReactor) -> Result<(), Error> {
        let name = check_name(&reactor)?;
        let _turn = self.turns.change(&name).await;
        let before = self.reactor(&name);
        // Those that end stay among the names until others take their place: what they have not settled
        // must not be removed from the log meanwhile.
        let halted = self.halt(&name).await;
        let (opened, result) = match (self.open(reactor).await, before) {
            (Ok(opened), _) => (opened, Ok(())),
            (Err(error), None) => return Err(error),
            // The one that ran is better than none.
            (Err(error), Some(before)) => (self.open(before).await?, Err(error)),
        };
        let names: Vec<Arc<str>> = opened.iter().map(Opened::name).collect();
        for opened in opened {
            self.run(opened)?;
        }
        self.take_out(halted.iter().filter(|name| !names.contains(name)));
        result
    }

    /// Stops following the log for a reactor. What is kept of it goes if it is to be forgotten.
    pub(crate) async fn remove(self: &Arc<Self>, name: &str, forget: bool) -> Result<(), Error> {
        let _turn = self.turns.change(name).await;
        let was_there = self.reactor(name).is_some();
        let halted = self.halt(name).await;
        self.take_out(&halted);
        if forget {
            replays::forget_target(&self.common.log, name).await?;
        } else if !was_there {
            return Err(not_found(name));
        }
        Ok(())
    }

    /// Ends a target and the replays to it as a stop does. Gives their names, which are still taken.
    async fn halt(&self, name: &str) -> Vec<Arc<str>> {
        let names: Vec<Arc<str>> = {
            let targets = self.targets.read();
            let of_target = |entry: &&Entry| match &entry.replay {
                Some(replay) => &*replay.target == name,
                None => &*entry.status.name == name,
            };
            let found = targets.by_name.values().filter(of_target);
            found.map(|entry| entry.status.name.clone()).collect()
        };
        for name in &names {
            self.stop(name);
        }
        for name in &names {
            self.ended(name).await;
        }
        names
    }

    /// Ends one target as a stop does, and takes it out.
    pub(crate) async fn drain_one(&self, name: &Arc<str>) {
        self.stop(name);
        self.ended(name).await;
        self.take_out([name]);
    }

    fn take_out<'a>(&self, names: impl IntoIterator<Item = &'a Arc<str>>) {
        let mut targets = self.targets.write();
        for name in names {
            targets.by_name.remove(name);
        }
    }

    fn stop(&self, name: &str) {
        if let Some(entry) = self.targets.read().by_name.get(name) {
            entry.stop.send_replace(true);
        }
    }

    async fn ended(&self, name: &str) {
        let ended = self
            .targets
            .read()
            .by_name
            .get(name)
            .map(|entry| entry.ended.clone());
        if let Some(mut ended) = ended {
            // Nothing is ever sent: it only closes.
            while ended.changed().await.is_ok() {}
        }
    }

    /// Asks something of a target that runs.
    pub(crate) async fn ask(
        &self,
        name: &str,
        command: impl FnOnce(Done) -> Command,
    ) -> Result<(), Error> {
        let commands = {
            let targets = self.targets.read();
            let entry = targets.by_name.get(name).ok_or_else(|| not_found(name))?;
            entry.commands.clone()
        };
        let not_running = || Error::NotRunning { name: name.into() };
        let (done, answer) = oneshot::channel();
        let sent = commands.send(command(done)).await;
        sent.map_err(|_| not_running())?;
        answer.await.unwrap_or_else(|_| Err(not_running()))
    }

    /// Lets a target run, or not.
    pub(crate) async fn stand(
        &self,
        name: &str,
        state: TargetState,
        why: Option<Arc<str>>,
    ) -> Result<(), Error> {
        if self.reactor(name).is_none() {
            return Err(not_found(name));
        }
        self.ask(name, |done| Command::Stand(state, why, done))
            .await
    }

    /// The replays that run, each with how it stands.
    pub(crate) fn replays(&self) -> BTreeMap<ReplayId, Arc<Status>> {
        let targets = self.targets.read();
        let replays = targets.by_name.values().filter_map(|entry| {
            let replay = entry.replay.as_ref()?;
            Some((replay.id.clone(), entry.status.clone()))
        });
        replays.collect()
    }

    /// Ends all targets as a stop does. A change that is under way is not waited for: it may wait for a
    /// storage that is gone, and what it would begin is refused from now on.
    pub(crate) async fn drain_all(&self) {
        self.targets.write().is_ended = true;
        let names = self.names();
        for name in &names {
            self.stop(name);
        }
        for name in &names {
            self.ended(name).await;
        }
    }

    /// Ends everything at once, as a crash would.
    pub(crate) fn abort_all(&self) {
        self.operations.lock().abort_all();
        let mut targets = self.targets.write();
        targets.is_ended = true;
        for entry in targets.by_name.values() {
            entry.task.abort();
        }
    }
}

/// A replay has come to its end.
fn forget(registry: &Weak<Registry>, name: &str) {
    if let Some(registry) = registry.upgrade() {
        let mut targets = registry.targets.write();
        // While the engine ends, or it is being drained, others take it out.
        if !targets.is_ended
            && targets
                .by_name
                .get(name)
                .is_some_and(|entry| !*entry.stop.borrow())
        {
            targets.by_name.remove(name);
        }
    }
}

/// A target that has its place in the log and does not run yet.
pub(crate) struct Opened {
    target: Target,
    reactor: SharedReactor,
    replay: Option<Replay>,
    commands: mpsc::Sender<Command>,
}

impl Opened {
    fn name(&self) -> Arc<str> {
        self.target.status().name.clone()
    }
}

/// The reactor's name, if it can be kept in the log.
pub(crate) fn check_name(reactor: &SharedReactor) -> Result<Arc<str>, Error> {
    let name = reactor.options().name;
    let is_valid = (1..=NAME_CHARS_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    if !is_valid {
        return Err(Error::InvalidName {
            name: name.to_string(),
        });
    }
    Ok(name)
}

pub(crate) fn not_found(name: &str) -> Error {
    Error::NotFound {
        what: "reactor",
        name: name.to_owned(),
    }
}
