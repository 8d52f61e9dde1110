//! Journal records as bytes: prost messages of our own, so that fields can be added.

use hesuan_api::internal::v1::TaskEnd;
use prost::Message;

use crate::core::{JournalRecord, Outcome, StopReason, View};
use crate::task::TaskKey;

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(uint64, tag = "1")]
    job: u64,
    #[prost(uint32, tag = "2")]
    task: u32,
    #[prost(uint32, tag = "3")]
    attempt: u32,
    #[prost(uint32, tag = "4")]
    task_restore_epoch: u32,
    #[prost(uint32, tag = "5")]
    seen_restore_epoch: u32,
    #[prost(uint64, tag = "6")]
    seen_applied_index: u64,
    #[prost(oneof = "Kind", tags = "10, 11, 12, 13, 14, 15")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, tag = "10")]
    Start(Start),
    #[prost(uint32, tag = "11")]
    Stop(u32),
    #[prost(message, tag = "12")]
    Ended(Ended),
    #[prost(bool, tag = "13")]
    Done(bool),
    #[prost(bool, tag = "14")]
    Seen(bool),
    #[prost(uint64, tag = "15")]
    Limit(u64),
}

#[derive(Clone, PartialEq, Message)]
struct Start {
    #[prost(bool, tag = "1")]
    lease_bound: bool,
    #[prost(uint64, tag = "2")]
    walltime_ms_max: u64,
    // 0 = one.
    #[prost(uint32, tag = "3")]
    nodes: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Ended {
    #[prost(int32, tag = "1")]
    end: i32,
    #[prost(sint32, tag = "2")]
    exit_code: i32,
    #[prost(uint32, tag = "3")]
    signal: u32,
    #[prost(uint64, tag = "4")]
    wall_ms: u64,
    #[prost(uint64, tag = "5")]
    cpu_ms: u64,
    #[prost(uint64, tag = "6")]
    memory_peak_mib: u64,
    #[prost(string, tag = "7")]
    message: String,
    #[prost(bool, tag = "8")]
    start_error_user: bool,
}

const STOP_CANCELLED: u32 = 1;
const STOP_TIME_LIMIT: u32 = 2;
const STOP_LEASE_EXPIRED: u32 = 3;
/// And from here on: with the node of this rank, counted from here.
const STOP_NODE_ENDED: u32 = 16;

/// Appends the record's bytes to `buffer`.
pub(super) fn encode(record: &JournalRecord, buffer: &mut Vec<u8>) {
    let (key, seen, kind) = match record {
        JournalRecord::Start {
            task,
            lease_bound,
            walltime_ms_max,
            nodes,
            seen,
        } => {
            let start = Start {
                lease_bound: *lease_bound,
                walltime_ms_max: *walltime_ms_max,
                nodes: *nodes,
            };
            (Some(task), Some(seen), Kind::Start(start))
        }
        JournalRecord::Limit {
            task,
            walltime_ms_max,
            seen,
        } => (Some(task), Some(seen), Kind::Limit(*walltime_ms_max)),
        JournalRecord::Stop { task, reason } => {
            let reason = match reason {
                StopReason::Cancelled => STOP_CANCELLED,
                StopReason::TimeLimit => STOP_TIME_LIMIT,
                StopReason::LeaseExpired => STOP_LEASE_EXPIRED,
                StopReason::NodeEnded(node) => STOP_NODE_ENDED.saturating_add(*node),
            };
            (Some(task), None, Kind::Stop(reason))
        }
        JournalRecord::Ended { task, outcome } => (Some(task), None, Kind::Ended(outcome.clone().into())),
        JournalRecord::Done { task, seen } => (Some(task), Some(seen), Kind::Done(true)),
        JournalRecord::Seen { seen } => (None, Some(seen), Kind::Seen(true)),
    };
    let key = key.copied().unwrap_or(TaskKey {
        job: 0,
        task: 0,
        attempt: 0,
        restore_epoch: 0,
        node: 0,
    });
    let seen = seen.copied().unwrap_or_default();
    let message = Record {
        job: key.job,
        task: key.task,
        attempt: key.attempt,
        task_restore_epoch: key.restore_epoch,
        seen_restore_epoch: seen.restore_epoch,
        seen_applied_index: seen.applied_index,
        kind: Some(kind),
    };
    message.encode(buffer).expect("a Vec grows as needed");
}

/// Reads a record; `None` when the bytes are none, which behind a good checksum means another version wrote them.
pub(super) fn decode(bytes: &[u8]) -> Option<JournalRecord> {
    let message = Record::decode(bytes).ok()?;
    let task = TaskKey {
        job: message.job,
        task: message.task,
        attempt: message.attempt,
        restore_epoch: message.task_restore_epoch,
        node: 0,
    };
    let seen = View {
        restore_epoch: message.seen_restore_epoch,
        applied_index: message.seen_applied_index,
    };
    Some(match message.kind? {
        Kind::Start(start) => {
            let Start {
                lease_bound,
                walltime_ms_max,
                nodes,
            } = start;
            JournalRecord::Start {
                task,
                lease_bound,
                walltime_ms_max,
                nodes: nodes.max(1),
                seen,
            }
        }
        Kind::Limit(walltime_ms_max) => JournalRecord::Limit {
            task,
            walltime_ms_max,
            seen,
        },
        Kind::Stop(reason) => {
            let reason = match reason {
                STOP_CANCELLED => StopReason::Cancelled,
                STOP_TIME_LIMIT => StopReason::TimeLimit,
                STOP_LEASE_EXPIRED => StopReason::LeaseExpired,
                STOP_NODE_ENDED.. => StopReason::NodeEnded(reason - STOP_NODE_ENDED),
                _ => return None,
            };
            JournalRecord::Stop { task, reason }
        }
        Kind::Ended(ended) => JournalRecord::Ended {
            task,
            outcome: ended.into_outcome()?,
        },
        Kind::Done(_) => JournalRecord::Done { task, seen },
        Kind::Seen(_) => JournalRecord::Seen { seen },
    })
}

impl From<Outcome> for Ended {
    fn from(outcome: Outcome) -> Ended {
        Ended {
            end: outcome.end.into(),
            exit_code: outcome.exit_code,
            signal: outcome.signal,
            wall_ms: outcome.wall_ms,
            cpu_ms: outcome.cpu_ms,
            memory_peak_mib: outcome.memory_peak_mib,
            message: outcome.message,
            start_error_user: outcome.start_error_user,
        }
    }
}

impl Ended {
    fn into_outcome(self) -> Option<Outcome> {
        Some(Outcome {
            end: TaskEnd::try_from(self.end).ok()?,
            exit_code: self.exit_code,
            signal: self.signal,
            wall_ms: self.wall_ms,
            cpu_ms: self.cpu_ms,
            memory_peak_mib: self.memory_peak_mib,
            message: self.message,
            start_error_user: self.start_error_user,
        })
    }
}
