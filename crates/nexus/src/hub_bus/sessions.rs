//! The sessions of agents by a tool: who is there, and who can do what.

use nexus_agents::SessionView;
use nexus_core::{Scope, iso8601};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{Context, Told, read_arguments, refusal::require};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    /// Those that can do one of these, the best first.
    #[serde(default)]
    skills: Vec<String>,
    #[serde(default)]
    only_available: bool,
    /// Those too that are not connected.
    #[serde(default)]
    include_offline: bool,
}

pub(super) fn list(context: &Context<'_>, arguments: Option<&RawValue>) -> Told {
    require(context.caller, Scope::Read)?;
    let asked: List = read_arguments(arguments)?;
    let agents = context.agents;
    let mut sessions = match (asked.skills.is_empty(), asked.include_offline) {
        (false, _) => {
            let found = agents.find(&asked.skills, asked.only_available);
            found.into_iter().map(|found| found.session).collect()
        }
        (true, true) => agents.sessions(),
        (true, false) => agents.connected(),
    };
    if asked.only_available {
        sessions.retain(SessionView::is_available);
    }
    let sessions: Vec<Value> = sessions.iter().map(view).collect();
    Ok(json!({ "sessions": sessions }))
}

fn view(session: &SessionView) -> Value {
    json!({
        "session_id": session.id,
        "role": session.role,
        "goal": session.goal,
        "capabilities": session.capabilities,
        "is_connected": session.presence.is_connected(),
        "is_available": session.is_available(),
        "status": session.status,
        "current_work": session.current_work,
        "connected_at": session.connected_us.map(iso8601),
        "last_event": session.last_event_us.map(iso8601),
    })
}
