//! A node's keys, as its parts share them.

use std::sync::{Arc, PoisonError, RwLock};

use crate::tickets::{NodeKey, NodeKeys};

/// The keys that a node has: none before it joined. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct SharedKeys {
    keys: Arc<RwLock<Arc<NodeKeys>>>,
}

impl SharedKeys {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// These from now on.
    pub fn set(&self, keys: Vec<NodeKey>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(NodeKeys::new(keys));
    }

    /// The keys now.
    #[must_use]
    pub fn get(&self) -> Arc<NodeKeys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}
