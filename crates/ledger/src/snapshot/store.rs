//! From the tables to their records.

use super::records::*;
use crate::agreement::Agreement;
use crate::hold::{BoundQuote, CoverEnd, Hold, Pinned};
use crate::ledger::{JobCap, JobUse};
use crate::party::{Org, Site};
use crate::price::{Price, PricedLine};
use crate::programme::{BudgetPolicy, ExpiryBasis, Funder, Programme, Rate, Redemption, Revision, Stacking};
use crate::quote::{Leg, LegPin};
use crate::settle::Settled;
use crate::slice::{Cell, Slice};
use crate::sweep::{Cause, Sweep};
use crate::types::{Funding, HoldKey, SiteId, Sku};
use crate::voucher::Voucher;

impl From<&Org> for OrgRecord {
    fn from(org: &Org) -> Self {
        let amounts = [
            org.available,
            org.held,
            org.topped_up,
            org.withdrawn,
            org.spent,
            org.receivable,
            org.claim,
            org.owes,
        ];
        Self {
            id: org.id.0,
            name: org.registered.name.to_string(),
            kind: org.registered.kind as u32,
            region: org.registered.region.0,
            control_group: org.registered.control_group.to_string(),
            credit_code: org.registered.credit_code.to_string(),
            group: org.group.0,
            amounts: amounts.map(|amount| amount.0).to_vec(),
        }
    }
}

pub(super) fn site_record(id: SiteId, site: &Site) -> SiteRecord {
    let price = |price: &Price| PriceRecord {
        sku: price.sku.to_string(),
        effective_from: price.effective_from.0,
        version: price.version,
        millifen: price.millifen_per_unit_hour,
    };
    SiteRecord {
        id: id.0,
        region: site.region.0,
        provider: site.provider.0,
        version: site.prices.version(),
        prices: site.prices.prices().iter().map(price).collect(),
    }
}

impl From<&Programme> for ProgrammeRecord {
    fn from(programme: &Programme) -> Self {
        let funder = |funder: &Funder| NamedWeight {
            name: funder.name.to_string(),
            weight: funder.share,
        };
        let committed = [
            programme.budget,
            programme.uncommitted,
            programme.unfunded,
            programme.uncalled,
        ];
        let vouchers = [
            programme.issued,
            programme.held,
            programme.captured,
            programme.lapsed,
            programme.revoked,
        ];
        Self {
            id: programme.id.0,
            name: programme.name.to_string(),
            region: programme.region.0,
            funders: programme.funders.iter().map(funder).collect(),
            commit_at_hold: programme.budget_policy == BudgetPolicy::CommitAtHold,
            holder_redeemed: programme.redemption == Redemption::Holder,
            revisions: programme.revisions.iter().map(revision_record).collect(),
            amounts: committed.iter().chain(&vouchers).map(|amount| amount.0).collect(),
            due: programme.due.iter().map(|due| due.0).collect(),
            unit_hours_of: programme.unit_hours_of().map(Sku::to_string),
            fiscal_year: programme.fiscal_year,
            money: vec![programme.recovery.0, programme.paid.0],
        }
    }
}

fn revision_record(revision: &Revision) -> RevisionRecord {
    let terms = &revision.terms;
    let rate = |rate: &Rate| NamedWeight {
        name: rate.sku.to_string(),
        weight: rate.rate.0,
    };
    RevisionRecord {
        effective_from: revision.effective_from.0,
        immediate: revision.immediate,
        replaced: revision.replaced,
        rates: terms.rates.iter().map(rate).collect(),
        excluded_skus: terms.excluded_skus.iter().map(Sku::to_string).collect(),
        cap_per_control_group: terms.cap_per_control_group.map(|cap| cap.0),
        cap_per_job: terms.cap_per_job.map(|cap| cap.0),
        holder_kinds: terms.holder_kinds.iter().map(|kind| *kind as u32).collect(),
        holder_regions: terms.holder_regions.iter().map(|region| region.0).collect(),
        stack_max: match terms.stacking {
            Stacking::Exclusive => None,
            Stacking::Stackable { total_max } => Some(total_max.0),
        },
        from: terms.from.0,
        until: terms.until.0,
        expiry_at_hold: terms.expiry_basis == ExpiryBasis::Hold,
        carry_over: terms.carry_over,
        reinstate_refunds: terms.reinstate_refunds,
    }
}

