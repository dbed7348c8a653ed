//! `nexusd check`: read the configuration, say what is wrong with it, and change nothing.

use nexus::{config::Mode, environment::Environment};

use super::{Failure, load};
use crate::arguments::ServeOptions;

pub(crate) fn check(options: &ServeOptions, environment: &Environment) -> Result<(), Failure> {
    load(Mode::Serve, options.config.as_ref(), environment)?;
    println!("the configuration is valid");
    Ok(())
}
