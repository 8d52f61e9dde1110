//! Sites and what their agents say.

use hesuan_engine::command::{Body, EndKind, HostInventory, SiteState, TaskEnd, TaskEvent, TaskReport};
use hesuan_engine::types::{JobId, TaskId};

use super::check::{self, Checked, invalid, missing, range};
use super::job::{CPU_MILLI_MAX, MEMORY_MIB_MAX, generic};
use crate::internal::v1 as wire;
use crate::v1;

/// Machines of one site.
pub const HOSTS_MAX: usize = 4096;
/// Devices of one machine.
pub const GPUS_MAX: usize = 128;
/// Lines of one message of reports.
pub const REPORTS_MAX: usize = 65_536;
/// Bytes of an agent's text about a task; longer ones are cut, since a report must never be lost for its text.
pub const MESSAGE_BYTES_MAX: usize = 256;

pub(crate) fn create(request: v1::CreateSiteRequest) -> Checked<Body> {
    Ok(Body::CreateSite {
        name: check::name("name", request.name)?,
        region: check::region("region", request.region)?,
        provider: check::name("provider", request.provider)?,
    })
}

pub(crate) fn set_state(request: v1::SetSiteStateRequest) -> Checked<Body> {
    let state = match check::known("state", request.state, "open, cordoned and draining")? {
        v1::SiteState::Open => SiteState::Open,
        v1::SiteState::Cordoned => SiteState::Cordoned,
        v1::SiteState::Draining => SiteState::Draining,
        v1::SiteState::Unspecified => return Err(missing("state", "open, cordoned or draining")),
    };
    Ok(Body::SetSiteState {
        site: check::name("site", request.site)?,
        state,
        reason: check::note("reason", request.reason)?,
    })
}

pub(crate) fn attach(request: wire::AttachAgent) -> Checked<Body> {
    check::count("hosts", request.hosts.len(), HOSTS_MAX)?;
    let mut hosts = Vec::with_capacity(request.hosts.len());
    for (index, given) in request.hosts.into_iter().enumerate() {
        hosts.push(host(index, given)?);
    }
    let mut names: Vec<&str> = hosts.iter().map(|host: &HostInventory| &*host.name).collect();
    check::sort_distinct("hosts", &mut names)?;
    Ok(Body::AttachAgent {
        site: check::name("site", request.site)?,
        instance: check::instance("instance", &request.instance)?,
        replica: request.replica,
        hosts,
    })
}

fn host(index: usize, given: wire::HostInventory) -> Checked<HostInventory> {
    check::count(format_args!("hosts[{index}].gpus"), given.gpus.len(), GPUS_MAX)?;
    let mut gpus = Vec::with_capacity(given.gpus.len());
    for (device, gpu) in given.gpus.into_iter().enumerate() {
        gpus.push(check::token(
            format_args!("hosts[{index}].gpus[{device}].model"),
            gpu.model,
        )?);
    }
    Ok(HostInventory {
        name: check::name(format_args!("hosts[{index}].name"), given.name)?,
        cpu_milli: range(
            format_args!("hosts[{index}].cpu_milli"),
            given.cpu_milli,
            1,
            CPU_MILLI_MAX,
        )?,
        memory_mib: range(
            format_args!("hosts[{index}].memory_mib"),
            given.memory_mib,
            1,
            MEMORY_MIB_MAX,
        )?,
        gpus,
        generic: generic(
            format_args!("hosts[{index}].generic"),
            given.generic.into_iter().map(|one| (one.name, one.amount)).collect(),
        )?,
    })
}

pub(crate) fn reports(request: wire::Reports) -> Checked<Body> {
    check::count("reports", request.reports.len(), REPORTS_MAX)?;
    let mut reports = Vec::with_capacity(request.reports.len());
    for (index, given) in request.reports.into_iter().enumerate() {
        reports.push(report(index, given)?);
    }
    Ok(Body::Reports(reports))
}

fn report(index: usize, given: wire::TaskReport) -> Checked<TaskReport> {
    let task = given.task.ok_or_else(|| {
        missing(
            format_args!("reports[{index}].task"),
            "say which attempt the report is of",
        )
    })?;
    let event = match check::known(format_args!("reports[{index}].event"), given.event, "started and ended")? {
        wire::TaskEvent::Started | wire::TaskEvent::Unspecified => TaskEvent::Started,
        wire::TaskEvent::Ended => {
            let kind = match check::known(format_args!("reports[{index}].end"), given.end, "the values of TaskEnd")? {
                wire::TaskEnd::Exited => EndKind::Exited(given.exit_code),
                wire::TaskEnd::Signalled => EndKind::Signalled(given.signal),
                wire::TaskEnd::TimeLimit => EndKind::TimeLimit,
                wire::TaskEnd::Cancelled => EndKind::Cancelled,
                wire::TaskEnd::StartFailed => EndKind::StartFailed {
                    by_user: given.start_error_user,
                },
                wire::TaskEnd::MemoryLimit => EndKind::MemoryLimit,
                wire::TaskEnd::LeaseExpired => EndKind::LeaseExpired,
                wire::TaskEnd::Lost | wire::TaskEnd::Unspecified => EndKind::Lost,
            };
            TaskEvent::Ended(TaskEnd {
                kind,
                wall_ms: given.wall_ms,
                cpu_ms: given.cpu_ms,
                memory_peak_mib: given.memory_peak_mib,
                message: cut(given.message, MESSAGE_BYTES_MAX),
            })
        }
    };
    Ok(TaskReport {
        task: task_id(&task),
        seq: given.seq,
        event,
    })
}

/// The attempt a message speaks of.
#[must_use]
pub fn task_id(given: &wire::TaskId) -> TaskId {
    TaskId {
        job: JobId(given.job),
        task: given.task,
        attempt: given.attempt,
        restore_epoch: given.restore_epoch,
    }
}

/// The attempt as messages name it.
#[must_use]
pub fn task_id_message(task: TaskId) -> wire::TaskId {
    wire::TaskId {
        job: task.job.0,
        task: task.task,
        attempt: task.attempt,
        restore_epoch: task.restore_epoch,
    }
}

pub(super) fn lost(request: wire::SiteLost) -> Checked<Body> {
    if request.site == 0 {
        return Err(invalid("FIELD_MISSING", "site", "site is missing: give its number"));
    }
    Ok(Body::SiteLost {
        site: hesuan_engine::types::SiteId(request.site),
        instance: check::instance("instance", &request.instance)?,
    })
}

fn cut(mut text: String, bytes_max: usize) -> Box<str> {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.into_boxed_str()
}
