//! Bytes that are kept on disk from one process to the next, each under the hash of all that they were computed from.
//!
//! Nothing needs what is here: an entry that is missing, cut off, changed, of another version or under another key's name
//! is as if it had never been written, and a folder that can't be written to makes no difference but time. Any number of
//! processes use one folder at once: an entry is written under a name of its own first and then renamed, so that readers
//! find all of it or nothing. Whoever can write to the folder can say what shaders run, so it must be the user's alone.

mod entry;
mod folder;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;
use serde::Serialize;
use sha2::{Digest, Sha256};

pub use folder::default_cache_dir;

/// Largest entry that is read, in bytes; none of ours comes near.
const MAX_ENTRY: u64 = 256 << 20;

/// What an entry was computed from, as a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// The key of all that `inputs` holds. What is not in it makes no difference to what is found.
    pub fn of(inputs: &impl Serialize) -> Key {
        let bytes = postcard::to_allocvec(inputs).expect("all that is hashed can be serialised to memory");
        Key(Sha256::digest(bytes).into())
    }

    /// The hash of bytes, for keys that depend on them.
    pub fn of_bytes(bytes: &[u8]) -> Key {
        Key(Sha256::digest(bytes).into())
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// What lifting a kernel gave.
    Kernel,
    /// What a driver made of a shader.
    Pipeline,
    /// What was seen of a kernel in a rehearsal.
    Seen,
    /// How large a kernel's groups are best.
    Group,
}

impl Sort {
    const ALL: [Sort; 4] = [Sort::Kernel, Sort::Pipeline, Sort::Seen, Sort::Group];

    fn extension(self) -> &'static str {
        match self {
            Sort::Kernel => "kernel",
            Sort::Pipeline => "pipeline",
            Sort::Seen => "seen",
            Sort::Group => "group",
        }
    }
}

/// What a disk cache was good for, since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStatistics {
    /// Lifted kernels, answers of the translator's that lead to them, and refusals.
    pub kernels: CacheUses,
    /// Drivers' pipelines.
    pub pipelines: CacheUses,
    /// What was seen of kernels in rehearsals.
    pub seen: CacheUses,
    /// How large kernels' groups are best.
    pub groups: CacheUses,
    /// Entries that were removed because the folder was full.
    pub evicted: u64,
}

/// How often entries of one sort were of use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheUses {
    /// Entries that were found and used.
    pub hits: u64,
    /// Look-ups that found nothing of use.
    pub misses: u64,
    /// Of these, those that found an entry which is damaged, of another version, or can't be read.
    pub ignored: u64,
    /// Entries that were written.
    pub stored: u64,
    /// Entries that could not be written.
    pub failed: u64,
}

/// A folder of entries.
pub struct DiskCache {
    folder: PathBuf,
    /// Most bytes of all entries, about.
    limit: u64,
    /// Bytes written since the folder was last looked through; at first as many as make it be.
    unchecked: AtomicU64,
    statistics: Mutex<CacheStatistics>,
    warned: AtomicBool,
}

impl DiskCache {
    /// Opens a folder, and makes it if it is not there.
    ///
    /// # Errors
    /// A sentence, if it can't be made, or if others than this user may write to it.
    pub fn open(folder: &Path, limit: u64) -> Result<DiskCache, String> {
        folder::prepare(folder)?;
        Ok(DiskCache {
            folder: folder.to_path_buf(),
            limit,
            unchecked: AtomicU64::new(limit),
            statistics: Mutex::default(),
            warned: AtomicBool::new(false),
        })
    }

    /// The bytes under a key, whole and as they were written.
    pub(crate) fn get(&self, sort: Sort, key: &Key) -> Option<Vec<u8>> {
        let path = self.path(sort, key);
        match read(&path, key) {
            Ok(payload) => {
                self.count(sort, |uses| uses.hits += 1);
                Some(payload)
            }
            Err(why) => {
                let is_there = why != entry::Fault::Missing;
                self.count(sort, |uses| {
                    (uses.misses, uses.ignored) = (uses.misses + 1, uses.ignored + u64::from(is_there))
                });
                if is_there {
                    tracing::debug!("the cache's entry `{}` is ignored: {why}", path.display());
                }
                None
            }
        }
    }

