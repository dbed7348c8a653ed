//! Vaults: what is sealed opens under its own name, version and key, and nowhere else.

#[path = "vault/mortal.rs"]
mod mortal;
#[path = "vault/rotation.rs"]
mod rotation;

use nexus_auth::{Error, SEALED_PLAIN_BYTES_MAX, SealedName, Vault, VaultKey, VaultKeys};
use nexus_core::{Change, Coded, Command, Key, Kind, Log, Nexus, Principal, Random, Receipt};

const NAME: SealedName<'_> = SealedName {
    owner: "user:ana",
    record: "server-1",
    field: "token",
};

fn key() -> VaultKey {
    VaultKey::generate(&Random::system())
}

async fn log() -> Log {
    Nexus::in_memory().await.unwrap().log().clone()
}

async fn open(log: &Log, keys: VaultKeys) -> Result<Vault, Error> {
    Vault::open(log.clone(), keys, Random::system()).await
}

async fn submit(log: &Log, command: Command) -> Result<Receipt, nexus_core::Error> {
    log.submit(&Principal::nexus(), command).await
}

async fn seal(vault: &Vault, log: &Log, name: &SealedName<'_>, version: u64, plain: &str) {
    let mut command = Command::default();
    vault
        .seal(&mut command, name, version, plain.as_bytes())
        .unwrap();
    submit(log, command).await.unwrap();
}

async fn body(log: &Log, name: &SealedName<'_>) -> Vec<u8> {
    log.record(&name.key())
        .await
        .unwrap()
        .unwrap()
        .body
        .to_vec()
}

/// Somebody who can write the database puts a sealed value where they like.
async fn plant(log: &Log, key: Key, body: Vec<u8>) {
    let command = Command {
        changes: vec![Change::put(key, body)],
        ..Command::default()
    };
    submit(log, command).await.unwrap();
}

async fn refused(vault: &Vault, name: &SealedName<'_>, version: u64) {
    let error = vault.unseal(name, version).await.unwrap_err();
    assert!(matches!(error, Error::SealedRefused { .. }), "{error:?}");
    assert_eq!(error.kind(), Kind::Internal);
}

#[tokio::test]
async fn each_byte_of_a_sealed_value_counts() {
    let log = log().await;
    let vault = open(&log, VaultKeys::one(key())).await.unwrap();
    seal(&vault, &log, &NAME, 1, "hunter2").await;
    let sealed = body(&log, &NAME).await;
    // Format, id of the key, nonce, wrapped key with its code, nonce, ciphertext with its code.
    let regions = [0..1, 1..9, 9..21, 21..69, 69..81, 81..104];
    assert_eq!(regions[5].end, sealed.len());
    for at in regions.into_iter().flatten() {
        let mut flipped = sealed.clone();
        flipped[at] ^= 0x10;
        plant(&log, NAME.key(), flipped).await;
        refused(&vault, &NAME, 1).await;
    }
    for cut in [0, 1, 96, sealed.len() - 1] {
        plant(&log, NAME.key(), sealed[..cut].to_vec()).await;
        refused(&vault, &NAME, 1).await;
    }
    plant(&log, NAME.key(), sealed).await;
    assert_eq!(&**vault.unseal(&NAME, 1).await.unwrap(), b"hunter2");
}

#[tokio::test]
async fn a_sealed_value_opens_in_its_own_place_alone() {
    let log = log().await;
    let vault = open(&log, VaultKeys::one(key())).await.unwrap();
    let others = [
        SealedName {
            owner: "user:ben",
            ..NAME
        },
        SealedName {
            record: "server-2",
            ..NAME
        },
        SealedName {
            field: "password",
            ..NAME
        },
        // The same letters, cut elsewhere.
        SealedName {
            owner: "user:ana/server-1",
            record: "tok",
            field: "en",
        },
    ];
    seal(&vault, &log, &NAME, 1, "ana's").await;
    for other in others {
        seal(&vault, &log, &other, 1, "another's").await;
        let theirs = body(&log, &other).await;
        plant(&log, other.key(), body(&log, &NAME).await).await;
        refused(&vault, &other, 1).await;
        let own = body(&log, &NAME).await;
        plant(&log, NAME.key(), theirs).await;
        refused(&vault, &NAME, 1).await;
        plant(&log, NAME.key(), own).await;
    }
    assert_eq!(&**vault.unseal(&NAME, 1).await.unwrap(), b"ana's");
}

#[tokio::test]
async fn an_old_version_of_a_value_is_refused() {
    let log = log().await;
    let vault = open(&log, VaultKeys::one(key())).await.unwrap();
    seal(&vault, &log, &NAME, 1, "old").await;
    let old = body(&log, &NAME).await;
    seal(&vault, &log, &NAME, 2, "new").await;
    refused(&vault, &NAME, 1).await;
    plant(&log, NAME.key(), old.clone()).await;
    refused(&vault, &NAME, 2).await;
    // Parts of both do not make one either: the key of the one does not open the other.
    seal(&vault, &log, &NAME, 2, "new").await;
    let new = body(&log, &NAME).await;
    for cut in [21, 69, 81] {
        plant(&log, NAME.key(), [&new[..cut], &old[cut..]].concat()).await;
        refused(&vault, &NAME, 1).await;
        refused(&vault, &NAME, 2).await;
    }
}

