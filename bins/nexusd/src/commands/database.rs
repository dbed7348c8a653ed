//! `nexusd migrate` and `nexusd verify`: brings the database to a schema, and proves what is in it.

use nexus::{config::Mode, environment::Environment};

use super::{Failure, load, runtime};
use crate::arguments::{MigrateOptions, VerifyOptions};

pub(crate) fn migrate(options: &MigrateOptions, environment: &Environment) -> Result<(), Failure> {
    if options.to == Some(0) && !options.remove_the_log {
        return Err(Failure::Unconfirmed {
            what: "going to version 0 removes every event and everything else, for good".to_owned(),
            flag: "--remove-the-log",
        });
    }
    let loaded = load(Mode::Serve, options.config.as_ref(), environment)?;
    let version = runtime()?.block_on(nexus::database::migrate(&loaded.config, options.to))?;
    println!("the database has schema version {version}");
    Ok(())
}

pub(crate) fn verify(options: &VerifyOptions, environment: &Environment) -> Result<(), Failure> {
    let verified = match &options.file {
        Some(file) => runtime()?.block_on(nexus::database::verify_file(file))?,
        None => {
            let loaded = load(Mode::Serve, options.config.as_ref(), environment)?;
            runtime()?.block_on(nexus::database::verify(&loaded.config))?
        }
    };
    let (epoch, pruned) = (verified.epoch, verified.pruned_through);
    println!(
        "the chain holds: {} events in {} batches, up to {epoch}-{}",
        verified.last.get() - pruned.get(),
        verified.batches,
        verified.last
    );
    if pruned.get() > 0 {
        println!(
            "the proof begins behind {epoch}-{pruned}: retention has removed everything up to there"
        );
    }
    Ok(())
}
