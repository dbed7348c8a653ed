//! The log in SQLite, from outside: the contract of every backend, and what happens when things break.

mod it {
    mod child;
    mod contract;
    mod crash;
    mod damage;
    mod disk_full;
    mod opening;
    mod sync_failure;
    mod verifying;
}
