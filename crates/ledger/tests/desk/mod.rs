//! A counter clerk: reads one command of a transcript, does it, says what happened in words and fen.

mod finance;
mod words;

use std::collections::BTreeMap;
use std::fmt::Write;

use hesuan_ledger::types::{
    AgreementId, Fen, Grant, HoldId, HoldKey, OrgId, ProgrammeId, QuoteId, SiteId, Timestamp, VoucherId,
};
use hesuan_ledger::{
    HoldRequest, JournalEntry, Ledger, Leg, NewAgreement, NewOrg, NewProgramme, NewVoucher, Quote, QuoteRequest,
    Receipt, Rejection, Slice,
};
use words::Words;

/// The ledger with the names a transcript uses.
#[derive(Default)]
pub(crate) struct Desk {
    ledger: Ledger,
    at: Timestamp,
    sites: BTreeMap<String, SiteId>,
    holds: BTreeMap<HoldKey, HoldId>,
    // By the names given after `by=`.
    principals: BTreeMap<String, u32>,
    // Index and hash of the last journal entry seen.
    journal: (u64, [u8; 32]),
    written: Vec<JournalEntry>,
}

impl Desk {
    /// The books, and all of their journal.
    #[allow(dead_code, reason = "for who checks the journal from outside")]
    pub(crate) fn books(&self) -> (&Ledger, &[JournalEntry]) {
        (&self.ledger, &self.written)
    }

    pub(crate) fn run(&mut self, command: &str) -> String {
        let words = Words::new(command);
        let before = encoded(&self.ledger);
        let answer = self.dispatch(&words);
        let answer = match answer {
            Ok(answer) => answer,
            Err(rejection) => {
                assert!(
                    encoded(&self.ledger) == before,
                    "a refusal changed the books: {command}"
                );
                refusal(&rejection)
            }
        };
        self.ledger.check();
        for entry in self.ledger.take_journal() {
            assert!(
                entry.follows(self.journal.0, &self.journal.1),
                "the journal's chain is broken after {command}"
            );
            self.journal = (entry.index, entry.hash);
            self.written.push(entry);
        }
        let bytes = encoded(&self.ledger);
        let restored = Ledger::decode_snapshot([&bytes]).expect("what was written can be read");
        restored.check();
        assert!(encoded(&restored) == bytes, "a restored ledger differs after {command}");
        answer
    }

