//! What `nexusd dev` makes once and keeps beside the data: its secret and the key of its vault.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use nexus_auth::{SECRET_CHARS_MIN, Secret, VaultKey};
use nexus_core::Random;

use super::load::read_secret;

/// The file in the data folder that holds the secret which `nexusd dev` made.
pub const DEV_SECRET_FILE: &str = "dev-secret";
/// The file in the data folder that holds the key of the vault which `nexusd dev` made.
pub const DEV_VAULT_KEY_FILE: &str = "dev-vault-key";
/// Only its owner may read it.
const MODE: u32 = 0o600;
/// The data folder, if this is the first thing in it.
const FOLDER_MODE: u32 = 0o700;

/// The secret that is kept, made now if there is none.
///
/// # Errors
/// The file cannot be read or written, or what it holds is too short to be what was written.
pub(crate) fn load_or_make(data_dir: &Path, random: &Random) -> io::Result<Secret> {
    let path = data_dir.join(DEV_SECRET_FILE);
    let secret = kept(&path, random, Secret::generate)?;
    if secret.chars() < SECRET_CHARS_MIN {
        return Err(io::Error::other(
            "it is too short to be a secret: remove it, and another is made",
        ));
    }
    Ok(secret)
}

/// The key of the vault that is kept, made now if there is none.
///
/// # Errors
/// The file cannot be read or written, or what it holds is no key. Another is not made in its place: what is
/// sealed with it would be lost.
pub(crate) fn load_or_make_vault_key(data_dir: &Path, random: &Random) -> io::Result<VaultKey> {
    let path = data_dir.join(DEV_VAULT_KEY_FILE);
    let key = kept(&path, random, |random| VaultKey::generate(random).to_hex())?;
    VaultKey::parse(key.expose()).map_err(io::Error::other)
}

/// What a file holds, made now if there is none; nobody but its owner reads it.
fn kept(path: &Path, random: &Random, new: fn(&Random) -> Secret) -> io::Result<Secret> {
    let secret = match read_secret(path) {
        Ok(text) => Secret::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path, random, new)?,
        Err(error) => return Err(error),
    };
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    }
    Ok(secret)
}

/// Writes a new secret under another name first, so that no half of it is ever found.
fn make(path: &Path, random: &Random, new: fn(&Random) -> Secret) -> io::Result<Secret> {
    let secret = new(random);
    if let Some(folder) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(folder)?;
    }
    let suffix = u64::from_le_bytes(random.bytes());
    let partial = path.with_extension(format!("{suffix:016x}"));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&partial)?;
    writeln!(file, "{}", secret.expose())?;
    file.sync_all()?;
    // A link fails when the name is taken: of two that start at once the first wins, and both use its secret.
    let linked = fs::hard_link(&partial, path);
    fs::remove_file(&partial)?;
    match linked {
        Ok(()) => Ok(secret),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read_secret(path).map(Secret::new)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let first = load_or_make(&data, &Random::seeded(1)).unwrap();
        let second = load_or_make(&data, &Random::seeded(2)).unwrap();
        assert!(first == second && first.chars() >= SECRET_CHARS_MIN);
        assert_eq!(mode_of(&data.join(DEV_SECRET_FILE)), MODE);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
    }

    #[test]
    fn rights_that_are_too_wide_are_narrowed_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(DEV_SECRET_FILE);
        load_or_make(folder.path(), &Random::seeded(1)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        load_or_make(folder.path(), &Random::seeded(1)).unwrap();
        assert_eq!(mode_of(&path), MODE);
        for damaged in ["", "short\n"] {
            fs::write(&path, damaged).unwrap();
            assert!(load_or_make(folder.path(), &Random::seeded(1)).is_err());
        }
    }

    #[test]
    fn the_key_of_the_vault_is_kept_too_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let load = |seed| load_or_make_vault_key(folder.path(), &Random::seeded(seed));
        assert_eq!(load(1).unwrap().id(), load(2).unwrap().id());
        let path = folder.path().join(DEV_VAULT_KEY_FILE);
        assert_eq!(mode_of(&path), MODE);
        fs::write(&path, "damaged\n").unwrap();
        assert!(load(1).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "damaged\n");
    }

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }
}
