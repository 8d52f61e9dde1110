//! Vouchers decide where it is cheapest; money in flight is not spent twice.

use hesuan_ledger::types::{BasisPoints, Grant};
use hesuan_ledger::{BudgetPolicy, Funder, NewProgramme, NewVoucher, Rate, Terms};

use super::*;
use crate::types::{Funding, OrgId, RequestId};

impl World {
    /// A voucher of `fen` for `lab`, redeemed, that pays half of everything in the region.
    fn voucher(&mut self, region: u32, fen: i64) {
        self.voucher_of(region, fen, 10_000_000, BudgetPolicy::CommitAtIssue);
    }

    fn voucher_of(&mut self, region: u32, fen: i64, budget: i64, budget_policy: BudgetPolicy) {
        let programme = format!("half-{region}");
        self.apply(Body::Money(MoneyCommand::CreateProgramme(NewProgramme {
            name: (*programme).into(),
            region: RegionCode(region),
            funders: vec![Funder {
                name: "city".into(),
                share: 1,
            }],
            budget: Grant(budget),
            budget_policy,
            terms: Terms {
                rates: vec![Rate {
                    sku: "*".into(),
                    rate: BasisPoints(5_000),
                }],
                ..Terms::default()
            },
            ..NewProgramme::default()
        })));
        let (code, until) = (format!("code-{region}"), Timestamp(self.now + 1_000 * HOUR));
        let (from, face) = (Timestamp(0), Grant(fen));
        let voucher = NewVoucher {
            code: (*code).into(),
            holder: "lab".into(),
            face,
            from,
            until,
        };
        self.apply(Body::Money(MoneyCommand::IssueVouchers {
            programme: (*programme).into(),
            vouchers: vec![voucher],
            unit_hours: false,
        }));
        let lab = Body::CreatePrincipal(NewPrincipal {
            name: format!("member-{region}").into(),
            roles: vec![Role::Member],
            org: Some("lab".into()),
            site: None,
            region: None,
            token_sha256: [200; 32],
        });
        let Reply::Number(member) = self.apply(lab) else {
            panic!("a principal has a number")
        };
        let redeem = Body::Money(MoneyCommand::RedeemVoucher { code: (*code).into() });
        let made_at = u128::from(self.now) << 80;
        let id = Some(RequestId(made_at | u128::from(region)));
        self.apply_command(Command {
            principal: PrincipalId(member),
            request_id: id,
            digest: [0; 16],
            body: redeem,
        })
        .expect("the holder redeems");
    }

    fn sites(&self, placed: &[Decision]) -> Vec<SiteId> {
        placed.iter().map(|decision| self.site_of(decision)).collect()
    }
}

#[test]
fn a_voucher_makes_the_dearer_site_the_cheaper_one_until_it_is_used_up() {
    let mut world = World::new();
    let hangzhou = world.site("hangzhou", 330100, 100, &[host(64)]);
    let songjiang = world.site("songjiang", 310117, 120, &[host(64)]);
    world.submit(job());
    assert_eq!(
        world
            .settle()
            .iter()
            .map(|decision| world.site_of(decision))
            .collect::<Vec<_>>(),
        [hangzhou]
    );
    // Pays 60 of 120 three times; of the fourth it could pay 10, and 110 is more than 100.
    world.voucher(310117, 190);
    for _ in 0..5 {
        world.submit(for_at_most(120));
    }
    let placed = world.settle();
    assert_eq!(
        world.sites(&placed),
        [songjiang, songjiang, songjiang, hangzhou, hangzhou]
    );
}

/// What the payer allows in so many words.
fn for_at_most(fen: i64) -> SubmitJob {
    let mut bounded = job();
    bounded.funding.copay_max = Some(Fen(fen));
    bounded
}

/// Two jobs were quoted 60 with the voucher; after the first it has 10 left. The second would have started for 110 with nobody asked.
#[test]
fn a_job_whose_voucher_is_used_up_meanwhile_waits_and_does_not_start_at_full_price() {
    let mut world = World::new();
    let songjiang = world.site("songjiang", 310117, 120, &[host(64)]);
    world.voucher(310117, 70);
    let jobs = [world.submit(job()), world.submit(job())];
    let placed = world.settle();
    assert_eq!(world.sites(&placed), [songjiang]);
    let sites = world.explain(jobs[1]).sites;
    let codes: Vec<&str> = sites
        .iter()
        .flat_map(|site| &site.reasons)
        .map(|reason| reason.code())
        .collect();
    assert_eq!(codes, ["COPAY_OVER_QUOTED"]);
    // Whoever says what it may cost does not wait.
    world.submit(for_at_most(110));
    let placed = world.settle();
    assert_eq!(world.sites(&placed), [songjiang]);
}

