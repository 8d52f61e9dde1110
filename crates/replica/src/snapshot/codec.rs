//! The stream: frames of a header, of segments, of chunks, and of a footer, in this order.

use prost::Message;
use sha2::{Digest, Sha256};

use super::{CHUNK_BYTES_MAX, Segments, SnapshotError, SnapshotFooter, SnapshotHeader, VERSION};
use crate::archive::SegmentRef;
use crate::files::FilesError;
use crate::frame;

const MAGIC: [u8; 8] = *b"HESUANS1";
const SEGMENTS_PER_FRAME: usize = 256;
const FRAME_BYTES_MAX: usize = CHUNK_BYTES_MAX + 1024;
const BUFFER_BYTES: usize = 256 << 10;

const HEADER: u8 = 1;
const SEGMENTS: u8 = 2;
const CHUNK: u8 = 3;
const FOOTER: u8 = 4;

/// Writes a snapshot piece by piece into `sink`.
pub struct SnapshotEncoder<S> {
    sink: S,
    buffer: Vec<u8>,
    hasher: Sha256,
    state_hasher: Sha256,
    footer: SnapshotFooter,
    bytes: u64,
    failed: Option<FilesError>,
}

impl<S: FnMut(&[u8]) -> Result<(), FilesError>> SnapshotEncoder<S> {
    /// Header and segments; the state's chunks come next.
    pub fn new(header: &SnapshotHeader, segments: &[SegmentRef], sink: S) -> Self {
        let mut encoder = Self {
            sink,
            buffer: MAGIC.to_vec(),
            hasher: Sha256::new(),
            state_hasher: Sha256::new(),
            footer: SnapshotFooter::default(),
            bytes: 0,
            failed: None,
        };
        frame::push(&mut encoder.buffer, HEADER, &[&header.encode_to_vec()]);
        for segments in segments.chunks(SEGMENTS_PER_FRAME) {
            let segments = Segments {
                segments: segments.to_vec(),
            };
            frame::push(&mut encoder.buffer, SEGMENTS, &[&segments.encode_to_vec()]);
        }
        encoder.hasher.update(&encoder.buffer);
        encoder
    }

    /// One more chunk of the state. A failing sink is remembered and told at the end, because the state's encoder cannot stop.
    pub fn chunk(&mut self, chunk: &[u8]) {
        assert!(
            chunk.len() <= CHUNK_BYTES_MAX,
            "chunks of a state are at most {CHUNK_BYTES_MAX} bytes"
        );
        self.footer.chunks += 1;
        self.footer.state_bytes += chunk.len() as u64;
        self.state_hasher.update(chunk);
        frame::push(&mut self.buffer, CHUNK, &[chunk]);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
    }

    /// The footer, and the length of all that was written.
    ///
    /// # Errors
    /// The first failure of the sink.
    pub fn finish(mut self) -> Result<(SnapshotFooter, u64), FilesError> {
        self.flush();
        self.footer.state_sha256 = self.state_hasher.clone().finalize().to_vec();
        self.hasher.update(&self.footer.state_sha256);
        self.footer.sha256 = self.hasher.clone().finalize().to_vec();
        frame::push(&mut self.buffer, FOOTER, &[&self.footer.encode_to_vec()]);
        self.flush();
        match self.failed {
            Some(failed) => Err(failed),
            None => Ok((self.footer, self.bytes)),
        }
    }

    fn flush(&mut self) {
        if self.failed.is_none() {
            self.bytes += self.buffer.len() as u64;
            self.failed = (self.sink)(&self.buffer).err();
        }
        self.buffer.clear();
    }
}

/// A piece of a snapshot that was read and is true to its checksum.
#[derive(Debug)]
pub enum Part {
    /// Comes first.
    Header(SnapshotHeader),
    /// Segments of the archive that belong to it.
    Segments(Vec<SegmentRef>),
    /// A chunk of the state.
    Chunk(Box<[u8]>),
}

/// Reads a snapshot from bytes cut anywhere. Only [`SnapshotDecoder::finish`] vouches for the whole.
#[derive(Debug)]
pub struct SnapshotDecoder {
    cluster_id: [u8; 16],
    buffer: Vec<u8>,
    hasher: Sha256,
    state_hasher: Sha256,
    counted: SnapshotFooter,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Magic,
    Header,
    Segments,
    Chunks,
    Done(SnapshotFooter),
}

