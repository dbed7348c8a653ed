//! The event on the wire: how the faces that are Nexus's own write one, and read one that is to be
//! published.

mod agent;
mod causes;
mod cloud;
mod read;
mod text;
mod write;

pub use agent::write_agent_event;
pub use cloud::{read_cloud_event, read_cloud_event_attributes, write_cloud_event};
pub use read::{EVENT_ID_BYTES_MAX, is_traceparent, read_event};
pub use text::{write_decimal, write_json_string, write_position, write_time, write_uuid};
pub use write::{write_event, write_event_members};
