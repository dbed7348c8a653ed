//! `nexusd mcp`: the hub of a running daemon over standard input and output, for clients that start a command.

use std::time::Duration;

use nexus::{Secret, environment::Environment};

use super::{Failure, healthcheck::local_address, operator, runtime};
use crate::arguments::McpOptions;

/// The variable with the token of whoever uses the hub.
const TOKEN: &str = "NEXUS_TOKEN";
/// How long what is still being done may take once the client is gone.
const END_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) fn mcp(options: &McpOptions, environment: &Environment) -> Result<(), Failure> {
    let endpoint = endpoint(options, environment)?;
    let token = match environment.get(TOKEN) {
        Some(token) => token.to_owned(),
        None => operator::token(environment)?,
    };
    // Standard output is the client's.
    eprintln!("nexusd: relaying to {endpoint}");
    let runtime = runtime()?;
    let relayed = runtime.block_on(nexus::bridge(endpoint, Some(Secret::new(token))));
    // A read of standard input cannot be called off.
    runtime.shutdown_timeout(END_TIMEOUT);
    Ok(relayed?)
}

/// The address of the endpoint.
fn endpoint(options: &McpOptions, environment: &Environment) -> Result<nexus::Url, Failure> {
    let base = match &options.url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => {
            let address = local_address(options.config.as_ref(), environment);
            format!("http://{address}/mcp")
        }
    };
    let endpoint = match &options.namespace {
        Some(namespace) => format!("{base}/{namespace}"),
        None => base,
    };
    endpoint.parse().map_err(|error| {
        let detail = format!("{endpoint} is no address of a hub: {error}");
        Failure::Refused { detail }
    })
}
