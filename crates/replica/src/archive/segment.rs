//! The bytes of one segment: `magic`, a header frame, record frames; when sealed also an index frame (ended jobs, sorted), a seal
//! frame and the seal's offset. Frames are `crate::frame`'s; all numbers are little-endian.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use sha2::{Digest, Sha256};

use super::{ArchiveConfig, ArchiveError, Record, SegmentRef};
use crate::files::Files;
use crate::frame;

const MAGIC: [u8; 8] = *b"HESUANA1";
/// Number and job of a record.
const RECORD_HEAD: usize = 16;
/// Job and offset in the index.
const PAIR: usize = 16;
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// Seal and offset are not longer together.
const TAIL_BYTES_MAX: u64 = 256;

const HEADER: u8 = 1;
const JOB: u8 = 2;
const JOURNAL: u8 = 3;
const INDEX: u8 = 4;
const SEAL: u8 = 5;

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(bytes = "vec", tag = "1")]
    cluster_id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    segment: u64,
    #[prost(uint64, tag = "3")]
    first: u64,
    #[prost(bytes = "vec", tag = "4")]
    previous_sha256: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Seal {
    #[prost(uint64, tag = "1")]
    end: u64,
    #[prost(uint64, tag = "2")]
    index_offset: u64,
    #[prost(uint64, tag = "3")]
    job_min: u64,
    #[prost(uint64, tag = "4")]
    job_max: u64,
    /// Of everything before the seal frame.
    #[prost(bytes = "vec", tag = "5")]
    content_sha256: Vec<u8>,
}

/// Where a segment stands in the chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) number: u64,
    pub(super) first: u64,
    /// Zeros for the first segment.
    pub(super) previous_sha256: [u8; 32],
}

/// A segment's file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed {
    pub(super) number: u64,
    pub(super) sealed: bool,
}

pub(super) fn sealed_name(number: u64) -> String {
    format!("segment-{number:010}.sealed")
}

pub(super) fn open_name(number: u64) -> String {
    format!("segment-{number:010}.open")
}

pub(super) fn part_name(number: u64) -> String {
    format!("segment-{number:010}.part")
}

/// The segments here, by number. What an interrupted transfer or seal left over is removed.
pub(super) fn list<F: Files>(files: &mut F) -> Result<Vec<Listed>, ArchiveError> {
    let mut found: BTreeMap<u64, Listed> = BTreeMap::new();
    for name in files.list()? {
        let Some((number, kind)) = name.strip_prefix("segment-").and_then(|rest| rest.split_once('.')) else {
            continue;
        };
        let Ok(number) = number.parse::<u64>() else { continue };
        let sealed = match kind {
            "sealed" => true,
            "open" => false,
            "part" => {
                files.remove(&name)?;
                continue;
            }
            _ => continue,
        };
        // Names are sorted: the sealed one comes after the open one it replaces.
        if found.insert(number, Listed { number, sealed }).is_some() {
            files.remove(&open_name(number))?;
        }
    }
    Ok(found.into_values().collect())
}

fn damaged(segment: u64, what: impl Into<String>) -> ArchiveError {
    ArchiveError::Damaged {
        segment,
        what: what.into(),
    }
}

/// Number and record of a record frame.
fn parse_record(kind: u8, body: &[u8]) -> Option<(u64, Record)> {
    let number = frame::u64_at(body, 0)?;
    let job = frame::u64_at(body, 8)?;
    let bytes = body.get(RECORD_HEAD..)?.into();
    match kind {
        JOB => Some((number, Record { job: Some(job), bytes })),
        JOURNAL => Some((number, Record { job: None, bytes })),
        _ => None,
    }
}

