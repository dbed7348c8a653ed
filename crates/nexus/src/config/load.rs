//! Reads the sources of a configuration in their order, noting where each setting came from.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use super::{
    Mode, dotenv,
    fingerprint::Lists,
    foreign::Written,
    given::{self, Entry, Given},
    problem::{ConfigProblem, Problems, nearest},
    sections::{Config, Storage},
    setting::Setting,
    settings::SETTINGS,
};
use crate::environment::Environment;

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "nexus.toml";
/// What stands behind a variable that names a file.
pub(crate) const FILE_SUFFIX: &str = "_FILE";
/// A configuration file, or a file that holds a secret, is not larger than this.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Keys that hold lists of entries.
pub(super) const LISTS: [&str; 7] = [
    "nodes",
    "tokens",
    "events",
    "events.declared",
    "reactors",
    "reactors.rules",
    "endpoints",
];

/// Where a configuration comes from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// What the daemon was asked to do.
    pub mode: Mode,
    /// The file that was named. Without it `serve` reads `nexus.toml` in the working folder if it is there.
    pub file: Option<PathBuf>,
    /// Variables and working folder of the process.
    pub environment: Environment,
}

impl Sources {
    /// Where a daemon of these sources is reached from this machine. What is wrong with the rest of its
    /// configuration does not matter to whoever only asks it something.
    #[must_use]
    pub fn local_address(self) -> SocketAddr {
        let mut loader = Loader::new(self);
        loader.dotenv();
        loader.file();
        loader.setting_variables();
        loader.named_variables();
        let server = &loader.config.server;
        let host = match server.host {
            host if !host.is_unspecified() => host,
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        SocketAddr::new(host, server.port)
    }

    /// Where a daemon of these sources keeps its log. What a daemon cannot run without need not be there:
    /// whoever makes a backup is not told its secrets.
    ///
    /// # Errors
    /// Every problem of what was written.
    pub fn storage(self) -> Result<Storage, Vec<ConfigProblem>> {
        let mut loader = Loader::new(self);
        loader.dotenv();
        loader.file();
        loader.setting_variables();
        loader.named_variables();
        if !loader.problems.is_empty() {
            return Err(loader.problems.into_vec());
        }
        let mut storage = loader.config.storage;
        storage.below(&loader.working_dir);
        Ok(storage)
    }
}

/// A configuration that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is weak or has no effect.
    pub warnings: Vec<ConfigProblem>,
}

impl Config {
    /// Reads and checks a configuration: defaults, then the file, then `NEXUS__…` variables, then the named
    /// variables, each winning over those before it.
    ///
    /// # Errors
    /// Every problem there is, those of the file first, in the order of its lines.
    pub fn load(sources: Sources) -> Result<Loaded, Vec<ConfigProblem>> {
        let mut loader = Loader::new(sources);
        loader.dotenv();
        loader.file();
        loader.setting_variables();
        loader.named_variables();
        loader.node_variables();
        loader.permissions();
        loader.finish()
    }
}

/// What has been read so far.
pub(crate) struct Loader {
    pub(crate) config: Config,
    pub(crate) environment: Environment,
    pub(crate) mode: Mode,
    pub(crate) problems: Problems,
    pub(crate) warnings: Problems,
    /// Where each setting, node and token was set, for problems that show only later.
    pub(crate) origins: BTreeMap<String, String>,
    /// Variables that an entry of the file names, so that nobody else takes them.
    pub(crate) claimed: BTreeSet<String>,
    /// Names and patterns of what someone may read or publish, with their places.
    pub(crate) rights: Vec<(String, Vec<String>)>,
    /// The entries of lists, for the fingerprint.
    pub(crate) lists: Lists,
    /// The rules and endpoints of the configuration as they were written, in their order.
    pub(crate) written_rules: Vec<Written>,
    /// The mappings of each node of the file, as its nodes are in their order.
    pub(crate) written_mappings: Vec<Vec<Written>>,
    pub(crate) written_endpoints: Vec<Written>,
    pub(crate) working_dir: PathBuf,
    pub(crate) file: Option<PathBuf>,
}

impl Loader {
    fn new(sources: Sources) -> Self {
        Self {
            config: Config::defaults(sources.mode),
            working_dir: sources.environment.folder().to_owned(),
            environment: sources.environment,
            mode: sources.mode,
            problems: Problems::default(),
            warnings: Problems::default(),
            origins: BTreeMap::new(),
            claimed: BTreeSet::new(),
            rights: Vec::new(),
            lists: Lists::default(),
            written_rules: Vec::new(),
            written_mappings: Vec::new(),
            written_endpoints: Vec::new(),
            file: sources.file,
        }
    }

