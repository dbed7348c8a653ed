//! The log in SQLite, from outside: the contract of every backend, and what happens when things break.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what goes wrong in a test ends it"
)]

mod it {
    mod backup;
    mod child;
    mod contract;
    mod crash;
    mod damage;
    mod disk_full;
    mod opening;
    mod restoring;
    mod sync_failure;
    mod upkeep;
    mod verifying;
}
