//! What a kernel reaches: its functions, lifted when they are first asked for.
//!
//! A direct call surely reaches its callee, and so does an indirect one of a constant entry. Which entries another indirect
//! call can come to, the inliner finds out, who sees constants that callers pass; it asks for those.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use crate::error::{Error, Location, Result, TrapKind};
use crate::frontend;
use crate::ir::{Const, Function, Op, Stmt, StmtKind, Value};
use crate::module::{ConstInit, Module};
use crate::options::{Environment, TableEntry};
use crate::passes::{emulate, tail_calls, unreached};
use crate::seen::Seen;

/// Deepest chain of calls. Deeper ones exist only in recursion or in machine-made code.
const MAX_CALL_DEPTH: usize = 256;

/// Most entries of a table through which functions go on with one another by tail calls.
const MAX_ENTRIES: usize = 1024;

/// The functions that a kernel reaches, as far as is known.
#[derive(Debug)]
pub struct Slice<'e> {
    module: &'e Module,
    /// Lifted functions by index. With a function all that it surely calls is here.
    functions: HashMap<u32, Rc<Function>>,
    /// Functions as they stand in the module, and with which each goes on by tail calls; `None` for what can't be lifted.
    alone: HashMap<u32, Option<Alone>>,
    /// The tables through which they call.
    environment: &'e Environment,
    /// Which calls become operators.
    known: frontend::Known,
    /// Whether a function may call itself: the inliner then says how deep.
    may_recurse: bool,
    /// What stands for functions of which it is known bit for bit what they compute.
    stand_ins: StandIns,
    /// Where functions end at what was not seen to be reached: what was seen.
    cut_by: Option<&'e Seen>,
}

/// A function as it stands in the module.
#[derive(Clone, Debug)]
struct Alone {
    function: Rc<Function>,
    goes_on_with: Rc<BTreeSet<u32>>,
}

/// What stands for, or before, a function of which it is known bit for bit what it computes.
#[derive(Clone, Debug)]
pub enum StandIn {
    /// Its quick phase: of the arguments' bits it makes the result's, and 2^32 more where they are surely right.
    Quick(Rc<Function>),
    /// Of the arguments' bits it makes those of nearly the same result.
    Near(Rc<Function>),
}

/// What stands for a kernel's functions.
#[derive(Debug, Default)]
struct StandIns {
    /// Whether functions get quick phases.
    quick: bool,
    /// Whether those that have near functions become these.
    near: bool,
    /// Those that were asked for, by the function's name in C.
    lifted: HashMap<&'static str, Option<StandIn>>,
    /// The words of the module's data by which the functions are known.
    relied_on: BTreeSet<u32>,
}

impl StandIns {
    /// The one of a function, by its name in C.
    fn of(&mut self, name: &'static str) -> Result<Option<StandIn>> {
        if let Some(known) = self.lifted.get(name) {
            return Ok(known.clone());
        }
        let near = if self.near { emulate::near_function(name)? } else { None };
        let found = match near {
            Some(near) => Some(StandIn::Near(near)),
            None if self.quick => Some(StandIn::Quick(emulate::quick_phase(name)?)),
            None => None,
        };
        self.lifted.insert(name, found.clone());
        Ok(found)
    }
}

/// What an indirect call comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// It runs this function.
    Runs(u32),
    /// It traps.
    Traps(TrapKind),
    /// It runs a function of another module.
    Foreign,
    /// It is not called with what it would be found by.
    Never,
}

/// What an indirect call may come to.
#[derive(Debug)]
pub enum Dispatch {
    /// The entry's number is a constant.
    Fixed(Outcome),
    /// One of the table's entries, in their order; beyond the last is [`TrapKind::TableOutOfBounds`].
    Any(Vec<Outcome>),
}

/// An indirect call: arguments (without the entry's number) and results have the types that the function must have.
#[derive(Clone, Copy)]
pub struct Indirect<'c> {
    /// Where it stands.
    pub caller: &'c Function,
    pub at: Location,
    pub table: u32,
    /// The entry's number, if it is a constant.
    pub entry: Option<u32>,
    /// What the number is one of, if that is known.
    pub among: Option<&'c BTreeSet<u32>>,
    pub params: &'c [Value],
    pub results: &'c [Value],
}

/// A call: where it stands, and the function it comes to.
type Edge = (u32, Location);

