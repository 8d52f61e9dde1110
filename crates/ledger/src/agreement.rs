//! Recognition agreements: one region's vouchers accepted in another, at a rate of the agreement's own. Directed: nothing is
//! implied the other way round.

use crate::party::{Site, check_amount, check_region};
use crate::price::{check_pattern, closeness};
use crate::programme::{check_interval, check_rate};
use crate::rejection::Rejection;
use crate::types::{AgreementId, BasisPoints, Fen, RegionCode, SiteId, Sku, Timestamp};

/// An agreement to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewAgreement {
    /// Whose programmes are recognised.
    pub issuer_region: RegionCode,
    /// Where they may be spent: every site of this region. Exactly one of this and `sites` is given.
    pub provider_region: Option<RegionCode>,
    /// Where they may be spent: these sites.
    pub sites: Vec<SiteId>,
    /// Classes or prefixes; empty = all.
    pub skus: Vec<Sku>,
    /// The programme's own rate counts up to this.
    pub rate: BasisPoints,
    /// Per job, all its tasks and attempts together; `None` = no cap.
    pub cap_per_job: Option<Fen>,
    /// First instant new holds may use it.
    pub from: Timestamp,
    /// First instant they may not.
    pub until: Timestamp,
}

/// An agreement. Where several apply, the latest made counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Dense, from 1.
    pub id: AgreementId,
    /// Counts the agreements with the same issuer and the same scope, from 1.
    pub version: u32,
    /// What was agreed; `until` is moved when the agreement is ended early.
    pub agreed: NewAgreement,
}

impl Agreement {
    /// Whether vouchers may be spent at a site under it.
    pub fn covers(&self, site_id: SiteId, site: &Site) -> bool {
        self.agreed.provider_region == Some(site.region) || self.agreed.sites.contains(&site_id)
    }

    /// Whether it is in force at an instant.
    pub fn in_force(&self, at: Timestamp) -> bool {
        self.agreed.from <= at && at < self.agreed.until
    }

    /// The most it allows for a class.
    pub fn rate_for(&self, sku: &Sku) -> BasisPoints {
        let named = |pattern| closeness(pattern, sku).is_some();
        if self.agreed.skus.is_empty() || self.agreed.skus.iter().any(named) {
            self.agreed.rate
        } else {
            BasisPoints(0)
        }
    }
}

pub(crate) fn check_agreement(agreement: &NewAgreement) -> Result<(), Rejection> {
    check_region("issuer_region", agreement.issuer_region)?;
    match agreement.provider_region {
        Some(region) if agreement.sites.is_empty() => check_region("provider_region", region)?,
        None if (1..=1_000).contains(&agreement.sites.len()) => {}
        _ => {
            return Err(Rejection::invalid(
                "sites",
                agreement.sites.len(),
                "a region, or 1 to 1000 named sites",
            ));
        }
    }
    if agreement.provider_region == Some(agreement.issuer_region) {
        return Err(Rejection::invalid(
            "provider_region",
            agreement.issuer_region,
            "a region other than the issuer's",
        ));
    }
    if agreement.skus.len() > 256 {
        return Err(Rejection::invalid("skus", agreement.skus.len(), "at most 256"));
    }
    for pattern in &agreement.skus {
        check_pattern("skus", pattern)?;
    }
    check_rate("rate_bp", agreement.rate)?;
    if let Some(cap) = agreement.cap_per_job {
        check_amount("cap_per_job", cap)?;
    }
    check_interval(agreement.from, agreement.until)
}
