//! Records of the state as the answers of the public interface. Numbers become names here; nothing is decided.
//!
//! Instants are milliseconds since 1970 UTC and 0 where there is none (no end, not yet). Whether the caller may see a record
//! is asked before it comes here.

mod cluster;
mod job;
mod lending;
mod money;
mod policy;
mod programme;
mod settlement;
mod site;

pub use cluster::{limits, principal};
pub use job::{ATTEMPTS_MAX, attempt, explanation, job, job_state};
pub use money::{RECEIPTS_MAX, bound_quote, org, price, price_sheets, quotes, receipt, refunded, trial_balance};
pub use policy::{policy, share};
pub use programme::{agreement, programme, voucher};
pub use settlement::{
    claim, claimable, clearing, corrections, payable, period, settlement, settlement_sheet, statement_totals,
};
pub use site::{host, site};

use hesuan_engine::state::State;
use hesuan_engine::types::{OrgId, PrincipalId, SiteId, Timestamp};
use hesuan_ledger::types::ProgrammeId;

fn site_name(state: &State, id: SiteId) -> String {
    state.site(id).map(|site| site.name.to_string()).unwrap_or_default()
}

fn org_name(state: &State, id: OrgId) -> String {
    state
        .ledger()
        .org(id)
        .map(|org| org.registered.name.to_string())
        .unwrap_or_default()
}

fn programme_name(state: &State, id: ProgrammeId) -> String {
    state
        .ledger()
        .programme(id)
        .map(|programme| programme.name.to_string())
        .unwrap_or_default()
}

fn principal_name(state: &State, id: PrincipalId) -> String {
    state
        .principal(id)
        .map(|principal| principal.name.to_string())
        .unwrap_or_default()
}

/// An end; 0 where there is none.
fn until_ms(until: Timestamp) -> u64 {
    if until >= Timestamp::FAR { 0 } else { until.0 }
}
