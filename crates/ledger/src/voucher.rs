//! Vouchers: a face value for one holder, spent over many jobs, for a time.

use std::sync::Arc;

use crate::types::{Fen, OrgId, ProgrammeId, Timestamp, VoucherId};

/// A voucher to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewVoucher {
    /// Unique; what the holder redeems.
    pub code: Box<str>,
    /// The holder's name.
    pub holder: Box<str>,
    /// Above zero.
    pub face: Fen,
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
    /// Taken back; running jobs keep their cover.
    Revoked,
}

/// A voucher: `face = available + held + captured + lapsed + revoked`, always.
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
    pub face: Fen,
    /// Free.
    pub available: Fen,
    /// On open holds and binding quotes.
    pub held: Fen,
    /// Spent, refunds deducted.
    pub captured: Fen,
    /// Left when it expired, or given back to the fund by a refund.
    pub lapsed: Fen,
    /// Left when it was revoked.
    pub revoked: Fen,
}

impl Voucher {
    pub(crate) fn assert_whole(&self) {
        let parts = [self.available, self.held, self.captured, self.lapsed, self.revoked];
        let whole: i64 = parts.iter().map(|part| part.0).sum();
        assert!(
            whole == self.face.0,
            "voucher {} of {} fen is in parts of {whole} fen: {parts:?}",
            self.id,
            self.face
        );
        assert!(
            parts.iter().all(|part| *part >= Fen::ZERO),
            "voucher {} has a negative part: {parts:?}",
            self.id
        );
    }
}
