//! Keys and secrets that are replaced while others use them.

use std::sync::{Arc, PoisonError, RwLock};

use crate::tickets::{NodeKey, NodeKeys, Rotating};

/// A secret whose file may change at any time. Clones share it.
#[derive(Debug)]
pub struct SharedSecret<S>(Arc<RwLock<Arc<Rotating<S>>>>);

impl<S> SharedSecret<S> {
    /// This one for now.
    #[must_use]
    pub fn new(secret: Rotating<S>) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(secret))))
    }

    /// This one from now on.
    pub fn set(&self, secret: Rotating<S>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(secret);
    }

    /// The secret now.
    #[must_use]
    pub fn get(&self) -> Arc<Rotating<S>> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S> Clone for SharedSecret<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

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

    /// These from now on, the newest last.
    pub fn set(&self, keys: Vec<NodeKey>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(NodeKeys::new(keys));
    }

    /// The keys now.
    #[must_use]
    pub fn get(&self) -> Arc<NodeKeys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}
