//! The world: takes one event after the other and lets the replica, agent or client it concerns act.

use std::collections::BTreeMap;

use hesuan_api::internal::v1::command::Body;
use hesuan_api::internal::v1::replica_message;
use hesuan_engine::outcome::{Outcome, Reply};
use hesuan_replica::applier::FrozenSnapshot;
use hesuan_replica::wire::SnapshotMeta;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};

use super::client::{Client, Kind, ORGS, Operation, scene};
use super::network::{Network, Peer};
use super::oracle::Oracle;
use super::queue::{Micros, Queue, ms};
use super::replica::{Frame, Replica};
use super::site::Site;
use super::swarm::{Plant, Swarm, stream};
use super::{OPERATORS, SITES};

/// Something that happens.
pub(crate) enum Event {
    /// A replica's clock ticks.
    Tick { replica: u64, boot: u64 },
    /// A frame arrives.
    Peer {
        to: u64,
        from: u64,
        wall_ms: u64,
        frame: Frame,
    },
    /// A batch of the log is durable.
    Synced { replica: u64, boot: u64, number: u64 },
    /// The bundler has lingered.
    Wake { replica: u64, boot: u64 },
    /// A snapshot has been written behind the scenes.
    Save {
        replica: u64,
        boot: u64,
        frozen: Box<FrozenSnapshot>,
    },
    /// A snapshot has been transferred.
    Fetched {
        replica: u64,
        boot: u64,
        from: u64,
        meta: SnapshotMeta,
    },
    /// A replica starts (again).
    Start { replica: u64 },
    /// An agent's timer.
    SiteWake { site: usize, boot: u64 },
    /// An agent's journal is on disk.
    Journalled { site: usize, boot: u64, seq: u64 },
    /// A task's process ends by itself.
    ProcessEnds {
        site: usize,
        task: hesuan_agent::task::TaskKey,
        serial: u64,
        exit_code: i32,
    },
    /// A signalled process dies.
    ProcessDies {
        site: usize,
        task: hesuan_agent::task::TaskKey,
        serial: u64,
    },
    /// Supervisors look at the lease while the agent is down.
    LeaseWatch { site: usize },
    /// An agent starts (again).
    SiteStart { site: usize },
    /// An agent dials.
    Dial { site: usize, boot: u64 },
    /// A message of an agent arrives.
    ToReplica {
        site: usize,
        stream: super::site::Stream,
        message: hesuan_api::internal::v1::AgentMessage,
    },
    /// A message for an agent arrives.
    ToAgent {
        site: usize,
        stream: u64,
        body: replica_message::Body,
    },
    /// A client thinks of something to do.
    Think { client: usize },
    /// A client asks a replica.
    Ask {
        client: usize,
        operation: u64,
        replica: u64,
    },
    /// A client's answer arrives.
    Answer {
        client: usize,
        operation: u64,
        outcome: Option<Outcome>,
    },
    /// A client's read was answered: whether the job is there.
    ReadAnswer { client: usize, operation: u64, found: bool },
    /// A client loses patience.
    Impatient { client: usize, operation: u64, tries: u32 },
    /// The next step of setting the scene.
    Scene,
    /// A fault happens, and the next one is drawn.
    Fault(Fault),
    /// Links are mended.
    Mend,
}

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Crash,
    PowerCut,
    Cut,
    AgentCrash,
    Transfer,
    Members,
}

