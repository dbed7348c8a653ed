//! `nexusd keys`: make secrets.

use nexus::{Random, Secret};

use super::Failure;
use crate::arguments::{KeysCommand, KeysOptions};

pub(crate) fn keys(options: &KeysOptions) -> Result<(), Failure> {
    let KeysCommand::New { standard } = options.command;
    let random = Random::system();
    let secret = if standard {
        Secret::generate_standard(&random)
    } else {
        Secret::generate(&random)
    };
    println!("{}", secret.expose());
    Ok(())
}
