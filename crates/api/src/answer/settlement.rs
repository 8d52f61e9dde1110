//! Periods, statements of regions, providers and funders, settlements and claims as answers.

use hesuan_engine::state::State;
use hesuan_engine::types::{OrgId, PrincipalId, RegionCode};
use hesuan_ledger::types::Stamp;
use hesuan_ledger::{
    Claim, ClaimState, Claimable, ClearingCell, HolderTotals, Payable, Payment, Period, Position, RegionPayment,
    Settlement, Tally, TallyKey,
};

use super::{org_name, principal_name, programme_name, site_name};
use crate::v1;

/// An accounting period.
#[must_use]
pub fn period(state: &State, period: &Period) -> v1::Period {
    let current = state.ledger().current_period();
    let is_current = current.is_some_and(|current| current.number == period.number);
    let closed = period.closed.as_ref();
    v1::Period {
        number: period.number,
        from_ms: period.from.0,
        until_ms: period.until.0,
        state: match (is_current, closed) {
            (_, Some(_)) => v1::PeriodState::Closed,
            (true, None) => v1::PeriodState::Open,
            (false, None) => v1::PeriodState::Ended,
        }
        .into(),
        first_entry: period.first_entry,
        last_entry: closed.map_or(0, |closed| closed.last_entry),
        closed_at_ms: closed.map_or(0, |closed| closed.at.0),
        closed_by: closed.map_or_else(String::new, |closed| principal_name(state, PrincipalId(closed.actor))),
        closed_sha256: closed.map_or_else(Vec::new, |closed| closed.digest.to_vec()),
    }
}

/// What the regions owe each other for a period, as far as it concerns a region that is seen.
#[must_use]
pub fn clearing(state: &State, of: &Period, sees: &dyn Fn(RegionCode) -> bool) -> v1::Clearing {
    // A period that is kept has a clearing.
    let clearing = state.ledger().clearing(of.number).unwrap_or_default();
    let cell = |cell: &ClearingCell| v1::ClearingCell {
        issuer_region: cell.issuer.0,
        payee_region: cell.payee.0,
        captured_fen: cell.captured.0,
        refunded_fen: cell.refunded.0,
        net_fen: cell.net.0,
    };
    let position = |position: &Position| v1::ClearingPosition {
        region: position.region.0,
        pays_fen: position.pays.0,
        receives_fen: position.receives.0,
        net_fen: position.net.0,
    };
    let payments = |payments: &[RegionPayment]| {
        let seen = payments.iter().filter(|one| sees(one.from) || sees(one.to));
        let payment = |one: &RegionPayment| v1::ClearingPayment {
            from_region: one.from.0,
            to_region: one.to.0,
            amount_fen: one.amount.0,
        };
        seen.map(payment).collect()
    };
    let cells = clearing.cells.iter().filter(|one| sees(one.issuer) || sees(one.payee));
    let positions = clearing.positions.iter().filter(|one| sees(one.region));
    v1::Clearing {
        period: Some(period(state, of)),
        cells: cells.map(cell).collect(),
        positions: positions.map(position).collect(),
        netted: payments(&clearing.netted),
        payments: payments(&clearing.payments),
    }
}

/// What the funders of each region's programmes pay for a period, as far as the region is seen.
#[must_use]
pub fn payable(state: &State, of: &Period, sees: &dyn Fn(RegionCode) -> bool) -> v1::Payable {
    let row = |one: &Payable| {
        let programme = state.ledger().programme(one.programme)?;
        let place = usize::from(one.funder);
        sees(programme.region).then(|| v1::PayableRow {
            programme: programme.name.to_string(),
            region: programme.region.0,
            funder: programme
                .funders
                .get(place)
                .map(|funder| funder.name.to_string())
                .unwrap_or_default(),
            ordinary_fen: one.ordinary.0,
            corrections_fen: one.corrections.0,
            to_providers_fen: one.to_providers.0,
            to_holders_fen: one.to_holders.0,
            net_fen: one.net.0,
            due_fen: programme.due.get(place).copied().unwrap_or_default().0,
        })
    };
    let payables = state.ledger().payables(of.number).unwrap_or_default();
    v1::Payable {
        period: Some(period(state, of)),
        rows: payables.iter().filter_map(row).collect(),
    }
}

/// Refunds of lines of closed periods that are booked in this one, as far as issuer or payee is seen.
#[must_use]
pub fn corrections(state: &State, of: &Period, sees: &dyn Fn(RegionCode) -> bool) -> v1::ListCorrectionsResponse {
    let seen = |key: &TallyKey| {
        let programme = state.ledger().programme(key.programme);
        sees(key.payee_region) || programme.is_some_and(|programme| sees(programme.region))
    };
    let lines = state.ledger().corrections(of.number).filter(|(key, _)| seen(key));
    v1::ListCorrectionsResponse {
        period: Some(period(state, of)),
        lines: lines.map(|(key, tally)| settlement_line(state, key, tally)).collect(),
    }
}

