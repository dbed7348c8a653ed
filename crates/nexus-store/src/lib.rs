//! The log in a database: SQLite now, Postgres behind the same two traits later.
#![deny(missing_docs)]