    fn dispatch(&mut self, words: &Words) -> Result<String, Rejection> {
        match words.verb() {
            "at" => {
                self.at = words::instant(&words.rest());
                Ok(String::new())
            }
            "org" => self.org(words),
            "topup" => self
                .ledger
                .credit_wallet(self.payer(words.name(0)), words.fen(1), "", self.at)
                .map(done),
            "withdraw" => self
                .ledger
                .withdraw(self.payer(words.name(0)), words.fen(1), "", self.at)
                .map(done),
            "site" => self.site(words),
            "price" => self.price(words),
            "programme" => self.programme(words),
            "revise" => {
                let id = self.programme_id(words.name(0));
                let from = words.value("from-instant").map(words::instant);
                let immediate = words.flag("immediate");
                let number = self
                    .ledger
                    .revise_programme(id, &words.terms(), from, immediate, self.at)?;
                Ok(format!("revision {number}"))
            }
            "budget" => self
                .ledger
                .set_budget(self.programme_id(words.name(0)), words.grant(1), self.at)
                .map(done),
            "agreement" => self.agreement(words),
            "end-agreement" => self
                .ledger
                .end_agreement(AgreementId(words.number(0) as u32), None, self.at)
                .map(done),
            "issue" => self.issue(words),
            "redeem" => {
                let holder = self.payer(words.name(2));
                self.ledger
                    .redeem_voucher(words.name(0), holder, self.at)
                    .map(|id| format!("voucher {id} is in use"))
            }
            "suspend" => self
                .ledger
                .suspend_voucher(self.voucher_id(words.name(0)), "review", self.at)
                .map(done),
            "resume" => self
                .ledger
                .resume_voucher(self.voucher_id(words.name(0)), "review", self.at)
                .map(done),
            "revoke" => self
                .ledger
                .revoke_voucher(self.voucher_id(words.name(0)), words.flag("fraud"), "review", self.at)
                .map(done),
            "update-org" => {
                let region = words.value("region").map(|_| words.region("region"));
                self.ledger
                    .update_org(self.payer(words.name(0)), region, words.value("group"), self.at)
                    .map(done)
            }
            "extend" => {
                let limit = self
                    .ledger
                    .extend(self.hold_id(words), words::duration(words.name(1)), self.at)?;
                Ok(format!("the limit is {}", words::shown_duration(limit)))
            }
            "slices" => Ok(self.slices(self.hold_id(words))),
            "quote" => {
                let request = self.request(words, 0);
                let quote = self.ledger.quote(&request, self.at)?;
                let afford = self.ledger.afford(&request, &quote).err();
                let afford = afford.map_or(String::new(), |rejection| refusal(&rejection));
                Ok(self.shown_quote(&quote) + &afford)
            }
            "bind" => {
                let request = self.request(words, 0);
                let until = Timestamp(self.at.0 + words::duration(words.value("for").expect("bind … for=10m")));
                self.ledger
                    .hold_quote(&request, until, self.at)
                    .map(|id| format!("quote {id}"))
            }
            "release-quote" => self.ledger.release_quote(QuoteId(words.number(0)), self.at).map(done),
            "hold" => self.hold(words),
            "settle" => {
                let receipt = self
                    .ledger
                    .settle(self.hold_id(words), words::duration(words.name(1)), self.at)?;
                Ok(self.shown_receipt(&receipt))
            }
            "release" => self.ledger.release(self.hold_id(words), self.at).map(done),
            "refund" => self.refund(words),
            "receipt" => {
                let receipt = self.ledger.receipt(words.key(0));
                Ok(receipt.map_or("no receipt".into(), |receipt| self.shown_receipt(&receipt)))
            }
            "expire" => {
                let expired = self.ledger.expire_due(self.at, 100);
                let mut out = format!("{} ended", expired.ended);
                for (key, limit) in expired.limits_changed {
                    let limit = words::shown_duration(limit);
                    write!(out, "\njob {} must stop: nobody pays after {limit}", key.job)
                        .expect("a string takes any text");
                }
                Ok(out)
            }
            "wallet" => Ok(self.wallet(words.name(0))),
            "voucher" => Ok(self.voucher(words.name(0))),
            "fund" => Ok(self.fund(words.name(0))),
            "trial" => Ok(self.trial()),
            "restore" => Ok(self.restore()),
            verb => self.finance(words).unwrap_or_else(|| panic!("no command {verb}")),
        }
    }

    // The replica is lost and starts again from its snapshot.
    fn restore(&mut self) -> String {
        let bytes = encoded(&self.ledger);
        let restored = Ledger::decode_snapshot([&bytes]).expect("what was written can be read");
        let (entries, _) = restored.journal_head();
        let holds = restored.open_hold_count();
        self.ledger = restored;
        format!("the books are restored: {entries} entries, {holds} open holds")
    }

    fn org(&mut self, words: &Words) -> Result<String, Rejection> {
        let new = NewOrg {
            name: words.name(0).into(),
            kind: words.kind(),
            region: words.region("region"),
            control_group: words.value("group").unwrap_or("").into(),
            credit_code: words.value("code").unwrap_or("").into(),
        };
        self.ledger
            .create_org(&new, self.at)
            .map(|id| format!("organisation {id}"))
    }

    fn site(&mut self, words: &Words) -> Result<String, Rejection> {
        let id = SiteId(self.sites.len() as u32 + 1);
        let provider = self.payer(words.value("provider").expect("site … provider=…"));
        self.ledger
            .register_site(id, words.region("region"), provider, self.at)?;
        self.sites.insert(words.name(0).into(), id);
        Ok(format!("site {id}"))
    }

