//! Each rule of the verifier against a journal that breaks it and nothing else: written anew with all its hashes, so that only the rule finds it.

mod scribe;
#[path = "scribe/story.rs"]
mod story;

use scribe::*;

#[test]
fn a_journal_that_keeps_every_rule_agrees() {
    let report = agrees(&story::story().file());
    assert_eq!((report.first, report.last), (1, 47));
    let balance = |account| {
        report
            .balances
            .iter()
            .find(|row| row.account == account)
            .map(|row| row.derived)
    };
    assert_eq!(balance("treasury"), Some(98_147));
}
