//! One output stream of a task, kept in a bounded file.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

/// Copies a pipe into a file that is made at the first byte. What comes after the bound is read, so that the task never blocks on
/// its output, but only counted.
pub struct Capture<R> {
    pipe: Option<R>,
    path: PathBuf,
    file: Option<File>,
    kept_bytes_left: u64,
    dropped_bytes: u64,
}

impl<R: Read> Capture<R> {
    /// Keeps at most `bytes_max` bytes of `pipe` in the file at `path`.
    pub fn new(pipe: R, path: PathBuf, bytes_max: u64) -> Capture<R> {
        Capture {
            pipe: Some(pipe),
            path,
            file: None,
            kept_bytes_left: bytes_max,
            dropped_bytes: 0,
        }
    }

    /// The pipe while it may still bring something.
    pub fn pipe(&self) -> Option<&R> {
        self.pipe.as_ref()
    }

    /// Bytes that were not kept: over the bound, or not written because the disk refused.
    pub fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes
    }

    /// Reads once. The pipe is closed at its end or when it fails.
    pub fn pump(&mut self, buffer: &mut [u8]) {
        let Some(pipe) = &mut self.pipe else { return };
        match pipe.read(buffer) {
            Ok(0) => self.pipe = None,
            Ok(count) => self.keep(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.pipe = None,
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let keep = bytes
            .len()
            .min(usize::try_from(self.kept_bytes_left).unwrap_or(usize::MAX));
        self.dropped_bytes += (bytes.len() - keep) as u64;
        if keep == 0 {
            return;
        }
        if self.file.is_none() {
            self.file = File::create(&self.path).ok();
        }
        let written = self
            .file
            .as_mut()
            .is_some_and(|file| file.write_all(&bytes[..keep]).is_ok());
        if written {
            self.kept_bytes_left -= keep as u64;
        } else {
            // A full disk costs the task its output, not its life. Nothing later is kept, so that the file has no hole.
            self.dropped_bytes += keep as u64;
            self.kept_bytes_left = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_is_kept_and_the_rest_is_counted() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("stdout");
        let mut capture = Capture::new(&b"0123456789abcdef"[..], path.clone(), 10);
        let mut buffer = [0; 4];
        while capture.pipe().is_some() {
            capture.pump(&mut buffer);
        }
        assert_eq!(std::fs::read(path).expect("was made"), b"0123456789");
        assert_eq!(capture.dropped_bytes(), 6);
    }
}
