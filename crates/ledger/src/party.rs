//! Organisations with their wallets, and the sites that they provide.

use std::fmt;

use crate::price::PriceSheets;
use crate::rejection::Rejection;
use crate::types::{Fen, Grant, OrgId, RegionCode};

/// What an organisation is; programmes name the kinds they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrgKind {
    /// A firm.
    #[default]
    Enterprise,
    /// A start-up team.
    Team,
    /// A laboratory.
    Lab,
    /// One that runs sites and is paid for it.
    Provider,
}

/// An organisation to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewOrg {
    /// Unique; 1 to 128 bytes.
    pub name: Box<str>,
    /// What it is.
    pub kind: OrgKind,
    /// Where it is registered.
    pub region: RegionCode,
    /// Organisations under one actual controller share caps; empty = its own name.
    pub control_group: Box<str>,
    /// 统一社会信用代码, 18 characters; empty = not given.
    pub credit_code: Box<str>,
}

/// An organisation and its money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Org {
    /// Dense, from 1.
    pub id: OrgId,
    /// As registered.
    pub registered: NewOrg,
    /// Its control group's name in counters: the organisation that founded it, or a number above 2^31 for an organisation's later groups.
    pub group: OrgId,
    /// Free in the wallet.
    pub available: Fen,
    /// Held in the wallet for open holds and binding quotes.
    pub held: Fen,
    /// Ever put in.
    pub topped_up: Fen,
    /// Ever taken out.
    pub withdrawn: Fen,
    /// Paid from the wallet, refunds deducted.
    pub spent: Fen,
    /// Of a provider: earned and not yet paid out.
    pub receivable: Fen,
    /// Of a holder: subsidies it has paid in advance and may claim (holder-redeemed programmes).
    pub claim: Fen,
    /// What it owes: subsidies to be recovered, refunds of what it was already paid for.
    pub owes: Fen,
}

/// A data centre as far as money knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its jurisdiction.
    pub region: RegionCode,
    /// The organisation that is credited.
    pub provider: OrgId,
    /// Its price sheets.
    pub prices: PriceSheets,
}

/// What an organisation can spend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Funds {
    /// Free in the wallet.
    pub wallet_available: Fen,
    /// Held in the wallet.
    pub wallet_held: Fen,
    /// Free on vouchers that are in use (redeemed, not suspended, valid now or later).
    pub vouchers_available: Fen,
    /// Held on vouchers in use.
    pub vouchers_held: Fen,
}

const NAME_BYTES_MAX: usize = 128;

/// Refuses names that are empty, too long, or that a terminal or a spreadsheet would trip over.
pub(crate) fn check_name(field: &'static str, name: &str) -> Result<(), Rejection> {
    let allowed = "1 to 128 bytes without control characters, not starting with = + - @";
    let harmless = !name.chars().any(char::is_control) && !name.starts_with(['=', '+', '-', '@']);
    if name.trim().is_empty() || name.len() > NAME_BYTES_MAX || !harmless {
        return Err(Rejection::invalid(field, abbreviated(name), allowed));
    }
    Ok(())
}

/// Refuses regions that are not six digits long.
pub(crate) fn check_region(field: &'static str, region: RegionCode) -> Result<(), Rejection> {
    if !(100_000..=999_999).contains(&region.0) {
        return Err(Rejection::invalid(field, region, "a GB/T 2260 code of six digits"));
    }
    Ok(())
}

/// Refuses amounts that are not above zero or over [`Fen::MAX`].
pub(crate) fn check_amount(field: &'static str, amount: Fen) -> Result<(), Rejection> {
    if amount <= Fen::ZERO || amount > Fen::MAX {
        return Err(Rejection::invalid(field, amount, "1 to 100000000000000 fen"));
    }
    Ok(())
}

/// Refuses faces, budgets and caps that are not above zero or over [`Grant::MAX`].
pub(crate) fn check_grant(field: &'static str, amount: Grant) -> Result<(), Rejection> {
    check_amount(field, Fen(amount.0))
}

/// Refuses texts for the record that are too long.
pub(crate) fn check_text(field: &'static str, text: &str) -> Result<(), Rejection> {
    if text.len() > 256 || text.chars().any(char::is_control) {
        return Err(Rejection::invalid(
            field,
            abbreviated(text),
            "at most 256 bytes without control characters",
        ));
    }
    Ok(())
}

pub(crate) fn check_org(org: &NewOrg) -> Result<(), Rejection> {
    check_name("name", &org.name)?;
    check_region("region", org.region)?;
    if !org.control_group.is_empty() {
        check_name("control_group", &org.control_group)?;
    }
    let code = &org.credit_code;
    if !code.is_empty() && (code.len() != 18 || !code.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
        return Err(Rejection::invalid(
            "credit_code",
            abbreviated(code),
            "18 letters and digits, or nothing",
        ));
    }
    Ok(())
}

fn abbreviated(text: &str) -> impl fmt::Display {
    text.chars().take(64).collect::<String>()
}
