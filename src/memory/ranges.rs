//! Which 64 KiB pages of an address space belong to buffers.

use std::collections::BTreeMap;

use super::PAGE;

/// Pages of the address space: 4 GiB of 64 KiB each.
const PAGES: u32 = 1 << 16;

/// Buffers' page ranges, filled from the top down. One free page lies below and above each range, so that running
/// over either end of a buffer meets no other one.
#[derive(Debug, Default)]
pub struct Ranges {
    /// First page to the page after the last, of each range in use.
    used: BTreeMap<u32, u32>,
}

impl Ranges {
    /// The address of `size` bytes that own whole pages, none of which lies below `floor` bytes; `None` if there is
    /// no such gap. The end of the bytes is as near to a page's end as an address that is a multiple of 256 allows.
    pub fn allocate(&mut self, size: u32, floor: u64) -> Option<u32> {
        let count = pages_of(size);
        // Page 0 is never handed out: null pointers must fault. One page more keeps the gap above linear memory.
        let floor = u32::try_from(floor.div_ceil(PAGE)).ok()?.max(1);
        // Nor is the last page: running over its end would wrap around to linear memory.
        let mut end = PAGES - 1;
        for (&first, &last) in self.used.iter().rev() {
            if fits(last + 1, end, count, floor) {
                break;
            }
            end = first.saturating_sub(1);
        }
        let start = end.checked_sub(count)?;
        if start < floor || self.used.range(..end).next_back().is_some_and(|(_, &last)| last + 1 > start) {
            return None;
        }
        self.used.insert(start, end);
        let end = u64::from(end) * PAGE;
        // A buffer of no bytes still needs an address of its own.
        Some(((end - u64::from(size.max(1))) / 256 * 256) as u32)
    }

    /// Gives back what [`Ranges::allocate`] gave; the bytes of the pages, or `None` if it gave no such range.
    pub fn release(&mut self, address: u32, size: u32) -> Option<std::ops::Range<u64>> {
        let end = (u64::from(address) + u64::from(size.max(1))).div_ceil(PAGE);
        let start = u32::try_from(end).ok()?.checked_sub(pages_of(size))?;
        let end = self.used.remove(&start)?;
        Some(u64::from(start) * PAGE..u64::from(end) * PAGE)
    }

    /// Takes back a range that was just released.
    pub fn allocate_at(&mut self, address: u32, size: u32) {
        let end = (u64::from(address) + u64::from(size.max(1))).div_ceil(PAGE) as u32;
        self.used.insert(end.saturating_sub(pages_of(size)), end);
    }

    /// The lowest byte of all ranges; the end of the address space if there is none.
    pub fn lowest(&self) -> u64 {
        self.used.first_key_value().map_or(u64::from(PAGES), |(&first, _)| u64::from(first)) * PAGE
    }
}

fn fits(low: u32, high: u32, count: u32, floor: u32) -> bool {
    high >= count && high - count >= low.max(floor)
}

fn pages_of(size: u32) -> u32 {
    // Rounding the address down to 256 bytes can push the start one page lower.
    let end_gap = u64::from(size.max(1)).div_ceil(256) * 256;
    end_gap.div_ceil(PAGE) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_end_at_page_ends_and_keep_a_gap() {
        let mut ranges = Ranges::default();
        let a = ranges.allocate(1000, 0).unwrap();
        let b = ranges.allocate(65536, 0).unwrap();
        let empty = ranges.allocate(0, 0).unwrap();
        assert_eq!(a, 0xfffe_fc00);
        assert_eq!(b, 0xfffc_0000);
        assert_eq!(empty, 0xfffa_ff00);
        assert_eq!(ranges.lowest(), 0xfffa_0000);
    }

    #[test]
    fn a_hole_is_used_again_and_only_if_it_is_large_enough() {
        let mut ranges = Ranges::default();
        let sizes = [65536, 3 * 65536, 65536];
        let [_, b, _] = sizes.map(|size| ranges.allocate(size, 0).unwrap());
        assert_eq!(ranges.release(b, sizes[1]), Some(u64::from(b)..u64::from(b) + 3 * PAGE));
        assert_eq!(ranges.release(b, sizes[1]), None, "a range is given back once");
        let large = ranges.allocate(4 * 65536, 0).unwrap();
        assert!(large < b, "four pages don't fit where three were");
        assert_eq!(ranges.allocate(3 * 65536, 0), Some(b));
    }

    #[test]
    fn linear_memory_and_page_zero_are_never_handed_out() {
        let mut ranges = Ranges::default();
        assert_eq!(ranges.allocate(u32::MAX, 0), None);
        assert_eq!(ranges.allocate(0xffff_0000, 0), None);
        assert_eq!(ranges.allocate(0xfffe_0000, 0), Some(65536));
        let mut ranges = Ranges::default();
        assert_eq!(ranges.allocate(3 << 30, 2 << 30), None);
        assert_eq!(ranges.allocate((2 << 30) - 65536, 2 << 30), Some(2 << 30));
        assert_eq!(ranges.allocate(1, 2 << 30), None);
    }

    #[test]
    fn a_full_space_says_so() {
        let mut ranges = Ranges::default();
        let mut count = 0;
        while let Some(address) = ranges.allocate(15 << 16, 0) {
            assert!(address >= 65536);
            count += 1;
        }
        assert_eq!(count, 4095, "sixteen pages each with the gap, without the first and the last page");
        assert!(ranges.allocate(1 << 16, 0).is_some_and(|address| address < 16 << 16), "what is left at the bottom");
    }
}
