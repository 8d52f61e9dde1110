//! From records to the tables. Nothing is taken on trust: what an expectation elsewhere in the crate rests on is checked here.

use std::sync::Arc;

use super::SnapshotError;
use super::closing;
use super::records::*;
use crate::agreement::{Agreement, NewAgreement};
use crate::bill::Bill;
use crate::hold::{BoundQuote, CoverEnd, Hold, Pinned};
use crate::journal::{Journal, JournalEntry};
use crate::ledger::{JobCap, JobUse, KeyState, Ledger};
use crate::paged::PagedVec;
use crate::party::{Group, NewOrg, Org, OrgKind, Site};
use crate::posting::Totals;
use crate::price::{Price, PriceSheets, PricedLine};
use crate::programme::{
    BudgetPolicy, Denomination, ExpiryBasis, Funder, Programme, Rate, Redemption, Revision, Stacking, Terms,
};
use crate::quote::{Leg, LegPin};
use crate::settle::{CaptureWindow, Settled};
use crate::slice::{Cell, LegRefunded, Slice};
use crate::sweep::{Cause, Sweep};
use crate::types::{
    AgreementId, BasisPoints, Fen, Few, Funding, Grant, GroupId, HoldId, HoldKey, Line, OrgId, ProgrammeId, QuoteId,
    RegionCode, SiteId, Sku, Timestamp, VoucherId,
};
use crate::voucher::{Voucher, VoucherState};

const KINDS: [OrgKind; 4] = [OrgKind::Enterprise, OrgKind::Team, OrgKind::Lab, OrgKind::Provider];
const STATES: [VoucherState; 6] = [
    VoucherState::Issued,
    VoucherState::Active,
    VoucherState::Suspended,
    VoucherState::Exhausted,
    VoucherState::Expired,
    VoucherState::Revoked,
];

/// Builds a ledger record by record.
#[derive(Default)]
pub(super) struct Loader {
    ledger: Ledger,
    records: u64,
    next_ids: [u64; 4],
    ended: bool,
}

impl Loader {
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn load(&mut self, record: Record) -> Result<(), SnapshotError> {
        let number = self.records;
        let table = record.table.ok_or(SnapshotError::Damaged { record: number })?;
        if let Table::Header(header) = &table
            && header.version != super::VERSION
        {
            return Err(SnapshotError::OtherVersion {
                version: header.version,
            });
        }
        self.table(table)
            .map_err(|what| SnapshotError::Impossible { record: number, what })?;
        self.records += 1;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Ledger, SnapshotError> {
        if !self.ended {
            return Err(SnapshotError::CutShort);
        }
        let impossible = |what| SnapshotError::Impossible {
            record: self.records - 1,
            what,
        };
        let [quotes, holds, captures, claims] = self.next_ids;
        self.ledger.quotes.skip_to(quotes);
        self.ledger.holds.skip_to(holds);
        self.ledger.captures.skip_to(captures);
        self.ledger.claims.skip_to(claims);
        closing::check_loaded(&self.ledger).map_err(impossible)?;
        let mut totals = Totals::default();
        for account in self.ledger.accounts() {
            let balance = self.ledger.balance(account);
            if balance < 0 {
                return Err(impossible("a balance is negative"));
            }
            totals.add(self.ledger.in_unit_hours(account), account, balance);
        }
        if !totals.are_balanced() {
            return Err(impossible("debits and credits differ"));
        }
        self.ledger.journal.totals = totals;
        Ok(self.ledger)
    }

    fn table(&mut self, table: Table) -> Result<(), &'static str> {
        if self.ended || (self.records == 0) != matches!(table, Table::Header(_)) {
            return Err("a record out of place");
        }
        match table {
            Table::Header(header) => self.header(header),
            Table::Org(record) => self.org(record),
            Table::Site(record) => self.site(record),
            Table::Programme(record) => self.programme(record),
            Table::Agreement(record) => self.agreement(record),
            Table::Voucher(record) => self.voucher(record),
            Table::Quote(record) => self.quote(record),
            Table::Hold(record) => self.hold(record),
            Table::Capture(record) => self.capture(record),
            Table::GroupUse(record) => {
                let group = self.ledger.groups.get_mut(u64::from(record.group));
                let group = group.ok_or("a cap of an unknown control group")?;
                *group.used_mut(ProgrammeId(record.programme), record.year) = Grant(record.used);
                Ok(())
            }
            Table::JobUse(record) => self.job_use(record),
            Table::Sweep(record) => self.sweep(record),
            Table::Group(record) => {
                let group = Group {
                    name: record.name.into(),
                    uses: Few::new(),
                };
                let id = GroupId(record.weight);
                self.ledger.group_names.insert(group.name.clone(), id);
                dense(&mut self.ledger.groups, u64::from(id.0), group)
            }
            Table::Period(record) => closing::load_period(&mut self.ledger, record),
            Table::Tally(record) => closing::load_tally(&mut self.ledger, record),
            Table::HolderTotals(record) => closing::load_holder_totals(&mut self.ledger, record),
            Table::Settlement(record) => closing::load_settlement(&mut self.ledger, record),
            Table::Claim(record) => closing::load_claim(&mut self.ledger, record),
            Table::Claimable(record) => closing::load_claimable(&mut self.ledger, record),
            Table::FunderAccount(record) => closing::load_funder(&mut self.ledger, record),
            Table::ProviderAccount(record) => closing::load_provider(&mut self.ledger, record),
            Table::Entry(record) => {
                let hash = record.hash.try_into().map_err(|_| "a hash of another length")?;
                self.ledger.journal.pending.push(JournalEntry {
                    index: record.index,
                    record: record.record.into(),
                    hash,
                });
                Ok(())
            }
            Table::End(end) => {
                self.ended = true;
                if end.records == self.records {
                    Ok(())
                } else {
                    Err("records are missing")
                }
            }
        }
    }

