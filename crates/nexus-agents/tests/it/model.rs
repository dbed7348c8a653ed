//! An exhaustive check of how work is claimed: every order in which three agents and the loop can act on two
//! items, with what happens to agents that are paused, cut off and started again, and to Nexus itself.
//!
//! The model runs the very functions of the crate and of the log: the table, the commands, the log's decision.
//! Only the disk, the network and time are the model's: what can run out may do so at any moment, an answer may
//! never arrive, the board may show what was a while ago, and an agent that is paused is one that takes none of
//! its steps while all others do. Beside it stands a second, naive account of who holds what, and every commit
//! has to agree with it.
//!
//! Names are only compared: worlds that differ only in who is called what, and which item comes first, are
//! looked at once.

#[path = "model/event.rs"]
mod event;
#[path = "model/world.rs"]
mod world;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use nexus_agents::{
    Claim, Ending, Ruling, SessionId, Standing, Term, WorkId, end, grant, rule, standing,
};
use nexus_core::{
    Append, Catalogue, Command, Epoch, Head, Loaded, Record, RecordWrite, Seq, Validated, Verdict,
    decide,
};
use stateright::{Checker, Model, Property};

use self::{
    event::event_of,
    world::{Agent, Asked, Held, ITEMS, Request, Stands, Want, World},
};
use crate::support::{session, work};

/// The time stands still: nothing of what is checked may hang on it.
const NOW_US: i64 = 1_763_704_800_000_000;
const REMEMBERED_UNTIL_US: i64 = NOW_US + 1_000_000;

/// How far the model goes.
struct Protocol {
    catalogue: Catalogue,
    /// Any event: the log numbers it, and what it says is not looked at.
    event: Validated,
    sessions: Vec<SessionId>,
    items: Vec<WorkId>,
    events_max: u64,
    mishaps_max: u8,
    /// Whether a completion ever came too late, and was refused.
    was_late: AtomicBool,
    /// Whether who had completed work, and never heard of it, ever asked again.
    was_told_again: AtomicBool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// An agent asks, with the token that it believes in, and the table rules over what the board shows.
    Ask(usize, usize, Want),
    /// The log decides on what an agent asked.
    Commit(usize),
    /// The board takes over what the log says.
    CatchUp(usize),
    RunOut(usize),
    TellRunOut(usize),
    /// A session is gone, and its claims are ended in one commit.
    Leave(usize),
    /// The answer to what an agent asked never arrives.
    CutOff(usize),
    /// It forgets what it holds and whom it asked, and comes back under its name.
    Crash(usize),
    /// Nexus stops in the middle of everything and begins again from its records.
    Restart,
}

impl Protocol {
    /// How work stands by the records.
    fn read(&self, world: &World, item: usize) -> Stands {
        let families = ["claim", "completed_work"];
        let of_item = |record: &&Record| {
            families.contains(&record.key.family.as_str())
                && *record.key.key == *self.items[item].as_str()
        };
        let found = world.records.0.values().find(of_item);
        found.map_or(Stands::Free, |record| self.told(record))
    }

    /// What a record says.
    fn told(&self, record: &Record) -> Stands {
        let held = |by: &SessionId, token: Seq| Held {
            agent: self.sessions.iter().position(|id| id == by).unwrap(),
            token: token.get(),
        };
        match standing(record).unwrap() {
            Standing::Unclaimed => Stands::Free,
            Standing::Held(claim) => Stands::Held(held(&claim.claimed_by, claim.token)),
            Standing::Completed { by, token } => Stands::Done(held(&by, token)),
        }
    }

    fn claim(&self, item: usize, held: Held) -> Claim {
        Claim {
            work_id: self.items[item].clone(),
            claimed_by: self.sessions[held.agent].clone(),
            description: String::new(),
            claimed_us: NOW_US,
            token: Seq::new(held.token),
            term: Term::Connection,
        }
    }

