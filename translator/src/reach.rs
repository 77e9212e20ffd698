//! What a kernel may reach, read off the bodies without lifting them.

mod returns;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use wasmparser::{FuncType, Operator, OperatorsReader};

use crate::module::Module;
use crate::options::TableEntry;

/// Most entries of a new instance's table that are written out.
const MAX_INITIAL_ENTRIES: u64 = 1 << 20;

/// What was found so far: the state that kernels depend on, data segments, and functions that never come back.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    state: Mutex<HashMap<u32, State>>,
    droppable: OnceLock<BTreeSet<u32>>,
    dying: OnceLock<HashSet<u32>>,
}

/// What of its instance's state a kernel depends on, in ascending order.
#[derive(Clone, Debug)]
struct State {
    tables: Arc<[u32]>,
    droppable: Arc<[u32]>,
    /// Bytes of the bodies.
    code: u64,
}

impl Module {
    /// The tables through which a kernel, or what it calls, makes indirect calls, in ascending order. An indirect call is
    /// taken to reach every function of its type. The answer is kept.
    pub fn tables_reached(&self, kernel: u32) -> Arc<[u32]> {
        self.state_reached(kernel).tables
    }

    /// The data segments of [`Module::droppable_data`] that a kernel, or what it calls, has a `memory.init` of, in
    /// ascending order. The answer is kept.
    pub fn droppable_reached(&self, kernel: u32) -> Arc<[u32]> {
        self.state_reached(kernel).droppable
    }

    /// Bytes of the bodies of a kernel and of all that it may call; as above. The answer is kept.
    pub fn code_reached(&self, kernel: u32) -> u64 {
        self.state_reached(kernel).code
    }

    fn state_reached(&self, kernel: u32) -> State {
        let mut known = self.reached.state.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(kernel).or_insert_with(|| state_reached(self, kernel)).clone()
    }

    /// Whether a call of the function is a trap, as one in front of `unreachable` is: it calls others and never comes
    /// back, for all its paths end in `unreachable` or in such a call. One that calls nothing is left to be lifted, so
    /// that it traps at its own operator. The answer is kept.
    pub fn dies(&self, function: u32) -> bool {
        self.reached.dying.get_or_init(|| returns::dying(self)).contains(&function)
    }

    /// The data segments of which it matters whether they were dropped: those that have bytes after instantiation, and
    /// that one function drops and one has a `memory.init` of. The answer is kept.
    pub fn droppable_data(&self) -> &BTreeSet<u32> {
        self.reached.droppable.get_or_init(|| droppable_data(self))
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

fn state_reached(module: &Module, kernel: u32) -> State {
    let (mut tables, mut droppable, mut code) = (BTreeSet::new(), BTreeSet::new(), 0);
    let mut types: HashSet<&FuncType> = HashSet::new();
    let mut seen = HashSet::from([kernel]);
    let mut todo = vec![kernel];
    while let Some(function) = todo.pop() {
        let Some(body) = module.body(function) else { continue };
        code += body.range().len() as u64;
        let Ok(operators) = body.get_operators_reader() else { continue };
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
        droppable.extend(edges.data.iter().filter(|segment| module.droppable_data().contains(segment)));
    }
    State { tables: tables.into_iter().collect(), droppable: droppable.into_iter().collect(), code }
}

fn droppable_data(module: &Module) -> BTreeSet<u32> {
    let has_bytes: BTreeSet<u32> =
        (0..).zip(module.data()).filter(|(_, bytes)| !bytes.is_empty()).map(|(segment, _)| segment).collect();
    if has_bytes.is_empty() {
        return has_bytes;
    }
    let (mut dropped, mut used) = (BTreeSet::new(), BTreeSet::new());
    let bodies = (0..module.function_count()).filter_map(|function| module.body(function));
    for operator in bodies.filter_map(|body| body.get_operators_reader().ok()).flatten().flatten() {
        match operator {
            Operator::DataDrop { data_index } => _ = dropped.insert(data_index),
            Operator::MemoryInit { data_index, .. } => _ = used.insert(data_index),
            _ => {}
        }
    }
    has_bytes.into_iter().filter(|segment| dropped.contains(segment) && used.contains(segment)).collect()
}

#[derive(Default)]
struct Edges {
    direct: Vec<u32>,
    /// Table and type index.
    indirect: Vec<(u32, u32)>,
    /// Data segments of `memory.init`.
    data: Vec<u32>,
}

/// The calls of a body, but for those that never return, and the data segments that it loads.
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
            Operator::MemoryInit { data_index, .. } => edges.data.push(data_index),
            _ => {}
        }
        if operators.eof() {
            break;
        }
    }
    edges
}
