//! `POST /webhook/{node}`: what a configured node sends in its own shape, and the configuration explains.

use std::{collections::BTreeMap, slice, sync::Arc};

use arc_swap::ArcSwap;
use nexus_core::{Command, Kind, NewEvent, Once};
use nexus_http::{Call, Problem};
use nexus_reactors::rules::{Mapped, Mappings};

use super::{Answered, Neo, answer, object, publish::publish, webhook::is_event};
use crate::faces::request;

/// What the webhooks of each node mean. Cheap to clone; all clones see a reload at once.
#[derive(Clone)]
pub(crate) struct NodeMappings(Arc<ArcSwap<BTreeMap<String, Mappings>>>);

impl NodeMappings {
    /// The mappings of each node that has some.
    pub(crate) fn new(nodes: BTreeMap<String, Mappings>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(nodes)))
    }

    /// Puts others in the place of all of them.
    pub(crate) fn replace(&self, nodes: BTreeMap<String, Mappings>) {
        self.0.store(Arc::new(nodes));
    }
}

pub(super) async fn receive(neo: &Neo, call: &Call) -> Answered {
    let node = call.param("node").unwrap_or_default();
    let principal = neo.signer(call, Some(node))?;
    let nodes = neo.mappings.0.load_full();
    // Only who may sign for it learns whether it has one.
    let mappings = nodes.get(node).ok_or_else(|| {
        let detail = "this node has no webhook mapping";
        Problem::new(Kind::NotFound, "not-found", detail)
    })?;
    let body = object(call)?;
    match mappings.apply(&call.body, neo.log.clock().now_us())? {
        Mapped::Event { event, once } => {
            let name = event.event_type.name.clone();
            let event = NewEvent {
                causes: call.causes(),
                ..*event
            };
            let once = match once {
                Some(fact) => Some(Once::fact("webhook", format!("{node}:{fact}"))),
                None => Once::of_events(
                    principal.source(),
                    request::key(&call.headers)?,
                    slice::from_ref(&event),
                    neo.log.clock().now_us(),
                ),
            };
            let command = Command {
                once,
                ..Command::event(event)
            };
            let receipt = neo.log.submit(&principal, command).await?;
            Ok(answer::processed(&name, &receipt))
        }
        Mapped::Ignored { reason } => Ok(answer::ignored(&reason)),
        Mapped::Unknown if is_event(&body) => publish(neo, call, &principal, &body).await,
        Mapped::Unknown => Ok(answer::ignored(answer::UNHANDLED)),
    }
}
