//! Replacing the key of a vault: at every moment everything opens with one of the two keys.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use nexus_auth::{Error, Rotation, SealedName, Vault, VaultKey, VaultKeys};
use nexus_core::{Coded, Command, Kind, Log};

use super::{NAME, key, log, mortal::Disk, open, plant, seal, submit};

const ALL_COMMITS: usize = usize::MAX;
/// Enough for several commits.
const VALUES: usize = 150;

fn both(new: &VaultKey, old: &VaultKey) -> VaultKeys {
    VaultKeys {
        current: Some(new.clone()),
        previous: Some(old.clone()),
    }
}

async fn fill(vault: &Vault, log: &Log) {
    for n in 0..VALUES {
        let field = format!("field-{n}");
        let name = SealedName {
            field: &field,
            ..NAME
        };
        seal(vault, log, &name, n as u64, &format!("plain-{n}")).await;
    }
}

async fn check_all(vault: &Vault) {
    for n in 0..VALUES {
        let field = format!("field-{n}");
        let name = SealedName {
            field: &field,
            ..NAME
        };
        let plain = vault.unseal(&name, n as u64).await.unwrap();
        assert_eq!(**plain, *format!("plain-{n}").as_bytes());
    }
}

#[tokio::test]
async fn after_a_rotation_the_new_key_opens_everything() {
    let log = log().await;
    let (old, new) = (key(), key());
    fill(
        &open(&log, VaultKeys::one(old.clone())).await.unwrap(),
        &log,
    )
    .await;
    let vault = open(&log, both(&new, &old)).await.unwrap();
    assert_eq!(vault.status().key_id, Some(new.id()));
    assert_eq!(vault.status().previous_key_id, Some(old.id()));
    check_all(&vault).await;
    seal(&vault, &log, &NAME, 1, "sealed meanwhile").await;
    let rotation = vault.rotate().await.unwrap();
    let sealed = VALUES + 1;
    assert_eq!(
        rotation,
        Rotation {
            rewrapped: VALUES,
            sealed,
            key_id: new.id(),
        }
    );
    assert_eq!(vault.status().previous_key_id, None);
    check_all(&vault).await;
    let again = vault.rotate().await.unwrap();
    assert_eq!((again.rewrapped, again.sealed), (0, sealed));

    let vault = open(&log, VaultKeys::one(new.clone())).await.unwrap();
    check_all(&vault).await;
    // The old key may stay configured; alone it is refused.
    open(&log, both(&new, &old)).await.unwrap();
    let error = open(&log, VaultKeys::one(old)).await.unwrap_err();
    assert!(matches!(error, Error::VaultKeyWrong { .. }), "{error:?}");
}

#[tokio::test]
async fn a_rotation_that_has_not_ended_needs_both_keys_and_can_go_back() {
    let log = log().await;
    let (old, new, third) = (key(), key(), key());
    fill(
        &open(&log, VaultKeys::one(old.clone())).await.unwrap(),
        &log,
    )
    .await;
    let vault = open(&log, both(&new, &old)).await.unwrap();
    seal(&vault, &log, &NAME, 1, "sealed with the new one").await;
    for keys in [
        VaultKeys::one(new.clone()),
        VaultKeys::one(old.clone()),
        both(&new, &third),
        both(&third, &new),
    ] {
        let error = open(&log, keys).await.unwrap_err();
        let refused = matches!(
            error,
            Error::VaultPreviousKeyMissing { .. } | Error::VaultKeyWrong { .. }
        );
        assert!(refused, "{error:?}");
        assert_eq!(error.kind(), Kind::Malformed);
    }
    let vault = open(&log, both(&old, &new)).await.unwrap();
    check_all(&vault).await;
    let rotation = vault.rotate().await.unwrap();
    assert_eq!(rotation.rewrapped, 1);
    let vault = open(&log, VaultKeys::one(old)).await.unwrap();
    check_all(&vault).await;
    vault.unseal(&NAME, 1).await.unwrap();
}

