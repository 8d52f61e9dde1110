//! A small world to run random commands in, the commands, a fold of the journal, and a naive second opinion on subsidies that shares no code
//! with the ledger.

mod cells;
pub(crate) mod commands;
mod fold;
mod opinion;
pub(crate) mod pace;

pub(crate) use fold::Fold;

use hesuan_ledger::types::{
    AgreementId, BasisPoints, Fen, Funding, Grant, HoldId, Line, OrgId, ProgrammeId, QuoteId, RegionCode, SiteId,
    Timestamp, VoucherId,
};
use hesuan_ledger::{
    BudgetPolicy, CaptureWindow, Denomination, Funder, Ledger, NewAgreement, NewOrg, NewProgramme, NewVoucher, OrgKind,
    QuoteRequest, Rate, Redemption, Rejection, Stacking, Terms,
};

const HOUR: u64 = 3_600_000;
// 2026-12-28 00:00 in Shanghai: the turn of the year comes by in most runs.
const START: Timestamp = Timestamp(1_798_387_200_000);
pub(crate) const YEAR_END: u64 = 1_798_732_800_000;
const HOME: RegionCode = RegionCode(310_117);
const ABROAD: RegionCode = RegionCode(330_100);
const FAR_AWAY: RegionCode = RegionCode(340_100);
// Amounts of a programme in unit-hours are drawn in hundredths of an hour.
const UNITS: i64 = Grant::UNIT_HOUR.0 / 100;

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) ledger: Ledger,
    pub(crate) at: Timestamp,
    pub(crate) quotes: Vec<(QuoteId, QuoteRequest)>,
    codes: u32,
    keeps_captures: bool,
}

impl World {
    /// Three sites (at home, in a region that recognises, in one that does not), three holders (two under one controller) and
    /// five programmes whose terms come from the seed; in half the worlds the last one grants card-hours.
    pub(crate) fn new(seed: u64) -> Self {
        let mut ledger = Ledger::new();
        let org = |name: &str, kind, region, group: &str| NewOrg {
            name: name.into(),
            kind,
            region,
            control_group: group.into(),
            credit_code: "".into(),
        };
        let orgs = [
            org("provider", OrgKind::Provider, HOME, ""),
            org("first", OrgKind::Enterprise, HOME, "pair"),
            org("second", OrgKind::Lab, HOME, "pair"),
            org("third", OrgKind::Enterprise, ABROAD, ""),
        ];
        for org in &orgs {
            ledger.create_org(org, START).expect("well formed");
        }
        for holder in 2..=4 {
            ledger
                .credit_wallet(OrgId(holder), Fen(3_000), "", START)
                .expect("well formed");
        }
        for (site, region) in [(1, HOME), (2, ABROAD), (3, FAR_AWAY)] {
            ledger
                .register_site(SiteId(site), region, OrgId(1), START)
                .expect("well formed");
            let prices = [
                ("cpu".into(), 1_000 + 333 * u64::from(site)),
                ("gpu/a800".into(), 17_777),
                ("storage".into(), 100),
            ];
            ledger
                .set_prices(SiteId(site), &prices, None, START)
                .expect("well formed");
        }
        for index in 0..5u32 {
            let dice = seed.rotate_left(index * 11);
            let in_units = index == 4 && seed & 16 == 0;
            let scale = if in_units { UNITS } else { 1 };
            let new = NewProgramme {
                denomination: if in_units {
                    Denomination::UnitHours("gpu/a800".into())
                } else {
                    Denomination::Money
                },
                name: format!("programme {index}").into(),
                region: if dice & 1 == 0 { HOME } else { ABROAD },
                funders: (0..1 + (dice >> 1) % 3)
                    .map(|n| Funder {
                        name: format!("funder {n}").into(),
                        share: 1 + n as u32 * 2,
                    })
                    .collect(),
                budget: Grant((500 + (dice >> 3) as i64 % 20_000) * scale),
                budget_policy: if dice >> 17 & 1 == 0 {
                    BudgetPolicy::CommitAtIssue
                } else {
                    BudgetPolicy::CommitAtHold
                },
                redemption: if dice >> 18 & 3 == 0 {
                    Redemption::Holder
                } else {
                    Redemption::Provider
                },
                terms: terms(dice >> 20, in_units),
                ..NewProgramme::default()
            };
            ledger.create_programme(&new, START).expect("well formed");
        }
        for (issuer_region, provider_region, rate) in [(HOME, ABROAD, 2_500), (ABROAD, HOME, 9_000)] {
            let new = NewAgreement {
                issuer_region,
                provider_region: Some(provider_region),
                sites: Vec::new(),
                skus: Vec::new(),
                rate: BasisPoints(rate),
                cap_per_job: (seed & 4 == 0).then_some(Fen(150)),
                from: Timestamp(0),
                until: Timestamp::FAR,
            };
            ledger.create_agreement(&new, START).expect("well formed");
        }
        // Half the worlds keep every capture, so that the model can see what counts in the caps.
        let keeps_captures = seed & 8 == 0;
        let window = if keeps_captures {
            (u64::MAX, u64::MAX)
        } else {
            (20 * HOUR, 3)
        };
        ledger.set_capture_window(CaptureWindow {
            keep_ms: window.0,
            count_max: window.1,
        });
        Self {
            ledger,
            at: START,
            quotes: Vec::new(),
            codes: 0,
            keeps_captures,
        }
    }