impl From<&Agreement> for AgreementRecord {
    fn from(agreement: &Agreement) -> Self {
        let agreed = &agreement.agreed;
        Self {
            id: agreement.id.0,
            version: agreement.version,
            issuer_region: agreed.issuer_region.0,
            provider_region: agreed.provider_region.map(|region| region.0),
            sites: agreed.sites.iter().map(|site| site.0).collect(),
            skus: agreed.skus.iter().map(Sku::to_string).collect(),
            rate: agreed.rate.0,
            cap_per_job: agreed.cap_per_job.map(|cap| cap.0),
            from: agreed.from.0,
            until: agreed.until.0,
        }
    }
}

impl From<&Voucher> for VoucherRecord {
    fn from(voucher: &Voucher) -> Self {
        let parts = [
            voucher.face,
            voucher.available,
            voucher.held,
            voucher.captured,
            voucher.lapsed,
            voucher.revoked,
        ];
        let money = voucher.paid.0;
        Self {
            id: voucher.id.0,
            code: voucher.code.to_string(),
            programme: voucher.programme.0,
            holder: voucher.holder.0,
            state: voucher.state as u32,
            from: voucher.from.0,
            until: voucher.until.0,
            amounts: parts.iter().map(|part| part.0).chain([money]).collect(),
            fraud: voucher.fraud,
        }
    }
}

pub(super) fn quote_record(id: u64, quote: &BoundQuote) -> QuoteRecord {
    let (ended, ended_by) = match quote.ended {
        None => (0, 0),
        Some(CoverEnd::Fraud(voucher)) => (1, voucher.0),
        Some(CoverEnd::Revision(programme)) => (2, u64::from(programme.0)),
        Some(CoverEnd::Affiliation) => (3, 0),
    };
    QuoteRecord {
        ended,
        ended_by,
        id,
        expires_at: quote.expires_at.0,
        pinned: Some(pinned_record(&quote.pinned)),
    }
}

pub(super) fn hold_record(id: u64, hold: &Hold) -> HoldRecord {
    HoldRecord {
        id,
        key: Some(key_record(hold.key)),
        opened_at: hold.opened_at.0,
        quote: hold.quote.map(|quote| quote.0),
        pinned: Some(pinned_record(&hold.pinned)),
        asked_ms: hold.asked_ms,
        cells: hold.cells.iter().map(cell_record).collect(),
        past: hold.past.iter().map(slice_record).collect(),
    }
}

pub(super) fn capture_record(id: u64, settled: &Settled) -> CaptureRecord {
    CaptureRecord {
        id,
        hold: settled.hold.0,
        key: Some(key_record(settled.key)),
        payer: settled.payer.0,
        payer_region: settled.payer_region.0,
        site: settled.site.0,
        provider: settled.provider.0,
        at: settled.at.0,
        wall_ms: settled.wall_ms,
        cells: settled.cells.iter().map(cell_record).collect(),
    }
}

fn cell_record(cell: &Cell) -> CellRecord {
    let mut lines = line_records(&cell.lines);
    for (line, gross) in lines.iter_mut().zip(cell.per_line()) {
        line.gross = gross.0;
    }
    let mut legs = leg_records(&cell.legs, &cell.pins);
    for (leg, refunded) in legs.iter_mut().zip(&cell.legs_refunded) {
        leg.refunded = refunded.amount.0;
        leg.grant_refunded = refunded.grant.0;
        leg.funders_refunded = refunded.funders.iter().map(|fen| fen.0).collect();
    }
    CellRecord {
        from_ms: cell.from_ms,
        to_ms: cell.to_ms,
        period: cell.period,
        lines,
        legs,
        amounts: [cell.gross, cell.copay, cell.wallet, cell.refunded]
            .map(|fen| fen.0)
            .to_vec(),
    }
}