    /// The folder against which names of files in the configuration file count.
    pub(crate) fn file_dir(&self) -> PathBuf {
        let parent = self.file.as_deref().and_then(Path::parent);
        self.working_dir.join(parent.unwrap_or(Path::new("")))
    }

    /// Where a setting was set, else its key.
    pub(crate) fn place(&self, key: &str) -> String {
        self.origins
            .get(key)
            .cloned()
            .unwrap_or_else(|| key.to_owned())
    }

    fn dotenv(&mut self) {
        if self.mode != Mode::Dev {
            return;
        }
        match read_text(&self.working_dir.join(".env")) {
            Ok(text) => {
                for (name, value) in dotenv::parse(&text, &mut self.problems) {
                    self.environment.add(&name, &value);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self
                .problems
                .add(".env", format!("it cannot be read: {error}")),
        }
    }

    fn file(&mut self) {
        let named = self.file.is_some();
        if !named && self.mode == Mode::Dev {
            return;
        }
        let file = self.file.take().unwrap_or_else(|| DEFAULT_FILE.into());
        let name = file.display().to_string();
        match read_text(&self.working_dir.join(&file)) {
            Ok(text) => {
                self.file = Some(file);
                let root = given::parse(&name, &text, &mut self.problems);
                self.table(&name, "", root);
            }
            Err(error) if !named && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self
                .problems
                .add(name, format!("it cannot be read: {error}")),
        }
    }

    fn table(&mut self, file: &str, section: &str, entries: Vec<Entry>) {
        for Entry { key, line, given } in entries {
            let key = if section.is_empty() {
                key
            } else {
                format!("{section}.{key}")
            };
            let place = format!("{file}:{line} {key}");
            let setting = SETTINGS.iter().find(|setting| setting.key == key);
            match (setting, given) {
                (Some(setting), given) => self.set(setting, place, &given),
                (None, Given::List(items)) if LISTS.contains(&key.as_str()) => {
                    self.list(file, &key, items);
                }
                (None, Given::Table(entries)) if is_section(&key) => {
                    self.table(file, &key, entries);
                }
                (None, _) if is_section(&key) => {
                    self.problems.add(place, "this is a section, not a setting");
                }
                (None, _) if LISTS.contains(&key.as_str()) => {
                    self.problems
                        .add(place, format!("this is a list: write [[{key}]]"));
                }
                (None, _) => {
                    let known = SETTINGS.iter().map(|setting| setting.key).chain(sections());
                    self.problems.add(place, unknown("setting", &key, known));
                }
            }
        }
    }

    /// Puts a value into the configuration, or notes why not.
    pub(super) fn set(&mut self, setting: &Setting<Config>, place: String, given: &Given) {
        match (setting.apply)(&mut self.config, given, setting.bounds) {
            Ok(()) => {
                self.origins.insert(setting.key.to_owned(), place);
            }
            Err(what) => {
                let allowed = (setting.allowed)(setting.bounds);
                self.problems.add_with(place, what, allowed);
            }
        }
    }
}

fn sections() -> impl Iterator<Item = &'static str> {
    let keys = SETTINGS.iter().map(|setting| setting.key);
    let sections = keys.filter_map(|key| key.rsplit_once('.').map(|(section, _)| section));
    sections.chain(LISTS)
}

fn is_section(key: &str) -> bool {
    let prefix = format!("{key}.");
    SETTINGS
        .iter()
        .any(|setting| setting.key.starts_with(&prefix))
}

/// That there is no such name, and which one was probably meant.
pub(crate) fn unknown<'n>(
    what: &str,
    written: &str,
    known: impl IntoIterator<Item = &'n str>,
) -> String {
    match nearest(written, known) {
        Some(near) => format!("there is no such {what}; did you mean {near}?"),
        None => format!("there is no such {what}"),
    }
}

/// The text of a file of reasonable size.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    fs::read_to_string(path)
}

/// The text of a file without the line end that editors add.
pub(crate) fn read_secret(path: &Path) -> io::Result<String> {
    let text = read_text(path)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(io::Error::other("it is empty"));
    }
    Ok(text.to_owned())
}
