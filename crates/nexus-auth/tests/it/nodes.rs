//! Nodes that are made while Nexus runs, and secrets that are added: in force at once, sealed, replaced without a
//! gap.

use std::time::Duration;

use http::HeaderMap;
use nexus_auth::{
    Auth, AuthOptions, Error, NodeOptions, NodeRegistry, NodeSecret, NodeSettings, Retired,
    SECRETS_PER_NODE_MAX, Secret, SignedRequest, Signer, Vault, VaultKey, VaultKeys,
};
use nexus_core::{
    Catalogue, Change, Clock, Coded, Command, DeclaredEvent, Family, Key, Kind, Log, LogOptions,
    Memory, Principal, Random, RecordQuery, RecordsBy, Scope, Topic,
};

const BEGIN_US: i64 = 1_763_712_000_000_000;
const HOUR: Duration = Duration::from_secs(3_600);
const CONFIGURED: &str = "a-configured-secret-of-40-characters-end";
const BODY: &[u8] = br#"{"event":"PAYMENT_RECEIVED","payload":{}}"#;

/// A log that outlives the processes on it.
struct World {
    memory: Memory,
    clock: Clock,
    key: VaultKey,
}

/// One process.
struct Rig {
    log: Log,
    auth: Auth,
    vault: Vault,
    nodes: NodeRegistry,
    clock: Clock,
}

fn catalogue() -> Catalogue {
    Catalogue::new(vec![declared()], false).unwrap()
}

fn declared() -> DeclaredEvent {
    DeclaredEvent {
        topic: Topic::parse("parcel.sent").unwrap(),
        name: None,
        owner: None,
        key: Vec::new(),
        schema: None,
    }
}

fn configured() -> AuthOptions {
    AuthOptions {
        default_secrets: vec![Secret::new("the-default-secret-of-32-characters!").into()],
        nodes: vec![
            NodeOptions::new("flowpay")
                .secret(Secret::new(CONFIGURED))
                .publish(["payment.*"]),
        ],
        ..AuthOptions::default()
    }
}

impl World {
    fn new() -> Self {
        Self {
            memory: Memory::new(&Random::system()),
            clock: Clock::manual(BEGIN_US),
            key: VaultKey::generate(&Random::system()),
        }
    }

    async fn start(&self) -> Rig {
        self.start_with(&configured(), catalogue()).await
    }

    async fn start_with(&self, options: &AuthOptions, catalogue: Catalogue) -> Rig {
        let auth = Auth::new(options, &catalogue, self.clock.clone()).unwrap();
        let (log, service) = Log::open(
            self.memory.clone(),
            self.memory.clone(),
            catalogue,
            LogOptions::default(),
            self.clock.clone(),
            Random::system(),
        )
        .await
        .unwrap();
        tokio::spawn(service.run());
        let keys = VaultKeys::one(self.key.clone());
        let vault = Vault::open(log.clone(), keys, Random::system())
            .await
            .unwrap();
        let nodes = NodeRegistry::open(log.clone(), auth.clone(), vault.clone())
            .await
            .unwrap();
        Rig {
            log,
            auth,
            vault,
            nodes,
            clock: self.clock.clone(),
        }
    }
}

impl Rig {
    /// Who signed a request that names a node and is signed with a secret.
    fn verify(&self, node: &str, secret: &Secret) -> Result<Principal, Error> {
        let signer = Signer::from_secret(secret).unwrap();
        let signed = signer.sign("msg_1", self.clock.now_us() / 1_000_000, BODY);
        let mut headers: HeaderMap = signed.into_iter().collect();
        headers.insert(nexus_auth::NODE_HEADER, node.parse().unwrap());
        self.auth.verify(&SignedRequest {
            headers: &headers,
            body: BODY,
            path_node: None,
        })
    }

    fn passes(&self, node: &str, secret: &Secret) -> bool {
        self.verify(node, secret).is_ok()
    }

    fn added(&self, node: &str, number: u64) -> NodeSecret {
        let secrets = self.nodes.secrets(node).unwrap();
        let found = secrets
            .into_iter()
            .find(|secret| secret.number == Some(number));
        found.unwrap()
    }

    async fn bodies(&self, family: &'static str) -> Vec<(String, Vec<u8>)> {
        let query = RecordQuery {
            family: Family::new(family),
            by: RecordsBy::All,
            after_key: None,
            records_max: 1_000,
        };
        let records = self.log.records(&query).await.unwrap();
        records
            .into_iter()
            .map(|record| (record.key.key.to_string(), record.body.to_vec()))
            .collect()
    }
}

