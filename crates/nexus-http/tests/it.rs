//! The server over real sockets, with requests written byte by byte.

#[cfg(test)]
mod it {
    mod bodies;
    mod connections;
    mod deadlines;
    mod framing;
    mod logs;
    mod problems;
    mod rates;
    mod resources;
    mod routing;
    mod streams;
    mod support;
    mod upgrades;
}
