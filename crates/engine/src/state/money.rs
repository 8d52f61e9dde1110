//! Commands that end in the ledger: names are resolved and the sender's scope is checked here, the rules of money are there.

use hesuan_ledger::types::{AgreementId, Fen, HoldKey, OrgId, ProgrammeId, Sku, Stamp, Timestamp, VoucherId};
use hesuan_ledger::{NewAgreement, NewProgramme, Programme, Voucher};

use super::State;
use super::access::{Kind, Scope, judge_scope};
use super::nearest::smaller_amount;
use crate::command::MoneyCommand;
use crate::outcome::{Effect, Figures, Rejection, RejectionKind, Reply};
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
                .map_err(|refused| self.refused(refused)),
            MoneyCommand::TopUp { org, amount, reference } => {
                let org = self.org_by_name(org, "org")?;
                self.tables
                    .ledger
                    .credit_wallet(org, *amount, reference, by)
                    .map_err(|refused| self.refused(refused))?;
                effects.push(Effect::FundsChanged(org));
                Ok(Reply::Org(org))
            }
            MoneyCommand::Withdraw { org, amount, reference } => {
                let org = self.org_by_name(org, "org")?;
                self.tables
                    .ledger
                    .withdraw(org, *amount, reference, by)
                    .map_err(|refused| self.refused(refused))?;
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
                    .map_err(|refused| self.refused(refused))?;
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
                self.tables
                    .ledger
                    .end_agreement(id, *at, by)
                    .map_err(|refused| self.refused(refused))?;
                Ok(self.rules_changed(effects, Reply::Number(id.0)))
            }
            MoneyCommand::IssueVouchers {
                programme,
                vouchers,
                unit_hours,
            } => {
                let id = self.programme_of_issuer(principal, programme)?;
                self.check_denomination(id, *unit_hours, "vouchers.face")?;
                let ids = self
                    .tables
                    .ledger
                    .issue_vouchers(id, vouchers, by)
                    .map_err(|refused| self.refused_in(id, refused))?;
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
                    .map_err(|refused| self.refused(refused))?;
                Ok(self.rules_changed(effects, one_voucher(id)))
            }
            MoneyCommand::ResumeVoucher { code, reason } => {
                let (id, holder) = self.voucher_of_issuer(principal, code)?;
                self.tables
                    .ledger
                    .resume_voucher(id, reason, by)
                    .map_err(|refused| self.refused(refused))?;
                effects.push(Effect::FundsChanged(holder));
                Ok(self.rules_changed(effects, one_voucher(id)))
            }
            MoneyCommand::RevokeVoucher { code, reason, fraud } => {
                let (id, _) = self.voucher_of_issuer(principal, code)?;
                self.tables
                    .ledger
                    .revoke_voucher(id, *fraud, reason, by)
                    .map_err(|refused| self.refused(refused))?;
                Ok(self.rules_changed(effects, one_voucher(id)))
            }
            MoneyCommand::UpdateOrg {
                org,
                region,
                control_group,
            } => {
                let org = self.org_by_name(org, "org")?;
                self.tables
                    .ledger
                    .update_org(org, *region, control_group.as_deref(), by)
                    .map_err(|refused| self.refused(refused))?;
                // Another region or controller makes other vouchers pay, and shares other caps.
                effects.push(Effect::FundsChanged(org));
                Ok(self.rules_changed(effects, Reply::Org(org)))
            }
            MoneyCommand::ReviseProgramme {
                programme,
                terms,
                effective_from,
                immediate,
                unit_hours,
            } => {
                let id = self.programme_of_issuer(principal, programme)?;
                if terms.cap_per_control_group.is_some() || terms.cap_per_job.is_some() {
                    self.check_denomination(id, *unit_hours, "terms.cap_per_control_group")?;
                }
                self.tables
                    .ledger
                    .revise_programme(id, terms, *effective_from, *immediate, by)
                    .map_err(|refused| self.refused(refused))?;
                Ok(self.rules_changed(effects, Reply::Number(id.0)))
            }
            MoneyCommand::SetBudget {
                programme,
                budget,
                unit_hours,
            } => {
                let id = self.programme_of_issuer(principal, programme)?;
                self.check_denomination(id, *unit_hours, "budget")?;
                self.tables
                    .ledger
                    .set_budget(id, *budget, by)
                    .map_err(|refused| self.refused_in(id, refused))?;
                Ok(self.rules_changed(effects, Reply::Number(id.0)))
            }
            MoneyCommand::Closing(closing) => self.close_books(principal, closing, by),
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
            .map_err(|refused| self.refused(refused))?;
        effects.extend(payer.map(Effect::FundsChanged));
        if !refund.legs.is_empty() {
            // What went back to funds is there for every holder.
            self.rules_changed(effects, Reply::Done);
        }
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
        let id = self
            .tables
            .ledger
            .create_programme(new, by)
            .map_err(|refused| self.refused(refused))?;
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
            .map_err(|refused| self.refused(refused))?;
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
        // That another holder has it is not told.
        let own = self.tables.ledger.voucher_by_code(code);
        if own.is_none_or(|voucher| voucher.holder != holder) {
            let text = format!("this organisation has no voucher {code:?}; `voucher list` shows those it has");
            return Err(Rejection::not_found("UNKNOWN_VOUCHER", "code", text));
        }
        let id = self
            .tables
            .ledger
            .redeem_voucher(code, holder, by)
            .map_err(|refused| self.refused(refused))?;
        effects.push(Effect::FundsChanged(holder));
        Ok(one_voucher(id))
    }

    pub(super) fn rules_changed(&mut self, effects: &mut Vec<Effect>, reply: Reply) -> Reply {
        self.tables.meta.rules_version += 1;
        effects.push(Effect::RulesChanged);
        reply
    }

    fn programme_of_issuer(&self, principal: PrincipalId, name: &str) -> Result<ProgrammeId, Rejection> {
        let programme = self.programme_named(name)?;
        let region = programme.region;
        judge_scope(self, principal, Kind::Programmes, Scope::Region(region))?;
        Ok(programme.id)
    }

    /// Yuan are never taken for hours: who gives an amount says which it is.
    fn check_denomination(&self, id: ProgrammeId, unit_hours: bool, field: &str) -> Result<(), Rejection> {
        let programme = self.tables.ledger.programme(id).expect("the caller found it");
        match (programme.unit_hours_of(), unit_hours) {
            (None, false) | (Some(_), true) => Ok(()),
            (counted, _) => {
                let unit = counted.map_or("yuan".to_owned(), |sku| format!("unit-hours of {sku}"));
                let text = format!("{field}: {} counts in {unit}; give the amount in that", programme.name);
                Err(Rejection::invalid("DENOMINATION", field, text))
            }
        }
    }

    /// A refusal whose figures are in what the programme counts in.
    fn refused_in(&self, id: ProgrammeId, refused: hesuan_ledger::Rejection) -> Rejection {
        let nearest = self.larger_budget(&refused).map(Box::new);
        let mut refused = self.refused(refused);
        let programme = self.tables.ledger.programme(id);
        let sku = programme.and_then(|programme| programme.unit_hours_of());
        if let (Some(figures), Some(sku)) = (&mut refused.figures, sku) {
            figures.unit_hours_of = Some(sku.as_str().into());
        }
        refused.nearest = nearest;
        refused
    }

    pub(super) fn programme_named(&self, name: &str) -> Result<&Programme, Rejection> {
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
    Rejection {
        figures: figures(&refused),
        nearest: smaller_amount(&refused).map(Box::new),
        ..Rejection::new(kind, refused.code(), refused.field(), refused.to_string())
    }
}

/// What is missing, where the refusal is about an amount.
pub(super) fn figures(refused: &hesuan_ledger::Rejection) -> Option<Box<Figures>> {
    let (needed, available) = refused.figures()?;
    Some(Box::new(Figures {
        needed,
        available,
        unit_hours_of: None,
    }))
}
