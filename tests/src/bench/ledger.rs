//! How fast money moves on one core, in memory: no cluster, the ledger alone. Figures are per second of CPU time of the one thread, so that
//! neighbours on the machine count as little as they can; what they do to its caches remains.

use std::hint::black_box;

use hesuan_ledger::types::{
    BasisPoints, Fen, Funding, Grant, HoldKey, Line, OrgId, ProgrammeId, RegionCode, SiteId, Timestamp,
};
use hesuan_ledger::{Funder, HoldRequest, Ledger, NewOrg, NewProgramme, NewVoucher, QuoteRequest, Rate, Terms};
use serde::Serialize;

const REGION: RegionCode = RegionCode(310_117);
const BEGINNING: Timestamp = Timestamp(1_772_323_200_000);
const QUOTES: u64 = 20_000;
const QUOTES_KNOTTED: u64 = 200;

/// One line of `bench ledger --json`.
#[derive(Serialize)]
pub struct LedgerFigures {
    bench: &'static str,
    cycles: u64,
    with_1_000: Spread,
    with_1_000_000: Spread,
    ratio: f64,
    quote_us: Spread,
    quote_knotted_us: Spread,
}

/// The median of some rounds between the least and the most of them.
#[derive(Serialize)]
pub struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

/// Holds that are captured and their rest released, with two voucher legs and a wallet, journal hashing included, a second, in a town of 1,000
/// vouchers and one of 1,000,000; what a quote takes over a holder with 50 vouchers; and over one with 1,000, as many as one may have, that could
/// together pay more than all of one line and nothing of the others, so that for half of them every way to pay is tried in vain.
///
/// # Errors
/// When the CPU time of a thread cannot be read.
pub fn ledger(cycles: u64, rounds: usize) -> anyhow::Result<LedgerFigures> {
    let mut small = Town::new(1_000);
    let mut big = Town::new(1_000_000);
    // By turns, so that what the machine does meanwhile falls on all alike.
    let (mut of_small, mut of_big, mut quotes, mut knotted) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        of_small.push(cycles as f64 / small.run(cycles)?);
        of_big.push(cycles as f64 / big.run(cycles)?);
        quotes.push(small.quote(small.rich, QUOTES)? * 1e6 / QUOTES as f64);
        knotted.push(small.quote(small.knotted, QUOTES_KNOTTED)? * 1e6 / QUOTES_KNOTTED as f64);
    }
    let (with_1_000, with_1_000_000) = (Spread::of(of_small), Spread::of(of_big));
    Ok(LedgerFigures {
        bench: "ledger",
        cycles,
        ratio: with_1_000.median / with_1_000_000.median,
        with_1_000,
        with_1_000_000,
        quote_us: Spread::of(quotes),
        quote_knotted_us: Spread::of(knotted),
    })
}

impl Spread {
    fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let at = |place: usize| figures.get(place).copied().unwrap_or_default();
        Self {
            median: at(figures.len() / 2),
            least: at(0),
            most: at(figures.len().saturating_sub(1)),
        }
    }
}

// Every holder has one voucher of each of two programmes; one has 50 of these, and one 1,000 of two programmes that pay for devices only.
struct Town {
    ledger: Ledger,
    holders: u32,
    rich: OrgId,
    knotted: OrgId,
    jobs: u64,
}

impl Town {
    fn new(vouchers: u32) -> Self {
        let at = BEGINNING;
        let mut ledger = Ledger::new();
        ledger.create_org(&org("provider"), at).expect("well formed");
        ledger
            .register_site(SiteId(1), REGION, OrgId(1), at)
            .expect("well formed");
        let prices = [
            ("cpu".into(), 4_000),
            ("memory".into(), 500),
            ("gpu/a800".into(), 325_000),
        ];
        ledger.set_prices(SiteId(1), &prices, None, at).expect("well formed");
        let programmes = [
            ("city", "*", 3_000),
            ("district", "*", 2_000),
            ("devices of the city", "gpu/a800", 6_000),
            ("devices of the district", "gpu/a800", 6_000),
        ];
        for (name, sku, rate) in programmes {
            ledger
                .create_programme(&programme(name, sku, BasisPoints(rate)), at)
                .expect("well formed");
        }
        let holders = vouchers.div_ceil(2);
        for holder in 0..holders {
            let name = format!("holder {holder}");
            let id = ledger.create_org(&org(&name), at).expect("well formed");
            ledger.credit_wallet(id, Fen(80_000_000), "", at).expect("well formed");
            for programme in 1..=2 {
                give(
                    &mut ledger,
                    id,
                    &name,
                    programme,
                    &format!("V-{holder}-{programme}"),
                    80_000_000,
                );
            }
            ledger.take_journal();
        }
        let rich = collector(&mut ledger, "rich", 1, 50);
        let knotted = collector(&mut ledger, "knotted", 3, 1_000);
        Self {
            ledger,
            holders,
            rich,
            knotted,
            jobs: 0,
        }
    }

