//! The state as bytes: a stream of framed records, table after table in order of key, cut into chunks without regard to
//! records. Equal states give equal bytes whatever the pages look like, so the hash of the bytes is the hash of the state.

use std::fmt;
use std::sync::Arc;

use hesuan_ledger::Ledger;
use hesuan_ledger::paged::{PagedMap, PagedVec};
use hesuan_ledger::types::Timestamp;
use prost::Message;
use sha2::{Digest as _, Sha256};

use super::policy_record::{PolicyRecord, UsageRecord};
use super::record::{
    AttemptTableRecord, ClassRecord, HeadRecord, HostRecord, JobTableRecord, Malformed, MemberRecord, PrincipalRecord,
    RequestRecord, ScriptRecord, SiteRecord, cluster_id, digest, limits_from, limits_to,
};
use super::record_contract::QuotaRecord;
use super::requests::Requests;
use super::usage::is_counted;
use super::{Meta, Script, State, Tables};
use crate::types::{ClassId, Digest, JobId};

/// No chunk is larger.
pub const CHUNK_BYTES_MAX: usize = 32 << 10;

// A record is at most a script or a payload and little else; more is a damaged length.
const RECORD_BYTES_MAX: usize = 16 << 20;

/// Kinds of records, in the order in which they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Head = 1,
    Member,
    Principal,
    Site,
    Host,
    Class,
    Script,
    Job,
    Attempt,
    Request,
    Usage,
    Quota,
    Ledger,
    End,
}

const KINDS: [Kind; 14] = [
    Kind::Head,
    Kind::Member,
    Kind::Principal,
    Kind::Site,
    Kind::Host,
    Kind::Class,
    Kind::Script,
    Kind::Job,
    Kind::Attempt,
    Kind::Request,
    Kind::Usage,
    Kind::Quota,
    Kind::Ledger,
    Kind::End,
];

/// The state as it was at one index; cheap to make, and encoded elsewhere.
#[derive(Clone)]
pub struct Frozen(Tables);

/// Why bytes are not a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The stream ends before its end record.
    Truncated,
    /// A record is not what its kind says, or stands where it cannot.
    Malformed(&'static str),
    /// The ledger's part is not a ledger.
    Ledger(Box<str>),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Truncated => write!(f, "the snapshot ends too early"),
            DecodeError::Malformed(what) => {
                write!(f, "the snapshot holds something no state could have written: {what}")
            }
            DecodeError::Ledger(why) => write!(f, "the ledger in the snapshot: {why}"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl From<Malformed> for DecodeError {
    fn from(Malformed(what): Malformed) -> Self {
        DecodeError::Malformed(what)
    }
}

impl State {
    /// The state as it is now, to be encoded elsewhere: copies page pointers.
    #[must_use]
    pub fn freeze(&self) -> Frozen {
        Frozen(self.tables.clone())
    }

    /// As [`Frozen::encode`].
    pub fn encode(&self, sink: &mut dyn FnMut(&[u8])) {
        encode(&self.tables, sink);
    }

    /// As [`Frozen::full_hash`].
    #[must_use]
    pub fn full_hash(&self) -> Digest {
        full_hash(&self.tables)
    }

    /// The state whose encoding these chunks are, in order; indexes are built anew.
    ///
    /// # Errors
    /// When they are not what a state wrote.
    pub fn decode<B: AsRef<[u8]>>(chunks: impl IntoIterator<Item = B>) -> Result<State, DecodeError> {
        let mut decoder = Decoder::default();
        for chunk in chunks {
            decoder.take(chunk.as_ref())?;
        }
        decoder.finish()
    }
}

impl Frozen {
    /// Gives the encoding to `sink` in chunks of at most [`CHUNK_BYTES_MAX`] bytes.
    pub fn encode(&self, sink: &mut dyn FnMut(&[u8])) {
        encode(&self.0, sink);
    }

    /// SHA-256 of the encoding: equal states, equal hashes.
    #[must_use]
    pub fn full_hash(&self) -> Digest {
        full_hash(&self.0)
    }

    /// Index of the last entry in it.
    #[must_use]
    pub fn applied_index(&self) -> u64 {
        self.0.meta.applied_index
    }

    /// Time of the last entry in it.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.0.meta.at
    }

    /// As [`State::outcome_digest`].
    #[must_use]
    pub fn outcome_digest(&self) -> Digest {
        self.0.meta.outcome_digest
    }
}

fn full_hash(tables: &Tables) -> Digest {
    let mut hash = Sha256::new();
    encode(tables, &mut |chunk| hash.update(chunk));
    hash.finalize().into()
}

struct Encoder<'a> {
    buffer: Vec<u8>,
    sink: &'a mut dyn FnMut(&[u8]),
}

