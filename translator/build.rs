//! Names this build of the translator, for caches of what it gives: the crate's version and a hash of its sources, the
//! emulation's module, and the versions of the crates it is built on. Whoever edits one of these gets another name.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("Cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets it"));
    let mut hasher = DefaultHasher::new();
    for part in ["src", "emulation/emulation.wasm", "Cargo.toml", "build.rs"] {
        let path = root.join(part);
        println!("cargo::rerun-if-changed={}", path.display());
        hash_all(&path, &root, &mut hasher);
    }
    // Which versions were chosen says the workspace's lock file: the one above the folder that is built in, or above this.
    let lock =
        out.ancestors().chain(root.ancestors()).map(|folder| folder.join("Cargo.lock")).find(|file| file.is_file());
    if let Some(lock) = lock {
        println!("cargo::rerun-if-changed={}", lock.display());
        read(&lock).hash(&mut hasher);
    }
    let version = env::var("CARGO_PKG_VERSION").expect("Cargo sets it");
    println!("cargo::rustc-env=WAVELIFT_TRANSLATOR_BUILD={version}-{:016x}", hasher.finish());
}

/// Hashes a file, or all files below a folder, with their names, in order of these.
fn hash_all(path: &Path, root: &Path, hasher: &mut DefaultHasher) {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()));
        let mut below: Vec<PathBuf> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
        below.sort();
        below.iter().for_each(|path| hash_all(path, root, hasher));
    } else {
        path.strip_prefix(root).unwrap_or(path).hash(hasher);
        read(path).hash(hasher);
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()))
}