    fn standing(&self, item: usize, stands: Stands) -> Standing {
        match stands {
            Stands::Free => Standing::Unclaimed,
            Stands::Held(held) => Standing::Held(self.claim(item, held)),
            Stands::Done(held) => Standing::Completed {
                by: self.sessions[held.agent].clone(),
                token: Seq::new(held.token),
            },
        }
    }

    /// What the log says to a command; the record that stood against it, if one did.
    fn commit(&self, world: &mut World, command: Command) -> Result<u64, Option<Stands>> {
        let append = Append {
            events: vec![self.event.clone(); command.events.len()],
            once: command.once,
            guards: command.guards,
            changes: command.changes,
        };
        let head = Head {
            last: Seq::new(world.last),
            ..Head::empty(Epoch::new(1))
        };
        let records = world.records.0.iter();
        let loaded = Loaded {
            records: records
                .map(|(key, record)| (key.clone(), record.clone()))
                .collect(),
            ..Loaded::default()
        };
        let (plan, mut verdicts) = decide(&head, loaded, vec![append], NOW_US);
        match verdicts.pop() {
            Some(Verdict::Stored { range, .. }) => {
                world.last = plan.head.last.get();
                let records = Arc::make_mut(&mut world.records.0);
                for write in plan.records {
                    match write {
                        // What a session is doing decides nothing.
                        RecordWrite::Put(record)
                            if record.key.family.as_str() == "session_activity" => {}
                        RecordWrite::Put(record) => {
                            records.insert(record.key.clone(), record);
                        }
                        RecordWrite::Delete(key) => {
                            records.remove(&key);
                        }
                    }
                }
                world.standings = [self.read(world, 0), self.read(world, 1)];
                Ok(range.unwrap().0.get())
            }
            Some(Verdict::Refused(nexus_core::Error::Refused { found, .. })) => {
                Err(found.map(|record| self.told(&record)))
            }
            other => panic!("{other:?}"),
        }
    }

    /// Rules on what an agent asks: it is answered, or the log is asked next.
    fn rule(&self, world: &mut World, agent: usize, asked: Asked, seen: Stands) {
        let Asked { item, want, .. } = asked;
        let standing = self.standing(item, seen);
        let token = asked.token.map(Seq::new);
        let ruling = rule(&standing, want.action(), &self.sessions[agent], token);
        let learned = match (ruling, seen) {
            (Ok(Ruling::Grant), Stands::Free) if want == Want::Claim => {
                world.agents[agent].request = Some(Request { asked, ends: None });
                return;
            }
            (Ok(Ruling::End(ends, ending)), Stands::Held(held))
                if held.agent == agent && want.ending() == Some(ending) =>
            {
                let ends = Some(ends.get());
                world.agents[agent].request = Some(Request { asked, ends });
                return;
            }
            (Ok(Ruling::Same), Stands::Held(held)) if held.agent == agent => Some(held.token),
            (Ok(Ruling::Done), _) => {
                self.was_told_again.store(true, Ordering::Relaxed);
                if !matches!(world.account[item], Stands::Done(held) if held.agent == agent) {
                    world.wrong = Some("somebody was told that they had done what they had not");
                }
                None
            }
            (Err(_), _) => {
                let mine = asked.token.map(|token| Stands::Held(Held { agent, token }));
                if want == Want::Complete && mine != Some(world.account[item]) {
                    self.was_late.store(true, Ordering::Relaxed);
                }
                None
            }
            (Ok(_), _) => {
                world.wrong = Some("what was ruled is not what was asked");
                None
            }
        };
        if !asked.is_orphan {
            world.agents[agent].tokens[item] = learned;
        }
    }

