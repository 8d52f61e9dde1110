//! The books as a value: its tables, and what can be read of them.

use std::sync::Arc;

use crate::agreement::Agreement;
use crate::claim::{Claim, Claimable};
use crate::hold::{BoundQuote, Hold};
use crate::journal::{EntryKind, Journal, JournalEntry};
use crate::paged::{PagedMap, PagedVec};
use crate::party::{Funds, Group, Org, Site};
use crate::payment::{FunderAccount, ProviderAccount};
use crate::period::Period;
use crate::programme::Programme;
use crate::rejection::{Rejection, Subject};
use crate::settle::{CaptureWindow, Settled};
use crate::settlement::Settlement;
use crate::sweep::Sweeps;
use crate::tally::{Tally, TallyKey, TotalsByPayer};
use crate::types::{
    AgreementId, ClaimId, Fen, Grant, GroupId, HoldId, HoldKey, OrgId, ProgrammeId, QuoteId, SiteId, Stamp, Timestamp,
    VoucherId,
};
use crate::voucher::{Voucher, VoucherState};

/// Where the natural key of a hold leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyState {
    Open(HoldId),
    // Into `captures`.
    Ended(u64),
}

/// What a cap on one job counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum JobCap {
    Programme(ProgrammeId),
    Agreement(AgreementId),
}

impl JobCap {
    /// What a leg counts in it: programmes count in their denomination, agreements in fen.
    pub(crate) fn counts(self, amount: Fen, grant: Grant) -> i64 {
        match self {
            JobCap::Programme(_) => grant.0,
            JobCap::Agreement(_) => amount.0,
        }
    }
}

/// How much of a job's cap is used, and how many slices and cells count in it: with the last of them the record goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct JobUse {
    pub(crate) used: i64,
    pub(crate) records: u32,
}

/// All money of the cluster. `Clone` is a cheap snapshot: the tables share their pages until written.
///
/// Every changing call checks everything first, in a fixed order, and then changes everything; a rejection changes nothing.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(crate) time: Timestamp,
    pub(crate) treasury: Fen,
    pub(crate) journal: Journal,
    pub(crate) window: CaptureWindow,
    pub(crate) orgs: PagedVec<Org>,
    pub(crate) groups: PagedVec<Group>,
    pub(crate) sites: PagedMap<SiteId, Site>,
    pub(crate) programmes: PagedVec<Programme>,
    pub(crate) agreements: PagedVec<Agreement>,
    pub(crate) vouchers: PagedVec<Voucher>,
    pub(crate) quotes: PagedVec<BoundQuote>,
    pub(crate) holds: PagedVec<Hold>,
    // In order of settlement, for the settlement window.
    pub(crate) captures: PagedVec<Settled>,
    pub(crate) job_use: PagedMap<(u64, JobCap), JobUse>,
    pub(crate) sweeps: Sweeps,
    pub(crate) periods: PagedVec<Period>,
    pub(crate) tallies: PagedMap<TallyKey, Tally>,
    pub(crate) holder_totals: TotalsByPayer,
    pub(crate) settlements: PagedMap<(u32, OrgId), Settlement>,
    pub(crate) claims: PagedVec<Claim>,
    pub(crate) claimable: PagedMap<(OrgId, ProgrammeId), Claimable>,
    pub(crate) funder_accounts: PagedMap<(ProgrammeId, u8), FunderAccount>,
    pub(crate) provider_accounts: PagedMap<OrgId, ProviderAccount>,
    // Indexes: derived from the tables above, not part of a snapshot.
    pub(crate) org_names: PagedMap<Arc<str>, OrgId>,
    pub(crate) group_names: PagedMap<Arc<str>, GroupId>,
    pub(crate) programme_names: PagedMap<Arc<str>, ProgrammeId>,
    pub(crate) voucher_codes: PagedMap<Arc<str>, VoucherId>,
    pub(crate) voucher_ends: PagedMap<(Timestamp, VoucherId), ()>,
    pub(crate) quote_ends: PagedMap<(Timestamp, QuoteId), ()>,
    pub(crate) keys: PagedMap<HoldKey, KeyState>,
    pub(crate) open_claims: PagedMap<(OrgId, ProgrammeId, ClaimId), ()>,
    // By the period they were finished in.
    pub(crate) finished_claims: PagedMap<(u32, ClaimId), ()>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}

