//! The files that agents shared before there was a bus, kept in step with it: who is there, heartbeats, messages.
//!
//! They are told by a cursor over the log that the log keeps, and written so that a reader finds each whole at
//! every moment, whoever ends the process when: what happened is written under names that are found again, how
//! everything stands is written over what was found, and only then it is noted how far they are. What the bus
//! does not know stays as others wrote it.
//!
//! In reading order: an object of which single members are changed (`document`), what is said of a session
//! (`card`), whose entry is whose (`entries`), the two files that others write too (`ssot`, `shared`), the files
//! that are written once (`note`, `name`) and how many of them stay (`messages`), the disk (`disk`, `folder`), and what is told when (`follower`,
//! `place`, `service`).

mod card;
mod disk;
mod document;
mod entries;
mod failpoint;
mod folder;
mod follower;
mod messages;
mod name;
mod note;
mod options;
mod place;
pub(crate) mod roster;
mod service;
mod shared;
mod ssot;

#[cfg(test)]
mod killed;

pub use options::FilesOptions;
pub use service::FilesService;
