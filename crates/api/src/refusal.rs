//! Refusals on the wire: a rejection as a gRPC status with rich details, the same read back by clients, and what each kind
//! means as a status code and as an exit code of a command line.

use std::collections::HashMap;
use std::time::Duration;

use hesuan_engine::outcome::{Figures, Rejection, RejectionKind};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The `domain` of every error's `ErrorInfo`.
pub const DOMAIN: &str = "hesuan";

/// Details travel in one header; past this many bytes of reasons the rest are only counted.
const SITES_BYTES_MAX: usize = 3 * 1024;

/// The gRPC code of a kind of refusal.
#[must_use]
pub fn grpc_code(kind: RejectionKind) -> Code {
    match kind {
        RejectionKind::Invalid => Code::InvalidArgument,
        RejectionKind::NotFound => Code::NotFound,
        RejectionKind::AlreadyExists => Code::AlreadyExists,
        RejectionKind::Precondition | RejectionKind::Funds | RejectionKind::Unsatisfiable => Code::FailedPrecondition,
        RejectionKind::Denied => Code::PermissionDenied,
        RejectionKind::Exhausted => Code::ResourceExhausted,
    }
}

/// The exit code of a command line for a kind of refusal.
#[must_use]
pub fn kind_exit_code(kind: RejectionKind) -> u8 {
    match kind {
        RejectionKind::Invalid => 2,
        RejectionKind::NotFound => 3,
        RejectionKind::Denied => 4,
        RejectionKind::AlreadyExists | RejectionKind::Precondition => 5,
        RejectionKind::Funds => 6,
        RejectionKind::Exhausted => 7,
        RejectionKind::Unsatisfiable => 9,
    }
}

/// The exit code of a command line for a gRPC code that comes without a kind (from the transport, or another server).
#[must_use]
pub fn code_exit_code(code: Code) -> u8 {
    match code {
        Code::Ok => 0,
        Code::InvalidArgument | Code::OutOfRange => 2,
        Code::NotFound => 3,
        Code::Unauthenticated | Code::PermissionDenied => 4,
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => 5,
        Code::ResourceExhausted | Code::Unavailable | Code::DeadlineExceeded => 7,
        Code::Cancelled | Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => 1,
    }
}

const KINDS: [(RejectionKind, &str); 8] = [
    (RejectionKind::Invalid, "INVALID"),
    (RejectionKind::NotFound, "NOT_FOUND"),
    (RejectionKind::AlreadyExists, "ALREADY_EXISTS"),
    (RejectionKind::Precondition, "PRECONDITION"),
    (RejectionKind::Denied, "DENIED"),
    (RejectionKind::Funds, "FUNDS"),
    (RejectionKind::Exhausted, "EXHAUSTED"),
    (RejectionKind::Unsatisfiable, "UNSATISFIABLE"),
];

fn kind_name(kind: RejectionKind) -> &'static str {
    KINDS.iter().find(|(one, _)| *one == kind).map_or("", |(_, name)| name)
}

/// A rejection as the status a client gets.
#[must_use]
pub fn status(rejection: &Rejection) -> Status {
    let mut details = ErrorDetails::new();
    let mut metadata = HashMap::from([("kind".to_owned(), kind_name(rejection.kind).to_owned())]);
    if !rejection.field.is_empty() {
        metadata.insert("field".to_owned(), rejection.field.to_string());
        details.add_bad_request_violation(rejection.field.as_ref(), rejection.message.as_ref());
    }
    let mut room = SITES_BYTES_MAX;
    let mut sent = 0;
    for (site, code, text) in &rejection.sites {
        let Some(left) = room.checked_sub(site.len() + code.len() + text.len()) else {
            break;
        };
        room = left;
        sent += 1;
        details.add_precondition_failure_violation(*code, format!("site/{site}"), text.as_ref());
    }
    if let Some(figures) = &rejection.figures {
        figures_sent(figures, &mut metadata);
    }
    if let Some(nearest) = &rejection.nearest {
        metadata.insert(NEAREST.to_owned(), nearest.code.to_owned());
        metadata.insert(NEAREST_TEXT.to_owned(), nearest.text.to_string());
        for (name, value) in &nearest.details {
            metadata.insert(format!("{NEAREST}_{name}"), value.to_string());
        }
    }
    if sent < rejection.sites.len() {
        metadata.insert("sites_left_out".to_owned(), (rejection.sites.len() - sent).to_string());
    }
    match rejection.kind {
        RejectionKind::Funds => {
            details.add_quota_failure_violation("funds", rejection.message.as_ref());
        }
        RejectionKind::Exhausted => {
            details.add_quota_failure_violation("cluster", rejection.message.as_ref());
            details.set_retry_info(Some(Duration::from_secs(1)));
        }
        _ => {}
    }
    details.set_error_info(rejection.code, DOMAIN, metadata);
    Status::with_error_details(grpc_code(rejection.kind), rejection.message.as_ref(), details)
}