#[tokio::test]
async fn a_removed_value_is_gone() {
    let log = log().await;
    let vault = open(&log, VaultKeys::one(key())).await.unwrap();
    seal(&vault, &log, &NAME, 1, "hunter2").await;
    let command = Command {
        changes: vec![vault.delete(&NAME)],
        ..Command::default()
    };
    submit(&log, command).await.unwrap();
    let error = vault.unseal(&NAME, 1).await.unwrap_err();
    assert!(matches!(error, Error::SealedMissing { .. }), "{error:?}");
}

#[tokio::test]
async fn without_a_key_nothing_is_sealed() {
    let log = log().await;
    let vault = open(&log, VaultKeys::default()).await.unwrap();
    assert!(!vault.is_open());
    let mut command = Command::default();
    let error = vault.seal(&mut command, &NAME, 1, b"hunter2").unwrap_err();
    assert!(matches!(error, Error::VaultClosed), "{error:?}");
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(command.changes.is_empty());
    assert!(matches!(vault.rotate().await, Err(Error::VaultClosed)));
}

#[tokio::test]
async fn a_log_with_sealed_values_is_not_opened_without_a_key() {
    let log = log().await;
    let key = key();
    let vault = open(&log, VaultKeys::one(key.clone())).await.unwrap();
    // Nothing is sealed yet.
    open(&log, VaultKeys::default()).await.unwrap();
    seal(&vault, &log, &NAME, 1, "hunter2").await;
    let error = open(&log, VaultKeys::default()).await.unwrap_err();
    assert!(matches!(error, Error::VaultKeyMissing), "{error:?}");
    let error = vault.replace(VaultKeys::default()).await.unwrap_err();
    assert!(matches!(error, Error::VaultKeyMissing), "{error:?}");
    assert!(vault.is_open(), "the present key stays");
    open(&log, VaultKeys::one(key)).await.unwrap();
}

#[tokio::test]
async fn a_wrong_key_is_refused_when_the_log_is_opened() {
    let log = log().await;
    let right = key();
    open(&log, VaultKeys::one(right.clone())).await.unwrap();
    let error = open(&log, VaultKeys::one(key())).await.unwrap_err();
    assert!(matches!(error, Error::VaultKeyWrong { .. }), "{error:?}");
    assert!(error.to_string().contains(&right.id().to_string()));
    let wrong = VaultKeys {
        current: Some(key()),
        previous: Some(key()),
    };
    let error = open(&log, wrong).await.unwrap_err();
    assert!(matches!(error, Error::VaultKeyWrong { .. }), "{error:?}");
    open(&log, VaultKeys::one(right)).await.unwrap();
}

#[tokio::test]
async fn a_register_that_was_tampered_with_is_refused() {
    let log = log().await;
    let (right, other) = (key(), key());
    let vault = open(&log, VaultKeys::one(right.clone())).await.unwrap();
    seal(&vault, &log, &NAME, 1, "hunter2").await;
    let register = Key::new(nexus_core::Family::new("vault"), "keys");
    let body = log.record(&register).await.unwrap().unwrap().body;
    let text = String::from_utf8(body.to_vec()).unwrap();
    // The id of another key does not make it the right one.
    let renamed = text.replace(&right.id().to_string(), &other.id().to_string());
    plant(&log, register.clone(), renamed.into_bytes()).await;
    let error = open(&log, VaultKeys::one(other)).await.unwrap_err();
    assert!(matches!(error, Error::VaultKeyWrong { .. }), "{error:?}");
    plant(&log, register.clone(), b"{}".to_vec()).await;
    let error = open(&log, VaultKeys::one(right.clone())).await.unwrap_err();
    assert!(matches!(error, Error::VaultDamaged), "{error:?}");
    let command = Command {
        changes: vec![Change::Delete(register)],
        ..Command::default()
    };
    submit(&log, command).await.unwrap();
    let error = open(&log, VaultKeys::one(right)).await.unwrap_err();
    assert!(matches!(error, Error::VaultDamaged), "{error:?}");
}

#[tokio::test]
async fn a_secret_has_a_bound() {
    let log = log().await;
    let vault = open(&log, VaultKeys::one(key())).await.unwrap();
    let mut command = Command::default();
    let longest = vec![7; SEALED_PLAIN_BYTES_MAX];
    vault.seal(&mut command, &NAME, 1, &longest).unwrap();
    submit(&log, command).await.unwrap();
    assert_eq!(**vault.unseal(&NAME, 1).await.unwrap(), longest);
    let longer = vec![7; SEALED_PLAIN_BYTES_MAX + 1];
    let error = vault.seal(&mut Command::default(), &NAME, 1, &longer);
    assert_eq!(error.unwrap_err().kind(), Kind::TooLarge);
}

#[tokio::test]
async fn a_log_whose_key_is_lost_can_be_opened_after_everything_sealed_is_forgotten() {
    let log = log().await;
    let vault = open(&log, VaultKeys::one(key())).await.unwrap();
    for n in 0..70 {
        let field = format!("field-{n}");
        let name = SealedName {
            field: &field,
            ..NAME
        };
        seal(&vault, &log, &name, 1, "lost").await;
    }
    let new = key();
    open(&log, VaultKeys::one(new.clone())).await.unwrap_err();
    assert_eq!(Vault::forget_everything(&log).await.unwrap(), 70);
    let vault = open(&log, VaultKeys::one(new)).await.unwrap();
    seal(&vault, &log, &NAME, 1, "found").await;
}
