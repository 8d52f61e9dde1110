//! Whether a voucher may pay for a slice, and what its leg pins of the rules of that moment.

use super::unknown;
use crate::books::{Books, Hold, Leg, Life, Slice};
use crate::calendar::{year, year_start};
use crate::facts::Read;
use crate::finding::Check;
use crate::judge::Judge;

/// All of it, in basis points.
const WHOLE: u64 = 10_000;

/// Holder, region, scope, interval, affiliation; and everything that is pinned. What the leg pins is replaced by what it should.
pub(super) fn eligible(
    books: &Books,
    judge: &mut Judge<'_>,
    hold: &Hold,
    slice: &Slice,
    leg: &mut Leg,
    agreement_version: u64,
    what: &str,
) -> Read<()> {
    let at = judge.rules_at;
    let voucher = books
        .voucher(leg.voucher)
        .ok_or_else(|| unknown("voucher", leg.voucher))?;
    let programme = books
        .programme(voucher.programme)
        .ok_or_else(|| unknown("programme", voucher.programme))?;
    let payer = books
        .org(hold.payer)
        .ok_or_else(|| unknown("organisation", hold.payer))?;
    let provider = books
        .org(hold.provider)
        .ok_or_else(|| unknown("organisation", hold.provider))?;
    let site = books.sites.get(&hold.site).ok_or_else(|| unknown("site", hold.site))?;
    let says = |figure: &str| format!("{what}: {figure}");
    let rule = Check::Eligibility;
    judge.expect(
        rule,
        || says("programme of the voucher"),
        voucher.programme,
        leg.programme,
    );
    leg.programme = voucher.programme;
    judge.expect(rule, || says("holder of the voucher"), hold.payer, voucher.holder);
    judge.require(
        rule,
        voucher.life == Life::Active,
        || says("voucher"),
        "Active",
        format!("{:?}", voucher.life),
    );
    let inside = |from: u64, until: u64| (from..until).contains(&at);
    judge.require(
        rule,
        inside(voucher.from, voucher.until),
        || says("voucher is valid"),
        format!("from {} until {}", voucher.from, voucher.until),
        at,
    );
    let (terms, revision) = programme.terms_at(at);
    judge.expect(rule, || says("revision"), revision, leg.revision);
    leg.revision = revision;
    judge.require(
        rule,
        inside(terms.from, terms.until),
        || says("programme is in force"),
        format!("from {} until {}", terms.from, terms.until),
        at,
    );
    judge.require(
        rule,
        terms.kinds.is_empty() || terms.kinds.contains(&payer.kind),
        || says("kind of the holder"),
        format!("one of {:?}", terms.kinds),
        payer.kind,
    );
    judge.require(
        rule,
        terms.regions.is_empty() || terms.regions.contains(&payer.region.into()),
        || says("region of the holder"),
        format!("one of {:?}", terms.regions),
        payer.region,
    );
    judge.require(
        rule,
        payer.group != provider.group,
        || says("control groups of holder and provider"),
        "two",
        format!("{} twice", payer.group),
    );
    let mut agreement = (0, 0, None);
    if site.region != programme.region {
        // Of those that apply, the latest counts.
        let applies = |known: &&crate::books::Agreement| {
            known.issuer == programme.region && inside(known.from, known.until) && known.covers(hold.site, site)
        };
        match books.agreements.iter().rposition(|known| applies(&known)) {
            Some(place) => {
                let known = &books.agreements[place];
                agreement = (place as u32 + 1, known.version, Some(known));
            }
            None => judge.findings.add(
                rule,
                says("scope"),
                format!("an agreement from {} to site {}", programme.region, hold.site),
                "none in force",
            ),
        }
    }
    judge.expect(rule, || says("agreement"), agreement.0, leg.agreement);
    judge.expect(
        rule,
        || says("version of the agreement"),
        agreement.1,
        agreement_version,
    );
    leg.agreement = agreement.0;
    for (rate, (sku, _)) in leg.rates.iter_mut().zip(&hold.lines) {
        let of_class = programme.denomination.is_empty() || programme.denomination == *sku;
        let own = if of_class { terms.rate_of(sku) } else { 0 };
        let expected = agreement.2.map_or(own, |agreement| own.min(agreement.rate_of(sku)));
        judge.expect(rule, || says(&format!("rate for {sku}")), expected, *rate);
        *rate = expected;
    }
    judge.expect(
        rule,
        || says("redeemed by the holder"),
        programme.by_holder,
        leg.by_holder,
    );
    leg.by_holder = programme.by_holder;
    leg.group = payer.group;
    let begins = hold.base.saturating_add(slice.from_ms);
    judge.expect(rule, || says("fiscal year"), year(at), leg.year);
    leg.year = year(at);
    let length_ms = slice.until_ms - slice.from_ms;
    let cover = if terms.expiry_hold {
        length_ms
    } else {
        let mut end = voucher.until.min(terms.until);
        if !terms.carry_over {
            end = end.min(year_start(year(at) + 1));
        }
        end.saturating_sub(begins).min(length_ms)
    };
    judge.expect(rule, || says("cover"), cover, leg.cover_ms);
    leg.cover_ms = cover;
    Ok(())
}

/// Whether the programmes of a slice may pay together, and up to which part of the list price.
pub(super) fn stacking(books: &Books, judge: &mut Judge<'_>, slice: &Slice, number: usize) {
    let mut programmes: Vec<u32> = slice.legs.iter().map(|leg| leg.programme).collect();
    programmes.sort_unstable();
    programmes.dedup();
    let mut most = WHOLE;
    for id in &programmes {
        let Some((terms, _)) = books.programme(*id).map(|programme| programme.terms_at(judge.rules_at)) else {
            continue;
        };
        match terms.stack {
            Some(stack) => most = most.min(stack),
            None => judge.require(
                Check::Eligibility,
                programmes.len() == 1,
                || format!("slice {number}: programme {id} is exclusive"),
                "no other programme",
                format!("programmes {programmes:?}"),
            ),
        }
    }
    judge.require(
        Check::Leg,
        slice.stack_max <= most,
        || format!("slice {number}: stack cap"),
        format!("at most {most}"),
        slice.stack_max,
    );
}
