//! What an agent is told of one task.

use hesuan_engine::state::AssignmentView;

use crate::convert::site::task_id_message;
use crate::internal::v1::{AssignedNode, Assignment};

/// The assignment as it goes to the site's agent, payload and script in full.
#[must_use]
pub fn message(view: &AssignmentView<'_>) -> Assignment {
    let resources = &view.request.resources;
    let node = |(host, gpu_indices): (&str, &[u32])| AssignedNode {
        host: host.to_owned(),
        gpu_indices: gpu_indices.to_vec(),
    };
    let nodes = if view.others.is_empty() {
        Vec::new()
    } else {
        let first = std::iter::once((view.host, view.gpu_indices));
        first.chain(view.others.iter().copied()).map(node).collect()
    };
    Assignment {
        task: Some(task_id_message(view.task)),
        payload: view.spec.payload.to_vec(),
        script: view.script.map(|script| script.to_vec()).unwrap_or_default(),
        cpu_milli: resources.cpu_milli,
        memory_mib: resources.memory_mib,
        host: view.host.to_owned(),
        gpu_indices: view.gpu_indices.to_vec(),
        gpu_milli: u32::try_from(resources.gpu_milli).unwrap_or(u32::MAX),
        // To an agent 0 is no limit; a task whose money ended the moment it was placed has had its time.
        walltime_ms_max: view.walltime_ms_max.max(1),
        requeue_on_site_lost: view.requeue_on_site_lost,
        array_count: if view.spec.array { view.spec.tasks } else { 0 },
        cancel_requested: view.cancel_requested,
        nodes,
    }
}
