//! Keeps the SPIR-V of every kernel, for people and for validators: `WAVELIFT_DUMP_SPIRV` names the folder, which gets one
//! folder for each profile, since they have different readers.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::OnceLock;

use wavelift_translator::Profile;

/// The environment variable that names the folder.
const VARIABLE: &str = "WAVELIFT_DUMP_SPIRV";

/// Writes a module to the folder, if one is named, under a name made of its contents. A folder that can't be written to is
/// reported in the log and changes nothing else.
pub(crate) fn dump(words: &[u32], profile: Profile) {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| std::env::var_os(VARIABLE).map(PathBuf::from));
    let Some(folder) = folder else { return };
    let folder = folder.join(if profile == Profile::Portable { "portable" } else { "vulkan" });
    let mut hasher = DefaultHasher::new();
    words.hash(&mut hasher);
    let path = folder.join(format!("{:016x}.spv", hasher.finish()));
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    // Under a name of this thread's own first: others may be writing or reading the same module.
    let part = path.with_extension(format!("{}-{:?}.part", std::process::id(), std::thread::current().id()));
    let written = std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(&part, bytes))
        .and_then(|()| std::fs::rename(&part, &path));
    if let Err(error) = written {
        tracing::error!("{VARIABLE}: `{}` can't be written: {error}.", path.display());
    }
}
