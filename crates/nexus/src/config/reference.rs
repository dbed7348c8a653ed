//! The reference of settings and variables, written from the tables that the loader reads.

use std::fmt::Write;

use super::{
    Mode,
    entries::{EVENT, EventEntry, NODE, NodeEntry, TOKEN, TokenEntry},
    sections::Config,
    setting::Setting,
    settings::SETTINGS,
};
use crate::environment::{Sets, VARIABLES};

const INTRODUCTION: &str = "\
# Configuration

<!-- Generated from the code: `UPDATE=1 cargo nextest run --release -p nexus config` writes it anew. -->

Settings come from four places. Each wins over those before it:

1. the defaults below;
2. the file: `nexus.toml` in the working folder if it is there, or what `--config` names (`nexusd dev` reads only what is named);
3. `NEXUS__<SECTION>__<KEY>` variables;
4. the named variables of the next section.

`nexusd dev` also reads `.env` in the working folder; variables that are set already win over it. A variable that is
empty counts as not set. Nexus starts only if everything fits: otherwise it tells every problem at once, with its place
and what is allowed, and exits. `nexusd check` does only that. An unknown key is a problem, not a hint.

With `NEXUS_ENV=production` weak settings are problems too (no `NEXUS_SECRET`, a secret under 32 characters, a range
that is every address); otherwise they are warnings.

Relative paths in the file count from the folder of the file when they name secrets and schemas; `storage.*` and
variables count from the working folder. Lists are written `[\"a\", \"b\"]` in the file and `a,b` in a variable.

";

const LISTS: &str = "\
Each entry begins with its header. A list and a section of one name cannot both stand in a file: beside `[events]` write
`[[events.declared]]`, and beside `[reactors]` write `[[reactors.rules]]`; or set what the section holds by variables, such
as `NEXUS__EVENTS__OPEN`.

";

const FOREIGN: &str = "\
### `[[nodes.webhook]]`

