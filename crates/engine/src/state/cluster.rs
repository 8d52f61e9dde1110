//! Commands about the cluster itself: genesis, principals, limits, members, the level.

use std::sync::Arc;

use hesuan_ledger::Ledger;
use hesuan_ledger::paged::{PagedMap, PagedVec};

use super::index::Index;
use super::requests::Requests;
use super::{Genesis, Meta, Principal, State, Tables};
use crate::command::{LimitsChange, Member, NewPrincipal, Role};
use crate::outcome::{Effect, Rejection, RejectionKind, Reply};
use crate::types::{Digest, PrincipalId};

/// The newest level this release applies. Each change of apply raises it and branches on the state's level.
pub const LEVEL: u32 = 1;

impl State {
    /// The state before the first entry.
    #[must_use]
    pub fn genesis(genesis: &Genesis) -> Self {
        let mut principals = PagedVec::starting_at(1);
        let admin = PrincipalId(1);
        principals.push(Principal {
            id: admin,
            name: genesis.admin_name.clone(),
            roles: [Role::Admin].into(),
            org: None,
            site: None,
            region: None,
            token_sha256: genesis.admin_token_sha256,
            revoked: false,
        });
        let mut members = genesis.members.clone();
        members.sort_by_key(|member| member.id);
        let tables = Tables {
            meta: Meta {
                cluster_id: genesis.cluster_id,
                level: LEVEL,
                restore_epoch: 0,
                applied_index: 0,
                at: genesis.at,
                outcome_digest: Digest::default(),
                rules_version: 1,
                archived: 0,
            },
            limits: genesis.limits,
            policy: Arc::default(),
            usage: PagedMap::new(),
            members,
            principals,
            sites: PagedVec::starting_at(1),
            hosts: PagedVec::starting_at(1),
            classes: PagedVec::starting_at(1),
            jobs: PagedVec::starting_at(1),
            attempts: PagedMap::new(),
            scripts: PagedMap::new(),
            quotas: PagedMap::new(),
            requests: Requests::default(),
            ledger: Ledger::new(),
        };
        Self::from_tables(tables)
    }

    pub(super) fn from_tables(tables: Tables) -> Self {
        let index = Index::of(&tables);
        Self {
            tables,
            index,
            entry: Vec::new(),
            #[cfg(feature = "planted")]
            planted: super::Planted::None,
        }
    }