fn parse_header(
    config: &ArchiveConfig,
    number: u64,
    first: u64,
    bytes: &[u8],
) -> Result<([u8; 32], usize), ArchiveError> {
    if bytes.get(..MAGIC.len()) != Some(&MAGIC) {
        return Err(damaged(number, "it does not begin like an archive segment"));
    }
    let (kind, body, end) = frame::parse(bytes, MAGIC.len()).ok_or_else(|| damaged(number, "its header is torn"))?;
    let header = Header::decode(body).map_err(|e| damaged(number, format!("its header: {e}")))?;
    if kind != HEADER || header.cluster_id != config.cluster_id {
        return Err(damaged(number, "it belongs to another cluster"));
    }
    if header.segment != number || header.first != first {
        return Err(damaged(
            number,
            format!("it begins with record {}, not {first}", header.first),
        ));
    }
    let previous = header
        .previous_sha256
        .try_into()
        .map_err(|_| damaged(number, "its link is not a hash"))?;
    Ok((previous, end))
}

/// A segment that is complete.
#[derive(Clone, Debug)]
pub(super) struct SealedSegment {
    pub(super) number: u64,
    pub(super) first: u64,
    pub(super) end: u64,
    bytes: u64,
    seal_offset: u64,
    seal: Seal,
    pub(super) previous_sha256: [u8; 32],
    /// Of the whole file; the next header says it too.
    pub(super) sha256: Option<[u8; 32]>,
}

impl SealedSegment {
    /// Reads header and seal; the records in between are checked when they are read, or by `verify`.
    pub(super) fn open<F: Files>(
        files: &F,
        config: &ArchiveConfig,
        number: u64,
        first: u64,
    ) -> Result<Self, ArchiveError> {
        let name = sealed_name(number);
        let (previous_sha256, _) = parse_header(config, number, first, &files.read(&name, 0, 512)?)?;
        let bytes = files.size(&name)?;
        let tail_at = bytes.saturating_sub(TAIL_BYTES_MAX);
        let tail = files.read(&name, tail_at, TAIL_BYTES_MAX as usize)?;
        let parse = || {
            let seal_offset = frame::u64_at(&tail, tail.len().checked_sub(8)?)?;
            let (kind, body, end) = frame::parse(&tail, usize::try_from(seal_offset.checked_sub(tail_at)?).ok()?)?;
            let seal = Seal::decode(body).ok()?;
            (kind == SEAL && end + 8 == tail.len() && seal.end >= first).then_some((seal_offset, seal))
        };
        let (seal_offset, seal) = parse().ok_or_else(|| damaged(number, "its seal does not fit"))?;
        Ok(Self {
            number,
            first,
            end: seal.end,
            bytes,
            seal_offset,
            seal,
            previous_sha256,
            sha256: None,
        })
    }

    pub(super) fn reference(&self) -> SegmentRef {
        let sha256 = self.sha256().to_vec();
        SegmentRef {
            segment: self.number,
            first: self.first,
            end: self.end,
            bytes: self.bytes,
            sha256,
            sealed: true,
        }
    }

    pub(super) fn sha256(&self) -> [u8; 32] {
        self.sha256.expect("known once the archive is open")
    }

    /// Appends what it holds of a job.
    pub(super) fn find_job<F: Files>(
        &self,
        files: &F,
        job: u64,
        records: &mut Vec<Record>,
    ) -> Result<(), ArchiveError> {
        if !(self.seal.job_min..=self.seal.job_max).contains(&job) {
            return Ok(());
        }
        let name = sealed_name(self.number);
        let fail = || damaged(self.number, "its index does not fit");
        let index_bytes = self.seal_offset.checked_sub(self.seal.index_offset).ok_or_else(fail)?;
        let index_bytes = usize::try_from(index_bytes).map_err(|_| fail())?;
        let index = files.read(&name, self.seal.index_offset, index_bytes)?;
        let (kind, pairs, _) = frame::parse(&index, 0).ok_or_else(fail)?;
        let (pairs, rest) = pairs.as_chunks::<PAIR>();
        if kind != INDEX || !rest.is_empty() {
            return Err(fail());
        }
        let job_of = |pair: &[u8; PAIR]| frame::u64_at(pair, 0).unwrap_or(0);
        let first = pairs.partition_point(|pair| job_of(pair) < job);
        for pair in pairs[first..].iter().take_while(|pair| job_of(pair) == job) {
            let offset = frame::u64_at(pair, 8).unwrap_or(0);
            let length = frame::length(&files.read(&name, offset, frame::HEAD)?, 0).unwrap_or(0);
            let bytes = files.read(&name, offset, frame::HEAD + length)?;
            records.push(record_of_job(&bytes, 0, job).ok_or_else(|| damaged(self.number, torn_record(job)))?);
        }
        Ok(())
    }
}

