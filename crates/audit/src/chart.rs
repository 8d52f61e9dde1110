//! The chart of accounts as the journal writes it: the kind in the low four bits of a code, the owner above.

/// One account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Account {
    Treasury,
    Uncalled(u32),
    Due(u32, u8),
    Unfunded(u32),
    Owes(u32),
    Budget(u32),
    Voucher(u64),
    VoucherHeld(u64),
    Wallet(u32),
    WalletHeld(u32),
    Receivable(u32),
    Claim(u32),
    Recovery(u32),
}

/// How many kinds there are.
pub(crate) const KINDS: usize = 13;

/// Of each kind: its name in reports, whether its balances are debit balances, whether they are in the programme's denomination and not in fen.
pub const TABLE: [(&str, bool, bool); KINDS] = [
    ("treasury", true, false),
    ("granted_and_not_used", true, true),
    ("due_from_funders", true, false),
    ("issued_beyond_commitment", true, true),
    ("owed_by_organisations", true, false),
    ("budget_not_committed", false, true),
    ("vouchers_available", false, true),
    ("vouchers_held", false, true),
    ("wallets_available", false, false),
    ("wallets_held", false, false),
    ("owed_to_providers", false, false),
    ("owed_to_holders", false, false),
    ("owed_to_funders", false, false),
];

impl Account {
    /// The account of a code; `None` when there is none.
    pub(crate) fn of_code(code: u64) -> Option<Self> {
        let (owner, kind) = (code / 16, code % 16);
        let small = u32::try_from(owner);
        Some(match kind {
            0 if owner == 0 => Account::Treasury,
            1 => Account::Uncalled(small.ok()?),
            2 => Account::Due(u32::try_from(owner / 16).ok()?, (owner % 16) as u8),
            3 => Account::Unfunded(small.ok()?),
            4 => Account::Owes(small.ok()?),
            5 => Account::Budget(small.ok()?),
            6 => Account::Voucher(owner),
            7 => Account::VoucherHeld(owner),
            8 => Account::Wallet(small.ok()?),
            9 => Account::WalletHeld(small.ok()?),
            10 => Account::Receivable(small.ok()?),
            11 => Account::Claim(small.ok()?),
            12 => Account::Recovery(small.ok()?),
            _ => return None,
        })
    }

    /// Its place in [`TABLE`].
    pub(crate) fn kind(self) -> usize {
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

    /// Whether a debit raises it.
    pub(crate) fn is_debit(self) -> bool {
        TABLE[self.kind()].1
    }

    /// Whether it is kept in a programme's denomination.
    pub(crate) fn is_grant(self) -> bool {
        TABLE[self.kind()].2
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = TABLE[self.kind()].0;
        match *self {
            Account::Treasury => f.write_str(name),
            Account::Due(programme, funder) => write!(f, "{name} of programme {programme}, funder {}", funder + 1),
            Account::Uncalled(id) | Account::Unfunded(id) | Account::Budget(id) | Account::Recovery(id) => {
                write!(f, "{name} of programme {id}")
            }
            Account::Voucher(id) | Account::VoucherHeld(id) => write!(f, "{name}, voucher {id}"),
            Account::Owes(id)
            | Account::Wallet(id)
            | Account::WalletHeld(id)
            | Account::Receivable(id)
            | Account::Claim(id) => write!(f, "{name}, organisation {id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_kind_and_owner() {
        assert_eq!(Account::of_code(0), Some(Account::Treasury));
        assert_eq!(Account::of_code(16), None, "there is one treasury");
        assert_eq!(Account::of_code((7 * 16 + 3) * 16 + 2), Some(Account::Due(7, 3)));
        assert_eq!(Account::of_code((1 << 40) * 16 + 6), Some(Account::Voucher(1 << 40)));
        assert_eq!(Account::of_code((1 << 40) * 16 + 8), None);
        assert_eq!(Account::of_code(13), None);
        for kind in 0..KINDS as u64 {
            let account = Account::of_code(kind).expect("every kind but the treasury has owners from 0");
            assert_eq!(account.kind() as u64, kind);
        }
    }
}