pub(super) fn sweep_record(sweep: &Sweep) -> SweepRecord {
    let (cause, id, revision) = match sweep.cause {
        Cause::Month => (0, 0, 0),
        Cause::Voucher(id) => (1, id.0, 0),
        Cause::Programme(id, revision) => (2, u64::from(id.0), revision),
        Cause::Org(id) => (3, u64::from(id.0), 0),
    };
    SweepRecord {
        cause,
        id,
        revision,
        at: sweep.at.0,
        next: sweep.next.0,
        end: sweep.end.0,
        next_quote: sweep.next_quote.0,
        end_quote: sweep.end_quote.0,
    }
}

pub(super) fn job_use_record(job: u64, cap: JobCap, entry: &JobUse) -> JobUseRecord {
    let (programme, agreement) = match cap {
        JobCap::Programme(id) => (Some(id.0), None),
        JobCap::Agreement(id) => (None, Some(id.0)),
    };
    JobUseRecord {
        job,
        programme,
        agreement,
        used: entry.used,
        records: entry.records,
    }
}

fn pinned_record(pinned: &Pinned) -> PinnedRecord {
    let (funding, named) = match &pinned.funding {
        Funding::Auto => (0, Vec::new()),
        Funding::Vouchers(named) => (1, named.iter().map(|voucher| voucher.0).collect()),
        Funding::WalletOnly => (2, Vec::new()),
    };
    PinnedRecord {
        payer: pinned.payer.0,
        payer_region: pinned.payer_region.0,
        site: pinned.site.0,
        provider: pinned.provider.0,
        walltime_ms_max: pinned.walltime_ms_max,
        funding,
        named,
        copay_max: pinned.copay_max.map(|copay| copay.0),
        allow_partial: pinned.allow_partial,
        lines: line_records(&pinned.lines),
        slices: pinned.slices.iter().map(slice_record).collect(),
    }
}

fn slice_record(slice: &Slice) -> SliceRecord {
    SliceRecord {
        from_ms: slice.from_ms,
        until_ms: slice.until_ms,
        lines: line_records(&slice.lines),
        legs: leg_records(&slice.legs, &slice.pins),
        stack_max: slice.stack_max.0,
        gross: slice.gross.0,
        wallet: slice.wallet.0,
    }
}

fn line_records(lines: &[PricedLine]) -> Vec<LineRecord> {
    let record = |priced: &PricedLine| LineRecord {
        sku: priced.line.sku.to_string(),
        milli_units: priced.line.milli_units,
        millifen: priced.millifen_per_unit_hour,
        price_version: priced.price_version,
        gross: 0,
    };
    lines.iter().map(record).collect()
}

fn leg_records(legs: &[Leg], pins: &[LegPin]) -> Vec<LegRecord> {
    let record = |(leg, pin): (&Leg, &LegPin)| LegRecord {
        voucher: leg.voucher.0,
        programme: leg.programme.0,
        agreement: leg.agreement.0,
        rate: leg.rate.0,
        eligible: leg.eligible.0,
        amount: leg.amount.0,
        holder_redeemed: leg.redemption == Redemption::Holder,
        revision: pin.revision,
        agreement_version: pin.agreement_version,
        group: pin.group.0,
        year: pin.year,
        cover_ms: pin.cover_ms,
        rates: pin.rates.iter().map(|rate| rate.0).collect(),
        reinstate: pin.reinstate,
        programme_job_cap: pin.programme_job_cap,
        agreement_job_cap: pin.agreement_job_cap,
        grant: leg.grant.0,
        unit_hours: leg.unit_hours,
        refunded: 0,
        grant_refunded: 0,
        funders_refunded: Vec::new(),
    };
    legs.iter().zip(pins).map(record).collect()
}

fn key_record(key: HoldKey) -> KeyRecord {
    KeyRecord {
        job: key.job,
        task: key.task,
        attempt: key.attempt,
    }
}