/// Everything of one seed.
pub(crate) struct World {
    pub(crate) plant: Plant,
    /// The whole state is checked and hashed at every so many entries.
    pub(crate) depth: u64,
    pub(crate) swarm: Swarm,
    pub(crate) queue: Queue<Event>,
    pub(crate) network: Network,
    pub(crate) oracle: Oracle,
    pub(crate) replicas: BTreeMap<u64, Replica>,
    pub(crate) sites: Vec<Site>,
    pub(crate) clients: Vec<Client>,
    pub(crate) founders: Vec<u64>,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) disk_rng: ChaCha8Rng,
    pub(crate) faults_rng: ChaCha8Rng,
    /// Principals by name, once the scene is set.
    pub(crate) principals: BTreeMap<String, u32>,
    scene: Vec<(&'static str, Body)>,
    scene_at: usize,
    /// Faults may happen.
    pub(crate) stormy: bool,
    pub(crate) streams: u64,
    trace: Sha256,
    pub(crate) next_replica_id: u64,
    /// What happened how often, to see that a run was not empty.
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

const CLIENTS: usize = 3;
/// The client number of the scene.
pub(crate) const SCENE_CLIENT: usize = usize::MAX;

impl World {
    /// A cluster of three that has not started.
    #[must_use]
    pub(crate) fn new(seed: u64, plant: Plant, depth: u64) -> World {
        let swarm = Swarm::draw(seed);
        let founders = vec![1, 2, 3];
        let mut rng = stream(seed, 2);
        let mut replicas = BTreeMap::new();
        for id in &founders {
            let offset = rng.random_range(-swarm.clock_offset_ms_max..=swarm.clock_offset_ms_max);
            replicas.insert(*id, Replica::new(*id, Some(&founders), offset));
        }
        let mut world = World {
            plant,
            depth,
            network: Network::new(stream(seed, 3), swarm.links),
            queue: Queue::default(),
            oracle: Oracle::default(),
            replicas,
            sites: SITES
                .iter()
                .enumerate()
                .map(|(place, (name, _))| Site::new(place, name))
                .collect(),
            clients: (0..CLIENTS)
                .map(|place| Client::new(place, stream(seed, 10 + place as u64)))
                .collect(),
            founders: founders.clone(),
            rng,
            disk_rng: stream(seed, 4),
            faults_rng: stream(seed, 5),
            principals: BTreeMap::new(),
            scene: scene(),
            scene_at: 0,
            stormy: false,
            streams: 0,
            trace: Sha256::new(),
            next_replica_id: 4,
            counts: BTreeMap::new(),
            swarm,
        };
        for id in founders {
            world.queue.after(ms(id), Event::Start { replica: id });
        }
        world.queue.after(ms(1_500), Event::Scene);
        world
    }

    /// Runs until `until`.
    pub(crate) fn run_until(&mut self, until: Micros) {
        while let Some(event) = self.queue.next(until) {
            self.note(&event);
            self.handle(event);
        }
    }

    /// The hash over all that happened: equal seeds, equal hashes.
    #[must_use]
    pub(crate) fn trace_hash(&self) -> [u8; 32] {
        self.trace.clone().finalize().into()
    }

    /// Counts something.
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn note(&mut self, event: &Event) {
        let now = self.queue.now();
        let (kind, a, b): (u8, u64, u64) = match event {
            Event::Tick { replica, boot } => (1, *replica, *boot),
            Event::Peer { to, from, frame, .. } => {
                if let Frame::Raft(bytes) = frame {
                    self.trace.update(bytes);
                }
                (2, *to, *from)
            }
            Event::Synced { replica, number, .. } => (3, *replica, *number),
            Event::Wake { replica, .. } => (4, *replica, 0),
            Event::Save { replica, .. } => (5, *replica, 0),
            Event::Fetched { replica, from, .. } => (6, *replica, *from),
            Event::Start { replica } => (7, *replica, 0),
            Event::SiteWake { site, .. } => (8, *site as u64, 0),
            Event::Journalled { site, seq, .. } => (9, *site as u64, *seq),
            Event::ProcessEnds { task, .. } => (10, task.job, task.attempt.into()),
            Event::ProcessDies { task, .. } => (11, task.job, task.attempt.into()),
            Event::LeaseWatch { site } => (12, *site as u64, 0),
            Event::SiteStart { site } => (13, *site as u64, 0),
            Event::Dial { site, .. } => (14, *site as u64, 0),
            Event::ToReplica { site, stream, .. } => (15, *site as u64, stream.number),
            Event::ToAgent { site, stream, .. } => (16, *site as u64, *stream),
            Event::Think { client } => (17, *client as u64, 0),
            Event::Ask { operation, replica, .. } => (18, *operation, *replica),
            Event::Answer { operation, .. } => (19, *operation, 0),
            Event::ReadAnswer { operation, found, .. } => (20, *operation, (*found).into()),
            Event::Impatient { operation, tries, .. } => (21, *operation, (*tries).into()),
            Event::Scene => (22, 0, 0),
            Event::Fault(fault) => (23, *fault as u64, 0),
            Event::Mend => (24, 0, 0),
        };
        self.trace.update(now.to_le_bytes());
        self.trace.update([kind]);
        self.trace.update(a.to_le_bytes());
        self.trace.update(b.to_le_bytes());
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Tick { replica, boot } => self.replica_tick(replica, boot),
            Event::Peer {
                to,
                from,
                wall_ms,
                frame,
            } => self.replica_frame(to, from, wall_ms, frame),
            Event::Synced { replica, boot, number } => self.replica_synced(replica, boot, number),
            Event::Wake { replica, boot } => self.replica_wake(replica, boot),
            Event::Save { replica, boot, frozen } => self.replica_save(replica, boot, *frozen),
            Event::Fetched {
                replica,
                boot,
                from,
                meta,
            } => self.replica_fetched(replica, boot, from, meta),
            Event::Start { replica } => self.replica_start(replica),
            Event::SiteWake { site, boot } => self.site_wake(site, boot),
            Event::Journalled { site, boot, seq } => self.site_journalled(site, boot, seq),
            Event::ProcessEnds {
                site,
                task,
                serial,
                exit_code,
            } => self.process_ends(site, task, serial, exit_code),
            Event::ProcessDies { site, task, serial } => self.process_dies(site, task, serial),
            Event::LeaseWatch { site } => self.lease_watch(site),
            Event::SiteStart { site } => self.site_start(site),
            Event::Dial { site, boot } => self.site_dial(site, boot),
            Event::ToReplica { site, stream, message } => self.agent_message(site, stream, message),
            Event::ToAgent { site, stream, body } => self.agent_answer(site, stream, body),
            Event::Think { client } => self.think(client),
            Event::Ask {
                client,
                operation,
                replica,
            } => self.client_asks(client, operation, replica),
            Event::Answer {
                client,
                operation,
                outcome,
            } => self.answered(client, operation, outcome),
            Event::ReadAnswer {
                client,
                operation,
                found,
            } => self.read_answered(client, operation, found),
            Event::Impatient {
                client,
                operation,
                tries,
            } => self.impatient(client, operation, tries),
            Event::Scene => self.set_scene(),
            Event::Fault(fault) => self.fault(fault),
            Event::Mend => self.network.mend(),
        }
    }

    /// A replica that runs, drawn at random.
    pub(crate) fn any_running(&mut self) -> Option<u64> {
        let running: Vec<u64> = self
            .replicas
            .values()
            .filter(|r| r.process.is_some())
            .map(|r| r.id)
            .collect();
        (!running.is_empty()).then(|| running[self.rng.random_range(0..running.len())])
    }

    // The scene: one command after the other, by a client that never gives up.

    fn set_scene(&mut self) {
        if self.scene_at == self.scene.len() {
            self.scene_is_set();
            return;
        }
        let at = self.scene_at as u64;
        if let Some(replica) = self.any_running() {
            self.queue.after(
                ms(1),
                Event::Ask {
                    client: SCENE_CLIENT,
                    operation: at,
                    replica,
                },
            );
        }
        self.queue.after(
            ms(1_000),
            Event::Impatient {
                client: SCENE_CLIENT,
                operation: at,
                tries: 0,
            },
        );
    }

    fn scene_answered(&mut self, operation: u64, outcome: Option<Outcome>) {
        if operation != self.scene_at as u64 {
            return;
        }
        match outcome {
            Some(Outcome { reply: Ok(_), .. }) => {
                self.scene_at += 1;
                self.set_scene();
            }
            Some(Outcome {
                reply: Err(rejection), ..
            }) => {
                panic!(
                    "the scene's command {operation} is refused: {} {} {}",
                    rejection.code, rejection.field, rejection.message
                )
            }
            None => {}
        }
    }

    fn scene_is_set(&mut self) {
        for place in 0..self.sites.len() {
            self.queue.after(ms(place as u64 * 7), Event::SiteStart { site: place });
        }
        for client in 0..self.clients.len() {
            self.queue.after(ms(200), Event::Think { client });
        }
        self.stormy = true;
        for fault in [
            Fault::Crash,
            Fault::PowerCut,
            Fault::Cut,
            Fault::AgentCrash,
            Fault::Transfer,
            Fault::Members,
        ] {
            self.next_fault(fault);
        }
    }

    /// Who sends the scene's command, and what it is.
    pub(crate) fn scene_command(&self, operation: u64) -> Option<(&'static str, Body)> {
        (operation == self.scene_at as u64)
            .then(|| self.scene.get(self.scene_at).cloned())
            .flatten()
    }

    // Clients.

    fn think(&mut self, client: usize) {
        let now = self.queue.now();
        if !self.stormy {
            return;
        }
        let operation = self.clients[client].next(now);
        self.clients[client].current = Some(operation);
        self.ask(client);
    }

    fn ask(&mut self, client: usize) {
        let Some(current) = &mut self.clients[client].current else {
            return;
        };
        current.tries += 1;
        let (operation, tries) = (current.number, current.tries);
        if let Some(replica) = self.any_running() {
            self.queue.after(
                ms(1),
                Event::Ask {
                    client,
                    operation,
                    replica,
                },
            );
        }
        self.queue.after(
            ms(2_500),
            Event::Impatient {
                client,
                operation,
                tries,
            },
        );
    }

    fn impatient(&mut self, client: usize, operation: u64, tries: u32) {
        if client == SCENE_CLIENT {
            if operation == self.scene_at as u64 {
                self.set_scene();
            }
            return;
        }
        if self.clients[client]
            .current
            .as_ref()
            .is_some_and(|c| c.number == operation && c.tries == tries)
        {
            self.count("client retries");
            self.ask(client);
        }
    }

    fn take_current(&mut self, client: usize, operation: u64) -> Option<Operation> {
        let current = self.clients[client].current.take_if(|c| c.number == operation)?;
        let pause = self.clients[client].pause();
        self.queue.after(pause, Event::Think { client });
        Some(current)
    }

    fn answered(&mut self, client: usize, operation: u64, outcome: Option<Outcome>) {
        if client == SCENE_CLIENT {
            self.scene_answered(operation, outcome);
            return;
        }
        // Unavailable: the client tries again when it loses patience.
        let Some(outcome) = outcome else { return };
        let Some(current) = self.take_current(client, operation) else {
            return;
        };
        match (&current.kind, outcome.reply) {
            (Kind::Submit, Ok(Reply::Job(job))) => {
                self.oracle.acknowledged(current.request_id, job);
                self.count("submissions acknowledged");
                self.clients[client].done.push((current, job.0));
            }
            (Kind::Reuse, Err(rejection)) => {
                assert_eq!(rejection.code, "REQUEST_ID_REUSED", "{rejection:?}");
                self.count("reused ids refused");
            }
            (Kind::Submit, Err(rejection)) => {
                // Money may run out and vouchers expire, and what it waits for may be over, or be another's; anything else is a refusal
                // without a reason.
                let gates = [
                    "DONE_BY_PAST",
                    "DONE_BY_TOO_SOON",
                    "DEPENDENCY_UNMET",
                    "DEPENDENCY_ELEMENTS",
                    "UNKNOWN_JOB",
                ];
                let of_gates = gates.contains(&rejection.code);
                assert!(
                    of_gates
                        || matches!(
                            rejection.kind,
                            hesuan_engine::outcome::RejectionKind::Funds
                                | hesuan_engine::outcome::RejectionKind::Exhausted
                        ),
                    "a sound job was refused: {rejection:?}"
                );
                self.count(if of_gates {
                    "submissions refused for their gates"
                } else {
                    "submissions refused"
                });
            }
            (Kind::TopUp, Ok(_)) => self.count("top-ups"),
            (Kind::Extend, Ok(Reply::Extended { .. })) => self.count("extensions"),
            (Kind::Extend, Err(rejection)) => {
                let expected = [
                    "NOT_RUNNING",
                    "TASK_MISSING",
                    "BEING_STOPPED",
                    "UNKNOWN_JOB",
                    // A cover that was got by fraud, or revised at once, may have ended the hold.
                    "HOLD_OVER",
                    // Or just have ended a part of it, and the rest is being paid anew.
                    "HOLD_SWEPT",
                ];
                let is_money = rejection.kind == hesuan_engine::outcome::RejectionKind::Funds;
                assert!(is_money || expected.contains(&rejection.code), "{rejection:?}");
                self.count("extensions refused");
            }
            (Kind::Cancel, _) => self.count("cancels answered"),
            (Kind::Money, Ok(_)) => self.count("money commands taken"),
            (Kind::Money, Err(rejection)) => {
                use hesuan_engine::outcome::RejectionKind::{AlreadyExists, Funds, Invalid, NotFound, Precondition};
                // Asked blindly, so it may come too early, too late or twice; but never as something malformed or forbidden.
                let expected = matches!(rejection.kind, AlreadyExists | Funds | NotFound | Precondition)
                    || (rejection.kind == Invalid && rejection.code == "INVALID_FIELD");
                assert!(expected, "a sound money command was refused: {rejection:?}");
                self.count("money commands refused");
            }
            (kind, reply) => panic!("{kind:?} was answered with {reply:?}"),
        }
    }

    fn read_answered(&mut self, client: usize, operation: u64, found: bool) {
        let Some(current) = self.take_current(client, operation) else {
            return;
        };
        if let Kind::Read { job } = current.kind {
            assert!(
                found,
                "reads are linearizable: job {job} was acknowledged and a later read does not see it"
            );
            self.count("reads");
        }
    }

    /// The principal who sends a client's command.
    pub(crate) fn principal_of(&self, name: &str) -> Option<u32> {
        self.principals.get(name).copied()
    }

    /// The body and principal of a client's operation.
    pub(crate) fn operation(&self, client: usize, operation: u64) -> Option<(u32, Body)> {
        let (name, body) = if client == SCENE_CLIENT {
            self.scene_command(operation)?
        } else {
            let current = self.clients[client]
                .current
                .as_ref()
                .filter(|c| c.number == operation)?;
            let body = current.body.clone()?;
            (current.by.unwrap_or(ORGS[current.org]), body)
        };
        // The administrator is in the genesis.
        let principal = if name == "admin" {
            Some(1)
        } else {
            self.principal_of(name)
        };
        Some((principal?, body))
    }

    /// Remembers the numbers of the principals as they come to be.
    pub(crate) fn learn_principals(&mut self, state: &hesuan_engine::state::State) {
        let names = ["admin", "issuer", "treasurer", "reviewer"]
            .into_iter()
            .chain(ORGS)
            .chain(OPERATORS);
        for name in names
            .map(str::to_owned)
            .chain(SITES.iter().map(|(site, _)| format!("{site}-node")))
        {
            if let Some(principal) = state.principal_by_name(&name) {
                self.principals.insert(name, principal.id.0);
            }
        }
    }

    // Messages.

    /// Sends a frame between replicas.
    pub(crate) fn send(&mut self, from: u64, to: u64, frame: Frame) {
        let now = self.queue.now();
        let Some(wall_ms) = self.replicas.get(&from).map(|r| r.wall_ms(now)) else {
            return;
        };
        for delay in self.network.delays(Peer::Replica(from), Peer::Replica(to), now, false) {
            self.queue.after(
                delay,
                Event::Peer {
                    to,
                    from,
                    wall_ms,
                    frame: frame.clone(),
                },
            );
        }
    }
}