    /// Counts what [`get`](Self::get) gave as a miss after all: its bytes are whole, but of no use.
    pub(crate) fn reject(&self, sort: Sort, key: &Key, why: &str) {
        self.count(sort, |uses| {
            (uses.hits, uses.misses, uses.ignored) = (uses.hits - 1, uses.misses + 1, uses.ignored + 1);
        });
        tracing::debug!("the cache's entry `{}` is ignored: {why}", self.path(sort, key).display());
    }

    /// Keeps bytes under a key, in place of those that were there. A failure is noted in the log once, and changes nothing.
    pub(crate) fn put(&self, sort: Sort, key: &Key, payload: &[u8]) {
        let bytes = entry::encode(key, payload);
        let size = bytes.len() as u64;
        if size > MAX_ENTRY || size > self.limit / 4 {
            return;
        }
        self.make_room(size);
        match self.write(&self.path(sort, key), &bytes) {
            Ok(()) => self.count(sort, |uses| uses.stored += 1),
            Err(error) => {
                self.count(sort, |uses| uses.failed += 1);
                if !self.warned.swap(true, Ordering::Relaxed) {
                    let folder = self.folder.display();
                    tracing::warn!("the cache `{folder}` can't be written to, which costs time only: {error}");
                }
            }
        }
    }

    /// What it was good for.
    pub fn statistics(&self) -> CacheStatistics {
        *self.statistics.lock()
    }

    fn count(&self, sort: Sort, change: impl FnOnce(&mut CacheUses)) {
        let mut statistics = self.statistics.lock();
        change(match sort {
            Sort::Kernel => &mut statistics.kernels,
            Sort::Pipeline => &mut statistics.pipelines,
            Sort::Seen => &mut statistics.seen,
            Sort::Group => &mut statistics.groups,
        });
    }

    /// Changes what entries hold, as nobody does who keeps to the key, and makes their hashes right.
    #[doc(hidden)]
    pub fn forge(&self, mut change: impl FnMut(&mut Vec<u8>)) -> io::Result<()> {
        for file in fs::read_dir(&self.folder)? {
            let path = file?.path();
            let bytes = fs::read(&path)?;
            if let Some((key, mut payload)) = entry::take_apart(bytes) {
                change(&mut payload);
                fs::write(&path, entry::encode(&key, &payload))?;
            }
        }
        Ok(())
    }

    fn path(&self, sort: Sort, key: &Key) -> PathBuf {
        let name: String = key.0.iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(name).with_extension(sort.extension())
    }

    /// Under a name of its own first. Nobody but this user can read it.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut part = tempfile::Builder::new().prefix(folder::PART).tempfile_in(&self.folder)?;
        part.write_all(bytes)?;
        part.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Now and then looks how full the folder is, and removes what was not used for longest.
    fn make_room(&self, size: u64) {
        let unchecked = self.unchecked.fetch_add(size, Ordering::Relaxed).saturating_add(size);
        if unchecked > self.limit / 8 {
            self.unchecked.store(0, Ordering::Relaxed);
            let evicted = folder::evict(&self.folder, self.limit, &Sort::ALL.map(Sort::extension));
            self.statistics.lock().evicted += evicted;
        }
    }
}

/// Reads an entry, and notes that it was used.
fn read(path: &Path, key: &Key) -> Result<Vec<u8>, entry::Fault> {
    let fault = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => entry::Fault::Missing,
        _ => entry::Fault::Unreadable(error.to_string()),
    };
    // Not through a link, and no pipe, which would wait for somebody to write.
    let metadata = fs::symlink_metadata(path).map_err(fault)?;
    if !metadata.is_file() || metadata.len() > MAX_ENTRY {
        return Err(entry::Fault::NoEntry);
    }
    let bytes = fs::read(path).map_err(fault)?;
    let payload = entry::decode(key, bytes)?;
    // What was used last is removed last; if this can't be noted, it is removed sooner.
    let _ = fs::File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
    Ok(payload)
}

#[cfg(test)]
mod tests;
