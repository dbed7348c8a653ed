//! The table of work, every cell, by every way in, open and with tokens.

use super::{
    Bus, DOORS, Door, Mode,
    door::{Act, Visitor},
};

/// How work stands before the act that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Unclaimed,
    Mine,
    Theirs,
    DoneByMe,
    DoneByThem,
}

const COLUMNS: [Stands; 5] = [
    Stands::Unclaimed,
    Stands::Mine,
    Stands::Theirs,
    Stands::DoneByMe,
    Stands::DoneByThem,
];

const DONE: &str = "work-completed";

/// The code of the refusal in each column; nothing where it is done.
fn row(act: Act) -> [&'static str; 5] {
    match act {
        Act::Claim => ["", "", "work-held", DONE, DONE],
        Act::Renew | Act::Release => ["not-found", "", "stale-claim", DONE, DONE],
        Act::Complete => ["not-found", "", "stale-claim", "", DONE],
    }
}

/// What an act adds to the log.
fn told(act: Act, stands: Stands) -> &'static [&'static str] {
    match (act, stands) {
        (Act::Claim, Stands::Unclaimed) => &["work.claimed"],
        (Act::Release, Stands::Mine) => &["work.released"],
        (Act::Complete, Stands::Mine) => &["work.completed"],
        _ => &[],
    }
}

/// A session and another at one door.
struct Pair<'b> {
    bus: &'b Bus,
    me: Visitor<'b>,
    other: Visitor<'b>,
}

impl<'b> Pair<'b> {
    fn new(bus: &'b Bus, door: Door) -> Self {
        Self {
            bus,
            me: Visitor::new(bus, door, "me"),
            other: Visitor::new(bus, door, "other"),
        }
    }

    /// Brings work to where it stands.
    #[track_caller]
    fn prepare(&mut self, work_id: &str, stands: Stands) {
        let owner = match stands {
            Stands::Unclaimed => return,
            Stands::Mine | Stands::DoneByMe => &mut self.me,
            Stands::Theirs | Stands::DoneByThem => &mut self.other,
        };
        assert_eq!(owner.act(Act::Claim, work_id, None).code(), "", "{work_id}");
        if matches!(stands, Stands::DoneByMe | Stands::DoneByThem) {
            let done = owner.act(Act::Complete, work_id, None);
            assert_eq!(done.code(), "", "{work_id}");
        }
    }

    #[track_caller]
    fn topics(&self, work_id: &str) -> Vec<String> {
        let fate = self.bus.fate(work_id);
        fate.into_iter().map(|(topic, _)| topic).collect()
    }
}

fn every_cell(door: Door, mode: Mode) {
    let bus = Bus::start(mode);
    let mut pair = Pair::new(&bus, door);
    for act in Act::ALL.into_iter().filter(|act| door.offers(*act)) {
        for (stands, code) in COLUMNS.into_iter().zip(row(act)) {
            let work_id = format!("{}-{stands:?}", act.name());
            let cell = format!("{door:?} {mode:?} {work_id}");
            pair.prepare(&work_id, stands);
            let before = pair.topics(&work_id);
            let outcome = pair.me.act(act, &work_id, None);
            assert_eq!(outcome.code(), code, "{cell}");
            let after = pair.topics(&work_id);
            assert_eq!(after[before.len()..], *told(act, stands), "{cell}");
            let is_held = matches!(
                (act, stands),
                (Act::Claim, Stands::Unclaimed)
                    | (Act::Claim | Act::Renew, Stands::Mine)
                    | (_, Stands::Theirs)
            );
            assert_eq!(bus.holder(&work_id).is_some(), is_held, "{cell}");
        }
    }
}

#[test]
fn every_cell_by_every_door_where_nobody_proves_who_they_are() {
    for door in DOORS {
        every_cell(door, Mode::Open);
    }
}

#[test]
fn every_cell_by_every_door_with_tokens() {
    for door in DOORS {
        every_cell(door, Mode::Token);
    }
}

/// The token is told where there is an answer about the claim, and the same one each time.
#[track_caller]
fn token_of(pair: &mut Pair<'_>, work_id: &str) -> u64 {
    let claims = pair.bus.read("/work/claimed");
    let claims = claims["claims"].as_array().unwrap();
    let listed = claims.iter().find(|claim| claim["work_id"] == work_id);
    let listed = listed.unwrap()["fencing_token"].as_u64().unwrap();
    if matches!(pair.me.door(), Door::Routes | Door::Frames) {
        for act in [Act::Claim, Act::Renew] {
            let told = pair.me.act(act, work_id, None).token();
            assert_eq!(told, Some(listed), "{act:?}");
        }
    }
    listed
}

#[test]
fn by_every_door_a_token_that_is_not_the_current_one_does_nothing() {
    for door in DOORS {
        let bus = Bus::start(Mode::Open);
        let mut pair = Pair::new(&bus, door);
        let claim = |pair: &mut Pair<'_>| {
            assert_eq!(pair.me.act(Act::Claim, "w", None).code(), "");
            token_of(pair, "w")
        };
        let old = claim(&mut pair);
        assert_eq!(pair.me.act(Act::Release, "w", Some(old)).code(), "");
        let current = claim(&mut pair);
        assert!(current > old);
        let others = [Act::Renew, Act::Release, Act::Complete];
        for act in others.into_iter().filter(|act| door.offers(*act)) {
            let outcome = pair.me.act(act, "w", Some(old));
            assert_eq!(outcome.code(), "stale-claim", "{door:?} {act:?}");
        }
        assert_eq!(bus.holder("w").as_deref(), Some("me"), "{door:?}");
        // Said again, it is told again that it is done.
        for _ in 0..2 {
            let outcome = pair.me.act(Act::Complete, "w", Some(current));
            assert_eq!(outcome.code(), "", "{door:?}");
        }
        let expected = [
            "work.claimed",
            "work.released",
            "work.claimed",
            "work.completed",
        ];
        assert_eq!(pair.topics("w"), expected, "{door:?}");
    }
}