impl<'e> Slice<'e> {
    /// A slice without functions, for launches that find these tables; known calls become operators.
    pub fn new(module: &'e Module, environment: &'e Environment, known: frontend::Known) -> Self {
        let (functions, alone) = (HashMap::new(), HashMap::new());
        Slice {
            module,
            functions,
            alone,
            environment,
            known,
            may_recurse: false,
            stand_ins: StandIns::default(),
            cut_by: None,
        }
    }

    /// The module whose functions they are.
    pub fn module(&self) -> &'e Module {
        self.module
    }

    /// The same, in which the quick phases of known functions come before these, and near functions stand for them.
    pub fn with_stand_ins(self, quick: bool, near: bool) -> Self {
        Slice { stand_ins: StandIns { quick, near, ..StandIns::default() }, ..self }
    }

    /// What stands for, or before, a function.
    ///
    /// # Errors
    /// [`Error::Internal`] if the translator's own module can't be lifted.
    pub fn stand_in(&mut self, function: u32) -> Result<Option<StandIn>> {
        let Some(except) = &self.environment.initial else { return Ok(None) };
        if !(self.stand_ins.quick || self.stand_ins.near) || !self.module.keeps_data() {
            return Ok(None);
        }
        let Some(exact) = self.module.exact(function) else { return Ok(None) };
        if exact.words.iter().any(|word| except.binary_search(word).is_ok()) {
            return Ok(None);
        }
        let found = self.stand_ins.of(exact.name)?;
        if found.is_some() {
            self.stand_ins.relied_on.extend(&exact.words);
        }
        Ok(found)
    }

    /// The words of the module's data that must be what they are in a new instance, ascending.
    pub fn into_relied_on(self) -> BTreeSet<u32> {
        self.stand_ins.relied_on
    }

    /// What was seen in a rehearsal, if there was one.
    pub(crate) fn seen(&self) -> Option<&Seen> {
        self.environment.seen.as_deref()
    }

    /// The same, in which functions may call themselves.
    pub fn recursive(self) -> Self {
        Slice { may_recurse: true, ..self }
    }

    /// The same, in which functions end, if something was seen, at what was not seen to be reached.
    pub(crate) fn cutting(self, cut_by: Option<&'e Seen>) -> Self {
        Slice { cut_by, ..self }
    }

    /// The functions so far, by index.
    pub fn into_functions(self) -> HashMap<u32, Function> {
        self.functions.into_iter().map(|(index, function)| (index, Rc::unwrap_or_clone(function))).collect()
    }

    /// A function, lifted. `callers` are those in the midst of which it is called, at `at`, outermost first.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a host import, recursion, or whatever the front end can't lift, in this function or one
    /// that it surely calls.
    pub fn get(&mut self, function: u32, callers: &[u32], at: Option<Location>) -> Result<Rc<Function>> {
        if let Some(at) = at {
            self.check_call(function, callers, at)?;
        }
        if !self.functions.contains_key(&function) {
            self.reach(function)?;
        }
        self.functions.get(&function).cloned().ok_or_else(|| Error::Internal(format!("{function} was not lifted")))
    }

    /// Lifts a function and what it surely calls.
    fn reach(&mut self, function: u32) -> Result<()> {
        let mut open: Vec<u32> = vec![function];
        let mut calls: Vec<Vec<Edge>> = vec![self.enter(function)?];
        while let Some(last) = calls.last_mut() {
            let Some((callee, at)) = last.pop() else {
                open.pop();
                calls.pop();
                continue;
            };
            self.check_call(callee, &open, at)?;
            if !self.functions.contains_key(&callee) {
                calls.push(self.enter(callee)?);
                open.push(callee);
            }
        }
        Ok(())
    }

    fn check_call(&self, callee: u32, callers: &[u32], at: Location) -> Result<()> {
        if callers.contains(&callee) && !self.may_recurse {
            let name = self.module.function_name(callee);
            return Err(self.refuse(at, format!("recursion (`{name}` calls itself)")));
        }
        if let Some((namespace, name)) = self.module.imported_function(callee) {
            return Err(self.refuse(at, format!("a call of the host function `{namespace}::{name}`")));
        }
        if callers.len() >= MAX_CALL_DEPTH {
            return Err(self.refuse(at, format!("more than {MAX_CALL_DEPTH} nested calls")));
        }
        Ok(())
    }

    fn refuse(&self, at: Location, what: String) -> Error {
        Error::Unsupported {
            what,
            function_name: self.module.function_name(at.function),
            at: Some(at),
            too_large: false,
        }
    }

    /// Lifts one function; returns the calls that surely reach their callees, the first one last.
    fn enter(&mut self, function: u32) -> Result<Vec<Edge>> {
        let alone = self.alone(function)?;
        let lifted = match &self.loop_of(function, &alone)[..] {
            [] => alone.function,
            members => Rc::new(tail_calls::merge(members, &|caller, call| self.may_run(caller, call))?),
        };
        let mut calls = self.sure_calls(&lifted);
        calls.reverse();
        self.functions.insert(function, lifted);
        Ok(calls)
    }

    /// Lifts a function as it stands in the module.
    fn alone(&mut self, function: u32) -> Result<Alone> {
        if let Some(Some(known)) = self.alone.get(&function) {
            return Ok(known.clone());
        }
        let mut lifted = frontend::lift(self.module, function, self.known)?;
        if let Some(seen) = self.cut_by {
            unreached::cut(&mut lifted, seen);
        }
        let goes_on_with = tail_calls::successors(&lifted, &|caller, call| self.may_run(caller, call));
        let alone = Alone { function: Rc::new(lifted), goes_on_with: Rc::new(goes_on_with) };
        self.alone.insert(function, Some(alone.clone()));
        Ok(alone)
    }

    /// The functions that a function goes on with by tail calls and that go on with it, itself first; none if it does not come
    /// back to itself so.
    fn loop_of(&mut self, function: u32, alone: &Alone) -> Vec<Rc<Function>> {
        let mut reached = BTreeMap::from([(function, alone.clone())]);
        let mut todo: Vec<u32> = alone.goes_on_with.iter().copied().collect();
        while let Some(next) = todo.pop() {
            if reached.contains_key(&next) || self.alone.get(&next).is_some_and(Option::is_none) {
                continue;
            }
            let is_imported = self.module.imported_function(next).is_some();
            match if is_imported { None } else { self.alone(next).ok() } {
                Some(known) => {
                    todo.extend(known.goes_on_with.iter());
                    reached.insert(next, known);
                }
                // Whoever calls it says why it can't be lifted.
                None => _ = self.alone.insert(next, None),
            }
        }
        let mut comes_back = BTreeSet::new();
        loop {
            let leads = |with: &BTreeSet<u32>| with.contains(&function) || !with.is_disjoint(&comes_back);
            let more =
                reached.iter().find(|(number, known)| !comes_back.contains(*number) && leads(&known.goes_on_with));
            let Some((number, _)) = more else { break };
            comes_back.insert(*number);
        }
        if !comes_back.remove(&function) {
            return Vec::new();
        }
        [function].iter().chain(&comes_back).map(|number| reached[number].function.clone()).collect()
    }

    /// What an indirect call may come to, for each entry of its table, if that is small and has no function of another module.
    fn may_run(&self, caller: &Function, call: &Stmt) -> Vec<Outcome> {
        let StmtKind::CallIndirect { table, args, results } = &call.kind else { return Vec::new() };
        let Some((_, params)) = args.split_last() else { return Vec::new() };
        match self.dispatch(&Indirect { caller, at: call.at, table: *table, entry: None, among: None, params, results })
        {
            Dispatch::Any(outcomes) if outcomes.len() <= MAX_ENTRIES && !outcomes.contains(&Outcome::Foreign) => {
                outcomes
            }
            _ => Vec::new(),
        }
    }

    /// The calls that surely reach their callees, in order.
    fn sure_calls(&self, lifted: &Function) -> Vec<Edge> {
        let constants = self.entry_constants(lifted);
        let mut calls = Vec::new();
        for stmt in lifted.regions.iter().flat_map(|region| &region.stmts) {
            match &stmt.kind {
                StmtKind::Call { callee, .. } => calls.push((*callee, stmt.at)),
                StmtKind::CallIndirect { table, args, results } => {
                    let Some((entry, params)) = args.split_last() else { continue };
                    let Some(entry) = constants.get(entry).copied() else { continue };
                    let (caller, at, entry, among) = (lifted, stmt.at, Some(entry), None);
                    let call = Indirect { caller, at, table: *table, entry, among, params, results };
                    if let Dispatch::Fixed(Outcome::Runs(callee)) = self.dispatch(&call) {
                        calls.push((callee, stmt.at));
                    }
                }
                _ => {}
            }
        }
        calls
    }

    /// The functions that the calls of a function may come to: of an indirect call each one that it finds in the table, where
    /// `among` says what its entry is one of.
    pub fn callees<'a>(&self, caller: &Function, among: impl Fn(Location) -> Option<&'a BTreeSet<u32>>) -> Vec<u32> {
        let constants = self.entry_constants(caller);
        let mut callees = Vec::new();
        for stmt in caller.regions.iter().flat_map(|region| &region.stmts) {
            match &stmt.kind {
                StmtKind::Call { callee, .. } => callees.push(*callee),
                StmtKind::CallIndirect { table, args, results } => {
                    let Some((entry, params)) = args.split_last() else { continue };
                    let (at, entry, among) = (stmt.at, constants.get(entry).copied(), among(stmt.at));
                    let call = Indirect { caller, at, table: *table, entry, among, params, results };
                    let outcomes = match self.dispatch(&call) {
                        Dispatch::Fixed(outcome) => vec![outcome],
                        Dispatch::Any(outcomes) => outcomes,
                    };
                    let runs = outcomes.into_iter().filter_map(|outcome| match outcome {
                        Outcome::Runs(function) => Some(function),
                        Outcome::Traps(_) | Outcome::Foreign | Outcome::Never => None,
                    });
                    callees.extend(runs.collect::<BTreeSet<u32>>());
                }
                _ => {}
            }
        }
        callees
    }

    /// The constants that number the table's entry of an indirect call.
    fn entry_constants(&self, function: &Function) -> HashMap<Value, u32> {
        let stmts = || function.regions.iter().flat_map(|region| &region.stmts);
        let entry = |stmt: &Stmt| match &stmt.kind {
            StmtKind::CallIndirect { args, .. } => args.last().copied(),
            _ => None,
        };
        let entries: HashSet<Value> = stmts().filter_map(entry).collect();
        let constant = |stmt: &Stmt| match &stmt.kind {
            StmtKind::Op { op, result: Some(result), .. } if entries.contains(result) => {
                Some((*result, self.constant(op)?))
            }
            _ => None,
        };
        stmts().filter_map(constant).collect()
    }

    /// The number that an operator gives, if that is the same in every instance.
    pub fn constant(&self, op: &Op) -> Option<u32> {
        match op {
            Op::Const(Const::I32(number)) => Some(*number),
            Op::GlobalGet(global) => match self.module.globals().get(*global as usize)? {
                global if global.mutable || global.imported => None,
                global => match global.init? {
                    ConstInit::I32(number) => Some(number as u32),
                    _ => None,
                },
            },
            _ => None,
        }
    }

    /// What a call through a table may come to.
    pub fn dispatch(&self, call: &Indirect<'_>) -> Dispatch {
        let outcome = |entry: &TableEntry| match entry {
            TableEntry::Null => Outcome::Traps(TrapKind::NullTableEntry),
            TableEntry::Function(function) if self.fits(*function, call) => Outcome::Runs(*function),
            TableEntry::Function(_) => Outcome::Traps(TrapKind::IndirectCallType),
            TableEntry::Foreign => Outcome::Foreign,
        };
        let entries = self.environment.table(call.table);
        let Some(index) = call.entry else {
            let is_met = |number: u32| call.among.is_none_or(|among| among.contains(&number));
            let outcomes = entries.iter().zip(0..).map(|(entry, number)| match is_met(number) {
                true => outcome(entry),
                false => Outcome::Never,
            });
            return Dispatch::Any(outcomes.collect());
        };
        let known = entries.get(index as usize).map(outcome);
        Dispatch::Fixed(known.unwrap_or(Outcome::Traps(TrapKind::TableOutOfBounds)))
    }

    /// The refusal of a call that may come to a function of another module.
    pub fn foreign(&self, at: Location) -> Error {
        self.refuse(at, "an indirect call through a table with functions of other modules".into())
    }

    fn fits(&self, function: u32, call: &Indirect<'_>) -> bool {
        let is = |ty: &wasmparser::ValType, value: &Value| frontend::type_of(*ty) == Some(call.caller.ty(*value));
        let all = |types: &[wasmparser::ValType], values: &[Value]| {
            types.len() == values.len() && types.iter().zip(values).all(|(ty, value)| is(ty, value))
        };
        let ty = self.module.function_type(function);
        ty.is_some_and(|ty| all(ty.params(), call.params) && all(ty.results(), call.results))
    }
}