    // CPU seconds of so many holds that are settled, at holders far from each other.
    fn run(&mut self, cycles: u64) -> anyhow::Result<f64> {
        let mut request = HoldRequest {
            key: HoldKey {
                job: 0,
                task: 0,
                attempt: 1,
            },
            request: bill(OrgId(1)),
            quote: None,
        };
        let started = cpu_s()?;
        for _ in 0..cycles {
            self.jobs += 1;
            let job = self.jobs;
            let holder = job.wrapping_mul(2_654_435_761) % u64::from(self.holders);
            (request.key.job, request.request.payer) = (job, OrgId(2 + holder as u32));
            let at = Timestamp(BEGINNING.0 + job);
            let hold = self.ledger.hold(&request, at).expect("there is money");
            black_box(self.ledger.settle(hold, 60_000 * (job % 60), at).expect("it is open"));
            if job.is_multiple_of(64) {
                black_box(self.ledger.take_journal());
            }
        }
        Ok(cpu_s()? - started)
    }

    fn quote(&self, payer: OrgId, quotes: u64) -> anyhow::Result<f64> {
        let (request, at) = (bill(payer), self.ledger.time());
        let started = cpu_s()?;
        for _ in 0..quotes {
            let quote = self.ledger.quote(black_box(&request), at);
            black_box(quote.expect("there is a price"));
        }
        Ok(cpu_s()? - started)
    }
}

fn cpu_s() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let ns: u64 = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(ns as f64 / 1e9)
}

fn org(name: &str) -> NewOrg {
    NewOrg {
        name: name.into(),
        region: REGION,
        ..NewOrg::default()
    }
}

// An organisation with small vouchers of two programmes by turns.
fn collector(ledger: &mut Ledger, name: &str, programme: u32, vouchers: u32) -> OrgId {
    let id = ledger.create_org(&org(name), BEGINNING).expect("well formed");
    for n in 0..vouchers {
        let code = format!("{name}-{n}");
        give(ledger, id, name, programme + n % 2, &code, 5_000 + i64::from(n));
    }
    id
}

fn programme(name: &str, sku: &str, rate: BasisPoints) -> NewProgramme {
    NewProgramme {
        name: name.into(),
        region: REGION,
        funders: vec![Funder {
            name: name.into(),
            share: 1,
        }],
        budget: Grant(90_000_000_000_000),
        terms: Terms {
            rates: vec![Rate { sku: sku.into(), rate }],
            ..Terms::default()
        },
        ..NewProgramme::default()
    }
}

fn give(ledger: &mut Ledger, holder: OrgId, name: &str, programme: u32, code: &str, face: i64) {
    let new = NewVoucher {
        code: code.into(),
        holder: name.into(),
        face: Grant(face),
        from: Timestamp(0),
        until: Timestamp::FAR,
    };
    ledger
        .issue_vouchers(ProgrammeId(programme), &[new], BEGINNING)
        .expect("well formed");
    ledger.redeem_voucher(code, holder, BEGINNING).expect("just issued");
}

fn bill(payer: OrgId) -> QuoteRequest {
    let line = |sku: &str, milli_units| Line {
        sku: sku.into(),
        milli_units,
    };
    QuoteRequest {
        payer,
        site: SiteId(1),
        lines: vec![line("cpu", 8_000), line("memory", 32_000), line("gpu/a800", 2_000)],
        walltime_ms_max: 3_600_000,
        funding: Funding::Auto,
        copay_max: None,
        allow_partial: true,
        job: None,
    }
}
