//! Lists in pages: sizes are brought into range, tokens say where to go on and are opaque to clients.

use hesuan_engine::outcome::Rejection;

/// Of a request that names none.
const SIZE: usize = 50;
/// At most.
const SIZE_MAX: usize = 1_000;

/// The number of items of a page.
pub(super) fn size(asked: u32) -> usize {
    if asked == 0 {
        SIZE
    } else {
        (asked as usize).min(SIZE_MAX)
    }
}

/// The key at which a page begins; 0 for the first one.
pub(super) fn start(token: &str) -> Result<u64, Rejection> {
    if token.is_empty() {
        return Ok(0);
    }
    token
        .strip_prefix('p')
        .and_then(|key| u64::from_str_radix(key, 36).ok())
        .ok_or_else(|| {
            let text = "page_token is none that a list gave: leave it empty for the first page";
            Rejection::invalid("FIELD_MALFORMED", "page_token", text)
        })
}

/// The token of the page that begins at a key.
pub(super) fn token(key: u64) -> String {
    let mut digits = Vec::new();
    let mut rest = key;
    loop {
        digits.push(char::from_digit((rest % 36) as u32, 36).unwrap_or('0'));
        rest /= 36;
        if rest == 0 {
            break;
        }
    }
    std::iter::once('p').chain(digits.into_iter().rev()).collect()
}

/// One page of a list whose items have rising keys: the items, and the token of the next page, empty at the end.
pub(super) fn page<T, A>(
    items: impl Iterator<Item = T>,
    asked: u32,
    key: impl Fn(&T) -> u64,
    answer: impl Fn(T) -> A,
) -> (Vec<A>, String) {
    let mut items = items.peekable();
    let mut answers = Vec::new();
    while answers.len() < size(asked) {
        let Some(item) = items.next() else { break };
        answers.push(answer(item));
    }
    let next = items.peek().map(|item| token(key(item))).unwrap_or_default();
    (answers, next)
}

/// Something that does not exist, or that the caller may not see.
pub(super) fn not_found(code: &'static str, field: &str, message: String) -> Rejection {
    Rejection::not_found(code, field, message)
}

/// What the caller may not read.
pub(super) fn denied(what: &str) -> Rejection {
    Rejection::denied("PERMISSION_DENIED", format!("this token may not read {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_gap_or_overlap() {
        let all: Vec<u64> = (1..=120).collect();
        let (mut seen, mut next) = (Vec::new(), String::new());
        loop {
            let from = start(&next).expect("our own token");
            let rest = all.iter().copied().filter(|key| *key >= from);
            let (page, token) = page(rest, 0, |key| *key, |key| key);
            assert!(page.len() <= SIZE);
            seen.extend(page);
            if token.is_empty() {
                break;
            }
            next = token;
        }
        assert_eq!(seen, all);
        assert_eq!(size(1_000_000), SIZE_MAX);
        assert_eq!(start(&token(u64::MAX)), Ok(u64::MAX));
        assert!(start("next").is_err());
    }
}
