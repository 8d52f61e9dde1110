//! Refusals: answers that changed nothing, the same on every replica. Each has a stable code, the figures and one English line.

use std::fmt;

use crate::account::Account;
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
        /// What they have to pay in first.
        needed: Fen,
    },
    /// The treasury has too little, deposits in wallets aside.
    TreasuryShort {
        /// What is to be paid out.
        needed: Fen,
        /// What there is.
        available: Fen,
    },
}

/// Why a period refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeriodRule {
    /// It is not closed yet.
    Open,
    /// It is closed.
    Closed,
    /// It has not ended yet; it will at this instant.
    NotEnded(Timestamp),
    /// It began at this very instant.
    Empty,
    /// This earlier one is not closed yet.
    OutOfOrder(u32),
    /// What ended in it is still being captured.
    Sweeping,
}

/// Why a settlement refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettlementRule {
    /// It is not reviewed.
    NotReviewed,
    /// It is reviewed.
    Reviewed,
    /// It is paid.
    Paid,
    /// The provider's settlement of this earlier period is not paid yet.
    OutOfOrder(u32),
}

/// Why a claim refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimRule {
    /// It is not reviewed.
    NotReviewed,
    /// It is reviewed.
    Reviewed,
    /// Its reviewer refused it.
    Refused,
    /// It is paid.
    Paid,
    /// Refunds have cut it to nothing.
    Void,
}

/// Kinds of things a refusal may say are unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An organisation.
    Org,
    /// A site.
    Site,
    /// A programme.
    Programme,
    /// A recognition agreement.
    Agreement,
    /// A voucher.
    Voucher,
    /// A hold.
    Hold,
    /// A binding quote.
    Quote,
    /// A settled hold inside the settlement window.
    Capture,
    /// An accounting period that is kept.
    Period,
    /// A provider's settlement for a closed period.
    Settlement,
    /// A claim that is kept.
    Claim,
    /// A funder of the programme.
    Funder,
}

