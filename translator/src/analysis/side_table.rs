//! Facts about some of a function's values.

use crate::ir::Value;

/// A fact about each of some values of a function, four bytes for each of the others: tables of large kernels compete for
/// the caches with the kernel itself.
pub(crate) struct SideTable<T> {
    /// For each value the number of its fact, counted from 1; 0: none.
    numbers: Vec<u32>,
    facts: Vec<T>,
}

impl<T> SideTable<T> {
    /// Nothing about any of so many values.
    pub fn new(values: usize) -> Self {
        SideTable { numbers: vec![0; values], facts: Vec::new() }
    }

    /// One more value.
    pub fn push(&mut self) {
        self.numbers.push(0);
    }

    /// What is known of a value.
    pub fn get(&self, value: Value) -> Option<&T> {
        let number = self.numbers[value.index()].checked_sub(1)?;
        self.facts.get(number as usize)
    }

    /// Says something of a value, in place of what was known.
    pub fn set(&mut self, value: Value, fact: T) {
        let number = &mut self.numbers[value.index()];
        match number.checked_sub(1) {
            Some(known) => self.facts[known as usize] = fact,
            None => {
                self.facts.push(fact);
                *number = self.facts.len() as u32;
            }
        }
    }

    /// Nothing is known of a value any more.
    pub fn forget(&mut self, value: Value) {
        self.numbers[value.index()] = 0;
    }
}
