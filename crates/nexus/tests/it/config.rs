//! Where the configuration comes from: which source wins, what each gives.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nexus::{
    config::{
        AlertFormat, Config, ConfigProblem, DEV_SECRET_FILE, Loaded, LogLevel, Mode, Sources, Stage,
    },
    environment::Environment,
};

pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A working folder with some files.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    fn load(&self, mode: Mode, variables: &[(&str, &str)]) -> Result<Loaded, Vec<ConfigProblem>> {
        self.load_file(mode, None, variables)
    }

    pub(crate) fn load_file(
        &self,
        mode: Mode,
        file: Option<&str>,
        variables: &[(&str, &str)],
    ) -> Result<Loaded, Vec<ConfigProblem>> {
        Config::load(Sources {
            mode,
            file: file.map(PathBuf::from),
            environment: variables
                .iter()
                .copied()
                .collect::<Environment>()
                .in_folder(self.path()),
        })
    }

    pub(crate) fn config(&self, mode: Mode, variables: &[(&str, &str)]) -> Config {
        self.load(mode, variables)
            .unwrap_or_else(|problems| panic!("{}", lines(&problems)))
            .config
    }

    pub(crate) fn refusals(&self, mode: Mode, variables: &[(&str, &str)]) -> String {
        lines(
            &self
                .load(mode, variables)
                .expect_err("it should be refused"),
        )
    }
}

pub(crate) fn lines(problems: &[ConfigProblem]) -> String {
    problems
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect()
}

#[test]
fn a_later_source_wins() {
    let place = Place::new(&[("nexus.toml", "[server]\nport = 1\n[limits]\nheaders = 20\n")]);
    assert_eq!(place.config(Mode::Serve, &[]).server.port, 1);
    let set = ("NEXUS__SERVER__PORT", "2");
    assert_eq!(place.config(Mode::Serve, &[set]).server.port, 2);
    let config = place.config(Mode::Serve, &[set, ("PORT", "3")]);
    assert_eq!((config.server.port, config.limits.headers), (3, 20));
    assert_eq!(
        place.config(Mode::Serve, &[set, ("PORT", "")]).server.port,
        2
    );
}

#[test]
fn a_file_that_is_named_must_be_there_and_the_usual_one_need_not() {
    let place = Place::new(&[("other.toml", "[server]\nport = 7\n")]);
    assert_eq!(place.config(Mode::Serve, &[]).server.port, 3000);
    let named = place.load_file(Mode::Dev, Some("other.toml"), &[]).unwrap();
    assert_eq!(named.config.server.port, 7);
    let problems = place
        .load_file(Mode::Serve, Some("none.toml"), &[])
        .unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].place, "none.toml");
}

#[test]
fn a_variable_may_name_a_file_and_only_one_of_both_counts() {
    let place = Place::new(&[("secret", &format!("{SECRET}\n")), ("port", "81\n")]);
    let config = place.config(
        Mode::Serve,
        &[
            ("NEXUS_SECRET_FILE", "secret"),
            ("NEXUS__SERVER__PORT_FILE", "port"),
            ("NEXUS_NODE_SMART_FACTORY_SECRET_FILE", "port"),
        ],
    );
    assert_eq!(config.auth.secret.unwrap().expose(), SECRET);
    assert_eq!(config.server.port, 81);
    assert_eq!(
        config.auth.environment_secrets["smart-factory"][0].expose(),
        "81"
    );
    let both = [("NEXUS_SECRET", SECRET), ("NEXUS_SECRET_FILE", "secret")];
    assert_eq!(
        place.refusals(Mode::Serve, &both),
        "NEXUS_SECRET_FILE: NEXUS_SECRET is set too: only one of them can count\n"
    );
}

