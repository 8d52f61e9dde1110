//! Refusals: answers that changed nothing, the same on every replica. Each has a stable code, the figures and one English line.

mod rule;
mod text;

pub use self::rule::{ClaimRule, PeriodRule, SettlementRule, Subject, VoucherRule};
use crate::account::Account;
use crate::hold::CoverEnd;
use crate::types::{
    AgreementId, ClaimId, Fen, Grant, HoldId, HoldKey, OrgId, ProgrammeId, QuoteId, SiteId, Sku, Timestamp, VoucherId,
};

/// Why a command or a quote was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// A field is malformed or out of range.
    Invalid {
        /// The field at fault.
        field: &'static str,
        /// What was given.
        given: Box<str>,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The name is taken.
    NameTaken {
        /// The field at fault.
        field: &'static str,
        /// The name.
        name: Box<str>,
    },
    /// Something named does not exist.
    Unknown {
        /// What kind of thing.
        what: Subject,
        /// How it was named.
        named: Box<str>,
    },
    /// The site has no price for a class asked for.
    NoPrice {
        /// The site.
        site: SiteId,
        /// The class.
        sku: Sku,
    },
    /// The wallet has too little.
    InsufficientFunds {
        /// Whose wallet.
        org: OrgId,
        /// What the wallet would have to hold.
        needed: Fen,
        /// What it has free.
        available: Fen,
    },
    /// More would fall on the wallet than the payer allows.
    CopayOverMax {
        /// What the wallet would have to hold.
        needed: Fen,
        /// What the payer allows.
        allowed: Fen,
    },
    /// A cap or a budget makes the subsidy smaller than the rates give, and the payer did not allow that.
    SubsidyPartial {
        /// What the rates and balances give.
        needed: Fen,
        /// What caps and budgets leave of it.
        available: Fen,
    },
    /// The programme's budget does not cover it.
    BudgetExhausted {
        /// The programme.
        programme: ProgrammeId,
        /// What is asked of it, in its denomination.
        needed: Grant,
        /// What is uncommitted.
        available: Grant,
        /// The programme grants unit-hours, not money.
        unit_hours: bool,
    },
    /// A budget may not go below what is committed.
    BudgetCommitted {
        /// The programme.
        programme: ProgrammeId,
        /// The budget asked for, in the programme's denomination.
        needed: Grant,
        /// The least that is possible.
        committed: Grant,
        /// The programme grants unit-hours, not money.
        unit_hours: bool,
    },
    /// A named voucher cannot pay for this.
    VoucherRefused {
        /// The voucher.
        voucher: VoucherId,
        /// The rule that fails.
        rule: VoucherRule,
    },
    /// The holder already has as many redeemed vouchers as one holder may have.
    TooManyVouchers {
        /// The holder.
        holder: OrgId,
        /// The bound.
        allowed: usize,
    },
    /// The quote's time is over.
    QuoteExpired {
        /// The quote.
        quote: QuoteId,
        /// When it ended.
        expires_at: Timestamp,
    },
    /// The vouchers of the quote do not pay any more what they were to pay.
    QuoteCoverEnded {
        /// The quote.
        quote: QuoteId,
        /// Why.
        because: CoverEnd,
    },
    /// The quote was made for something else.
    QuoteMismatch {
        /// The quote.
        quote: QuoteId,
        /// What differs.
        field: &'static str,
    },
    /// The key of a hold was used with another payload.
    KeyReused {
        /// The key.
        key: HoldKey,
        /// What differs.
        field: &'static str,
    },
    /// The hold is over.
    HoldEnded {
        /// The hold.
        hold: HoldId,
    },
    /// More would be given back than was paid.
    RefundTooLarge {
        /// The capture.
        key: HoldKey,
        /// What is asked.
        needed: Fen,
        /// What is left to give back.
        available: Fen,
    },
    /// The time of the hold is over: nothing can be added to it.
    HoldOver {
        /// The hold.
        hold: HoldId,
    },
    /// A cover under the hold has just ended and what remains is being paid anew.
    HoldSwept {
        /// The hold.
        hold: HoldId,
    },
    /// The agreement has ended.
    AgreementEnded {
        /// The agreement.
        agreement: AgreementId,
    },
    /// The period does not allow it.
    PeriodRefused {
        /// The period.
        period: u32,
        /// What is in the way.
        rule: PeriodRule,
    },
    /// The settlement does not allow it.
    SettlementRefused {
        /// Its period.
        period: u32,
        /// Its provider.
        provider: OrgId,
        /// What is in the way.
        rule: SettlementRule,
    },
    /// The claim does not allow it.
    ClaimRefused {
        /// The claim.
        claim: ClaimId,
        /// What is in the way.
        rule: ClaimRule,
    },
    /// More is claimed than the holder has to claim.
    ClaimTooLarge {
        /// The holder.
        holder: OrgId,
        /// The programme.
        programme: ProgrammeId,
        /// What is claimed.
        needed: Fen,
        /// What it has to claim and has not claimed yet.
        available: Fen,
    },
    /// The holder already has as many claims waiting as it may.
    TooManyClaims {
        /// The holder.
        holder: OrgId,
        /// The programme.
        programme: ProgrammeId,
        /// The bound.
        allowed: usize,
    },
    /// Whoever did one step may not do the next.
    SamePrincipal {
        /// The principal.
        actor: u32,
    },
    /// More would be paid than is owed.
    OverBalance {
        /// What is owed.
        account: Account,
        /// What is to be paid.
        needed: Fen,
        /// What is owed.
        available: Fen,
    },
    /// Funders of a programme have not paid in what is to be paid out for it.
    FundersDue {
        /// The programme.
        programme: ProgrammeId,
        /// Who has to pay in first, and how much.
        funders: Vec<(Box<str>, Fen)>,
    },
    /// The treasury has too little, deposits in wallets aside.
    TreasuryShort {
        /// What is to be paid out.
        needed: Fen,
        /// What there is.
        available: Fen,
    },
}