const NEAREST: &str = "nearest";
const NEAREST_TEXT: &str = "nearest_text";

/// What is missing: `needed`, `available` and `short_by`, all in fen unless `unit_hours_of` names a sku.
fn figures_sent(figures: &Figures, metadata: &mut HashMap<String, String>) {
    let short_by = i128::from(figures.needed) - i128::from(figures.available);
    for (name, figure) in [
        ("needed", figures.needed.into()),
        ("available", figures.available.into()),
        ("short_by", short_by),
    ] {
        metadata.insert(name.to_owned(), figure.to_string());
    }
    if let Some(sku) = &figures.unit_hours_of {
        metadata.insert("unit_hours_of".to_owned(), sku.to_string());
    }
}

/// A status with a stable code for trouble that is no rejection (`UNAUTHENTICATED`, `NO_LEADER`, `OUTCOME_UNKNOWN`). Such as
/// may be tried again carry after how long.
#[must_use]
pub fn trouble(code: Code, reason: &str, message: &str) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, HashMap::new());
    if matches!(code, Code::Unavailable | Code::ResourceExhausted) {
        details.set_retry_info(Some(Duration::from_millis(250)));
    }
    Status::with_error_details(code, message, details)
}

/// A refusal as a client reads it from a status, whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Stable, SCREAMING_SNAKE; the gRPC code's name where the server gave none.
    pub code: String,
    /// The kind, if the cluster itself refused.
    pub kind: Option<RejectionKind>,
    /// The gRPC code.
    pub status: Code,
    /// The field at fault; empty if none is.
    pub field: String,
    /// What was given, what is allowed, what to do next.
    pub message: String,
    /// Site, code and text where every site refused.
    pub sites: Vec<(String, String, String)>,
    /// Sites that did not fit into the answer.
    pub sites_left_out: usize,
    /// What is missing, where it is an amount.
    pub figures: Option<Figures>,
    /// The nearest option that works, where there is one.
    pub nearest: Option<Instead>,
}

/// What could be asked for instead, or done first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instead {
    /// Stable, SCREAMING_SNAKE.
    pub code: String,
    /// Names and what they are, by name.
    pub details: Vec<(String, String)>,
    /// For people.
    pub text: String,
}

impl Refusal {
    /// What a status says.
    #[must_use]
    pub fn from_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == DOMAIN);
        let metadata = |key: &str| {
            info.and_then(|info| info.metadata.get(key))
                .map(String::as_str)
                .unwrap_or_default()
        };
        let kind = KINDS
            .iter()
            .find(|(_, name)| *name == metadata("kind"))
            .map(|(kind, _)| *kind);
        let sites = details.precondition_failure().map_or_else(Vec::new, |failure| {
            let site = |one: &tonic_types::PreconditionViolation| {
                let name = one.subject.strip_prefix("site/")?;
                Some((name.to_owned(), one.r#type.clone(), one.description.clone()))
            };
            failure.violations.iter().filter_map(site).collect()
        });
        Refusal {
            code: info.map_or_else(|| code_name(status.code()).to_owned(), |info| info.reason.clone()),
            kind,
            status: status.code(),
            field: metadata("field").to_owned(),
            message: status.message().to_owned(),
            sites,
            sites_left_out: metadata("sites_left_out").parse().unwrap_or(0),
            figures: figures_of(&metadata),
            nearest: info.and_then(|info| instead_of(&info.metadata)),
        }
    }

    /// The exit code of a command line.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.kind.map_or_else(|| code_exit_code(self.status), kind_exit_code)
    }

    /// The same request with the same id may do better in a moment.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        self.status == Code::Unavailable
    }
}

fn figures_of<'a>(metadata: &impl Fn(&str) -> &'a str) -> Option<Figures> {
    let sku = metadata("unit_hours_of");
    Some(Figures {
        needed: metadata("needed").parse().ok()?,
        available: metadata("available").parse().ok()?,
        unit_hours_of: (!sku.is_empty()).then(|| sku.into()),
    })
}

