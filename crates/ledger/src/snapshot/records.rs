//! What a snapshot holds of each table: versioned prost records, private to this directory. A field is never given another meaning;
//! a new one comes under a new tag.

use prost::{Message, Oneof};

use super::closing::{
    ClaimRecord, ClaimableRecord, FunderAccountRecord, HolderTotalsRecord, PeriodRecord, ProviderAccountRecord,
    SettlementRecord, TallyRecord,
};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Record {
    #[prost(
        oneof = "Table",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 20, 21, 22, 23, 24, 25, 26, 27"
    )]
    pub(super) table: Option<Table>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Table {
    #[prost(message, tag = "1")]
    Header(Header),
    #[prost(message, tag = "2")]
    Org(OrgRecord),
    #[prost(message, tag = "3")]
    Site(SiteRecord),
    #[prost(message, tag = "4")]
    Programme(ProgrammeRecord),
    #[prost(message, tag = "5")]
    Agreement(AgreementRecord),
    #[prost(message, tag = "6")]
    Voucher(VoucherRecord),
    #[prost(message, tag = "7")]
    Quote(QuoteRecord),
    #[prost(message, tag = "8")]
    Hold(HoldRecord),
    #[prost(message, tag = "9")]
    Capture(CaptureRecord),
    #[prost(message, tag = "10")]
    GroupUse(GroupUseRecord),
    #[prost(message, tag = "11")]
    Entry(EntryRecord),
    #[prost(message, tag = "12")]
    End(EndRecord),
    #[prost(message, tag = "13")]
    JobUse(JobUseRecord),
    #[prost(message, tag = "14")]
    Sweep(SweepRecord),
    // A control group and its number.
    #[prost(message, tag = "15")]
    Group(NamedWeight),
    #[prost(message, tag = "20")]
    Period(PeriodRecord),
    #[prost(message, tag = "21")]
    Tally(TallyRecord),
    #[prost(message, tag = "22")]
    HolderTotals(HolderTotalsRecord),
    #[prost(message, tag = "23")]
    Settlement(SettlementRecord),
    #[prost(message, tag = "24")]
    Claim(ClaimRecord),
    #[prost(message, tag = "25")]
    Claimable(ClaimableRecord),
    #[prost(message, tag = "26")]
    FunderAccount(FunderAccountRecord),
    #[prost(message, tag = "27")]
    ProviderAccount(ProviderAccountRecord),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Header {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(uint64, tag = "2")]
    pub(super) time_ms: u64,
    #[prost(int64, tag = "3")]
    pub(super) treasury: i64,
    #[prost(uint64, tag = "4")]
    pub(super) journal_index: u64,
    #[prost(bytes = "vec", tag = "5")]
    pub(super) journal_head: Vec<u8>,
    #[prost(uint64, tag = "6")]
    pub(super) window_keep_ms: u64,
    #[prost(uint64, tag = "7")]
    pub(super) window_count_max: u64,
    // Of quotes, holds, captures and claims, whose records come and go.
    #[prost(uint64, repeated, tag = "8")]
    pub(super) next_ids: Vec<u64>,
    // When the next month ends; 0 before the first hold.
    #[prost(uint64, tag = "9")]
    pub(super) month_end: u64,
}

