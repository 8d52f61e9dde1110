//! Which vouchers pay a bill, and how much each.

use smallvec::smallvec;

use crate::bill::{Bill, Offer};
use crate::eligibility::{Offers, ProgrammeView};
use crate::flow::solve;
use crate::programme::Stacking;
use crate::types::{AgreementId, BasisPoints, Fen, Few};

/// Who pays.
pub(crate) struct Choice {
    /// Which candidate pays how much; only those that pay, and those that others could not pay as much without.
    pub(crate) legs: Few<(usize, Fen), 2>,
    /// All together pay at most this part of the list price.
    pub(crate) stack_max: BasisPoints,
    subsidy: i64,
}

/// The allowed set of vouchers with the largest subsidy.
///
/// Every set of programmes that may be combined and is not plainly worse than another one is tried. Adding a programme to a set
/// lowers the subsidy only through its stack cap, so of the stackable ones only the sets "all with at least this cap" can be best.
///
/// The bill is that of the time which begins `from_ms` after the time that covers count from.
pub(crate) fn best_choice(bill: &Bill<'_>, offers: &Offers<'_>, from_ms: u64) -> Choice {
    let views = &offers.views;
    let mut best = Choice {
        legs: Few::new(),
        stack_max: BasisPoints::WHOLE,
        subsidy: 0,
    };
    if offers.candidates.is_empty() || bill.gross == Fen::ZERO {
        return best;
    }
    let stack_cap = |view: &ProgrammeView<'_>| match view.terms.stacking {
        Stacking::Stackable { total_max } => Some(total_max),
        Stacking::Exclusive => None,
    };
    let mut next = views.iter().filter_map(stack_cap).max();
    while let Some(cap) = next {
        let allowed = |view: usize| stack_cap(&views[view]) >= Some(cap);
        keep_better(&mut best, choose(bill, offers, from_ms, cap, allowed));
        next = views.iter().filter_map(stack_cap).filter(|lower| *lower < cap).max();
    }
    for (index, view) in views.iter().enumerate() {
        if view.terms.stacking == Stacking::Exclusive {
            let alone = choose(bill, offers, from_ms, BasisPoints::WHOLE, |view| view == index);
            keep_better(&mut best, alone);
        }
    }
    best
}

fn keep_better(best: &mut Choice, choice: Choice) {
    if choice.subsidy > best.subsidy {
        *best = choice;
    }
}

fn choose(
    bill: &Bill<'_>,
    offers: &Offers<'_>,
    from_ms: u64,
    stack_max: BasisPoints,
    allowed: impl Fn(usize) -> bool,
) -> Choice {
    let Offers { views, candidates } = offers;
    let may_pay = || {
        let all = candidates.iter().enumerate();
        all.filter(|(_, candidate)| allowed(candidate.view))
    };
    let at_rates = may_pay().map(|(_, candidate)| {
        let view = &views[candidate.view];
        Offer {
            programme: candidate.view,
            most: view.worth(candidate.left.min(view.caps_left)),
            rates: &view.rates,
            cover_ms: candidate.cover_ms.saturating_sub(from_ms),
        }
    });
    // What one agreement leaves to several programmes is for the solver to share out.
    let shared = views.iter().any(|view| view.agreement_left != Fen::MAX);
    if !shared && let Some(amounts) = bill.at_rates(at_rates, stack_max) {
        let legs = may_pay()
            .map(|(index, _)| index)
            .zip(amounts.iter().map(|fen| Fen(*fen)));
        return Choice {
            legs: legs.filter(|(_, amount)| *amount > Fen::ZERO).collect(),
            stack_max,
            subsidy: amounts.iter().sum(),
        };
    }
    let caps = views.iter().map(|view| view.worth(view.caps_left).0).collect();
    let mut problem = bill.problem(caps, groups(views), stack_max);
    let mut offered: Few<usize, 4> = Few::new();
    for (index, candidate) in may_pay() {
        let view = &views[candidate.view];
        bill.offer(
            &mut problem,
            candidate.view,
            view.worth(candidate.left),
            &view.rates,
            candidate.cover_ms.saturating_sub(from_ms),
        );
        offered.push(index);
    }
    let amounts = solve(problem);
    let subsidy = amounts.iter().sum();
    let sets_bound = bounding(bill, offers, from_ms, &offered, &amounts);
    let legs = offered.iter().zip(&amounts);
    let legs = legs.filter(|(index, amount)| **amount > 0 || sets_bound[candidates[**index].view] == Some(**index));
    Choice {
        legs: legs.map(|(index, amount)| (*index, Fen(*amount))).collect(),
        stack_max,
        subsidy,
    }
}

/// Per programme, the candidate that stays in a choice although it pays nothing. The longest cover offered bounds what a programme pays of a line.
/// Settlement makes the bounds anew from the legs, so where none of those that pay has this cover, the first that has it stays: without
/// it the others would pay less than is held for them.
fn bounding(
    bill: &Bill<'_>,
    Offers { views, candidates }: &Offers<'_>,
    from_ms: u64,
    offered: &[usize],
    amounts: &[i64],
) -> Few<Option<usize>, 4> {
    let cover = |index: usize| candidates[index].cover_ms.saturating_sub(from_ms).min(bill.ms);
    let mut first: Few<Option<usize>, 4> = smallvec![None; views.len()];
    let mut longest_paying: Few<Option<u64>, 4> = smallvec![None; views.len()];
    for (index, amount) in offered.iter().zip(amounts) {
        let view = candidates[*index].view;
        if first[view].is_none_or(|first| cover(first) < cover(*index)) {
            first[view] = Some(*index);
        }
        if *amount > 0 {
            longest_paying[view] = longest_paying[view].max(Some(cover(*index)));
        }
    }
    let needed = |(first, paying): (Option<usize>, Option<u64>)| {
        first.filter(|first| paying.is_some_and(|paying| paying < cover(*first)))
    };
    first.into_iter().zip(longest_paying).map(needed).collect()
}

/// The caps of the agreements, and which of them each programme is under; those at home share a group without a cap.
fn groups(views: &[ProgrammeView<'_>]) -> (Few<i64, 2>, Few<usize, 4>) {
    let mut known: Few<Option<AgreementId>, 4> = Few::new();
    let mut caps = Few::new();
    let mut group_of = Few::new();
    for view in views {
        let agreement = view.agreement.map(|agreement| agreement.id);
        let group = known.iter().position(|one| *one == agreement).unwrap_or_else(|| {
            known.push(agreement);
            caps.push(view.agreement_left.0);
            known.len() - 1
        });
        group_of.push(group);
    }
    (caps, group_of)
}
