//! Who fits best: sessions ranked by what they can do.

use std::{cmp::Reverse, collections::HashSet};

use crate::session::{SessionView, Status};

/// A session that has some of what is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The session.
    pub session: SessionView,
    /// How many of the asked capabilities it has.
    pub matched: usize,
}

/// Those of the sessions that have at least one of the skills, or all if none is asked for: the most skills
/// first, then the idle, then those that have been quiet for longest. The case of letters makes no difference.
pub(crate) fn rank(sessions: Vec<SessionView>, skills: &[String]) -> Vec<Match> {
    // Whoever asks says how many: they are compared as a set.
    let asked: HashSet<String> = skills.iter().map(|skill| skill.to_lowercase()).collect();
    let mut matches: Vec<Match> = sessions
        .into_iter()
        .map(|session| Match {
            matched: matched(&session.capabilities, &asked),
            session,
        })
        .filter(|found| found.matched > 0 || skills.is_empty())
        .collect();
    matches.sort_by(|a, b| order(a).cmp(&order(b)));
    matches
}

fn order(found: &Match) -> impl Ord {
    let session = &found.session;
    let is_idle = session.status == Status::Idle;
    (
        Reverse(found.matched),
        !is_idle,
        session.last_event_us,
        session.id.clone(),
    )
}

/// How many of the skills, in small letters, are among the capabilities.
fn matched(capabilities: &[String], asked: &HashSet<String>) -> usize {
    let has: HashSet<String> = capabilities
        .iter()
        .map(|capability| capability.to_lowercase())
        .filter(|capability| asked.contains(capability))
        .collect();
    has.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Presence, SessionId};

    fn session(id: &str, skills: &[&str], status: Status, last_event_us: i64) -> SessionView {
        SessionView {
            id: SessionId::parse(id).unwrap(),
            role: "r".into(),
            goal: None,
            capabilities: skills.iter().map(|&skill| skill.into()).collect(),
            presence: Presence::Online(1),
            status,
            current_work: None,
            claims: 0,
            registered_us: 1,
            connected_us: Some(1),
            last_event_us: Some(last_event_us),
        }
    }

    fn ranked(sessions: Vec<SessionView>, skills: &[&str]) -> Vec<(String, usize)> {
        let skills: Vec<String> = skills.iter().map(|&skill| skill.into()).collect();
        let found = rank(sessions, &skills).into_iter();
        found
            .map(|found| (found.session.id.to_string(), found.matched))
            .collect()
    }

    #[test]
    fn the_most_skills_then_the_idle_then_the_longest_quiet() {
        let sessions = vec![
            session("busy", &["Python"], Status::Active, 1),
            session("new", &["python"], Status::Idle, 9),
            session("old", &["python"], Status::Idle, 2),
            session("both", &["rust", "python"], Status::Active, 5),
            session("none", &["go"], Status::Idle, 1),
        ];
        let expected = [("both", 2), ("old", 1), ("new", 1), ("busy", 1)];
        let expected = expected.map(|(id, matched)| (id.to_owned(), matched));
        assert_eq!(ranked(sessions, &["python", "PYTHON", "rust"]), expected);
    }

    #[test]
    fn a_very_long_list_of_skills_is_looked_through_once() {
        let asked: Vec<String> = (0..100_000).map(|n| format!("skill-{n}")).collect();
        let sessions = vec![session(
            "a",
            &["SKILL-7", "skill-7", "skill-9"],
            Status::Idle,
            1,
        )];
        assert_eq!(rank(sessions, &asked)[0].matched, 2);
    }

    #[test]
    fn without_a_skill_everybody_is_listed() {
        let sessions = vec![
            session("b", &[], Status::Active, 1),
            session("a", &["x"], Status::Active, 1),
        ];
        let expected = [("a".to_owned(), 0), ("b".to_owned(), 0)];
        assert_eq!(ranked(sessions, &[]), expected);
    }

    #[test]
    fn only_who_is_there_and_free_is_available() {
        let free = session("a", &[], Status::Active, 1);
        assert!(free.is_available());
        let busy = SessionView {
            claims: 1,
            ..free.clone()
        };
        let gone = SessionView {
            presence: Presence::Offline,
            ..free.clone()
        };
        let unwell = SessionView {
            status: Status::Error,
            ..free
        };
        assert!(![busy, gone, unwell].iter().any(SessionView::is_available));
    }
}
