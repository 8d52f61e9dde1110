//! How a command ends when it does not end well: an exit code and a text that says what was tried and what to do next.

use hesuan_api::refusal::Refusal;
use hesuan_api::v1;
use serde_json::{Value, json};

use crate::units::show_amount;

/// The table of exit codes, as `--help` prints it.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    unexpected
  2    usage, or a request that is malformed
  3    not found
  4    not authenticated, or not allowed
  5    conflict: the name is taken, or the state does not allow it now
  6    quota, budget, voucher or wallet refuse
  7    unavailable, no quorum, or no answer in time: try again
  8    waited as long as was allowed
  9    no site could ever run the job
  10   the journal that was checked does not agree
  100  the job failed (of an array: its worst task)
  101  the job was cancelled
  102  the job reached its time limit
  103  the job was lost
  104  the job could not be done in time any more
  130  interrupted";

/// Why a command ended.
#[derive(Debug)]
pub enum Failure {
    /// What was typed or configured cannot be meant.
    Usage(String),
    /// An argument, or a field of a file, that this program refuses by itself.
    Argument {
        /// Stable, SCREAMING_SNAKE; the same as the cluster's where it has one.
        code: &'static str,
        /// The option, or the place in the file.
        field: String,
        /// The field, what was given, and what is allowed.
        text: String,
    },
    /// The cluster said no.
    Refused(Box<Refusal>),
    /// Nobody answered in time.
    Unavailable {
        /// The last thing heard.
        last: Box<Refusal>,
        /// What was tried.
        tried: String,
    },
    /// A wait was over before what was waited for came.
    WaitedTooLong(String),
    /// A job that was waited for did not succeed. Said already; only the code is left.
    Job(v1::JobState),
    /// A journal that was checked does not agree. Said already; only the code is left.
    Disagrees,
    /// Ctrl-C.
    Interrupted,
    /// This machine failed: a file, a pipe.
    Local(String),
}

/// The result of everything a command does.
pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// An argument refused here.
    #[must_use]
    pub fn argument(code: &'static str, field: &str, text: String) -> Self {
        let field = field.to_owned();
        Failure::Argument { code, field, text }
    }

    /// A refusal whose text begins with the field and a colon.
    #[must_use]
    pub fn of_field(text: String) -> Self {
        match text.split_once(": ") {
            Some((field, _)) => Failure::argument("INVALID_FIELD", field, text.clone()),
            None => Failure::argument("INVALID_FIELD", "", text),
        }
    }

    /// The process's exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) | Failure::Argument { .. } => 2,
            Failure::Refused(refusal) => refusal.exit_code(),
            Failure::Unavailable { .. } => 7,
            Failure::WaitedTooLong(_) => 8,
            Failure::Job(state) => job_exit_code(*state),
            Failure::Disagrees => 10,
            Failure::Interrupted => 130,
            Failure::Local(_) => 1,
        }
    }

    /// What standard error gets; `None` when nothing is left to say.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self {
            Failure::Usage(text) => Some(format!("error: {text} [USAGE]")),
            Failure::WaitedTooLong(text) | Failure::Local(text) => Some(format!("error: {text}")),
            Failure::Argument { code, text, .. } => Some(format!("error: {text} [{code}]")),
            Failure::Refused(refusal) => Some(refusal_text(refusal)),
            Failure::Unavailable { last, tried } => Some(format!(
                "error: {tried}\n  last answer: {} [{}]",
                last.message, last.code
            )),
            Failure::Job(_) | Failure::Disagrees | Failure::Interrupted => None,
        }
    }

    /// The same as JSON.
    #[must_use]
    pub fn json(&self) -> Option<Value> {
        let plain = |code: &str, text: &str| Some(json!({ "error": { "code": code, "message": text } }));
        match self {
            Failure::Usage(text) => plain("USAGE", text),
            Failure::Argument { code, field, text } => Some(json!({ "error": {
                "code": code,
                "message": text,
                "field": (!field.is_empty()).then_some(field),
            } })),
            Failure::Local(text) => plain("LOCAL", text),
            Failure::WaitedTooLong(text) => plain("WAITED_TOO_LONG", text),
            Failure::Refused(refusal) => Some(json!({ "error": refusal_json(refusal) })),
            Failure::Unavailable { last, tried } => {
                Some(json!({ "error": { "code": last.code, "message": last.message, "tried": tried } }))
            }
            Failure::Job(_) | Failure::Disagrees | Failure::Interrupted => None,
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::Local(error.to_string())
    }
}