fn publishing(names: &[&str]) -> NodeSettings {
    NodeSettings {
        publish: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        ..NodeSettings::default()
    }
}

fn topic(text: &str) -> Topic {
    Topic::parse(text).unwrap()
}

#[tokio::test]
async fn a_node_that_is_made_signs_at_once_and_after_a_restart() {
    let world = World::new();
    let rig = world.start().await;
    let (node, made) = rig
        .nodes
        .create("courier", publishing(&["parcel.*"]))
        .await
        .unwrap();
    assert_eq!(made.secret.chars(), 64);
    assert!(!node.configured && node.revision > 0);
    let principal = rig.verify("courier", &made.secret).unwrap();
    assert_eq!(principal.source().as_str(), "node:courier");
    assert!(principal.may_publish(&topic("parcel.sent"), false));
    assert!(!principal.may_publish(&topic("payment.received"), false));
    // As a token it reads.
    let reader = rig.auth.token(made.secret.expose()).unwrap();
    assert!(reader.scopes().has(Scope::Read) && !reader.scopes().has(Scope::Publish));
    assert!(!rig.passes("flowpay", &made.secret));

    let rig = world.start().await;
    assert!(rig.passes("courier", &made.secret));
    assert_eq!(rig.nodes.get("courier"), Some(node));
}

#[tokio::test]
async fn no_secret_is_kept_as_it_is() {
    let world = World::new();
    let rig = world.start().await;
    let (_, made) = rig
        .nodes
        .create("courier", NodeSettings::default())
        .await
        .unwrap();
    let text = made.secret.expose().as_bytes();
    let mut seen = 0;
    for family in ["node", "sealed", "node_usage", "vault"] {
        for (key, body) in rig.bodies(family).await {
            seen += 1;
            assert!(
                !body
                    .windows(8)
                    .any(|part| text[..60].windows(8).any(|own| own == part)),
                "{family}/{key}"
            );
        }
    }
    assert_eq!(seen, 3, "a node, its secret, the register");
    let printed = format!(
        "{made:?} {:?} {:?}",
        rig.nodes,
        rig.nodes.secrets("courier")
    );
    assert!(!printed.contains(made.secret.expose()));
}

#[tokio::test]
async fn a_secret_is_replaced_without_a_gap() {
    let world = World::new();
    let rig = world.start().await;
    let (_, old) = rig
        .nodes
        .create("courier", NodeSettings::default())
        .await
        .unwrap();
    for _ in 0..3 {
        assert!(rig.passes("courier", &old.secret));
    }
    assert_eq!(rig.added("courier", old.number).uses, 3);

    rig.clock.advance_us(1_000_000);
    let new = rig.nodes.add_secret("courier").await.unwrap();
    let before = rig.added("courier", old.number);
    assert_eq!(before.uses, 0, "counted since there is a newer one");
    assert_eq!(before.counted_since_us, BEGIN_US + 1_000_000);
    assert_eq!(before.last_used_us, Some(BEGIN_US));
    assert_eq!(before.hint.as_deref(), Some(&old.secret.expose()[60..]));

    rig.clock.advance_us(1_000_000);
    assert!(rig.passes("courier", &new.secret) && rig.passes("courier", &old.secret));
    assert!(rig.auth.token(old.secret.expose()).is_ok());
    let used = rig.added("courier", old.number);
    assert_eq!(
        (used.uses, used.last_used_us),
        (2, Some(BEGIN_US + 2_000_000))
    );
    assert_eq!(rig.added("courier", new.number).uses, 1);

    let retired = rig
        .nodes
        .retire_secret("courier", old.number, HOUR)
        .await
        .unwrap();
    let until_us = BEGIN_US + 2_000_000 + 3_600_000_000;
    assert_eq!(retired, Retired::Until(until_us));
    // Asked again, it does not last longer.
    let again = rig
        .nodes
        .retire_secret("courier", old.number, 2 * HOUR)
        .await
        .unwrap();
    assert_eq!(again, retired);
    rig.clock.advance_us(3_600_000_000);
    assert!(rig.passes("courier", &old.secret));
    rig.clock.advance_us(1);
    assert!(!rig.passes("courier", &old.secret));
    assert!(rig.auth.token(old.secret.expose()).is_err());
    assert!(rig.passes("courier", &new.secret));

    rig.nodes.upkeep().await.unwrap();
    assert_eq!(rig.nodes.secrets("courier").unwrap().len(), 1);
    assert_eq!(rig.bodies("sealed").await.len(), 1, "what ended is removed");
    let rig = world.start().await;
    assert!(rig.passes("courier", &new.secret) && !rig.passes("courier", &old.secret));
}