    fn price(&mut self, words: &Words) -> Result<String, Rejection> {
        let from = words.value("from-instant").map(words::instant);
        let site = self.site_id(words.name(0));
        self.ledger
            .set_prices(site, &words.prices(), from, self.at)
            .map(|version| format!("sheet {version}"))
    }

    fn programme(&mut self, words: &Words) -> Result<String, Rejection> {
        let new = NewProgramme {
            name: words.name(0).into(),
            region: words.region("region"),
            funders: words.funders(),
            denomination: words.denomination(),
            fiscal_year: words.value("year").map(|year| words::integer(year) as u32),
            budget: words.value("budget").map_or(Grant::ZERO, words::grant),
            budget_policy: words.budget_policy(),
            redemption: words.redemption(),
            terms: words.terms(),
        };
        self.ledger
            .create_programme(&new, self.at)
            .map(|id| format!("programme {id}"))
    }

    fn agreement(&mut self, words: &Words) -> Result<String, Rejection> {
        let sites = words
            .value("sites")
            .map(|sites| sites.split(',').map(|site| self.site_id(site)).collect());
        let new = NewAgreement {
            issuer_region: words.region("of"),
            provider_region: words.value("in").map(|_| words.region("in")),
            sites: sites.unwrap_or_default(),
            skus: words.skus("skus"),
            rate: words.rate("rate"),
            cap_per_job: words.amount("job-cap"),
            from: words.value("from").map_or(Timestamp(0), words::instant),
            until: words.value("until").map_or(Timestamp::FAR, words::instant),
        };
        let id = self.ledger.create_agreement(&new, self.at)?;
        let version = self.ledger.agreement(id).expect("just made").version;
        Ok(format!("agreement {id}, version {version}"))
    }

    fn issue(&mut self, words: &Words) -> Result<String, Rejection> {
        let programme = self.programme_id(words.name(0));
        let until = words.value("until").map_or(Timestamp::FAR, words::instant);
        let from = words.value("from").map_or(Timestamp(0), words::instant);
        let voucher = |code: &str| NewVoucher {
            code: code.into(),
            holder: words.name(2).into(),
            face: words.grant(3),
            from,
            until,
        };
        let batch: Vec<NewVoucher> = words.name(1).split(',').map(voucher).collect();
        let ids = self.ledger.issue_vouchers(programme, &batch, self.at)?;
        Ok(ids
            .iter()
            .map(|id| format!("voucher {id}"))
            .collect::<Vec<_>>()
            .join(", "))
    }

    fn hold(&mut self, words: &Words) -> Result<String, Rejection> {
        let key = words.key(0);
        let quote = words.value("quote").map(|id| QuoteId(words::integer(id) as u64));
        let request = HoldRequest {
            key,
            request: self.request(words, 1),
            quote,
        };
        let id = self.ledger.hold(&request, self.at)?;
        self.holds.insert(key, id);
        let slices = self.ledger.open_hold(id).expect("just opened").pinned.slices.clone();
        let sum = |amount: fn(&Slice) -> Fen| slices.iter().map(|slice| amount(slice).0).sum::<i64>();
        let mut out = format!("hold {id} of at most {} fen\n", sum(|slice| slice.gross));
        for slice in &slices {
            if slices.len() > 1 {
                self.month(&mut out, slice);
            }
            self.legs(&mut out, &slice.legs);
        }
        writeln!(out, "wallet {}", sum(|slice| slice.wallet)).expect("a string takes any text");
        Ok(out)
    }

