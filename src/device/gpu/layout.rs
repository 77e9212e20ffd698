//! How a launch's memory is bound where it exceeds the device's limits: slices, pools, a buffer of arguments.

use std::collections::BTreeMap;

use wavelift_translator::layout::{DATA, POOL_READ, POOL_WRITTEN};
use wavelift_translator::{Interface, LINEAR, Layout, immediate};

use crate::device::LaunchError;

/// What starts in a pool starts at a multiple of this: the widest load of a kernel, in bytes.
const POOL_ALIGNMENT: u64 = 16;

/// The device's limits that matter here. For tests they can be lowered.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of one binding.
    pub binding_size: u64,
    /// Most storage buffers of a launch, the trap record among them.
    pub bindings: u32,
    /// Most bytes of immediates.
    pub immediates_size: u32,
    /// Most bytes of one buffer.
    pub buffer_size: u64,
}

impl Limits {
    /// Limits that any device keeps.
    pub const NONE: Limits =
        Limits { binding_size: u64::MAX, bindings: u32::MAX, immediates_size: u32::MAX, buffer_size: u64::MAX };

    pub(crate) fn of(limits: &wgpu::Limits) -> Limits {
        Limits {
            binding_size: limits.max_storage_buffer_binding_size,
            bindings: limits.max_storage_buffers_per_shader_stage.min(limits.max_bindings_per_bind_group),
            immediates_size: limits.max_immediate_size,
            buffer_size: limits.max_buffer_size,
        }
    }

    /// A device's limits, where these are lower replaced by them.
    pub(crate) fn lower(&self, mut limits: wgpu::Limits) -> wgpu::Limits {
        limits.max_storage_buffer_binding_size = limits.max_storage_buffer_binding_size.min(self.binding_size);
        limits.max_storage_buffers_per_shader_stage = limits.max_storage_buffers_per_shader_stage.min(self.bindings);
        limits.max_immediate_size = limits.max_immediate_size.min(self.immediates_size);
        limits.max_buffer_size = limits.max_buffer_size.min(self.buffer_size);
        limits
    }

    /// Logarithm of the size of a slice: the largest power of two that one binding holds and a word can name a byte of.
    fn slice_bits(&self) -> u32 {
        self.binding_size.max(1).ilog2().min(31)
    }
}

/// What a launch asks of a device: the interface of its kernel in the default layout, and the sizes of what it binds.
pub(crate) struct Demand<'a> {
    pub interface: &'a Interface,
    /// Number of distinct buffers of the launch.
    pub slots: u32,
    /// Size in bytes of a slot's buffer, of the data, or of what is bound of linear memory, as it is allocated.
    pub size: &'a dyn Fn(u32) -> u64,
}

impl Demand<'_> {
    /// The layout in which the launch keeps the limits: the default one where it does.
    ///
    /// # Errors
    /// [`LaunchError::Unsupported`] where there is none.
    pub fn layout(&self, limits: &Limits) -> Result<Layout, LaunchError> {
        let mut smallest_first: Vec<(u64, u32)> = self.slots_bound().map(|slot| ((self.size)(slot), slot)).collect();
        smallest_first.sort_unstable();
        // As few as will do, for they are copied; one alone is no pool.
        let counts = [0].into_iter().chain(2..=smallest_first.len());
        for count in counts {
            let pooled = smallest_first[..count].iter().map(|(_, slot)| *slot);
            let layout = self.with_pools(pooled.collect(), limits);
            if self.fits(&layout, limits) {
                return Ok(layout);
            }
        }
        Err(self.refusal(limits))
    }

    fn slots_bound(&self) -> impl Iterator<Item = u32> + '_ {
        self.interface.bindings.iter().map(|binding| binding.slot).filter(|slot| ![LINEAR, DATA].contains(slot))
    }

    fn with_pools(&self, pooled: Vec<u32>, limits: &Limits) -> Layout {
        let pool = |slot: u32| {
            let writable = self.interface.bindings.iter().any(|b| b.slot == slot && b.writable);
            (slot, if writable { POOL_WRITTEN } else { POOL_READ })
        };
        let mut layout = Layout { pooled: pooled.into_iter().map(pool).collect(), ..Layout::default() };
        layout.parameters = self.immediates_size(&layout) > u64::from(limits.immediates_size);
        for (holder, size) in self.sizes(&layout) {
            if size > limits.binding_size {
                layout.slice_bits = limits.slice_bits();
                layout.slices.insert(holder, size.div_ceil(1 << layout.slice_bits) as u32);
            }
        }
        layout
    }

    /// Bytes of all arguments, those of pools included.
    fn immediates_size(&self, layout: &Layout) -> u64 {
        match layout.pooled.len() {
            0 => self.interface.immediates_size.into(),
            pooled => {
                let slots = immediate::SLOTS as usize + 2 * self.slots as usize;
                4 * (slots + self.interface.inputs.len() + pooled) as u64
            }
        }
    }

    /// The size of everything that is bound.
    fn sizes(&self, layout: &Layout) -> BTreeMap<u32, u64> {
        let mut sizes = BTreeMap::new();
        for binding in &self.interface.bindings {
            *sizes.entry(layout.holder(binding.slot)).or_default() += padded((self.size)(binding.slot));
        }
        sizes
    }

    fn bindings(&self, layout: &Layout) -> u64 {
        let memory: u64 = self.sizes(layout).keys().map(|holder| u64::from(layout.slices_of(*holder))).sum();
        memory + u64::from(!self.interface.trap_sites.is_empty()) + u64::from(layout.parameters)
    }

    fn fits(&self, layout: &Layout, limits: &Limits) -> bool {
        let pools = [POOL_READ, POOL_WRITTEN];
        let sizes = self.sizes(layout);
        let largest = pools.iter().filter_map(|pool| sizes.get(pool)).max().copied().unwrap_or(0);
        self.bindings(layout) <= limits.bindings.into() && largest <= limits.buffer_size
    }

    fn refusal(&self, limits: &Limits) -> LaunchError {
        let count = self.interface.bindings.len();
        let bytes: u64 = self.interface.bindings.iter().map(|binding| (self.size)(binding.slot)).sum();
        let Limits { bindings, binding_size, buffer_size, .. } = limits;
        LaunchError::Unsupported(format!(
            "The kernel reaches {count} buffers of {bytes} bytes together. This device binds at most {bindings} ranges of \
             {binding_size} bytes in one launch, and its buffers, in which small ones are put together, have at most \
             {buffer_size} bytes. Use fewer or smaller buffers."
        ))
    }
}