#[tokio::test]
async fn a_configured_node_gets_secrets_too_and_is_not_changed_otherwise() {
    let world = World::new();
    let rig = world.start().await;
    let old = Secret::new(CONFIGURED);
    assert!(rig.passes("flowpay", &old));
    let new = rig.nodes.add_secret("flowpay").await.unwrap();
    assert!(rig.passes("flowpay", &old) && rig.passes("flowpay", &new.secret));
    let principal = rig.verify("flowpay", &new.secret).unwrap();
    assert!(principal.may_publish(&topic("payment.received"), false));

    let secrets = rig.nodes.secrets("flowpay").unwrap();
    let [first, second] = &secrets[..] else {
        panic!("{secrets:?}")
    };
    assert_eq!(
        (first.number, first.hint.as_deref(), first.uses),
        (None, Some("-end"), 1)
    );
    assert_eq!((second.number, second.uses), (Some(1), 2));

    let node = rig.nodes.get("flowpay").unwrap();
    assert!(node.configured);
    assert_eq!(node.settings, publishing(&["payment.*"]));
    for refused in [
        rig.nodes
            .change("flowpay", node.revision, NodeSettings::default())
            .await
            .map(|_| ()),
        rig.nodes.remove("flowpay", node.revision).await,
        rig.nodes
            .create("flowpay", NodeSettings::default())
            .await
            .map(|_| ()),
        rig.nodes
            .create("default", NodeSettings::default())
            .await
            .map(|_| ()),
    ] {
        assert_eq!(refused.unwrap_err().kind(), Kind::Conflict);
    }
    // The configured one is a secret that lasts.
    let retired = rig
        .nodes
        .retire_secret("flowpay", new.number, Duration::ZERO)
        .await;
    assert_eq!(retired.unwrap(), Retired::Now);
    assert!(!rig.passes("flowpay", &new.secret) && rig.passes("flowpay", &old));
}

#[tokio::test]
async fn what_was_made_stays_when_the_configuration_is_reloaded() {
    let world = World::new();
    let rig = world.start().await;
    let (_, made) = rig
        .nodes
        .create("courier", publishing(&["parcel.*"]))
        .await
        .unwrap();
    let added = rig.nodes.add_secret("flowpay").await.unwrap();
    assert!(rig.passes("flowpay", &Secret::new(CONFIGURED)));
    rig.auth.replace(&configured(), &catalogue()).unwrap();
    assert!(rig.passes("courier", &made.secret) && rig.passes("flowpay", &added.secret));
    let uses: Vec<u64> = rig
        .nodes
        .secrets("flowpay")
        .unwrap()
        .iter()
        .map(|s| s.uses)
        .collect();
    assert_eq!(uses, [1, 1], "counting goes on");

    // Configured from now on: the configuration says what it may do, and what was made still signs.
    let mut options = configured();
    let node = NodeOptions::new("courier").publish(["payment.*"]);
    options.nodes.push(node);
    rig.auth.replace(&options, &catalogue()).unwrap();
    let principal = rig.verify("courier", &made.secret).unwrap();
    assert!(principal.may_publish(&topic("payment.received"), false));
    assert!(!principal.may_publish(&topic("parcel.sent"), false));
    assert!(rig.nodes.get("courier").unwrap().configured);

    // Not configured any more: secrets that were added to it do not make it a node.
    options.nodes.retain(|node| node.id != "flowpay");
    rig.auth.replace(&options, &catalogue()).unwrap();
    assert!(!rig.passes("flowpay", &added.secret));
    assert!(rig.nodes.get("flowpay").is_none());
    assert!(
        rig.auth
            .warnings()
            .iter()
            .any(|warning| warning.contains("flowpay"))
    );
    // Somebody else who takes the id does not get them.
    let (_, fresh) = rig
        .nodes
        .create("flowpay", NodeSettings::default())
        .await
        .unwrap();
    assert!(rig.passes("flowpay", &fresh.secret) && !rig.passes("flowpay", &added.secret));
}

#[tokio::test]
async fn a_node_that_is_made_takes_nothing_from_the_default_node() {
    let world = World::new();
    let secret = Secret::new("the-default-secret-of-32-characters!");
    let options = AuthOptions {
        default_secrets: vec![secret.clone().into()],
        ..AuthOptions::default()
    };
    let rig = world.start_with(&options, catalogue()).await;
    rig.nodes
        .create("courier", publishing(&["parcel.*"]))
        .await
        .unwrap();
    let default = rig.verify("default", &secret).unwrap();
    assert!(default.may_publish(&topic("payment.received"), false));
}

