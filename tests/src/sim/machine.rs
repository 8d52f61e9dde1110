//! The shell of an agent, its machine and its stream, as reactions to events; and the replica's side of that stream.

use hesuan_agent::core::{BackendEvent, Output, StopSignal};
use hesuan_agent::task::TaskKey;
use hesuan_api::convert::site::task_id_message;
use hesuan_api::internal::v1::command::Body;
use hesuan_api::internal::v1::{
    AgentMessage, Assignments, AttachAgent, Hello, ReplicaMessage, ReportAck, TaskEnd, TaskEvent, TaskReport,
    Withdrawal, agent_message, replica_message,
};
use hesuan_api::v1::TaskPayload;
use hesuan_engine::outcome::Effect;
use hesuan_engine::types::{JobId, TaskId};
use prost::Message as _;
use rand::RngExt as _;

use super::client::behaviour;
use super::network::Peer;
use super::queue::ms;
use super::replica::{Process, Session, Waiting};
use super::site::{Limit, Stream, Write};
use super::world::{Event, World};

fn task_id(key: TaskKey) -> TaskId {
    TaskId {
        job: JobId(key.job),
        task: key.task,
        attempt: key.attempt,
        restore_epoch: key.restore_epoch,
    }
}

impl World {
    /// Starts a site's agent.
    pub(crate) fn site_start(&mut self, site: usize) {
        if self.sites[site].core.is_some() {
            return;
        }
        let (plant, now) = (self.plant, self.queue.now());
        let outputs = self.sites[site].start(plant, now);
        let boot = self.sites[site].boot;
        self.count("agent starts");
        self.perform(site, outputs);
        self.queue.after(ms(20), Event::Dial { site, boot });
    }

    /// The agent dials a replica that runs and can be reached.
    pub(crate) fn site_dial(&mut self, site: usize, boot: u64) {
        if self.sites[site].boot != boot || self.sites[site].core.is_none() || self.sites[site].stream.is_some() {
            return;
        }
        let now = self.queue.now();
        match self.any_running() {
            Some(id)
                if self.network.open(Peer::Agent(site), Peer::Replica(id))
                    && self.network.open(Peer::Replica(id), Peer::Agent(site)) =>
            {
                self.streams += 1;
                let replica_boot = self.replicas.get(&id).map_or(0, |r| r.boot);
                self.sites[site].stream = Some(Stream {
                    number: self.streams,
                    replica: id,
                    replica_boot,
                });
                let now_ms = self.sites[site].now_ms(now);
                self.with_core(site, |core| core.connected(now_ms));
            }
            _ => self.queue.after(ms(200), Event::Dial { site, boot }),
        }
    }

    /// The stream breaks: both ends notice, each after a while.
    pub(crate) fn hang_up(&mut self, site: usize, stream: u64) {
        if self.sites[site].stream.is_none_or(|s| s.number != stream) {
            return;
        }
        self.sites[site].stream = None;
        let now_ms = self.sites[site].now_ms(self.queue.now());
        let boot = self.sites[site].boot;
        self.with_core(site, |core| core.disconnected(now_ms));
        let delay = self.rng.random_range(ms(50)..ms(500));
        self.queue.after(delay, Event::Dial { site, boot });
    }

    fn with_core(&mut self, site: usize, act: impl FnOnce(&mut hesuan_agent::core::Core)) {
        let Some(core) = &mut self.sites[site].core else { return };
        act(core);
        let outputs = core.take_outputs();
        self.perform(site, outputs);
        self.ask_site_to_wake(site);
    }

    fn ask_site_to_wake(&mut self, site: usize) {
        let now = self.queue.now();
        let here = &self.sites[site];
        let Some(wake_ms) = here.core.as_ref().and_then(|core| core.next_wake()) else {
            return;
        };
        let at = now + wake_ms.saturating_sub(here.now_ms(now)).max(1) * 1000;
        if here.wake_at.is_none_or(|earlier| at < earlier || earlier <= now) {
            self.sites[site].wake_at = Some(at);
            let boot = self.sites[site].boot;
            self.queue.after(at - now, Event::SiteWake { site, boot });
        }
    }

