//! Administration: organisations, wallets, sites, prices, programmes and agreements.

use std::sync::Arc;

use crate::account::Account;
use crate::agreement::{Agreement, NewAgreement, check_agreement};
use crate::journal::EntryKind;
use crate::ledger::Ledger;
use crate::party::{NewOrg, Org, Site, check_amount, check_org, check_region, check_text};
use crate::price::{PriceSheets, check_sheet};
use crate::programme::{
    BudgetPolicy, NewProgramme, Programme, Redemption, Revision, Terms, check_programme, check_terms,
};
use crate::rejection::{Rejection, Subject};
use crate::types::{AgreementId, Fen, OrgId, ProgrammeId, RegionCode, SiteId, Sku, Stamp, Timestamp};

// All money that is ever in the books at once stays under this, so that no balance can overflow.
const BOOKS_MAX: i128 = 4_000_000_000_000_000_000;

impl Ledger {
    /// A new organisation with an empty wallet.
    pub fn create_org(&mut self, new: &NewOrg, by: impl Into<Stamp>) -> Result<OrgId, Rejection> {
        let by = by.into();
        self.assert_time(by);
        check_org(new)?;
        if self.org_names.contains_key(&*new.name) {
            return Err(Rejection::NameTaken {
                field: "name",
                name: new.name.clone(),
            });
        }
        let id = OrgId(
            u32::try_from(self.orgs.next_id())
                .map_err(|_| Rejection::invalid("name", &new.name, "no more organisations"))?,
        );
        let mut registered = new.clone();
        if registered.control_group.is_empty() {
            registered.control_group = registered.name.clone();
        }
        let group = self.groups.get(&*registered.control_group).copied().unwrap_or(id);
        self.groups.insert(Arc::from(&*registered.control_group), group);
        self.org_names.insert(Arc::from(&*registered.name), id);
        self.journal.facts([
            u64::from(id.0),
            registered.kind as u64,
            u64::from(registered.region.0),
            u64::from(group.0),
        ]);
        self.journal.text(&registered.name);
        self.journal.text(&registered.control_group);
        self.journal.text(&registered.credit_code);
        let zero = Fen::ZERO;
        self.orgs.push(Org {
            id,
            registered,
            group,
            available: zero,
            held: zero,
            topped_up: zero,
            withdrawn: zero,
            spent: zero,
            receivable: zero,
            claim: zero,
            owes: zero,
        });
        self.write(EntryKind::CreateOrg, by);
        Ok(id)
    }

