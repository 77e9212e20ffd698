//! Passes: each takes a function and gives one that means the same.

pub mod lower;
pub mod rebase;