    fn header(&mut self, header: Header) -> Result<(), &'static str> {
        let ledger = &mut self.ledger;
        ledger.time = Timestamp(header.time_ms);
        ledger.treasury = Fen(header.treasury);
        let head = header.journal_head.try_into().map_err(|_| "a hash of another length")?;
        ledger.journal = Journal::restore(header.journal_index, head, Vec::new());
        ledger.window = CaptureWindow {
            keep_ms: header.window_keep_ms,
            count_max: header.window_count_max,
        };
        ledger.sweeps.month_end = Timestamp(header.month_end);
        self.next_ids = header.next_ids.try_into().map_err(|_| "another number of tables")?;
        Ok(())
    }

    fn org(&mut self, record: OrgRecord) -> Result<(), &'static str> {
        let id = OrgId(record.id);
        let [available, held, topped_up, withdrawn, spent, receivable, claim, owes] = amounts(record.amounts)?.map(Fen);
        let registered = NewOrg {
            name: record.name.into(),
            kind: *KINDS
                .get(record.kind as usize)
                .ok_or("an unknown kind of organisation")?,
            region: RegionCode(record.region),
            control_group: record.control_group.into(),
            credit_code: record.credit_code.into(),
        };
        let group = GroupId(record.group);
        self.ledger.org_names.insert(Arc::from(&*registered.name), id);
        if self.ledger.group_names.get(&*registered.control_group) != Some(&group) {
            return Err("an organisation of an unknown control group");
        }
        let org = Org {
            id,
            registered,
            group,
            available,
            held,
            topped_up,
            withdrawn,
            spent,
            receivable,
            claim,
            owes,
            vouchers: Few::new(),
        };
        dense(&mut self.ledger.orgs, u64::from(id.0), org)
    }

    fn site(&mut self, record: SiteRecord) -> Result<(), &'static str> {
        let price = |price: PriceRecord| Price {
            sku: price.sku.into(),
            effective_from: Timestamp(price.effective_from),
            version: price.version,
            millifen_per_unit_hour: price.millifen,
        };
        let prices = PriceSheets::restore(record.prices.into_iter().map(price).collect(), record.version);
        let site = Site {
            region: RegionCode(record.region),
            provider: OrgId(record.provider),
            prices,
        };
        self.known_org(site.provider)?;
        self.ledger.sites.insert(SiteId(record.id), site);
        Ok(())
    }

    fn programme(&mut self, record: ProgrammeRecord) -> Result<(), &'static str> {
        let id = ProgrammeId(record.id);
        let funders = record.funders.into_iter().map(|funder| Funder {
            name: funder.name.into(),
            share: funder.weight,
        });
        let funders: Vec<Funder> = funders.collect();
        let [
            budget,
            uncommitted,
            unfunded,
            uncalled,
            issued,
            held,
            captured,
            lapsed,
            revoked,
        ] = amounts(record.amounts)?.map(Grant);
        let [recovery, paid] = amounts(record.money)?.map(Fen);
        if funders.is_empty() || funders.len() != record.due.len() || funders.iter().any(|funder| funder.share == 0) {
            return Err("a programme without its funders");
        }
        if record.revisions.is_empty() {
            return Err("a programme without terms");
        }
        let revisions = record.revisions.into_iter().map(revision).collect::<Result<_, _>>()?;
        let name: Box<str> = record.name.into();
        self.ledger.programme_names.insert(Arc::from(&*name), id);
        let programme = Programme {
            id,
            name,
            region: RegionCode(record.region),
            funders,
            denomination: record
                .unit_hours_of
                .map_or(Denomination::Money, |sku| Denomination::UnitHours(sku.into())),
            fiscal_year: record.fiscal_year,
            budget_policy: if record.commit_at_hold {
                BudgetPolicy::CommitAtHold
            } else {
                BudgetPolicy::CommitAtIssue
            },
            redemption: redemption(record.holder_redeemed),
            revisions,
            budget,
            uncommitted,
            unfunded,
            uncalled,
            due: record.due.into_iter().map(Fen).collect(),
            recovery,
            paid,
            issued,
            held,
            captured,
            lapsed,
            revoked,
        };
        dense(&mut self.ledger.programmes, u64::from(id.0), programme)
    }

    fn agreement(&mut self, record: AgreementRecord) -> Result<(), &'static str> {
        let agreed = NewAgreement {
            issuer_region: RegionCode(record.issuer_region),
            provider_region: record.provider_region.map(RegionCode),
            sites: record.sites.into_iter().map(SiteId).collect(),
            skus: record.skus.into_iter().map(Sku::from).collect(),
            rate: BasisPoints(record.rate),
            cap_per_job: record.cap_per_job.map(Fen),
            from: Timestamp(record.from),
            until: Timestamp(record.until),
        };
        let agreement = Agreement {
            id: AgreementId(record.id),
            version: record.version,
            agreed,
        };
        dense(&mut self.ledger.agreements, u64::from(record.id), agreement)
    }

    fn voucher(&mut self, record: VoucherRecord) -> Result<(), &'static str> {
        let [face, available, held, captured, lapsed, revoked, paid] = amounts(record.amounts)?;
        let [face, available, held, captured, lapsed, revoked] =
            [face, available, held, captured, lapsed, revoked].map(Grant);
        let voucher = Voucher {
            id: VoucherId(record.id),
            code: record.code.into(),
            programme: ProgrammeId(record.programme),
            holder: OrgId(record.holder),
            state: *STATES
                .get(record.state as usize)
                .ok_or("an unknown state of a voucher")?,
            from: Timestamp(record.from),
            until: Timestamp(record.until),
            face,
            available,
            held,
            captured,
            lapsed,
            revoked,
            paid: Fen(paid),
            fraud: record.fraud,
        };
        self.known_org(voucher.holder)?;
        self.ledger
            .programme(voucher.programme)
            .ok_or("a voucher without its programme")?;
        let ledger = &mut self.ledger;
        ledger.voucher_codes.insert(voucher.code.clone(), voucher.id);
        if matches!(voucher.state, VoucherState::Active | VoucherState::Suspended) {
            ledger.org_mut(voucher.holder).begin_use(voucher.id);
        }
        if !matches!(voucher.state, VoucherState::Expired | VoucherState::Revoked) {
            ledger.voucher_ends.insert((voucher.until, voucher.id), ());
        }
        dense(&mut ledger.vouchers, record.id, voucher)
    }

    fn quote(&mut self, record: QuoteRecord) -> Result<(), &'static str> {
        let pinned = self.pinned(record.pinned.ok_or("a quote without its bill")?)?;
        let expires_at = Timestamp(record.expires_at);
        self.ledger.quote_ends.insert((expires_at, QuoteId(record.id)), ());
        let ended = match record.ended {
            0 => None,
            1 => Some(CoverEnd::Fraud(VoucherId(record.ended_by))),
            2 => {
                let programme =
                    u32::try_from(record.ended_by).map_err(|_| "a quote ended by an impossible programme")?;
                Some(CoverEnd::Revision(ProgrammeId(programme)))
            }
            3 => Some(CoverEnd::Affiliation),
            _ => return Err("a quote that ended for an unknown reason"),
        };
        let bound = BoundQuote {
            expires_at,
            pinned,
            ended,
        };
        dense(&mut self.ledger.quotes, record.id, bound)
    }

    fn hold(&mut self, record: HoldRecord) -> Result<(), &'static str> {
        let key = key(record.key)?;
        let pinned = self.pinned(record.pinned.ok_or("a hold without its bill")?)?;
        self.ledger.keys.insert(key, KeyState::Open(HoldId(record.id)));
        let past = record.past.into_iter().map(|slice| self.slice(slice));
        let hold = Hold {
            key,
            opened_at: Timestamp(record.opened_at),
            asked_ms: record.asked_ms,
            quote: record.quote.map(QuoteId),
            pinned,
            cells: self.cells(record.cells)?,
            past: past.collect::<Result<_, _>>()?,
        };
        let mut past = hold.past.iter().zip(&hold.cells);
        if hold.past.len() != hold.cells.len() || !past.all(|(slice, cell)| slice.legs.len() == cell.legs.len()) {
            return Err("a cell without its slice");
        }
        dense(&mut self.ledger.holds, record.id, hold)
    }

    fn capture(&mut self, record: CaptureRecord) -> Result<(), &'static str> {
        let key = key(record.key)?;
        self.known_org(OrgId(record.payer))?;
        self.known_org(OrgId(record.provider))?;
        let settled = Settled {
            hold: HoldId(record.hold),
            key,
            payer: OrgId(record.payer),
            payer_region: RegionCode(record.payer_region),
            site: SiteId(record.site),
            provider: OrgId(record.provider),
            at: Timestamp(record.at),
            wall_ms: record.wall_ms,
            cells: self.cells(record.cells)?,
        };
        self.ledger.keys.insert(key, KeyState::Ended(record.id));
        dense(&mut self.ledger.captures, record.id, settled)
    }

    fn cells<C: FromIterator<Cell>>(&self, records: Vec<CellRecord>) -> Result<C, &'static str> {
        records.into_iter().map(|record| self.cell(record)).collect()
    }

    fn cell(&self, record: CellRecord) -> Result<Cell, &'static str> {
        let [gross, copay, wallet, refunded] = amounts(record.amounts)?.map(Fen);
        let per_line: Vec<Fen> = record.lines.iter().map(|line| Fen(line.gross)).collect();
        let leg_refunded = |leg: &LegRecord| LegRefunded {
            amount: Fen(leg.refunded),
            grant: Grant(leg.grant_refunded),
            funders: leg.funders_refunded.iter().copied().map(Fen).collect(),
        };
        let legs_refunded = if refunded == Fen::ZERO {
            Vec::new()
        } else {
            record.legs.iter().map(leg_refunded).collect()
        };
        let (legs, pins) = self.legs(record.legs, record.lines.len())?;
        let lines = lines(record.lines);
        let priced = record
            .to_ms
            .checked_sub(record.from_ms)
            .and_then(|ms| Bill::checked(&lines, ms));
        if priced.is_none_or(|bill| bill.per_line[..] != per_line[..]) {
            return Err("a cell whose lines have other list prices");
        }
        Ok(Cell {
            from_ms: record.from_ms,
            to_ms: record.to_ms,
            period: record.period,
            lines,
            gross,
            legs,
            pins,
            copay,
            wallet,
            refunded,
            legs_refunded,
        })
    }

    fn sweep(&mut self, record: SweepRecord) -> Result<(), &'static str> {
        let small = u32::try_from(record.id).map_err(|_| "a sweep of an impossible id");
        let cause = match record.cause {
            0 => Cause::Month,
            1 => Cause::Voucher(VoucherId(record.id)),
            2 => Cause::Programme(ProgrammeId(small?), record.revision),
            3 => Cause::Org(OrgId(small?)),
            _ => return Err("an unknown cause of a sweep"),
        };
        self.ledger.sweeps.queue.push_back(Sweep {
            cause,
            at: Timestamp(record.at),
            next: HoldId(record.next),
            end: HoldId(record.end),
            next_quote: QuoteId(record.next_quote),
            end_quote: QuoteId(record.end_quote),
        });
        Ok(())
    }

    fn pinned(&self, record: PinnedRecord) -> Result<Pinned, &'static str> {
        let (payer, provider) = (OrgId(record.payer), OrgId(record.provider));
        self.known_org(payer)?;
        self.known_org(provider)?;
        let funding = match record.funding {
            0 => Funding::Auto,
            1 => Funding::Vouchers(record.named.into_iter().map(VoucherId).collect()),
            2 => Funding::WalletOnly,
            _ => return Err("an unknown kind of funding"),
        };
        let slices = record.slices.into_iter().map(|record| self.slice(record));
        Ok(Pinned {
            payer,
            payer_region: RegionCode(record.payer_region),
            site: SiteId(record.site),
            provider,
            walltime_ms_max: record.walltime_ms_max,
            funding,
            copay_max: record.copay_max.map(Fen),
            allow_partial: record.allow_partial,
            lines: lines(record.lines),
            slices: slices.collect::<Result<_, _>>()?,
        })
    }

    fn slice(&self, record: SliceRecord) -> Result<Slice, &'static str> {
        let (legs, pins) = self.legs(record.legs, record.lines.len())?;
        Ok(Slice {
            from_ms: record.from_ms,
            until_ms: record.until_ms,
            lines: lines(record.lines),
            legs,
            pins,
            stack_max: BasisPoints(record.stack_max),
            gross: Fen(record.gross),
            wallet: Fen(record.wallet),
        })
    }

    fn legs(&self, records: Vec<LegRecord>, lines: usize) -> Result<(Few<Leg, 2>, Few<LegPin, 2>), &'static str> {
        let mut both = (Few::new(), Few::new());
        for record in records {
            let voucher = VoucherId(record.voucher);
            self.ledger.voucher(voucher).ok_or("a leg without its voucher")?;
            self.ledger
                .programme(ProgrammeId(record.programme))
                .ok_or("a leg without its programme")?;
            let group = self.ledger.groups.get(u64::from(record.group));
            group.ok_or("a leg that counts in an unknown control group")?;
            if record.rates.len() != lines {
                return Err("a leg with rates for other lines");
            }
            both.0.push(Leg {
                voucher,
                programme: ProgrammeId(record.programme),
                agreement: AgreementId(record.agreement),
                rate: BasisPoints(record.rate),
                eligible: Fen(record.eligible),
                amount: Fen(record.amount),
                grant: Grant(record.grant),
                unit_hours: record.unit_hours,
                redemption: redemption(record.holder_redeemed),
            });
            both.1.push(LegPin {
                revision: record.revision,
                agreement_version: record.agreement_version,
                group: GroupId(record.group),
                year: record.year,
                cover_ms: record.cover_ms,
                rates: record.rates.into_iter().map(BasisPoints).collect(),
                reinstate: record.reinstate,
                programme_job_cap: record.programme_job_cap,
                agreement_job_cap: record.agreement_job_cap,
            });
        }
        Ok(both)
    }

    fn job_use(&mut self, record: JobUseRecord) -> Result<(), &'static str> {
        let cap = match (record.programme, record.agreement) {
            (Some(programme), None) => JobCap::Programme(ProgrammeId(programme)),
            (None, Some(agreement)) => JobCap::Agreement(AgreementId(agreement)),
            _ => return Err("a cap per job of neither a programme nor an agreement"),
        };
        self.ledger.job_use.insert(
            (record.job, cap),
            JobUse {
                used: record.used,
                records: record.records,
            },
        );
        Ok(())
    }

    fn known_org(&self, id: OrgId) -> Result<(), &'static str> {
        self.ledger.org(id).map(drop).ok_or("an unknown organisation")
    }
}

