//! The state of the books as far as checking needs it: balances, who is who, rules, open holds, what can still be refunded, periods.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::chart::{Account, KINDS, TABLE};
use crate::terms::{Terms, matches};

/// An organisation.
#[derive(Clone, Debug)]
pub(crate) struct Org {
    pub(crate) name: String,
    pub(crate) kind: u64,
    pub(crate) region: u32,
    /// Number of its control group.
    pub(crate) group: u32,
}

/// A data centre.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) region: u32,
    pub(crate) provider: u32,
    pub(crate) sheets: u64,
    /// Per class its prices: in force from, version of the sheet, milli-fen per unit-hour.
    pub(crate) prices: HashMap<String, Vec<(u64, u64, u64)>>,
}

impl Site {
    /// The price of a class in force at an instant and the version of its sheet.
    pub(crate) fn price(&self, sku: &str, at: u64) -> Option<(u64, u64)> {
        let begun = self.prices.get(sku)?.iter().filter(|(from, ..)| *from <= at);
        begun.max().map(|(_, version, price)| (*price, *version))
    }
}

/// A programme.
#[derive(Clone, Debug)]
pub(crate) struct Programme {
    pub(crate) name: String,
    pub(crate) region: u32,
    pub(crate) budget: i128,
    pub(crate) commit_at_hold: bool,
    pub(crate) by_holder: bool,
    /// 0 = none.
    pub(crate) fiscal_year: u64,
    /// The class of which unit-hours are granted; empty = money.
    pub(crate) denomination: String,
    pub(crate) funders: Vec<(String, i128)>,
    /// In force from, by place; sorted.
    pub(crate) revisions: Vec<(u64, Terms)>,
}

impl Programme {
    /// The terms in force at an instant (before the first: the first) and their number, from 1.
    pub(crate) fn terms_at(&self, at: u64) -> (&Terms, u64) {
        // One that was replaced before it was in force never begins.
        let latest = self.revisions.iter().rposition(|(from, _)| *from <= at).unwrap_or(0);
        (&self.revisions[latest].1, latest as u64 + 1)
    }

    pub(crate) fn terms_of(&self, revision: u64) -> Option<&Terms> {
        let place = usize::try_from(revision.checked_sub(1)?).ok()?;
        self.revisions.get(place).map(|(_, terms)| terms)
    }

    pub(crate) fn shares(&self) -> Vec<i128> {
        self.funders.iter().map(|(_, share)| *share).collect()
    }
}

/// A recognition agreement.
#[derive(Clone, Debug)]
pub(crate) struct Agreement {
    pub(crate) version: u64,
    pub(crate) issuer: u32,
    /// 0 = the sites named.
    pub(crate) provider_region: u32,
    pub(crate) sites: Vec<u32>,
    pub(crate) skus: Vec<String>,
    pub(crate) rate: u64,
    pub(crate) cap: Option<i128>,
    pub(crate) from: u64,
    pub(crate) until: u64,
}

impl Agreement {
    pub(crate) fn covers(&self, number: u32, site: &Site) -> bool {
        self.sites.contains(&number) || (self.provider_region != 0 && self.provider_region == site.region)
    }

    pub(crate) fn rate_of(&self, sku: &str) -> u64 {
        let named = self.skus.is_empty() || self.skus.iter().any(|pattern| matches(pattern, sku));
        if named { self.rate } else { 0 }
    }
}

/// Where a voucher is in its life. One that is spent is an active one of which nothing is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Issued,
    Active,
    Suspended,
    Expired,
    Revoked,
}

/// A voucher.
#[derive(Clone, Debug)]
pub(crate) struct Voucher {
    pub(crate) programme: u32,
    pub(crate) holder: u32,
    pub(crate) from: u64,
    pub(crate) until: u64,
    pub(crate) life: Life,
    pub(crate) fraud: bool,
    /// Captured less refunded, in fen.
    pub(crate) paid: i128,
}

impl Voucher {
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.life, Life::Expired | Life::Revoked)
    }
}

/// What a leg of a slice pinned.
#[derive(Clone, Debug)]
pub(crate) struct Leg {
    pub(crate) voucher: u64,
    pub(crate) programme: u32,
    pub(crate) revision: u64,
    pub(crate) agreement: u32,
    pub(crate) by_holder: bool,
    pub(crate) year: u64,
    /// The payer's control group when it was pinned.
    pub(crate) group: u32,
    pub(crate) cover_ms: u64,
    pub(crate) amount: i128,
    pub(crate) grant: i128,
    /// Per line, basis points.
    pub(crate) rates: Vec<u64>,
}

