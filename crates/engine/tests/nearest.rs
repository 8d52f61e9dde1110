//! What a refusal for money proposes: the nearest option, which is then accepted when it is asked for.
//!
//! One core and one GiB for an hour cost 330 fen in Songjiang, 440 in Hangzhou, 220 in Hefei.

mod support;

use hesuan_engine::command::{Body, MoneyCommand, SubmitJob};
use hesuan_engine::outcome::{Nearest, Rejection, RejectionKind};
use hesuan_engine::types::{Fen, Funding};
use hesuan_ledger::types::{BasisPoints, Grant, Sku, Timestamp};
use hesuan_ledger::{NewVoucher, Rate, Terms};
use support::*;

/// With so much in the wallets of both holders.
fn world(fen: i64) -> World {
    let mut world = World::new().with_voucher(100_000);
    for org in ["lab", "acme"] {
        let withdraw = MoneyCommand::Withdraw {
            org: org.into(),
            amount: Fen(1_000_000 - fen),
            reference: "test".into(),
        };
        world.must_as("treasurer", Body::Money(withdraw));
    }
    world
}

fn refused(world: &mut World, who: &str, job: &SubmitJob) -> Rejection {
    let refused = world.refused(who, Body::SubmitJob(job.clone()));
    assert_eq!((refused.code, refused.kind), ("FUNDS", RejectionKind::Funds));
    refused
}

fn figures(refused: &Rejection) -> (i64, i64) {
    let figures = refused.figures.as_ref().expect("it is about an amount");
    (figures.needed, figures.available)
}

fn nearest(refused: &Rejection) -> &Nearest {
    refused.nearest.as_ref().expect("something works")
}

fn detail<'a>(nearest: &'a Nearest, name: &str) -> &'a str {
    let found = nearest.details.iter().find(|(known, _)| *known == name);
    &found.unwrap_or_else(|| panic!("{nearest:?} says no {name}")).1
}

fn in_songjiang() -> SubmitJob {
    SubmitJob {
        sites: vec!["songjiang".into()],
        ..job()
    }
}

#[test]
fn a_wallet_that_is_short_of_more_than_half_is_to_be_topped_up() {
    let mut world = world(100);
    let refused = refused(&mut world, "acme", &job());
    assert_eq!(figures(&refused), (220, 100));
    let nearest = nearest(&refused);
    assert_eq!((nearest.code, detail(nearest, "amount_fen")), ("TOP_UP", "120"));
    assert_eq!(&*nearest.text, "put 1.20 yuan more into the wallet");
    world.must_as("treasurer", top_up("acme", 120));
    world.submit("acme", job());
}

#[test]
fn a_wallet_that_lasts_for_most_of_the_time_is_offered_that_time() {
    let mut world = world(150);
    let refused = refused(&mut world, "acme", &job());
    let nearest = nearest(&refused);
    assert_eq!((nearest.code, detail(nearest, "site")), ("SHORTER", "hefei"));
    let walltime_ms_max: u64 = detail(nearest, "walltime_ms_max").parse().expect("a number");
    let longer = SubmitJob {
        walltime_ms_max: walltime_ms_max + MINUTE,
        ..job()
    };
    assert_eq!(
        world.refused("acme", Body::SubmitJob(longer)).code,
        "FUNDS",
        "no more than that"
    );
    let shorter = SubmitJob {
        walltime_ms_max,
        ..job()
    };
    world.submit("acme", shorter);
}

#[test]
fn a_site_that_is_too_dear_is_not_the_only_one() {
    let mut world = world(250);
    let refused = refused(&mut world, "acme", &in_songjiang());
    assert_eq!(figures(&refused), (330, 250));
    let nearest = nearest(&refused);
    assert_eq!(
        (nearest.code, detail(nearest, "site"), detail(nearest, "copay_fen")),
        ("OTHER_SITE", "hefei", "220")
    );
    world.submit("acme", job());
}

#[test]
fn a_bound_on_the_co_pay_is_told_what_it_takes() {
    let mut world = world(1_000);
    let bounded = |most| SubmitJob {
        funding: Funding {
            copay_max: Some(Fen(most)),
            ..Funding::default()
        },
        ..job()
    };
    let refused = refused(&mut world, "acme", &bounded(100));
    let nearest = nearest(&refused);
    assert_eq!((nearest.code, detail(nearest, "copay_fen_max")), ("COPAY_MAX", "220"));
    world.submit("acme", bounded(220));
}