fn lines(records: Vec<LineRecord>) -> Arc<[PricedLine]> {
    let line = |line: LineRecord| PricedLine {
        line: Line {
            sku: line.sku.into(),
            milli_units: line.milli_units,
        },
        millifen_per_unit_hour: line.millifen,
        price_version: line.price_version,
    };
    records.into_iter().map(line).collect()
}

fn revision(record: RevisionRecord) -> Result<Revision, &'static str> {
    let kind = |kind: u32| {
        KINDS
            .get(kind as usize)
            .copied()
            .ok_or("an unknown kind of organisation")
    };
    let rate = |rate: NamedWeight| Rate {
        sku: rate.name.into(),
        rate: BasisPoints(rate.weight),
    };
    let total_max = record.stack_max.map(BasisPoints);
    Ok(Revision {
        effective_from: Timestamp(record.effective_from),
        immediate: record.immediate,
        replaced: record.replaced,
        terms: Terms {
            rates: record.rates.into_iter().map(rate).collect(),
            excluded_skus: record.excluded_skus.into_iter().map(Sku::from).collect(),
            cap_per_control_group: record.cap_per_control_group.map(Grant),
            cap_per_job: record.cap_per_job.map(Grant),
            holder_kinds: record.holder_kinds.into_iter().map(kind).collect::<Result<_, _>>()?,
            holder_regions: record.holder_regions.into_iter().map(RegionCode).collect(),
            stacking: total_max.map_or(Stacking::Exclusive, |total_max| Stacking::Stackable { total_max }),
            from: Timestamp(record.from),
            until: Timestamp(record.until),
            expiry_basis: if record.expiry_at_hold {
                ExpiryBasis::Hold
            } else {
                ExpiryBasis::Usage
            },
            carry_over: record.carry_over,
            reinstate_refunds: record.reinstate_refunds,
        },
    })
}

fn key(record: Option<KeyRecord>) -> Result<HoldKey, &'static str> {
    let record = record.ok_or("a hold without its key")?;
    Ok(HoldKey {
        job: record.job,
        task: record.task,
        attempt: record.attempt,
    })
}

fn redemption(holder_redeemed: bool) -> Redemption {
    if holder_redeemed {
        Redemption::Holder
    } else {
        Redemption::Provider
    }
}

pub(super) fn fen<const N: usize>(given: Vec<i64>) -> Result<[Fen; N], &'static str> {
    amounts(given).map(|amounts| amounts.map(Fen))
}

pub(super) fn amounts<const N: usize>(given: Vec<i64>) -> Result<[i64; N], &'static str> {
    given.try_into().map_err(|_| "another number of amounts")
}

pub(super) fn dense<T: Clone>(table: &mut PagedVec<T>, id: u64, value: T) -> Result<(), &'static str> {
    if id < table.next_id() {
        return Err("an id out of order");
    }
    table.insert(id, value);
    Ok(())
}