#[tokio::test]
async fn permissions_change_for_who_has_seen_the_present_ones() {
    let world = World::new();
    let rig = world.start().await;
    let (node, made) = rig
        .nodes
        .create("courier", publishing(&["parcel.*"]))
        .await
        .unwrap();
    let changed = rig
        .nodes
        .change("courier", node.revision, publishing(&["payment.*"]))
        .await
        .unwrap();
    assert!(changed.revision > node.revision);
    let principal = rig.verify("courier", &made.secret).unwrap();
    assert!(principal.may_publish(&topic("payment.received"), false));
    let stale = rig
        .nodes
        .change("courier", node.revision, publishing(&[]))
        .await;
    assert_eq!(stale.unwrap_err().kind(), Kind::Stale);
    let stale = rig.nodes.remove("courier", node.revision).await;
    assert_eq!(stale.unwrap_err().kind(), Kind::Stale);

    rig.nodes.remove("courier", changed.revision).await.unwrap();
    assert!(!rig.passes("courier", &made.secret));
    assert!(rig.bodies("node").await.is_empty() && rig.bodies("sealed").await.is_empty());
    let gone = rig.nodes.remove("courier", changed.revision).await;
    assert_eq!(gone.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn what_cannot_count_is_refused_and_not_kept() {
    let world = World::new();
    let rig = world.start().await;
    let many = vec!["payment.*"; 129];
    for (id, settings) in [
        ("courier", publishing(&["no such event"])),
        ("Courier", NodeSettings::default()),
        ("", NodeSettings::default()),
        ("courier", publishing(&[&"x".repeat(300)])),
    ] {
        let error = rig.nodes.create(id, settings).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Malformed, "{error}");
    }
    let error = rig
        .nodes
        .create("courier", publishing(&many))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    let by_signature = NodeSettings {
        signature_only: true,
        ..NodeSettings::default()
    };
    for n in 0..8 {
        let id = format!("node-{n}");
        rig.nodes.create(&id, by_signature.clone()).await.unwrap();
    }
    let error = rig.nodes.create("node-8", by_signature).await.unwrap_err();
    assert!(error.to_string().contains("at most 8"), "{error}");
    assert_eq!(rig.bodies("node").await.len(), 8);
    assert_eq!(rig.bodies("sealed").await.len(), 8);
    let error = rig
        .nodes
        .create("node-7", NodeSettings::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NodeExists { .. }), "{error:?}");
}

#[tokio::test]
async fn a_node_has_so_many_secrets_and_never_none() {
    let world = World::new();
    let rig = world.start().await;
    let (_, first) = rig
        .nodes
        .create("courier", NodeSettings::default())
        .await
        .unwrap();
    let error = rig
        .nodes
        .retire_secret("courier", first.number, HOUR)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::SecretNeeded), "{error:?}");
    for _ in 1..SECRETS_PER_NODE_MAX {
        rig.nodes.add_secret("courier").await.unwrap();
    }
    let error = rig.nodes.add_secret("courier").await.unwrap_err();
    assert!(matches!(error, Error::TooMany { .. }), "{error:?}");
    rig.nodes
        .retire_secret("courier", first.number, HOUR)
        .await
        .unwrap();
    let error = rig.nodes.add_secret("courier").await.unwrap_err();
    assert!(matches!(error, Error::TooMany { .. }), "it counts still");
    rig.clock.advance_us(3_600_000_001);
    let fifth = rig.nodes.add_secret("courier").await.unwrap();
    assert_eq!(fifth.number, 5, "a number is not used twice");
    let error = rig
        .nodes
        .retire_secret("courier", first.number, HOUR)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::SecretNotFound { .. }), "{error:?}");
    let long = Duration::from_secs(91 * 24 * 3_600);
    let error = rig
        .nodes
        .retire_secret("courier", fifth.number, long)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Malformed);
}

#[tokio::test]
async fn without_a_vault_key_no_node_is_made() {
    let world = World::new();
    let rig = world.start().await;
    let vault = Vault::open(rig.log.clone(), VaultKeys::default(), Random::system());
    let nodes = NodeRegistry::open(rig.log.clone(), rig.auth.clone(), vault.await.unwrap())
        .await
        .unwrap();
    let error = nodes
        .create("courier", NodeSettings::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::VaultClosed), "{error:?}");
    let error = nodes.add_secret("flowpay").await.unwrap_err();
    assert!(matches!(error, Error::VaultClosed), "{error:?}");
    assert!(nodes.get("courier").is_none());
    assert!(rig.bodies("node").await.is_empty());
}

