//! Closing the books: periods, settlements, claims, and the money that goes in and out for them.

use hesuan_engine::command::{Body, ClosingCommand, MoneyCommand};
use hesuan_ledger::types::ClaimId;

use super::check::{self, Checked, missing};
use crate::v1;

fn closing(command: ClosingCommand) -> Body {
    Body::Money(MoneyCommand::Closing(command))
}

fn period(given: u32) -> Checked<u32> {
    if given == 0 {
        return Err(missing("period", "give the number of the period"));
    }
    Ok(given)
}

fn claim(given: u64) -> Checked<ClaimId> {
    if given == 0 {
        return Err(missing("claim_id", "give the number of the claim"));
    }
    Ok(ClaimId(given))
}

pub(super) fn end_period(_: v1::EndPeriodRequest) -> Checked<Body> {
    Ok(closing(ClosingCommand::EndPeriod))
}

pub(super) fn close_period(request: v1::ClosePeriodRequest) -> Checked<Body> {
    Ok(closing(ClosingCommand::ClosePeriod {
        period: period(request.period)?,
    }))
}

pub(super) fn review_settlement(request: v1::ReviewSettlementRequest) -> Checked<Body> {
    Ok(closing(ClosingCommand::ReviewSettlement {
        period: period(request.period)?,
        provider: check::name("provider", request.provider)?,
    }))
}

pub(super) fn pay_settlement(request: v1::PaySettlementRequest) -> Checked<Body> {
    Ok(closing(ClosingCommand::PaySettlement {
        period: period(request.period)?,
        provider: check::name("provider", request.provider)?,
        reference: check::note("reference", request.reference)?,
    }))
}

pub(super) fn file_claim(request: v1::FileClaimRequest) -> Checked<Body> {
    Ok(closing(ClosingCommand::FileClaim {
        org: check::name_or_empty("org", request.org)?,
        programme: check::name("programme", request.programme)?,
        amount: check::amount_if_given("amount_fen", request.amount_fen)?,
    }))
}

pub(super) fn review_claim(request: v1::ReviewClaimRequest) -> Checked<Body> {
    let reason = if request.approve {
        check::note("reason", request.reason)?
    } else {
        check::reason("reason", request.reason)?
    };
    Ok(closing(ClosingCommand::ReviewClaim {
        claim: claim(request.claim_id)?,
        approve: request.approve,
        reason,
    }))
}

pub(super) fn pay_claim(request: v1::PayClaimRequest) -> Checked<Body> {
    Ok(closing(ClosingCommand::PayClaim {
        claim: claim(request.claim_id)?,
        reference: check::note("reference", request.reference)?,
    }))
}

pub(super) fn pay_in(request: v1::PayInRequest) -> Checked<Body> {
    Ok(closing(ClosingCommand::PayIn {
        programme: check::name("programme", request.programme)?,
        funder: check::name("funder", request.funder)?,
        amount: check::amount("amount_fen", request.amount_fen)?,
        reference: check::note("reference", request.reference)?,
    }))
}

pub(super) fn repay_fund(request: v1::RepayFundRequest) -> Checked<Body> {
    Ok(closing(ClosingCommand::RepayFund {
        programme: check::name("programme", request.programme)?,
        amount: check::amount("amount_fen", request.amount_fen)?,
        reference: check::note("reference", request.reference)?,
    }))
}

pub(super) fn collect(request: v1::CollectRequest) -> Checked<Body> {
    Ok(closing(ClosingCommand::Collect {
        org: check::name("org", request.org)?,
        amount: check::amount("amount_fen", request.amount_fen)?,
        reference: check::note("reference", request.reference)?,
    }))
}
