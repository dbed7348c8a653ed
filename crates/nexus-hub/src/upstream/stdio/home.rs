//! Where a child process is at home: a folder for its server and its user alone.

use std::{
    io,
    path::{Path, PathBuf},
};

use nexus_core::sha256;
use tokio::fs::DirBuilder;

use crate::{Scope, ServerId};

/// So many characters of a server's name are in the name of its folder, for people.
const NAME_CHARS_MAX: usize = 32;
/// So many bytes of the digest tell folders apart.
const DIGEST_BYTES: usize = 12;

/// The folder of a server for someone, or for all, made if need be.
pub(super) async fn make(
    homes: &Path,
    server: &ServerId,
    scope: Option<&Scope>,
) -> io::Result<PathBuf> {
    // Whole, because the child starts elsewhere.
    let home = std::path::absolute(homes)?.join(name(server, scope));
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(&home).await?;
    Ok(home)
}

/// The folder's name: no part of what others chose can lead out of its place.
fn name(server: &ServerId, scope: Option<&Scope>) -> String {
    let server = server.as_str();
    let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    let readable: String = server.chars().filter(plain).take(NAME_CHARS_MAX).collect();
    let user = scope.map_or("", |scope| &scope.user);
    // The length keeps the two apart, the mark those of all from those of a user without a name.
    let mark = u8::from(scope.is_some());
    let whole = format!("{mark} {} {server} {user}", server.len());
    let digest = data_encoding::HEXLOWER.encode(&sha256(whole.as_bytes())[..DIGEST_BYTES]);
    format!("{readable}-{digest}")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Component};

    use super::*;

    #[test]
    fn each_server_and_user_has_one_folder_within_its_place() {
        let scopes = [None, Some(""), Some("ana"), Some("../ana"), Some("x ana")];
        let mut names = BTreeSet::new();
        for server in [
            "brave",
            "brave x",
            "../../etc",
            "",
            "/",
            &"long".repeat(100),
        ] {
            for user in scopes {
                let scope = user.map(|user| Scope {
                    user: user.into(),
                    session: Some("1".into()),
                });
                let found = name(&ServerId::new(server), scope.as_ref());
                let parts: Vec<_> = Path::new(&found).components().collect();
                assert!(matches!(parts[..], [Component::Normal(_)]), "{found}");
                assert!(found.len() < 64, "{found}");
                // Sessions of one user share it.
                let other = scope.map(|scope| Scope {
                    session: None,
                    ..scope
                });
                assert_eq!(name(&ServerId::new(server), other.as_ref()), found);
                names.insert(found);
            }
        }
        assert_eq!(names.len(), 6 * scopes.len());
    }
}