/// Last in every snapshot: without it the snapshot is cut short.
#[derive(Clone, PartialEq, Message)]
pub(super) struct EndRecord {
    #[prost(uint64, tag = "1")]
    pub(super) records: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OrgRecord {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(uint32, tag = "3")]
    pub(super) kind: u32,
    #[prost(uint32, tag = "4")]
    pub(super) region: u32,
    #[prost(string, tag = "5")]
    pub(super) control_group: String,
    #[prost(string, tag = "6")]
    pub(super) credit_code: String,
    #[prost(uint32, tag = "7")]
    pub(super) group: u32,
    // available, held, topped up, withdrawn, spent, receivable, claim, owes
    #[prost(int64, repeated, tag = "8")]
    pub(super) amounts: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PriceRecord {
    #[prost(string, tag = "1")]
    pub(super) sku: String,
    #[prost(uint64, tag = "2")]
    pub(super) effective_from: u64,
    #[prost(uint32, tag = "3")]
    pub(super) version: u32,
    #[prost(uint64, tag = "4")]
    pub(super) millifen: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SiteRecord {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(uint32, tag = "2")]
    pub(super) region: u32,
    #[prost(uint32, tag = "3")]
    pub(super) provider: u32,
    #[prost(uint32, tag = "4")]
    pub(super) version: u32,
    #[prost(message, repeated, tag = "5")]
    pub(super) prices: Vec<PriceRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NamedWeight {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(uint32, tag = "2")]
    pub(super) weight: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RevisionRecord {
    #[prost(uint64, tag = "1")]
    pub(super) effective_from: u64,
    #[prost(message, repeated, tag = "2")]
    pub(super) rates: Vec<NamedWeight>,
    #[prost(string, repeated, tag = "3")]
    pub(super) excluded_skus: Vec<String>,
    #[prost(int64, optional, tag = "4")]
    pub(super) cap_per_control_group: Option<i64>,
    #[prost(int64, optional, tag = "5")]
    pub(super) cap_per_job: Option<i64>,
    #[prost(uint32, repeated, tag = "6")]
    pub(super) holder_kinds: Vec<u32>,
    #[prost(uint32, repeated, tag = "7")]
    pub(super) holder_regions: Vec<u32>,
    // Absent = exclusive.
    #[prost(uint32, optional, tag = "8")]
    pub(super) stack_max: Option<u32>,
    #[prost(uint64, tag = "9")]
    pub(super) from: u64,
    #[prost(uint64, tag = "10")]
    pub(super) until: u64,
    #[prost(bool, tag = "11")]
    pub(super) expiry_at_hold: bool,
    #[prost(bool, tag = "12")]
    pub(super) carry_over: bool,
    #[prost(bool, tag = "13")]
    pub(super) reinstate_refunds: bool,
    #[prost(bool, tag = "14")]
    pub(super) immediate: bool,
    #[prost(bool, tag = "15")]
    pub(super) replaced: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProgrammeRecord {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(uint32, tag = "3")]
    pub(super) region: u32,
    #[prost(message, repeated, tag = "4")]
    pub(super) funders: Vec<NamedWeight>,
    #[prost(bool, tag = "5")]
    pub(super) commit_at_hold: bool,
    #[prost(bool, tag = "6")]
    pub(super) holder_redeemed: bool,
    #[prost(message, repeated, tag = "7")]
    pub(super) revisions: Vec<RevisionRecord>,
    // budget, uncommitted, unfunded, uncalled, issued, held, captured, lapsed, revoked
    #[prost(int64, repeated, tag = "8")]
    pub(super) amounts: Vec<i64>,
    #[prost(int64, repeated, tag = "9")]
    pub(super) due: Vec<i64>,
    // Of unit-hours; absent = money.
    #[prost(string, optional, tag = "10")]
    pub(super) unit_hours_of: Option<String>,
    #[prost(uint32, optional, tag = "11")]
    pub(super) fiscal_year: Option<u32>,
    // recovery, paid
    #[prost(int64, repeated, tag = "12")]
    pub(super) money: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AgreementRecord {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(uint32, tag = "2")]
    pub(super) version: u32,
    #[prost(uint32, tag = "3")]
    pub(super) issuer_region: u32,
    #[prost(uint32, optional, tag = "4")]
    pub(super) provider_region: Option<u32>,
    #[prost(uint32, repeated, tag = "5")]
    pub(super) sites: Vec<u32>,
    #[prost(string, repeated, tag = "6")]
    pub(super) skus: Vec<String>,
    #[prost(uint32, tag = "7")]
    pub(super) rate: u32,
    #[prost(int64, optional, tag = "8")]
    pub(super) cap_per_job: Option<i64>,
    #[prost(uint64, tag = "9")]
    pub(super) from: u64,
    #[prost(uint64, tag = "10")]
    pub(super) until: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VoucherRecord {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(string, tag = "2")]
    pub(super) code: String,
    #[prost(uint32, tag = "3")]
    pub(super) programme: u32,
    #[prost(uint32, tag = "4")]
    pub(super) holder: u32,
    #[prost(uint32, tag = "5")]
    pub(super) state: u32,
    #[prost(uint64, tag = "6")]
    pub(super) from: u64,
    #[prost(uint64, tag = "7")]
    pub(super) until: u64,
    // face, available, held, captured, lapsed, revoked, paid
    #[prost(int64, repeated, tag = "8")]
    pub(super) amounts: Vec<i64>,
    #[prost(bool, tag = "9")]
    pub(super) fraud: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LineRecord {
    #[prost(string, tag = "1")]
    pub(super) sku: String,
    #[prost(uint64, tag = "2")]
    pub(super) milli_units: u64,
    #[prost(uint64, tag = "3")]
    pub(super) millifen: u64,
    #[prost(uint32, tag = "4")]
    pub(super) price_version: u32,
    // Of cells only.
    #[prost(int64, tag = "5")]
    pub(super) gross: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LegRecord {
    #[prost(uint64, tag = "1")]
    pub(super) voucher: u64,
    #[prost(uint32, tag = "2")]
    pub(super) programme: u32,
    #[prost(uint32, tag = "3")]
    pub(super) agreement: u32,
    #[prost(uint32, tag = "4")]
    pub(super) rate: u32,
    #[prost(int64, tag = "5")]
    pub(super) eligible: i64,
    #[prost(int64, tag = "6")]
    pub(super) amount: i64,
    #[prost(bool, tag = "7")]
    pub(super) holder_redeemed: bool,
    #[prost(uint32, tag = "8")]
    pub(super) revision: u32,
    #[prost(uint32, tag = "9")]
    pub(super) agreement_version: u32,
    #[prost(uint32, tag = "10")]
    pub(super) group: u32,
    #[prost(uint32, tag = "11")]
    pub(super) year: u32,
    #[prost(uint64, tag = "12")]
    pub(super) cover_ms: u64,
    #[prost(uint32, repeated, tag = "13")]
    pub(super) rates: Vec<u32>,
    #[prost(bool, tag = "14")]
    pub(super) reinstate: bool,
    #[prost(bool, tag = "15")]
    pub(super) programme_job_cap: bool,
    #[prost(bool, tag = "16")]
    pub(super) agreement_job_cap: bool,
    // Of cells only: given back so far in money and of the grant, and by funder.
    #[prost(int64, tag = "17")]
    pub(super) refunded: i64,
    #[prost(int64, repeated, tag = "18")]
    pub(super) funders_refunded: Vec<i64>,
    #[prost(int64, tag = "19")]
    pub(super) grant_refunded: i64,
    #[prost(int64, tag = "20")]
    pub(super) grant: i64,
    #[prost(bool, tag = "21")]
    pub(super) unit_hours: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SliceRecord {
    #[prost(uint64, tag = "1")]
    pub(super) from_ms: u64,
    #[prost(uint64, tag = "2")]
    pub(super) until_ms: u64,
    #[prost(message, repeated, tag = "3")]
    pub(super) lines: Vec<LineRecord>,
    #[prost(message, repeated, tag = "4")]
    pub(super) legs: Vec<LegRecord>,
    #[prost(uint32, tag = "5")]
    pub(super) stack_max: u32,
    #[prost(int64, tag = "6")]
    pub(super) gross: i64,
    #[prost(int64, tag = "7")]
    pub(super) wallet: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CellRecord {
    #[prost(uint64, tag = "1")]
    pub(super) from_ms: u64,
    #[prost(uint64, tag = "2")]
    pub(super) to_ms: u64,
    #[prost(uint32, tag = "3")]
    pub(super) period: u32,
    #[prost(message, repeated, tag = "4")]
    pub(super) lines: Vec<LineRecord>,
    #[prost(message, repeated, tag = "5")]
    pub(super) legs: Vec<LegRecord>,
    // gross, copay, wallet, refunded
    #[prost(int64, repeated, tag = "6")]
    pub(super) amounts: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PinnedRecord {
    #[prost(uint32, tag = "1")]
    pub(super) payer: u32,
    #[prost(uint32, tag = "2")]
    pub(super) site: u32,
    #[prost(uint32, tag = "3")]
    pub(super) provider: u32,
    #[prost(uint64, tag = "4")]
    pub(super) walltime_ms_max: u64,
    // 0 automatic, 1 the vouchers named, 2 the wallet only
    #[prost(uint32, tag = "5")]
    pub(super) funding: u32,
    #[prost(uint64, repeated, tag = "6")]
    pub(super) named: Vec<u64>,
    #[prost(int64, optional, tag = "7")]
    pub(super) copay_max: Option<i64>,
    #[prost(message, repeated, tag = "8")]
    pub(super) lines: Vec<LineRecord>,
    #[prost(message, repeated, tag = "9")]
    pub(super) slices: Vec<SliceRecord>,
    #[prost(bool, tag = "10")]
    pub(super) allow_partial: bool,
    #[prost(uint32, tag = "11")]
    pub(super) payer_region: u32,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct KeyRecord {
    #[prost(uint64, tag = "1")]
    pub(super) job: u64,
    #[prost(uint32, tag = "2")]
    pub(super) task: u32,
    #[prost(uint32, tag = "3")]
    pub(super) attempt: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct QuoteRecord {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(uint64, tag = "2")]
    pub(super) expires_at: u64,
    #[prost(message, optional, tag = "3")]
    pub(super) pinned: Option<PinnedRecord>,
    // Why its cover ended: 0 it has not, 1 fraud, 2 a revision, 3 an affiliation; then the voucher's or programme's number.
    #[prost(uint32, tag = "4")]
    pub(super) ended: u32,
    #[prost(uint64, tag = "5")]
    pub(super) ended_by: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct HoldRecord {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(message, optional, tag = "2")]
    pub(super) key: Option<KeyRecord>,
    #[prost(uint64, tag = "3")]
    pub(super) opened_at: u64,
    #[prost(uint64, optional, tag = "4")]
    pub(super) quote: Option<u64>,
    #[prost(message, optional, tag = "5")]
    pub(super) pinned: Option<PinnedRecord>,
    #[prost(uint64, tag = "6")]
    pub(super) asked_ms: u64,
    #[prost(message, repeated, tag = "7")]
    pub(super) cells: Vec<CellRecord>,
    #[prost(message, repeated, tag = "8")]
    pub(super) past: Vec<SliceRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CaptureRecord {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(uint64, tag = "2")]
    pub(super) hold: u64,
    #[prost(message, optional, tag = "3")]
    pub(super) key: Option<KeyRecord>,
    #[prost(uint32, tag = "4")]
    pub(super) payer: u32,
    #[prost(uint32, tag = "5")]
    pub(super) site: u32,
    #[prost(uint32, tag = "6")]
    pub(super) provider: u32,
    #[prost(uint64, tag = "7")]
    pub(super) at: u64,
    #[prost(uint64, tag = "8")]
    pub(super) wall_ms: u64,
    #[prost(message, repeated, tag = "9")]
    pub(super) cells: Vec<CellRecord>,
    #[prost(uint32, tag = "10")]
    pub(super) payer_region: u32,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct SweepRecord {
    // 0 month, 1 voucher, 2 programme, 3 organisation
    #[prost(uint32, tag = "1")]
    pub(super) cause: u32,
    #[prost(uint64, tag = "2")]
    pub(super) id: u64,
    // Of a programme.
    #[prost(uint32, tag = "3")]
    pub(super) revision: u32,
    #[prost(uint64, tag = "4")]
    pub(super) at: u64,
    #[prost(uint64, tag = "5")]
    pub(super) next: u64,
    #[prost(uint64, tag = "6")]
    pub(super) end: u64,
    #[prost(uint64, tag = "7")]
    pub(super) next_quote: u64,
    #[prost(uint64, tag = "8")]
    pub(super) end_quote: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct GroupUseRecord {
    #[prost(uint32, tag = "1")]
    pub(super) programme: u32,
    #[prost(uint32, tag = "2")]
    pub(super) group: u32,
    #[prost(uint32, tag = "3")]
    pub(super) year: u32,
    #[prost(int64, tag = "4")]
    pub(super) used: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct JobUseRecord {
    #[prost(uint64, tag = "1")]
    pub(super) job: u64,
    // Exactly one of programme and agreement.
    #[prost(uint32, optional, tag = "2")]
    pub(super) programme: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    pub(super) agreement: Option<u32>,
    #[prost(int64, tag = "4")]
    pub(super) used: i64,
    #[prost(uint32, tag = "5")]
    pub(super) records: u32,
}

/// A journal entry nobody has taken yet.
#[derive(Clone, PartialEq, Message)]
pub(super) struct EntryRecord {
    #[prost(uint64, tag = "1")]
    pub(super) index: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) record: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) hash: Vec<u8>,
}