    // What an open hold has captured already and what it still holds.
    fn slices(&self, id: HoldId) -> String {
        let Some(hold) = self.ledger.open_hold(id) else {
            return "no open hold".into();
        };
        let mut out = String::new();
        for cell in &hold.cells {
            let (from, to) = (words::shown_duration(cell.from_ms), words::shown_duration(cell.to_ms));
            writeln!(
                out,
                "{from} to {to}: captured {}, paid from the wallet {}",
                cell.gross, cell.wallet
            )
            .expect("a string takes any text");
            self.legs(&mut out, &cell.legs);
        }
        for slice in &hold.pinned.slices {
            self.month(&mut out, slice);
            self.legs(&mut out, &slice.legs);
            writeln!(out, "wallet {}", slice.wallet).expect("a string takes any text");
        }
        out
    }

    fn month(&self, out: &mut String, slice: &Slice) {
        let (from, until) = (
            words::shown_duration(slice.from_ms),
            words::shown_duration(slice.until_ms),
        );
        writeln!(out, "{from} to {until}: at most {} fen", slice.gross).expect("a string takes any text");
    }

    fn refund(&mut self, words: &Words) -> Result<String, Rejection> {
        let amount = words.amount("amount");
        let refund = self.ledger.refund(words.key(0), amount, "site fault", self.at)?;
        let mut out = format!("{} fen go back\n", refund.amount);
        self.legs(&mut out, &refund.legs);
        writeln!(out, "co-pay {}\nwallet {}", refund.copay, refund.wallet).expect("a string takes any text");
        Ok(out)
    }

    fn request(&self, words: &Words, first: usize) -> QuoteRequest {
        QuoteRequest {
            payer: self.payer(words.name(first)),
            site: self.site_id(words.name(first + 1)),
            lines: words.lines(),
            walltime_ms_max: words::duration(words.name(first + 2)),
            funding: words.funding(|code| self.voucher_id(code)),
            copay_max: words.amount("max"),
            allow_partial: !words.flag("whole"),
            job: None,
        }
    }

    fn payer(&self, name: &str) -> OrgId {
        self.ledger.org_by_name(name).map_or(OrgId(0), |org| org.id)
    }

    fn site_id(&self, name: &str) -> SiteId {
        self.sites.get(name).copied().unwrap_or(SiteId(99))
    }

    fn programme_id(&self, name: &str) -> ProgrammeId {
        self.ledger
            .programme_by_name(name)
            .map_or(ProgrammeId(0), |programme| programme.id)
    }

    fn voucher_id(&self, code: &str) -> VoucherId {
        self.ledger
            .voucher_by_code(code)
            .map_or(VoucherId(0), |voucher| voucher.id)
    }

    fn hold_id(&self, words: &Words) -> HoldId {
        self.holds.get(&words.key(0)).copied().unwrap_or(HoldId(0))
    }

    fn legs(&self, out: &mut String, legs: &[Leg]) {
        for leg in legs {
            let voucher = self.ledger.voucher(leg.voucher).expect("a leg's voucher exists");
            let under = if leg.agreement.0 == 0 {
                String::new()
            } else {
                format!(" under agreement {}", leg.agreement)
            };
            let (percent, rest) = (leg.rate.0 / 100, leg.rate.0 % 100);
            let taken = if leg.unit_hours {
                format!(" for {}", words::shown_grant(leg.grant, true))
            } else {
                String::new()
            };
            writeln!(
                out,
                "{} pays {}{taken} (at most {percent}.{rest:02} % of {}{under})",
                voucher.code, leg.amount, leg.eligible
            )
            .expect("a string takes any text");
        }
    }

    fn shown_quote(&self, quote: &Quote) -> String {
        let mut out = format!("list price {}\n", quote.gross);
        self.legs(&mut out, &quote.legs);
        let slack = if quote.slack.0 > 0 {
            format!(", {} of it for rounding", quote.slack)
        } else {
            String::new()
        };
        writeln!(
            out,
            "co-pay {}, to be held in the wallet {}{slack}",
            quote.copay, quote.wallet
        )
        .expect("a string takes any text");
        out
    }

