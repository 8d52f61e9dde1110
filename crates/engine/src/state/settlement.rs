//! Closing the books and paying what they say: names are resolved and the sender's scope is checked here, the rules are the
//! ledger's. Who reviewed may not pay: the ledger keeps both by principal and refuses the same one.

use hesuan_ledger::types::{ClaimId, OrgId, RegionCode, Stamp};

use super::State;
use super::access::{Kind, Scope, judge_scope};
use crate::command::ClosingCommand;
use crate::outcome::{Rejection, Reply};
use crate::types::PrincipalId;

impl State {
    pub(super) fn close_books(
        &mut self,
        principal: PrincipalId,
        command: &ClosingCommand,
        by: Stamp,
    ) -> Result<Reply, Rejection> {
        match command {
            // A period is that of every region, so a reviewer of one region neither ends nor closes it.
            ClosingCommand::EndPeriod => {
                judge_scope(self, principal, Kind::Close, Scope::Cluster)?;
                self.tables.ledger.end_period(by).map(Reply::Number)
            }
            ClosingCommand::ClosePeriod { period } => {
                judge_scope(self, principal, Kind::Close, Scope::Cluster)?;
                let closed = self.tables.ledger.close_period(*period, by);
                closed.map(|()| Reply::Number(*period))
            }
            ClosingCommand::ReviewSettlement { period, provider } => {
                let (provider, region) = self.provider_named(provider)?;
                judge_scope(self, principal, Kind::Review, Scope::Region(region))?;
                let reviewed = self.tables.ledger.review_settlement(*period, provider, by);
                reviewed.map(|()| Reply::Number(*period))
            }
            ClosingCommand::PaySettlement {
                period,
                provider,
                reference,
            } => {
                let (provider, _) = self.provider_named(provider)?;
                let paid = self.tables.ledger.pay_settlement(*period, provider, reference, by);
                paid.map(|_| Reply::Number(*period))
            }
            ClosingCommand::FileClaim { org, programme, amount } => {
                let org = self.claimant(principal, org)?;
                let programme = self.programme_named(programme)?.id;
                let filed = self.tables.ledger.file_claim(org, programme, *amount, by);
                filed.map(Reply::Claim)
            }
            ClosingCommand::ReviewClaim { claim, approve, reason } => {
                let region = self.region_of_claim(*claim)?;
                judge_scope(self, principal, Kind::Review, Scope::Region(region))?;
                let reviewed = self.tables.ledger.review_claim(*claim, *approve, reason, by);
                reviewed.map(|()| Reply::Claim(*claim))
            }
            ClosingCommand::PayClaim { claim, reference } => {
                let paid = self.tables.ledger.pay_claim(*claim, reference, by);
                paid.map(|_| Reply::Claim(*claim))
            }
            ClosingCommand::PayIn {
                programme,
                funder,
                amount,
                reference,
            } => {
                let id = self.programme_named(programme)?.id;
                let paid = self.tables.ledger.pay_in(id, funder, *amount, reference, by);
                paid.map(|()| Reply::Number(id.0))
            }
            ClosingCommand::RepayFund {
                programme,
                amount,
                reference,
            } => {
                let id = self.programme_named(programme)?.id;
                let paid = self.tables.ledger.repay_fund(id, *amount, reference, by);
                paid.map(|()| Reply::Number(id.0))
            }
            ClosingCommand::Collect { org, amount, reference } => {
                let org = self.org_by_name(org, "org")?;
                let paid = self.tables.ledger.collect(org, *amount, reference, by);
                paid.map(|()| Reply::Org(org))
            }
        }
        .map_err(|refused| self.refused(refused))
    }

    /// A provider, and the region whose reviewer looks at what it is paid.
    fn provider_named(&self, name: &str) -> Result<(OrgId, RegionCode), Rejection> {
        let id = self.org_by_name(name, "provider")?;
        let org = self.tables.ledger.org(id).expect("found above");
        Ok((id, org.registered.region))
    }

    /// Who claims: the principal's own organisation, which it may name.
    fn claimant(&self, principal: PrincipalId, name: &str) -> Result<OrgId, Rejection> {
        if name.is_empty() {
            let own = self.principal(principal).and_then(|principal| principal.org);
            let text = "only a member of an org files claims, for that org";
            return own.ok_or_else(|| Rejection::denied("PERMISSION_DENIED", text));
        }
        let org = self.org_by_name(name, "org")?;
        judge_scope(self, principal, Kind::Claim, Scope::Org(org))?;
        Ok(org)
    }

    fn region_of_claim(&self, id: ClaimId) -> Result<RegionCode, Rejection> {
        let ledger = &self.tables.ledger;
        let programme = ledger.claim(id).and_then(|claim| ledger.programme(claim.programme));
        programme
            .map(|programme| programme.region)
            .ok_or_else(|| Rejection::not_found("UNKNOWN_CLAIM", "claim_id", format!("no claim {id}")))
    }
}