fn torn_record(job: u64) -> String {
    format!("a record of job {job} does not fit")
}

fn record_of_job(bytes: &[u8], at: usize, job: u64) -> Option<Record> {
    let (kind, body, _) = frame::parse(bytes, at)?;
    parse_record(kind, body)
        .map(|(_, record)| record)
        .filter(|record| record.job == Some(job))
}

/// What a crash left of the segment being written.
pub(super) enum Recovered {
    /// Records, perhaps fewer than were written.
    Open(OpenSegment),
    /// It was sealed but for its name.
    Sealed(SealedSegment),
    /// Not even a header.
    Empty,
}

/// The segment being written.
#[derive(Debug)]
pub(super) struct OpenSegment {
    place: Place,
    end: u64,
    bytes: u64,
    hasher: Sha256,
    /// Job and offset of each record about a job.
    jobs: BTreeSet<(u64, u64)>,
    buffer: Vec<u8>,
    dirty: bool,
}

impl OpenSegment {
    pub(super) fn begin<F: Files>(files: &mut F, config: &ArchiveConfig, place: Place) -> Result<Self, ArchiveError> {
        let header = Header {
            cluster_id: config.cluster_id.to_vec(),
            segment: place.number,
            first: place.first,
            previous_sha256: place.previous_sha256.to_vec(),
        };
        let mut open = Self::empty(place);
        files.create(&open_name(place.number))?;
        let mut bytes = MAGIC.to_vec();
        frame::push(&mut bytes, HEADER, &[&header.encode_to_vec()]);
        open.write(files, bytes)?;
        open.sync(files)?;
        files.sync_dir()?;
        Ok(open)
    }

    pub(super) fn recover<F: Files>(
        files: &mut F,
        config: &ArchiveConfig,
        number: u64,
        first: u64,
    ) -> Result<Recovered, ArchiveError> {
        let content = Content::read(files, &open_name(number), number)?;
        let Ok((previous_sha256, mut at)) = parse_header(config, number, first, &content.bytes) else {
            // The header is synced before the first record, so a file without one never held anything durable.
            files.remove(&open_name(number))?;
            files.sync_dir()?;
            return Ok(Recovered::Empty);
        };
        let mut open = Self::empty(Place {
            number,
            first,
            previous_sha256,
        });
        while let Some((kind, body, end)) = frame::parse(&content.bytes, at) {
            let Some((record, Record { job, .. })) = parse_record(kind, body) else {
                break;
            };
            if record != open.end {
                return Err(damaged(
                    number,
                    format!("record {record} stands where {} belongs", open.end),
                ));
            }
            open.jobs.extend(job.map(|job| (job, at as u64)));
            open.end += 1;
            at = end;
        }
        if content.is_sealed(at) {
            files.sync(&open_name(number))?;
            files.rename(&open_name(number), &sealed_name(number))?;
            files.sync_dir()?;
            return Ok(Recovered::Sealed(SealedSegment::open(files, config, number, first)?));
        }
        if at < content.bytes.len() {
            files.truncate(&open_name(number), at as u64)?;
        }
        // What the page cache still holds after a mere kill was perhaps never synced.
        files.sync(&open_name(number))?;
        open.bytes = at as u64;
        open.hasher.update(&content.bytes[..at]);
        if open.bytes >= config.segment_bytes_max {
            return Ok(Recovered::Sealed(open.seal(files)?));
        }
        Ok(Recovered::Open(open))
    }

