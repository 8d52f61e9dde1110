//! How fast money moves on one core: hold and settle with two voucher legs and a wallet, journal hashing included; a quote over a
//! holder with 50 vouchers; a snapshot's clone.
//! `cargo run --release -p hesuan-ledger --example cycles [VOUCHERS]`

use std::time::Instant;

use hesuan_ledger::types::{
    BasisPoints, Fen, Funding, Grant, HoldKey, Line, OrgId, ProgrammeId, RegionCode, SiteId, Timestamp,
};
use hesuan_ledger::{Funder, HoldRequest, Ledger, NewOrg, NewProgramme, NewVoucher, QuoteRequest, Rate, Terms};

const REGION: RegionCode = RegionCode(310_117);

fn main() {
    let vouchers = std::env::args()
        .nth(1)
        .map_or(1_000, |count| count.parse().expect("the number of vouchers"));
    let cycles: u64 = std::env::args()
        .nth(2)
        .map_or(300_000, |count| count.parse().expect("cycles"));
    let quotes: u64 = std::env::args()
        .nth(3)
        .map_or(20_000, |count| count.parse().expect("quotes"));
    let at = Timestamp(1_772_323_200_000);
    let (mut ledger, holders) = town(vouchers, at);

    let mut request = HoldRequest {
        key: HoldKey {
            job: 0,
            task: 0,
            attempt: 1,
        },
        request: bill(OrgId(1)),
        quote: None,
    };
    let (started, cpu) = (Instant::now(), cpu_s());
    for job in 1..=cycles {
        let holder = OrgId(2 + (job.wrapping_mul(2_654_435_761) % u64::from(holders)) as u32);
        (request.key.job, request.request.payer) = (job, holder);
        let at = Timestamp(at.0 + job);
        let hold = ledger.hold(&request, at).expect("there is money");
        ledger.settle(hold, 60_000 * (job % 60), at).expect("it is open");
        if job % 64 == 0 {
            ledger.take_journal();
        }
    }
    println!(
        "{:.0} cycles/cpu-s {:.0} cycles/s with {vouchers} vouchers",
        cycles as f64 / (cpu_s() - cpu),
        cycles as f64 / started.elapsed().as_secs_f64()
    );

    let rich = ledger
        .create_org(&org("rich"), Timestamp(at.0 + cycles))
        .expect("well formed");
    let now = Timestamp(at.0 + cycles);
    ledger
        .credit_wallet(rich, Fen(1_000_000), "", now)
        .expect("well formed");
    let batch: Vec<NewVoucher> = (0..50)
        .map(|n| voucher(&format!("rich-{n}"), "rich", 5_000 + n))
        .collect();
    for (index, new) in batch.iter().enumerate() {
        ledger
            .issue_vouchers(ProgrammeId(1 + index as u32 % 2), std::slice::from_ref(new), now)
            .expect("well formed");
        ledger.redeem_voucher(&new.code, rich, now).expect("just issued");
    }
    let request = bill(rich);
    let (started, cpu) = (Instant::now(), cpu_s());
    for _ in 0..quotes {
        std::hint::black_box(
            ledger
                .quote(std::hint::black_box(&request), now)
                .expect("there is a price"),
        );
    }
    println!(
        "{:.2} cpu us {:.2} us a quote over 50 vouchers",
        (cpu_s() - cpu) * 1e6 / quotes as f64,
        started.elapsed().as_secs_f64() * 1e6 / quotes as f64
    );

    if quotes == 0 {
        return;
    }
    let started = Instant::now();
    let clone = ledger.clone();
    println!("{:.3} ms a clone", started.elapsed().as_secs_f64() * 1e3);
    let (started, mut bytes) = (Instant::now(), 0);
    clone.encode_snapshot(&mut |chunk| bytes += chunk.len());
    println!(
        "{:.0} ms to encode {bytes} bytes",
        started.elapsed().as_secs_f64() * 1e3
    );
}

fn cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ')
        .next()
        .and_then(|ns| ns.parse::<f64>().ok())
        .expect("a number")
        / 1e9
}

// Every holder has one voucher of each of two programmes.
fn town(vouchers: u32, at: Timestamp) -> (Ledger, u32) {
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
    for (name, rate) in [("city", 3_000), ("district", 2_000)] {
        let rates = vec![Rate {
            sku: "*".into(),
            rate: BasisPoints(rate),
        }];
        let new = NewProgramme {
            name: name.into(),
            region: REGION,
            funders: vec![Funder {
                name: name.into(),
                share: 1,
            }],
            budget: Grant(90_000_000_000_000),
            terms: Terms {
                rates,
                ..Terms::default()
            },
            ..NewProgramme::default()
        };
        ledger.create_programme(&new, at).expect("well formed");
    }
    let holders = vouchers.div_ceil(2);
    for holder in 0..holders {
        let name = format!("holder {holder}");
        let id = ledger.create_org(&org(&name), at).expect("well formed");
        ledger.credit_wallet(id, Fen(80_000_000), "", at).expect("well formed");
        for programme in 1..=2 {
            let code = format!("V-{holder}-{programme}");
            ledger
                .issue_vouchers(ProgrammeId(programme), &[voucher(&code, &name, 80_000_000)], at)
                .expect("well formed");
            ledger.redeem_voucher(&code, id, at).expect("just issued");
        }
        ledger.take_journal();
    }
    (ledger, holders)
}

fn org(name: &str) -> NewOrg {
    NewOrg {
        name: name.into(),
        region: REGION,
        ..NewOrg::default()
    }
}

fn voucher(code: &str, holder: &str, face: i64) -> NewVoucher {
    NewVoucher {
        code: code.into(),
        holder: holder.into(),
        face: Grant(face),
        from: Timestamp(0),
        until: Timestamp::FAR,
    }
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
