//! The shortest way to a configuration, for programs that embed Nexus.

use super::{Config, Mode, Sources};
use crate::{Error, environment::Environment};

impl Config {
    /// Reads these variables, and in [`Mode::Serve`] `nexus.toml` of the working folder if it is there;
    /// warnings are logged.
    ///
    /// # Errors
    /// [`Error::Config`] with every problem.
    pub fn from_environment(mode: Mode, environment: Environment) -> Result<Self, Error> {
        let sources = Sources {
            file: None,
            environment,
            mode,
        };
        let loaded = Self::load(sources).map_err(Error::Config)?;
        for warning in &loaded.warnings {
            tracing::warn!(%warning, "the configuration is weak");
        }
        Ok(loaded.config)
    }
}