impl Ledger {
    /// Empty books.
    pub fn new() -> Self {
        Self {
            time: Timestamp(0),
            treasury: Fen::ZERO,
            journal: Journal::default(),
            window: CaptureWindow::default(),
            orgs: PagedVec::starting_at(1),
            groups: PagedVec::starting_at(1),
            group_names: PagedMap::new(),
            sites: PagedMap::new(),
            programmes: PagedVec::starting_at(1),
            agreements: PagedVec::starting_at(1),
            vouchers: PagedVec::starting_at(1),
            quotes: PagedVec::starting_at(1),
            holds: PagedVec::starting_at(1),
            captures: PagedVec::starting_at(1),
            job_use: PagedMap::new(),
            sweeps: Sweeps::default(),
            periods: PagedVec::starting_at(1),
            tallies: PagedMap::new(),
            holder_totals: TotalsByPayer::default(),
            settlements: PagedMap::new(),
            claims: PagedVec::starting_at(1),
            claimable: PagedMap::new(),
            funder_accounts: PagedMap::new(),
            provider_accounts: PagedMap::new(),
            org_names: PagedMap::new(),
            programme_names: PagedMap::new(),
            voucher_codes: PagedMap::new(),
            voucher_ends: PagedMap::new(),
            quote_ends: PagedMap::new(),
            keys: PagedMap::new(),
            open_claims: PagedMap::new(),
            finished_claims: PagedMap::new(),
        }
    }

    /// The time of the latest change.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// An organisation.
    pub fn org(&self, id: OrgId) -> Option<&Org> {
        self.orgs.get(u64::from(id.0))
    }

    /// An organisation by its name.
    pub fn org_by_name(&self, name: &str) -> Option<&Org> {
        self.org(*self.org_names.get(name)?)
    }

    /// Organisations with ids above `after`, by id.
    pub fn orgs_after(&self, after: OrgId) -> impl Iterator<Item = &Org> {
        self.orgs.iter_from(u64::from(after.0) + 1).map(|(_, org)| org)
    }

    /// A site's region, provider and prices.
    pub fn site(&self, id: SiteId) -> Option<&Site> {
        self.sites.get(&id)
    }

    /// A programme.
    pub fn programme(&self, id: ProgrammeId) -> Option<&Programme> {
        self.programmes.get(u64::from(id.0))
    }

    /// A programme by its name.
    pub fn programme_by_name(&self, name: &str) -> Option<&Programme> {
        self.programme(*self.programme_names.get(name)?)
    }

    /// Programmes with ids above `after`, by id.
    pub fn programmes_after(&self, after: ProgrammeId) -> impl Iterator<Item = &Programme> {
        self.programmes
            .iter_from(u64::from(after.0) + 1)
            .map(|(_, programme)| programme)
    }

    /// A recognition agreement.
    pub fn agreement(&self, id: AgreementId) -> Option<&Agreement> {
        self.agreements.get(u64::from(id.0))
    }

    /// Agreements with ids above `after`, by id.
    pub fn agreements_after(&self, after: AgreementId) -> impl Iterator<Item = &Agreement> {
        self.agreements
            .iter_from(u64::from(after.0) + 1)
            .map(|(_, agreement)| agreement)
    }

    /// A voucher.
    pub fn voucher(&self, id: VoucherId) -> Option<&Voucher> {
        self.vouchers.get(id.0)
    }

    /// A voucher by its code.
    pub fn voucher_by_code(&self, code: &str) -> Option<&Voucher> {
        self.voucher(*self.voucher_codes.get(code)?)
    }

    /// Vouchers with ids above `after`, by id.
    pub fn vouchers_after(&self, after: VoucherId) -> impl Iterator<Item = &Voucher> {
        self.vouchers.iter_from(after.0 + 1).map(|(_, voucher)| voucher)
    }

    /// The holder's vouchers in use: redeemed and neither spent, expired nor revoked; by id.
    pub fn vouchers_in_use(&self, holder: OrgId) -> impl Iterator<Item = &Voucher> {
        let listed = self.org(holder).map_or(&[][..], |org| &org.vouchers);
        listed.iter().filter_map(|id| self.voucher(*id))
    }

    /// An open hold.
    pub fn open_hold(&self, id: HoldId) -> Option<&Hold> {
        self.holds.get(id.0)
    }

    /// The open hold under a key.
    pub fn open_hold_of(&self, key: HoldKey) -> Option<HoldId> {
        match self.keys.get(&key)? {
            KeyState::Open(hold) => Some(*hold),
            KeyState::Ended(_) => None,
        }
    }

    /// Open holds, by id.
    pub fn open_holds(&self) -> impl Iterator<Item = (HoldId, &Hold)> {
        self.holds.iter().map(|(id, hold)| (HoldId(id), hold))
    }

    /// How many holds are open.
    pub fn open_hold_count(&self) -> usize {
        self.holds.len()
    }

    /// A binding quote that is neither taken up nor over; its cover may have ended.
    pub fn bound_quote(&self, id: QuoteId) -> Option<&BoundQuote> {
        self.quotes.get(id.0)
    }

