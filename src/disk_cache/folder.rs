//! The folder of a disk cache: where it is, whose it is, and how full.

use std::fs::{self, DirBuilder, Metadata};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use etcetera::BaseStrategy;

/// What the names of files start with that are being written.
pub(super) const PART: &str = ".part-";

/// A file that is still being written after so long was left by a process that died.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// Where the command keeps lifted kernels, unless it is told otherwise: what `WAVELIFT_CACHE_DIR` names (nothing, where it is
/// set and empty), else `wavelift` in the user's cache folder (`XDG_CACHE_HOME`, else `~/.cache`; on Windows
/// `%LOCALAPPDATA%`).
pub fn default_cache_dir() -> Option<PathBuf> {
    match std::env::var_os("WAVELIFT_CACHE_DIR") {
        Some(named) => (!named.is_empty()).then(|| PathBuf::from(named)),
        None => Some(etcetera::choose_base_strategy().ok()?.cache_dir().join("wavelift")),
    }
}

/// Makes the folder for this user alone, if it is not there.
///
/// # Errors
/// A sentence, if it can't be made, is no folder, or is not this user's alone to write to.
pub(super) fn prepare(folder: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("The cache `{}` can't be used: {error}.", folder.display());
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(failed)?;
    let metadata = fs::metadata(folder).map_err(failed)?;
    match why_shared(&metadata) {
        Some(why) => Err(format!("The cache `{}` is not used: {why}.", folder.display())),
        None => Ok(()),
    }
}

/// Why others than this user could put something into a folder; `None` if they can't.
#[cfg(unix)]
fn why_shared(metadata: &Metadata) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Some("it is another user's");
    }
    (metadata.mode() & 0o022 != 0).then_some("others may write to it")
}

#[cfg(not(unix))]
fn why_shared(_metadata: &Metadata) -> Option<&'static str> {
    None
}

/// Removes the entries that were not used for longest, until the folder is three quarters full, if it is more than full;
/// and what was never finished. How many entries that were. Others may do the same meanwhile.
pub(super) fn evict(folder: &Path, limit: u64, extensions: &[&str]) -> u64 {
    let Ok(listed) = fs::read_dir(folder) else { return 0 };
    let now = SystemTime::now();
    let mut entries = Vec::new();
    for file in listed.flatten() {
        let path = file.path();
        let Ok(metadata) = file.metadata() else { continue };
        let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let is_part = file.file_name().to_string_lossy().starts_with(PART);
        if is_part && now.duration_since(used).is_ok_and(|age| age > LEFT_BEHIND) {
            // Somebody else may have.
            let _ = fs::remove_file(&path);
        }
        if path.extension().is_some_and(|extension| extensions.iter().any(|known| extension == *known)) {
            entries.push((used, metadata.len(), path));
        }
    }
    let mut total: u64 = entries.iter().map(|(_, size, _)| size).sum();
    if total <= limit {
        return 0;
    }
    entries.sort_unstable();
    let mut removed = 0;
    for (_, size, path) in entries {
        if total <= limit / 4 * 3 {
            break;
        }
        removed += u64::from(fs::remove_file(&path).is_ok());
        total -= size;
    }
    removed
}