/// What a provider has earned in a period, and once it is closed how that is settled.
#[must_use]
pub fn settlement_sheet(state: &State, of: &Period, provider: OrgId) -> v1::SettlementSheet {
    let sheet = state.ledger().sheet(of.number, provider).unwrap_or_default();
    let rows = sheet.rows.iter();
    v1::SettlementSheet {
        period: Some(period(state, of)),
        provider: org_name(state, provider),
        lines: rows.map(|(key, tally)| settlement_line(state, key, tally)).collect(),
        own_fen: sheet.own.0,
        subsidies_fen: sheet.subsidies.0,
        net_fen: sheet.net.0,
        settlement: state
            .ledger()
            .settlement(of.number, provider)
            .map(|one| settlement(state, one)),
    }
}

fn settlement_line(state: &State, key: &TallyKey, tally: &Tally) -> v1::SettlementLine {
    let programme = state.ledger().programme(key.programme);
    let funders = programme.into_iter().flat_map(|programme| &programme.funders);
    let funders = funders.zip(tally.parts()).map(|(funder, net)| v1::FunderAmount {
        funder: funder.name.to_string(),
        net_fen: net.0,
    });
    v1::SettlementLine {
        of_period: key.of,
        programme: programme_name(state, key.programme),
        agreement_id: key.agreement.0,
        site: site_name(state, key.site),
        payee_region: key.payee_region.0,
        captured_fen: tally.captured.0,
        refunded_fen: tally.refunded.0,
        net_fen: tally.net().0,
        captures: tally.captures,
        refunds: tally.refunds,
        funders: funders.collect(),
    }
}

/// Who did something and when; nothing where nobody did yet.
fn by(state: &State, stamp: Option<Stamp>) -> (String, u64) {
    stamp.map_or_else(Default::default, |stamp| {
        (principal_name(state, PrincipalId(stamp.actor)), stamp.at.0)
    })
}

/// What a provider is paid for a closed period.
#[must_use]
pub fn settlement(state: &State, one: &Settlement) -> v1::Settlement {
    let (cash, set_off) = match &one.paid {
        Some(Payment { cash, set_off, .. }) => (*cash, *set_off),
        None => state.ledger().payable_after_earlier(one.period, one.provider),
    };
    let (reviewed_by, reviewed_at_ms) = by(state, one.reviewed);
    let (paid_by, paid_at_ms) = by(state, one.paid.map(|paid| paid.by));
    v1::Settlement {
        period: one.period,
        provider: org_name(state, one.provider),
        state: match (&one.paid, &one.reviewed) {
            (Some(_), _) => v1::SettlementState::Paid,
            (None, Some(_)) => v1::SettlementState::Reviewed,
            (None, None) => v1::SettlementState::Closed,
        }
        .into(),
        net_fen: one.net.0,
        cash_fen: cash.0,
        set_off_fen: set_off.0,
        carried_fen: one.net.0 - cash.0 - set_off.0,
        reviewed_by,
        reviewed_at_ms,
        paid_by,
        paid_at_ms,
    }
}

/// A claim.
#[must_use]
pub fn claim(state: &State, claim: &Claim) -> v1::Claim {
    let payment = match &claim.state {
        ClaimState::Paid(payment) => Some(payment),
        _ => None,
    };
    let (filed_by, filed_at_ms) = by(state, Some(claim.filed));
    let (reviewed_by, reviewed_at_ms) = by(state, claim.reviewed);
    let (paid_by, paid_at_ms) = by(state, payment.map(|payment| payment.by));
    v1::Claim {
        id: claim.id.0,
        org: org_name(state, claim.holder),
        programme: programme_name(state, claim.programme),
        state: match &claim.state {
            ClaimState::Filed => v1::ClaimState::Filed,
            ClaimState::Approved => v1::ClaimState::Approved,
            ClaimState::Refused { .. } => v1::ClaimState::Refused,
            ClaimState::Paid(_) => v1::ClaimState::Paid,
            ClaimState::Void => v1::ClaimState::Void,
        }
        .into(),
        amount_fen: claim.amount.0,
        cut_fen: claim.cut.0,
        cash_fen: payment.map_or(0, |payment| payment.cash.0),
        set_off_fen: payment.map_or(0, |payment| payment.set_off.0),
        filed_at_ms,
        filed_by,
        reviewed_at_ms,
        reviewed_by,
        reason: match &claim.state {
            ClaimState::Refused { reason } => reason.to_string(),
            _ => String::new(),
        },
        paid_at_ms,
        paid_by,
    }
}

/// What a holder has to claim, by programme.
#[must_use]
pub fn claimable(state: &State, holder: OrgId) -> Vec<v1::Claimable> {
    let one = |(programme, one): (_, &Claimable)| v1::Claimable {
        org: org_name(state, holder),
        programme: programme_name(state, programme),
        claimable_fen: one.claimable.0,
        filed_fen: one.filed.0,
        paid_fen: one.paid.0,
        owed_fen: one.owed.0,
    };
    state.ledger().claimable(holder).map(one).collect()
}

/// The ledger's totals of one payer in one period.
#[must_use]
pub fn statement_totals(totals: &HolderTotals) -> v1::StatementTotals {
    v1::StatementTotals {
        cells: totals.cells,
        gross_fen: totals.gross.0,
        subsidy_fen: totals.subsidy.0,
        copay_fen: totals.copay().0,
        wallet_fen: totals.wallet.0,
        refunds: totals.refunds,
        refunded_fen: totals.refunded.0,
        refunded_to_wallet_fen: totals.to_wallet.0,
    }
}
