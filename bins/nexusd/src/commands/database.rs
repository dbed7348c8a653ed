//! `nexusd migrate` and `nexusd verify`: what is done with the database while no daemon runs.

use nexus::{config::Mode, environment::Environment};

use super::{Failure, load, runtime};
use crate::arguments::{MigrateOptions, ServeOptions};

pub(crate) fn migrate(options: &MigrateOptions, environment: &Environment) -> Result<(), Failure> {
    let loaded = load(Mode::Serve, options.config.as_ref(), environment)?;
    let version = runtime()?.block_on(nexus::database::migrate(&loaded.config, options.to))?;
    println!("the database has schema version {version}");
    Ok(())
}

pub(crate) fn verify(options: &ServeOptions, environment: &Environment) -> Result<(), Failure> {
    let loaded = load(Mode::Serve, options.config.as_ref(), environment)?;
    let verified = runtime()?.block_on(nexus::database::verify(&loaded.config))?;
    println!(
        "the chain holds: {} events in {} batches, up to {}-{}",
        verified.last.get() - verified.pruned_through.get(),
        verified.batches,
        verified.epoch,
        verified.last
    );
    Ok(())
}
