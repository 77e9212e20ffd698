//! Rehearsals of launches: what accesses of a kernel do is looked at in some invocations, before a speculative form is lifted.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use wavelift_translator::ir::Const;
use wavelift_translator::rehearsal::{Contents, Given, Rehearsal};
use wavelift_translator::{Environment, LINEAR, Seen};

use crate::device::gpu::connection::Connection;
use crate::device::gpu::context::GpuContext;
use crate::device::gpu::launch::shape_of;
use crate::device::gpu::linear::CallerState;
use crate::device::gpu::transfer::GpuBuffer;
use crate::device::{BufferSpec, Launch};

/// Bytes that are read at once.
const PAGE: u32 = 16 << 10;
/// Most pages that a rehearsal reads, and that one iteration writes: 16 MiB.
const MOST_PAGES: usize = 1024;
/// Iterations that are rehearsed lie so many parts of the launch apart.
const PARTS: u64 = 64;

/// The launch's memory as far as it was read, and what the present invocation wrote.
struct Pages<'a, 'c> {
    connection: &'a Connection,
    state: &'a mut CallerState<'c>,
    buffers: Vec<(BufferSpec, GpuBuffer)>,
    read: HashMap<(u32, u32), Vec<u8>>,
    written: HashMap<(u32, u32), Vec<u8>>,
}

impl Pages<'_, '_> {
    /// The slot that an address is in, the offset there, and the slot's size.
    fn place(&self, address: u64) -> Option<(u32, u32, u32)> {
        if address < u64::from(self.state.size()) {
            return Some((LINEAR, address as u32, self.state.size()));
        }
        let mut found = (0..).zip(&self.buffers).filter_map(|(slot, (spec, _))| {
            let offset = address.checked_sub(spec.address.into()).filter(|offset| *offset < spec.size.into())?;
            Some((slot, offset as u32, spec.size))
        });
        found.next()
    }

    /// A page of a slot of this size, as the invocation sees it.
    fn page(&mut self, slot: u32, number: u32, size: u32) -> Option<&[u8]> {
        let key = (slot, number);
        if self.written.contains_key(&key) {
            return self.written.get(&key).map(Vec::as_slice);
        }
        if !self.read.contains_key(&key) {
            let start = number * PAGE;
            let length = PAGE.min(size - start) as usize;
            let page = match slot {
                _ if self.read.len() >= MOST_PAGES => None,
                LINEAR => self.state.memory_bytes(start, length),
                slot => {
                    let mut bytes = vec![0; length];
                    self.buffers.get(slot as usize)?.1.read(self.connection, start.into(), &mut bytes).ok()?;
                    Some(bytes)
                }
            };
            self.read.insert(key, page?);
        }
        self.read.get(&key).map(Vec::as_slice)
    }

    /// Goes through the parts of pages that a range covers: slot, page, first byte in it, the slot's size, and which bytes of
    /// the range.
    fn parts(&self, address: u64, length: usize) -> Option<Vec<Part>> {
        let (slot, first, size) = self.place(address)?;
        (length as u64 <= u64::from(size - first)).then_some(())?;
        let mut parts = Vec::new();
        let mut done = 0;
        while done < length {
            let offset = first + done as u32;
            let (page, from) = (offset / PAGE, (offset % PAGE) as usize);
            let count = (PAGE as usize - from).min(length - done);
            parts.push(Part { slot, page, from, size, range: done..done + count });
            done += count;
        }
        Some(parts)
    }
}

/// Part of a page.
struct Part {
    slot: u32,
    page: u32,
    from: usize,
    size: u32,
    range: std::ops::Range<usize>,
}

