//! The hub of a Nexus that runs somewhere, over the standard streams of this process: for clients of MCP that
//! start a command.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
};

use nexus_auth::Secret;
use nexus_hub::BridgeOptions;
use nexus_outbound::{Client, OutboundOptions};
use url::Url;

use crate::Error;

/// Relays between standard input and output and the endpoint at an address, until the input ends.
///
/// # Errors
/// [`Error::Outbound`] when no client can be set up, [`Error::System`] when a stream fails.
pub async fn bridge(endpoint: Url, token: Option<Secret>) -> Result<(), Error> {
    let client = Client::new(&OutboundOptions::default()).map_err(Error::Outbound)?;
    let failed = |source| Error::System {
        what: "relaying over the standard streams",
        source,
    };
    let input = stream(io::stdin().as_fd()).map_err(failed)?;
    let output = stream(io::stdout().as_fd()).map_err(failed)?;
    let options = BridgeOptions::new(endpoint, token);
    let relayed = nexus_hub::bridge(client, options, input, output).await;
    match relayed {
        // Whoever was reading has had enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        relayed => relayed.map_err(failed),
    }
}

/// A stream of the process, read and written without a buffer of the standard library between.
fn stream(stream: BorrowedFd<'_>) -> io::Result<tokio::fs::File> {
    Ok(File::from(stream.try_clone_to_owned()?).into())
}