impl Encoder<'_> {
    fn record(&mut self, kind: Kind, record: &impl Message) {
        self.header(kind, record.encoded_len());
        record.encode(&mut self.buffer).expect("a vector grows");
        self.flush(CHUNK_BYTES_MAX);
    }

    fn bytes(&mut self, kind: Kind, bytes: &[u8]) {
        self.header(kind, bytes.len());
        self.buffer.extend_from_slice(bytes);
        self.flush(CHUNK_BYTES_MAX);
    }

    fn header(&mut self, kind: Kind, len: usize) {
        assert!(len <= RECORD_BYTES_MAX, "a record of {len} bytes");
        self.buffer.push(kind as u8);
        self.buffer.extend_from_slice(&(len as u32).to_le_bytes());
    }

    fn flush(&mut self, at_least: usize) {
        if self.buffer.len() < at_least {
            return;
        }
        let whole = self.buffer.len() - self.buffer.len() % at_least.max(1);
        for chunk in self.buffer[..whole].chunks(CHUNK_BYTES_MAX) {
            (self.sink)(chunk);
        }
        self.buffer.drain(..whole);
    }
}

fn encode(tables: &Tables, sink: &mut dyn FnMut(&[u8])) {
    let mut out = Encoder {
        buffer: Vec::with_capacity(2 * CHUNK_BYTES_MAX),
        sink,
    };
    let meta = &tables.meta;
    let head = HeadRecord {
        cluster_id: meta.cluster_id.to_vec(),
        level: meta.level,
        restore_epoch: meta.restore_epoch,
        applied_index: meta.applied_index,
        at: meta.at.0,
        outcome_digest: meta.outcome_digest.to_vec(),
        rules_version: meta.rules_version,
        archived: meta.archived,
        requests_floor: tables.requests.floor.0,
        next_ids: vec![
            tables.principals.next_id(),
            tables.sites.next_id(),
            tables.hosts.next_id(),
            tables.classes.next_id(),
            tables.jobs.next_id(),
        ],
        limits: limits_to(&tables.limits),
        policy: Some(PolicyRecord::from(&*tables.policy)),
    };
    out.record(Kind::Head, &head);
    tables
        .members
        .iter()
        .for_each(|member| out.record(Kind::Member, &MemberRecord::from(member)));
    tables
        .principals
        .iter()
        .for_each(|(_, who)| out.record(Kind::Principal, &PrincipalRecord::from(who)));
    tables
        .sites
        .iter()
        .for_each(|(_, site)| out.record(Kind::Site, &SiteRecord::from(site)));
    tables
        .hosts
        .iter()
        .for_each(|(_, host)| out.record(Kind::Host, &HostRecord::from(host)));
    for (id, class) in tables.classes.iter() {
        out.record(Kind::Class, &ClassRecord::of(ClassId(id as u32), class));
    }
    for (digest, script) in tables.scripts.iter() {
        let (digest, bytes) = (digest.to_vec(), script.bytes.to_vec());
        out.record(
            Kind::Script,
            &ScriptRecord {
                digest,
                bytes,
                jobs: script.jobs,
            },
        );
    }
    tables
        .jobs
        .iter()
        .for_each(|(id, job)| out.record(Kind::Job, &JobTableRecord::of(JobId(id), job)));
    tables
        .attempts
        .iter()
        .for_each(|(id, attempt)| out.record(Kind::Attempt, &AttemptTableRecord::of(*id, attempt)));
    tables
        .requests
        .answers
        .iter()
        .for_each(|(key, answer)| out.record(Kind::Request, &RequestRecord::of(key, answer)));
    for (org, usage) in tables.usage.iter() {
        out.record(Kind::Usage, &UsageRecord::of(*org, usage));
    }
    for (org, quota) in tables.quotas.iter() {
        out.record(Kind::Quota, &QuotaRecord::of(*org, quota));
    }
    tables
        .ledger
        .encode_snapshot(&mut |chunk| out.bytes(Kind::Ledger, chunk));
    out.bytes(Kind::End, &[]);
    out.flush(0);
}

