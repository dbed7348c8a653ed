//! What a foreign crate offers is wrapped once, where it enters: each may be named in one place only.

use crate::tidy::{Finding, manifests::Manifest, tree::Tree};

const RULE: &str = "only here";

/// Crates, and the only folders whose packages may name them.
struct Foreign {
    names: &'static [&'static str],
    home: &'static [&'static str],
    /// Whether tests, benches and examples may name them too.
    dev: bool,
    why: &'static str,
}

const FOREIGN: [Foreign; 5] = [
    Foreign {
        names: &[
            "sqlx",
            "sqlx-core",
            "sqlx-sqlite",
            "libsqlite3-sys",
            "rusqlite",
        ],
        home: &["crates/nexus-store"],
        dev: false,
        why: "only nexus-store knows a database; others use Backend and Pages",
    },
    Foreign {
        names: &["tungstenite"],
        home: &["crates/nexus-ws", "crates/nexus-client"],
        dev: true,
        why: "only nexus-ws and nexus-client speak WebSocket",
    },
    Foreign {
        names: &["tokio-tungstenite"],
        home: &["crates/nexus-client", "crates/nexus-testkit", "bench"],
        dev: true,
        why: "it is the WebSocket client of tests and benches; the server uses tungstenite in nexus-ws",
    },
    Foreign {
        names: &["cel", "minijinja", "jsonschema"],
        home: &["crates/nexus-expr"],
        dev: false,
        why: "only nexus-expr runs expressions, templates and schemas",
    },
    Foreign {
        names: &["reqwest"],
        home: &["crates/nexus-outbound"],
        dev: false,
        why: "only nexus-outbound builds an HTTP client: it is the one that guards addresses",
    },
];

/// A path of a crate that may be used elsewhere, and where this part of it may.
struct Part {
    root: &'static str,
    child: &'static str,
    home: &'static [&'static str],
    why: &'static str,
}

const PARTS: [Part; 3] = [
    Part {
        root: "std",
        child: "env",
        home: &[
            "bins/",
            "xtask/",
            "bench/",
            "examples/",
            "crates/nexus-testkit/",
        ],
        why: "only bins/ read the environment; a crate is configured by values",
    },
    Part {
        root: "hyper",
        child: "client",
        home: &["crates/nexus-outbound/", "crates/nexus-testkit/", "bench/"],
        why: "only nexus-outbound builds an HTTP client: it is the one that guards addresses",
    },
    Part {
        root: "hyper_util",
        child: "client",
        home: &["crates/nexus-outbound/", "crates/nexus-testkit/", "bench/"],
        why: "only nexus-outbound builds an HTTP client: it is the one that guards addresses",
    },
];

/// Checks manifests and sources against both tables.
pub(crate) fn check(tree: &Tree, manifests: &[Manifest<'_>], findings: &mut Vec<Finding>) {
    for foreign in &FOREIGN {
        check_manifests(foreign, manifests, findings);
        check_sources(foreign, tree, findings);
    }
    for part in &PARTS {
        check_part(part, tree, findings);
    }
}

fn check_manifests(foreign: &Foreign, manifests: &[Manifest<'_>], findings: &mut Vec<Finding>) {
    for manifest in manifests {
        if foreign.is_home(manifest.folder) {
            continue;
        }
        for dependency in &manifest.dependencies {
            let named = foreign.names.contains(&dependency.name.as_str());
            if named && !(dependency.dev && foreign.dev) {
                findings.push(Finding {
                    file: manifest.file.path.clone(),
                    line: dependency.line,
                    rule: RULE,
                    what: format!("`{}` depends on `{}`", manifest.name, dependency.name),
                    why: foreign.why,
                });
            }
        }
    }
}

fn check_sources(foreign: &Foreign, tree: &Tree, findings: &mut Vec<Finding>) {
    for (file, code) in tree.rust() {
        let Some(package) = file.package() else {
            continue;
        };
        if foreign.is_home(package) || (foreign.dev && file.is_dev()) {
            continue;
        }
        for name in foreign.names {
            for line in code.lines_naming_crate(&name.replace('-', "_")) {
                findings.push(Finding {
                    file: file.path.clone(),
                    line,
                    rule: RULE,
                    what: format!("`{name}` is named in {package}"),
                    why: foreign.why,
                });
            }
        }
    }
}

fn check_part(part: &Part, tree: &Tree, findings: &mut Vec<Finding>) {
    for (file, code) in tree.rust() {
        let at_home = part.home.iter().any(|home| file.path.starts_with(home));
        // Cargo hands a build script its input in the environment.
        if at_home || file.is_dev() || file.path.ends_with("/build.rs") {
            continue;
        }
        for line in code.lines_naming_path(part.root, part.child) {
            findings.push(Finding {
                file: file.path.clone(),
                line,
                rule: RULE,
                what: format!("`{}::{}` is named", part.root, part.child),
                why: part.why,
            });
        }
    }
}

impl Foreign {
    fn is_home(&self, package: &str) -> bool {
        self.home.iter().any(|home| {
            package == *home
                || package
                    .strip_prefix(home)
                    .is_some_and(|rest| rest.starts_with('/'))
        })
    }
}
