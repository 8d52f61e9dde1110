//! A programme's terms as the journal writes them: one text of fields separated by `;`, in a fixed order, what is not set left out.
//!
//! `rate SKU=BP`, `exclude SKU`, `cap_group N`, `cap_job N`, `kind N`, `region N`, `exclusive` or `stack BP`, `from MS`, `until MS`,
//! `expiry_hold`, `carry_over`, `reinstate`.

use crate::calendar::FAR_MS;

/// What a programme pays for, for whom, and how much at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Class or prefix, basis points.
    pub(crate) rates: Vec<(String, u64)>,
    pub(crate) excluded: Vec<String>,
    pub(crate) cap_group: Option<i128>,
    pub(crate) cap_job: Option<i128>,
    /// Empty = all.
    pub(crate) kinds: Vec<u64>,
    /// Empty = all.
    pub(crate) regions: Vec<u64>,
    /// All programmes together pay at most so much of the list price; `None` = no other programme may pay.
    pub(crate) stack: Option<u64>,
    pub(crate) from: u64,
    pub(crate) until: u64,
    pub(crate) expiry_hold: bool,
    pub(crate) carry_over: bool,
    pub(crate) reinstate: bool,
}

const ORDER: [&str; 13] = [
    "rate",
    "exclude",
    "cap_group",
    "cap_job",
    "kind",
    "region",
    "exclusive",
    "stack",
    "from",
    "until",
    "expiry_hold",
    "carry_over",
    "reinstate",
];
/// The fields that may come more than once.
const LISTS: [&str; 4] = ["rate", "exclude", "kind", "region"];

impl Terms {
    /// Reads a text.
    ///
    /// # Errors
    /// Names the field that cannot be meant.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut terms = Terms {
            rates: Vec::new(),
            excluded: Vec::new(),
            cap_group: None,
            cap_job: None,
            kinds: Vec::new(),
            regions: Vec::new(),
            stack: None,
            from: 0,
            until: FAR_MS,
            expiry_hold: false,
            carry_over: false,
            reinstate: false,
        };
        let mut latest = None;
        let mut stacking = false;
        for field in text.split(';') {
            let wrong = || format!("\"{field}\" is no field of terms here");
            let (word, value) = match field.split_once(' ') {
                Some((word, value)) => (word, value),
                None => (field, ""),
            };
            let place = ORDER.iter().position(|known| *known == word).ok_or_else(wrong)?;
            let again = latest == Some(place) && !LISTS.contains(&word);
            if latest > Some(place) || again {
                return Err(wrong());
            }
            latest = Some(place);
            let number = || value.parse::<u64>().map_err(|_| wrong());
            let flag = || if field == word { Ok(true) } else { Err(wrong()) };
            match word {
                "rate" => {
                    let (sku, rate) = value.rsplit_once('=').ok_or_else(wrong)?;
                    let rate = rate.parse().map_err(|_| wrong())?;
                    terms.rates.push((sku.to_owned(), rate));
                }
                "exclude" => terms.excluded.push(value.to_owned()),
                "cap_group" => terms.cap_group = Some(number()?.into()),
                "cap_job" => terms.cap_job = Some(number()?.into()),
                "kind" => terms.kinds.push(number()?),
                "region" => terms.regions.push(number()?),
                "exclusive" => stacking = flag()?,
                "stack" if stacking => return Err(wrong()),
                "stack" => (terms.stack, stacking) = (Some(number()?), true),
                "from" => terms.from = number()?,
                "until" => terms.until = number()?,
                "expiry_hold" => terms.expiry_hold = flag()?,
                "carry_over" => terms.carry_over = flag()?,
                _ => terms.reinstate = flag()?,
            }
        }
        Ok(terms)
    }

    /// The rate for a class: none when it is excluded, else that of the closest name.
    pub(crate) fn rate_of(&self, sku: &str) -> u64 {
        if self.excluded.iter().any(|pattern| matches(pattern, sku)) {
            return 0;
        }
        let named = self.rates.iter().filter(|(pattern, _)| matches(pattern, sku));
        // The name itself beats every prefix; among prefixes the longer one.
        let closest = named.max_by_key(|(pattern, _)| (!pattern.ends_with('*'), pattern.len()));
        closest.map_or(0, |(_, rate)| *rate)
    }
}

/// Whether a class has this name, or begins with the prefix before `*`.
pub(crate) fn matches(pattern: &str, sku: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => sku.starts_with(prefix),
        None => pattern == sku,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_read_field_by_field() {
        let text = "rate cpu=2500;rate gpu/*=3000;rate gpu/a=1000;exclude storage;cap_group 900;kind 2;region 310000;stack 8000;from 5;until 9;carry_over";
        let terms = Terms::read(text).expect("it is well formed");
        assert_eq!(
            (terms.cap_group, terms.cap_job, terms.stack),
            (Some(900), None, Some(8_000))
        );
        assert_eq!((terms.from, terms.until, terms.kinds.as_slice()), (5, 9, &[2][..]));
        assert_eq!(
            (terms.expiry_hold, terms.carry_over, terms.reinstate),
            (false, true, false)
        );
        let rates = ["cpu", "gpu/a", "gpu/b", "storage", "memory"].map(|sku| terms.rate_of(sku));
        assert_eq!(rates, [2_500, 1_000, 3_000, 0, 0]);
    }

    #[test]
    fn what_is_not_in_the_order_is_refused() {
        for wrong in [
            "",
            "rate cpu",
            "rate cpu=x",
            "until 5;from 1",
            "exclusive;stack 5",
            "cap_job 1;cap_job 2",
            "reinstate yes",
            "discount 5",
        ] {
            assert!(Terms::read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Terms::read("rate *=1;exclusive").map(|terms| terms.stack), Ok(None));
    }
}
