//! Commands that end in the ledger: names are resolved and the sender's scope is checked here, the rules of money are there.

use hesuan_ledger::types::{AgreementId, Fen, HoldKey, OrgId, ProgrammeId, Sku, Stamp, Timestamp, VoucherId};
use hesuan_ledger::{NewAgreement, NewProgramme, Programme, Voucher};

use super::State;
use super::access::{Kind, Scope, judge_scope};
use crate::command::MoneyCommand;
use crate::outcome::{Effect, Rejection, RejectionKind, Reply};
use crate::types::{PrincipalId, TaskId};

impl State {
    pub(super) fn move_money(
        &mut self,
        principal: PrincipalId,
        at: Timestamp,
        command: &MoneyCommand,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Rejection> {
        let by = Stamp { at, actor: principal.0 };
        match command {
            MoneyCommand::CreateOrg(new) => self
                .tables
                .ledger
                .create_org(new, by)
                .map(Reply::Org)
                .map_err(money_refused),
            MoneyCommand::TopUp { org, amount, reference } => {
                let org = self.org_by_name(org, "org")?;
                self.tables
                    .ledger
                    .credit_wallet(org, *amount, reference, by)
                    .map_err(money_refused)?;
                effects.push(Effect::FundsChanged(org));
                Ok(Reply::Org(org))
            }
            MoneyCommand::Withdraw { org, amount, reference } => {
                let org = self.org_by_name(org, "org")?;
                self.tables
                    .ledger
                    .withdraw(org, *amount, reference, by)
                    .map_err(money_refused)?;
                Ok(Reply::Org(org))
            }
            MoneyCommand::SetPrices {
                site,
                prices,
                effective_from,
            } => {
                let site = self.site_named(site, "site")?.id;
                judge_scope(self, principal, Kind::SetPrices, Scope::Site(site))?;
                let prices: Vec<(Sku, u64)> = prices.iter().map(|(sku, price)| (Sku::from(&**sku), *price)).collect();
                let version = self
                    .tables
                    .ledger
                    .set_prices(site, &prices, *effective_from, by)
                    .map_err(money_refused)?;
                self.tables.meta.rules_version += 1;
                effects.push(Effect::SiteChanged(site));
                Ok(Reply::Number(version))
            }
            MoneyCommand::Refund { task, amount, reason } => self.refund(*task, *amount, reason, by, effects),
            MoneyCommand::CreateProgramme(new) => self.create_programme(principal, new, by, effects),
            MoneyCommand::CreateAgreement { agreement, sites } => {
                self.create_agreement(principal, agreement, sites, by, effects)
            }
            MoneyCommand::EndAgreement { id, at } => {
                let id = AgreementId(*id);
                let Some(agreement) = self.tables.ledger.agreement(id) else {
                    return Err(Rejection::not_found(
                        "UNKNOWN_AGREEMENT",
                        "id",
                        format!("no agreement {id}"),
                    ));
                };
                let region = agreement.agreed.issuer_region;
                judge_scope(self, principal, Kind::Programmes, Scope::Region(region))?;
                self.tables.ledger.end_agreement(id, *at, by).map_err(money_refused)?;
                Ok(self.rules_changed(effects, Reply::Number(id.0)))
            }
            MoneyCommand::IssueVouchers { programme, vouchers } => {
                let programme = self.programme_named(programme)?;
                let (id, region) = (programme.id, programme.region);
                judge_scope(self, principal, Kind::Programmes, Scope::Region(region))?;
                let ids = self
                    .tables
                    .ledger
                    .issue_vouchers(id, vouchers, by)
                    .map_err(money_refused)?;
                let first = ids.first().map_or(0, |id| id.0);
                Ok(Reply::Vouchers {
                    first,
                    count: ids.len() as u32,
                })
            }
            MoneyCommand::RedeemVoucher { code } => self.redeem(principal, code, by, effects),
            MoneyCommand::SuspendVoucher { code, reason } => {
                let (id, _) = self.voucher_of_issuer(principal, code)?;
                self.tables
                    .ledger
                    .suspend_voucher(id, reason, by)
                    .map_err(money_refused)?;
                Ok(self.rules_changed(effects, one_voucher(id)))
            }
            MoneyCommand::ResumeVoucher { code, reason } => {
                let (id, holder) = self.voucher_of_issuer(principal, code)?;
                self.tables
                    .ledger
                    .resume_voucher(id, reason, by)
                    .map_err(money_refused)?;
                effects.push(Effect::FundsChanged(holder));
                Ok(self.rules_changed(effects, one_voucher(id)))
            }
            MoneyCommand::RevokeVoucher { code, reason, fraud } => {
                let (id, _) = self.voucher_of_issuer(principal, code)?;
                if *fraud {
                    let text = "ending the cover of running segments is not offered; revoke without it";
                    return Err(Rejection::invalid("FRAUD_NOT_OFFERED", "fraud", text));
                }
                self.tables
                    .ledger
                    .revoke_voucher(id, false, reason, by)
                    .map_err(money_refused)?;
                Ok(self.rules_changed(effects, one_voucher(id)))
            }
        }
    }

    fn refund(
        &mut self,
        task: TaskId,
        amount: Option<Fen>,
        reason: &str,
        by: Stamp,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Rejection> {
        let key = HoldKey {
            job: task.job.0,
            task: task.task,
            attempt: task.attempt,
        };
        let payer = self.tables.ledger.receipt(key).map(|receipt| receipt.payer);
        let refund = self
            .tables
            .ledger
            .refund(key, amount, reason, by)
            .map_err(money_refused)?;
        effects.extend(payer.map(Effect::FundsChanged));
        // The job may be in the archive already; the ledger keeps what can still be given back.
        let id = self.attempts(task.job, task.task).map(|(id, _)| id);
        let id = id
            .take_while(|id| id.task == task.task)
            .find(|id| id.attempt == task.attempt);
        if let Some(id) = id
            && let Some(ended) = &mut self.attempt_mut(id).ended
        {
            ended.refunded.0 += refund.amount.0;
            effects.push(Effect::JobChanged(task.job));
        }
        Ok(Reply::Done)
    }

    fn create_programme(
        &mut self,
        principal: PrincipalId,
        new: &NewProgramme,
        by: Stamp,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Rejection> {
        judge_scope(self, principal, Kind::Programmes, Scope::Region(new.region))?;
        let id = self.tables.ledger.create_programme(new, by).map_err(money_refused)?;
        Ok(self.rules_changed(effects, Reply::Number(id.0)))
    }

    fn create_agreement(
        &mut self,
        principal: PrincipalId,
        agreement: &NewAgreement,
        sites: &[Box<str>],
        by: Stamp,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Rejection> {
        judge_scope(
            self,
            principal,
            Kind::Programmes,
            Scope::Region(agreement.issuer_region),
        )?;
        let mut agreement = agreement.clone();
        for name in sites {
            agreement.sites.push(self.site_named(name, "agreement.sites")?.id);
        }
        let id = self
            .tables
            .ledger
            .create_agreement(&agreement, by)
            .map_err(money_refused)?;
        Ok(self.rules_changed(effects, Reply::Number(id.0)))
    }

    fn redeem(
        &mut self,
        principal: PrincipalId,
        code: &str,
        by: Stamp,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Rejection> {
        let Some(holder) = self.principal(principal).and_then(|principal| principal.org) else {
            return Err(Rejection::denied(
                "PERMISSION_DENIED",
                "only a member of an org redeems vouchers, for that org",
            ));
        };
        let id = self
            .tables
            .ledger
            .redeem_voucher(code, holder, by)
            .map_err(money_refused)?;
        effects.push(Effect::FundsChanged(holder));
        Ok(one_voucher(id))
    }

    fn rules_changed(&mut self, effects: &mut Vec<Effect>, reply: Reply) -> Reply {
        self.tables.meta.rules_version += 1;
        effects.push(Effect::RulesChanged);
        reply
    }

    fn programme_named(&self, name: &str) -> Result<&Programme, Rejection> {
        let found = self.tables.ledger.programme_by_name(name);
        found.ok_or_else(|| Rejection::not_found("UNKNOWN_PROGRAMME", "programme", format!("no programme {name:?}")))
    }

    fn voucher_of_issuer(&self, principal: PrincipalId, code: &str) -> Result<(VoucherId, OrgId), Rejection> {
        let ledger = &self.tables.ledger;
        let voucher: Option<&Voucher> = ledger.voucher_by_code(code);
        let unknown = || Rejection::not_found("UNKNOWN_VOUCHER", "code", format!("no voucher {code:?}"));
        let voucher = voucher.ok_or_else(unknown)?;
        let programme: ProgrammeId = voucher.programme;
        let region = ledger
            .programme(programme)
            .map(|programme| programme.region)
            .ok_or_else(unknown)?;
        judge_scope(self, principal, Kind::Programmes, Scope::Region(region))?;
        Ok((voucher.id, voucher.holder))
    }

    pub(super) fn org_by_name(&self, name: &str, field: &str) -> Result<OrgId, Rejection> {
        let found = self.tables.ledger.org_by_name(name).map(|org| org.id);
        found.ok_or_else(|| Rejection::not_found("UNKNOWN_ORG", field, format!("{field}: no org {name:?}")))
    }
}

fn one_voucher(id: VoucherId) -> Reply {
    Reply::Vouchers { first: id.0, count: 1 }
}

/// A refusal of the ledger, as an answer of the engine.
pub(super) fn money_refused(refused: hesuan_ledger::Rejection) -> Rejection {
    use hesuan_ledger::RejectionKind as Money;
    let kind = match refused.kind() {
        Money::Invalid => RejectionKind::Invalid,
        Money::NotFound => RejectionKind::NotFound,
        Money::AlreadyExists => RejectionKind::AlreadyExists,
        Money::Precondition => RejectionKind::Precondition,
        Money::Funds => RejectionKind::Funds,
    };
    Rejection::new(kind, refused.code(), refused.field(), refused.to_string())
}
