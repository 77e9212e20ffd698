//! Kernels whose bytes a guest gives to the launch: modules of their own, of one exported function `kernel`.
//!
//! The bytes are no instance: nothing of them lasts from one launch to the next. Each launch starts as if the module
//! had just been instantiated, with the initial values of its globals, the initial entries of its tables and, if it
//! defines a memory, the initial contents of that. So a module is refused if instantiating it would do anything else:
//!
//! - It imports a memory or nothing. The memory, under whatever name, stands for the caller's linear memory, which must
//!   have as many pages as the import asks for. Functions, tables and globals have nobody to give them.
//! - It has no start function.
//! - It has no active data segment for a memory that it imports: that would overwrite whatever the caller keeps at those
//!   addresses, and no compiler knows the ones that are free. A module with static data defines its own memory.
//! - It has one memory at most, neither 64-bit nor shared.
//!
//! A memory of the module's own is new for each launch, and its invocations share it, as they share linear memory.
//!
//! What must run in order (`memory.grow`, operators on tables) has no caller's instance to run in. A kernel that imports
//! the caller's memory runs in an instance beside it, in the same store, and grows the caller's memory if it grows any; the
//! stack pointer of that name goes on from the caller's. All others run in a store of their own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};
use wavelift_translator as translator;

use super::initial::Initial;
use crate::device::GuestModule;
use crate::memory::PAGE;

/// Name of the export that is the kernel.
const EXPORT: &str = "kernel";

/// Most bytes of one kernel module, and of all that are kept. A kernel is a few kilobytes.
const MOST_BYTES: usize = 16 << 20;
/// Most kernel modules that are kept.
const MOST_MODULES: usize = 256;

/// A kernel with the module it came in.
#[derive(Debug)]
pub(crate) struct KernelModule {
    /// The module.
    pub guest: Arc<GuestModule>,
    /// The function `kernel`.
    pub function: u32,
    /// What each launch starts with.
    pub initial: Initial,
}

impl KernelModule {
    /// Reads and checks a kernel module.
    ///
    /// # Errors
    /// A sentence that says why the bytes are no kernel.
    pub fn load(bytes: &[u8]) -> Result<KernelModule, String> {
        if bytes.len() > MOST_BYTES {
            return Err(format!("The kernel's module has {} bytes, more than {MOST_BYTES}.", bytes.len()));
        }
        let wasm = translator::Module::parse(bytes).map_err(|error| format!("The kernel's bytes: {error}"))?;
        let refuse = |what: String| format!("The kernel's module {what}.");
        check_imports(&wasm).map_err(refuse)?;
        check_memory(&wasm).map_err(refuse)?;
        let initial = Initial::of(&wasm).map_err(refuse)?;
        let function = find_kernel(&wasm).map_err(refuse)?;
        Ok(KernelModule { guest: GuestModule::new(wasm), function, initial })
    }

    /// Number of buffers that the kernel takes.
    pub fn buffers(&self) -> u32 {
        self.guest.wasm.kernel_buffers(self.function).unwrap_or(0)
    }

    /// Whether its memory is the caller's.
    pub fn imports_memory(&self) -> bool {
        self.guest.wasm.memories().iter().any(|memory| memory.imported)
    }

    /// Bytes that the caller's memory must have.
    pub fn memory_needed(&self) -> u64 {
        let imported = self.guest.wasm.memories().iter().find(|memory| memory.imported);
        imported.map_or(0, |memory| memory.minimum.saturating_mul(PAGE))
    }
}

fn check_imports(wasm: &translator::Module) -> Result<(), String> {
    for payload in Parser::new(0).parse_all(wasm.bytes()) {
        let Ok(Payload::ImportSection(imports)) = payload else { continue };
        for import in imports.into_imports().flatten() {
            let kind = match import.ty {
                TypeRef::Memory(_) => continue,
                TypeRef::Func(_) | TypeRef::FuncExact(_) => "function",
                TypeRef::Table(_) => "table",
                TypeRef::Global(_) => "global",
                TypeRef::Tag(_) => "tag",
            };
            let (module, name) = (import.module, import.name);
            return Err(format!("imports the {kind} `{module}::{name}`; it can import nothing but a memory"));
        }
    }
    Ok(())
}

fn check_memory(wasm: &translator::Module) -> Result<(), String> {
    let memories = wasm.memories();
    if memories.len() > 1 {
        return Err(format!("has {} memories", memories.len()));
    }
    if memories.iter().any(|memory| memory.memory64) {
        return Err("has a 64-bit memory".to_string());
    }
    if memories.iter().any(|memory| memory.shared) {
        return Err("has a shared memory".to_string());
    }
    Ok(())
}