#[test]
fn the_wallet_is_not_spent_twice_while_decisions_are_in_flight() {
    let mut world = World::new();
    world.site("a", 310117, 100, &[host(64)]);
    world.org("poor", 350);
    for _ in 0..3 {
        world.submit(SubmitJob {
            org: "poor".into(),
            ..job()
        });
    }
    world.submit(SubmitJob {
        org: "poor".into(),
        walltime_ms_max: 2 * HOUR,
        ..job()
    });
    let decisions = world.plan();
    assert_eq!(decisions.len(), 3);
    assert_eq!(world.plan(), []);
    assert_eq!(world.judge(decisions), (3, 0));
    assert_eq!(world.plan(), [], "50 fen are left, 200 are needed");
}

#[test]
fn the_bound_on_the_co_pay_keeps_a_job_out_of_dear_sites() {
    let mut world = World::new();
    let dear = world.site("dear", 310117, 200, &[host(8)]);
    let cheap = world.site("cheap", 330100, 100, &[host(1)]);
    let mut bounded = job();
    bounded.funding.copay_max = Some(Fen(150));
    let first = world.submit(bounded.clone());
    let second = world.submit(bounded);
    let placed = world.settle();
    assert_eq!(world.sites(&placed), [cheap]);
    assert_eq!(placed[0].job, first);
    assert_eq!(world.codes(second, dear), ["COPAY_OVER_MAX"]);
    assert_eq!(world.codes(second, cheap), ["CAPACITY_CPU", "CAPACITY_MEMORY"]);
}

#[test]
fn a_binding_quote_pays_although_the_wallet_is_empty() {
    let mut world = World::new();
    let site = world.site("a", 310117, 100, &[host(8)]);
    world.org("poor", 100);
    let wanted = SubmitJob {
        org: "poor".into(),
        ..job()
    };
    let Reply::Quote(quote) = world.apply(Body::BindQuote {
        job: wanted.clone(),
        valid_ms: HOUR,
    }) else {
        panic!("a binding quote has a number")
    };
    let job = world.submit(SubmitJob {
        quote: Some(quote),
        ..wanted
    });
    assert_eq!(world.codes(job, site), [] as [&str; 0]);
    assert_eq!(world.settle().len(), 1);
}

/// A quote of half by voucher, and a job that waits with it because the site is full.
fn waits_with_a_quote() -> (World, SiteId, JobId, SubmitJob) {
    let mut world = World::new();
    let site = world.site("a", 310117, 100, &[host(1)]);
    world.voucher(310117, 10_000);
    world.submit(SubmitJob {
        funding: Funding {
            wallet_only: true,
            ..Funding::default()
        },
        ..job()
    });
    assert_eq!(world.settle().len(), 1);
    let Reply::Quote(quote) = world.apply(Body::BindQuote {
        job: job(),
        valid_ms: HOUR,
    }) else {
        panic!("a binding quote has a number")
    };
    let with_quote = SubmitJob {
        quote: Some(quote),
        ..job()
    };
    let waiting = world.submit(with_quote.clone());
    assert_eq!(world.settle(), []);
    let funds = world.state.ledger().funds(OrgId(1));
    assert_eq!((funds.vouchers_held, funds.wallet_held), (Fen(50), Fen(150)));
    (world, site, waiting, with_quote)
}

/// What a job that waits had been promised is not there any more: it says so, and the money is free for other work.
#[test]
fn a_quote_whose_voucher_was_a_fraud_holds_nothing_and_its_job_says_why_it_waits() {
    let (mut world, site, waiting, with_quote) = waits_with_a_quote();
    world.apply(Body::Money(MoneyCommand::RevokeVoucher {
        code: "code-310117".into(),
        reason: "forged".into(),
        fraud: true,
    }));
    let refused = world
        .apply_as(PrincipalId::CLUSTER, Body::SubmitJob(with_quote))
        .expect_err("its cover ended");
    assert!(refused.contains("QUOTE_COVER_ENDED"), "{refused}");
    world.apply(Body::Tick);
    let funds = world.state.ledger().funds(OrgId(1));
    assert_eq!(
        (funds.vouchers_held, funds.wallet_held),
        (Fen(0), Fen(100)),
        "of the job that runs"
    );
    assert!(
        world.codes(waiting, site).contains(&"COPAY_OVER_QUOTED"),
        "{:?}",
        world.codes(waiting, site)
    );
    world.apply(Body::CancelJob {
        job: waiting,
        reason: "dearer now".into(),
    });
    world.state.check();
}