    pub(crate) fn site_wake(&mut self, site: usize, boot: u64) {
        if self.sites[site].boot != boot || self.sites[site].core.is_none() {
            return;
        }
        self.sites[site].wake_at = None;
        // A stream whose other end is gone, or whose link is cut, breaks sooner or later.
        if let Some(stream) = self.sites[site].stream {
            let there = self
                .replicas
                .get(&stream.replica)
                .is_some_and(|r| r.boot == stream.replica_boot && r.process.is_some());
            let open = self.network.open(Peer::Agent(site), Peer::Replica(stream.replica))
                && self.network.open(Peer::Replica(stream.replica), Peer::Agent(site));
            if !there || !open {
                self.hang_up(site, stream.number);
            }
        }
        let now_ms = self.sites[site].now_ms(self.queue.now());
        self.with_core(site, |core| core.tick(now_ms));
    }

    pub(crate) fn site_journalled(&mut self, site: usize, boot: u64, seq: u64) {
        if self.sites[site].boot != boot || self.sites[site].core.is_none() {
            return;
        }
        self.sites[site].synced(seq);
        let now_ms = self.sites[site].now_ms(self.queue.now());
        self.with_core(site, |core| core.journalled(seq, now_ms));
    }

    fn perform(&mut self, site: usize, outputs: Vec<Output>) {
        for output in outputs {
            let boot = self.sites[site].boot;
            match output {
                Output::Send(message) => self.tell_replica(site, message),
                Output::Journal { seq, records } => self.journal(site, boot, seq, Write::Append(records)),
                Output::Rewrite { seq, records } => self.journal(site, boot, seq, Write::Rewrite(records)),
                Output::Start(assignment) => {
                    let nodes = (assignment.nodes.len() as u32).max(1);
                    (0..nodes).for_each(|node| self.spawn(site, &assignment, node));
                }
                Output::Signal { task, signal } => self.signal(site, task, signal),
                Output::SetLimit { task, walltime_ms_max } => {
                    if let Some(limit) = self.sites[site].limits.get_mut(&task) {
                        limit.now_ms = walltime_ms_max;
                    }
                }
                Output::Forget { task } => {
                    self.sites[site].ended.remove(&task);
                    self.sites[site].limits.remove(&task);
                }
                Output::Lease { until_ms } => self.sites[site].lease_until_ms = until_ms,
                Output::Reconnect { .. } => {
                    if let Some(stream) = self.sites[site].stream {
                        self.hang_up(site, stream.number);
                    }
                }
            }
        }
    }

    fn journal(&mut self, site: usize, boot: u64, seq: u64, write: Write) {
        self.sites[site].write(seq, write);
        let delay = self.disk_rng.random_range(100..=self.swarm.sync_max);
        self.queue.after(delay, Event::Journalled { site, boot, seq });
    }

    fn spawn(&mut self, site: usize, assignment: &hesuan_api::internal::v1::Assignment, node: u32) {
        let task = TaskKey::from(assignment.task.as_ref().expect("an assignment names its task")).with_node(node);
        let payload = TaskPayload::decode(assignment.payload.as_slice()).expect("the payload is what was submitted");
        let (duration_ms, exit_code) = behaviour(&payload, node);
        let now = self.queue.now();
        let exclusive = assignment.requeue_on_site_lost;
        self.oracle.process_started(task_id(task), node, exclusive);
        self.count("processes started");
        if node > 0 {
            self.count("further nodes of gangs started");
        }
        let serial = self.sites[site].spawn(task, exclusive, assignment.walltime_ms_max, now);
        self.queue.after(
            ms(duration_ms),
            Event::ProcessEnds {
                site,
                task,
                serial,
                exit_code,
            },
        );
        let at_ms = self.sites[site].now_ms(now);
        if let Some(core) = &mut self.sites[site].core {
            core.backend_event(BackendEvent::Started { task, at_ms }, at_ms);
        }
        self.ask_site_to_wake(site);
    }