/// The part of a buffer of `size` bytes that a slice is, as offset and length; `None` for one that starts beyond its end.
pub(crate) fn slice_range(layout: &Layout, holder: u32, slice: u32, size: u64, limits: &Limits) -> Option<(u64, u64)> {
    let slices = layout.slices_of(holder);
    if slices == 1 {
        let most = limits.binding_size - limits.binding_size % 4;
        return Some((0, size.min(most)));
    }
    let length = 1u64 << layout.slice_bits;
    let start = u64::from(slice) * length;
    (start < size).then(|| (start, length.min(size - start)))
}

/// Most bytes that the bindings of a slot reach.
pub(crate) fn reach(layout: &Layout, holder: u32, limits: &Limits) -> u64 {
    match layout.slices_of(holder) {
        1 => limits.binding_size,
        slices => u64::from(slices) << layout.slice_bits,
    }
}

/// Where a slot lies in its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pooled {
    pub slot: u32,
    pub pool: u32,
    /// In bytes.
    pub start: u64,
    /// In bytes, padded.
    pub size: u64,
}

/// The places of the pooled slots, in order of their numbers.
pub(crate) fn pooled(layout: &Layout, size: &dyn Fn(u32) -> u64) -> Vec<Pooled> {
    let mut ends = BTreeMap::new();
    let place = |(&slot, &pool): (&u32, &u32)| {
        let end: &mut u64 = ends.entry(pool).or_default();
        let place = Pooled { slot, pool, start: *end, size: padded(size(slot)) };
        *end += place.size;
        place
    };
    layout.pooled.iter().map(place).collect()
}