#[tokio::test]
async fn what_was_sealed_before_the_key_changed_is_not_kept_after_it() {
    let log = log().await;
    let (old, new) = (key(), key());
    let vault = open(&log, VaultKeys::one(old.clone())).await.unwrap();
    let mut late = Command::default();
    vault.seal(&mut late, &NAME, 1, b"hunter2").unwrap();
    assert_eq!(late.guards.len(), 1);
    vault.replace(both(&new, &old)).await.unwrap();
    vault.rotate().await.unwrap();
    let error = submit(&log, late).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Stale);
    seal(&vault, &log, &NAME, 1, "hunter2").await;
    let vault = open(&log, VaultKeys::one(new)).await.unwrap();
    assert_eq!(&**vault.unseal(&NAME, 1).await.unwrap(), b"hunter2");
}

#[tokio::test]
async fn a_value_that_does_not_open_keeps_the_previous_key_needed() {
    let log = log().await;
    let (old, new) = (key(), key());
    let vault = open(&log, VaultKeys::one(old.clone())).await.unwrap();
    fill(&vault, &log).await;
    plant(&log, NAME.key(), vec![1; 120]).await;
    vault.replace(both(&new, &old)).await.unwrap();
    let error = vault.rotate().await.unwrap_err();
    assert!(matches!(error, Error::SealedRefused { .. }), "{error:?}");
    assert!(error.to_string().contains("user:ana/server-1/token"));
    let error = open(&log, VaultKeys::one(new)).await.unwrap_err();
    let missing = matches!(error, Error::VaultPreviousKeyMissing { .. });
    assert!(missing, "{error:?}");
    check_all(&vault).await;
}

/// The process dies after each commit of a rotation in turn, the first one included.
#[tokio::test]
async fn a_rotation_that_is_killed_at_any_commit_leaves_everything_readable() {
    let mut refused_alone = 0;
    for commits in 0.. {
        let disk = Disk::new();
        let (old, new) = (key(), key());
        let log = disk.open(ALL_COMMITS).await;
        fill(
            &open(&log, VaultKeys::one(old.clone())).await.unwrap(),
            &log,
        )
        .await;
        drop(log);

        let dying = disk.open(commits).await;
        let ended = match open(&dying, both(&new, &old)).await {
            Ok(vault) => vault.rotate().await.map(|_| ()),
            Err(error) => Err(error),
        };

        let log = disk.open(ALL_COMMITS).await;
        // A key alone opens all or is refused; there is no opening with some of the values.
        for alone in [&old, &new] {
            match open(&log, VaultKeys::one(alone.clone())).await {
                Ok(vault) => check_all(&vault).await,
                Err(_) => refused_alone += 1,
            }
        }
        let vault = open(&log, both(&new, &old)).await.unwrap();
        check_all(&vault).await;
        vault.rotate().await.unwrap();
        let vault = open(&log, VaultKeys::one(new)).await.unwrap();
        check_all(&vault).await;
        if ended.is_ok() {
            // The register, three pages of values, the register again.
            assert_eq!(commits, 5);
            break;
        }
    }
    assert!(refused_alone > 5, "{refused_alone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_sealed_read_and_removed_while_the_key_is_replaced() {
    let log = log().await;
    let mut old = key();
    let vault = open(&log, VaultKeys::one(old.clone())).await.unwrap();
    fill(&vault, &log).await;
    let done = Arc::new(AtomicBool::new(false));
    let busy = tokio::spawn({
        let (vault, log, done) = (vault.clone(), log.clone(), done.clone());
        async move {
            let mut version = 0;
            while !done.load(Ordering::SeqCst) {
                version += 1;
                let mut command = Command::default();
                vault.seal(&mut command, &NAME, version, b"busy").unwrap();
                match submit(&log, command).await {
                    Ok(_) => {
                        let plain = vault.unseal(&NAME, version).await.unwrap();
                        assert_eq!(&**plain, b"busy");
                    }
                    Err(error) => assert_eq!(error.kind(), Kind::Stale),
                }
                if version % 3 == 0 {
                    let command = Command {
                        changes: vec![vault.delete(&NAME)],
                        ..Command::default()
                    };
                    submit(&log, command).await.unwrap();
                }
            }
            version
        }
    });
    for _ in 0..10 {
        let new = key();
        vault.replace(both(&new, &old)).await.unwrap();
        vault.rotate().await.unwrap();
        old = new;
    }
    done.store(true, Ordering::SeqCst);
    assert!(busy.await.unwrap() > 10);
    let vault = open(&log, VaultKeys::one(old)).await.unwrap();
    check_all(&vault).await;
}
