//! The chart of accounts. Everything that moves does so from one of these to another, in `Ledger::post` and nowhere else.
//!
//! Grant accounts (a programme's budget and its vouchers) are kept in the programme's denomination and balance among themselves;
//! money accounts are kept in fen and balance among themselves. A capture is one transfer in each.

use std::fmt;

use crate::types::{OrgId, ProgrammeId, VoucherId};

/// One account. `Treasury`, `Uncalled`, `Due`, `Unfunded` and `Owes` are debit balances, the others credit balances; none is ever negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// Cash put in by organisations and funders and not paid out.
    Treasury,
    /// Granted to a programme and not used: budget less net captures. A grant account.
    Uncalled(ProgrammeId),
    /// Called from one funder of a programme (by its place) and not paid in.
    Due(ProgrammeId, u8),
    /// Vouchers issued beyond what is committed (commit at hold only). A grant account.
    Unfunded(ProgrammeId),
    /// Owed by an organisation: subsidies to be recovered from a holder, refunds of what a provider was paid for.
    Owes(OrgId),
    /// A programme's budget that is not committed. A grant account.
    Budget(ProgrammeId),
    /// Free on a voucher. A grant account.
    Voucher(VoucherId),
    /// Held on a voucher. A grant account.
    VoucherHeld(VoucherId),
    /// Free in an organisation's wallet.
    Wallet(OrgId),
    /// Held in an organisation's wallet.
    WalletHeld(OrgId),
    /// Owed to a provider.
    Receivable(OrgId),
    /// Owed to a holder under a holder-redeemed programme.
    Claim(OrgId),
    /// Owed to a programme's funds: recovered from holders, or paid in for what was given back since.
    Recovery(ProgrammeId),
}

/// How many kinds of accounts there are.
pub(crate) const KINDS: usize = 13;

impl Account {
    /// The kind's place in the trial balance, 0 to 12.
    pub fn kind(self) -> usize {
        match self {
            Account::Treasury => 0,
            Account::Uncalled(_) => 1,
            Account::Due(..) => 2,
            Account::Unfunded(_) => 3,
            Account::Owes(_) => 4,
            Account::Budget(_) => 5,
            Account::Voucher(_) => 6,
            Account::VoucherHeld(_) => 7,
            Account::Wallet(_) => 8,
            Account::WalletHeld(_) => 9,
            Account::Receivable(_) => 10,
            Account::Claim(_) => 11,
            Account::Recovery(_) => 12,
        }
    }

    /// The account as one number, for the journal: kind in the low four bits, then the owner.
    pub fn code(self) -> u64 {
        let owner = match self {
            Account::Treasury => 0,
            Account::Uncalled(id) | Account::Unfunded(id) | Account::Budget(id) | Account::Recovery(id) => {
                u64::from(id.0)
            }
            Account::Due(id, funder) => u64::from(id.0) << 4 | u64::from(funder),
            Account::Voucher(id) | Account::VoucherHeld(id) => id.0,
            Account::Owes(id)
            | Account::Wallet(id)
            | Account::WalletHeld(id)
            | Account::Receivable(id)
            | Account::Claim(id) => u64::from(id.0),
        };
        owner << 4 | self.kind() as u64
    }

    /// The account a code stands for.
    pub fn from_code(code: u64) -> Option<Self> {
        let owner = code >> 4;
        let programme = || u32::try_from(owner).map(ProgrammeId).ok();
        let org = || u32::try_from(owner).map(OrgId).ok();
        Some(match code & 15 {
            0 if owner == 0 => Account::Treasury,
            1 => Account::Uncalled(programme()?),
            2 => Account::Due(ProgrammeId(u32::try_from(owner >> 4).ok()?), (owner & 15) as u8),
            3 => Account::Unfunded(programme()?),
            4 => Account::Owes(org()?),
            5 => Account::Budget(programme()?),
            6 => Account::Voucher(VoucherId(owner)),
            7 => Account::VoucherHeld(VoucherId(owner)),
            8 => Account::Wallet(org()?),
            9 => Account::WalletHeld(org()?),
            10 => Account::Receivable(org()?),
            11 => Account::Claim(org()?),
            12 => Account::Recovery(programme()?),
            _ => return None,
        })
    }

    /// Whether its balance is a debit balance.
    pub fn is_debit(self) -> bool {
        self.kind() <= LAST_DEBIT_KIND
    }

    /// Whether it is kept in a programme's denomination and not in fen.
    pub fn is_grant(self) -> bool {
        use Account::{Budget, Uncalled, Unfunded, Voucher, VoucherHeld};
        matches!(
            self,
            Uncalled(_) | Unfunded(_) | Budget(_) | Voucher(_) | VoucherHeld(_)
        )
    }
}

/// Kinds up to this one carry debit balances.
pub(crate) const LAST_DEBIT_KIND: usize = 4;

/// Kinds kept in a programme's denomination.
pub(crate) const GRANT_KINDS: [usize; 5] = [1, 3, 5, 6, 7];

/// Names of the kinds, in order.
pub(crate) const KIND_NAMES: [&str; KINDS] = [
    "treasury",
    "granted and not used",
    "due from funders",
    "issued beyond commitment",
    "owed by organisations",
    "budget not committed",
    "vouchers available",
    "vouchers held",
    "wallets available",
    "wallets held",
    "owed to providers",
    "owed to holders",
    "owed to funders",
];

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Account::Treasury => write!(f, "treasury"),
            Account::Uncalled(id) => write!(f, "programme {id} not used"),
            Account::Due(id, funder) => write!(f, "programme {id} due from funder {}", funder + 1),
            Account::Unfunded(id) => write!(f, "programme {id} issued beyond commitment"),
            Account::Owes(id) => write!(f, "owed by organisation {id}"),
            Account::Budget(id) => write!(f, "programme {id} budget"),
            Account::Voucher(id) => write!(f, "voucher {id}"),
            Account::VoucherHeld(id) => write!(f, "voucher {id} held"),
            Account::Wallet(id) => write!(f, "wallet {id}"),
            Account::WalletHeld(id) => write!(f, "wallet {id} held"),
            Account::Receivable(id) => write!(f, "owed to provider {id}"),
            Account::Claim(id) => write!(f, "owed to holder {id}"),
            Account::Recovery(id) => write!(f, "owed to the funders of programme {id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_names_one_account() {
        let accounts = [
            Account::Treasury,
            Account::Uncalled(ProgrammeId(7)),
            Account::Due(ProgrammeId(7), 14),
            Account::Unfunded(ProgrammeId(u32::MAX)),
            Account::Owes(OrgId(5)),
            Account::Budget(ProgrammeId(1)),
            Account::Voucher(VoucherId(1 << 40)),
            Account::VoucherHeld(VoucherId(3)),
            Account::Wallet(OrgId(5)),
            Account::WalletHeld(OrgId(5)),
            Account::Receivable(OrgId(5)),
            Account::Claim(OrgId(5)),
            Account::Recovery(ProgrammeId(7)),
        ];
        assert_eq!(accounts.len(), KINDS);
        for (kind, account) in accounts.into_iter().enumerate() {
            assert_eq!(account.kind(), kind);
            assert_eq!(Account::from_code(account.code()), Some(account));
        }
        assert_eq!(Account::from_code(15), None);
    }
}