/// Takes a snapshot chunk by chunk, so that an installing replica never holds the encoding and the state at once.
#[derive(Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    // The bytes of `buffer` before this are read.
    read: usize,
    last: Option<Kind>,
    building: Option<Tables>,
    next_ids: Vec<u64>,
    ledger_chunks: Vec<Vec<u8>>,
}

impl Decoder {
    /// Takes the next chunk, of any size.
    ///
    /// # Errors
    /// When it does not go on where the one before ended.
    pub fn take(&mut self, chunk: &[u8]) -> Result<(), DecodeError> {
        self.buffer.drain(..self.read);
        self.read = 0;
        self.buffer.extend_from_slice(chunk);
        while let Some((&[kind, a, b, c, d], rest)) = self.buffer[self.read..].split_first_chunk::<5>() {
            let len = u32::from_le_bytes([a, b, c, d]) as usize;
            if len > RECORD_BYTES_MAX {
                return Err(DecodeError::Malformed("the length of a record"));
            }
            let Some(bytes) = rest.get(..len) else { return Ok(()) };
            let bytes = bytes.to_vec();
            let kind = KINDS.into_iter().find(|known| *known as u8 == kind);
            self.record(kind.ok_or(DecodeError::Malformed("the kind of a record"))?, &bytes)?;
            self.read += 5 + len;
        }
        Ok(())
    }

    /// The state, once every chunk was taken.
    ///
    /// # Errors
    /// When the end is missing, or the tables do not fit together.
    pub fn finish(self) -> Result<State, DecodeError> {
        if self.last != Some(Kind::End) {
            return Err(DecodeError::Truncated);
        }
        if self.read != self.buffer.len() {
            return Err(DecodeError::Malformed("bytes after the end"));
        }
        let mut tables = self.building.ok_or(DecodeError::Truncated)?;
        tables.ledger = Ledger::decode_snapshot(self.ledger_chunks)
            .map_err(|error| DecodeError::Ledger(error.to_string().into()))?;
        let &[principals, sites, hosts, classes, jobs] = &*self.next_ids else {
            return Err(DecodeError::Malformed("the next ids"));
        };
        tables.principals.skip_to(principals);
        tables.sites.skip_to(sites);
        tables.hosts.skip_to(hosts);
        tables.classes.skip_to(classes);
        tables.jobs.skip_to(jobs);
        check_references(&tables)?;
        Ok(State::from_tables(tables))
    }

    fn record(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), DecodeError> {
        let in_order = match self.last {
            None => kind == Kind::Head,
            Some(last) => kind > last || (kind == last && kind != Kind::Head && kind != Kind::End),
        };
        if !in_order {
            return Err(DecodeError::Malformed("the order of records"));
        }
        self.last = Some(kind);
        if kind == Kind::Head {
            let head = HeadRecord::decode(bytes).map_err(|_| DecodeError::Malformed("the head"))?;
            self.next_ids.clone_from(&head.next_ids);
            self.building = Some(empty_tables(&head)?);
            return Ok(());
        }
        let tables = self.building.as_mut().ok_or(DecodeError::Truncated)?;
        match kind {
            Kind::Head | Kind::End => {}
            Kind::Member => tables.members.push(parse::<MemberRecord>(bytes)?.into()),
            Kind::Principal => {
                let principal = parse::<PrincipalRecord>(bytes)?.read()?;
                insert(&mut tables.principals, principal.id.0.into(), principal)?;
            }
            Kind::Site => {
                let site = parse::<SiteRecord>(bytes)?.read()?;
                insert(&mut tables.sites, site.id.0.into(), site)?;
            }
            Kind::Host => {
                let host = parse::<HostRecord>(bytes)?.read()?;
                insert(&mut tables.hosts, host.id.0.into(), host)?;
            }
            Kind::Class => {
                let (id, class) = parse::<ClassRecord>(bytes)?.read()?;
                insert(&mut tables.classes, id.0.into(), class)?;
            }
            Kind::Script => {
                let script = parse::<ScriptRecord>(bytes)?;
                let bytes: Arc<[u8]> = script.bytes.into();
                tables.scripts.insert(
                    digest(&script.digest)?,
                    Script {
                        bytes,
                        jobs: script.jobs,
                    },
                );
            }
            Kind::Job => {
                let (id, job) = parse::<JobTableRecord>(bytes)?.read()?;
                insert(&mut tables.jobs, id.0, job)?;
            }
            Kind::Attempt => {
                let (id, attempt) = parse::<AttemptTableRecord>(bytes)?.read()?;
                tables.attempts.insert(id, attempt);
            }
            Kind::Request => {
                let (key, answer) = parse::<RequestRecord>(bytes)?.read()?;
                tables.requests.answers.insert(key, answer);
            }
            Kind::Usage => {
                let (org, usage) = parse::<UsageRecord>(bytes)?.read()?;
                tables.usage.insert(org, usage);
            }
            Kind::Quota => {
                let (org, quota) = parse::<QuotaRecord>(bytes)?.read()?;
                tables.quotas.insert(org, quota);
            }
            Kind::Ledger => self.ledger_chunks.push(bytes.to_vec()),
        }
        Ok(())
    }
}