fn find_kernel(wasm: &translator::Module) -> Result<u32, String> {
    let export = wasm.exports().iter().find(|export| export.name == EXPORT);
    let export = export.ok_or_else(|| format!("exports nothing of the name `{EXPORT}`"))?;
    if export.kind != ExternalKind::Func {
        return Err(format!("exports something other than a function as `{EXPORT}`"));
    }
    match wasm.kernel_buffers(export.index) {
        Some(_) => Ok(export.index),
        None => Err(format!("exports a `{EXPORT}` of another type than (i32, i32, i32, (i32, i32)*)")),
    }
}

/// Kernel modules by their bytes, for all guests of a runtime: what was loaded before is not parsed, lifted or compiled
/// again. The bytes are the guest's and may change from launch to launch, so that they are compared at each one.
#[derive(Default)]
pub(crate) struct KernelModules {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    modules: HashMap<Arc<[u8]>, (Arc<KernelModule>, u64)>,
    bytes: usize,
    /// Counts uses, so that the module not used for longest is the one with the least number.
    uses: u64,
}

impl KernelModules {
    /// The module of these bytes, and the time that loading it took now: zero if it was there.
    ///
    /// # Errors
    /// A sentence that says why the bytes are no kernel.
    pub fn get(&self, bytes: &[u8]) -> Result<(Arc<KernelModule>, Duration), String> {
        if let Some(known) = self.kept.lock().find(bytes) {
            return Ok((known, Duration::ZERO));
        }
        let start = Instant::now();
        let module = Arc::new(KernelModule::load(bytes)?);
        let took = start.elapsed();
        Ok((self.kept.lock().insert(module), took))
    }
}

impl Kept {
    fn find(&mut self, bytes: &[u8]) -> Option<Arc<KernelModule>> {
        self.uses += 1;
        let (module, used) = self.modules.get_mut(bytes)?;
        *used = self.uses;
        Some(module.clone())
    }

    /// Keeps a module; another thread's, if it was faster.
    fn insert(&mut self, module: Arc<KernelModule>) -> Arc<KernelModule> {
        let bytes = module.guest.wasm.bytes().clone();
        if let Some(known) = self.find(&bytes) {
            return known;
        }
        while self.modules.len() >= MOST_MODULES || self.bytes + bytes.len() > MOST_BYTES {
            let Some(oldest) = self.modules.iter().min_by_key(|(_, (_, used))| *used) else { break };
            let oldest = oldest.0.clone();
            self.bytes -= oldest.len();
            self.modules.remove(&oldest);
        }
        self.bytes += bytes.len();
        self.modules.insert(bytes, (module.clone(), self.uses));
        module
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        wat::parse_str(text).unwrap()
    }

    /// A kernel whose bytes differ with `number`.
    fn numbered(number: usize) -> Vec<u8> {
        bytes(&format!(r#"(module (func (export "kernel") (param i32 i32 i32) (drop (i32.const {number}))))"#))
    }

    #[test]
    fn equal_bytes_are_loaded_once() {
        let modules = KernelModules::default();
        let (first, took) = modules.get(&numbered(1)).unwrap();
        assert!(!took.is_zero());
        let (again, took) = modules.get(&numbered(1)).unwrap();
        assert!(took.is_zero() && Arc::ptr_eq(&first, &again));
        let (other, _) = modules.get(&numbered(2)).unwrap();
        assert_ne!(first.guest.id, other.guest.id);
    }

    #[test]
    fn the_cache_is_bounded_and_drops_what_was_not_used_for_longest() {
        let modules = KernelModules::default();
        let first = modules.get(&numbered(0)).unwrap().0;
        for number in 1..MOST_MODULES + 10 {
            modules.get(&numbered(number)).unwrap();
            assert!(Arc::ptr_eq(&first, &modules.get(&numbered(0)).unwrap().0), "it is used all the time");
        }
        let kept = modules.kept.lock();
        assert_eq!(kept.modules.len(), MOST_MODULES);
        assert_eq!(kept.bytes, kept.modules.keys().map(|bytes| bytes.len()).sum::<usize>());
        assert!(!kept.modules.contains_key(&*numbered(1)) && kept.modules.contains_key(&*numbered(MOST_MODULES + 9)));
    }

    #[test]
    fn a_large_module_drives_the_others_out() {
        let modules = KernelModules::default();
        modules.get(&numbered(0)).unwrap();
        let mut large = numbered(1);
        // A custom section without a name.
        let section = MOST_BYTES - large.len() - 5;
        large.extend([0, 0x80 | section as u8 & 0x7f, 0x80 | (section >> 7) as u8, 0x80 | (section >> 14) as u8]);
        large.push((section >> 21) as u8);
        large.resize(MOST_BYTES, 0);
        modules.get(&large).unwrap();
        assert_eq!(modules.kept.lock().modules.len(), 1);
        large.push(0);
        assert!(modules.get(&large).unwrap_err().contains("more than"));
    }
}
