//! The counter where periods are closed, statements are read, and money is paid in and out.

use std::fmt::Write;

use hesuan_ledger::types::{ClaimId, ProgrammeId, Stamp};
use hesuan_ledger::{ClaimState, Rejection, TallyKey};

use super::words::Words;
use super::{Desk, done};

impl Desk {
    /// The answer to a command of this counter; `None` for another one's.
    pub(super) fn finance(&mut self, words: &Words) -> Option<Result<String, Rejection>> {
        let by = self.stamp(words);
        Some(match words.verb() {
            "end-period" => self
                .ledger
                .end_period(by)
                .map(|number| format!("period {number} ended")),
            "close-period" => self
                .ledger
                .close_period(words.number(0) as u32, by)
                .map(|()| format!("period {} is closed", words.number(0))),
            "periods" => Ok(self.periods()),
            "clearing" => self.clearing(words.number(0) as u32),
            "sheet" => self.sheet(words.number(0) as u32, words.name(1)),
            "payable" => self.payable(words.number(0) as u32),
            "corrections" => Ok(self.corrections(words.number(0) as u32)),
            "statement" => Ok(self.statement(words.number(0) as u32, words.name(1))),
            "review-settlement" => {
                let provider = self.payer(words.name(1));
                self.ledger
                    .review_settlement(words.number(0) as u32, provider, by)
                    .map(done)
            }
            "settle-provider" => self.settle_provider(words, by),
            "claim" => {
                let (holder, programme) = (self.payer(words.name(0)), self.programme_id(words.name(1)));
                self.ledger
                    .file_claim(holder, programme, words.amount("amount"), by)
                    .map(|id| self.shown_claim(id))
            }
            "review-claim" => {
                let id = ClaimId(words.number(0));
                let reason = words.value("refused-for");
                self.ledger
                    .review_claim(id, reason.is_none(), reason.unwrap_or(""), by)
                    .map(|()| self.shown_claim(id))
            }
            "pay-claim" => {
                let id = ClaimId(words.number(0));
                self.ledger.pay_claim(id, "transfer", by).map(|_| self.shown_claim(id))
            }
            "claims" => Ok(self.claims(words.name(0))),
            "pay-in" => {
                let programme = self.programme_id(words.name(0));
                self.ledger
                    .pay_in(programme, words.name(1), words.fen(2), "transfer", by)
                    .map(done)
            }
            "collect" => {
                let org = self.payer(words.name(0));
                self.ledger.collect(org, words.fen(1), "transfer", by).map(done)
            }
            "repay" => {
                let programme = self.programme_id(words.name(0));
                self.ledger
                    .repay_fund(programme, words.fen(1), "transfer", by)
                    .map(done)
            }
            "treasury" => Ok(self.treasury()),
            _ => return None,
        })
    }

    // Principals are numbered as they come up.
    fn stamp(&mut self, words: &Words) -> Stamp {
        let next = self.principals.len() as u32 + 1;
        let actor = words
            .value("by")
            .map_or(0, |name| *self.principals.entry(name.into()).or_insert(next));
        Stamp { at: self.at, actor }
    }

    fn periods(&self) -> String {
        let mut out = String::new();
        for period in self.ledger.periods_after(0) {
            let how = match &period.closed {
                Some(closed) => format!("closed by entry {}", closed.last_entry),
                None if period.until <= self.at => "over".into(),
                None => "current".into(),
            };
            writeln!(
                out,
                "period {} from {} until {}, {how}",
                period.number,
                super::words::date(period.from),
                super::words::date(period.until)
            )
            .expect("a string takes any text");
        }
        out
    }

    fn clearing(&self, period: u32) -> Result<String, Rejection> {
        let clearing = self.ledger.clearing(period)?;
        let mut out = String::new();
        for cell in &clearing.cells {
            write!(out, "{} owes payees in {}: {}", cell.issuer, cell.payee, cell.net)
                .expect("a string takes any text");
            if cell.refunded.0 > 0 {
                write!(out, " ({} less {} given back)", cell.captured, cell.refunded).expect("a string takes any text");
            }
            out.push('\n');
        }
        for position in &clearing.positions {
            writeln!(
                out,
                "{} gets {} from elsewhere and pays {}: {:+}",
                position.region, position.receives, position.pays, position.net.0
            )
            .expect("a string takes any text");
        }
        for (how, payments) in [("in pairs", &clearing.netted), ("among all", &clearing.payments)] {
            for payment in payments {
                writeln!(
                    out,
                    "netted {how}: {} pays {} to {}",
                    payment.from, payment.amount, payment.to
                )
                .expect("a string takes any text");
            }
        }
        Ok(out)
    }

    fn sheet(&self, period: u32, provider: &str) -> Result<String, Rejection> {
        let provider = self.payer(provider);
        let sheet = self.ledger.sheet(period, provider)?;
        let mut out = String::new();
        for (key, tally) in &sheet.rows {
            write!(
                out,
                "{} at {}: {}",
                self.source(key.programme),
                self.site_name(key),
                tally.net()
            )
            .expect("a string takes any text");
            self.details(&mut out, key, tally.captured.0, tally.refunded.0);
            let parts: Vec<String> = tally.parts().map(|part| part.to_string()).collect();
            if parts.len() > 1 {
                write!(out, ", by funder {}", parts.join(" + ")).expect("a string takes any text");
            }
            out.push('\n');
        }
        write!(
            out,
            "in all {}: payers {} and programmes {}",
            sheet.net, sheet.own, sheet.subsidies
        )
        .expect("a string takes any text");
        if let Some(settlement) = self.ledger.settlement(period, provider) {
            let state = match (settlement.reviewed, settlement.paid) {
                (_, Some(paid)) if paid.set_off.0 > 0 => format!("paid {}, {} set off", paid.cash, paid.set_off),
                (_, Some(paid)) => format!("paid {}", paid.cash),
                (Some(_), None) => "reviewed".into(),
                (None, None) => "to be reviewed".into(),
            };
            write!(out, "\nsettlement: {state}").expect("a string takes any text");
        }
        Ok(out)
    }