/// A part of a hold's time.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    pub(crate) from_ms: u64,
    pub(crate) until_ms: u64,
    pub(crate) stack_max: u64,
    /// Per line.
    pub(crate) prices: Vec<u64>,
    pub(crate) gross: i128,
    pub(crate) wallet: i128,
    pub(crate) legs: Vec<Leg>,
}

/// What a hold belongs to for ever.
pub(crate) type Key = (u64, u32, u32);

/// An open hold, or a binding quote.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    /// `None` for a quote.
    pub(crate) key: Option<Key>,
    pub(crate) payer: u32,
    /// Where the payer was registered then.
    pub(crate) payer_region: u32,
    pub(crate) site: u32,
    pub(crate) provider: u32,
    /// When use begins; for a quote, when it ends.
    pub(crate) base: u64,
    pub(crate) limit_ms: u64,
    pub(crate) lines: Vec<(String, u64)>,
    /// The open ones.
    pub(crate) slices: Vec<Slice>,
    pub(crate) cells: Vec<Cell>,
    /// Per cell that was captured while the hold goes on, its slice: if less was used it is counted anew.
    pub(crate) past: Vec<Slice>,
}

/// What was captured for a part of a hold's time, and what of it has not gone back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cell {
    pub(crate) period: u32,
    pub(crate) copay: i128,
    pub(crate) legs: Vec<CellLeg>,
}

/// A leg of a cell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CellLeg {
    pub(crate) voucher: u64,
    pub(crate) programme: u32,
    pub(crate) revision: u32,
    pub(crate) agreement: u32,
    pub(crate) year: u32,
    pub(crate) group: u32,
    /// The site's region, or the one of the payer at the hold when the holder redeems.
    pub(crate) payee_region: u32,
    pub(crate) by_holder: bool,
    pub(crate) amount: i128,
    pub(crate) grant: i128,
    pub(crate) funders: Vec<i128>,
}

/// A hold that is over but can be refunded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ended {
    pub(crate) payer: u32,
    pub(crate) site: u32,
    pub(crate) provider: u32,
    pub(crate) cells: Vec<Cell>,
}

/// What a cap per job counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum JobCap {
    /// In the programme's denomination.
    Programme(u32),
    /// In fen.
    Agreement(u32),
}

/// Everything that later entries are held against.
#[derive(Debug, Default)]
pub(crate) struct Books {
    balances: HashMap<Account, i128>,
    /// In fen.
    totals: [i128; KINDS],
    /// In milli-unit-seconds, by class.
    unit_totals: BTreeMap<String, [i128; KINDS]>,
    pub(crate) orgs: Vec<Org>,
    pub(crate) org_names: HashSet<String>,
    pub(crate) credit_codes: HashSet<String>,
    /// Control groups by name.
    pub(crate) groups: HashMap<String, u32>,
    pub(crate) sites: BTreeMap<u32, Site>,
    pub(crate) programmes: Vec<Programme>,
    pub(crate) agreements: Vec<Agreement>,
    pub(crate) vouchers: Vec<Voucher>,
    pub(crate) codes: HashSet<String>,
    pub(crate) quotes: HashMap<u64, Hold>,
    pub(crate) holds: HashMap<u64, Hold>,
    pub(crate) last_quote: u64,
    pub(crate) last_hold: u64,
    pub(crate) open_keys: BTreeMap<Key, u64>,
    /// Packed; see [`crate::ended`].
    pub(crate) ended: HashMap<Key, Box<[u8]>>,
    /// Held and captured per programme, control group and year.
    pub(crate) group_use: HashMap<(u32, u32, u64), i128>,
    /// Held and captured per job.
    pub(crate) job_use: HashMap<(u64, JobCap), i128>,
    pub(crate) closing: crate::closing::Closing,
}

fn place<T>(list: &[T], id: u64) -> Option<&T> {
    list.get(usize::try_from(id.checked_sub(1)?).ok()?)
}

impl Books {
    pub(crate) fn balance(&self, account: Account) -> i128 {
        self.balances.get(&account).copied().unwrap_or(0)
    }

    /// Sum of the balances in fen of a kind of accounts.
    pub(crate) fn total(&self, kind: usize) -> i128 {
        self.totals[kind]
    }

