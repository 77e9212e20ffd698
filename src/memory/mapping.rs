//! The operating system's side of an address space: the file that backs it and the views of it.
//!
//! This is the only module that maps memory. Sizes and ranges are in bytes.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

/// Size of a 32-bit address space.
pub const SPACE: u64 = 1 << 32;

/// Unmapped bytes above each view: an `i32` address plus an `offset` immediate stays below `SPACE + GUARD`, so that
/// compiled code needs no bounds checks.
pub const GUARD: u64 = 1 << 32;

/// The file of 4 GiB whose byte at offset `a` is the byte at address `a`; pages come into being when touched.
#[derive(Debug)]
pub struct Backing {
    file: File,
}

impl Backing {
    /// A file of zeroes that no one else can open.
    pub fn new() -> io::Result<Backing> {
        let file = anonymous_file()?;
        file.set_len(SPACE)?;
        Ok(Backing { file })
    }

    /// Reads bytes from `offset` on.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    /// Writes bytes from `offset` on.
    pub fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    /// Makes a range zero and gives its memory back to the system where the system can.
    pub fn zero(&self, range: Range<u64>) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            use rustix::fs::{FallocateFlags, fallocate};
            let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            if fallocate(&self.file, punch, range.start, range.end - range.start).is_ok() {
                return Ok(());
            }
        }
        let zeroes = vec![0u8; 1 << 16];
        let mut at = range.start;
        while at < range.end {
            let len = (range.end - at).min(zeroes.len() as u64);
            self.write(at, &zeroes[..len as usize])?;
            at += len;
        }
        Ok(())
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn anonymous_file() -> io::Result<File> {
    use rustix::fs::{MemfdFlags, memfd_create};
    Ok(File::from(memfd_create("wavelift", MemfdFlags::CLOEXEC)?))
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn anonymous_file() -> io::Result<File> {
    use std::hash::{BuildHasher, RandomState};
    let name = format!("wavelift-{}-{:016x}", std::process::id(), RandomState::new().hash_one(0u8));
    let path = std::env::temp_dir().join(name);
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// What may be done with the pages of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Every access faults.
    None,
    /// Stores fault.
    Read,
    /// Loads and stores.
    ReadWrite,
}

/// A mapping of a whole [`Backing`], [`GUARD`] bytes of nothing after it. At first every page is [`Protection::None`].
///
/// Rust code never makes references to a view's bytes: only compiled Wasm reads and writes them, and Wasmtime's own
/// `Memory::data`, which is limited to the bytes that the memory reports as its size.
#[derive(Debug)]
pub struct View {
    base: NonNull<u8>,
}

// SAFETY: a `View` is an address; the mapping behind it belongs to the process, not to a thread, and all methods
// are system calls that may be made from any thread.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

impl View {
    /// Maps `backing`.
    pub fn new(backing: &Backing) -> io::Result<View> {
        let whole = (SPACE + GUARD) as usize;
        // SAFETY: no address is asked for, so the system chooses an unused range and nothing that exists changes.
        let base = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                whole,
                ProtFlags::empty(),
                MapFlags::PRIVATE | reserve_nothing(),
            )?
        };
        let base = NonNull::new(base.cast::<u8>()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        let view = View { base };
        // SAFETY: the range replaced is the first half of the reservation made above, which nobody else knows yet.
        unsafe {
            rustix::mm::mmap(
                base.as_ptr().cast(),
                SPACE as usize,
                ProtFlags::empty(),
                MapFlags::SHARED | MapFlags::FIXED,
                &backing.file,
                0,
            )?;
        }
        Ok(view)
    }

    /// The host address of address 0.
    pub fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Changes what may be done with the pages that hold `range`.
    ///
    /// # Errors
    /// A range beyond [`SPACE`], or what the system says.
    pub fn protect(&self, range: Range<u64>, protection: Protection) -> io::Result<()> {
        let Some((start, len)) = whole_pages(&range)? else { return Ok(()) };
        let flags = match protection {
            Protection::None => MprotectFlags::empty(),
            Protection::Read => MprotectFlags::READ,
            Protection::ReadWrite => MprotectFlags::READ | MprotectFlags::WRITE,
        };
        // SAFETY: `whole_pages` has checked that the pages lie inside this view's mapping, and no Rust reference
        // to them exists (see `View`), so that taking rights away can only make Wasm code fault, which traps.
        unsafe { rustix::mm::mprotect(self.base.as_ptr().add(start).cast(), len, flags)? };
        Ok(())
    }

    /// Replaces `range`, whole pages, by zeroed memory that only this view has.
    ///
    /// # Errors
    /// A range beyond [`SPACE`], or what the system says.
    pub fn map_private(&self, range: Range<u64>) -> io::Result<()> {
        let Some((start, len)) = whole_pages(&range)? else { return Ok(()) };
        // SAFETY: the pages replaced lie inside this view's mapping (checked by `whole_pages`), and no Rust
        // reference to them exists (see `View`).
        unsafe {
            rustix::mm::mmap_anonymous(
                self.base.as_ptr().add(start).cast(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::FIXED | reserve_nothing(),
            )?;
        }
        Ok(())
    }
}

impl View {
    /// Replaces `range`, whole pages, by the same range of a file. Nothing of it is shown at first.
    ///
    /// # Errors
    /// A range beyond [`SPACE`], or what the system says.
    pub fn map_file(&self, range: Range<u64>, backing: &Backing) -> io::Result<()> {
        let Some((start, len)) = whole_pages(&range)? else { return Ok(()) };
        // SAFETY: the pages replaced lie inside this view's mapping (checked by `whole_pages`), and no Rust
        // reference to them exists (see `View`). A backing file is as large as a view, so that no page is beyond its end.
        unsafe {
            rustix::mm::mmap(
                self.base.as_ptr().add(start).cast(),
                len,
                ProtFlags::empty(),
                MapFlags::SHARED | MapFlags::FIXED,
                &backing.file,
                start as u64,
            )?;
        }
        Ok(())
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `View::new` and is unmapped once; whoever runs code on it holds the `View`.
        // An error would mean that nothing was unmapped, which leaks address space and harms nobody.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), (SPACE + GUARD) as usize) };
    }
}

/// Reservations must not count as memory in use.
fn reserve_nothing() -> MapFlags {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return MapFlags::NORESERVE;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    MapFlags::empty()
}

/// Start and length of the system's pages that hold `range`; `None` for an empty range.
fn whole_pages(range: &Range<u64>) -> io::Result<Option<(usize, usize)>> {
    if range.start >= range.end {
        return Ok(None);
    }
    if range.end > SPACE {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the range ends beyond the address space"));
    }
    let page = rustix::param::page_size() as u64;
    let start = range.start / page * page;
    let end = range.end.div_ceil(page) * page;
    Ok(Some((start as usize, (end - start) as usize)))
}
