//! How servers that people add are bounded, and what the system servers are given.

use std::fmt;

use nexus_auth::Secret;
use url::Url;

/// The name of a server has at most this many characters.
pub const SERVER_NAME_CHARS_MAX: usize = 64;
/// An address has at most this many bytes.
pub const URL_BYTES_MAX: usize = 2_048;
/// A server is sent at most this many headers of its own.
pub const HEADERS_MAX: usize = 16;
/// The value of a header, and of a variable, has at most this many bytes.
pub const VALUE_BYTES_MAX: usize = 4_096;
/// A program has at most this many arguments.
pub const ARGS_MAX: usize = 64;
/// An argument has at most this many bytes.
pub const ARG_BYTES_MAX: usize = 4_096;
/// A program has at most this many variables of its own.
pub const VARIABLES_MAX: usize = 32;
/// The name of a variable has at most this many characters.
pub const VARIABLE_CHARS_MAX: usize = 64;
/// At most this many calls a minute may be allowed.
pub const RATE_LIMIT_MAX: u32 = 100_000;
/// Calls a minute of a server that says nothing else.
pub const RATE_LIMIT_DEFAULT: u32 = 60;

/// What holds for all servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryOptions {
    /// Whether users may add servers that are programs. An operator may always.
    pub stdio_users: bool,
    /// Programs that an operator may have started with any arguments, beside what everybody may.
    pub programs: Vec<String>,
    /// What `npx` is called on this machine.
    pub npx: String,
    /// What `uvx` is called on this machine.
    pub uvx: String,
    /// At most this many servers of one user.
    pub servers_per_user_max: usize,
    /// At most this many servers altogether.
    pub servers_max: usize,
    /// What the system servers are given.
    pub system: SystemOptions,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            stdio_users: false,
            programs: Vec::new(),
            npx: "npx".into(),
            uvx: "uvx".into(),
            servers_per_user_max: 50,
            servers_max: 1_000,
            system: SystemOptions::default(),
        }
    }
}

/// What the system servers are given. One that needs a key is on when it has it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SystemOptions {
    /// The key of Brave Search.
    pub brave_key: Option<Secret>,
    /// The key of Google Maps.
    pub maps_key: Option<Secret>,
    /// The token for GitHub.
    pub github_token: Option<Secret>,
    /// Where Google Maps is, if not where it usually is.
    pub maps_url: Option<Url>,
    /// Where GitHub is, if not where it usually is.
    pub github_url: Option<Url>,
}

impl fmt::Debug for SystemOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemOptions")
            .field("has_brave_key", &self.brave_key.is_some())
            .field("has_maps_key", &self.maps_key.is_some())
            .field("has_github_token", &self.github_token.is_some())
            .finish_non_exhaustive()
    }
}
