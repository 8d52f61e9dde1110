//! Organisations with their wallets, and the sites that they provide.

use std::fmt;
use std::sync::Arc;

use crate::price::PriceSheets;
use crate::rejection::Rejection;
use crate::types::{Fen, Few, Grant, GroupId, OrgId, ProgrammeId, RegionCode, VoucherId};

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
    /// Its control group.
    pub group: GroupId,
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
    /// Its vouchers in use, by id; derived from the vouchers, not part of a snapshot.
    pub(crate) vouchers: Few<VoucherId, 2>,
}

/// Organisations under one actual controller. One that lost all its members keeps its number: counters and pins hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: Arc<str>,
    /// What counts in the programmes' caps, by programme and fiscal year.
    pub(crate) uses: Few<GroupUse, 2>,
}

/// Open holds and net captures of a control group under a programme in a fiscal year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupUse {
    pub(crate) programme: ProgrammeId,
    pub(crate) year: u32,
    pub(crate) used: Grant,
}

impl Org {
    pub(crate) fn begin_use(&mut self, voucher: VoucherId) {
        if let Err(place) = self.vouchers.binary_search(&voucher) {
            self.vouchers.insert(place, voucher);
        }
    }

    pub(crate) fn end_use(&mut self, voucher: VoucherId) {
        if let Ok(place) = self.vouchers.binary_search(&voucher) {
            self.vouchers.remove(place);
        }
    }
}

impl Group {
    /// What it uses under a programme in a fiscal year.
    pub(crate) fn used(&self, programme: ProgrammeId, year: u32) -> Grant {
        let place = self.place_of(programme, year);
        place.map_or(Grant::ZERO, |place| self.uses[place].used)
    }

    /// The same for writing; zero when there was none.
    pub(crate) fn used_mut(&mut self, programme: ProgrammeId, year: u32) -> &mut Grant {
        let place = self.place_of(programme, year).unwrap_or_else(|place| {
            let used = Grant::ZERO;
            self.uses.insert(place, GroupUse { programme, year, used });
            place
        });
        &mut self.uses[place].used
    }

    fn place_of(&self, programme: ProgrammeId, year: u32) -> Result<usize, usize> {
        self.uses
            .binary_search_by_key(&(programme, year), |known| (known.programme, known.year))
    }
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
    // Spreadsheets set to Chinese or Japanese take the full-width forms for the same.
    let executed = ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];
    let harmless = !name.chars().any(char::is_control) && !name.starts_with(executed);
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

/// A text that says why: not blank, and otherwise as [`check_text`] wants it.
pub(crate) fn check_reason(field: &'static str, text: &str) -> Result<(), Rejection> {
    if text.trim().is_empty() {
        return Err(Rejection::invalid(field, text, "a text that says why, up to 256 bytes"));
    }
    check_text(field, text)
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
