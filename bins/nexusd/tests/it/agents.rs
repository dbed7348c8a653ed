//! Agents as their users meet them: sessions in processes of their own, over HTTP and WebSocket.

#[path = "agents/agent.rs"]
mod agent;
#[path = "agents/bus.rs"]
mod bus;
#[path = "agents/clock.rs"]
mod clock;
#[path = "agents/door.rs"]
mod door;
#[path = "agents/examples.rs"]
mod examples;
#[path = "agents/files.rs"]
mod files;
#[path = "agents/matrix.rs"]
mod matrix;
#[path = "agents/network.rs"]
mod network;
#[path = "agents/origins.rs"]
mod origins;
#[path = "agents/processes.rs"]
mod processes;
#[path = "agents/socket.rs"]
mod socket;
#[path = "agents/stopped.rs"]
mod stopped;
#[path = "agents/table.rs"]
mod table;

use agent::Agent;
use bus::{Bus, Identity, Mode, OPERATOR};
use door::{DOORS, Door};
use network::Network;
use socket::Socket;
