//! What the configuration tells people: its refusals, its reference, its examples, its secrets not.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nexus::config::{Config, Loaded, Mode};

use crate::config::{Place, SECRET, lines};

/// Compares with a file that is kept; `UPDATE=1` writes it anew.
fn golden(path: &Path, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == text,
        "{} differs; UPDATE=1 writes it anew:\n{text}",
        path.display()
    );
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn every_problem_of_a_start_is_told_at_once() {
    let file = fs::read_to_string(here("tests/golden/config-errors.toml")).unwrap();
    let place = Place::new(&[
        ("nexus.toml", &file),
        (
            "config/permissions.json",
            r#"{"flowpay": ["payment.*", "PAYMENT_LOST"], "mio-system": "all"}"#,
        ),
        ("empty", "\n"),
        ("wrong-schema.json", r#"{"type": "athlete"}"#),
    ]);
    let text = place.refusals(
        Mode::Serve,
        &[
            ("NEXUS_ENV", "production"),
            ("PORT", "eighty"),
            ("DATABASE_URL", "postgres://user:hunter2@db/nexus"),
            ("ALLOWED_ORIGINS", "https://app.example.org, *"),
            ("LOG_LEVEL", "loud"),
            ("NEXUS_SECRET_FILE", "empty"),
            ("NEXUS_ADMIN_TOKEN", "short-hunter2"),
            ("NEXUS_ADMIN_TOKEN_FILE", "empty"),
            ("NEXUS_NODE_SMART_FACTORY_SECRET", "hunter2"),
            ("FLOWPAY_API_URL", "flowpay.internal/hunter2"),
            ("NEXUS__LIMITS__BODY_BITES", "1"),
            ("NEXUS__NODES__ID", "x"),
            ("NEXUS__LIMITS__WS_PONG_TIMEOUT_MS", "60000"),
        ],
    );
    assert!(!text.contains("hunter2"), "a secret is told: {text}");
    golden(&here("tests/golden/config-errors.txt"), &text);
}

#[test]
fn the_reference_is_what_the_code_says() {
    golden(
        &here("../../docs/configuration.md"),
        &Config::reference_markdown(),
    );
}

#[test]
fn a_configuration_prints_no_secret() {
    let config = Place::new(&[]).config(
        Mode::Serve,
        &[
            ("NEXUS_SECRET", "hunter2-hunter2-hunter2-hunter2-1"),
            ("NEXUS_ADMIN_TOKEN", "hunter2-hunter2-hunter2-hunter2-2"),
            (
                "NEXUS_NODE_FLOWPAY_SECRET",
                "hunter2-hunter2-hunter2-hunter2-3",
            ),
            ("FACTORY_API_KEY", "hunter2"),
            (
                "FACTORY_API_URL",
                "https://hunter2:hunter2@factory.example.org/hunter2",
            ),
            (
                "DISCORD_WEBHOOK_URL",
                "https://discord.com/api/webhooks/1/hunter2",
            ),
        ],
    );
    let printed = format!("{config:?}");
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.contains("https://discord.com"));
}

#[test]
fn the_rules_that_ship_are_valid() {
    let rules = fs::read_to_string(here("../../deploy/config/reactors.example.toml")).unwrap();
    let place = Place::new(&[("nexus.toml", &rules)]);
    let variables = [
        ("NEXUS_SECRET", SECRET),
        ("FACTORY_API_URL", "https://factory.example.org"),
        ("FACTORY_API_KEY", "the-key-of-the-factory"),
    ];
    let config = place.config(Mode::Serve, &variables);
    let names: Vec<&str> = config.rules.iter().map(|rule| &*rule.name).collect();
    let ships = [
        "payment-to-mint",
        "mint-to-notify-flowpay",
        "mint-to-notify-neobot",
    ];
    assert_eq!(names, ships);
}

#[test]
fn the_example_files_are_valid() {
    let place = Place::new(&[]);
    for name in ["nexus.toml", "permissions.json"] {
        let example = name.replace('.', ".example.");
        let text = fs::read_to_string(here("../../deploy/config").join(example)).unwrap();
        fs::write(place.path().join(name), text).unwrap();
    }
    let variables = [
        ("NEXUS_ENV", "production"),
        ("NEXUS_SECRET", SECRET),
        ("FLOWPAY_WEBHOOK_SECRET", "a-secret-of-flowpay-and-no-other"),
        (
            "NEXUS_NODE_SMART_FACTORY_SECRET",
            "a-secret-of-the-factory-itself-1",
        ),
        ("DASHBOARD_TOKEN", "a-token-of-the-dashboard-and-no-other"),
    ];
    let loaded = place.load_file(Mode::Serve, Some("nexus.toml"), &variables);
    let Loaded { config, warnings } =
        loaded.unwrap_or_else(|problems| panic!("{}", lines(&problems)));
    assert!(warnings.is_empty(), "{}", lines(&warnings));
    assert!(
        !config.nodes.is_empty()
            && !config.tokens.is_empty()
            && !config.auth.permissions.is_empty()
    );
}
