//! What the tests of several crates share: contract suites, oracles, processes, clients.
#![deny(missing_docs)]

pub mod contract;
pub mod oracle;
pub mod pages;
pub mod program;
pub mod receiver;
