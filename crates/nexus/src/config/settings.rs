//! Every setting that stands alone, in the order of the reference.

use nexus_agents::{GRACE_MAX, LEASE_S_MAX, LEASE_S_MIN};

use super::{
    read::Bounds::{None, Real, Whole},
    sections::Config,
    setting::{Setting, setting},
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// An hour: the longest of the short waits.
const HOUR_MS: u64 = 3_600_000;
const RATE_MAX: u64 = 1_000_000;

macro_rules! table {
    ($($first:ident $(.$rest:ident)*: $bounds:expr, $meaning:expr;)+) => {
        /// Every setting that stands alone, in the order of the reference.
        pub(crate) static SETTINGS: &[Setting<Config>] =
            &[$(setting!(Config, $first $(.$rest)*, $bounds, $meaning),)+];
    };
}

table! {
    environment: None, "What the process is for. In `production` weak settings are refusals, otherwise they are warnings. `nexusd dev` refuses `production`.";

    server.host: None, "The address to listen on.";
    server.port: Whole(0, 65_535), "The port to listen on; 0 takes a free one.";
    server.allowed_origins: None, "Origins of browser pages that may call, WebSockets included, beside the server's own.";
    server.trusted_proxies: None, "Proxies whose `X-Forwarded-For` and `Forwarded` tell the client's address. From anyone else they are ignored.";
    server.compression: None, "Whether answers are compressed (gzip) for clients that ask for it.";

    limits.connections: Whole(1, RATE_MAX), "Connections at once, on all ports together.";
    limits.connections_per_address: Whole(0, RATE_MAX), "Connections at once of one address, on all ports together; 0 is off.";
    limits.anonymous_requests_per_second: Whole(0, RATE_MAX), "Requests a second of one address without a valid signature or token; 0 is off. Health checks never count.";
    limits.anonymous_burst: Whole(1, RATE_MAX), "How many of those may come at once.";
    limits.address_requests_per_second: Whole(0, RATE_MAX), "Requests a second of one address, whoever calls; 0 is off.";
    limits.node_events_per_second: Whole(0, 10 * RATE_MAX), "Events a second of one node; 0 is off.";
    limits.session_events_per_minute: Whole(0, RATE_MAX), "Events a minute of one session of an agent; 0 is off.";
    limits.body_bytes: Whole(KIB, 64 * MIB), "Bytes of a request's body.";
    limits.payload_bytes: Whole(256, 16 * MIB), "Bytes of an event's payload. Not more than `limits.body_bytes`.";
    limits.request_events: Whole(1, 10_000), "Events in one request.";
    limits.headers: Whole(8, 1_000), "Headers of a request.";
    limits.header_bytes: Whole(8 * KIB, MIB), "Bytes of a request's header section.";
    limits.header_read_timeout_ms: Whole(100, HOUR_MS), "How long a request's header section may take to arrive, in milliseconds.";
    limits.body_read_timeout_ms: Whole(100, HOUR_MS), "How long a request's body may take to arrive, in milliseconds.";
    limits.idle_timeout_ms: Whole(100, HOUR_MS), "How long a connection may wait for its next request, in milliseconds.";
    limits.write_stall_timeout_ms: Whole(100, HOUR_MS), "How long a client may take nothing of what is sent to it, in milliseconds. A reader that is merely slow is not closed.";
    limits.ws_message_bytes: Whole(256, MIB), "Bytes of a message that a WebSocket client of `/` or `/ws` sends.";
    limits.ws_messages_per_second: Whole(0, RATE_MAX), "Messages a second that a WebSocket client of `/` or `/ws` sends; 0 is off.";
    limits.ws_ping_interval_ms: Whole(100, HOUR_MS), "How often a WebSocket client is pinged, in milliseconds.";
    limits.agents_ping_interval_ms: Whole(100, HOUR_MS), "How often a WebSocket of an agent is pinged, in milliseconds.";
    limits.ws_pong_timeout_ms: Whole(100, HOUR_MS), "How long the pong may take, in milliseconds. Not more than `limits.ws_ping_interval_ms`.";
    limits.ws_patterns: Whole(1, 10_000), "Names and patterns that one connection may subscribe to.";
    limits.stream_message_bytes: Whole(256, 64 * MIB), "Bytes of a message that a WebSocket client of `/api/v1/stream`, or an agent, sends.";
    limits.stream_messages_per_second: Whole(0, RATE_MAX), "Messages a second that a WebSocket client of `/api/v1/stream` sends; 0 is off.";
    limits.stream_publishes: Whole(1, 100_000), "Events of one WebSocket that may be on their way into the log at once.";
    limits.stream_unauthenticated: Whole(0, 100_000), "WebSockets that may be open and have not said yet who they are.";
    limits.stream_unauthenticated_message_bytes: Whole(256, MIB), "Bytes of the first message of a WebSocket that has still to say who it is.";
    limits.stream_authentication_timeout_ms: Whole(100, HOUR_MS), "How long a WebSocket has to say who it is, in milliseconds.";
    limits.stream_position_interval_ms: Whole(100, HOUR_MS), "How often a stream whose filter passes events over is told how far it is, in milliseconds.";
    limits.dead_letters: Whole(1, 10 * RATE_MAX), "Dead letters of one reactor or endpoint. With so many it takes no new events until some are retried or discarded: none is lost, and there is an end to them.";
    limits.queue_requests: Whole(1, RATE_MAX), "Requests that wait to be written; the next is answered 503 at once.";
    limits.queue_bytes: Whole(MIB, 16 * GIB), "Bytes that wait to be written; the next request is answered 503 at once. Not less than `limits.body_bytes`.";
    limits.ring_events: Whole(16, 16 * RATE_MAX), "Recent events that are kept in memory for live readers; older ones are read from disk.";
    limits.ring_bytes: Whole(MIB, 16 * GIB), "Bytes of recent events that are kept in memory for live readers.";

    storage.data_dir: None, "The folder of everything that is kept.";
    storage.database_url: None, "The database file. Unset: `nexus-log.db` in `storage.data_dir`.";

    retention.age_hours: Whole(0, 1_000_000), "Hours that an event is kept at least; 0 is for ever. Of `retention.age_hours`, `retention.events` and `retention.bytes`, each that is set removes what is beyond it; with none, everything is kept.";
    retention.events: Whole(0, 1_000_000 * RATE_MAX), "Events that are kept at least; 0 is all.";
    retention.bytes: Whole(0, GIB * GIB), "Bytes that the database may use, idempotency keys and everything else beside the log included, before the oldest events go; 0 is any number. Not less than 16 MiB. The file does not shrink: what is free in it is used again.";
    retention.force: None, "Whether events go also when a durable cursor, an open claim, a reactor, a delivery or a dead letter still needs them. Otherwise they wait, and `/health/detailed` says for whom.";
    retention.interval_ms: Whole(100, 24 * HOUR_MS), "How often Nexus looks for events that may go, in milliseconds.";

    auth.secret: None, "The secret of the node `default`. It also signs what is sent to nodes that have no secret of their own.";
    auth.admin_token: None, "An operator's bearer token with every scope. `nexusd dev` takes the secret for it when there is none.";
    auth.signed_get: None, "Whether a GET that is signed over the empty body opens the routes that read.";

    auth.jwt_secret: None, "The key of users' JSON Web Tokens that are signed with HS256. Unset: none of that kind counts.";
    auth.jwks_url: None, "Where the identity provider publishes the keys of tokens that are signed with RS256, ES256 or EdDSA. Unset: none of those kinds counts.";
    auth.jwt_issuer: None, "Who must have made a JSON Web Token (`iss`). Unset: whoever has a key.";
    auth.jwt_audience: None, "For whom a JSON Web Token must have been made (`aud`). Unset: for anybody.";

    vault.key: None, "The key that secrets in the log are sealed with: 64 hexadecimal digits, as `nexusd keys generate` prints them. Unset: nothing can be sealed, and `serve` refuses to start when something is; `nexusd dev` makes one and keeps it in `storage.data_dir`.";
    vault.previous_key: None, "The key before it, until everything is sealed with the new one: `nexusd keys rotate`.";

    events.open: None, "Whether any topic that is not reserved is a valid event, declared or not.";

    reactors.payment_to_mint: None, "Whether a payment asks the factory to mint.";
    reactors.mint_to_notify: None, "Whether the outcome of a mint is told to the nodes that wait for it.";
    reactors.retry.attempts: Whole(1, 100), "How often a reaction is tried before it becomes a dead letter, the first time included.";
    reactors.retry.first_ms: Whole(1, 24 * HOUR_MS), "The wait after the first failure, in milliseconds.";
    reactors.retry.factor: Real(1.0, 100.0), "By how much each wait is longer than the one before.";
    reactors.retry.jitter: Real(0.0, 1.0), "By which part of itself a wait is made longer or shorter at random.";
    reactors.factory_url: None, "The factory. Unset: a payment emits `mint.requested` and calls nobody.";
    reactors.factory_key: None, "The bearer key of the factory.";
    reactors.registry_url: None, "The registry that knows where nodes are.";
    reactors.registry_key: None, "The bearer key of the registry.";

    outbound.allow_cidrs: None, "Private and local ranges that may be called, also at addresses that came by the API or from the registry.";
    outbound.proxy: None, "The HTTP proxy that calls go through, `http://user:password@host:port`. It looks names up itself, so it has to refuse private addresses too. `HTTP_PROXY` and the like are not read.";
    outbound.no_proxy: None, "What is called past the proxy: addresses, ranges, and names that stand for all below them. This machine always is.";
    outbound.connect_timeout_ms: Whole(10, HOUR_MS), "How long a connection to the outside may take, the lookup of its name included, in milliseconds.";

    alerts.url: None, "Where people are told of dead letters, of reactors that fall behind or fail, and of a disk that is full; one message for each cause and quarter hour, and one when it is over. Unset: only in the log of the process.";
    alerts.format: None, "How alerts are written; `auto` goes by the host of the address. `DISCORD_WEBHOOK_URL` makes it `discord`.";
    alerts.interval_ms: Whole(100, HOUR_MS), "How often Nexus looks whether there is something to tell, in milliseconds.";
    alerts.lag_events: Whole(1, 1_000_000 * RATE_MAX), "A reactor or endpoint that is so many events behind, and more than a minute before, is told of.";
    alerts.error_rate: Real(0.0, 1.0), "A reactor or endpoint is told of when this part of its attempts failed within five minutes: `0.5` is half of them.";
    alerts.attempts: Whole(1, RATE_MAX), "How many attempts it must have made in these five minutes for `alerts.error_rate` to count.";

    agents.port: Whole(0, 65_535), "The port of the face for agents, on the address of `server.host`; 0 puts it under `/agents` on `server.port`.";
    agents.auth: None, "Who may act as a session: whoever says so, or whoever has its token.";
    agents.grace_s: Whole(0, GRACE_MAX.as_secs()), "How long a session whose last connection ended keeps its work, in seconds.";
    agents.silence_s: Whole(1, 3_600), "How long the work of a connected session is held without a sign of life from it, in seconds. More than `limits.agents_ping_interval_ms`.";
    agents.lease_s: Whole(LEASE_S_MIN, LEASE_S_MAX), "How long work is held that a session without a connection claimed, in seconds, unless it asks for another time (`lease_seconds`).";
    agents.completed_days: Whole(1, 3_650), "How long it is remembered that work was completed, in days: until then nobody can claim it again.";
    agents.stranger_days: Whole(1, 3_650), "How long a session that nobody registered is remembered when nothing is heard of it, in days.";
    agents.messages_kept: Whole(1, RATE_MAX), "Messages that stay as files: of those to everybody, and of those to each session. Of what is beyond it the oldest go, but none that its session has still to receive.";
    agents.sessions: Whole(1, RATE_MAX), "Sessions that are known.";
    agents.claims: Whole(1, 10 * RATE_MAX), "Claims that are held at once.";
    agents.claims_per_session: Whole(1, 512), "Claims that one session holds at once.";
    agents.public_url: None, "Where agents reach the face, as the registry is told. Unset: `http://localhost` with its port.";
    agents.coordination_path: None, "The folder of the files of sessions (`SSOT.json`, `claude_sessions.json`, `heartbeats/`, `messages/`). Unset: `coordination` in `storage.data_dir`.";
    agents.registry_url: None, "The registry that Nexus registers with. Unset: none.";
    agents.chat_url: None, "The WebSocket of the chat that is told of events, and whose messages are published. Unset: none.";
    agents.chat_topics: None, "Names, topics and patterns of what the chat is told.";

    hub.enabled: None, "Whether there is a hub: `/mcp`, the actions, and the servers, tools and jobs of the API.";
    hub.stdio_users: None, "Whether users may add servers that are programs. They run with the rights of Nexus. An operator may always.";
    hub.stdio_programs: None, "Programs that an operator may have started as servers, with any arguments, beside packages of `npx` and `uvx` with an exact version. No shell.";
    hub.stdio_path: None, "The `PATH` of servers that are programs: where they find `npx`, `uvx` and others.";
    hub.npx: None, "What `npx` is called on this machine.";
    hub.uvx: None, "What `uvx` is called on this machine.";
    hub.brave_key: None, "The key of Brave Search. Set: the system server `brave` is on.";
    hub.maps_key: None, "The key of Google Maps. Set: the system server `maps` is on.";
    hub.maps_url: None, "The address of the server of Google Maps. Unset: Google's own.";
    hub.github_token: None, "The token for GitHub. Set: the system server `github` is on, and whoever may call tools acts with this token.";
    hub.github_url: None, "The address of the server of GitHub. Unset: GitHub's own.";
    hub.namespaces: None, "Sets of servers that `/mcp/{name}` shows: a name, and the aliases of the servers in it.";
    hub.servers: Whole(4, 100_000), "Servers altogether.";
    hub.servers_per_user: Whole(0, 100_000), "Servers of one user.";
    hub.connections: Whole(1, 100_000), "Connections to servers at once.";
    hub.processes: Whole(0, 10_000), "Servers that are programs and run at once.";
    hub.sync_interval_s: Whole(5, 86_400), "How often each server is asked what it offers, in seconds, give or take a quarter. What changes meanwhile, servers tell by themselves.";
    hub.empty_list_believed_s: Whole(0, 86_400), "How long a server's list that was full has to come empty, again and again, before that is believed, in seconds. Until then its tools stay. Asked for by hand, the second time is enough.";
    hub.call_timeout_s: Whole(1, 600), "How long a call may take whose caller waits for it, in seconds.";
    hub.job_timeout_s: Whole(1, 600), "How long a job may take, in seconds.";
    hub.user_calls_per_minute: Whole(0, RATE_MAX), "Calls a minute of one user; 0 is off.";
    hub.tool_calls_per_minute: Whole(0, RATE_MAX), "Calls a minute of one user to one tool; 0 is off.";
    hub.subscriptions_per_session: Whole(1, 100_000), "Resources that one session of MCP is subscribed to.";
    hub.subscriptions_per_user: Whole(1, 100_000), "Resources that all sessions of one user are subscribed to.";
    hub.subscriptions: Whole(1, 1_000_000), "Resources that all sessions are subscribed to.";
    hub.session_bytes: Whole(MIB, 16 * GIB), "Bytes that are held for one session of MCP: what it asks, and answers and questions that its client has not taken. An answer that finds no room is told as an error.";
    hub.caller_bytes: Whole(MIB, 16 * GIB), "Bytes that are held for all sessions of one caller.";
    hub.sessions_bytes: Whole(MIB, 16 * GIB), "Bytes that are held for all sessions.";
    hub.promote_after_ms: Whole(10, HOUR_MS), "A call that takes longer becomes a job, for clients that can follow one, in milliseconds.";
    hub.jobs: Whole(1, 10_000), "Jobs that run at once; others wait.";
    hub.jobs_per_user: Whole(1, 10_000), "Jobs of one user that are not finished; the next is answered 429.";
    hub.job_days: Whole(1, 3_650), "Days that a finished job is kept.";
    hub.allowed_hosts: None, "Names by which the server may be called at `/mcp`, beside addresses and those of this machine. Unset: any, unless `server.host` is this machine alone.";
    hub.public_url: None, "Where clients reach the server, as `/mcp` tells them. Unset: as they called it.";
    hub.authorization_servers: None, "The addresses of who gives out tokens, for MCP clients that ask for them.";

    log.level: None, "The least level that is written to the log of the process.";
    log.format: None, "How its lines are written: JSON objects, or for people.";
}
