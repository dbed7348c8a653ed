//! Crates name only lower layers: in their manifest and in their source.

use crate::tidy::{Finding, manifests::Manifest, tree::Tree};

const RULE: &str = "layers";
const WHY: &str = "a crate names only lower layers, so that each can be read, tested and used without those above it";

/// Each crate of ours with its layer, in the order that data flows.
const LAYERS: [(&str, u8); 16] = [
    ("nexus-core", 0),
    ("nexus-store", 1),
    ("nexus-auth", 1),
    ("nexus-expr", 1),
    ("nexus-outbound", 1),
    ("nexus-http", 2),
    // The SDK speaks to the daemon over the wire: it shares the vocabulary, the signer and the HTTP client.
    ("nexus-client", 2),
    ("nexus-reactors", 3),
    ("nexus-ws", 4),
    ("nexus-webhooks", 4),
    ("nexus-agents", 4),
    ("nexus-hub", 4),
    ("nexus-console", 4),
    ("nexus", 5),
    ("nexusd", 6),
    (TESTKIT, TOP),
];
const TESTKIT: &str = "nexus-testkit";
/// Binaries.
const BINARIES: u8 = 6;
/// Tests, tools and examples, which may name everything and are named by nobody.
const TOP: u8 = 7;

/// Checks every package against the table.
pub(crate) fn check(tree: &Tree, manifests: &[Manifest<'_>], findings: &mut Vec<Finding>) {
    for manifest in manifests {
        let Some(layer) = layer_of(manifest) else {
            findings.push(Finding {
                file: manifest.file.path.clone(),
                line: 1,
                rule: RULE,
                what: format!("`{}` has no layer", manifest.name),
                why: "a new crate is given its layer in xtask/src/tidy/layers.rs",
            });
            continue;
        };
        for dependency in manifest.dependencies.iter().filter(|d| !d.dev) {
            if let Some(above) = forbidden(&manifest.name, layer, &dependency.name) {
                findings.push(Finding {
                    file: manifest.file.path.clone(),
                    line: dependency.line,
                    rule: RULE,
                    what: describe(&manifest.name, layer, &dependency.name, above),
                    why: WHY,
                });
            }
        }
        check_source(tree, manifest, layer, findings);
    }
}

fn check_source(tree: &Tree, manifest: &Manifest<'_>, layer: u8, findings: &mut Vec<Finding>) {
    let source = format!("{}/src/", manifest.folder);
    for (name, _) in LAYERS {
        let Some(above) = forbidden(&manifest.name, layer, name) else {
            continue;
        };
        let ident = name.replace('-', "_");
        // A module of its own may have the name of a crate above it.
        if tree.find(&format!("{source}{ident}.rs")).is_some() {
            continue;
        }
        for (file, code) in tree.rust() {
            if !file.path.starts_with(&source) || file.is_dev() {
                continue;
            }
            for line in code.lines_naming_crate(&ident) {
                findings.push(Finding {
                    file: file.path.clone(),
                    line,
                    rule: RULE,
                    what: describe(&manifest.name, layer, name, above),
                    why: WHY,
                });
            }
        }
    }
}

fn describe(name: &str, layer: u8, other: &str, above: u8) -> String {
    format!("`{name}` (layer {layer}) names `{other}` (layer {above})")
}

/// The layer of a crate of ours that may not be named from `layer`.
fn forbidden(name: &str, layer: u8, other: &str) -> Option<u8> {
    let above = known_layer(other)?;
    (other != name && above >= layer && layer < TOP).then_some(above)
}

fn layer_of(manifest: &Manifest<'_>) -> Option<u8> {
    match manifest.folder.split('/').next() {
        Some("crates") => known_layer(&manifest.name),
        Some("bins") => Some(BINARIES),
        _ => Some(TOP),
    }
}

fn known_layer(name: &str) -> Option<u8> {
    LAYERS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, layer)| *layer)
}
