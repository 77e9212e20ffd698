//! Handles: numbers that a guest holds for what the host holds.

/// Hands out numbers for values. A table's numbers start at its base, so that 0, small numbers and handles of another
/// table are unknown here, and no number is handed out twice.
#[derive(Debug)]
pub(crate) struct HandleTable<V> {
    base: u32,
    values: Vec<Option<V>>,
    /// How many are not removed.
    live: usize,
}

impl<V> HandleTable<V> {
    /// An empty table; tables whose bases are far apart never share a handle.
    pub fn new(base: u32) -> Self {
        HandleTable { base, values: Vec::new(), live: 0 }
    }

    /// The handle of a new value; `None` if all are used up.
    pub fn insert(&mut self, value: V) -> Option<u32> {
        let index = u32::try_from(self.values.len()).ok().filter(|index| *index < 1 << 24)?;
        self.values.push(Some(value));
        self.live += 1;
        Some(self.base + index)
    }

    fn index(&self, handle: u32) -> Option<usize> {
        handle.checked_sub(self.base).map(|index| index as usize)
    }

    /// The value of a handle; `None` if it is unknown or removed.
    pub fn get(&self, handle: u32) -> Option<&V> {
        self.values.get(self.index(handle)?)?.as_ref()
    }

    /// As [`HandleTable::get`].
    pub fn get_mut(&mut self, handle: u32) -> Option<&mut V> {
        let index = self.index(handle)?;
        self.values.get_mut(index)?.as_mut()
    }

    /// Removes a value and gives it.
    pub fn remove(&mut self, handle: u32) -> Option<V> {
        let index = self.index(handle)?;
        let value = self.values.get_mut(index)?.take()?;
        self.live -= 1;
        Some(value)
    }

    /// Removes all values for which `remove` is true and gives them.
    pub fn remove_if(&mut self, mut remove: impl FnMut(&V) -> bool) -> Vec<V> {
        let slots = self.values.iter_mut();
        let removed: Vec<V> = slots.filter_map(|slot| slot.take_if(|value| remove(value))).collect();
        self.live -= removed.len();
        removed
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Handles and values.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &V)> {
        self.values.iter().enumerate().filter_map(|(i, v)| Some((self.base + i as u32, v.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_handed_out_is_known() {
        let mut table = HandleTable::new(1000);
        let a = table.insert("a").unwrap();
        let b = table.insert("b").unwrap();
        assert_eq!((table.get(a), table.get(b)), (Some(&"a"), Some(&"b")));
        for unknown in [0, 1, 999, 1002, u32::MAX] {
            assert_eq!(table.get(unknown), None);
        }
        assert_eq!(table.remove_if(|v| *v == "a"), ["a"]);
        assert_eq!(table.get(a), None);
        assert_eq!(table.remove(a), None);
        let c = table.insert("c").unwrap();
        assert!(c > b);
        assert_eq!((table.iter().count(), table.len()), (2, 2));
        assert_eq!(table.remove(c), Some("c"));
        assert_eq!(table.remove(c), None);
        assert_eq!((table.iter().count(), table.len()), (1, 1));
    }
}
