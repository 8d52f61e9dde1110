//! What bureaus, reviewers, treasurers and holders do beside the jobs: they issue and redeem, revise, revoke for fraud, end and close
//! periods, claim, review and pay. Nobody looks first whether it can be done, so the ledger is asked out of turn, too.

use hesuan_api::internal::v1::command::Body;
use hesuan_api::v1::*;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::queue::Micros;
use super::replica::EPOCH_MS;

/// Paid by the provider's region to providers.
const DIRECT: &str = "songjiang-compute";
/// Advanced by its holders.
pub(super) const ADVANCED: &str = "songjiang-advance";
/// Who holds vouchers.
const HOLDER: &str = "photonics-lab";
/// Numbers of periods and claims that are asked for: some will be there, some not yet.
const NUMBERS: std::ops::Range<u32> = 1..9;

/// The next command, and by whom; `None` is the holder itself.
pub(super) fn next(
    rng: &mut ChaCha8Rng,
    issued: &mut Vec<String>,
    id: u128,
    place: usize,
    now: Micros,
) -> (Option<&'static str>, Body) {
    let request_id = id.to_be_bytes().to_vec();
    let programme = if rng.random_range(0..2) == 0 { DIRECT } else { ADVANCED };
    let number = rng.random_range(NUMBERS);
    match rng.random_range(0..16) {
        0..3 => {
            let code = format!("V-{place}-{}", issued.len());
            issued.push(code.clone());
            let lifetime_ms = rng.random_range(5_000..200_000);
            let voucher = NewVoucher {
                code,
                holder: HOLDER.into(),
                face: rng.random_range(1..500_000),
                from_ms: EPOCH_MS,
                until_ms: EPOCH_MS + now / 1000 + lifetime_ms,
            };
            let request = IssueVouchersRequest {
                request_id,
                programme: programme.into(),
                vouchers: vec![voucher],
                unit_hours: false,
            };
            (Some("issuer"), Body::IssueVouchers(request))
        }
        3..6 => {
            let code = any(rng, issued);
            (None, Body::RedeemVoucher(RedeemVoucherRequest { request_id, code }))
        }
        6 => {
            let request = RevokeVoucherRequest {
                request_id,
                code: any(rng, issued),
                reason: "sim".into(),
                fraud: rng.random_range(0..2) == 0,
            };
            (Some("issuer"), Body::RevokeVoucher(request))
        }
        7 => {
            let request = ReviseProgrammeRequest {
                request_id,
                programme: programme.into(),
                terms: Some(terms(rng)),
                immediate: rng.random_range(0..2) == 0,
                ..ReviseProgrammeRequest::default()
            };
            (Some("issuer"), Body::ReviseProgramme(request))
        }
        8 => (Some("reviewer"), Body::EndPeriod(EndPeriodRequest { request_id })),
        9..11 => {
            let period = number;
            (
                Some("reviewer"),
                Body::ClosePeriod(ClosePeriodRequest { request_id, period }),
            )
        }
        11 => {
            let request = PayInRequest {
                request_id,
                programme: programme.into(),
                funder: "district".into(),
                amount_fen: rng.random_range(1..500),
                reference: "sim".into(),
            };
            (Some("treasurer"), Body::PayIn(request))
        }
        12 => {
            let request = FileClaimRequest {
                request_id,
                programme: ADVANCED.into(),
                ..FileClaimRequest::default()
            };
            (None, Body::FileClaim(request))
        }
        13 => {
            let request = ReviewClaimRequest {
                request_id,
                claim_id: number.into(),
                approve: rng.random_range(0..4) > 0,
                reason: "sim".into(),
            };
            (Some("reviewer"), Body::ReviewClaim(request))
        }
        14 => {
            let provider = format!("{}-centre", super::SITES[rng.random_range(0..super::SITES.len())].0);
            let period = number;
            if rng.random_range(0..2) == 0 {
                let request = ReviewSettlementRequest {
                    request_id,
                    period,
                    provider,
                };
                (Some("reviewer"), Body::ReviewSettlement(request))
            } else {
                let request = PaySettlementRequest {
                    request_id,
                    period,
                    provider,
                    reference: "sim".into(),
                };
                (Some("treasurer"), Body::PaySettlement(request))
            }
        }
        _ => {
            let request = PayClaimRequest {
                request_id,
                claim_id: number.into(),
                reference: "sim".into(),
            };
            (Some("treasurer"), Body::PayClaim(request))
        }
    }
}

/// One of the vouchers it asked for, or one of the scene's.
fn any(rng: &mut ChaCha8Rng, issued: &[String]) -> String {
    match rng.random_range(0..=issued.len()) {
        at if at < issued.len() => issued[at].clone(),
        _ => "SJ-1".into(),
    }
}

fn terms(rng: &mut ChaCha8Rng) -> Terms {
    let day = 86_400_000;
    Terms {
        rates: vec![Rate {
            sku: "cpu".into(),
            rate_bp: rng.random_range(1..5_000),
        }],
        cap_per_job: (rng.random_range(0..2) == 0).then(|| rng.random_range(1..20_000)),
        exclusive: rng.random_range(0..4) == 0,
        from_ms: EPOCH_MS - day,
        until_ms: EPOCH_MS + 365 * day,
        carry_over: rng.random_range(0..2) == 0,
        reinstate_refunds: rng.random_range(0..2) == 0,
        ..Terms::default()
    }
}
