//! Who may ask: principals as records. What each may do is in [`super::access`].

use hesuan_ledger::types::{OrgId, RegionCode, SiteId};

use crate::command::Role;
use crate::types::{Digest, PrincipalId};

/// Someone with a token.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    /// Its number.
    pub id: PrincipalId,
    /// Unique.
    pub name: Box<str>,
    /// Sorted, not empty.
    pub roles: Box<[Role]>,
    /// For [`Role::Member`].
    pub org: Option<OrgId>,
    /// For [`Role::Operator`] and [`Role::Node`].
    pub site: Option<SiteId>,
    /// For [`Role::Issuer`], and for a [`Role::Reviewer`] of one region.
    pub region: Option<RegionCode>,
    /// SHA-256 of the token.
    pub token_sha256: Digest,
    /// The token is refused.
    pub revoked: bool,
}

impl Principal {
    /// Whether it has this role.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}