What the webhooks of the node mean that come to `POST /webhook/<id>`, one entry for each kind: the first whose condition
holds counts. `when`, `event` or `ignore`, `payload`, `once` and `key` are described in [rules.md](rules.md#webhooks-of-a-node).

### `[[reactors]]`

A rule: on these events, if that holds, make this call and emit that. Its members are described in [rules.md](rules.md). A
rule with the name of a reactor that ships takes its place.

### `[[endpoints]]`

An outside address that gets matching events as signed webhooks. Its members are described in
[webhooks.md](webhooks.md#in-the-configuration).

Rules, mappings and endpoints may name any variable; `X_FILE` is read for `X` here too.

";

const PERMISSIONS: &str = "\
## Permissions

What a node may publish stands in its `[[nodes]]` entry, or in a JSON file by node:

```json
{\"flowpay\": [\"PAYMENT_RECEIVED\", \"payment.*\"]}
```

It is looked for as `config/permissions.json` and `permissions.json` beside the configuration file, then as
`config/permissions.json` in the working folder. The entry wins over the file. A node with neither may publish the
events that it owns. As long as no node but `default` stands in either, `default` may publish everything that is not
reserved; from then on it needs an entry like any other.

";

const RELOAD: &str = "\
## Reload

On SIGHUP the daemon reads everything again: the file, the files of secrets, permissions and schemas, and `.env` in
`nexusd dev`; variables of the process stay as they were when it started. If all of it fits, it counts from then on, and
what is the same as before is not touched. If anything does not, nothing changes: every problem is in the log of the
process, and `/readyz` tells of it. `/readyz` also names the configuration that runs: its `generation` since the start, its
`fingerprint`, which is the same wherever the same was read (the values of secrets do not count), and since when it runs.

Nodes, tokens, permissions, events, reactors, endpoints and alerts can change this way, and so can the keys of the vault:
with a new `vault.key` and the old one as `vault.previous_key`, [`nexusd keys rotate`](operations.md#replace-the-vaults-key)
seals everything anew while Nexus goes on. Changes of `environment` and of `[server]`, `[limits]`, `[storage]`, `[retention]`, `[outbound]`, `[agents]`, `[hub]` and `[log]` take a restart, and a reload
that finds one is refused.

When the terminal is closed from which it was started, the daemon ends in order.

";

impl Config {
    /// The reference of every setting and variable, as `docs/configuration.md` holds it.
    #[must_use]
    pub fn reference_markdown() -> String {
        let mut page = String::from(INTRODUCTION);
        variables(&mut page);
        page.push_str("## Settings\n\n");
        page.push_str("Where two defaults stand, the second is that of `nexusd dev`.\n\n");
        settings(&mut page);
        page.push_str("## Lists\n\n");
        page.push_str(LISTS);
        list::<NodeEntry>(&mut page, "nodes", "An outside service.", NODE);
        list::<TokenEntry>(&mut page, "tokens", "A bearer token.", TOKEN);
        list::<EventEntry>(
            &mut page,
            "events",
            "An event beside the known ones.",
            EVENT,
        );
        page.push_str(FOREIGN);
        page.push_str(PERMISSIONS);
        page.push_str(RELOAD.trim_end());
        page.push('\n');
        page
    }
}

/// Writing to a `String` does not fail.
fn line(page: &mut String, cells: std::fmt::Arguments<'_>) {
    let _ = page.write_fmt(cells);
    page.push('\n');
}

fn variables(page: &mut String) {
    page.push_str("## Variables\n\n| variable | sets | meaning |\n|---|---|---|\n");
    for variable in VARIABLES {
        let name = variable.name;
        match variable.sets {
            Sets::Special(meaning) => line(page, format_args!("| `{name}` | | {meaning} |")),
            Sets::Setting(key) => {
                let meaning = SETTINGS
                    .iter()
                    .find(|setting| setting.key == key)
                    .map_or("", |setting| setting.meaning);
                line(page, format_args!("| `{name}` | `{key}` | {meaning} |"));
            }
        }
    }
    page.push('\n');
}

fn settings(page: &mut String) {
    let (serve, dev) = (Config::defaults(Mode::Serve), Config::defaults(Mode::Dev));
    let mut section = None;
    for setting in SETTINGS {
        let (of, key) = setting.key.split_once('.').unwrap_or(("", setting.key));
        if section != Some(of) {
            let title = if of.is_empty() {
                "At the top".to_owned()
            } else {
                format!("`[{of}]`")
            };
            let lead = if section.is_some() { "\n" } else { "" };
            line(
                page,
                format_args!(
                    "{lead}### {title}\n\n| key | default | allowed | meaning |\n|---|---|---|---|"
                ),
            );
            section = Some(of);
        }
        let (usual, in_dev) = ((setting.show)(&serve), (setting.show)(&dev));
        let default = if usual == in_dev {
            format!("`{usual}`")
        } else {
            format!("`{usual}`; `{in_dev}`")
        };
        row(page, key, &default, setting);
    }
    page.push('\n');
}

fn list<T: Default>(page: &mut String, name: &str, what: &str, settings: &[Setting<T>]) {
    line(
        page,
        format_args!(
            "### `[[{name}]]`\n\n{what}\n\n| key | default | allowed | meaning |\n|---|---|---|---|"
        ),
    );
    let entry = T::default();
    for setting in settings {
        let default = format!("`{}`", (setting.show)(&entry));
        row(page, setting.key, &default, setting);
    }
    page.push('\n');
}

fn row<T>(page: &mut String, key: &str, default: &str, setting: &Setting<T>) {
    let allowed = (setting.allowed)(setting.bounds);
    let meaning = setting.meaning;
    line(
        page,
        format_args!("| `{key}` | {default} | {allowed} | {meaning} |"),
    );
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_variable_sets_a_setting_that_exists() {
        for variable in VARIABLES {
            if let Sets::Setting(key) = variable.sets {
                assert!(SETTINGS.iter().any(|setting| setting.key == key), "{key}");
            }
        }
    }

    #[test]
    fn keys_are_distinct_and_defaults_are_within_their_bounds() {
        let mut seen = HashSet::new();
        for setting in SETTINGS {
            assert!(seen.insert(setting.key), "{}", setting.key);
            for mode in [Mode::Serve, Mode::Dev] {
                let mut config = Config::defaults(mode);
                let shown = (setting.show)(&config);
                if shown != "unset" && shown != "none" {
                    let given = super::super::given::Given::Raw(shown.clone());
                    let read = (setting.apply)(&mut config, &given, setting.bounds);
                    assert_eq!(read, Ok(()), "{} = {shown}", setting.key);
                    assert_eq!((setting.show)(&config), shown);
                }
            }
        }
    }
}
