//! `nexusd tail`: print events as they happen, one JSON object a line.

use std::io::{self, Write};

use nexus::{Error, Tail, environment::Environment};

use super::{Failure, healthcheck::local_address, operator::token};
use crate::arguments::TailOptions;

pub(crate) fn tail(options: &TailOptions, environment: &Environment) -> Result<(), Failure> {
    let address = options
        .address
        .clone()
        .unwrap_or_else(|| local_address(options.config.as_ref(), environment));
    let unreachable = |error: nexus::TailError| Failure::Unreachable {
        detail: nexus::chain(&error),
    };
    let token = token(environment)?;
    let mut tail = Tail::connect(&address, &token, &options.events, options.from.as_deref())
        .map_err(unreachable)?;
    // Not among the events, so that those can be piped.
    eprintln!("following {} at {address}", options.events.join(", "));
    let mut left = options.count.unwrap_or(u64::MAX);
    while left > 0 {
        let frame = tail.next_frame().map_err(unreachable)?;
        match writeln!(io::stdout(), "{frame}") {
            Ok(()) => left -= 1,
            // Whoever was reading has had enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(source) => {
                let what = "writing to standard output";
                return Err(Error::System { what, source }.into());
            }
        }
    }
    Ok(())
}