#[test]
fn dev_is_open_on_loopback_and_keeps_the_secret_that_it_makes() {
    let place = Place::new(&[(".env", "PORT=81\nNEXUS_HOST=::1\n")]);
    let config = place.config(Mode::Dev, &[("NEXUS_HOST", "127.0.0.1")]);
    assert_eq!(
        (config.server.host.to_string().as_str(), config.server.port),
        ("127.0.0.1", 81)
    );
    assert!(config.auth.signed_get);
    let limits = &config.limits;
    assert_eq!(
        (
            limits.anonymous_requests_per_second,
            limits.connections_per_address
        ),
        (0, 0)
    );
    let secret = config.auth.secret.unwrap();
    assert!(config.auth.admin_token.unwrap() == secret);
    let kept = fs::read_to_string(place.path().join("data").join(DEV_SECRET_FILE)).unwrap();
    assert_eq!(kept.trim_end(), secret.expose());
    assert!(place.config(Mode::Dev, &[]).auth.secret.unwrap() == secret);

    let set = [
        ("NEXUS_SECRET", SECRET),
        ("NEXUS__LIMITS__ANONYMOUS_REQUESTS_PER_SECOND", "5"),
    ];
    let config = place.config(Mode::Dev, &set);
    assert_eq!(config.auth.secret.unwrap().expose(), SECRET);
    assert_eq!(config.limits.anonymous_requests_per_second, 5);

    let refused = place.refusals(Mode::Dev, &[("NEXUS_ENV", "production")]);
    assert!(refused.starts_with("NEXUS_ENV: `dev` is open"), "{refused}");
    let refused = place.refusals(Mode::Dev, &[("NEXUS_HOST", "0.0.0.0")]);
    assert!(
        refused.starts_with("NEXUS_HOST: `dev` listens"),
        "{refused}"
    );
}

#[test]
fn serve_is_closed_and_reads_no_dotenv() {
    let place = Place::new(&[(".env", "PORT=81\n")]);
    let Loaded { config, warnings } = place.load(Mode::Serve, &[]).unwrap();
    assert_eq!(
        (config.server.host.to_string().as_str(), config.server.port),
        ("0.0.0.0", 3000)
    );
    assert!(!config.auth.signed_get && config.auth.secret.is_none());
    assert_eq!(config.limits.connections_per_address, 256);
    assert_eq!(
        config.storage.database_path(),
        place.path().join("data/nexus-log.db")
    );
    assert!(
        lines(&warnings).contains("NEXUS_SECRET is not set"),
        "{warnings:?}"
    );
    assert!(!place.path().join("data").exists());
}

