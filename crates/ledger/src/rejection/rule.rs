//! Why a period, a settlement, a claim or a voucher refuses, and what a refusal may say is unknown.

use std::fmt;

use crate::types::Timestamp;

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

impl Subject {
    pub(super) fn code(self) -> &'static str {
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

    pub(super) fn word(self) -> &'static str {
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

    pub(super) fn describe(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

    pub(super) fn describe(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

    pub(super) fn text(self) -> &'static str {
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

    pub(super) fn text(self) -> &'static str {
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
