//! The tokens that were replaced and are not revoked yet.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::vault::Token;

/// They wait for the calls that use them; at the end of the process they are revoked at once. A
/// clone shares them.
#[derive(Debug, Default, Clone)]
pub(super) struct ReplacedTokens(Arc<Mutex<Vec<Arc<Token>>>>);

impl ReplacedTokens {
    pub(super) fn add(&self, token: Arc<Token>) {
        self.lock().push(token);
    }

    pub(super) fn remove(&self, token: &Token) {
        self.lock().retain(|one| !one.is_same(token));
    }

    pub(super) fn take(&self) -> Vec<Arc<Token>> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Token>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