#[test]
fn vouchers_that_were_left_out_would_pay() {
    let mut world = world(250);
    let alone = SubmitJob {
        funding: Funding {
            wallet_only: true,
            ..Funding::default()
        },
        ..in_songjiang()
    };
    let refused = refused(&mut world, "lab", &alone);
    let nearest = nearest(&refused);
    assert_eq!((nearest.code, detail(nearest, "subsidy_fen")), ("ANY_VOUCHER", "99"));
    world.submit("lab", in_songjiang());
}

#[test]
fn a_subsidy_that_a_cap_cuts_is_offered_as_it_is() {
    let mut world = world(1_000);
    let revise = MoneyCommand::ReviseProgramme {
        programme: "sj-compute".into(),
        terms: Box::new(Terms {
            rates: vec![Rate {
                sku: Sku::from("*"),
                rate: BasisPoints(3_000),
            }],
            cap_per_job: Some(Grant(10)),
            from: Timestamp(START),
            until: Timestamp(START + 365 * 24 * HOUR),
            ..Terms::default()
        }),
        effective_from: None,
        immediate: false,
        unit_hours: false,
    };
    world.must_as("issuer", Body::Money(revise));
    let refused = refused(&mut world, "lab", &in_songjiang());
    assert_eq!(figures(&refused), (99, 10));
    let nearest = nearest(&refused);
    assert_eq!((nearest.code, detail(nearest, "subsidy_fen")), ("ALLOW_PARTIAL", "10"));
    let partly = SubmitJob {
        funding: Funding {
            allow_partial: true,
            ..Funding::default()
        },
        ..in_songjiang()
    };
    world.submit("lab", partly);
}

fn second_voucher(face: i64) -> Body {
    let voucher = NewVoucher {
        code: "V-2".into(),
        holder: "lab".into(),
        face: Grant(face),
        from: Timestamp(START),
        until: Timestamp(START + 300 * 24 * HOUR),
    };
    Body::Money(MoneyCommand::IssueVouchers {
        programme: "sj-compute".into(),
        vouchers: vec![voucher],
        unit_hours: false,
    })
}

#[test]
fn a_voucher_that_was_forgotten_is_to_be_redeemed() {
    let mut world = world(250);
    world.must_as("issuer", second_voucher(1_000));
    let with_it = SubmitJob {
        funding: Funding {
            vouchers: vec![2],
            ..Funding::default()
        },
        ..in_songjiang()
    };
    let refused = refused(&mut world, "lab", &with_it);
    let nearest = nearest(&refused);
    assert_eq!(
        (
            nearest.code,
            detail(nearest, "vouchers"),
            detail(nearest, "subsidy_fen"),
            detail(nearest, "copay_fen")
        ),
        ("REDEEM", "V-2", "99", "231")
    );
    world.must_as("lab", Body::Money(MoneyCommand::RedeemVoucher { code: "V-2".into() }));
    world.submit("lab", with_it);
}

#[test]
fn a_budget_that_is_too_small_is_told_what_it_takes() {
    let mut world = world(1_000);
    let refused = world.refused("issuer", second_voucher(9_900_001));
    assert_eq!(refused.code, "BUDGET_EXHAUSTED");
    assert_eq!(figures(&refused), (9_900_001, 9_900_000));
    let nearest = nearest(&refused);
    assert_eq!((nearest.code, detail(nearest, "budget_fen")), ("BUDGET", "10000001"));
    assert_eq!(&*nearest.text, "set the programme's budget to 100000.01 yuan or more");
    let budget = |fen| {
        Body::Money(MoneyCommand::SetBudget {
            programme: "sj-compute".into(),
            budget: Grant(fen),
            unit_hours: false,
        })
    };
    let refused = world.refused("issuer", budget(99_999));
    assert_eq!(refused.code, "BUDGET_COMMITTED");
    assert_eq!(detail(self::nearest(&refused), "budget_fen"), "100000");
    world.must_as("issuer", budget(10_000_001));
    world.must_as("issuer", second_voucher(9_900_001));
}

#[test]
fn more_than_a_wallet_has_free_is_not_paid_out() {
    let mut world = world(250);
    let withdraw = |fen| {
        Body::Money(MoneyCommand::Withdraw {
            org: "acme".into(),
            amount: Fen(fen),
            reference: "test".into(),
        })
    };
    let refused = world.refused("treasurer", withdraw(251));
    let nearest = nearest(&refused);
    assert_eq!((nearest.code, detail(nearest, "amount_fen")), ("AMOUNT_MAX", "250"));
    world.must_as("treasurer", withdraw(250));
}