    fn shown_receipt(&self, receipt: &Receipt) -> String {
        let mut out = format!("list price {}\n", receipt.gross);
        self.legs(&mut out, &receipt.legs);
        writeln!(out, "co-pay {}, paid from the wallet {}", receipt.copay, receipt.wallet)
            .expect("a string takes any text");
        if receipt.refunded.0 > 0 {
            writeln!(out, "given back {}", receipt.refunded).expect("a string takes any text");
        }
        out
    }

    fn wallet(&self, name: &str) -> String {
        let org = self.ledger.org_by_name(name).expect("an organisation");
        let mut out = format!("{} free, {} held, {} spent", org.available, org.held, org.spent);
        for (what, amount) in [
            ("earned", org.receivable),
            ("to claim", org.claim),
            ("owed by it", org.owes),
        ] {
            if amount.0 > 0 {
                write!(out, ", {amount} {what}").expect("a string takes any text");
            }
        }
        out
    }

    fn voucher(&self, code: &str) -> String {
        let voucher = self.ledger.voucher_by_code(code).expect("a voucher");
        let units = self.in_units(voucher.programme);
        let shown = |grant| words::shown_grant(grant, units);
        let mut out = format!(
            "{:?}: {} free, {} held, {} spent",
            voucher.state,
            shown(voucher.available),
            shown(voucher.held),
            shown(voucher.captured)
        );
        for (what, amount) in [("lapsed", voucher.lapsed), ("revoked", voucher.revoked)] {
            if amount.0 > 0 {
                write!(out, ", {} {what}", shown(amount)).expect("a string takes any text");
            }
        }
        if units {
            write!(out, ", worth {} fen", voucher.paid).expect("a string takes any text");
        }
        out
    }

    fn in_units(&self, programme: ProgrammeId) -> bool {
        self.ledger
            .programme(programme)
            .is_some_and(|programme| programme.unit_hours_of().is_some())
    }

    fn fund(&self, name: &str) -> String {
        let programme = self.ledger.programme_by_name(name).expect("a programme");
        let due = programme
            .funders
            .iter()
            .zip(&programme.due)
            .map(|(funder, due)| format!("{} owes {due}", funder.name));
        let due = due.collect::<Vec<_>>().join(", ");
        let shown = |grant| words::shown_grant(grant, self.in_units(programme.id));
        let mut out = format!(
            "budget {}, {} not committed; {due}",
            shown(programme.budget),
            shown(programme.uncommitted)
        );
        if programme.recovery.0 > 0 {
            write!(out, "; {} to be given back to the fund", programme.recovery).expect("a string takes any text");
        }
        out
    }

    fn trial(&self) -> String {
        let trial = self.ledger.trial_balance();
        let mut out = String::new();
        for row in trial.rows.iter().filter(|row| row.debit + row.credit > 0) {
            writeln!(out, "{:<26}{:>12}{:>12}", row.account, row.debit, row.credit).expect("a string takes any text");
        }
        writeln!(out, "{:<26}{:>12}{:>12}", "sum", trial.debits, trial.credits).expect("a string takes any text");
        for unit in &trial.units {
            for row in unit.rows.iter().filter(|row| row.debit + row.credit > 0) {
                let shown = |amount: i128| words::shown_grant(Grant(amount as i64), true);
                let (debit, credit) = (shown(row.debit), shown(row.credit));
                writeln!(out, "{} {:<26}{debit:>18}{credit:>18}", unit.sku, row.account)
                    .expect("a string takes any text");
            }
        }
        out
    }
}

fn done(_: impl Sized) -> String {
    "done".into()
}

fn refusal(rejection: &Rejection) -> String {
    format!("refused, {}: {rejection}\n", rejection.code())
}

fn encoded(ledger: &Ledger) -> Vec<u8> {
    let mut bytes = Vec::new();
    ledger.encode_snapshot(&mut |chunk| bytes.extend_from_slice(chunk));
    bytes
}