#[test]
fn what_is_weak_is_a_warning_and_in_production_a_refusal() {
    let place = Place::new(&[]);
    let weak: [&[(&str, &str)]; 5] = [
        &[],
        &[("NEXUS_SECRET", "test")],
        &[
            ("NEXUS_SECRET", SECRET),
            ("NEXUS__SERVER__TRUSTED_PROXIES", "0.0.0.0/0"),
        ],
        &[
            ("NEXUS_SECRET", SECRET),
            ("NEXUS__OUTBOUND__ALLOW_CIDRS", "10.0.0.0/8,::/0"),
        ],
        &[("NEXUS_SECRET", SECRET), ("NEXUS__AGENTS__AUTH", "open")],
    ];
    for variables in weak {
        let loaded = place.load(Mode::Serve, variables).unwrap();
        assert_eq!(
            loaded.warnings.len(),
            1,
            "{variables:?}: {:?}",
            loaded.warnings
        );
        let mut strict = variables.to_vec();
        strict.push(("NEXUS_ENV", "production"));
        assert_eq!(place.refusals(Mode::Serve, &strict).lines().count(), 1);
    }
    let strong = [("NEXUS_SECRET", SECRET), ("NEXUS_ENV", "production")];
    let loaded = place.load(Mode::Serve, &strong).unwrap();
    assert_eq!(loaded.config.environment, Stage::Production);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn what_is_kept_is_limited_only_by_what_is_set() {
    let place = Place::new(&[]);
    let secret = ("NEXUS_SECRET", SECRET);
    let kept = place.config(Mode::Serve, &[secret]).retention;
    assert_eq!((kept.age_hours, kept.events, kept.bytes), (0, 0, 0));
    let small = ("NEXUS__RETENTION__BYTES", "1000000");
    let refused = place.refusals(Mode::Serve, &[secret, small]);
    assert!(refused.contains("16777216 and more"), "{refused}");
    let forced = [secret, ("NEXUS__RETENTION__FORCE", "true")];
    let loaded = place.load(Mode::Serve, &forced).unwrap();
    let warnings = lines(&loaded.warnings);
    assert!(
        warnings.contains("retention.force") || warnings.contains("RETENTION__FORCE"),
        "{warnings}"
    );
    let limited = [forced[0], forced[1], ("NEXUS__RETENTION__AGE_HOURS", "720")];
    let loaded = place.load(Mode::Serve, &limited).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(loaded.config.retention.age_hours, 720);
}

#[test]
fn nodes_tokens_and_events_come_from_the_file() {
    let file = r#"
        [[nodes]]
        id = "flowpay"
        secret_env = "PAY_SECRET"
        publish = ["payment.*"]
        url = "https://flowpay.example.org"
        names = "qualified"

        [[nodes]]
        id = "wod-x-pro"
        secret_file = "keys/wod"
        secrets = ["an-older-secret"]
        read = []
        signature_only = true

        [[tokens]]
        name = "dashboard"
        token_sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
        scopes = ["read", "operate"]
        read = ["workout.*"]
        expires = 2027-01-01T00:00:00Z

        [[events]]
        topic = "workout.completed"
        owner = "wod-x-pro"
        key = "payload.athlete.id"
        schema = "workout.json"
    "#;
    let place = Place::new(&[
        ("etc/nexus.toml", file),
        ("etc/keys/wod", "the-present-secret\n"),
        ("etc/workout.json", r#"{"type": "object"}"#),
        (
            "etc/permissions.json",
            r#"{"default": ["payment.received"]}"#,
        ),
    ]);
    let variables = [
        ("PAY_SECRET", "pays-secret"),
        ("NEXUS__EVENTS__OPEN", "true"),
    ];
    let loaded = place.load_file(Mode::Serve, Some("etc/nexus.toml"), &variables);
    let config = loaded
        .unwrap_or_else(|problems| panic!("{}", lines(&problems)))
        .config;

    let options = config.auth_options();
    let secrets = |index: usize| -> Vec<&str> {
        options.nodes[index]
            .secrets
            .iter()
            .map(|live| live.secret.expose())
            .collect()
    };
    assert_eq!(secrets(0), ["pays-secret"]);
    assert_eq!(secrets(1), ["the-present-secret", "an-older-secret"]);
    assert_eq!(
        options.nodes[0].publish.as_deref(),
        Some(&["payment.*".to_owned()][..])
    );
    assert_eq!(options.nodes[1].read.as_deref(), Some(&[][..]));
    assert_eq!(options.permissions["default"], ["payment.received"]);
    assert_eq!(options.tokens[0].not_after_us, Some(1_798_761_600_000_000));
    assert!(config.events.open);
    let event = &config.events.declared[0];
    assert_eq!(event.topic.as_str(), "workout.completed");
    assert_eq!(event.key.as_ref().unwrap().names(), ["athlete", "id"]);
    let schema = event.schema.as_ref().unwrap();
    assert!(schema.check(b"{}").is_empty() && !schema.check(b"[]").is_empty());
    assert!(config.declared_events()[0].schema.is_some());
}

#[test]
fn secrets_and_addresses_of_nodes_come_from_the_environment() {
    let place = Place::new(&[]);
    let Loaded { config, warnings } = place
        .load(
            Mode::Serve,
            &[
                ("NEXUS_SECRET", SECRET),
                (
                    "NEXUS_NODE_SMART_FACTORY_SECRET",
                    "a-secret-of-the-factory-itself-1",
                ),
                ("FLOWPAY_WEBHOOK_SECRET", "a-secret-of-flowpay-and-no-other"),
                (
                    "NEXUS_NODE_FLOWPAY_SECRET",
                    "another-secret-of-flowpay-itself",
                ),
                ("FLOWPAY_API_URL", "http://flowpay.internal:3001"),
                ("NEOBOT_API_URL", "http://neobot.internal"),
                ("STRANGERS_API_URL", "no address at all"),
                ("DISCORD_WEBHOOK_URL", "https://127.0.0.1:9/hook"),
                ("LOG_LEVEL", "debug"),
                ("NEXUS_SECERT", "x"),
                ("REDIS_URL", "redis://localhost"),
            ],
        )
        .unwrap_or_else(|problems| panic!("{}", lines(&problems)));
    let secrets = &config.auth.environment_secrets;
    assert_eq!(
        (secrets["smart-factory"].len(), secrets["flowpay"].len()),
        (1, 2)
    );
    let urls: Vec<_> = config
        .reactors
        .node_urls
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(urls, ["flowpay", "neobot"]);
    assert_eq!(
        config.reactors.registry_url.unwrap().url().as_str(),
        "http://neobot.internal/"
    );
    assert_eq!(
        (config.alerts.format, config.log.level),
        (AlertFormat::Discord, LogLevel::Debug)
    );
    assert_eq!(
        lines(&warnings),
        "NEXUS_SECERT: there is no such variable; did you mean NEXUS_SECRET?\n\
         REDIS_URL: this version does not use it\n"
    );
}

#[test]
fn a_secret_that_an_entry_names_belongs_to_that_entry() {
    let file = "[[nodes]]\nid = \"payments\"\nsecret_env = \"FLOWPAY_WEBHOOK_SECRET\"\npublish = [\"payment.*\"]\n";
    let place = Place::new(&[("nexus.toml", file)]);
    let config = place.config(Mode::Serve, &[("FLOWPAY_WEBHOOK_SECRET", SECRET)]);
    assert!(config.auth.environment_secrets.is_empty());
    assert_eq!(config.nodes[0].secrets[0].expose(), SECRET);
}

#[test]
fn an_open_log_and_declared_events_fit_into_one_file() {
    let file = "[events]\nopen = true\n[[events.declared]]\ntopic = \"a.b\"\n";
    let config = Place::new(&[("nexus.toml", file)]).config(Mode::Serve, &[]);
    assert!(config.events.open);
    assert_eq!(config.events.declared[0].topic.as_str(), "a.b");
}

/// A rule, an endpoint and a node's mapping, which name variables.
const FOREIGN: &str = r#"
[[nodes]]
id = "shop"
events = ["mint.*"]
[[nodes.webhook]]
when = 'payload.status == "paid"'
event = "payment.received"
[[nodes.webhook]]
ignore = "draft"

[[reactors]]
name = "payment-to-mint"
on = "payment.received"
http = { url = "{{ env.BOOKS_URL }}/book", bearer_env = "BOOKS_KEY" }

[[endpoints]]
name = "crm"
url = "https://crm.example.org"
patterns = ["payment.*"]
secret_env = "CRM_SECRET"
"#;

#[test]
fn rules_endpoints_and_mappings_come_with_the_variables_they_name() {
    let place = Place::new(&[("nexus.toml", FOREIGN), ("key", "the-key-of-the-books\n")]);
    let mut variables = [
        ("NEXUS_SECRET", SECRET),
        ("BOOKS_URL", "http://books.internal"),
        ("BOOKS_KEY_FILE", "key"),
        ("CRM_SECRET", "a-secret-of-the-crm-and-nobody-else"),
        ("NOT_NAMED", "x"),
    ];
    let config = place.config(Mode::Serve, &variables);
    assert_eq!(config.rules[0].name, "payment-to-mint");
    assert_eq!(config.endpoints[0].name, "crm");
    assert_eq!(config.nodes[0].webhook.len(), 2);
    let named: Vec<_> = config
        .variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose()))
        .collect();
    assert_eq!(
        named,
        [
            ("BOOKS_KEY", "the-key-of-the-books"),
            ("BOOKS_URL", "http://books.internal"),
            ("CRM_SECRET", "a-secret-of-the-crm-and-nobody-else"),
        ]
    );
    assert!(!format!("{config:?}").contains("the-key-of-the-books"));

    // What it is known by follows what is written, not the values of secrets.
    variables[3].1 = "another-secret-of-the-crm-and-of-none";
    let known_by = |place: &Place| place.config(Mode::Serve, &variables).fingerprint;
    assert_eq!(known_by(&place), config.fingerprint);
    let other = FOREIGN.replace("/book", "/ledger");
    fs::write(place.path().join("nexus.toml"), other).unwrap();
    assert_ne!(known_by(&place), config.fingerprint);
}

#[test]
fn names_that_belong_to_others_are_refused() {
    let file = format!(
        "{FOREIGN}\n[[reactors]]\nname = \"payment-to-mint\"\non = \"mint.*\"\nalert = {{ message = \"x\" }}\n\
         [[reactors]]\nname = \"endpoint-crm\"\non = \"mint.*\"\nalert = {{ message = \"x\" }}\n\
         [[nodes]]\nid = \"flowpay\"\n[nodes.webhook]\nignore = \"x\"\n"
    );
    let place = Place::new(&[("nexus.toml", &file)]);
    let told = place.refusals(
        Mode::Serve,
        &[("BOOKS_URL", "http://books.internal"), ("BOOKS_KEY", "x")],
    );
    let expected = [
        "nexus.toml:20 endpoints.secret_env: CRM_SECRET is not set\n",
        "nexus.toml:23 reactors.name: another reactor is named \"payment-to-mint\" already\n",
        "nexus.toml:27 reactors.name: the name of a rule does not begin with endpoint-\n",
        "nexus.toml:33 nodes.webhook: `/webhook/flowpay` has a meaning of its own\n",
    ];
    assert_eq!(told, expected.concat());
}