#[test]
fn a_job_that_is_cancelled_gives_its_quote_back_and_a_holder_may_release_one() {
    let (mut world, _, waiting, with_quote) = waits_with_a_quote();
    let quote = with_quote.quote.expect("it has one");
    let taken = world.apply_as(PrincipalId::CLUSTER, Body::ReleaseQuote { quote });
    assert!(taken.expect_err("a job waits with it").contains("QUOTE_TAKEN"));
    world.apply(Body::CancelJob {
        job: waiting,
        reason: "not needed".into(),
    });
    let held = |world: &World| {
        let funds = world.state.ledger().funds(OrgId(1));
        (funds.vouchers_held, funds.wallet_held)
    };
    assert_eq!(held(&world), (Fen(0), Fen(100)), "of the job that runs");
    let gone = world.apply_as(PrincipalId::CLUSTER, Body::SubmitJob(with_quote));
    assert!(gone.expect_err("it is given back").contains("QUOTE_EXPIRED"));
    let Reply::Quote(quote) = world.apply(Body::BindQuote {
        job: job(),
        valid_ms: HOUR,
    }) else {
        panic!("a binding quote has a number")
    };
    assert_eq!(held(&world), (Fen(50), Fen(150)));
    assert_eq!(world.apply(Body::ReleaseQuote { quote }), Reply::Quote(quote));
    assert_eq!(held(&world), (Fen(0), Fen(100)));
    let again = world.apply_as(PrincipalId::CLUSTER, Body::ReleaseQuote { quote });
    assert!(again.expect_err("it is given back").contains("UNKNOWN_QUOTE"));
    world.state.check();
}

#[test]
fn new_prices_and_a_new_voucher_are_seen_at_once() {
    let mut world = World::new();
    let a = world.site("a", 310117, 100, &[host(64)]);
    let b = world.site("b", 330100, 90, &[host(64)]);
    world.submit(job());
    let placed = world.settle();
    assert_eq!(world.sites(&placed), [b]);
    world.voucher(310117, 10_000);
    world.submit(job());
    let placed = world.settle();
    assert_eq!(world.sites(&placed), [a]);
    let prices = vec![("cpu".into(), 1_000), ("mem".into(), 0)];
    world.apply(Body::Money(MoneyCommand::SetPrices {
        site: "b".into(),
        prices,
        effective_from: None,
    }));
    world.submit(job());
    let placed = world.settle();
    assert_eq!(world.sites(&placed), [b]);
}

/// Two jobs of the lab, of whose subsidies the budget covers one.
fn two_jobs_and_budget_for_one() -> World {
    let mut world = World::new();
    world.site("songjiang", 310117, 100, &[host(64)]);
    world.voucher_of(310117, 10_000, 60, BudgetPolicy::CommitAtHold);
    world.submit(for_at_most(90));
    world.submit(for_at_most(90));
    // Both are planned in one pass, of which apply takes the first: what is left of the budget is not the subsidy that the rates give.
    let decisions = world.plan();
    assert_eq!(world.judge(decisions), (1, 1));
    assert_eq!(world.settle(), []);
    world
}

/// A bureau that adds to its budget does not wait for who was short of it to be looked at again.
#[test]
fn a_larger_budget_wakes_who_was_short_of_it() {
    let mut world = two_jobs_and_budget_for_one();
    world.apply(Body::Money(MoneyCommand::SetBudget {
        programme: "half-310117".into(),
        budget: Grant(1_000),
        unit_hours: false,
    }));
    assert_eq!(world.settle().len(), 1);
}

#[test]
fn a_revision_that_asks_less_of_the_budget_wakes_who_was_short_of_it() {
    let mut world = two_jobs_and_budget_for_one();
    world.apply(Body::Money(MoneyCommand::ReviseProgramme {
        programme: "half-310117".into(),
        terms: Box::new(Terms {
            rates: vec![Rate {
                sku: "*".into(),
                rate: BasisPoints(1_000),
            }],
            ..Terms::default()
        }),
        effective_from: None,
        immediate: false,
        unit_hours: false,
    }));
    assert_eq!(world.settle().len(), 1);
}