#[tokio::test]
async fn uses_are_counted_without_a_write_and_outlive_the_process() {
    let world = World::new();
    let rig = world.start().await;
    let (_, made) = rig
        .nodes
        .create("courier", NodeSettings::default())
        .await
        .unwrap();
    for _ in 0..5 {
        assert!(rig.passes("courier", &made.secret));
    }
    assert!(rig.bodies("node_usage").await.is_empty());
    rig.nodes.upkeep().await.unwrap();
    let kept = rig.bodies("node_usage").await;
    assert_eq!(kept.len(), 1);
    let key = Key::new(Family::new("node_usage"), "courier");
    let revision = rig.log.record(&key).await.unwrap().unwrap().revision;
    rig.nodes.upkeep().await.unwrap();
    let again = rig.log.record(&key).await.unwrap().unwrap().revision;
    assert_eq!(revision, again, "nothing was used, nothing is written");

    let rig = world.start().await;
    assert!(rig.passes("courier", &made.secret));
    let secret = rig.added("courier", made.number);
    assert_eq!((secret.uses, secret.last_used_us), (6, Some(BEGIN_US)));
    // The moment from which the old one is watched is kept with the new one: a crash right after does not make
    // a busy secret look idle, nor an idle one busy.
    rig.nodes.add_secret("courier").await.unwrap();
    let rig = world.start().await;
    assert_eq!(rig.added("courier", made.number).uses, 0);
    assert!(rig.passes("courier", &made.secret));
    assert_eq!(rig.added("courier", made.number).uses, 1);
}

#[tokio::test]
async fn a_damaged_secret_stops_nobody_else() {
    let world = World::new();
    let rig = world.start().await;
    let (_, damaged) = rig
        .nodes
        .create("courier", NodeSettings::default())
        .await
        .unwrap();
    let (_, whole) = rig
        .nodes
        .create("carrier", NodeSettings::default())
        .await
        .unwrap();
    // One node's secret in the place of another's.
    let other = rig.bodies("sealed").await.remove(0);
    assert_eq!(other.0, "node/carrier/secret-1");
    let key = Key::new(Family::new("sealed"), "node/courier/secret-1");
    let command = Command {
        changes: vec![Change::put(key, other.1)],
        ..Command::default()
    };
    rig.log.submit(&Principal::nexus(), command).await.unwrap();
    let rig = world.start().await;
    assert!(rig.passes("carrier", &whole.secret));
    assert!(!rig.passes("courier", &damaged.secret) && !rig.passes("courier", &whole.secret));
    // It is replaced as any other.
    let new = rig.nodes.add_secret("courier").await.unwrap();
    assert!(rig.passes("courier", &new.secret));
    let retired = rig
        .nodes
        .retire_secret("courier", damaged.number, Duration::ZERO)
        .await;
    assert_eq!(retired.unwrap(), Retired::Now);
}

#[tokio::test]
async fn an_event_that_is_no_longer_declared_stops_no_node() {
    let world = World::new();
    let rig = world.start().await;
    let settings = publishing(&["parcel.sent", "payment.*"]);
    let (node, made) = rig.nodes.create("courier", settings.clone()).await.unwrap();
    let rig = world.start_with(&configured(), Catalogue::known()).await;
    let principal = rig.verify("courier", &made.secret).unwrap();
    assert!(principal.may_publish(&topic("payment.received"), false));
    assert!(
        rig.auth
            .warnings()
            .iter()
            .any(|warning| warning.contains("parcel.sent"))
    );
    // Others are made and changed; it is changed when its names are right.
    rig.nodes
        .create("carrier", NodeSettings::default())
        .await
        .unwrap();
    let error = rig
        .nodes
        .change("courier", node.revision, settings)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Malformed);
    rig.nodes
        .change("courier", node.revision, publishing(&["payment.*"]))
        .await
        .unwrap();
}

#[tokio::test]
async fn nodes_sign_on_while_the_vault_key_is_replaced() {
    let world = World::new();
    let rig = world.start().await;
    let (_, made) = rig
        .nodes
        .create("courier", NodeSettings::default())
        .await
        .unwrap();
    let next = VaultKey::generate(&Random::system());
    let keys = VaultKeys {
        current: Some(next.clone()),
        previous: Some(world.key.clone()),
    };
    rig.vault.replace(keys).await.unwrap();
    let (_, second) = rig
        .nodes
        .create("carrier", NodeSettings::default())
        .await
        .unwrap();
    let rotation = rig.vault.rotate().await.unwrap();
    assert_eq!((rotation.rewrapped, rotation.sealed), (1, 2));
    let world = World { key: next, ..world };
    let rig = world.start().await;
    assert!(rig.passes("courier", &made.secret) && rig.passes("carrier", &second.secret));
}
