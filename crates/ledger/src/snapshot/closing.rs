//! The tables of closing as records and back: periods, tallies, holder totals, settlements, claims, and the accounts they are paid from.

use std::collections::BTreeMap;

use prost::Message;

use crate::claim::{Claim, ClaimState, Claimable};
use crate::ledger::Ledger;
use crate::payment::{FunderAccount, ProviderAccount};
use crate::period::{Closed, Period};
use crate::programme::Redemption;
use crate::settlement::{Payment, Settlement};
use crate::tally::{HolderTotals, Tally, TallyKey};
use crate::types::{AgreementId, ClaimId, Fen, OrgId, ProgrammeId, RegionCode, SiteId, Stamp, Timestamp};

#[derive(Clone, PartialEq, Message)]
pub(super) struct PeriodRecord {
    #[prost(uint32, tag = "1")]
    number: u32,
    #[prost(uint64, tag = "2")]
    from: u64,
    #[prost(uint64, tag = "3")]
    until: u64,
    #[prost(uint64, tag = "4")]
    first_entry: u64,
    // Absent = not closed.
    #[prost(message, optional, tag = "5")]
    closed: Option<ClosedRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct ClosedRecord {
    #[prost(message, optional, tag = "1")]
    by: Option<StampRecord>,
    #[prost(uint64, tag = "2")]
    last_entry: u64,
    #[prost(bytes = "vec", tag = "3")]
    digest: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct StampRecord {
    #[prost(uint64, tag = "1")]
    at: u64,
    #[prost(uint32, tag = "2")]
    actor: u32,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct PaymentRecord {
    #[prost(message, optional, tag = "1")]
    by: Option<StampRecord>,
    #[prost(int64, tag = "2")]
    cash: i64,
    #[prost(int64, tag = "3")]
    set_off: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TallyRecord {
    // period, of, programme, agreement, site, payee region
    #[prost(uint32, repeated, tag = "1")]
    key: Vec<u32>,
    #[prost(int64, tag = "2")]
    captured: i64,
    #[prost(int64, tag = "3")]
    refunded: i64,
    #[prost(uint64, tag = "4")]
    captures: u64,
    #[prost(uint64, tag = "5")]
    refunds: u64,
    // Net of each, where there are several.
    #[prost(sint64, repeated, tag = "6")]
    funders: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct HolderTotalsRecord {
    #[prost(uint32, tag = "1")]
    period: u32,
    #[prost(uint32, tag = "2")]
    payer: u32,
    #[prost(uint64, tag = "3")]
    cells: u64,
    #[prost(uint64, tag = "4")]
    refunds: u64,
    // gross, subsidy, wallet, refunded, to the wallet
    #[prost(int64, repeated, tag = "5")]
    amounts: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SettlementRecord {
    #[prost(uint32, tag = "1")]
    period: u32,
    #[prost(uint32, tag = "2")]
    provider: u32,
    #[prost(sint64, tag = "3")]
    net: i64,
    #[prost(message, optional, tag = "4")]
    reviewed: Option<StampRecord>,
    #[prost(message, optional, tag = "5")]
    paid: Option<PaymentRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ClaimRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint32, tag = "2")]
    holder: u32,
    #[prost(uint32, tag = "3")]
    programme: u32,
    #[prost(int64, tag = "4")]
    amount: i64,
    #[prost(int64, tag = "5")]
    cut: i64,
    #[prost(message, optional, tag = "6")]
    filed: Option<StampRecord>,
    #[prost(message, optional, tag = "7")]
    reviewed: Option<StampRecord>,
    // 0 filed, 1 approved, 2 refused, 3 paid, 4 void
    #[prost(uint32, tag = "8")]
    state: u32,
    #[prost(string, tag = "9")]
    reason: String,
    #[prost(message, optional, tag = "10")]
    paid: Option<PaymentRecord>,
    #[prost(uint32, tag = "11")]
    finished_in: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ClaimableRecord {
    #[prost(uint32, tag = "1")]
    holder: u32,
    #[prost(uint32, tag = "2")]
    programme: u32,
    // claimable, filed, paid, owed
    #[prost(int64, repeated, tag = "3")]
    amounts: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FunderAccountRecord {
    #[prost(uint32, tag = "1")]
    programme: u32,
    #[prost(uint32, tag = "2")]
    funder: u32,
    // brought, paid in, given back
    #[prost(int64, repeated, tag = "3")]
    amounts: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProviderAccountRecord {
    #[prost(uint32, tag = "1")]
    provider: u32,
    // brought, paid, set off, owed
    #[prost(int64, repeated, tag = "2")]
    amounts: Vec<i64>,
}

pub(super) fn period_record(period: &Period) -> PeriodRecord {
    let closed = |closed: &Closed| ClosedRecord {
        by: Some(StampRecord {
            at: closed.at.0,
            actor: closed.actor,
        }),
        last_entry: closed.last_entry,
        digest: closed.digest.to_vec(),
    };
    PeriodRecord {
        number: period.number,
        from: period.from.0,
        until: period.until.0,
        first_entry: period.first_entry,
        closed: period.closed.as_ref().map(closed),
    }
}

pub(super) fn tally_record(key: &TallyKey, tally: &Tally) -> TallyRecord {
    let numbers = [
        key.period,
        key.of,
        key.programme.0,
        key.agreement.0,
        key.site.0,
        key.payee_region.0,
    ];
    TallyRecord {
        key: numbers.to_vec(),
        captured: tally.captured.0,
        refunded: tally.refunded.0,
        captures: tally.captures,
        refunds: tally.refunds,
        funders: tally.funders.iter().map(|net| net.0).collect(),
    }
}

pub(super) fn holder_totals_record((period, payer): (u32, OrgId), totals: &HolderTotals) -> HolderTotalsRecord {
    let amounts = [
        totals.gross,
        totals.subsidy,
        totals.wallet,
        totals.refunded,
        totals.to_wallet,
    ];
    HolderTotalsRecord {
        period,
        payer: payer.0,
        cells: totals.cells,
        refunds: totals.refunds,
        amounts: amounts.map(|amount| amount.0).to_vec(),
    }
}

pub(super) fn settlement_record(settlement: &Settlement) -> SettlementRecord {
    SettlementRecord {
        period: settlement.period,
        provider: settlement.provider.0,
        net: settlement.net.0,
        reviewed: settlement.reviewed.map(stamp_record),
        paid: settlement.paid.map(payment_record),
    }
}

pub(super) fn claim_record(claim: &Claim) -> ClaimRecord {
    let (state, reason, paid) = match &claim.state {
        ClaimState::Filed => (0, "", None),
        ClaimState::Approved => (1, "", None),
        ClaimState::Refused { reason } => (2, &**reason, None),
        ClaimState::Paid(payment) => (3, "", Some(*payment)),
        ClaimState::Void => (4, "", None),
    };
    ClaimRecord {
        id: claim.id.0,
        holder: claim.holder.0,
        programme: claim.programme.0,
        amount: claim.amount.0,
        cut: claim.cut.0,
        filed: Some(stamp_record(claim.filed)),
        reviewed: claim.reviewed.map(stamp_record),
        state,
        reason: reason.into(),
        paid: paid.map(payment_record),
        finished_in: claim.finished_in,
    }
}

pub(super) fn claimable_record((holder, programme): (OrgId, ProgrammeId), claimable: &Claimable) -> ClaimableRecord {
    let amounts = [claimable.claimable, claimable.filed, claimable.paid, claimable.owed];
    ClaimableRecord {
        holder: holder.0,
        programme: programme.0,
        amounts: amounts.map(|amount| amount.0).to_vec(),
    }
}

pub(super) fn funder_record((programme, funder): (ProgrammeId, u8), account: &FunderAccount) -> FunderAccountRecord {
    FunderAccountRecord {
        programme: programme.0,
        funder: funder.into(),
        amounts: vec![account.brought.0, account.paid_in.0, account.given_back.0],
    }
}

pub(super) fn provider_record(provider: OrgId, account: &ProviderAccount) -> ProviderAccountRecord {
    let amounts = [account.brought, account.paid, account.set_off, account.owed];
    ProviderAccountRecord {
        provider: provider.0,
        amounts: amounts.map(|amount| amount.0).to_vec(),
    }
}

fn stamp_record(stamp: Stamp) -> StampRecord {
    StampRecord {
        at: stamp.at.0,
        actor: stamp.actor,
    }
}

fn payment_record(payment: Payment) -> PaymentRecord {
    PaymentRecord {
        by: Some(stamp_record(payment.by)),
        cash: payment.cash.0,
        set_off: payment.set_off.0,
    }
}

pub(super) fn load_period(ledger: &mut Ledger, record: PeriodRecord) -> Result<(), &'static str> {
    let closed = |record: ClosedRecord| {
        let by = stamp(record.by)?;
        Ok::<_, &'static str>(Closed {
            at: by.at,
            actor: by.actor,
            last_entry: record.last_entry,
            digest: record.digest.try_into().map_err(|_| "a hash of another length")?,
        })
    };
    let period = Period {
        number: record.number,
        from: Timestamp(record.from),
        until: Timestamp(record.until),
        first_entry: record.first_entry,
        closed: record.closed.map(closed).transpose()?,
    };
    let number = u64::from(period.number);
    if number == 0 || number >= u64::from(u32::MAX) {
        return Err("a period out of order");
    }
    if let Some(before) = ledger.current_period() {
        let follows = number == u64::from(before.number) + 1 && before.until == period.from;
        if !follows || (before.closed.is_none() && period.closed.is_some()) {
            return Err("a period out of order");
        }
    }
    ledger.periods.insert(number, period);
    Ok(())
}

pub(super) fn load_tally(ledger: &mut Ledger, record: TallyRecord) -> Result<(), &'static str> {
    let key: [u32; 6] = record.key.try_into().map_err(|_| "a line without its key")?;
    let [period, of, programme, agreement, site, payee_region] = key;
    let key = TallyKey {
        period,
        of,
        programme: ProgrammeId(programme),
        agreement: AgreementId(agreement),
        site: SiteId(site),
        payee_region: RegionCode(payee_region),
    };
    ledger.site(key.site).ok_or("a line without its site")?;
    let funders = match ledger.programme(key.programme) {
        Some(programme) => programme.funders.len(),
        None if programme == 0 => 1,
        None => return Err("a line without its programme"),
    };
    if record.funders.len() != if funders > 1 { funders } else { 0 } {
        return Err("a line without its funders");
    }
    let tally = Tally {
        captured: Fen(record.captured),
        refunded: Fen(record.refunded),
        captures: record.captures,
        refunds: record.refunds,
        funders: record.funders.into_iter().map(Fen).collect(),
    };
    let net = record.captured.checked_sub(record.refunded);
    let parts = tally.funders.iter().try_fold(0i64, |sum, part| sum.checked_add(part.0));
    let whole = net.is_some() && (tally.funders.is_empty() || parts == net);
    if record.captured < 0 || record.refunded < 0 || !whole {
        return Err("a line that is not the sum of its parts");
    }
    ledger.tallies.insert(key, tally);
    Ok(())
}

pub(super) fn load_holder_totals(ledger: &mut Ledger, record: HolderTotalsRecord) -> Result<(), &'static str> {
    let [gross, subsidy, wallet, refunded, to_wallet] = super::load::fen(record.amounts)?;
    let totals = HolderTotals {
        cells: record.cells,
        gross,
        subsidy,
        wallet,
        refunds: record.refunds,
        refunded,
        to_wallet,
    };
    let payer = OrgId(record.payer);
    ledger.org(payer).ok_or("an unknown organisation")?;
    *ledger.holder_totals.of(record.period, payer) = totals;
    Ok(())
}

pub(super) fn load_settlement(ledger: &mut Ledger, record: SettlementRecord) -> Result<(), &'static str> {
    let provider = OrgId(record.provider);
    ledger.org(provider).ok_or("an unknown organisation")?;
    let settlement = Settlement {
        period: record.period,
        provider,
        net: Fen(record.net),
        reviewed: record.reviewed.map(read_stamp),
        paid: record.paid.map(payment).transpose()?,
    };
    ledger.settlements.insert((record.period, provider), settlement);
    Ok(())
}

pub(super) fn load_claim(ledger: &mut Ledger, record: ClaimRecord) -> Result<(), &'static str> {
    let id = ClaimId(record.id);
    let state = match record.state {
        0 => ClaimState::Filed,
        1 => ClaimState::Approved,
        2 => ClaimState::Refused {
            reason: record.reason.into(),
        },
        3 => ClaimState::Paid(payment(record.paid.ok_or("a claim without its payment")?)?),
        4 => ClaimState::Void,
        _ => return Err("an unknown state of a claim"),
    };
    let claim = Claim {
        id,
        holder: OrgId(record.holder),
        programme: ProgrammeId(record.programme),
        amount: Fen(record.amount),
        cut: Fen(record.cut),
        filed: stamp(record.filed)?,
        reviewed: record.reviewed.map(read_stamp),
        state,
        finished_in: record.finished_in,
    };
    if claim.cut < Fen::ZERO || claim.amount < claim.cut {
        return Err("a claim that is cut by more than it is");
    }
    if claim.is_open() {
        ledger.open_claims.insert((claim.holder, claim.programme, id), ());
    } else {
        ledger.finished_claims.insert((claim.finished_in, id), ());
    }
    super::load::dense(&mut ledger.claims, record.id, claim)
}