    pub(super) fn previous_sha256(&self) -> [u8; 32] {
        self.place.previous_sha256
    }

    pub(super) fn number(&self) -> u64 {
        self.place.number
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn append<F: Files>(&mut self, files: &mut F, number: u64, record: &Record) -> Result<(), ArchiveError> {
        assert_eq!(number, self.end, "archive records are consecutive");
        let kind = if record.job.is_some() { JOB } else { JOURNAL };
        let job = record.job.unwrap_or(0);
        let mut frame = Vec::with_capacity(frame::HEAD + 1 + RECORD_HEAD + record.bytes.len());
        frame::push(
            &mut frame,
            kind,
            &[&number.to_le_bytes(), &job.to_le_bytes(), &record.bytes],
        );
        self.jobs.extend(record.job.map(|job| (job, self.bytes)));
        self.end += 1;
        self.write(files, frame)
    }

    pub(super) fn sync<F: Files>(&mut self, files: &mut F) -> Result<(), ArchiveError> {
        self.flush(files)?;
        if std::mem::take(&mut self.dirty) {
            files.sync(&open_name(self.place.number))?;
        }
        Ok(())
    }

    pub(super) fn reference(&self) -> SegmentRef {
        SegmentRef {
            segment: self.place.number,
            first: self.place.first,
            end: self.end,
            bytes: self.bytes,
            sha256: self.hasher.clone().finalize().to_vec(),
            sealed: false,
        }
    }

    pub(super) fn content<F: Files>(&self, files: &F) -> Result<Content, ArchiveError> {
        let mut content = Content::read(files, &open_name(self.place.number), self.place.number)?;
        content.bytes.extend_from_slice(&self.buffer);
        Ok(content)
    }

    /// Appends what it holds of a job.
    pub(super) fn find_job<F: Files>(
        &self,
        files: &F,
        job: u64,
        records: &mut Vec<Record>,
    ) -> Result<(), ArchiveError> {
        let mut offsets = self.jobs.range((job, 0)..=(job, u64::MAX)).peekable();
        if offsets.peek().is_none() {
            return Ok(());
        }
        let content = self.content(files)?;
        for (_, offset) in offsets {
            let record = record_of_job(&content.bytes, usize::try_from(*offset).unwrap_or(usize::MAX), job);
            records.push(record.ok_or_else(|| damaged(self.place.number, torn_record(job)))?);
        }
        Ok(())
    }

    /// Index, seal, the final name; all of it durable.
    pub(super) fn seal<F: Files>(mut self, files: &mut F) -> Result<SealedSegment, ArchiveError> {
        let index_offset = self.bytes;
        let mut pairs = Vec::with_capacity(self.jobs.len() * PAIR);
        for (job, offset) in &self.jobs {
            pairs.extend_from_slice(&job.to_le_bytes());
            pairs.extend_from_slice(&offset.to_le_bytes());
        }
        let mut index = Vec::with_capacity(pairs.len() + frame::HEAD + 1);
        frame::push(&mut index, INDEX, &[&pairs]);
        self.write(files, index)?;
        let seal = Seal {
            end: self.end,
            index_offset,
            // Without a job the range is empty, for no job has the number 0.
            job_min: self.jobs.first().map_or(1, |(job, _)| *job),
            job_max: self.jobs.last().map_or(0, |(job, _)| *job),
            content_sha256: self.hasher.clone().finalize().to_vec(),
        };
        let seal_offset = self.bytes;
        let mut frame = Vec::new();
        frame::push(&mut frame, SEAL, &[&seal.encode_to_vec()]);
        frame.extend_from_slice(&seal_offset.to_le_bytes());
        self.write(files, frame)?;
        self.sync(files)?;
        let Place {
            number,
            first,
            previous_sha256,
        } = self.place;
        files.rename(&open_name(number), &sealed_name(number))?;
        files.sync_dir()?;
        let sha256 = Some(self.hasher.finalize().into());
        Ok(SealedSegment {
            number,
            first,
            end: self.end,
            bytes: self.bytes,
            seal_offset,
            seal,
            previous_sha256,
            sha256,
        })
    }

    fn empty(place: Place) -> Self {
        let (hasher, jobs, buffer) = (Sha256::new(), BTreeSet::new(), Vec::new());
        Self {
            place,
            end: place.first,
            bytes: 0,
            hasher,
            jobs,
            buffer,
            dirty: false,
        }
    }

    fn write<F: Files>(&mut self, files: &mut F, bytes: Vec<u8>) -> Result<(), ArchiveError> {
        self.hasher.update(&bytes);
        self.bytes += bytes.len() as u64;
        self.dirty = true;
        self.buffer.extend_from_slice(&bytes);
        if self.buffer.len() >= BUFFER_BYTES_MAX {
            self.flush(files)
        } else {
            Ok(())
        }
    }

    fn flush<F: Files>(&mut self, files: &mut F) -> Result<(), ArchiveError> {
        if !self.buffer.is_empty() {
            files.append(&open_name(self.place.number), &self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}

/// All bytes of a segment.
pub(super) struct Content {
    number: u64,
    bytes: Vec<u8>,
}

impl Content {
    pub(super) fn read<F: Files>(files: &F, name: &str, number: u64) -> Result<Self, ArchiveError> {
        let size = usize::try_from(files.size(name)?).map_err(|_| damaged(number, "it is too large"))?;
        Ok(Self {
            number,
            bytes: files.read(name, 0, size)?,
        })
    }

    pub(super) fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }

    /// Hands out the records from `from` on; answers whether more are wanted.
    pub(super) fn each_from(
        &self,
        from: u64,
        each: &mut impl FnMut(u64, Record) -> bool,
    ) -> Result<bool, ArchiveError> {
        let torn = || damaged(self.number, "a frame is torn");
        let (_, _, mut at) = frame::parse(&self.bytes, MAGIC.len()).ok_or_else(torn)?;
        while at < self.bytes.len() {
            let (kind, body, end) = frame::parse(&self.bytes, at).ok_or_else(torn)?;
            let Some((number, record)) = parse_record(kind, body) else {
                return Ok(true);
            };
            if number >= from && !each(number, record) {
                return Ok(false);
            }
            at = end;
        }
        Ok(true)
    }

    pub(super) fn verify(&self, config: &ArchiveConfig, place: Place, sealed: bool) -> Result<(), ArchiveError> {
        let (previous, mut at) = parse_header(config, place.number, place.first, &self.bytes)?;
        if previous != place.previous_sha256 {
            return Err(damaged(place.number, "it does not follow the segment before it"));
        }
        let mut next = place.first;
        while let Some((kind, body, end)) = frame::parse(&self.bytes, at) {
            match parse_record(kind, body) {
                Some((number, _)) if number == next => next += 1,
                Some((number, _)) => {
                    return Err(damaged(
                        self.number,
                        format!("record {number} stands where {next} belongs"),
                    ));
                }
                None => break,
            }
            at = end;
        }
        let whole = if sealed {
            self.is_sealed(at)
        } else {
            at == self.bytes.len()
        };
        whole
            .then_some(())
            .ok_or_else(|| damaged(self.number, format!("it is torn at byte {at}")))
    }

    /// Whether a whole and true index, seal and offset follow the records that end at `at`, and nothing else.
    fn is_sealed(&self, at: usize) -> bool {
        let check = || {
            let (kind, _, seal_at) = frame::parse(&self.bytes, at)?;
            let (seal_kind, body, end) = frame::parse(&self.bytes, seal_at)?;
            let seal = Seal::decode(body).ok()?;
            let content: [u8; 32] = Sha256::digest(&self.bytes[..seal_at]).into();
            let fits = kind == INDEX && seal_kind == SEAL && seal.content_sha256 == content;
            Some(fits && frame::u64_at(&self.bytes, end)? == seal_at as u64 && end + 8 == self.bytes.len())
        };
        check().unwrap_or(false)
    }
}
