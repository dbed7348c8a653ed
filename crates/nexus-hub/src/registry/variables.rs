//! Which variables a program may be given: any but those that change what it runs.

use indexmap::IndexMap;
use nexus_auth::Secret;
use nexus_http::Fault;

use super::options::{VALUE_BYTES_MAX, VARIABLE_CHARS_MAX, VARIABLES_MAX};

/// What a loader, an interpreter, a package manager or a shell acts on.
const TAKEN: &[&str] = &[
    "ALL_PROXY",
    "CDPATH",
    "CLASSPATH",
    "EDITOR",
    "ENV",
    "FTP_PROXY",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "GLOBIGNORE",
    "HISTFILE",
    "HOME",
    "HOSTALIASES",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "IFS",
    "LOCALDOMAIN",
    "LOGNAME",
    "MANPATH",
    "NLSPATH",
    "NO_PROXY",
    "PAGER",
    "PATH",
    "PROMPT_COMMAND",
    "PS4",
    "PWD",
    "RES_OPTIONS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SHELL",
    "SHELLOPTS",
    "SSLKEYLOGFILE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TERMCAP",
    "TERMINFO",
    "TMPDIR",
    "TZDIR",
    "USER",
    "VISUAL",
];
/// How the names begin that are taken whole.
const TAKEN_PREFIXES: &[&str] = &[
    "BASH",
    "BUN_",
    "COREPACK_",
    "DENO_",
    "DOCKER_",
    "DYLD_",
    "ELECTRON_",
    "GIT_",
    "JAVA_",
    "JDK_",
    "LD_",
    "LUA_",
    "MALLOC_",
    "NEXUS_",
    "NODE_",
    "NPM_",
    "OPENSSL_",
    "PERL",
    "PHP_",
    "PIP_",
    "PNPM_",
    "PYTHON",
    "RUBY",
    "SSH_",
    "UV_",
    "XDG_",
    "YARN_",
    "ZDOTDIR",
    "_JAVA_",
];

/// Judges the variables that a program is to be given.
pub(super) fn check(
    variables: Option<&IndexMap<String, Secret>>,
    faults: &mut Vec<Fault>,
) -> Vec<(String, Secret)> {
    let Some(variables) = variables else {
        return Vec::new();
    };
    if variables.len() > VARIABLES_MAX {
        faults.push(Fault::new(
            "/env",
            format!("must be at most {VARIABLES_MAX}"),
        ));
        return Vec::new();
    }
    let mut checked = Vec::with_capacity(variables.len());
    for (name, value) in variables {
        let rule = if !is_name(name) {
            Some("is no name of a variable")
        } else if is_taken(name) {
            Some("changes what a program runs, or how")
        } else if value.expose().len() > VALUE_BYTES_MAX {
            Some("its value is too long")
        } else if value.expose().chars().any(char::is_control) {
            Some("its value has control characters")
        } else {
            None
        };
        match rule {
            Some(rule) => faults.push(Fault::new(Fault::place("/env", name), rule)),
            None => checked.push((name.clone(), value.clone())),
        }
    }
    checked
}

fn is_name(name: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let begins_well = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    begins_well && name.len() <= VARIABLE_CHARS_MAX && name.bytes().all(is_inner)
}

/// In any case: some programs read `http_proxy` and `npm_config_registry`.
fn is_taken(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    TAKEN.contains(&name.as_str()) || TAKEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(variables: &[(&str, &str)]) -> Vec<Fault> {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Secret::new(*value)))
            .collect();
        let mut faults = Vec::new();
        check(Some(&variables), &mut faults);
        faults
    }

    #[test]
    fn what_changes_what_runs_is_refused() {
        for name in [
            "PATH",
            "Path",
            "HOME",
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "DYLD_INSERT_LIBRARIES",
            "NODE_OPTIONS",
            "NODE_PATH",
            "NODE_EXTRA_CA_CERTS",
            "npm_config_registry",
            "NPM_CONFIG_USERCONFIG",
            "PYTHONSTARTUP",
            "PYTHONPATH",
            "UV_INDEX_URL",
            "PIP_INDEX_URL",
            "BASH_ENV",
            "BASH_FUNC_x%%",
            "ENV",
            "SHELL",
            "IFS",
            "GIT_SSH_COMMAND",
            "PERL5OPT",
            "RUBYOPT",
            "JAVA_TOOL_OPTIONS",
            "_JAVA_OPTIONS",
            "GCONV_PATH",
            "GLIBC_TUNABLES",
            "https_proxy",
            "SSL_CERT_FILE",
            "DOCKER_HOST",
            "NEXUS_SECRET",
            "XDG_CONFIG_HOME",
            "",
            "1A",
            "A B",
            "A=B",
            "A\0",
            "\u{e9}",
        ] {
            assert_eq!(faults(&[(name, "x")]).len(), 1, "{name:?}");
        }
    }

    #[test]
    fn keys_of_services_are_passed_on() {
        let ordinary = [
            ("BRAVE_API_KEY", "x"),
            ("GOOGLE_MAPS_API_KEY", "y"),
            ("_private", ""),
            ("lower_case", "z"),
        ];
        assert_eq!(faults(&ordinary), []);
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        for value in ["a\0b", "a\nb", &long] {
            assert_eq!(
                faults(&[("KEY", value)])[0].pointer,
                "/env/KEY",
                "{value:?}"
            );
        }
        let many: Vec<String> = (0..=VARIABLES_MAX).map(|n| format!("K{n}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "x")).collect();
        assert_eq!(faults(&many)[0].pointer, "/env");
    }
}