    fn decide_request(&self, world: &mut World, agent: usize) -> Option<()> {
        let Request { asked, ends } = world.agents[agent].request.take()?;
        let item = asked.item;
        let token = ends.unwrap_or_default();
        let held = Held { agent, token };
        let ending = asked.want.ending();
        match self.commit(world, self.command(item, held, ending)) {
            Ok(token) => {
                match ending {
                    None => world.granted(item, Held { agent, token }),
                    Some(ending) => world.ended(item, held, ending),
                }
                if !asked.is_orphan {
                    world.agents[agent].tokens[item] = ending.is_none().then_some(token);
                }
            }
            Err(found) => {
                let now = world.standings[item];
                // What stands against it is told with the refusal; where nothing does, the work is looked up.
                if found.is_some_and(|found| found != now) {
                    world.wrong = Some("what was found is not what stands");
                }
                self.rule(world, agent, asked, now);
            }
        }
        Some(())
    }

    fn command(&self, item: usize, held: Held, ending: Option<Ending>) -> Command {
        let claim = self.claim(item, held);
        let Some(ending) = ending else {
            return grant(&self.catalogue, &claim, NOW_US);
        };
        let mut command = Command::default();
        let until_us = REMEMBERED_UNTIL_US;
        end(&mut command, &self.catalogue, &claim, ending, until_us);
        command
    }

    fn tell_run_out(&self, world: &mut World, item: usize) -> Option<()> {
        let held = world.expiring[item].take()?;
        let command = self.command(item, held, Some(Ending::Expired));
        if self.commit(world, command).is_ok() {
            world.ended(item, held, Ending::Expired);
        }
        Some(())
    }

