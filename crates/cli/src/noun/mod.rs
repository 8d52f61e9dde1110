//! The nouns of the command line, one file each.

pub mod agreement;
pub mod audit;
pub mod claim;
pub mod cluster;
pub mod job;
pub mod lending;
pub mod period;
pub mod policy;
pub mod principal;
pub mod programme;
pub mod settlement;
pub mod site;
pub mod voucher;
pub mod wallet;

use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::settings::Global;

/// What a verb works with.
pub struct Context {
    /// The cluster.
    pub client: Client,
    /// Where results go.
    pub output: Output,
    /// The options of every command.
    pub global: Global,
}

/// Answers of a list come in pages; this many are asked for at once.
pub(crate) const PAGE: u32 = 500;

/// All of a list that comes in pages: `ask` is given the token of a page, and answers with its items and the token of the next one.
pub(crate) async fn all_pages<T>(ask: impl AsyncFn(String) -> Outcome<(Vec<T>, String)>) -> Outcome<Vec<T>> {
    let (mut items, mut next) = ask(String::new()).await?;
    while !next.is_empty() {
        let page = ask(next).await?;
        items.extend(page.0);
        next = page.1;
    }
    Ok(items)
}

/// A region code of six digits.
pub(crate) fn parse_region(text: &str) -> Result<u32, String> {
    let digits = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    let code = digits.then(|| text.parse().ok()).flatten();
    let code = code.filter(|code| (110_000..=990_000).contains(code));
    code.ok_or_else(|| {
        format!("\"{text}\" is no region: allowed is a GB/T 2260 code of six digits, 110000 to 990000, such as 310117")
    })
}

/// `NAME=VALUE`.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("\"{text}\" is no NAME=VALUE")),
    }
}

/// A key that is given twice is refused: which of the two was meant nobody can say.
pub(crate) fn each_once<'a>(field: &str, keys: impl IntoIterator<Item = &'a str>) -> Outcome<()> {
    let mut seen = std::collections::BTreeSet::new();
    match keys.into_iter().find(|key| !seen.insert(*key)) {
        None => Ok(()),
        Some(key) => Err(Failure::argument(
            "FIELD_DUPLICATE",
            field,
            format!("{field} names \"{key}\" twice: name it once"),
        )),
    }
}

/// `0` means "not set" in many answers; JSON says null then.
pub(crate) fn none_if_zero(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}

/// Text as JSON: null when empty.
pub(crate) fn none_if_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
