//! Transformations of the IR, one file each. Each takes and leaves IR that [`verify`](crate::ir::verify) accepts.

pub(crate) mod apart;
pub mod bulk;
pub mod coarsen;
pub mod data_drop;
pub mod dead_code;
pub mod emulate;
pub mod flatten;
pub mod forward;
pub mod fuel;
pub mod gather_ends;
pub mod hide_limits;
pub mod hoist_loads;
pub mod inline;
pub(crate) mod known_data;
pub mod low_bits;
pub mod lower;
pub mod merge_checks;
pub mod part_stores;
pub mod promote;
pub mod rebase;
pub(crate) mod share;
pub mod simplify;
mod split;
pub mod stack_slots;
pub mod vectors;
pub mod widen;
pub mod words;
