//! The closed list of events that Nexus knows by itself.

use crate::{Json, PayloadProblem, payload};

/// Who may publish a known event when the configuration says nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The node with this id.
    Node(&'static str),
    /// Connected agents, as themselves.
    Sessions,
    /// Nobody: only Nexus tells these outcomes.
    Reserved,
}

macro_rules! protocol_events {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:literal $qualified:literal $topic:literal $owner:expr, $check:expr;)+) => {
        /// An event that Nexus knows: its names, its owner and the schema of its payload.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ProtocolEvent { $($(#[doc = $doc])+ $variant,)+ }

        impl ProtocolEvent {
            /// Every known event, in the order of the protocol's documents.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The short name, `PAYMENT_RECEIVED`.
            #[must_use]
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name,)+ } }

            /// The name that live nodes use, `FLOWPAY:PAYMENT_RECEIVED`; the plain name where they
            /// have none of their own.
            #[must_use]
            pub const fn qualified_name(self) -> &'static str { match self { $(Self::$variant => $qualified,)+ } }

            /// The topic, `payment.received`.
            #[must_use]
            pub const fn topic(self) -> &'static str { match self { $(Self::$variant => $topic,)+ } }

            /// Who may publish it when the configuration says nothing else.
            #[must_use]
            pub const fn owner(self) -> Owner { match self { $(Self::$variant => $owner,)+ } }

            /// What is wrong with a payload; nothing when it fits the schema.
            #[must_use]
            pub fn check(self, payload: &Json<'_>) -> Vec<PayloadProblem> {
                let check: payload::Check = match self { $(Self::$variant => $check,)+ };
                payload::run(check, payload)
            }
        }
    };
}