    fn signal(&mut self, site: usize, task: TaskKey, signal: StopSignal) {
        let Some(running) = self.sites[site].running.get(&task) else {
            return;
        };
        let serial = running.serial;
        // Some processes do not heed the first signal.
        let heeds = signal == StopSignal::Kill || self.rng.random_range(0..4) > 0;
        if heeds {
            let delay = self.rng.random_range(ms(1)..ms(100));
            self.queue.after(delay, Event::ProcessDies { site, task, serial });
        }
    }

    pub(crate) fn process_ends(&mut self, site: usize, task: TaskKey, serial: u64, exit_code: i32) {
        self.process_over(site, task, serial, TaskEnd::Exited, exit_code);
    }

    pub(crate) fn process_dies(&mut self, site: usize, task: TaskKey, serial: u64) {
        self.process_over(site, task, serial, TaskEnd::Signalled, 0);
    }

    fn process_over(&mut self, site: usize, task: TaskKey, serial: u64, end: TaskEnd, exit_code: i32) {
        if self.sites[site]
            .running
            .get(&task)
            .is_none_or(|running| running.serial != serial)
        {
            return;
        }
        let now = self.queue.now();
        let Some(outcome) = self.sites[site].reap(task, end, exit_code, now) else {
            return;
        };
        self.oracle.process_ended(task_id(task), task.node);
        let limit = self.sites[site].limits.get(&task);
        let extended = |limit: &Limit| (limit.first_ms + 1..=limit.now_ms).contains(&outcome.wall_ms);
        if end == TaskEnd::Exited && limit.is_some_and(extended) {
            self.count("tasks that outran their first limit");
        }
        let now_ms = self.sites[site].now_ms(now);
        self.with_core(site, |core| {
            core.backend_event(BackendEvent::Ended { task, outcome }, now_ms)
        });
    }

    /// The agent crashes. Its tasks go on, each watched by its own supervisor, which minds its time and the lease; unless the
    /// whole `machine` goes, and with it every task and what was written of their ends.
    pub(crate) fn site_crash(&mut self, site: usize, machine: bool) {
        if self.sites[site].core.is_none() {
            return;
        }
        if let Some(stream) = self.sites[site].stream
            && let Some(process) = self.replicas.get_mut(&stream.replica).and_then(|r| r.process.as_mut())
        {
            process.sessions.remove(&site);
        }
        self.sites[site].crash();
        self.count("agent crashes");
        if machine {
            self.count("machine crashes");
            self.sites[site].ended.clear();
            for task in std::mem::take(&mut self.sites[site].running).into_keys() {
                self.oracle.process_ended(task_id(task), task.node);
            }
        }
        self.queue.after(ms(100), Event::LeaseWatch { site });
    }

    pub(crate) fn lease_watch(&mut self, site: usize) {
        if self.sites[site].core.is_some() {
            return;
        }
        let now_ms = self.sites[site].now_ms(self.queue.now());
        for (task, serial, end) in self.sites[site].to_be_stopped(now_ms) {
            self.process_over(site, task, serial, end, 0);
        }
        self.queue.after(ms(100), Event::LeaseWatch { site });
    }

    fn tell_replica(&mut self, site: usize, message: AgentMessage) {
        if let Some(agent_message::Body::Reports(reports)) = &message.body {
            self.check_limits(site, &reports.reports);
            for report in reports
                .reports
                .iter()
                .filter(|report| report.event() == TaskEvent::Ended)
            {
                let task = report.task.as_ref().expect("a report names its task");
                self.oracle.task_ended(task_id(TaskKey::from(task)));
            }
        }
        let Some(stream) = self.sites[site].stream else { return };
        let now = self.queue.now();
        let delays = self
            .network
            .delays(Peer::Agent(site), Peer::Replica(stream.replica), now, true);
        if delays.is_empty() {
            // A stream delivers everything or breaks.
            self.hang_up(site, stream.number);
        }
        for delay in delays {
            self.queue.after(
                delay,
                Event::ToReplica {
                    site,
                    stream,
                    message: message.clone(),
                },
            );
        }
    }