    fn details(&self, out: &mut String, key: &TallyKey, captured: i64, refunded: i64) {
        if key.agreement.0 > 0 {
            write!(out, " under agreement {}", key.agreement).expect("a string takes any text");
        }
        if refunded > 0 {
            write!(out, " ({captured} less {refunded} given back)").expect("a string takes any text");
        }
        if key.of != key.period {
            write!(out, ", correction of period {}", key.of).expect("a string takes any text");
        }
    }

    fn payable(&self, period: u32) -> Result<String, Rejection> {
        let mut out = String::new();
        for payable in self.ledger.payables(period)? {
            let programme = self.ledger.programme(payable.programme).expect("it has lines");
            let funder = &programme.funders[usize::from(payable.funder)].name;
            write!(out, "{} of {}: {}", funder, programme.name, payable.net).expect("a string takes any text");
            if payable.corrections.0 < 0 {
                write!(
                    out,
                    " ({} and corrections of {})",
                    payable.ordinary, payable.corrections
                )
                .expect("a string takes any text");
            }
            if payable.to_holders.0 != 0 {
                write!(out, ", to holders").expect("a string takes any text");
            }
            out.push('\n');
        }
        Ok(out)
    }

    fn corrections(&self, period: u32) -> String {
        let mut out = String::new();
        for (key, tally) in self.ledger.corrections(period) {
            writeln!(
                out,
                "period {}: {} at {}, {}",
                key.of,
                self.source(key.programme),
                self.site_name(key),
                tally.net()
            )
            .expect("a string takes any text");
        }
        out
    }

    fn statement(&self, period: u32, holder: &str) -> String {
        let Some(totals) = self.ledger.holder_totals(period, self.payer(holder)) else {
            return "nothing".into();
        };
        let mut out = format!(
            "{} jobs, list price {}: vouchers {}, co-pay {}; from the wallet {}",
            totals.cells,
            totals.gross,
            totals.subsidy,
            totals.copay(),
            totals.wallet
        );
        if totals.refunds > 0 {
            write!(
                out,
                "\ngiven back {}, of it to the wallet {}",
                totals.refunded, totals.to_wallet
            )
            .expect("a string takes any text");
        }
        out
    }

    fn settle_provider(&mut self, words: &Words, by: Stamp) -> Result<String, Rejection> {
        let (period, provider) = (words.number(0) as u32, self.payer(words.name(1)));
        self.ledger.pay_settlement(period, provider, "transfer", by)?;
        let settlement = self.ledger.settlement(period, provider).expect("just paid");
        let paid = settlement.paid.expect("just paid");
        let mut out = format!("{} fen are paid", paid.cash);
        if paid.set_off.0 > 0 {
            write!(out, ", {} set off against what it owed", paid.set_off).expect("a string takes any text");
        }
        Ok(out)
    }

    fn shown_claim(&self, id: ClaimId) -> String {
        let claim = self.ledger.claim(id).expect("a claim");
        let programme = self.ledger.programme(claim.programme).expect("a claim's programme");
        let mut out = format!("claim {id} of {} from {}", claim.amount, programme.name);
        if claim.cut.0 > 0 {
            write!(out, ", cut by {} refunded meanwhile", claim.cut).expect("a string takes any text");
        }
        let state = match &claim.state {
            ClaimState::Filed => "waits for review".into(),
            ClaimState::Approved => "approved".into(),
            ClaimState::Refused { reason } => format!("refused for {reason}"),
            ClaimState::Paid(paid) if paid.set_off.0 > 0 => format!("{} paid, {} set off", paid.cash, paid.set_off),
            ClaimState::Paid(paid) => format!("{} paid", paid.cash),
            ClaimState::Void => "nothing left of it".into(),
        };
        write!(out, ": {state}").expect("a string takes any text");
        out
    }

    fn claims(&self, holder: &str) -> String {
        let holder = self.payer(holder);
        let mut out = String::new();
        for (programme, claimable) in self.ledger.claimable(holder) {
            writeln!(
                out,
                "{}: {} to claim, {} filed, {} paid",
                self.source(programme),
                claimable.claimable,
                claimable.filed,
                claimable.paid
            )
            .expect("a string takes any text");
        }
        for claim in self
            .ledger
            .claims_after(ClaimId(0))
            .filter(|claim| claim.holder == holder)
        {
            writeln!(out, "{}", self.shown_claim(claim.id)).expect("a string takes any text");
        }
        out
    }

    fn treasury(&self) -> String {
        let treasury = self.ledger.balance(hesuan_ledger::Account::Treasury);
        format!("{treasury}, of which {} may be paid out", self.ledger.treasury_free())
    }

    fn source(&self, programme: ProgrammeId) -> String {
        self.ledger
            .programme(programme)
            .map_or("payers".into(), |programme| programme.name.to_string())
    }

    fn site_name(&self, key: &TallyKey) -> &str {
        let mut sites = self.sites.iter().filter(|(_, id)| **id == key.site);
        sites.next().map_or("?", |(name, _)| name)
    }
}
