//! What can be said on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The event hub that services and AI agents run on.
#[derive(Debug, Parser)]
#[command(name = "nexusd", version, about, after_help = EXIT_CODES)]
// Else `nexusd --config FILE check` would check another file, and not say so.
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) serve: ServeOptions,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

const EXIT_CODES: &str = "\
Exit codes:
   0  ended as it should
   1  could not end in time, or failed otherwise
   2  the command line is wrong
  69  the address cannot be listened on, or nobody answers there
  74  the storage failed, or is not what it should be; what was acknowledged is safe
  75  another process holds the data directory
  78  the configuration is wrong";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run for work on this machine: loopback only, data in ./data, human logs
    ///
    /// Makes a secret and a vault key once, keeps them in the data folder, and prints commands to paste.
    Dev(DevOptions),
    /// Run for others to use: closed by default (this is what runs without a command)
    ///
    /// SIGTERM and SIGINT end it in order, within 25 seconds; a second one ends it at once. SIGHUP lets it read
    /// its configuration again.
    Serve(ServeOptions),
    /// Read the configuration as `serve` does, say what is wrong with it, and change nothing
    Check(ServeOptions),
    /// Bring the database to this version's schema, or to an older one; no daemon may run
    Migrate(MigrateOptions),
    /// Walk the whole log, or a backup, and check its hash chain; the daemon may run
    Verify(VerifyOptions),
    /// Copy the log into one file; the daemon may run
    Backup(BackupOptions),
    /// Make a backup the log; no daemon may run
    Restore(RestoreOptions),
    /// Make secrets and keys, and replace the key that secrets in the log are sealed with
    ///
    /// `rotate` shows a daemon that runs the token of NEXUS_ADMIN_TOKEN, else NEXUS_SECRET, else what `dev` keeps.
    Keys(KeysOptions),
    /// Ask a running daemon whether it is ready; exit 0 if it is
    Healthcheck(HealthcheckOptions),
    /// Print events as they happen, one JSON object a line
    ///
    /// Reads with the token of NEXUS_ADMIN_TOKEN, else NEXUS_SECRET, else what `dev` keeps in the data folder.
    Tail(TailOptions),
    /// Relay the tools of a running daemon over standard input and output, for MCP clients that start a command
    ///
    /// Acts with the token of NEXUS_TOKEN, else NEXUS_ADMIN_TOKEN, else NEXUS_SECRET, else what `dev` keeps.
    Mcp(McpOptions),
}

#[derive(Debug, Args)]
pub(crate) struct DevOptions {
    /// The configuration file [default: none, also if there is a nexus.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Default, Args)]
pub(crate) struct ServeOptions {
    /// The configuration file [default: nexus.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateOptions {
    /// The configuration file [default: nexus.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The schema version to go to, also backwards; 0 needs `--remove-the-log` [default: the newest]
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) to: Option<i64>,
    /// With `--to 0`: removes every event and everything else, for good
    #[arg(long)]
    pub(crate) remove_the_log: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyOptions {
    /// A backup [default: the log of the daemon]
    #[arg(value_name = "FILE", conflicts_with = "config")]
    pub(crate) file: Option<PathBuf>,
    /// The configuration file [default: nexus.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BackupOptions {
    /// What to make; it has its name only when it is whole and was checked
    #[arg(value_name = "FILE")]
    pub(crate) to: PathBuf,
    /// The daemon's configuration file [default: nexus.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Replace a file that has this name
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreOptions {
    /// The backup
    #[arg(value_name = "FILE")]
    pub(crate) from: PathBuf,
    /// The daemon's configuration file [default: nexus.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The data folder to restore into [default: that of the configuration]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) into: Option<PathBuf>,
    /// Replace the log that is there; it is kept beside the new one
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KeysOptions {
    #[command(subcommand)]
    pub(crate) command: KeysCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Print a new secret: 64 hexadecimal digits
    New {
        /// In the form of Standard Webhooks, `whsec_…`
        #[arg(long)]
        standard: bool,
    },
    /// Print a new key for VAULT_ENCRYPTION_KEY: 64 hexadecimal digits
    Generate,
    /// Seal every secret in the log with the configured key; the daemon may run
    Rotate(RotateOptions),
    /// For a log whose vault key is lost: remove every secret that is sealed in it
    Forget(ForgetOptions),
}

#[derive(Debug, Args)]
pub(crate) struct RotateOptions {
    /// The configuration file [default: nexus.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where the daemon listens, if one runs [default: where its configuration says]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) address: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ForgetOptions {
    /// The configuration file [default: nexus.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Confirms that secrets of nodes and endpoints that were made through the API are removed, for good
    #[arg(long)]
    pub(crate) remove_every_secret: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HealthcheckOptions {
    /// Where the daemon listens, http://HOST:PORT [default: where its configuration says]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The daemon's configuration file [default: nexus.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TailOptions {
    /// Names, topics or patterns of events: PAYMENT_RECEIVED, payment.received, payment.*
    #[arg(default_value = ">", value_name = "EVENT")]
    pub(crate) events: Vec<String>,
    /// Where the daemon listens [default: where its configuration says]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) address: Option<String>,
    /// The daemon's configuration file [default: nexus.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Begin behind this position, or with `earliest` [default: what happens next]
    #[arg(long, value_name = "POSITION")]
    pub(crate) from: Option<String>,
    /// End after so many events
    #[arg(long, value_name = "COUNT")]
    pub(crate) count: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct McpOptions {
    /// The endpoint [default: `/mcp` where the daemon's configuration says it listens]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The daemon's configuration file [default: nexus.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// One server, by its alias, or a set of them [default: everything]
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}
