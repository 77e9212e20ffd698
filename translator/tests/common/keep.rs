//! Keeps the SPIR-V that tests make for the tools that look at all of it afterwards, as the GPU device keeps what it runs:
//! `WAVELIFT_DUMP_SPIRV` names the folder, which has one folder for each profile.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use wavelift_translator::Profile;

/// Writes a module to the folder, if one is named, under a name made of its contents.
///
/// # Panics
/// If the folder can't be written to: nobody would look at the module.
pub fn keep(words: &[u32], profile: Profile) {
    let Some(folder) = std::env::var_os("WAVELIFT_DUMP_SPIRV").map(PathBuf::from) else { return };
    let folder = folder.join(if profile == Profile::Portable { "portable" } else { "vulkan" });
    let mut hasher = DefaultHasher::new();
    words.hash(&mut hasher);
    let path = folder.join(format!("{:016x}.spv", hasher.finish()));
    if path.exists() {
        return;
    }
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    // Under a name of this thread's own first: others may be keeping the same module.
    let part = path.with_extension(format!("{}-{:?}.part", std::process::id(), std::thread::current().id()));
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(&part, bytes))
        .and_then(|()| std::fs::rename(&part, &path))
        .unwrap_or_else(|error| panic!("WAVELIFT_DUMP_SPIRV: `{}` can't be written: {error}.", path.display()));
}