fn padded(size: u64) -> u64 {
    size.next_multiple_of(POOL_ALIGNMENT).max(POOL_ALIGNMENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wavelift_translator::layout::PARAMETERS;
    use wavelift_translator::{Binding, Input};

    const LIMITS: Limits = Limits { binding_size: 1000, bindings: 4, immediates_size: 128, buffer_size: 4096 };

    /// Slots from 0 on; those of odd numbers are written.
    fn interface(slots: u32) -> Interface {
        let bindings = (0..slots).map(|slot| Binding {
            binding: slot + 1,
            slot,
            slice: 0,
            writable: slot % 2 == 1,
            uniform: false,
        });
        Interface {
            workgroup_size: 64,
            lanes: 1,
            bindings: bindings.collect(),
            immediates_size: 4 * (immediate::SLOTS + 2 * slots),
            parameters_size: 0,
            data: [].into(),
            trap_sites: vec![],
            inputs: vec![],
            layout: Layout::default(),
        }
    }

    fn layout_of(interface: &Interface, sizes: &[u64], limits: &Limits) -> Result<Layout, LaunchError> {
        let size = |slot: u32| sizes[slot.min(sizes.len() as u32 - 1) as usize];
        let slots = sizes.len() as u32;
        Demand { interface, slots, size: &size }.layout(limits)
    }

    #[test]
    fn a_launch_within_the_limits_has_the_default_layout() {
        assert_eq!(layout_of(&interface(4), &[992, 16, 0, 980], &LIMITS).unwrap(), Layout::default());
    }

    #[test]
    fn large_buffers_are_cut_into_slices_of_a_power_of_two() {
        let layout = layout_of(&interface(2), &[1001, 100], &LIMITS).unwrap();
        assert_eq!((layout.slice_bits, layout.slices), (9, BTreeMap::from([(0, 2)])));
        let layout = layout_of(&interface(1), &[2048], &LIMITS).unwrap();
        assert_eq!(layout.slices, BTreeMap::from([(0, 4)]));
        assert_eq!(slice_range(&layout, 0, 3, 2048, &LIMITS), Some((1536, 512)));
        assert_eq!(slice_range(&layout, 0, 3, 1540, &LIMITS), Some((1536, 4)));
        assert_eq!(slice_range(&layout, 0, 3, 1536, &LIMITS), None);
        assert_eq!(slice_range(&Layout::default(), 0, 0, 5000, &LIMITS), Some((0, 1000)));
        assert_eq!((reach(&layout, 0, &LIMITS), reach(&layout, 1, &LIMITS)), (2048, 1000));
    }

    #[test]
    fn the_smallest_buffers_are_pooled() {
        let layout = layout_of(&interface(6), &[900, 800, 30, 20, 500, 10], &LIMITS).unwrap();
        // Two bindings are the pools', so all but the largest two lie in them.
        assert_eq!(
            layout.pooled,
            BTreeMap::from([(2, POOL_READ), (3, POOL_WRITTEN), (4, POOL_READ), (5, POOL_WRITTEN)])
        );
        assert!(layout.slices.is_empty());
        let places = pooled(&layout, &|slot| [900, 800, 30, 20, 500, 10][slot as usize]);
        let starts: Vec<_> = places.iter().map(|p| (p.slot, p.start, p.size)).collect();
        assert_eq!(starts, [(2, 0, 32), (3, 0, 32), (4, 32, 512), (5, 32, 16)]);
    }

    #[test]
    fn pools_beyond_the_binding_limit_are_cut_too() {
        let limits = Limits { bindings: 5, ..LIMITS };
        let layout = layout_of(&interface(6), &[400; 6], &limits).unwrap();
        assert_eq!((layout.pooled.len(), layout.slices.len()), (3, 0));
        let layout =
            layout_of(&interface(8), &[400; 8], &Limits { bindings: 8, binding_size: 300, ..LIMITS }).unwrap_err();
        assert!(layout.to_string().contains("reaches 8 buffers of 3200 bytes"), "{layout}");
        let only_read = Interface { bindings: interface(9).bindings.into_iter().step_by(2).collect(), ..interface(9) };
        assert_eq!(layout_of(&only_read, &[300; 9], &LIMITS).unwrap().pooled.len(), 2);
        let limits = Limits { binding_size: 600, ..LIMITS };
        let layout = layout_of(&only_read, &[300; 9], &limits).unwrap();
        assert_eq!((layout.pooled.len(), layout.slices), (3, BTreeMap::from([(POOL_READ, 2)])));
        let small = Limits { buffer_size: 900, ..limits };
        assert!(matches!(layout_of(&only_read, &[300; 9], &small), Err(LaunchError::Unsupported(_))));
    }

    #[test]
    fn arguments_beyond_the_immediates_come_in_a_buffer() {
        let limits = Limits { bindings: 20, immediates_size: 64, ..LIMITS };
        assert!(!layout_of(&interface(5), &[16; 5], &limits).unwrap().parameters);
        assert!(layout_of(&interface(6), &[16; 6], &limits).unwrap().parameters);
        // Where a pool starts is an argument as well.
        let limits = Limits { bindings: 4, ..limits };
        let layout = layout_of(&interface(5), &[16; 5], &limits).unwrap();
        assert_eq!((layout.parameters, layout.pooled.len()), (true, 4));
        assert_eq!(layout.holder(PARAMETERS), PARAMETERS);
    }

    #[test]
    fn linear_memory_is_cut_and_never_pooled() {
        let mut interface = interface(3);
        interface.inputs.push(Input::WindowStart);
        interface.bindings.push(Binding { binding: 4, slot: LINEAR, slice: 0, writable: true, uniform: false });
        let limits = Limits { bindings: 8, ..LIMITS };
        let layout = layout_of(&interface, &[100, 100, 100, 1600], &limits).unwrap();
        assert_eq!((layout.slices, layout.pooled.len()), (BTreeMap::from([(LINEAR, 4)]), 0));
    }
}