fn instead_of(metadata: &HashMap<String, String>) -> Option<Instead> {
    let code = metadata.get(NEAREST)?.clone();
    let detail = |(key, value): (&String, &String)| {
        let name = key.strip_prefix(NEAREST)?.strip_prefix('_')?;
        (key != NEAREST_TEXT).then(|| (name.to_owned(), value.clone()))
    };
    let mut details: Vec<(String, String)> = metadata.iter().filter_map(detail).collect();
    details.sort();
    Some(Instead {
        code,
        details,
        text: metadata.get(NEAREST_TEXT).cloned().unwrap_or_default(),
    })
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use hesuan_engine::outcome::Nearest;

    use super::*;

    fn rejection(kind: RejectionKind) -> Rejection {
        Rejection {
            code: "UNSATISFIABLE",
            kind,
            field: "spec.resources.gpu_milli".into(),
            message: "no site has 9 gpus of model a800: ask for fewer".into(),
            sites: vec![("songjiang".into(), "CAPACITY_GPU", "largest host has 8".into())],
            figures: Some(Box::new(Figures {
                needed: 1_234,
                available: 1_000,
                unit_hours_of: None,
            })),
            nearest: Some(Box::new(Nearest {
                code: "OTHER_SITE",
                details: vec![("site", "hefei".into()), ("copay_fen", "900".into())],
                text: "in hefei it would cost you 9.00 yuan: --site hefei".into(),
            })),
        }
    }

    #[test]
    fn a_rejection_comes_back_from_its_status_as_it_was() {
        for (kind, _) in KINDS {
            let sent = rejection(kind);
            let read = Refusal::from_status(&status(&sent));
            assert_eq!(read.code, sent.code);
            assert_eq!(read.kind, Some(kind));
            assert_eq!(read.status, grpc_code(kind));
            assert_eq!(read.field, &*sent.field);
            assert_eq!(read.message, &*sent.message);
            assert_eq!(
                read.sites,
                [(
                    "songjiang".to_owned(),
                    "CAPACITY_GPU".to_owned(),
                    "largest host has 8".to_owned()
                )]
            );
            assert_eq!(read.sites_left_out, 0);
            assert_eq!(read.figures.as_ref(), sent.figures.as_deref());
            let nearest = read.nearest.as_ref().expect("it was sent");
            assert_eq!(
                (nearest.code.as_str(), nearest.text.as_str()),
                ("OTHER_SITE", "in hefei it would cost you 9.00 yuan: --site hefei")
            );
            let details =
                [("copay_fen", "900"), ("site", "hefei")].map(|(key, value)| (key.to_owned(), value.to_owned()));
            assert_eq!(nearest.details, details);
            assert_eq!(read.exit_code(), kind_exit_code(kind));
        }
    }

    /// Headers are bounded: with hundreds of sites the status itself would not arrive.
    #[test]
    fn more_reasons_than_fit_are_counted() {
        let mut sent = rejection(RejectionKind::Unsatisfiable);
        sent.sites = (0..500)
            .map(|n| (format!("site-{n}").into(), "CAPACITY_GPU", "x".repeat(40).into()))
            .collect();
        let read = Refusal::from_status(&status(&sent));
        assert!(!read.sites.is_empty());
        assert_eq!(read.sites.len() + read.sites_left_out, 500);
        assert!(status(&sent).details().len() < 8 * 1024);
    }

    #[test]
    fn exit_codes_are_those_of_the_table() {
        let table = [
            (RejectionKind::Invalid, 2),
            (RejectionKind::NotFound, 3),
            (RejectionKind::Denied, 4),
            (RejectionKind::AlreadyExists, 5),
            (RejectionKind::Precondition, 5),
            (RejectionKind::Funds, 6),
            (RejectionKind::Exhausted, 7),
            (RejectionKind::Unsatisfiable, 9),
        ];
        for (kind, code) in table {
            assert_eq!(kind_exit_code(kind), code, "{kind:?}");
        }
        assert_eq!(code_exit_code(Code::Unauthenticated), 4);
        assert_eq!(code_exit_code(Code::DeadlineExceeded), 7);
        assert_eq!(code_exit_code(Code::Unknown), 1);
    }

    #[test]
    fn a_status_of_the_transport_has_no_kind_and_its_own_name() {
        let read = Refusal::from_status(&Status::unavailable("connection refused"));
        assert_eq!(
            (read.code.as_str(), read.kind, read.exit_code()),
            ("UNAVAILABLE", None, 7)
        );
        assert!(read.may_retry());
        let read = Refusal::from_status(&trouble(Code::Unavailable, "NO_LEADER", "no leader is known"));
        assert_eq!((read.code.as_str(), read.exit_code()), ("NO_LEADER", 7));
    }
}
