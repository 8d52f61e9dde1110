//! A folder of append-only files, as the archive and the snapshots need it: few operations, each with a plain promise about
//! what survives a power cut. [`DirFiles`] is a real folder, [`MemoryFiles`] one that can lose and tear what was not synced.
//! What must not live here: any idea of what the files hold.

mod dir;
mod memory;

pub use dir::DirFiles;
pub use memory::MemoryFiles;

/// A flat folder. Names are plain file names. Nothing is durable before the sync named at each operation.
pub trait Files {
    /// All names, sorted.
    fn list(&self) -> Result<Vec<String>, FilesError>;
    /// Length in bytes.
    fn size(&self, name: &str) -> Result<u64, FilesError>;
    /// Up to `bytes_max` bytes from `offset` on; fewer only at the end of the file.
    fn read(&self, name: &str, offset: u64, bytes_max: usize) -> Result<Vec<u8>, FilesError>;
    /// An empty file of this name, whatever was there; durable after [`Files::sync`] and [`Files::sync_dir`].
    fn create(&mut self, name: &str) -> Result<(), FilesError>;
    /// Bytes at the end; durable after [`Files::sync`].
    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<(), FilesError>;
    /// Cuts the file to `bytes`; durable after [`Files::sync`].
    fn truncate(&mut self, name: &str, bytes: u64) -> Result<(), FilesError>;
    /// The bytes and the length of one file are on disk. An error is final: the process must stop, never try again.
    fn sync(&mut self, name: &str) -> Result<(), FilesError>;
    /// Another name, replacing what was there; durable after [`Files::sync_dir`].
    fn rename(&mut self, from: &str, to: &str) -> Result<(), FilesError>;
    /// The file is gone; durable after [`Files::sync_dir`].
    fn remove(&mut self, name: &str) -> Result<(), FilesError>;
    /// The names are on disk. An error is final, as for [`Files::sync`].
    fn sync_dir(&mut self) -> Result<(), FilesError>;
}

/// The world failed below a file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {name}")]
pub struct FilesError {
    /// What was tried.
    pub action: &'static str,
    /// The file.
    pub name: String,
    /// Why not.
    pub source: std::io::Error,
}

impl FilesError {
    fn new(action: &'static str, name: &str, source: std::io::Error) -> Self {
        Self {
            action,
            name: name.to_owned(),
            source,
        }
    }
}
