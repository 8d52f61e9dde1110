//! Vouchers: a face value for one holder, spent over many jobs, for a time.

use std::sync::Arc;

use crate::types::{Fen, Grant, OrgId, ProgrammeId, Timestamp, VoucherId};

/// A voucher to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewVoucher {
    /// Unique; what the holder redeems.
    pub code: Box<str>,
    /// The holder's name.
    pub holder: Box<str>,
    /// Above zero, in the programme's denomination.
    pub face: Grant,
    /// First instant it pays.
    pub from: Timestamp,
    /// First instant it pays no more.
    pub until: Timestamp,
}

/// Where a voucher is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VoucherState {
    /// Made, not yet redeemed by its holder.
    #[default]
    Issued,
    /// Pays.
    Active,
    /// Pays for nothing new until resumed.
    Suspended,
    /// Spent; nothing available or held.
    Exhausted,
    /// Past its time; what was left has lapsed.
    Expired,
    /// Taken back; running jobs keep their cover, unless it was for fraud.
    Revoked,
}

/// A voucher: `face = available + held + captured + lapsed + revoked`, always; all in the programme's denomination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voucher {
    /// Dense, from 1.
    pub id: VoucherId,
    /// Unique.
    pub code: Arc<str>,
    /// Its programme.
    pub programme: ProgrammeId,
    /// Who may use it.
    pub holder: OrgId,
    /// Where it is in its life.
    pub state: VoucherState,
    /// First instant it pays.
    pub from: Timestamp,
    /// First instant it pays no more.
    pub until: Timestamp,
    /// As issued.
    pub face: Grant,
    /// Free.
    pub available: Grant,
    /// On open holds and binding quotes.
    pub held: Grant,
    /// Spent, refunds deducted.
    pub captured: Grant,
    /// Left when it expired, or given back to the fund by a refund.
    pub lapsed: Grant,
    /// Left when it was revoked.
    pub revoked: Grant,
    /// The money it has paid, refunds deducted.
    pub paid: Fen,
    /// Revoked for fraud: what it has paid is owed by the holder.
    pub fraud: bool,
}

impl Voucher {
    /// Nothing is left of a voucher in use: it is exhausted, and `true` is given, unless it is suspended.
    pub(crate) fn retire_when_spent(&mut self) -> bool {
        let spent = self.state == VoucherState::Active && self.available == Grant::ZERO && self.held == Grant::ZERO;
        if spent {
            self.state = VoucherState::Exhausted;
        }
        spent
    }

    pub(crate) fn assert_whole(&self) {
        let parts = [self.available, self.held, self.captured, self.lapsed, self.revoked];
        let whole: i64 = parts.iter().map(|part| part.0).sum();
        assert!(
            whole == self.face.0,
            "voucher {} of {} is in parts of {whole}: {parts:?}",
            self.id,
            self.face
        );
        assert!(
            parts.iter().all(|part| *part >= Grant::ZERO),
            "voucher {} has a negative part: {parts:?}",
            self.id
        );
    }
}
