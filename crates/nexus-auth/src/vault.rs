//! The vault: secrets that are kept in the log, sealed, and opened at the moment of use.

mod envelope;
mod keys;
mod name;
mod opening;
mod register;
mod rotation;

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use nexus_core::{Change, Command, Guard, Log, Random, Record};
use zeroize::Zeroizing;

use self::envelope::Envelope;
use crate::Error;

pub use keys::{KeyId, VaultKey, VaultKeys};
pub use name::SealedName;
pub use rotation::Rotation;

/// A value that is to be sealed has at most this many bytes.
pub const SEALED_PLAIN_BYTES_MAX: usize = 64 * 1024;

/// Seals secrets, so that who reads the database or a copy of it learns none of them. Cheap to clone; all
/// clones see new keys at once.
///
/// Each value is encrypted with a fresh key, which is encrypted with the vault's. It opens under its own
/// [`SealedName`] and version only: whoever keeps a sealed value keeps its version in a record of their own,
/// counts it up with each new value, and so is never given an old one.
///
/// ```
/// # use nexus_core::{Clock, Command, Nexus, Principal, Random};
/// use nexus_auth::{SealedName, Vault, VaultKey, VaultKeys};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let random = Random::system();
/// let log = Nexus::in_memory().await?.log().clone();
/// let keys = VaultKeys::one(VaultKey::generate(&random));
/// let vault = Vault::open(log.clone(), keys, random).await?;
///
/// let name = SealedName { owner: "node", record: "flowpay", field: "secret-1" };
/// let mut command = Command::default(); // with what else changes
/// vault.seal(&mut command, &name, 1, b"hunter2")?;
/// log.submit(&Principal::nexus(), command).await?;
///
/// assert_eq!(&**vault.unseal(&name, 1).await?, b"hunter2");
/// # Ok(())
/// # }
/// # tokio::runtime::Runtime::new().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Clone)]
pub struct Vault {
    shared: Arc<Shared>,
}

struct Shared {
    log: Log,
    random: Random,
    live: ArcSwap<Live>,
    /// Held by whoever changes the keys or what is sealed with them.
    turn: tokio::sync::Mutex<()>,
}

/// The keys of the moment.
struct Live {
    keys: VaultKeys,
    /// The revision of the register that names them; zero when there is no key.
    revision: u64,
    /// Whether some values may still be under the previous key.
    is_rotating: bool,
}

/// What an operator may know of a vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VaultStatus {
    /// The key that seals; nothing when there is none, and nothing can be sealed.
    pub key_id: Option<KeyId>,
    /// The key that some values may still be under, until [`Vault::rotate`] is done.
    pub previous_key_id: Option<KeyId>,
}

impl Vault {
    /// Puts a value into a command, sealed: it is kept with everything else that the command changes, in the
    /// place of the value that had the name before.
    ///
    /// The command is refused if the vault's keys change before it is kept, as for a revision that has
    /// passed; then seal anew.
    ///
    /// # Errors
    /// [`Error::VaultClosed`] when there is no key, [`Error::SealedTooLarge`].
    pub fn seal(
        &self,
        command: &mut Command,
        name: &SealedName<'_>,
        version: u64,
        plain: &[u8],
    ) -> Result<(), Error> {
        if plain.len() > SEALED_PLAIN_BYTES_MAX {
            return Err(Error::SealedTooLarge {
                bytes_max: SEALED_PLAIN_BYTES_MAX,
            });
        }
        let live = self.shared.live.load();
        let key = live.keys.current.as_ref().ok_or(Error::VaultClosed)?;
        let sealed = envelope::seal(key, &name.text(), version, plain, &self.shared.random)
            .map_err(|_| Error::SealingFailed)?;
        command.changes.push(Change::put(name.key(), sealed));
        // Whoever replaced the key has looked for what is under the old one by then.
        let guard = Guard::Revision(register::key(), live.revision);
        if !command.guards.contains(&guard) {
            command.guards.push(guard);
        }
        Ok(())
    }

    /// Reads a value and opens it. Keep it no longer than it is needed; it is wiped when it is dropped.
    ///
    /// # Errors
    /// [`Error::SealedMissing`], [`Error::SealedRefused`] when it is damaged, of another version or of
    /// another name, [`Error::Log`].
    pub async fn unseal(
        &self,
        name: &SealedName<'_>,
        version: u64,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let key = name.key();
        let record = self.shared.log.record(&key).await.map_err(log)?;
        let record = record.ok_or_else(|| Error::SealedMissing {
            name: key.key.to_string(),
        })?;
        self.unseal_from(&record, name, version)
    }

    /// Opens a value from its record, which was just read: an older copy may be under a key that is gone.
    ///
    /// # Errors
    /// [`Error::SealedRefused`] when it is damaged, of another version or of another name.
    pub fn unseal_from(
        &self,
        record: &Record,
        name: &SealedName<'_>,
        version: u64,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let live = self.shared.live.load();
        let name = name.text();
        let opened = Envelope::read(&record.body).and_then(|envelope| {
            let key = live.keys.find(envelope.key_id)?;
            envelope.open(key, &name, version).ok()
        });
        opened.ok_or(Error::SealedRefused { name })
    }

    /// Removes a value, with the command that this goes into.
    #[must_use]
    pub fn delete(&self, name: &SealedName<'_>) -> Change {
        Change::Delete(name.key())
    }

    /// Whether there is a key, so that something can be sealed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.shared.live.load().keys.current.is_some()
    }

    /// Which keys are in use.
    #[must_use]
    pub fn status(&self) -> VaultStatus {
        let live = self.shared.live.load();
        let id = |key: &Option<VaultKey>| key.as_ref().map(VaultKey::id);
        VaultStatus {
            key_id: id(&live.keys.current),
            previous_key_id: id(&live.keys.previous).filter(|_| live.is_rotating),
        }
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

fn log(source: nexus_core::Error) -> Error {
    Error::Log { source }
}