    fn leave(&self, world: &mut World, agent: usize) -> Option<()> {
        let on_board = world.board.iter().enumerate();
        let claims: Vec<(usize, Held)> = on_board
            .filter_map(|(item, stands)| match stands {
                Stands::Held(held) if held.agent == agent => Some((item, *held)),
                _ => None,
            })
            .collect();
        if claims.is_empty() {
            return None;
        }
        let mut command = Command::default();
        for (item, held) in &claims {
            let claim = self.claim(*item, *held);
            end(&mut command, &self.catalogue, &claim, Ending::Abandoned, 0);
        }
        // Refused, it is tried again without what ended by itself: that is leaving once more.
        if self.commit(world, command).is_ok() {
            for (item, held) in claims {
                world.ended(item, held, Ending::Abandoned);
            }
        } else {
            world.board = world.standings;
        }
        Some(())
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::default()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.wrong.is_some() {
            return;
        }
        let is_calm = world.mishaps == self.mishaps_max;
        for (n, agent) in world.agents.iter().enumerate() {
            if let Some(request) = agent.request {
                steps.push(Step::Commit(n));
                if !is_calm && !request.asked.is_orphan {
                    steps.push(Step::CutOff(n));
                }
            } else {
                for (item, token) in agent.tokens.iter().enumerate() {
                    let wants: &[Want] = match token {
                        None => &[Want::Claim],
                        Some(_) => &[Want::Complete, Want::Release],
                    };
                    steps.extend(wants.iter().map(|want| Step::Ask(n, item, *want)));
                }
            }
            // Nothing becomes of those who did nothing yet.
            if !is_calm && *agent != Agent::default() {
                steps.push(Step::Crash(n));
            }
            if !is_calm {
                steps.push(Step::Leave(n));
            }
        }
        for item in 0..ITEMS {
            if world.board[item] != world.standings[item] {
                steps.push(Step::CatchUp(item));
            }
            match (world.expiring[item], world.board[item]) {
                (Some(_), _) => steps.push(Step::TellRunOut(item)),
                (None, Stands::Held(_)) if !is_calm => steps.push(Step::RunOut(item)),
                _ => {}
            }
        }
        if !is_calm {
            steps.push(Step::Restart);
        }
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        let mut world = last.clone();
        match step {
            Step::Ask(n, item, want) => {
                let token = world.agents[n].tokens[item].filter(|_| want != Want::Claim);
                let is_orphan = false;
                let asked = Asked {
                    item,
                    want,
                    token,
                    is_orphan,
                };
                // The board shows only what is held: the store is asked for what is done.
                let seen = match (world.board[item], world.standings[item]) {
                    (Stands::Free, done @ Stands::Done(_)) => done,
                    (shown, _) => shown,
                };
                self.rule(&mut world, n, asked, seen);
            }
            Step::Commit(n) => self.decide_request(&mut world, n)?,
            Step::CatchUp(item) => world.board[item] = world.standings[item],
            Step::RunOut(item) => {
                let Stands::Held(held) = world.board[item] else {
                    return None;
                };
                world.expiring[item] = Some(held);
                world.mishaps += 1;
            }
            Step::TellRunOut(item) => self.tell_run_out(&mut world, item)?,
            Step::Leave(n) => {
                self.leave(&mut world, n)?;
                world.mishaps += 1;
            }
            Step::CutOff(n) => {
                world.agents[n].request.as_mut()?.asked.is_orphan = true;
                world.mishaps += 1;
            }
            Step::Crash(n) => {
                let agent = &mut world.agents[n];
                agent.tokens = [None; ITEMS];
                if let Some(request) = &mut agent.request {
                    request.asked.is_orphan = true;
                }
                world.mishaps += 1;
            }
            Step::Restart => {
                world.restart();
                world.mishaps += 1;
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing goes wrong", |_, world: &World| {
                world.wrong.is_none()
            }),
            Property::always("the records are the account", |_, world: &World| {
                world.standings == world.account
            }),
            Property::sometimes("both items are done", |_, world: &World| {
                let is_done = |stands: &Stands| matches!(stands, Stands::Done(_));
                world.account.iter().all(is_done)
            }),
            Property::sometimes("a completion is too late", |protocol: &Self, _| {
                protocol.was_late.load(Ordering::Relaxed)
            }),
            Property::sometimes(
                "who asks again is told that it is done",
                |protocol: &Self, _| protocol.was_told_again.load(Ordering::Relaxed),
            ),
            Property::sometimes(
                "work is done by the second who held it",
                |_, world: &World| {
                    let is_second =
                        |stands: &Stands| matches!(stands, Stands::Done(held) if held.token > 2);
                    world.newest.contains(&0) && world.account.iter().any(is_second)
                },
            ),
            Property::sometimes(
                "an agent is granted what it never hears of",
                |_, world: &World| {
                    let is_known = |agent: &Agent| agent.tokens.iter().any(Option::is_some);
                    let is_held = |stands: &Stands| matches!(stands, Stands::Held(_));
                    world.account.iter().any(is_held) && !world.agents.iter().any(is_known)
                },
            ),
        ]
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.last <= self.events_max
    }
}

async fn protocol(events_max: u64, mishaps_max: u8) -> Protocol {
    let claim = Claim {
        work_id: work("a"),
        claimed_by: session("x"),
        description: String::new(),
        claimed_us: NOW_US,
        token: Seq::ZERO,
        term: Term::Connection,
    };
    Protocol {
        catalogue: Catalogue::known(),
        event: event_of(|catalogue| grant(catalogue, &claim, NOW_US)).await,
        sessions: ["x", "y", "z"].map(session).into(),
        items: ["a", "b"].map(work).into(),
        events_max,
        mishaps_max,
        was_late: AtomicBool::new(false),
        was_told_again: AtomicBool::new(false),
    }
}

#[tokio::test]
async fn no_order_of_events_lets_two_hold_the_same_work() {
    let protocol = protocol(4, 1).await;
    let checker = protocol
        .checker()
        .threads(2)
        .symmetry_fn(World::representative)
        .spawn_dfs()
        .join();
    println!(
        "{} states, {} of them different",
        checker.state_count(),
        checker.unique_state_count()
    );
    checker.assert_properties();
    assert!(checker.is_done());
}