    pub(super) fn create_principal(
        &mut self,
        new: &NewPrincipal,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Rejection> {
        check_name(&new.name, "principal.name")?;
        if self.index.principals.contains_key(&new.name) {
            return Err(taken("PRINCIPAL_NAME_TAKEN", "principal.name", "principal", &new.name));
        }
        let mut roles = new.roles.clone();
        roles.sort_unstable();
        roles.dedup();
        if roles.is_empty() {
            return Err(Rejection::invalid(
                "ROLE_MISSING",
                "principal.roles",
                "a principal needs at least one role",
            ));
        }
        let needs = |wanted: &[Role]| roles.iter().any(|role| wanted.contains(role));
        let org = match (&new.org, needs(&[Role::Member])) {
            (Some(name), true) => Some(self.org_by_name(name, "principal.org")?),
            (None, false) => None,
            (given, _) => return Err(binding("principal.org", "an org", "member", given.is_some())),
        };
        let site = match (&new.site, needs(&[Role::Operator, Role::Node])) {
            (Some(name), true) => Some(self.site_named(name, "principal.site")?.id),
            (None, false) => None,
            (given, _) => return Err(binding("principal.site", "a site", "operator or node", given.is_some())),
        };
        let region = match (new.region, needs(&[Role::Issuer])) {
            (Some(region), true) => Some(region),
            // A reviewer of one region, or of all.
            (given, false) if needs(&[Role::Reviewer]) => given,
            (None, false) => None,
            (given, _) => {
                let who = if given.is_some() {
                    "issuer or reviewer"
                } else {
                    "issuer"
                };
                return Err(binding("principal.region", "a region", who, given.is_some()));
            }
        };
        let token_used = self
            .tables
            .principals
            .iter()
            .any(|(_, known)| known.token_sha256 == new.token_sha256);
        if token_used || new.token_sha256 == Digest::default() {
            let text = "this token may not be used; make a new random one";
            return Err(Rejection::invalid("TOKEN_REFUSED", "token_sha256", text));
        }
        let number = u32::try_from(self.tables.principals.next_id())
            .ok()
            .filter(|number| *number < u32::MAX);
        let Some(number) = number else {
            return Err(Rejection::new(
                RejectionKind::Exhausted,
                "PRINCIPALS_FULL",
                "",
                "no numbers are left",
            ));
        };
        let principal = Principal {
            id: PrincipalId(number),
            name: new.name.clone(),
            roles: roles.into(),
            org,
            site,
            region,
            token_sha256: new.token_sha256,
            revoked: false,
        };
        self.index.principals.insert(principal.name.clone(), principal.id);
        self.index.tokens.insert(principal.token_sha256, principal.id);
        self.tables.principals.push(principal);
        effects.push(Effect::PrincipalsChanged);
        Ok(Reply::Number(number))
    }

    pub(super) fn revoke_principal(
        &mut self,
        asking: PrincipalId,
        name: &str,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Rejection> {
        let Some(principal) = self.principal_by_name(name) else {
            return Err(Rejection::not_found(
                "UNKNOWN_PRINCIPAL",
                "name",
                format!("no principal {name:?}"),
            ));
        };
        let (id, token) = (principal.id, principal.token_sha256);
        if id == asking {
            let text = "a principal cannot revoke itself; let another admin do it";
            return Err(Rejection::precondition("REVOKES_ITSELF", "name", text));
        }
        if !principal.revoked {
            self.tables
                .principals
                .get_mut(id.0.into())
                .expect("found above")
                .revoked = true;
            self.index.tokens.remove(&token);
            effects.push(Effect::PrincipalsChanged);
        }
        Ok(Reply::Number(id.0))
    }

    pub(super) fn set_limits(&mut self, change: &LimitsChange) -> Result<Reply, Rejection> {
        self.tables.limits = self.tables.limits.changed(change)?;
        self.tables.meta.rules_version += 1;
        Ok(Reply::Done)
    }

    pub(super) fn add_member(&mut self, member: &Member, effects: &mut Vec<Effect>) -> Result<Reply, Rejection> {
        check_name(&member.name, "name")?;
        if member.id == 0 {
            return Err(Rejection::invalid("MEMBER_ID", "id", "a member's id is above 0"));
        }
        for (field, address) in [
            ("peer_address", &member.peer_address),
            ("client_address", &member.client_address),
        ] {
            if address.is_empty() || address.len() > 256 {
                let text = format!("{field} is {} bytes; it must be host:port of 1 to 256", address.len());
                return Err(Rejection::invalid("MEMBER_ADDRESS", field, text));
            }
        }
        if let Some(other) = self
            .tables
            .members
            .iter()
            .find(|known| known.name == member.name && known.id != member.id)
        {
            let text = format!("replica {} is already called {}", other.id, other.name);
            return Err(Rejection::new(
                RejectionKind::AlreadyExists,
                "MEMBER_NAME_TAKEN",
                "name",
                text,
            ));
        }
        match self.tables.members.binary_search_by_key(&member.id, |known| known.id) {
            Ok(place) if self.tables.members[place].name != member.name => {
                let text = format!("replica {} is called {}", member.id, self.tables.members[place].name);
                return Err(Rejection::new(
                    RejectionKind::AlreadyExists,
                    "MEMBER_ID_TAKEN",
                    "id",
                    text,
                ));
            }
            Ok(place) => self.tables.members[place] = member.clone(),
            Err(place) => self.tables.members.insert(place, member.clone()),
        }
        effects.push(Effect::MembersChanged);
        Ok(Reply::Done)
    }

    pub(super) fn set_level(&mut self, level: u32) -> Result<Reply, Rejection> {
        let now = self.tables.meta.level;
        if level < now {
            let text = format!("the level is {now} and never goes down");
            return Err(Rejection::precondition("LEVEL_GOES_DOWN", "level", text));
        }
        // An entry that raises the level carries that level in its envelope: a replica that does not know it has stopped.
        self.tables.meta.level = level;
        Ok(Reply::Done)
    }
}

/// Names of sites, replicas and principals: short, and safe to type and to show.
pub(super) fn check_name(name: &str, field: &str) -> Result<(), Rejection> {
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_name) {
        let text = format!("{field} is {name:?}; it must be 1 to 64 bytes of letters, digits, '-', '_', '.' and '@'");
        return Err(Rejection::invalid("NAME", field, text));
    }
    Ok(())
}

// Fixed ranges: what std takes for a letter changes between its releases, and replicas built with different ones must agree.
fn is_name(c: char) -> bool {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' | '@' => true,
        '\0'..='\u{a0}' | '\u{2000}'..='\u{206f}' | '\u{3000}' | '\u{e000}'..='\u{f8ff}' => false,
        '\u{feff}' | '\u{fff0}'.. => false,
        _ => true,
    }
}

pub(super) fn taken(code: &'static str, field: &str, what: &str, name: &str) -> Rejection {
    Rejection::new(
        RejectionKind::AlreadyExists,
        code,
        field,
        format!("a {what} called {name:?} exists already"),
    )
}

fn binding(field: &str, what: &str, role: &str, given: bool) -> Rejection {
    let text = if given {
        format!("only the role {role} has {what}")
    } else {
        format!("the role {role} needs {what}")
    };
    Rejection::invalid("ROLE_BINDING", field, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_typed_and_shown() {
        for name in ["songjiang", "hf-1.node_2", "松江", "ops@hefei"] {
            assert!(check_name(name, "name").is_ok(), "{name}");
        }
        let long = "x".repeat(65);
        for name in ["", "a b", "a/b", "a\nb", "\u{202e}b", "a\u{3000}b", &long] {
            assert!(check_name(name, "name").is_err(), "{name:?}");
        }
    }
}