pub(super) fn load_claimable(ledger: &mut Ledger, record: ClaimableRecord) -> Result<(), &'static str> {
    let [claimable, filed, paid, owed] = super::load::fen(record.amounts)?;
    let account = Claimable {
        claimable,
        filed,
        paid,
        owed,
    };
    let key = (OrgId(record.holder), ProgrammeId(record.programme));
    ledger.claimable.insert(key, account);
    Ok(())
}

pub(super) fn load_funder(ledger: &mut Ledger, record: FunderAccountRecord) -> Result<(), &'static str> {
    let [brought, paid_in, given_back] = super::load::fen(record.amounts)?;
    let funder = u8::try_from(record.funder).map_err(|_| "an unknown funder")?;
    let account = FunderAccount {
        brought,
        paid_in,
        given_back,
    };
    let key = (ProgrammeId(record.programme), funder);
    ledger.funder_accounts.insert(key, account);
    Ok(())
}

pub(super) fn load_provider(ledger: &mut Ledger, record: ProviderAccountRecord) -> Result<(), &'static str> {
    let [brought, paid, set_off, owed] = super::load::fen(record.amounts)?;
    let account = ProviderAccount {
        brought,
        paid,
        set_off,
        owed,
    };
    ledger.provider_accounts.insert(OrgId(record.provider), account);
    Ok(())
}

