//! A real folder.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use super::{Files, FilesError};

/// A folder on disk; made if it is missing. Descriptors of files being written stay open until renamed or removed, because a
/// sync must go through a descriptor that saw the writes' errors.
#[derive(Debug)]
pub struct DirFiles {
    path: PathBuf,
    writing: BTreeMap<String, File>,
}

impl DirFiles {
    /// Opens the folder, making it and its parents if needed.
    ///
    /// # Errors
    /// When it cannot be made or its parent cannot be synced.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FilesError> {
        let path = path.into();
        let name = path.display().to_string();
        if !path.is_dir() {
            fs::create_dir_all(&path).map_err(|e| FilesError::new("create folder", &name, e))?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                let sync = File::open(parent).and_then(|folder| folder.sync_all());
                sync.map_err(|e| FilesError::new("sync the parent of", &name, e))?;
            }
        }
        Ok(Self {
            path,
            writing: BTreeMap::new(),
        })
    }

    /// A second view of the same folder, for reading on another thread.
    #[must_use]
    pub fn reader(&self) -> Self {
        Self {
            path: self.path.clone(),
            writing: BTreeMap::new(),
        }
    }

    fn writer(&mut self, name: &str) -> Result<&mut File, FilesError> {
        if !self.writing.contains_key(name) {
            let file = OpenOptions::new().append(true).open(self.path.join(name));
            self.writing
                .insert(name.to_owned(), file.map_err(|e| FilesError::new("open", name, e))?);
        }
        Ok(self.writing.get_mut(name).expect("inserted above"))
    }
}

impl Files for DirFiles {
    fn list(&self) -> Result<Vec<String>, FilesError> {
        let fail = |e| FilesError::new("list", &self.path.display().to_string(), e);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if entry.file_type().map_err(fail)?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn size(&self, name: &str) -> Result<u64, FilesError> {
        Ok(fs::metadata(self.path.join(name))
            .map_err(|e| FilesError::new("stat", name, e))?
            .len())
    }

    fn read(&self, name: &str, offset: u64, bytes_max: usize) -> Result<Vec<u8>, FilesError> {
        let read = || {
            let mut file = File::open(self.path.join(name))?;
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::new();
            file.take(bytes_max as u64).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|e| FilesError::new("read", name, e))
    }

    fn create(&mut self, name: &str) -> Result<(), FilesError> {
        self.writing.remove(name);
        File::create(self.path.join(name)).map_err(|e| FilesError::new("create", name, e))?;
        Ok(())
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<(), FilesError> {
        self.writer(name)?
            .write_all(bytes)
            .map_err(|e| FilesError::new("append to", name, e))
    }

    fn truncate(&mut self, name: &str, bytes: u64) -> Result<(), FilesError> {
        self.writer(name)?
            .set_len(bytes)
            .map_err(|e| FilesError::new("truncate", name, e))
    }

    fn sync(&mut self, name: &str) -> Result<(), FilesError> {
        self.writer(name)?
            .sync_data()
            .map_err(|e| FilesError::new("sync", name, e))
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), FilesError> {
        self.writing.remove(from);
        self.writing.remove(to);
        fs::rename(self.path.join(from), self.path.join(to)).map_err(|e| FilesError::new("rename", from, e))
    }

    fn remove(&mut self, name: &str) -> Result<(), FilesError> {
        self.writing.remove(name);
        fs::remove_file(self.path.join(name)).map_err(|e| FilesError::new("remove", name, e))
    }

    fn sync_dir(&mut self) -> Result<(), FilesError> {
        let sync = File::open(&self.path).and_then(|folder| folder.sync_all());
        sync.map_err(|e| FilesError::new("sync folder", &self.path.display().to_string(), e))
    }
}
