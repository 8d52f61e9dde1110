//! Programmes with their revisions, recognition agreements and vouchers as answers.

use hesuan_engine::state::State;
use hesuan_ledger::{
    Agreement, BudgetPolicy, ExpiryBasis, Programme, Rate, Redemption, Stacking, Terms, Voucher, VoucherState,
};

use super::money::org_kind;
use super::{org_name, programme_name, site_name, until_ms};
use crate::v1;

/// A voucher.
#[must_use]
pub fn voucher(state: &State, voucher: &Voucher) -> v1::Voucher {
    let programme = state.ledger().programme(voucher.programme);
    v1::Voucher {
        id: voucher.id.0,
        code: voucher.code.to_string(),
        programme: programme_name(state, voucher.programme),
        holder: org_name(state, voucher.holder),
        state: match voucher.state {
            VoucherState::Issued => v1::VoucherState::Issued,
            VoucherState::Active => v1::VoucherState::Active,
            VoucherState::Suspended => v1::VoucherState::Suspended,
            VoucherState::Exhausted => v1::VoucherState::Exhausted,
            VoucherState::Expired => v1::VoucherState::Expired,
            VoucherState::Revoked => v1::VoucherState::Revoked,
        }
        .into(),
        face: voucher.face.0,
        available: voucher.available.0,
        held: voucher.held.0,
        captured: voucher.captured.0,
        from_ms: voucher.from.0,
        until_ms: until_ms(voucher.until),
        lapsed: voucher.lapsed.0,
        revoked: voucher.revoked.0,
        unit_hours_of: programme.map(unit_hours_of).unwrap_or_default(),
        paid_fen: voucher.paid.0,
        fraud: voucher.fraud,
    }
}

fn unit_hours_of(programme: &Programme) -> String {
    programme.unit_hours_of().map(ToString::to_string).unwrap_or_default()
}

/// A programme with the terms in force as of the last entry, and on request all its revisions.
#[must_use]
pub fn programme(state: &State, programme: &Programme, with_revisions: bool) -> v1::Programme {
    let (in_force, revision) = programme.terms_at(state.at());
    let funders = programme.funders.iter().map(|funder| v1::Funder {
        name: funder.name.to_string(),
        share: funder.share,
    });
    let revisions = programme.revisions.iter().zip(1..).map(|(one, number)| v1::Revision {
        number,
        effective_from_ms: one.effective_from.0,
        immediate: one.immediate,
        replaced: one.replaced,
        terms: Some(terms(&one.terms)),
    });
    v1::Programme {
        name: programme.name.to_string(),
        region: programme.region.0,
        funders: funders.collect(),
        unit_hours_of: unit_hours_of(programme),
        fiscal_year: programme.fiscal_year,
        budget: programme.budget.0,
        budget_policy: match programme.budget_policy {
            BudgetPolicy::CommitAtIssue => v1::BudgetPolicy::CommitAtIssue,
            BudgetPolicy::CommitAtHold => v1::BudgetPolicy::CommitAtHold,
        }
        .into(),
        redemption: redemption(programme.redemption).into(),
        terms: Some(terms(in_force)),
        revision,
        figures: Some(v1::ProgrammeFigures {
            uncommitted: programme.uncommitted.0,
            issued: programme.issued.0,
            held: programme.held.0,
            captured: programme.captured.0,
            lapsed: programme.lapsed.0,
            revoked: programme.revoked.0,
            paid_fen: programme.paid.0,
            recovery_fen: programme.recovery.0,
            due_fen: programme.due.iter().map(|due| due.0).collect(),
        }),
        revisions: if with_revisions {
            revisions.collect()
        } else {
            Vec::new()
        },
    }
}

pub(super) fn redemption(redemption: Redemption) -> v1::Redemption {
    match redemption {
        Redemption::Holder => v1::Redemption::Holder,
        Redemption::Provider => v1::Redemption::Provider,
    }
}

fn terms(terms: &Terms) -> v1::Terms {
    let rate = |rate: &Rate| v1::Rate {
        sku: rate.sku.to_string(),
        rate_bp: rate.rate.0,
    };
    let (exclusive, stack_total_bp) = match terms.stacking {
        Stacking::Exclusive => (true, None),
        Stacking::Stackable { total_max } => (false, Some(total_max.0)),
    };
    v1::Terms {
        rates: terms.rates.iter().map(rate).collect(),
        cap_per_control_group: terms.cap_per_control_group.map(|cap| cap.0),
        cap_per_job: terms.cap_per_job.map(|cap| cap.0),
        holder_kinds: terms.holder_kinds.iter().map(|kind| org_kind(*kind).into()).collect(),
        holder_regions: terms.holder_regions.iter().map(|region| region.0).collect(),
        excluded_skus: terms.excluded_skus.iter().map(ToString::to_string).collect(),
        exclusive,
        stack_total_bp,
        from_ms: terms.from.0,
        until_ms: until_ms(terms.until),
        expiry_basis: match terms.expiry_basis {
            ExpiryBasis::Usage => v1::ExpiryBasis::Usage,
            ExpiryBasis::Hold => v1::ExpiryBasis::Hold,
        }
        .into(),
        carry_over: terms.carry_over,
        reinstate_refunds: terms.reinstate_refunds,
    }
}

/// A recognition agreement.
#[must_use]
pub fn agreement(state: &State, agreement: &Agreement) -> v1::Agreement {
    let agreed = &agreement.agreed;
    v1::Agreement {
        id: agreement.id.0,
        issuer_region: agreed.issuer_region.0,
        provider_region: agreed.provider_region.map_or(0, |region| region.0),
        sites: agreed.sites.iter().map(|site| site_name(state, *site)).collect(),
        skus: agreed.skus.iter().map(ToString::to_string).collect(),
        rate_bp: agreed.rate.0,
        cap_per_job_fen: agreed.cap_per_job.map(|cap| cap.0),
        from_ms: agreed.from.0,
        until_ms: until_ms(agreed.until),
        version: agreement.version,
    }
}