/// Why a voucher cannot pay here, in the order the rules are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoucherRule {
    /// It belongs to somebody else.
    WrongHolder,
    /// It is not redeemed yet.
    NotRedeemed,
    /// It was redeemed before.
    AlreadyRedeemed,
    /// It is suspended.
    Suspended,
    /// It is not suspended.
    NotSuspended,
    /// It is revoked.
    Revoked,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// Nothing of it is left.
    Exhausted,
    /// Its programme is not in force.
    ProgrammeNotInForce,
    /// Its programme is not for this kind of holder.
    HolderKind,
    /// Its programme is not for holders of this region.
    HolderRegion,
    /// Holder and provider have the same actual controller.
    Affiliated,
    /// The site lies outside the issuer's region and no agreement covers it.
    Scope,
    /// None of the classes asked for is subsidised.
    Sku,
    /// Its programme excludes another voucher in the set.
    Stacking,
    /// The programme's budget is used up.
    Budget,
    /// The cap of the holder's control group for this fiscal year is used up.
    GroupCap,
    /// The cap for this job is used up.
    JobCap,
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
            Rejection::QuoteExpired { .. } => "quote",
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
        match *self {
            Rejection::InsufficientFunds { needed, available, .. }
            | Rejection::SubsidyPartial { needed, available }
            | Rejection::RefundTooLarge { needed, available, .. }
            | Rejection::ClaimTooLarge { needed, available, .. }
            | Rejection::OverBalance { needed, available, .. }
            | Rejection::TreasuryShort { needed, available } => Some((needed.0, available.0)),
            Rejection::FundersDue { needed, .. } => Some((needed.0, 0)),
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

    pub(crate) fn invalid(field: &'static str, given: impl fmt::Display, allowed: &'static str) -> Self {
        Rejection::Invalid {
            field,
            given: given.to_string().into(),
            allowed,
        }
    }

    pub(crate) fn unknown(what: Subject, named: impl fmt::Display) -> Self {
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

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejection::Invalid { field, given, allowed } => write!(f, "{field} is {given:?}, allowed is {allowed}"),
            Rejection::NameTaken { field, name } => write!(f, "{field} {name:?} is taken"),
            Rejection::Unknown { what, named } => write!(f, "no {} {named}", what.word()),
            Rejection::NoPrice { site, sku } => write!(f, "site {site} has no price for {sku} now"),
            Rejection::InsufficientFunds { org, needed, available } => {
                write!(
                    f,
                    "the wallet of organisation {org} has {available} fen free, {needed} are needed: "
                )?;
                write!(f, "{} fen short", needed.0.saturating_sub(available.0))
            }
            Rejection::CopayOverMax { needed, allowed } => {
                write!(f, "{needed} fen would be held in the wallet, the job allows {allowed}")
            }
            Rejection::BudgetExhausted {
                programme,
                needed,
                available,
                unit_hours,
            } => {
                let unit = unit(*unit_hours);
                write!(
                    f,
                    "programme {programme} has {available} {unit} uncommitted, {needed} are needed: "
                )?;
                write!(f, "{} {unit} short", needed.0.saturating_sub(available.0))
            }
            Rejection::BudgetCommitted {
                programme,
                needed,
                committed,
                unit_hours,
            } => {
                let unit = unit(*unit_hours);
                write!(
                    f,
                    "programme {programme} has committed {committed} {unit}, its budget cannot be {needed}"
                )
            }
            Rejection::VoucherRefused { voucher, rule } => write!(f, "voucher {voucher} {}", rule.text()),
            Rejection::TooManyVouchers { holder, allowed } => {
                write!(
                    f,
                    "organisation {holder} already has {allowed} vouchers in use, the most one holder may have"
                )
            }
            Rejection::QuoteExpired { quote, expires_at } => write!(f, "quote {quote} ended at {expires_at} ms"),
            Rejection::QuoteMismatch { quote, field } => write!(f, "quote {quote} was made with a different {field}"),
            Rejection::KeyReused { key, field } => {
                write!(
                    f,
                    "job {}[{}] attempt {} already has a hold with a different {field}",
                    key.job, key.task, key.attempt
                )
            }
            Rejection::HoldEnded { hold } => write!(f, "hold {hold} is over"),
            Rejection::RefundTooLarge { key, needed, available } => write!(
                f,
                "job {}[{}] attempt {} has {available} fen left to give back, {needed} were asked",
                key.job, key.task, key.attempt
            ),
            Rejection::SubsidyPartial { needed, available } => {
                write!(f, "caps and budgets leave {available} fen of a subsidy of {needed}: ")?;
                write!(
                    f,
                    "{} fen short; allow a partial subsidy or pay without vouchers",
                    needed.0.saturating_sub(available.0)
                )
            }
            Rejection::HoldOver { hold } => write!(f, "the time of hold {hold} is over"),
            Rejection::HoldSwept { hold } => {
                write!(
                    f,
                    "a cover under hold {hold} has just ended; try again when it is paid anew"
                )
            }
            Rejection::AgreementEnded { agreement } => write!(f, "agreement {agreement} has ended"),
            Rejection::PeriodRefused { period, rule } => {
                write!(f, "period {period} ")?;
                rule.describe(f)
            }
            Rejection::SettlementRefused { period, provider, rule } => {
                write!(f, "the settlement of organisation {provider} for period {period} ")?;
                rule.describe(f)
            }
            Rejection::ClaimRefused { claim, rule } => write!(f, "claim {claim} {}", rule.text()),
            Rejection::ClaimTooLarge {
                holder,
                programme,
                needed,
                available,
            } => write!(
                f,
                "organisation {holder} has {available} fen left to claim under programme {programme}, {needed} were asked"
            ),
            Rejection::TooManyClaims {
                holder,
                programme,
                allowed,
            } => write!(
                f,
                "organisation {holder} already has {allowed} claims waiting under programme {programme}, the most it may have"
            ),
            Rejection::SamePrincipal { actor } => write!(
                f,
                "principal {actor} did the step before this one, and another principal has to do this one"
            ),
            Rejection::OverBalance {
                account,
                needed,
                available,
            } => write!(f, "{account}: {available} fen are outstanding, {needed} were given"),
            Rejection::FundersDue { programme, needed } => write!(
                f,
                "the funders of programme {programme} have not paid in {needed} fen of what is to be paid out for it"
            ),
            Rejection::TreasuryShort { needed, available } => {
                write!(
                    f,
                    "the treasury has {available} fen that may be paid out, {needed} are needed: "
                )?;
                write!(f, "{} fen short", needed.0.saturating_sub(available.0))
            }
        }
    }
}