/// Kinds of refusal, for status and exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionKind {
    /// The request is malformed or out of range.
    Invalid,
    /// Something it names does not exist.
    NotFound,
    /// A name or key is taken.
    AlreadyExists,
    /// The state does not allow it.
    Precondition,
    /// Wallet, budget or voucher refuse.
    Funds,
}

impl Rejection {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Rejection::Invalid { .. } => "INVALID_FIELD",
            Rejection::NameTaken { .. } => "NAME_TAKEN",
            Rejection::Unknown { what, .. } => what.code(),
            Rejection::NoPrice { .. } => "NO_PRICE",
            Rejection::InsufficientFunds { .. } => "INSUFFICIENT_FUNDS",
            Rejection::CopayOverMax { .. } => "COPAY_OVER_MAX",
            Rejection::BudgetExhausted { .. } => "BUDGET_EXHAUSTED",
            Rejection::BudgetCommitted { .. } => "BUDGET_COMMITTED",
            Rejection::VoucherRefused { rule, .. } => rule.code(),
            Rejection::TooManyVouchers { .. } => "TOO_MANY_VOUCHERS",
            Rejection::QuoteExpired { .. } => "QUOTE_EXPIRED",
            Rejection::QuoteCoverEnded { .. } => "QUOTE_COVER_ENDED",
            Rejection::QuoteMismatch { .. } => "QUOTE_MISMATCH",
            Rejection::KeyReused { .. } => "HOLD_KEY_REUSED",
            Rejection::HoldEnded { .. } => "HOLD_ENDED",
            Rejection::RefundTooLarge { .. } => "REFUND_TOO_LARGE",
            Rejection::SubsidyPartial { .. } => "SUBSIDY_PARTIAL",
            Rejection::HoldOver { .. } => "HOLD_OVER",
            Rejection::HoldSwept { .. } => "HOLD_SWEPT",
            Rejection::AgreementEnded { .. } => "AGREEMENT_ENDED",
            Rejection::PeriodRefused { rule, .. } => rule.code(),
            Rejection::SettlementRefused { rule, .. } => rule.code(),
            Rejection::ClaimRefused { rule, .. } => rule.code(),
            Rejection::ClaimTooLarge { .. } => "CLAIM_TOO_LARGE",
            Rejection::TooManyClaims { .. } => "TOO_MANY_CLAIMS",
            Rejection::SamePrincipal { .. } => "SAME_PRINCIPAL",
            Rejection::OverBalance { .. } => "MORE_THAN_OWED",
            Rejection::FundersDue { .. } => "FUNDERS_DUE",
            Rejection::TreasuryShort { .. } => "TREASURY_SHORT",
        }
    }

    /// What kind of refusal it is.
    pub fn kind(&self) -> RejectionKind {
        match self {
            Rejection::Invalid { .. } => RejectionKind::Invalid,
            Rejection::NameTaken { .. } | Rejection::KeyReused { .. } => RejectionKind::AlreadyExists,
            Rejection::Unknown { .. } => RejectionKind::NotFound,
            Rejection::InsufficientFunds { .. }
            | Rejection::CopayOverMax { .. }
            | Rejection::BudgetExhausted { .. }
            | Rejection::VoucherRefused { .. }
            | Rejection::SubsidyPartial { .. }
            | Rejection::RefundTooLarge { .. }
            | Rejection::ClaimTooLarge { .. }
            | Rejection::OverBalance { .. }
            | Rejection::FundersDue { .. }
            | Rejection::TreasuryShort { .. } => RejectionKind::Funds,
            Rejection::NoPrice { .. }
            | Rejection::BudgetCommitted { .. }
            | Rejection::TooManyVouchers { .. }
            | Rejection::QuoteExpired { .. }
            | Rejection::QuoteCoverEnded { .. }
            | Rejection::QuoteMismatch { .. }
            | Rejection::HoldEnded { .. }
            | Rejection::HoldOver { .. }
            | Rejection::HoldSwept { .. }
            | Rejection::AgreementEnded { .. }
            | Rejection::PeriodRefused { .. }
            | Rejection::SettlementRefused { .. }
            | Rejection::ClaimRefused { .. }
            | Rejection::TooManyClaims { .. }
            | Rejection::SamePrincipal { .. } => RejectionKind::Precondition,
        }
    }

    /// The field of the request at fault; empty if none is.
    pub fn field(&self) -> &'static str {
        match self {
            Rejection::Invalid { field, .. }
            | Rejection::NameTaken { field, .. }
            | Rejection::QuoteMismatch { field, .. }
            | Rejection::KeyReused { field, .. } => field,
            Rejection::Unknown { what, .. } => what.word(),
            Rejection::VoucherRefused { .. } => "voucher",
            Rejection::NoPrice { .. } => "sku",
            Rejection::QuoteExpired { .. } | Rejection::QuoteCoverEnded { .. } => "quote",
            Rejection::CopayOverMax { .. } => "copay_max",
            Rejection::SubsidyPartial { .. } => "allow_partial",
            Rejection::BudgetCommitted { .. } => "budget",
            Rejection::PeriodRefused { .. } | Rejection::SettlementRefused { .. } => "period",
            Rejection::ClaimRefused { .. } => "claim",
            Rejection::ClaimTooLarge { .. } | Rejection::OverBalance { .. } => "amount",
            Rejection::TooManyClaims { .. } => "programme",
            _ => "",
        }
    }

    /// Needed and available, where the refusal is about an amount; their difference is what is short. In fen, or in the denomination of the
    /// programme that it is about.
    pub fn figures(&self) -> Option<(i64, i64)> {
        match self {
            Rejection::InsufficientFunds { needed, available, .. }
            | Rejection::SubsidyPartial { needed, available }
            | Rejection::RefundTooLarge { needed, available, .. }
            | Rejection::ClaimTooLarge { needed, available, .. }
            | Rejection::OverBalance { needed, available, .. }
            | Rejection::TreasuryShort { needed, available } => Some((needed.0, available.0)),
            Rejection::FundersDue { funders, .. } => Some((funders.iter().map(|(_, due)| due.0).sum(), 0)),
            Rejection::BudgetExhausted { needed, available, .. } => Some((needed.0, available.0)),
            Rejection::CopayOverMax { needed, allowed } => Some((needed.0, allowed.0)),
            Rejection::BudgetCommitted { needed, committed, .. } => Some((committed.0, needed.0)),
            _ => None,
        }
    }

    /// How much is short, where the refusal is about an amount.
    pub fn short_by(&self) -> Option<i64> {
        self.figures()
            .map(|(needed, available)| needed.saturating_sub(available))
    }

    pub(crate) fn invalid(field: &'static str, given: impl std::fmt::Display, allowed: &'static str) -> Self {
        Rejection::Invalid {
            field,
            given: given.to_string().into(),
            allowed,
        }
    }

    pub(crate) fn unknown(what: Subject, named: impl std::fmt::Display) -> Self {
        Rejection::Unknown {
            what,
            named: named.to_string().into(),
        }
    }

    pub(crate) fn period(period: u32, rule: PeriodRule) -> Self {
        Rejection::PeriodRefused { period, rule }
    }

    pub(crate) fn settlement(period: u32, provider: OrgId, rule: SettlementRule) -> Self {
        Rejection::SettlementRefused { period, provider, rule }
    }

    pub(crate) fn claim(claim: ClaimId, rule: ClaimRule) -> Self {
        Rejection::ClaimRefused { claim, rule }
    }

    pub(crate) fn voucher(voucher: VoucherId, rule: VoucherRule) -> Self {
        Rejection::VoucherRefused { voucher, rule }
    }
}
