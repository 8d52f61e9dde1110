//! A hold gets more time: the same lines at the prices pinned with it, paid by the wallet.

use crate::account::Account;
use crate::bill::Bill;
use crate::journal::EntryKind;
use crate::ledger::Ledger;
use crate::price::WALLTIME_MS_MAX;
use crate::rejection::{Rejection, Subject};
use crate::types::{Fen, HoldId, Stamp};

impl Ledger {
    /// Sets aside what `more_ms` after the hold's limit can cost; gives the new limit in milliseconds.
    pub fn extend(&mut self, hold: HoldId, more_ms: u64, by: impl Into<Stamp>) -> Result<u64, Rejection> {
        let by = by.into();
        self.assert_time(by);
        let Some(open) = self.holds.get(hold.0) else {
            let ended = hold.0 > 0 && hold.0 < self.holds.next_id();
            return Err(if ended {
                Rejection::HoldEnded { hold }
            } else {
                Rejection::unknown(Subject::Hold, hold)
            });
        };
        let pinned = &open.pinned;
        let limit_ms = pinned
            .walltime_ms_max
            .checked_add(more_ms)
            .filter(|limit_ms| more_ms > 0 && *limit_ms <= WALLTIME_MS_MAX)
            .ok_or_else(|| Rejection::invalid("more_ms", more_ms, "1 to the longest time that is priced"))?;
        let gross = Bill::new(&pinned.lines, limit_ms)?.gross;
        let more = Fen(gross.0 - pinned.gross.0);
        let wallet = Fen(pinned.wallet.0 + more.0);
        if let Some(allowed) = pinned.copay_max
            && wallet > allowed
        {
            return Err(Rejection::CopayOverMax {
                needed: wallet,
                allowed,
            });
        }
        let payer = pinned.payer;
        let available = self.known_org(payer)?.available;
        if more > available {
            return Err(Rejection::InsufficientFunds {
                org: payer,
                needed: more,
                available,
            });
        }
        self.post(Account::Wallet(payer), Account::WalletHeld(payer), more);
        let pinned = &mut self.holds.get_mut(hold.0).expect("found above").pinned;
        pinned.walltime_ms_max = limit_ms;
        pinned.gross = gross;
        pinned.wallet = wallet;
        self.journal.facts([hold.0, limit_ms, more.0 as u64]);
        self.write(EntryKind::Extend, by);
        Ok(limit_ms)
    }
}
