//! Who a node is, kept in its data folder.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::{ClusterId, KeyId, NodeId};
use crate::tickets::NodeKey;

const FORMAT: u32 = 1;
const FILE_NAME: &str = "identity.json";
/// So many keys can live at once: the signing root may be changed again before the links under the
/// one before are over.
const MAX_KEYS: usize = 4;

/// Why a node's identity cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It is damaged, or a later closeby wrote it.
    #[error("the node's identity.json cannot be read: {0}")]
    Damaged(String),
    /// The disk failed.
    #[error("the node's identity.json cannot be used: {0}")]
    Io(#[from] io::Error),
}

/// Who a node is: what central bound together when it joined first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub node: NodeId,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Its keys: one, or several while they are changed; the newest last.
    pub keys: Vec<NodeKey>,
    /// The highest epoch of the ledger that it ever saw.
    pub highest_epoch: u64,
    /// Whether its store was opened once: from then on its folder has a marker, and a folder
    /// without one is not its folder.
    pub has_store: bool,
}

impl Identity {
    /// The key that signs.
    #[must_use]
    pub fn newest_key(&self) -> Option<&NodeKey> {
        self.keys.last()
    }

    /// Takes a key; the one before stays, as tickets that it signed are still under way.
    pub fn add_key(&mut self, key: NodeKey) {
        self.keys.retain(|known| known.id() != key.id());
        self.keys.push(key);
        let surplus = self.keys.len().saturating_sub(MAX_KEYS);
        self.keys.drain(..surplus);
    }

    /// Keeps the newest key alone.
    pub fn forget_former_keys(&mut self) {
        let former = self.keys.len().saturating_sub(1);
        self.keys.drain(..former);
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    node: NodeId,
    cluster: ClusterId,
    keys: Vec<StoredKey>,
    highest_epoch: u64,
    has_store: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    id: KeyId,
    key: String,
}

/// The file in a node's data folder that says who the node is. Mode 0600: its key is in it.
#[derive(Debug, Clone)]
pub struct IdentityFile {
    dir: PathBuf,
}

impl IdentityFile {
    /// The one of this data folder.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Reads it; none where there is none yet.
    ///
    /// # Errors
    /// When it is there and cannot be read: a node whose identity is damaged must not take
    /// another one by itself.
    pub fn load(&self) -> Result<Option<Identity>, IdentityError> {
        let text = match std::fs::read_to_string(self.dir.join(FILE_NAME)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let damaged = |why: String| IdentityError::Damaged(why);
        let document: Document = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if document.format != FORMAT {
            return Err(damaged(format!("format {} is not known here", document.format)));
        }
        let keys: Option<Vec<NodeKey>> = document.keys.iter().map(StoredKey::read).collect();
        match keys {
            Some(keys) if !keys.is_empty() => Ok(Some(Identity {
                node: document.node,
                cluster: document.cluster,
                keys,
                highest_epoch: document.highest_epoch,
                has_store: document.has_store,
            })),
            _ => Err(damaged("its key is no key".to_owned())),
        }
    }

    /// Keeps it: whole and on the disk when this returns, or the old one stays.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn save(&self, identity: &Identity) -> Result<(), IdentityError> {
        let document = Document {
            format: FORMAT,
            node: identity.node,
            cluster: identity.cluster,
            keys: identity.keys.iter().map(StoredKey::of).collect(),
            highest_epoch: identity.highest_epoch,
            has_store: identity.has_store,
        };
        let text = serde_json::to_vec_pretty(&document).map_err(io::Error::other)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let temporary = self.dir.join(".identity.json.new");
        // A left-over could have another mode.
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&temporary, self.dir.join(FILE_NAME))?;
        File::open(&self.dir)?.sync_all()?;
        Ok(())
    }
}

impl StoredKey {
    fn of(key: &NodeKey) -> Self {
        Self { id: key.id(), key: hex::encode(key.expose_bytes()) }
    }

    fn read(&self) -> Option<NodeKey> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(&self.key, &mut bytes).ok()?;
        Some(NodeKey::from_bytes(self.id, bytes))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn identity() -> Identity {
        Identity {
            node: NodeId::random(),
            cluster: ClusterId::random(),
            keys: vec![NodeKey::from_bytes(KeyId(1), [1; 32])],
            highest_epoch: 7,
            has_store: true,
        }
    }

    #[test]
    fn what_is_kept_is_read_back_and_hidden_from_others() {
        let dir = tempfile::tempdir().unwrap();
        let file = IdentityFile::new(&dir.path().join("data"));
        assert_eq!(file.load().unwrap(), None);
        let mut identity = identity();
        file.save(&identity).unwrap();
        assert_eq!(file.load().unwrap(), Some(identity.clone()));
        identity.add_key(NodeKey::from_bytes(KeyId(2), [2; 32]));
        file.save(&identity).unwrap();
        assert_eq!(file.load().unwrap(), Some(identity));
        let mode = std::fs::metadata(dir.path().join("data/identity.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_identity_is_an_error_and_not_a_new_node() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "{}", r#"{"format":2}"#] {
            std::fs::write(dir.path().join(FILE_NAME), text).unwrap();
            assert!(matches!(IdentityFile::new(dir.path()).load(), Err(IdentityError::Damaged(_))), "{text}");
        }
    }

    #[test]
    fn several_keys_live_at_once_and_the_last_one_is_the_newest() {
        let mut identity = identity();
        let ids = |identity: &Identity| identity.keys.iter().map(|key| key.id().0).collect::<Vec<_>>();
        for id in [9, 3, 2, 3] {
            identity.add_key(NodeKey::from_bytes(KeyId(id), [9; 32]));
        }
        assert_eq!(ids(&identity), [1, 9, 2, 3]);
        identity.add_key(NodeKey::from_bytes(KeyId(5), [9; 32]));
        assert_eq!(ids(&identity), [9, 2, 3, 5]);
        assert_eq!(identity.newest_key().unwrap().id(), KeyId(5));
        identity.forget_former_keys();
        assert_eq!(ids(&identity), [5]);
    }
}
