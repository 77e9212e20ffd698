//! What a kernel may reach, read off the bodies without lifting them.

mod returns;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use wasmparser::{FuncType, Operator, OperatorsReader};

use crate::module::Module;
use crate::options::TableEntry;

/// Most entries of a new instance's table that are written out.
const MAX_INITIAL_ENTRIES: u64 = 1 << 20;

/// What was found so far: tables by kernel, data segments, and functions that never come back.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    tables: Mutex<HashMap<u32, Arc<[u32]>>>,
    dropped: OnceLock<HashSet<u32>>,
    dying: OnceLock<HashSet<u32>>,
}

impl Module {
    /// The tables through which a kernel, or what it calls, makes indirect calls, in ascending order. An indirect call is
    /// taken to reach every function of its type. The answer is kept.
    pub fn tables_reached(&self, kernel: u32) -> Arc<[u32]> {
        let mut known = self.reached.tables.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(kernel).or_insert_with(|| tables_reached(self, kernel)).clone()
    }

    /// Whether a call of the function is a trap, as one in front of `unreachable` is: it calls others and never comes
    /// back, for all its paths end in `unreachable` or in such a call. One that calls nothing is left to be lifted, so
    /// that it traps at its own operator. The answer is kept.
    pub fn dies(&self, function: u32) -> bool {
        self.reached.dying.get_or_init(|| returns::dying(self)).contains(&function)
    }

    /// Whether a function of the module drops this data segment. The answer is kept.
    pub fn drops_data(&self, segment: u32) -> bool {
        self.reached.dropped.get_or_init(|| dropped_data(self)).contains(&segment)
    }

    /// The entries that a table of a new instance has, as far as the module itself says.
    pub fn initial_table(&self, table: u32) -> Vec<TableEntry> {
        let size = self.tables().get(table as usize).map_or(0, |t| t.minimum.min(MAX_INITIAL_ENTRIES));
        let mut entries = vec![TableEntry::Null; size as usize];
        for element in self.elements() {
            let Some((_, Some(offset))) = element.active.filter(|(of, _)| *of == table) else { continue };
            let places = entries.iter_mut().skip(offset as usize);
            for (entry, function) in places.zip(&element.functions) {
                *entry = function.map_or(TableEntry::Null, TableEntry::Function);
            }
        }
        entries
    }
}

/// Whether the operator that `operators` gives next is `unreachable`, the one whose opcode is 0. A call in front of it
/// is a panic: a trap on every device, not an edge.
pub fn next_is_unreachable(operators: &OperatorsReader<'_>) -> bool {
    operators.get_binary_reader().read_u8().is_ok_and(|opcode| opcode == 0)
}

fn tables_reached(module: &Module, kernel: u32) -> Arc<[u32]> {
    let mut tables = BTreeSet::new();
    let mut types: HashSet<&FuncType> = HashSet::new();
    let mut seen = HashSet::from([kernel]);
    let mut todo = vec![kernel];
    while let Some(function) = todo.pop() {
        let Some(operators) = module.body(function).and_then(|body| body.get_operators_reader().ok()) else { continue };
        let edges = edges(module, operators);
        for (table, ty) in edges.indirect {
            tables.insert(table);
            let Some(ty) = module.type_at(ty) else { continue };
            if types.insert(ty) {
                let fits = |f: &u32| module.function_type(*f) == Some(ty);
                todo.extend((0..module.function_count()).filter(fits).filter(|f| seen.insert(*f)));
            }
        }
        todo.extend(edges.direct.into_iter().filter(|f| seen.insert(*f)));
    }
    tables.into_iter().collect()
}

fn dropped_data(module: &Module) -> HashSet<u32> {
    let bodies = (0..module.function_count()).filter_map(|function| module.body(function));
    let operators = bodies.filter_map(|body| body.get_operators_reader().ok()).flatten().flatten();
    let dropped = |operator: Operator<'_>| match operator {
        Operator::DataDrop { data_index } => Some(data_index),
        _ => None,
    };
    operators.filter_map(dropped).collect()
}

#[derive(Default)]
struct Edges {
    direct: Vec<u32>,
    /// Table and type index.
    indirect: Vec<(u32, u32)>,
}

/// The calls of a body, but for those that never return.
fn edges(module: &Module, mut operators: OperatorsReader<'_>) -> Edges {
    let mut edges = Edges::default();
    while let Ok(operator) = operators.read() {
        match operator {
            Operator::Call { .. } | Operator::CallIndirect { .. } if next_is_unreachable(&operators) => {}
            Operator::Call { function_index } if module.dies(function_index) => {}
            Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                edges.direct.push(function_index);
            }
            Operator::CallIndirect { table_index, type_index }
            | Operator::ReturnCallIndirect { table_index, type_index } => {
                edges.indirect.push((table_index, type_index));
            }
            _ => {}
        }
        if operators.eof() {
            break;
        }
    }
    edges
}
