//! Which jobs are meant: a number, `last`, or a range of numbers; or one task of a job.

use hesuan_api::v1::{self, job_service_client::JobServiceClient};

use crate::failure::{Failure, Outcome};
use crate::noun::Context;

/// Jobs in one range.
const RANGE_MAX: u64 = 10_000;

/// One job: `4711`, or `last` for the newest you may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum One {
    /// By its number.
    Number(u64),
    /// The newest.
    Last,
}

/// Reads `4711` or `last`.
///
/// # Errors
/// Text for the user when it is neither.
pub fn parse_one(text: &str) -> Result<One, String> {
    match text {
        "last" => Ok(One::Last),
        _ => number(text)
            .map(One::Number)
            .ok_or_else(|| format!("\"{text}\" is no job: give its number, or last")),
    }
}

/// One task: `4711[7]`, or `4711` and `last` for the only one that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Of which job.
    pub job: One,
    /// Element of the array, if it is named.
    pub task: Option<u32>,
}

/// Reads `4711[7]`, `4711`, `last[7]` or `last`.
///
/// # Errors
/// Text for the user when it is none of them.
pub fn parse_task(text: &str) -> Result<Task, String> {
    let bad = || format!("\"{text}\" is no task: write 4711, or 4711[7] for one task of an array");
    let Some((job, rest)) = text.split_once('[') else {
        let job = parse_one(text).map_err(|_| bad())?;
        return Ok(Task { job, task: None });
    };
    let digits = rest.strip_suffix(']').ok_or_else(bad)?;
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    let task = all_digits.then(|| digits.parse().ok()).flatten().ok_or_else(bad)?;
    let job = parse_one(job).map_err(|_| bad())?;
    Ok(Task { job, task: Some(task) })
}

/// One or several jobs: `4711`, `last` or `120-130`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Exactly one.
    One(One),
    /// From the first to the last, both included.
    Range(u64, u64),
}

/// Reads `4711`, `last` or `120-130`.
///
/// # Errors
/// Text for the user when it is none of them, or too many.
pub fn parse_some(text: &str) -> Result<Selection, String> {
    let Some((first, last)) = text.split_once('-') else {
        return parse_one(text).map(Selection::One);
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last && last - first < RANGE_MAX => Ok(Selection::Range(first, last)),
        _ => Err(format!(
            "\"{text}\" is no range of at most {RANGE_MAX} jobs: write 120-130"
        )),
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|number| *number > 0)
}

impl One {
    /// The job's number.
    ///
    /// # Errors
    /// When `last` is asked for and there is no job, or nobody answers.
    pub async fn resolve(self, context: &Context) -> Outcome<u64> {
        match self {
            One::Number(number) => Ok(number),
            One::Last => {
                let request = v1::ListJobsRequest {
                    page_size: 1,
                    ..Default::default()
                };
                let page = context
                    .client
                    .call(request, |channel, request| async move {
                        JobServiceClient::new(channel).list_jobs(request).await
                    })
                    .await?;
                let newest = page.jobs.first().map(|job| job.id);
                newest.ok_or_else(|| Failure::Usage("there is no last job: none is here that you may see".to_owned()))
            }
        }
    }
}

/// The numbers of all that are meant, each once, in the order given.
///
/// # Errors
/// As [`One::resolve`].
pub async fn resolve_all(context: &Context, selected: &[Selection]) -> Outcome<Vec<u64>> {
    let mut numbers = Vec::new();
    for one in selected {
        match *one {
            Selection::One(one) => numbers.push(one.resolve(context).await?),
            Selection::Range(first, last) => numbers.extend(first..=last),
        }
    }
    let mut seen = std::collections::HashSet::new();
    numbers.retain(|number| seen.insert(*number));
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_named_by_number_range_or_last() {
        assert_eq!(parse_some("4711"), Ok(Selection::One(One::Number(4711))));
        assert_eq!(parse_some("last"), Ok(Selection::One(One::Last)));
        assert_eq!(parse_some("120-130"), Ok(Selection::Range(120, 130)));
        for text in ["", "0", "-1", "x", "9-3", "1-99999", "1-", "+5"] {
            assert!(parse_some(text).is_err(), "{text}");
        }
        assert!(parse_one("1-2").is_err());
    }

    #[test]
    fn a_task_is_named_by_its_job_and_its_place_in_it() {
        let task = |job, task| Ok(Task { job, task });
        assert_eq!(parse_task("4711[7]"), task(One::Number(4711), Some(7)));
        assert_eq!(parse_task("4711[0]"), task(One::Number(4711), Some(0)));
        assert_eq!(parse_task("4711"), task(One::Number(4711), None));
        assert_eq!(parse_task("last[3]"), task(One::Last, Some(3)));
        assert_eq!(parse_task("last"), task(One::Last, None));
        for text in [
            "",
            "[7]",
            "4711[",
            "4711[]",
            "4711[x]",
            "4711[-1]",
            "4711[+1]",
            "4711[7]x",
            "4711[4294967296]",
            "0[1]",
            "1-3[1]",
        ] {
            let refused = parse_task(text).expect_err(text);
            assert!(refused.contains("4711[7]"), "{refused}");
        }
    }
}
