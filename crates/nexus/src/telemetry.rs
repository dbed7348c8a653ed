//! The log of the process: JSON lines for machines, or lines for people.