impl std::error::Error for Rejection {}

// What the amounts of a programme are counted in.
fn unit(unit_hours: bool) -> &'static str {
    if unit_hours { "milli-unit-seconds" } else { "fen" }
}

impl Subject {
    fn code(self) -> &'static str {
        match self {
            Subject::Org => "UNKNOWN_ORG",
            Subject::Site => "UNKNOWN_SITE",
            Subject::Programme => "UNKNOWN_PROGRAMME",
            Subject::Agreement => "UNKNOWN_AGREEMENT",
            Subject::Voucher => "UNKNOWN_VOUCHER",
            Subject::Hold => "UNKNOWN_HOLD",
            Subject::Quote => "UNKNOWN_QUOTE",
            Subject::Capture => "UNKNOWN_CAPTURE",
            Subject::Period => "UNKNOWN_PERIOD",
            Subject::Settlement => "UNKNOWN_SETTLEMENT",
            Subject::Claim => "UNKNOWN_CLAIM",
            Subject::Funder => "UNKNOWN_FUNDER",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Subject::Org => "org",
            Subject::Site => "site",
            Subject::Programme => "programme",
            Subject::Agreement => "agreement",
            Subject::Voucher => "voucher",
            Subject::Hold => "hold",
            Subject::Quote => "quote",
            Subject::Capture => "capture",
            Subject::Period => "period",
            Subject::Settlement => "settlement",
            Subject::Claim => "claim",
            Subject::Funder => "funder",
        }
    }
}

impl PeriodRule {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            PeriodRule::Open => "PERIOD_OPEN",
            PeriodRule::Closed => "PERIOD_CLOSED",
            PeriodRule::NotEnded(_) => "PERIOD_NOT_ENDED",
            PeriodRule::Empty => "PERIOD_EMPTY",
            PeriodRule::OutOfOrder(_) => "PERIOD_OUT_OF_ORDER",
            PeriodRule::Sweeping => "PERIOD_SWEEPING",
        }
    }

    fn describe(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeriodRule::Open => write!(f, "is not closed yet"),
            PeriodRule::Closed => write!(f, "is closed already"),
            PeriodRule::NotEnded(until) => write!(f, "ends by itself at {until} ms; end it first, or wait"),
            PeriodRule::Empty => write!(f, "began at this very instant and cannot end at it"),
            PeriodRule::OutOfOrder(first) => write!(f, "comes after period {first}, which is to be closed first"),
            PeriodRule::Sweeping => write!(f, "has use that is still to be captured; try again shortly"),
        }
    }
}

impl SettlementRule {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            SettlementRule::NotReviewed => "SETTLEMENT_NOT_REVIEWED",
            SettlementRule::Reviewed => "SETTLEMENT_REVIEWED",
            SettlementRule::Paid => "SETTLEMENT_PAID",
            SettlementRule::OutOfOrder(_) => "SETTLEMENT_OUT_OF_ORDER",
        }
    }

    fn describe(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettlementRule::NotReviewed => write!(f, "is not reviewed yet"),
            SettlementRule::Reviewed => write!(f, "is reviewed already"),
            SettlementRule::Paid => write!(f, "is paid already"),
            SettlementRule::OutOfOrder(first) => {
                write!(f, "comes after that for period {first}, which is to be paid first")
            }
        }
    }
}