    // Nobody is stopped before the time is over that the agent itself gave out last.
    fn check_limits(&self, site: usize, reports: &[TaskReport]) {
        for report in reports.iter().filter(|report| report.end() == TaskEnd::TimeLimit) {
            let task = TaskKey::from(report.task.as_ref().expect("a report names its task"));
            let limit = self.sites[site].limits.get(&task);
            assert!(
                limit.is_none_or(|limit| report.wall_ms >= limit.now_ms),
                "{task} was stopped for time after {} ms of {limit:?}",
                report.wall_ms
            );
        }
    }

    /// A message to an agent, by the stream it hangs on.
    pub(crate) fn tell_agent(&mut self, site: usize, stream: u64, body: replica_message::Body) {
        let Some(current) = self.sites[site].stream.filter(|s| s.number == stream) else {
            return;
        };
        let now = self.queue.now();
        let delays = self
            .network
            .delays(Peer::Replica(current.replica), Peer::Agent(site), now, true);
        if delays.is_empty() {
            self.hang_up(site, stream);
        }
        for delay in delays {
            self.queue.after(
                delay,
                Event::ToAgent {
                    site,
                    stream,
                    body: body.clone(),
                },
            );
        }
    }

    pub(crate) fn agent_answer(&mut self, site: usize, stream: u64, body: replica_message::Body) {
        if self.sites[site].stream.is_none_or(|s| s.number != stream) {
            return;
        }
        let now_ms = self.sites[site].now_ms(self.queue.now());
        self.with_core(site, |core| core.handle(ReplicaMessage { body: Some(body) }, now_ms));
    }

    // The replica's side.

    /// An agent introduces itself: its attachment goes into the log.
    pub(crate) fn hello(
        &mut self,
        id: u64,
        process: &mut Process,
        site: usize,
        stream: u64,
        principal: u32,
        hello: Hello,
    ) {
        let Some(site_id) = process.applier.state().site_by_name(&hello.site).map(|s| s.id.0) else {
            self.hang_up(site, stream);
            return;
        };
        let instance = self.sites[site].instance();
        process.sessions.insert(
            site,
            Session {
                stream,
                instance,
                site_id,
                attached: false,
            },
        );
        let attach = AttachAgent {
            site: hello.site,
            instance: hello.instance,
            replica: id,
            hosts: hello.hosts,
        };
        self.take_command(
            id,
            process,
            principal,
            Body::AttachAgent(attach),
            Waiting::Attach { site, stream },
        );
    }

    /// Tells the agents of this replica what changed for them.
    pub(crate) fn tell_agents(&mut self, process: &mut Process, effects: &[Effect]) {
        let sessions: Vec<(usize, Session)> = process
            .sessions
            .iter()
            .filter(|(_, s)| s.attached)
            .map(|(site, session)| (*site, *session))
            .collect();
        for (site, session) in sessions {
            let state = process.applier.state();
            let ours = state
                .site(hesuan_engine::types::SiteId(session.site_id))
                .and_then(|s| s.agent)
                .is_some_and(|agent| agent.instance == session.instance);
            if !ours {
                process.sessions.remove(&site);
                self.hang_up(site, session.stream);
                continue;
            }
            let mut news = Assignments {
                applied_index: state.applied_index(),
                ..Assignments::default()
            };
            let mut acks = ReportAck::default();
            for effect in effects {
                match effect {
                    Effect::Assigned { site, task }
                    | Effect::LimitChanged { site, task }
                    | Effect::Withdrawn { site, task }
                        if site.0 == session.site_id =>
                    {
                        match state.assignment(*task) {
                            Some(view) => news.assigned.push(hesuan_api::assignment::message(&view)),
                            None => news.withdrawn.push(Withdrawal {
                                task: Some(task_id_message(*task)),
                                reason: String::new(),
                            }),
                        }
                    }
                    Effect::ReportJudged { site, task, seq } if site.0 == session.site_id => {
                        acks.tasks.push(task_id_message(*task));
                        acks.seqs.push(*seq);
                    }
                    _ => {}
                }
            }
            if !news.assigned.is_empty() || !news.withdrawn.is_empty() {
                self.tell_agent(site, session.stream, replica_message::Body::Assignments(news));
            }
            if !acks.tasks.is_empty() {
                self.tell_agent(site, session.stream, replica_message::Body::ReportAck(acks));
            }
        }
    }
}