    pub(crate) fn holder(&self, index: u8) -> OrgId {
        OrgId(2 + u32::from(index % 3))
    }

    pub(crate) fn site(&self, index: u8) -> SiteId {
        SiteId(1 + u32::from(index % 3))
    }

    pub(crate) fn programme(&self, index: u8) -> ProgrammeId {
        ProgrammeId(1 + u32::from(index % 5))
    }

    pub(crate) fn agreement(&self, index: u8) -> AgreementId {
        AgreementId(u32::from(index))
    }

    pub(crate) fn voucher(&self, index: u8) -> VoucherId {
        VoucherId(1 + u64::from(index) % 12)
    }

    pub(crate) fn quote(&self, index: u8) -> Option<(QuoteId, QuoteRequest)> {
        self.quotes.get(usize::from(index) % self.quotes.len().max(1)).cloned()
    }

    pub(crate) fn open_hold(&self, index: u8) -> Option<(HoldId, u64)> {
        let open: Vec<_> = self
            .ledger
            .open_holds()
            .map(|(id, hold)| (id, hold.pinned.walltime_ms_max))
            .collect();
        open.get(usize::from(index) % open.len().max(1)).copied()
    }

    /// Cores become dearer or cheaper, or cards, or cards come for nothing or next to it.
    pub(crate) fn price(&mut self, site: u8, price: u16) -> Result<(), Rejection> {
        let price = u64::from(price);
        let (sku, price) = match price % 8 {
            0 => ("gpu/a800", price / 8 % 3),
            1 | 2 => ("gpu/a800", price),
            _ => ("cpu", price),
        };
        self.ledger
            .set_prices(self.site(site), &[(sku.into(), price)], None, self.at)
            .map(drop)
    }

    /// Every capture stays open to refunds.
    pub(crate) fn keep_all(&mut self) {
        self.keeps_captures = true;
        self.ledger.set_capture_window(CaptureWindow {
            keep_ms: u64::MAX,
            count_max: u64::MAX,
        });
    }

    /// Whether a programme grants unit-hours.
    pub(crate) fn in_units(&self, programme: ProgrammeId) -> bool {
        self.ledger
            .programme(programme)
            .is_some_and(|known| known.unit_hours_of().is_some())
    }

    /// A drawn amount in the programme's denomination.
    pub(crate) fn grant(&self, programme: ProgrammeId, amount: u16) -> Grant {
        let scale = if self.in_units(programme) { UNITS } else { 1 };
        Grant(i64::from(amount) * scale)
    }

