//! What is known about a function's values; nothing here changes a function.

pub mod alignment;
pub(crate) mod bottoms;
pub mod dataflow;
pub(crate) mod entries;
pub mod fitting;
pub(crate) mod float_facts;
pub mod frames;
pub mod launch_checks;
pub mod offsets;
pub(crate) mod phase;
pub(crate) mod pointers;
pub mod ranges;
pub mod roots;
pub mod rounds;
pub(crate) mod side_table;
pub mod stack_offsets;
pub mod stack_pointer;
pub mod trip_counts;