protocol_events! {
    /// A payment arrived.
    PaymentReceived "PAYMENT_RECEIVED" "FLOWPAY:PAYMENT_RECEIVED" "payment.received" Owner::Node("flowpay"), payload::payment_received;
    /// A payment did not succeed.
    PaymentFailed "PAYMENT_FAILED" "FLOWPAY:PAYMENT_FAILED" "payment.failed" Owner::Node("flowpay"), payload::payment_failed;
    /// Tokens were asked for.
    MintRequested "MINT_REQUESTED" "FACTORY:MINT_REQUESTED" "mint.requested" Owner::Node("smart-factory"), payload::mint_requested;
    /// Tokens were made.
    MintConfirmed "MINT_CONFIRMED" "FACTORY:MINT_CONFIRMED" "mint.confirmed" Owner::Node("smart-factory"), payload::contract;
    /// Tokens could not be made.
    MintFailed "MINT_FAILED" "FACTORY:MINT_FAILED" "mint.failed" Owner::Node("smart-factory"), payload::mint_failed;
    /// A contract is on the chain.
    ContractDeployed "CONTRACT_DEPLOYED" "FACTORY:CONTRACT_DEPLOYED" "contract.deployed" Owner::Node("smart-factory"), payload::contract;
    /// A proposal was made.
    ProposalCreated "PROPOSAL_CREATED" "FLUXX:PROPOSAL_CREATED" "proposal.created" Owner::Node("fluxx-dao"), payload::proposal_created;
    /// A vote was cast.
    VoteCast "VOTE_CAST" "FLUXX:VOTE_CAST" "vote.cast" Owner::Node("fluxx-dao"), payload::vote_cast;
    /// An identity was verified.
    IdentityVerified "IDENTITY_VERIFIED" "MIO:IDENTITY_VERIFIED" "identity.verified" Owner::Node("mio-system"), payload::identity_verified;
    /// This Nexus started.
    NexusStart "NEXUS_START" "NEXUS:START" "nexus.start" Owner::Reserved, payload::nexus_start;
    /// An agent asks for help.
    HelpNeeded "HELP_NEEDED" "HELP_NEEDED" "help.needed" Owner::Sessions, payload::help_needed;
    /// An agent says what it can do.
    CapabilityBroadcast "CAPABILITY_BROADCAST" "CAPABILITY_BROADCAST" "capability.broadcast" Owner::Sessions, payload::capability_broadcast;
    /// An agent says what it is doing.
    StatusUpdate "STATUS_UPDATE" "STATUS_UPDATE" "status.update" Owner::Sessions, payload::status_update;
    /// An agent speaks to everyone.
    MessageBroadcast "MESSAGE_BROADCAST" "MESSAGE_BROADCAST" "message.broadcast" Owner::Sessions, payload::message_broadcast;
    /// An agent speaks to one other.
    MessageDirect "MESSAGE_DIRECT" "MESSAGE_DIRECT" "message.direct" Owner::Sessions, payload::message_direct;
    /// An agent connected.
    SessionConnected "SESSION_CONNECTED" "SESSION_CONNECTED" "session.connected" Owner::Reserved, payload::object;
    /// An agent is gone.
    SessionDisconnected "SESSION_DISCONNECTED" "SESSION_DISCONNECTED" "session.disconnected" Owner::Reserved, payload::object;
    /// Work was granted to one agent.
    WorkClaimed "WORK_CLAIMED" "WORK_CLAIMED" "work.claimed" Owner::Reserved, payload::work;
    /// Work is done.
    WorkCompleted "WORK_COMPLETED" "WORK_COMPLETED" "work.completed" Owner::Reserved, payload::work;
    /// Work was given back.
    WorkReleased "WORK_RELEASED" "WORK_RELEASED" "work.released" Owner::Reserved, payload::work;
    /// The lease on work ran out.
    WorkExpired "WORK_EXPIRED" "WORK_EXPIRED" "work.expired" Owner::Reserved, payload::work;
    /// A request for help was offered to an agent.
    HelpOffered "HELP_OFFERED" "HELP_OFFERED" "help.offered" Owner::Reserved, payload::object;
    /// Nexus has something to say to everyone.
    SystemNotification "SYSTEM_NOTIFICATION" "SYSTEM_NOTIFICATION" "system.notification" Owner::Reserved, payload::object;
    /// An endpoint was made.
    EndpointCreated "ENDPOINT_CREATED" "ENDPOINT_CREATED" "endpoint.created" Owner::Reserved, payload::object;
    /// An endpoint is something else now.
    EndpointChanged "ENDPOINT_CHANGED" "ENDPOINT_CHANGED" "endpoint.changed" Owner::Reserved, payload::object;
    /// An endpoint is sent events again.
    EndpointEnabled "ENDPOINT_ENABLED" "ENDPOINT_ENABLED" "endpoint.enabled" Owner::Reserved, payload::object;
    /// An endpoint is sent nothing any more: somebody, its receiver or its failures disabled it.
    EndpointDisabled "ENDPOINT_DISABLED" "ENDPOINT_DISABLED" "endpoint.disabled" Owner::Reserved, payload::object;
    /// An endpoint is gone.
    EndpointDeleted "ENDPOINT_DELETED" "ENDPOINT_DELETED" "endpoint.deleted" Owner::Reserved, payload::object;
    /// A tool is new or says something else, and is hidden until somebody has looked at it.
    ToolQuarantined "TOOL_QUARANTINED" "TOOL_QUARANTINED" "tool.quarantined" Owner::Reserved, payload::object;
    /// Somebody has looked at a tool and approved it.
    ToolApproved "TOOL_APPROVED" "TOOL_APPROVED" "tool.approved" Owner::Reserved, payload::object;
    /// A call of a tool became a job.
    JobCreated "JOB_CREATED" "JOB_CREATED" "job.created" Owner::Reserved, payload::object;
    /// A job's server was asked.
    JobStarted "JOB_STARTED" "JOB_STARTED" "job.started" Owner::Reserved, payload::object;
    /// A job has a result.
    JobCompleted "JOB_COMPLETED" "JOB_COMPLETED" "job.completed" Owner::Reserved, payload::object;
    /// A job has none, and why.
    JobFailed "JOB_FAILED" "JOB_FAILED" "job.failed" Owner::Reserved, payload::object;
    /// Somebody did not want a job any more.
    JobCancelled "JOB_CANCELLED" "JOB_CANCELLED" "job.cancelled" Owner::Reserved, payload::object;
}

/// The first segments that belong to Nexus: whatever follows them is reserved.
pub(crate) const RESERVED_PREFIXES: [&str; 5] =
    ["job.", "tool.", "delivery.", "endpoint.", "audit."];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::Topic;

    #[test]
    fn topics_and_names_are_valid_and_distinct() {
        let mut seen = HashSet::new();
        for event in ProtocolEvent::ALL {
            assert!(Topic::parse(event.topic()).is_ok(), "{event:?}");
            assert!(
                seen.insert(event.topic()) && seen.insert(event.name()),
                "{event:?}"
            );
        }
    }
}
