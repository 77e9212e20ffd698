//! What was used lately, by its key: bounded, with nothing to do for each use but a look-up.

use std::hash::Hash;

use foldhash::HashMap;

/// A map that keeps at least the `most` entries that were used last, and at most twice as many. One that forgot all when it
/// is full would make a guest that comes round to its first buffers again find none of them.
pub(crate) struct Recent<K, V> {
    most: usize,
    /// Used since the last change of generations.
    young: HashMap<K, V>,
    /// Not used since.
    old: HashMap<K, V>,
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    /// An empty map.
    pub fn new(most: usize) -> Recent<K, V> {
        Recent { most, young: HashMap::default(), old: HashMap::default() }
    }

    /// The entry of a key, which counts as a use.
    pub fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.insert(key, value.clone());
        Some(value)
    }

    /// Keeps an entry.
    pub fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.most {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Keeps only the entries that `keep` says so of.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.young.retain(|key, value| keep(key, value));
        self.old.retain(|key, value| keep(key, value));
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_was_used_last() {
        let mut recent = Recent::new(4);
        (0..4).for_each(|key| recent.insert(key, 10 * key));
        // All in turns, again and again: none is lost.
        for key in (0..4).cycle().take(40) {
            assert_eq!(recent.get(&key), Some(10 * key));
        }
        // Of many more the first go, unless they are used.
        for key in 4..100 {
            recent.insert(key, 10 * key);
            assert_eq!(recent.get(&0), Some(0));
            assert!(recent.young.len() <= 4 && recent.old.len() <= 4);
        }
        assert_eq!((recent.get(&1), recent.get(&99), recent.get(&98)), (None, Some(990), Some(980)));
    }

    #[test]
    fn forgets_what_it_is_told_to() {
        let mut recent = Recent::new(2);
        (0..4).for_each(|key| recent.insert(key, key));
        recent.retain(|key, value| key == value && key % 2 == 0);
        assert_eq!(recent.len(), 2);
        assert_eq!((0..4).map(|key| recent.get(&key)).collect::<Vec<_>>(), [Some(0), None, Some(2), None]);
        recent.clear();
        assert_eq!(recent.get(&2), None);
    }
}
