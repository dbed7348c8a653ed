//! Who is asking and what they may do: signatures, nodes, tokens, permissions.
#![deny(missing_docs)]