impl ClaimRule {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            ClaimRule::NotReviewed => "CLAIM_NOT_REVIEWED",
            ClaimRule::Reviewed => "CLAIM_REVIEWED",
            ClaimRule::Refused => "CLAIM_REFUSED",
            ClaimRule::Paid => "CLAIM_PAID",
            ClaimRule::Void => "CLAIM_VOID",
        }
    }

    fn text(self) -> &'static str {
        match self {
            ClaimRule::NotReviewed => "is not reviewed yet",
            ClaimRule::Reviewed => "is reviewed already",
            ClaimRule::Refused => "was refused by its reviewer",
            ClaimRule::Paid => "is paid already",
            ClaimRule::Void => "was cut to nothing by refunds",
        }
    }
}

impl VoucherRule {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            VoucherRule::WrongHolder => "VOUCHER_WRONG_HOLDER",
            VoucherRule::NotRedeemed => "VOUCHER_NOT_REDEEMED",
            VoucherRule::AlreadyRedeemed => "VOUCHER_ALREADY_REDEEMED",
            VoucherRule::Suspended => "VOUCHER_SUSPENDED",
            VoucherRule::NotSuspended => "VOUCHER_NOT_SUSPENDED",
            VoucherRule::Revoked => "VOUCHER_REVOKED",
            VoucherRule::Expired => "VOUCHER_EXPIRED",
            VoucherRule::NotYetValid => "VOUCHER_NOT_YET_VALID",
            VoucherRule::Exhausted => "VOUCHER_EXHAUSTED",
            VoucherRule::ProgrammeNotInForce => "PROGRAMME_NOT_IN_FORCE",
            VoucherRule::HolderKind => "VOUCHER_HOLDER_KIND",
            VoucherRule::HolderRegion => "VOUCHER_HOLDER_REGION",
            VoucherRule::Affiliated => "VOUCHER_AFFILIATED",
            VoucherRule::Scope => "VOUCHER_SCOPE",
            VoucherRule::Sku => "VOUCHER_SKU",
            VoucherRule::Stacking => "VOUCHER_STACKING",
            VoucherRule::Budget => "VOUCHER_BUDGET_EXHAUSTED",
            VoucherRule::GroupCap => "VOUCHER_GROUP_CAP",
            VoucherRule::JobCap => "VOUCHER_JOB_CAP",
        }
    }

    fn text(self) -> &'static str {
        match self {
            VoucherRule::WrongHolder => "belongs to another holder",
            VoucherRule::NotRedeemed => "is not redeemed yet",
            VoucherRule::AlreadyRedeemed => "was redeemed before",
            VoucherRule::Suspended => "is suspended",
            VoucherRule::NotSuspended => "is not suspended",
            VoucherRule::Revoked => "is revoked",
            VoucherRule::Expired => "has expired",
            VoucherRule::NotYetValid => "is not valid yet",
            VoucherRule::Exhausted => "has nothing left",
            VoucherRule::ProgrammeNotInForce => "is of a programme that is not in force",
            VoucherRule::HolderKind => "is of a programme that is not for this kind of holder",
            VoucherRule::HolderRegion => "is of a programme that is not for holders of this region",
            VoucherRule::Affiliated => "cannot pay a provider under the holder's own controller",
            VoucherRule::Scope => "is not recognised at this site",
            VoucherRule::Sku => "does not subsidise any resource class asked for",
            VoucherRule::Stacking => "cannot be combined with the other vouchers",
            VoucherRule::Budget => "is of a programme whose budget is used up",
            VoucherRule::GroupCap => "is of a programme whose cap for the holder's group and year is used up",
            VoucherRule::JobCap => "is of a programme whose cap for this job is used up",
        }
    }
}