    /// Binding quotes with numbers above `after`, by number.
    pub fn bound_quotes_after(&self, after: QuoteId) -> impl Iterator<Item = (QuoteId, &BoundQuote)> {
        let quotes = self.quotes.iter_from(after.0.saturating_add(1));
        quotes.map(|(id, bound)| (QuoteId(id), bound))
    }

    /// What an organisation can spend; all zero for an unknown one. Vouchers in unit-hours are not money and not counted.
    pub fn funds(&self, org: OrgId) -> Funds {
        let mut funds = Funds::default();
        if let Some(org) = self.org(org) {
            (funds.wallet_available, funds.wallet_held) = (org.available, org.held);
        }
        for voucher in self.vouchers_in_use(org) {
            let programme = self.programme(voucher.programme);
            let money = programme.is_some_and(|programme| programme.unit_hours_of().is_none());
            if voucher.state == VoucherState::Active && money {
                funds.vouchers_available.0 += voucher.available.0;
                funds.vouchers_held.0 += voucher.held.0;
            }
        }
        funds
    }

    /// Journal entries made since the last take. The chain's head and length stay here.
    pub fn take_journal(&mut self) -> Vec<JournalEntry> {
        std::mem::take(&mut self.journal.pending)
    }

    /// Length of the journal and SHA-256 of its last entry.
    pub fn journal_head(&self) -> (u64, [u8; 32]) {
        (self.journal.index, self.journal.head)
    }

    /// Open holds and net captures per programme, control group and fiscal year, in this order.
    pub(crate) fn group_uses(&self) -> Vec<((ProgrammeId, GroupId, u32), Grant)> {
        let of_one = |(id, group): (u64, &Group)| {
            let id = GroupId(id as u32);
            let uses = group.uses.clone().into_iter();
            uses.map(move |known| ((known.programme, id, known.year), known.used))
        };
        let mut uses: Vec<_> = self.groups.iter().flat_map(of_one).collect();
        uses.sort_unstable_by_key(|(key, _)| *key);
        uses
    }

    pub(crate) fn group(&self, id: GroupId) -> &Group {
        let group = self.groups.get(u64::from(id.0));
        group.expect("groups are never removed and ids come from the table")
    }

    pub(crate) fn group_mut(&mut self, id: GroupId) -> &mut Group {
        let group = self.groups.get_mut(u64::from(id.0));
        group.expect("groups are never removed and ids come from the table")
    }

    pub(crate) fn known_org(&self, id: OrgId) -> Result<&Org, Rejection> {
        self.org(id).ok_or_else(|| Rejection::unknown(Subject::Org, id))
    }

    pub(crate) fn known_site(&self, id: SiteId) -> Result<&Site, Rejection> {
        self.site(id).ok_or_else(|| Rejection::unknown(Subject::Site, id))
    }

    pub(crate) fn known_programme(&self, id: ProgrammeId) -> Result<&Programme, Rejection> {
        self.programme(id)
            .ok_or_else(|| Rejection::unknown(Subject::Programme, id))
    }

    pub(crate) fn known_voucher(&self, id: VoucherId) -> Result<&Voucher, Rejection> {
        self.voucher(id).ok_or_else(|| Rejection::unknown(Subject::Voucher, id))
    }

    pub(crate) fn org_mut(&mut self, id: OrgId) -> &mut Org {
        self.orgs
            .get_mut(u64::from(id.0))
            .expect("organisations are never removed and ids come from the table")
    }

    pub(crate) fn programme_mut(&mut self, id: ProgrammeId) -> &mut Programme {
        self.programmes
            .get_mut(u64::from(id.0))
            .expect("programmes are never removed and ids come from the table")
    }

    pub(crate) fn voucher_mut(&mut self, id: VoucherId) -> &mut Voucher {
        self.vouchers
            .get_mut(id.0)
            .expect("vouchers are never removed and ids come from the table")
    }

    /// Closes the entry being written. Asserts that debits and credits of all books are equal, in fen and in unit-hours.
    pub(crate) fn write(&mut self, kind: EntryKind, stamp: Stamp) {
        let totals = &self.journal.totals;
        assert!(
            totals.are_balanced(),
            "debits and credits of {:?} after a {kind:?}",
            totals.sides()
        );
        self.time = stamp.at;
        self.journal.write(kind, stamp);
        if self.current_period().is_none() {
            self.begin_periods(stamp.at);
        }
    }

    /// Log entries come in order of time; a ledger that went back would let an expired voucher pay.
    pub(crate) fn assert_time(&self, stamp: Stamp) {
        assert!(
            stamp.at >= self.time,
            "a change at {} ms after one at {} ms",
            stamp.at,
            self.time
        );
    }
}