/// What later commands expect of these tables together.
pub(super) fn check_loaded(ledger: &Ledger) -> Result<(), &'static str> {
    let current = ledger.current_period();
    if current.is_some_and(|period| period.closed.is_some()) || (current.is_none() && ledger.journal.index > 0) {
        return Err("there is no current period");
    }
    let mut filed: BTreeMap<_, i128> = BTreeMap::new();
    for ((holder, programme, claim), ()) in ledger.open_claims.iter() {
        let claim = ledger.claim(*claim).ok_or("a claim is missing")?;
        *filed.entry((*holder, *programme)).or_default() += i128::from(claim.due().0);
    }
    for (key, claimable) in ledger.claimable.iter() {
        let amounts = [claimable.claimable, claimable.filed, claimable.paid, claimable.owed];
        if amounts.iter().any(|amount| *amount < Fen::ZERO) {
            return Err("an amount to claim is negative");
        }
        if filed.remove(key).unwrap_or_default() != i128::from(claimable.filed.0) {
            return Err("the claims of a holder differ from what is filed");
        }
    }
    if !filed.is_empty() {
        return Err("a claim of what was never captured");
    }
    // What may be refunded later: of holds that are settled, and of holds that go on.
    let open = ledger.holds.iter().map(|(_, hold)| (hold.pinned.payer, &hold.cells));
    let ended = ledger
        .captures
        .iter()
        .map(|(_, settled)| (settled.payer, &settled.cells));
    for (payer, cells) in open.chain(ended) {
        let known = |leg: &crate::quote::Leg| {
            leg.redemption == Redemption::Provider
                || leg.amount == Fen::ZERO
                || ledger.claimable.contains_key(&(payer, leg.programme))
        };
        if !cells.iter().flat_map(|cell| &cell.legs).all(known) {
            return Err("a capture of which nothing was to claim");
        }
    }
    Ok(())
}

fn stamp(record: Option<StampRecord>) -> Result<Stamp, &'static str> {
    record.map(read_stamp).ok_or("a step without its time")
}

fn read_stamp(record: StampRecord) -> Stamp {
    Stamp {
        at: Timestamp(record.at),
        actor: record.actor,
    }
}

fn payment(record: PaymentRecord) -> Result<Payment, &'static str> {
    Ok(Payment {
        by: stamp(record.by)?,
        cash: Fen(record.cash),
        set_off: Fen(record.set_off),
    })
}
