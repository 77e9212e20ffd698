//! Hash tables of the passes: quick for small keys, and seeded anew in each process, so that no guest can choose keys that
//! collide. Nothing may depend on their order.

pub(crate) use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