impl Contents for Pages<'_, '_> {
    fn read(&mut self, address: u64, out: &mut [u8]) -> Option<()> {
        for Part { slot, page, from, size, range } in self.parts(address, out.len())? {
            let page = self.page(slot, page, size)?;
            let to = out.get_mut(range)?;
            to.copy_from_slice(page.get(from..from + to.len())?);
        }
        Some(())
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Option<()> {
        for Part { slot, page, from, size, range } in self.parts(address, data.len())? {
            if !self.written.contains_key(&(slot, page)) {
                let bytes = self.page(slot, page, size)?.to_vec();
                (self.written.len() < MOST_PAGES).then(|| self.written.insert((slot, page), bytes))?;
            }
            let page = self.written.get_mut(&(slot, page))?;
            let data = data.get(range)?;
            page.get_mut(from..from + data.len())?.copy_from_slice(data);
        }
        Some(())
    }

    fn size(&self) -> u64 {
        self.state.size().into()
    }

    fn next(&mut self) {
        self.written.clear();
    }
}

impl GpuContext {
    /// What was seen of the launch's kernel: before now, or in a rehearsal of some of its iterations.
    pub(super) fn seen(
        &mut self,
        launch: &Launch,
        environment: &Environment,
        state: &mut CallerState<'_>,
        connection: &Connection,
    ) -> Option<Arc<Seen>> {
        let shared = self.shared.clone();
        if let Some(seen) = shared.kernels.seen(&launch.module, launch.function) {
            return Some(seen);
        }
        let last = launch.iterations.checked_sub(1)?;
        let spread = (0..=PARTS).map(|part| (u64::from(last) * part / PARTS) as u32);
        let iterations: BTreeSet<u32> = spread.chain([1.min(last)]).collect();
        // The ends come first, since there may not be time for all.
        let ends = [0, last].into_iter().chain(iterations);
        let (seen, _) = self.rehearsed(launch, environment, state, connection, None, ends)?;
        Some(shared.kernels.note_seen(&launch.module, launch.function, seen))
    }

    /// Rehearses an iteration that met something else than what was seen; says whether that is seen now.
    pub(super) fn see_again(
        &mut self,
        launch: &Launch,
        environment: &Environment,
        state: &mut CallerState<'_>,
        iteration: u32,
    ) -> bool {
        let shared = self.shared.clone();
        let Ok(connection) = self.connection() else { return false };
        let Some(before) = shared.kernels.see_again(&launch.module, launch.function) else { return false };
        let before = Some((*before).clone());
        match self.rehearsed(launch, environment, state, &connection, before, [iteration]) {
            Some((seen, true)) => {
                shared.kernels.note_seen(&launch.module, launch.function, seen);
                true
            }
            _ => false,
        }
    }

    /// Rehearses iterations; gives what was seen of the kernel before and now, and whether any of that is news.
    fn rehearsed(
        &mut self,
        launch: &Launch,
        environment: &Environment,
        state: &mut CallerState<'_>,
        connection: &Connection,
        before: Option<Seen>,
        iterations: impl IntoIterator<Item = u32>,
    ) -> Option<(Seen, bool)> {
        if !self.settle(connection) {
            return None;
        }
        let shared = self.shared.clone();
        let (module, kernel) = (&launch.module.wasm, launch.function);
        let (_, slots) = shape_of(&launch.buffers);
        let buffers = slots.iter().map(|spec| Some((*spec, self.buffer(connection, spec.id).ok()?.clone())));
        let buffers: Vec<(BufferSpec, GpuBuffer)> = buffers.collect::<Option<_>>()?;
        let globals: Vec<Const> = (0..module.globals().len() as u32).map(|global| state.constant(global)).collect();
        let pairs = launch.buffers.iter().flat_map(|spec| [spec.address, spec.size]);
        let arguments: Vec<u32> = [launch.iterations, launch.block_size].into_iter().chain(pairs).collect();
        let places: Vec<(u32, u32, u32)> =
            (0..).zip(&slots).map(|(slot, spec)| (spec.address, spec.size, slot)).collect();
        let given = Given { arguments: &arguments, buffers: &places, globals: &globals };
        let mut pages = Pages { connection, state, buffers, read: HashMap::new(), written: HashMap::new() };
        let mut rehearsal = Rehearsal::new(module, kernel, environment, before);
        let mut any = false;
        for iteration in iterations {
            if !rehearsal.goes_on() {
                break;
            }
            let (broken, news) = rehearsal.run(&given, iteration, &mut pages);
            any |= news;
            if let Some(assumption) = broken {
                shared.kernels.note_broken(&launch.module, kernel, assumption);
            }
        }
        Some((rehearsal.into_seen(), any))
    }
}
