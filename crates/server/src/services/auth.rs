//! Who asks: a token becomes a principal. Tokens are known by their hash only; what was found is kept until principals change.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use hesuan_api::refusal::trouble;
use hesuan_engine::types::PrincipalId;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::Core;
use super::call::Deadline;
use crate::cluster_file::token_sha256;

/// Tokens kept; more are looked up each time.
const KEEP: usize = 100_000;

/// Tokens seen lately.
pub(crate) struct Principals {
    /// Rises when tokens may have changed.
    version: Arc<AtomicU64>,
    seen: RwLock<Seen>,
}

#[derive(Default)]
struct Seen {
    version: u64,
    // By the token's hash: to find a neighbour of a stored hash one would have to invert SHA-256, so a lookup leaks nothing.
    by_hash: HashMap<[u8; 32], PrincipalId>,
}

impl Principals {
    pub(super) fn new(version: Arc<AtomicU64>) -> Principals {
        Principals {
            version,
            seen: RwLock::default(),
        }
    }

    fn find(&self, version: u64, hash: &[u8; 32]) -> Option<PrincipalId> {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        if seen.version == version {
            seen.by_hash.get(hash).copied()
        } else {
            None
        }
    }

    fn keep(&self, version: u64, hash: [u8; 32], principal: PrincipalId) {
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        if seen.version != version || seen.by_hash.len() >= KEEP {
            *seen = Seen {
                version,
                by_hash: HashMap::new(),
            };
        }
        seen.by_hash.insert(hash, principal);
    }
}

impl Core {
    /// The principal of a call.
    ///
    /// # Errors
    /// UNAUTHENTICATED: no token, or one this cluster does not know (any more).
    pub(super) async fn caller(&self, metadata: &MetadataMap) -> Result<PrincipalId, Status> {
        let hash = token_sha256(bearer(metadata)?);
        // Read before the state is: if principals change meanwhile, what is kept is void at once.
        let version = self.principals.version.load(Ordering::Acquire);
        if let Some(principal) = self.principals.find(version, &hash) {
            return Ok(principal);
        }
        let deadline = Deadline::of(metadata);
        let here = self
            .look(deadline, move |view| {
                view.state.principal_by_token(&hash).map(|principal| principal.id)
            })
            .await?;
        let found = match here {
            Some(principal) => Some(principal),
            // A token made a moment ago may not have arrived here yet.
            None => {
                self.read_index(deadline, move |view| {
                    view.state.principal_by_token(&hash).map(|principal| principal.id)
                })
                .await?
            }
        };
        let principal = found.ok_or_else(|| {
            trouble(
                Code::Unauthenticated,
                "UNAUTHENTICATED",
                "this token is unknown or revoked; ask an admin for a new one",
            )
        })?;
        self.principals.keep(version, hash, principal);
        Ok(principal)
    }
}

fn bearer(metadata: &MetadataMap) -> Result<&str, Status> {
    let header = metadata
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    header
        .strip_prefix("Bearer ")
        .map(str::trim)
        .filter(|token| !token.is_empty())
        .ok_or_else(|| {
            trouble(
                Code::Unauthenticated,
                "UNAUTHENTICATED",
                "no token: send metadata `authorization: Bearer HESUAN_...`",
            )
        })
}
