//! The world of the model: what is stored, what is on the board and on its way, and a naive account beside it.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    hash::{Hash, Hasher},
    sync::Arc,
};

use nexus_agents::{Action, Ending};
use nexus_core::{Key, Record};

pub(super) const AGENTS: usize = 3;
pub(super) const ITEMS: usize = 2;

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct World {
    /// The number of the last event.
    pub(super) last: u64,
    /// What the records say.
    pub(super) standings: [Stands; ITEMS],
    pub(super) board: [Stands; ITEMS],
    /// Claims that the loop has found to be over, and is telling the log of.
    pub(super) expiring: [Option<Held>; ITEMS],
    pub(super) agents: [Agent; AGENTS],
    /// Who holds what, told naively.
    pub(super) account: [Stands; ITEMS],
    /// The newest token of each item.
    pub(super) newest: [u64; ITEMS],
    pub(super) mishaps: u8,
    /// What must never happen, and did.
    pub(super) wrong: Option<&'static str>,
    pub(super) records: Records,
}

/// The records as they are stored. What they say is in `standings`, and that tells worlds apart.
#[derive(Debug, Clone, Default)]
pub(super) struct Records(pub(super) Arc<BTreeMap<Key, Record>>);

impl PartialEq for Records {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Records {}

impl PartialOrd for Records {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Records {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}

impl Hash for Records {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// A claim, by its holder and its token: everything else of it is the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Held {
    pub(super) agent: usize,
    pub(super) token: u64,
}

/// How an item stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Stands {
    #[default]
    Free,
    Held(Held),
    Done(Held),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Agent {
    /// The tokens that it believes to hold.
    pub(super) tokens: [Option<u64>; ITEMS],
    pub(super) request: Option<Request>,
}

/// What an agent asked, on its way to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Request {
    pub(super) asked: Asked,
    /// The token of its claim that would end; nothing if it would be granted one.
    pub(super) ends: Option<u64>,
}

/// What an agent asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Asked {
    pub(super) item: usize,
    pub(super) want: Want,
    pub(super) token: Option<u64>,
    /// The answer never arrives.
    pub(super) is_orphan: bool,
}

/// What an agent wants of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Want {
    Claim,
    Complete,
    Release,
}

impl Want {
    pub(super) fn action(self) -> Action {
        match self {
            Self::Claim => Action::Claim,
            Self::Complete => Action::Complete,
            Self::Release => Action::Release,
        }
    }

    /// How a claim ends by it.
    pub(super) fn ending(self) -> Option<Ending> {
        match self {
            Self::Claim => None,
            Self::Complete => Some(Ending::Completed),
            Self::Release => Some(Ending::Released),
        }
    }
}

impl Stands {
    /// The claim that it stands by.
    fn held(self) -> Option<Held> {
        match self {
            Self::Free => None,
            Self::Held(held) | Self::Done(held) => Some(held),
        }
    }

    fn renamed(self, names: &[usize; AGENTS]) -> Self {
        match self {
            Self::Free => Self::Free,
            Self::Held(held) => Self::Held(held.renamed(names)),
            Self::Done(held) => Self::Done(held.renamed(names)),
        }
    }
}

impl Held {
    fn renamed(self, names: &[usize; AGENTS]) -> Self {
        Self {
            agent: names[self.agent],
            ..self
        }
    }
}

impl World {
    /// The log granted a claim.
    pub(super) fn granted(&mut self, item: usize, held: Held) {
        match self.account[item] {
            Stands::Free if self.newest[item] < held.token => {}
            Stands::Free => self.wrong = Some("a token is not above the one before"),
            Stands::Held(_) => self.wrong = Some("work that is held was granted"),
            Stands::Done(_) => self.wrong = Some("work that is done was granted"),
        }
        self.account[item] = Stands::Held(held);
        self.newest[item] = held.token;
    }

    /// The log ended a claim.
    pub(super) fn ended(&mut self, item: usize, held: Held, ending: Ending) {
        if self.account[item] != Stands::Held(held) {
            self.wrong = Some("a claim was ended that its holder did not have");
        }
        self.account[item] = match ending {
            Ending::Completed => Stands::Done(held),
            Ending::Released | Ending::Expired | Ending::Abandoned => Stands::Free,
        };
    }

    /// Nexus begins again from its records, and answers nothing that was asked before.
    pub(super) fn restart(&mut self) {
        self.board = self.standings;
        self.expiring = [None; ITEMS];
        for agent in &mut self.agents {
            agent.request = None;
        }
    }

    /// The one that stands for all worlds that differ from this one in names alone.
    pub(super) fn representative(&self) -> Self {
        self.in_order().min(self.turned().in_order())
    }

    /// The same world with its items the other way round.
    fn turned(&self) -> Self {
        let mut world = self.clone();
        world.standings.reverse();
        world.board.reverse();
        world.expiring.reverse();
        world.account.reverse();
        world.newest.reverse();
        for agent in &mut world.agents {
            agent.tokens.reverse();
            if let Some(request) = &mut agent.request {
                request.asked.item = ITEMS - 1 - request.asked.item;
            }
        }
        world
    }

    /// The same world with its agents in the order of what they do.
    fn in_order(&self) -> Self {
        let mut order: [usize; AGENTS] = std::array::from_fn(|agent| agent);
        order.sort_by_key(|agent| self.part(*agent));
        let mut names = [0; AGENTS];
        for (name, agent) in order.into_iter().enumerate() {
            names[agent] = name;
        }
        let mut world = self.clone();
        for item in 0..ITEMS {
            world.standings[item] = self.standings[item].renamed(&names);
            world.board[item] = self.board[item].renamed(&names);
            world.expiring[item] = self.expiring[item].map(|held| held.renamed(&names));
            world.account[item] = self.account[item].renamed(&names);
        }
        world.agents = order.map(|agent| self.agents[agent]);
        world
    }

    /// The part that an agent has in the world: everything that tells it from the others.
    fn part(&self, agent: usize) -> (Agent, [[bool; 4]; ITEMS]) {
        let is_its = |held: Option<Held>| held.is_some_and(|held| held.agent == agent);
        let of_item = |item: usize| {
            [
                is_its(self.standings[item].held()),
                is_its(self.board[item].held()),
                is_its(self.expiring[item]),
                is_its(self.account[item].held()),
            ]
        };
        (self.agents[agent], std::array::from_fn(of_item))
    }
}