fn parse<T: Message + Default>(bytes: &[u8]) -> Result<T, DecodeError> {
    T::decode(bytes).map_err(|_| DecodeError::Malformed("a record"))
}

fn insert<T: Clone>(table: &mut PagedVec<T>, id: u64, record: T) -> Result<(), DecodeError> {
    if id < table.next_id() || id > table.next_id().saturating_add(1 << 40) {
        return Err(DecodeError::Malformed("the order of ids"));
    }
    table.insert(id, record);
    Ok(())
}

fn empty_tables(head: &HeadRecord) -> Result<Tables, DecodeError> {
    let requests = Requests {
        floor: Timestamp(head.requests_floor),
        ..Requests::default()
    };
    Ok(Tables {
        meta: Meta {
            cluster_id: cluster_id(&head.cluster_id)?,
            level: head.level,
            restore_epoch: head.restore_epoch,
            applied_index: head.applied_index,
            at: Timestamp(head.at),
            outcome_digest: digest(&head.outcome_digest)?,
            rules_version: head.rules_version,
            archived: head.archived,
        },
        limits: limits_from(&head.limits)?,
        policy: head.policy.clone().ok_or(DecodeError::Malformed("no policy"))?.read()?,
        members: Vec::new(),
        principals: PagedVec::starting_at(1),
        sites: PagedVec::starting_at(1),
        hosts: PagedVec::starting_at(1),
        classes: PagedVec::starting_at(1),
        jobs: PagedVec::starting_at(1),
        attempts: PagedMap::new(),
        scripts: PagedMap::new(),
        usage: PagedMap::new(),
        quotas: PagedMap::new(),
        requests,
        ledger: Ledger::new(),
    })
}

// What the indexes and apply rely on without looking.
fn check_references(tables: &Tables) -> Result<(), DecodeError> {
    for (id, job) in tables.jobs.iter() {
        if !tables.classes.contains(job.class.0.into()) {
            return Err(DecodeError::Malformed("a job without a class"));
        }
        let waits = job.waits().into_iter().flat_map(|waits| &waits.on);
        if waits
            .into_iter()
            .any(|wait| wait.on().job.0 >= id || !tables.jobs.contains(wait.on().job.0))
        {
            return Err(DecodeError::Malformed("a job that waits for none before it"));
        }
        if job
            .spec
            .script
            .is_some_and(|script| !tables.scripts.contains_key(&script))
        {
            return Err(DecodeError::Malformed("a job without its script"));
        }
    }
    for (id, attempt) in tables.attempts.iter() {
        let found = tables.jobs.contains(id.job.0)
            && tables.sites.contains(attempt.site.0.into())
            && (!attempt.is_running() || attempt.places().all(|(host, _)| tables.hosts.contains(host.0.into())));
        if !found {
            return Err(DecodeError::Malformed("an attempt without a job, site or host"));
        }
    }
    if !is_counted(tables) {
        return Err(DecodeError::Malformed("what orgs run and what is counted"));
    }
    let sites_known = tables
        .hosts
        .iter()
        .all(|(_, host)| tables.sites.contains(host.site.0.into()));
    if sites_known {
        Ok(())
    } else {
        Err(DecodeError::Malformed("a host without a site"))
    }
}