    /// Sums of the balances in milli-unit-seconds, by class.
    pub(crate) fn unit_totals(&self) -> &BTreeMap<String, [i128; KINDS]> {
        &self.unit_totals
    }

    // Where an account is summed up.
    fn total_mut(&mut self, account: Account) -> &mut i128 {
        let class = self
            .unit_of(account)
            .and_then(|programme| self.programme(programme))
            .map(|programme| &programme.denomination)
            .filter(|class| !class.is_empty());
        match class.cloned() {
            Some(class) => &mut self.unit_totals.entry(class).or_default()[account.kind()],
            None => &mut self.totals[account.kind()],
        }
    }

    /// Moves an amount. Gives the accounts that fell below zero by it, with their balances.
    pub(crate) fn transfer(&mut self, debit: Account, credit: Account, amount: i128) -> Vec<(Account, i128)> {
        let mut below = Vec::new();
        for (account, raises) in [(debit, debit.is_debit()), (credit, !credit.is_debit())] {
            let by = if raises { amount } else { -amount };
            let balance = self.balances.entry(account).or_default();
            *balance += by;
            if *balance < 0 && by < 0 {
                below.push((account, *balance));
            }
            if *balance == 0 {
                self.balances.remove(&account);
            }
            *self.total_mut(account) += by;
        }
        below
    }

    /// Debits less credits: of money accounts, of grants in money, and of grants in unit-hours.
    pub(crate) fn imbalance(&self) -> [i128; 3] {
        let mut sums = [0; 3];
        let sign = |is_debit: bool| if is_debit { 1 } else { -1 };
        for ((_, is_debit, is_grant), total) in TABLE.iter().zip(self.totals) {
            sums[usize::from(*is_grant)] += sign(*is_debit) * total;
        }
        for totals in self.unit_totals.values() {
            let sides = TABLE.iter().zip(totals);
            sums[2] += sides
                .map(|((_, is_debit, _), total)| sign(*is_debit) * total)
                .sum::<i128>()
                .abs();
        }
        sums
    }

    pub(crate) fn org(&self, id: u32) -> Option<&Org> {
        place(&self.orgs, id.into())
    }

    pub(crate) fn programme(&self, id: u32) -> Option<&Programme> {
        place(&self.programmes, id.into())
    }

    pub(crate) fn agreement(&self, id: u32) -> Option<&Agreement> {
        place(&self.agreements, id.into())
    }

    pub(crate) fn voucher(&self, id: u64) -> Option<&Voucher> {
        place(&self.vouchers, id)
    }

    pub(crate) fn voucher_mut(&mut self, id: u64) -> Option<&mut Voucher> {
        self.vouchers.get_mut(usize::try_from(id.checked_sub(1)?).ok()?)
    }

    /// The programme whose denomination an account is kept in; `None` for fen, or when there is no such programme or voucher.
    pub(crate) fn unit_of(&self, account: Account) -> Option<u32> {
        match account {
            Account::Uncalled(id) | Account::Unfunded(id) | Account::Budget(id) => Some(id),
            Account::Voucher(id) | Account::VoucherHeld(id) => self.voucher(id).map(|voucher| voucher.programme),
            _ => None,
        }
    }

    /// Where the free part of a programme's vouchers comes from and goes back to.
    pub(crate) fn source(&self, programme: u32) -> Account {
        match self.programme(programme) {
            Some(known) if known.commit_at_hold => Account::Unfunded(programme),
            _ => Account::Budget(programme),
        }
    }

    /// The provider that is paid a line; `None` when a holder is.
    pub(crate) fn provider_of(&self, key: &crate::closing::TallyKey) -> Option<u32> {
        let by_holder = self
            .programme(key.programme)
            .is_some_and(|programme| programme.by_holder);
        let site = self.sites.get(&key.site).filter(|_| !by_holder);
        site.map(|site| site.provider)
    }

    pub(crate) fn count_group(&mut self, programme: u32, group: u32, year: u64, by: i128) {
        *self.group_use.entry((programme, group, year)).or_default() += by;
    }

    pub(crate) fn count_job(&mut self, job: u64, cap: JobCap, by: i128) {
        let used = self.job_use.entry((job, cap)).or_default();
        *used += by;
        if *used == 0 {
            self.job_use.remove(&(job, cap));
        }
    }
}