    /// Money comes in.
    pub fn credit_wallet(
        &mut self,
        org: OrgId,
        amount: Fen,
        reference: &str,
        by: impl Into<Stamp>,
    ) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        self.known_org(org)?;
        check_amount("amount", amount)?;
        check_text("reference", reference)?;
        self.check_room("amount", amount)?;
        self.org_mut(org).topped_up.0 += amount.0;
        self.post(Account::Treasury, Account::Wallet(org), amount);
        self.journal.fact(org.0);
        self.journal.text(reference);
        self.write(EntryKind::TopUp, by);
        Ok(())
    }

    /// Money goes out; only what is free.
    pub fn withdraw(
        &mut self,
        org: OrgId,
        amount: Fen,
        reference: &str,
        by: impl Into<Stamp>,
    ) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        let available = self.known_org(org)?.available;
        check_amount("amount", amount)?;
        check_text("reference", reference)?;
        if available < amount {
            return Err(Rejection::InsufficientFunds {
                org,
                needed: amount,
                available,
            });
        }
        self.check_cash(amount)?;
        self.org_mut(org).withdrawn.0 += amount.0;
        self.post(Account::Wallet(org), Account::Treasury, amount);
        self.journal.fact(org.0);
        self.journal.text(reference);
        self.write(EntryKind::Withdraw, by);
        Ok(())
    }

    /// A site whose use is credited to `provider`. The id is the caller's.
    pub fn register_site(
        &mut self,
        site: SiteId,
        region: RegionCode,
        provider: OrgId,
        by: impl Into<Stamp>,
    ) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        check_region("region", region)?;
        self.known_org(provider)?;
        if self.sites.contains_key(&site) {
            return Err(Rejection::NameTaken {
                field: "site",
                name: site.to_string().into(),
            });
        }
        self.sites.insert(
            site,
            Site {
                region,
                provider,
                prices: PriceSheets::default(),
            },
        );
        self.journal
            .facts([u64::from(site.0), u64::from(region.0), u64::from(provider.0)]);
        self.write(EntryKind::RegisterSite, by);
        Ok(())
    }

    /// A new price sheet, in force from `effective_from` (`None` = now; never in the past). Classes it does not name keep their prices.
    /// Returns its version.
    pub fn set_prices(
        &mut self,
        site: SiteId,
        prices: &[(Sku, u64)],
        effective_from: Option<Timestamp>,
        by: impl Into<Stamp>,
    ) -> Result<u32, Rejection> {
        let by = by.into();
        self.assert_time(by);
        self.known_site(site)?;
        check_sheet(prices)?;
        let effective_from = self.check_not_past("effective_from", effective_from, by)?;
        let sheets = &mut self.sites.get_mut(&site).expect("found above").prices;
        let version = sheets.append(prices, effective_from);
        self.journal
            .facts([u64::from(site.0), u64::from(version), effective_from.0]);
        for (sku, price) in prices {
            self.journal.fact(*price);
            self.journal.text(sku.as_str());
        }
        self.write(EntryKind::SetPrices, by);
        Ok(version)
    }

    /// A new programme with its budget.
    pub fn create_programme(&mut self, new: &NewProgramme, by: impl Into<Stamp>) -> Result<ProgrammeId, Rejection> {
        let by = by.into();
        self.assert_time(by);
        check_programme(new)?;
        if self.programme_names.contains_key(&*new.name) {
            return Err(Rejection::NameTaken {
                field: "name",
                name: new.name.clone(),
            });
        }
        self.check_room("budget", new.budget)?;
        // The owner of a funder's account is a 28-bit number in the journal.
        let id = u32::try_from(self.programmes.next_id()).ok().filter(|id| *id < 1 << 28);
        let id = ProgrammeId(id.ok_or_else(|| Rejection::invalid("name", &new.name, "no more programmes"))?);
        let zero = Fen::ZERO;
        self.programmes.push(Programme {
            id,
            name: new.name.clone(),
            region: new.region,
            funders: new.funders.clone(),
            budget_policy: new.budget_policy,
            redemption: new.redemption,
            revisions: vec![Revision {
                effective_from: by.at,
                terms: new.terms.clone(),
            }],
            budget: new.budget,
            uncommitted: zero,
            unfunded: zero,
            uncalled: zero,
            due: vec![zero; new.funders.len()],
            recovery: zero,
            issued: zero,
            held: zero,
            captured: zero,
            lapsed: zero,
            revoked: zero,
        });
        self.programme_names.insert(Arc::from(&*new.name), id);
        self.post(Account::Uncalled(id), Account::Budget(id), new.budget);
        let at_issue = u64::from(new.budget_policy == BudgetPolicy::CommitAtIssue);
        let by_holder = u64::from(new.redemption == Redemption::Holder);
        self.journal.facts([
            u64::from(id.0),
            u64::from(new.region.0),
            new.budget.0 as u64,
            at_issue,
            by_holder,
        ]);
        self.journal.text(&new.name);
        for funder in &new.funders {
            self.journal.fact(funder.share);
            self.journal.text(&funder.name);
        }
        self.journal.text(&format!("{:?}", new.terms));
        self.write(EntryKind::CreateProgramme, by);
        Ok(id)
    }

    /// New terms from `effective_from` on (`None` = now; never in the past, never before an earlier revision). New quotes and holds are
    /// judged by them; open holds keep theirs. Returns the revision's number.
    pub fn revise_programme(
        &mut self,
        programme: ProgrammeId,
        terms: &Terms,
        effective_from: Option<Timestamp>,
        by: impl Into<Stamp>,
    ) -> Result<u32, Rejection> {
        let by = by.into();
        self.assert_time(by);
        let known = self.known_programme(programme)?;
        check_terms(terms)?;
        let effective_from = self.check_not_past("effective_from", effective_from, by)?;
        let latest = known.revisions[known.revisions.len() - 1].effective_from;
        if effective_from < latest {
            return Err(Rejection::invalid(
                "effective_from",
                effective_from,
                "not before the latest revision",
            ));
        }
        let revisions = &mut self.programme_mut(programme).revisions;
        revisions.push(Revision {
            effective_from,
            terms: terms.clone(),
        });
        let number = revisions.len() as u32;
        self.journal
            .facts([u64::from(programme.0), u64::from(number), effective_from.0]);
        self.journal.text(&format!("{terms:?}"));
        self.write(EntryKind::ReviseProgramme, by);
        Ok(number)
    }

    /// Raises or lowers a budget, not below what is committed.
    pub fn set_budget(&mut self, programme: ProgrammeId, budget: Fen, by: impl Into<Stamp>) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        let known = self.known_programme(programme)?;
        check_amount("budget", budget)?;
        let committed = Fen(known.budget.0 - known.uncommitted.0);
        if budget < committed {
            return Err(Rejection::BudgetCommitted {
                programme,
                needed: budget,
                committed,
            });
        }
        let more = budget.0 - known.budget.0;
        self.check_room("budget", Fen(more.max(0)))?;
        if more > 0 {
            self.post(Account::Uncalled(programme), Account::Budget(programme), Fen(more));
        } else {
            self.post(Account::Budget(programme), Account::Uncalled(programme), Fen(-more));
        }
        self.programme_mut(programme).budget = budget;
        self.journal.facts([u64::from(programme.0), budget.0 as u64]);
        self.write(EntryKind::SetBudget, by);
        Ok(())
    }

    /// A new agreement. Where it overlaps an earlier one it counts instead of it.
    pub fn create_agreement(&mut self, new: &NewAgreement, by: impl Into<Stamp>) -> Result<AgreementId, Rejection> {
        let by = by.into();
        self.assert_time(by);
        check_agreement(new)?;
        for site in &new.sites {
            if self.known_site(*site)?.region == new.issuer_region {
                return Err(Rejection::invalid("sites", site, "sites outside the issuer's region"));
            }
        }
        let same_scope = |earlier: &Agreement| {
            let agreed = &earlier.agreed;
            (agreed.issuer_region, agreed.provider_region, &agreed.sites)
                == (new.issuer_region, new.provider_region, &new.sites)
        };
        let version = 1 + self
            .agreements
            .iter()
            .filter(|(_, earlier)| same_scope(earlier))
            .count() as u32;
        let id =
            u32::try_from(self.agreements.next_id()).map_err(|_| Rejection::invalid("id", "", "no more agreements"))?;
        let id = AgreementId(id);
        self.agreements.push(Agreement {
            id,
            version,
            agreed: new.clone(),
        });
        self.journal.facts([u64::from(id.0), u64::from(version)]);
        self.journal.text(&format!("{new:?}"));
        self.write(EntryKind::CreateAgreement, by);
        Ok(id)
    }

    /// Ends an agreement at an instant (`None` = now; never in the past) before its own end. Open holds keep it.
    pub fn end_agreement(
        &mut self,
        agreement: AgreementId,
        end: Option<Timestamp>,
        by: impl Into<Stamp>,
    ) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        let known = self
            .agreement(agreement)
            .ok_or_else(|| Rejection::unknown(Subject::Agreement, agreement))?;
        let end = self.check_not_past("at", end, by)?;
        if known.agreed.until <= by.at {
            return Err(Rejection::AgreementEnded { agreement });
        }
        if end > known.agreed.until {
            return Err(Rejection::invalid("at", end, "not after the agreement's own end"));
        }
        let known = self.agreements.get_mut(u64::from(agreement.0)).expect("found above");
        known.agreed.until = end;
        self.journal.facts([u64::from(agreement.0), end.0]);
        self.write(EntryKind::EndAgreement, by);
        Ok(())
    }

    pub(crate) fn check_room(&self, field: &'static str, amount: Fen) -> Result<(), Rejection> {
        let debits: i128 = self.totals[..=crate::account::LAST_DEBIT_KIND].iter().sum();
        if debits + i128::from(amount.0) > BOOKS_MAX {
            return Err(Rejection::invalid(
                field,
                amount,
                "less: the books as a whole would overflow",
            ));
        }
        Ok(())
    }

    fn check_not_past(&self, field: &'static str, given: Option<Timestamp>, by: Stamp) -> Result<Timestamp, Rejection> {
        let instant = given.unwrap_or(by.at);
        if instant < by.at || instant > Timestamp::FAR {
            return Err(Rejection::invalid(field, instant, "an instant not in the past"));
        }
        Ok(instant)
    }
}