    /// Issues a voucher and puts it into use.
    pub(crate) fn issue(&mut self, programme: u8, holder: u8, face: u16, lasts: u8) -> Result<(), Rejection> {
        let (holder, programme) = (self.holder(holder), self.programme(programme));
        self.codes += 1;
        let code = format!("V-{}", self.codes);
        let new = NewVoucher {
            code: code.as_str().into(),
            holder: self.ledger.org(holder).expect("made above").registered.name.clone(),
            face: self.grant(programme, face),
            from: Timestamp(0),
            until: Timestamp(self.at.0 + u64::from(lasts) * HOUR),
        };
        self.ledger.issue_vouchers(programme, &[new], self.at)?;
        self.ledger
            .redeem_voucher(&code, holder, self.at)
            .expect("just issued to this holder");
        Ok(())
    }

    /// Raises one bound of one programme.
    pub(crate) fn raise(&mut self, index: u8) {
        let id = self.programme(index);
        let known = self.ledger.programme(id).expect("made above");
        let mut terms = known.terms_at(self.at).0.clone();
        let budget = Grant(known.budget.0 + 777);
        for rate in &mut terms.rates {
            rate.rate = BasisPoints((rate.rate.0 + 1_000).min(10_000));
        }
        terms.cap_per_control_group = terms.cap_per_control_group.map(|cap| Grant(cap.0 + 100));
        terms.cap_per_job = terms.cap_per_job.map(|cap| Grant(cap.0 + 100));
        self.ledger
            .set_budget(id, budget, self.at)
            .expect("a budget may be raised");
        self.ledger
            .revise_programme(id, &terms, None, false, self.at)
            .expect("terms may be revised");
    }
}

/// Terms from a seed; storage is never subsidised, and unit-hours pay for cards only.
pub(crate) fn terms(dice: u64, in_units: bool) -> Terms {
    let scale = if in_units { UNITS } else { 1 };
    let skip = usize::from(in_units);
    Terms {
        rates: [
            Rate {
                sku: "*".into(),
                rate: BasisPoints(1 + (dice % 10_000) as u32),
            },
            Rate {
                sku: "gpu/a800".into(),
                rate: BasisPoints(1 + (dice >> 7) as u32 % 10_000),
            },
        ][skip..]
            .to_vec(),
        excluded_skus: vec!["storage".into()],
        cap_per_control_group: (dice >> 14 & 3 == 0).then_some(Grant((1 + (dice >> 16) as i64 % 2_000) * scale)),
        cap_per_job: (dice >> 17 & 3 == 0).then_some(Grant((1 + (dice >> 19) as i64 % 300) * scale)),
        holder_kinds: if dice >> 21 & 3 == 0 {
            vec![OrgKind::Enterprise]
        } else {
            Vec::new()
        },
        stacking: match dice >> 23 & 7 {
            0 => Stacking::Exclusive,
            1 => Stacking::Stackable {
                total_max: BasisPoints(5_000),
            },
            2 => Stacking::Stackable {
                total_max: BasisPoints(8_001),
            },
            _ => Stacking::Stackable {
                total_max: BasisPoints::WHOLE,
            },
        },
        carry_over: dice >> 26 & 1 == 0,
        reinstate_refunds: dice >> 27 & 1 == 0,
        ..Terms::default()
    }
}

pub(crate) fn request(
    payer: OrgId,
    site: SiteId,
    amounts: [(&str, u8); 3],
    hours: u16,
    wallet_only: bool,
) -> QuoteRequest {
    let lines = amounts.iter().filter(|(sku, amount)| *amount > 0 || *sku == "cpu");
    QuoteRequest {
        payer,
        site,
        lines: lines
            .map(|(sku, amount)| Line {
                sku: (*sku).into(),
                milli_units: u64::from(*amount) * 777,
            })
            .collect(),
        walltime_ms_max: u64::from(hours) * HOUR / 2 + 1,
        funding: if wallet_only {
            Funding::WalletOnly
        } else {
            Funding::Auto
        },
        copay_max: None,
        allow_partial: true,
        job: None,
    }
}

/// The books as bytes.
pub(crate) fn bytes(ledger: &Ledger) -> Vec<u8> {
    let mut bytes = Vec::new();
    ledger.encode_snapshot(&mut |chunk| bytes.extend_from_slice(chunk));
    bytes
}