fn refusal_text(refusal: &Refusal) -> String {
    let mut text = format!("error: {} [{}]", refusal.message, refusal.code);
    for (site, code, why) in &refusal.sites {
        text.push_str(&format!("\n  {site}: {why} [{code}]"));
    }
    if refusal.sites_left_out > 0 {
        text.push_str(&format!("\n  and {} more sites", refusal.sites_left_out));
    }
    if let Some(figures) = &refusal.figures {
        let sku = figures.unit_hours_of.as_deref().unwrap_or_default();
        let amount = |amount: i64| show_amount(amount, sku);
        let difference = figures.needed.saturating_sub(figures.available);
        let (needed, available) = (amount(figures.needed), amount(figures.available));
        // Of these more was asked than there is: nothing is missing.
        if matches!(
            refusal.code.as_str(),
            "MORE_THAN_OWED" | "REFUND_TOO_LARGE" | "CLAIM_TOO_LARGE"
        ) {
            if difference > 0 {
                text.push_str(&format!(
                    "\n  {} too much: asked {needed}, left {available}",
                    amount(difference)
                ));
            }
        } else {
            text.push_str(&format!(
                "\n  short by {}: needed {needed}, available {available}",
                amount(difference)
            ));
        }
    }
    if let Some(nearest) = &refusal.nearest {
        text.push_str(&format!("\n  would work: {}", nearest.text));
    }
    text
}

fn refusal_json(refusal: &Refusal) -> Value {
    let site = |(site, code, text): &(String, String, String)| json!({ "site": site, "code": code, "text": text });
    json!({
        "code": refusal.code,
        "message": refusal.message,
        "field": (!refusal.field.is_empty()).then_some(&refusal.field),
        "sites": refusal.sites.iter().map(site).collect::<Vec<_>>(),
        "figures": refusal.figures.as_ref().map(|figures| json!({
            "needed": figures.needed,
            "available": figures.available,
            "short_by": figures.needed.saturating_sub(figures.available),
            "unit_hours_of": figures.unit_hours_of,
        })),
        "nearest": refusal.nearest.as_ref().map(|nearest| json!({
            "code": nearest.code,
            "details": nearest.details.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "text": nearest.text,
        })),
    })
}

/// What a job's end means for the process that waited for it.
#[must_use]
pub fn job_exit_code(state: v1::JobState) -> u8 {
    match state {
        v1::JobState::Succeeded => 0,
        v1::JobState::Failed => 100,
        v1::JobState::Cancelled => 101,
        v1::JobState::TimeLimit => 102,
        v1::JobState::Lost => 103,
        v1::JobState::Deadline => 104,
        // A preempted attempt is no end of its job.
        v1::JobState::Unspecified | v1::JobState::Pending | v1::JobState::Running | v1::JobState::Preempted => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_here_has_a_code_and_a_field_too() {
        let failure = Failure::of_field("--cap-per-job: \"0\" is nothing: allowed is more than 0".to_owned());
        let text = failure.text().expect("it says why");
        assert!(
            text.starts_with("error: --cap-per-job") && text.ends_with("[INVALID_FIELD]"),
            "{text}"
        );
        let json = failure.json().expect("it says why");
        assert_eq!(json["error"]["field"], "--cap-per-job");
        assert_eq!(
            (json["error"]["code"].as_str(), failure.exit_code()),
            (Some("INVALID_FIELD"), 2)
        );
    }

    #[test]
    fn more_than_there_is_is_not_called_short() {
        let mut refusal = Refusal::from_status(&tonic::Status::failed_precondition("no"));
        let mut said = |code: &str, needed, available| {
            refusal.code = code.to_owned();
            refusal.figures = Some(hesuan_engine::outcome::Figures {
                needed,
                available,
                unit_hours_of: None,
            });
            refusal_text(&refusal)
        };
        assert!(said("MORE_THAN_OWED", 500, 0).ends_with("5.00 yuan too much: asked 5.00 yuan, left 0.00 yuan"));
        assert!(!said("REFUND_TOO_LARGE", 0, 0).contains("0.00"));
        assert!(said("INSUFFICIENT_FUNDS", 500, 0).contains("short by 5.00 yuan"));
    }

    #[test]
    fn every_exit_code_is_in_the_help() {
        use hesuan_api::refusal::{Refusal, trouble};
        use tonic::{Code, Status};
        let refused = |code| Failure::Refused(Box::new(Refusal::from_status(&Status::new(code, "no"))));
        let last = Box::new(Refusal::from_status(&trouble(
            Code::Unavailable,
            "NO_LEADER",
            "no leader is known",
        )));
        let mut codes: Vec<u8> = [
            Failure::Usage(String::new()),
            refused(Code::NotFound),
            refused(Code::PermissionDenied),
            refused(Code::AlreadyExists),
            Failure::Unavailable {
                last,
                tried: String::new(),
            },
            Failure::WaitedTooLong(String::new()),
            Failure::Disagrees,
            Failure::Interrupted,
            Failure::Local(String::new()),
        ]
        .iter()
        .map(Failure::exit_code)
        .collect();
        assert_eq!(codes, [2, 3, 4, 5, 7, 8, 10, 130, 1]);
        let ended = [
            v1::JobState::Succeeded,
            v1::JobState::Failed,
            v1::JobState::Cancelled,
            v1::JobState::TimeLimit,
            v1::JobState::Lost,
            v1::JobState::Deadline,
        ];
        let ended = ended.map(job_exit_code);
        assert_eq!(ended, [0, 100, 101, 102, 103, 104]);
        codes.extend(ended);
        codes.extend([6, 9]);
        for code in codes {
            let listed = EXIT_CODES
                .lines()
                .any(|line| line.split_whitespace().next() == Some(&code.to_string()));
            assert!(listed, "{code} is not in the help");
        }
    }
}
