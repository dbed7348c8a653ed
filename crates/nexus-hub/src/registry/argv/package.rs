//! The programs that fetch what they run, and the package that they are told to: named with its exact version.

/// The name of a package has at most this many bytes, with its scope.
const PACKAGE_BYTES_MAX: usize = 214;
/// A version has at most this many bytes.
const VERSION_BYTES_MAX: usize = 64;

/// A program that fetches what it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runner {
    Npx,
    Uvx,
}

impl Runner {
    pub(crate) fn named(command: &str) -> Option<Self> {
        match command {
            "npx" => Some(Self::Npx),
            "uvx" => Some(Self::Uvx),
            _ => None,
        }
    }

    /// The package among the arguments; the rule that they break if there is none.
    pub(super) fn package(self, args: &[String]) -> Result<&str, &'static str> {
        match self {
            Self::Npx => {
                const RULE: &str = "must begin with `-y` (or not) and a package with its exact version: `-y`, `@scope/name@1.2.3`";
                let args = match args {
                    [first, rest @ ..] if first == "-y" || first == "--yes" => rest,
                    args => args,
                };
                let package = args.first().ok_or(RULE)?;
                let split = package.rsplit_once('@').ok_or(RULE)?;
                let is_exact = is_npm_name(split.0) && is_npm_version(split.1);
                is_exact.then_some(package.as_str()).ok_or(RULE)
            }
            Self::Uvx => {
                const RULE: &str =
                    "must begin with a package with its exact version: `name==1.2.3`";
                let package = args.first().ok_or(RULE)?;
                let split = package.split_once("==").or_else(|| package.split_once('@'));
                let (name, version) = split.ok_or(RULE)?;
                let is_exact = is_python_name(name) && is_python_version(version);
                is_exact.then_some(package.as_str()).ok_or(RULE)
            }
        }
    }
}

/// `name` or `@scope/name`, as the registry of npm allows it today.
pub(super) fn is_npm_name(name: &str) -> bool {
    let is_part = |part: &str| {
        let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        let begins_well = part
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        begins_well && part.bytes().all(is_inner)
    };
    let is_name = match name.strip_prefix('@') {
        Some(scoped) => scoped
            .split_once('/')
            .is_some_and(|(scope, name)| is_part(scope) && is_part(name)),
        None => is_part(name),
    };
    is_name && name.len() <= PACKAGE_BYTES_MAX
}

/// Three numbers, and what a prerelease adds: never a range or a tag, which is another package tomorrow.
pub(super) fn is_npm_version(version: &str) -> bool {
    let (numbers, rest) = match version.split_once(['-', '+']) {
        Some((numbers, rest)) => (numbers, Some(rest)),
        None => (version, None),
    };
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_inner = |b: u8| b.is_ascii_alphanumeric() || b".-+".contains(&b);
    version.len() <= VERSION_BYTES_MAX
        && numbers.split('.').count() == 3
        && numbers.split('.').all(is_number)
        && rest.is_none_or(|rest| !rest.is_empty() && rest.bytes().all(is_inner))
}

fn is_python_name(name: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let is_outer = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    name.len() <= PACKAGE_BYTES_MAX
        && is_outer(name.bytes().next())
        && is_outer(name.bytes().last())
        && name.bytes().all(is_inner)
}

fn is_python_version(version: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".!+".contains(&b);
    version.len() <= VERSION_BYTES_MAX
        && version.bytes().next().is_some_and(|b| b.is_ascii_digit())
        && version.bytes().all(is_inner)
}
