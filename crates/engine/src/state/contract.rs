//! What the owner of machines says about who may use them: an operator's contract for his site, and the quota of an organisation
//! over the whole region. Judged when a task is placed, from what is held at that moment (see [`super::holdings`]); a contract
//! that becomes narrower ends nothing that runs.

use hesuan_ledger::types::{OrgId, SiteId};

use super::access::{Kind, Scope, judge_scope};
use super::{Host, State};
use crate::command::NewContract;
use crate::outcome::{Effect, Rejection, Reply};
use crate::types::{Bounds, Held, Measure, PrincipalId};

/// Organisations named in one contract.
const ORGS_MAX: usize = 64;
/// No amount is larger, so sums of amounts cannot overflow.
const AMOUNT_MAX: u64 = 1 << 40;
/// The longest notice: what is promised for longer is no floor.
const NOTICE_MS_MAX: u64 = 7 * 24 * 3_600_000;

/// An operator's contract for his site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contract {
    /// Rises by one with each change, from 1.
    pub revision: u32,
    /// The site's own users, sorted. Everybody else is a stranger there.
    pub own: Vec<OrgId>,
    /// What own users get together, if strangers have it after a notice.
    pub floor: Bounds,
    /// What strangers may hold together.
    pub lend_limit: Bounds,
    /// Strangers that may come, sorted; empty = all.
    pub accepted: Vec<OrgId>,
    /// How long a stranger's task still runs after it was told that its place is needed.
    pub notice_ms: u64,
}

impl Contract {
    /// Whether the organisation is one of the site's own users.
    #[must_use]
    pub fn is_own(&self, org: OrgId) -> bool {
        self.own.binary_search(&org).is_ok()
    }

    /// Whether the organisation may use the site at all.
    #[must_use]
    pub fn accepts(&self, org: OrgId) -> bool {
        self.is_own(org) || self.accepted.is_empty() || self.accepted.binary_search(&org).is_ok()
    }
}

/// What an organisation may hold over the whole region at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Rises by one with each change, from 1.
    pub revision: u32,
    /// The most.
    pub most: Bounds,
}

impl State {
    pub(super) fn set_contract(
        &mut self,
        principal: PrincipalId,
        name: &str,
        new: &NewContract,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Rejection> {
        let site = self.site_named(name, "site")?.id;
        judge_scope(self, principal, Kind::SetContract, Scope::Site(site))?;
        let own = self.orgs_named(&new.own, "own")?;
        let accepted = self.orgs_named(&new.accepted, "accepted")?;
        if let Some(both) = accepted.iter().find(|org| own.binary_search(org).is_ok()) {
            let name = self.ledger().org(*both).map_or("", |org| &*org.registered.name);
            let text =
                format!("accepted names {name:?}, one of the site's own users, who may always come: leave it out");
            return Err(Rejection::invalid("OWN_AND_ACCEPTED", "accepted", text));
        }
        check_bounds("floor", &new.floor)?;
        check_bounds("lend_limit", &new.lend_limit)?;
        if new.notice_ms > NOTICE_MS_MAX {
            let text = format!(
                "notice_ms is {}; allowed are 0 to {NOTICE_MS_MAX} (7 days)",
                new.notice_ms
            );
            return Err(Rejection::invalid("OUT_OF_RANGE", "notice_ms", text));
        }
        if new.floor != Bounds::NONE && own.is_empty() {
            let text = "a floor is given and own is empty: name the organisations it is for, or leave it out";
            return Err(Rejection::invalid("FLOOR_WITHOUT_OWN", "floor", text));
        }
        self.judge_floor(site, &new.floor)?;

        let site = self.site_mut(site);
        let revision = site.contract.as_deref().map_or(0, |contract| contract.revision) + 1;
        site.contract = Some(Box::new(Contract {
            revision,
            own,
            floor: new.floor,
            lend_limit: new.lend_limit,
            accepted,
            notice_ms: new.notice_ms,
        }));
        let id = site.id;
        self.tables.meta.rules_version += 1;
        effects.push(Effect::SiteChanged(id));
        Ok(Reply::Site(id))
    }

    // A site whose machines are not known yet may promise anything.
    fn judge_floor(&self, site: SiteId, floor: &Bounds) -> Result<(), Rejection> {
        let mut total = Held::default();
        self.hosts_of(site)
            .filter(|host| host.online)
            .for_each(|host| total.add(&host.whole()));
        if total == Held::default() {
            return Ok(());
        }
        for measure in Measure::ALL {
            let has = total.of_measure(measure);
            if let Some(given) = floor.of(measure).filter(|given| *given > has) {
                let (given, has) = (measure.text(given), measure.text(has));
                let text = format!("the floor is {given} and the site has {has}: promise at most that");
                return Err(Rejection::invalid("FLOOR_OVER_CAPACITY", "floor", text));
            }
        }
        Ok(())
    }

    pub(super) fn set_quota(
        &mut self,
        org: &str,
        most: &Bounds,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Rejection> {
        let org = self.org_by_name(org, "org")?;
        check_bounds("most", most)?;
        let revision = self.quota(org).map_or(0, |quota| quota.revision) + 1;
        self.tables.quotas.insert(org, Quota { revision, most: *most });
        Ok(self.rules_changed(effects, Reply::Org(org)))
    }

    /// What an organisation may hold over the whole region; `None` = anything.
    #[must_use]
    pub fn quota(&self, org: OrgId) -> Option<&Quota> {
        self.tables.quotas.get(&org)
    }

    fn orgs_named(&self, names: &[Box<str>], field: &str) -> Result<Vec<OrgId>, Rejection> {
        if names.len() > ORGS_MAX {
            let text = format!(
                "{field} names {} organisations; allowed are up to {ORGS_MAX}",
                names.len()
            );
            return Err(Rejection::invalid("OUT_OF_RANGE", field, text));
        }
        let orgs: Result<Vec<OrgId>, Rejection> = names.iter().map(|name| self.org_by_name(name, field)).collect();
        let mut orgs = orgs?;
        orgs.sort_unstable();
        orgs.dedup();
        Ok(orgs)
    }
}

impl Host {
    /// All of it, as if somebody held it.
    pub(crate) fn whole(&self) -> Held {
        Held {
            cpu_milli: self.total.cpu_milli,
            memory_mib: self.total.memory_mib,
            gpu_milli: 1000 * self.gpus.len() as u64,
            tasks: 0,
        }
    }
}

fn check_bounds(field: &str, bounds: &Bounds) -> Result<(), Rejection> {
    for measure in Measure::ALL {
        if let Some(given) = bounds.of(measure).filter(|given| *given > AMOUNT_MAX) {
            let field = format!("{field}.{}", measure.field());
            let text = format!("{field} is {given}; allowed are 0 to {AMOUNT_MAX}, or none");
            return Err(Rejection::invalid("OUT_OF_RANGE", &field, text));
        }
    }
    Ok(())
}