impl SnapshotDecoder {
    /// Of this cluster only.
    #[must_use]
    pub fn new(cluster_id: [u8; 16]) -> Self {
        let (hasher, state_hasher) = (Sha256::new(), Sha256::new());
        let counted = SnapshotFooter::default();
        Self {
            cluster_id,
            buffer: Vec::new(),
            hasher,
            state_hasher,
            counted,
            stage: Stage::Magic,
        }
    }

    /// Takes more bytes and hands out the parts that are now whole.
    ///
    /// # Errors
    /// When they cannot belong to a snapshot of this cluster.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Part)) -> Result<(), SnapshotError> {
        self.buffer.extend_from_slice(bytes);
        let buffer = std::mem::take(&mut self.buffer);
        let mut at = 0;
        if matches!(self.stage, Stage::Magic) && buffer.len() >= MAGIC.len() {
            if !buffer.starts_with(&MAGIC) {
                return Err(SnapshotError::damaged("it does not begin like a snapshot"));
            }
            at = MAGIC.len();
            self.hasher.update(MAGIC);
            self.stage = Stage::Header;
        }
        while !matches!(self.stage, Stage::Magic)
            && let Some(length) = frame::length(&buffer, at)
        {
            if length > FRAME_BYTES_MAX {
                return Err(SnapshotError::damaged(format!("a piece of {length} bytes")));
            }
            if buffer.len() < at + frame::HEAD + length {
                break;
            }
            let Some((kind, body, end)) = frame::parse(&buffer, at) else {
                return Err(SnapshotError::damaged(format!(
                    "checksum of piece {}",
                    self.counted.chunks
                )));
            };
            self.frame(kind, body, &mut each)?;
            if matches!(self.stage, Stage::Segments) {
                self.hasher.update(&buffer[at..end]);
            }
            at = end;
        }
        self.buffer = buffer;
        self.buffer.drain(..at);
        Ok(())
    }

    /// The whole was read and is what was written.
    ///
    /// # Errors
    /// When it ends too early.
    pub fn finish(self) -> Result<SnapshotFooter, SnapshotError> {
        match self.stage {
            Stage::Done(footer) if self.buffer.is_empty() => Ok(footer),
            Stage::Done(_) => Err(SnapshotError::damaged("bytes after its end")),
            _ => Err(SnapshotError::damaged("it ends too early")),
        }
    }

    fn frame(&mut self, kind: u8, body: &[u8], each: &mut impl FnMut(Part)) -> Result<(), SnapshotError> {
        let unreadable = |e: prost::DecodeError| SnapshotError::damaged(e.to_string());
        match (&self.stage, kind) {
            (Stage::Header, HEADER) => {
                let header = SnapshotHeader::decode(body).map_err(unreadable)?;
                if header.version != VERSION {
                    return Err(SnapshotError::Version { found: header.version });
                }
                if header.cluster_id != self.cluster_id {
                    return Err(SnapshotError::OtherCluster);
                }
                each(Part::Header(header));
                self.stage = Stage::Segments;
            }
            (Stage::Segments, SEGMENTS) => each(Part::Segments(Segments::decode(body).map_err(unreadable)?.segments)),
            (Stage::Segments | Stage::Chunks, CHUNK) => {
                self.counted.chunks += 1;
                self.counted.state_bytes += body.len() as u64;
                self.state_hasher.update(body);
                each(Part::Chunk(body.into()));
                self.stage = Stage::Chunks;
            }
            (Stage::Segments | Stage::Chunks, FOOTER) => {
                self.counted.state_sha256 = self.state_hasher.clone().finalize().to_vec();
                self.hasher.update(&self.counted.state_sha256);
                self.counted.sha256 = self.hasher.clone().finalize().to_vec();
                let footer = SnapshotFooter::decode(body).map_err(unreadable)?;
                if footer != self.counted {
                    return Err(SnapshotError::damaged("its footer counts or hashes differently"));
                }
                self.stage = Stage::Done(footer);
            }
            _ => {
                return Err(SnapshotError::damaged(format!(
                    "a piece of kind {kind} in the wrong place"
                )));
            }
        }
        Ok(())
    }
}
