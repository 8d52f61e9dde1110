//! The words between processes: the messages of `proto/` and their gRPC clients and servers (feature `grpc`).
//!
//! Nothing here decides anything about jobs or money; that is the engine's and the ledger's. Requests become commands in
//! [`convert`], commands become bytes of the log in [`codec`], records become answers in [`answer`], and refusals become
//! statuses in `refusal`.

pub mod answer;
pub mod assignment;
pub mod codec;
pub mod convert;
#[cfg(feature = "grpc")]
pub mod refusal;
pub mod statement;

/// `hesuan.v1`: the public interface.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/hesuan.v1.rs"));
}

/// What daemons and agents tell each other, and what a log entry holds.
pub mod internal {
    /// `hesuan.internal.v1`: not a public interface.
    #[allow(missing_docs, unreachable_pub, clippy::all)]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/hesuan.internal.v1.rs"));
    }
}

/// All files of `proto/`, as a serialised `google.protobuf.FileDescriptorSet`, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
