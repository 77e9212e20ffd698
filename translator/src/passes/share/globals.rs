//! What functions do to globals becomes parameters and results, so that each function that is kept has values of its own.
//!
//! A function takes the globals that it reads, and gives those that it changes. One that it leaves as it found it, as all do
//! with the stack pointer, is no result: its callers know what they had.
//!
//! **Frames.** Where the stack pointer is is known in a function if it is at one distance from where it is at the launch,
//! wherever the function is called. Compilers' frames are as large as each function needs, so it would not be; but where no
//! frame's size depends on data, each function is given a place for its frame that it shares with no other, below
//! the frames of all that call it. The distance of two functions' frames from one another is nothing that a program may rely on,
//! and what is below the stack pointer before it is stored is unspecified on every device.

use smallvec::smallvec;

use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::dataflow;
use crate::analysis::frames::{has_variable_array, set_dynamically};
use crate::analysis::stack_offsets::stack_offsets;
use crate::error::{Error, Result};
use crate::ir::builder::ListBuilder;
use crate::ir::{Const, Exit, Function, Op, RegionId, StmtKind, Type, Value, WasmOp};
use crate::module::Module;
use crate::passes::{data_drop, dead_code, promote, simplify};

/// Most bytes of all frames together that are given places.
const MAX_PLACED: u32 = 32 << 10;
/// What a frame's place is a multiple of: the stack's alignment.
const FRAME_ALIGNMENT: u32 = 16;

/// What is known of a kernel's frames then.
#[derive(Debug, Default)]
pub struct Threaded {
    /// The globals that functions set to something other than their value when they are called and a constant.
    pub dynamic: BTreeSet<u32>,
    /// Bytes of all frames together that have no places.
    pub unplaced: u32,
    /// Places of frames, where all have some.
    pub placed: Option<Places>,
    /// The frames of functions that come to call themselves, by function, where they have any.
    pub recursive: BTreeMap<u32, RecursiveFrame>,
    /// Where each function's frame begins, by distance from the stack pointer at the launch, if that is known.
    pub frames: BTreeMap<u32, Option<i64>>,
}

/// Where frames are.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// How far below the stack pointer at the launch each function's frame begins.
    starts: BTreeMap<u32, u32>,
    /// Bytes of the frames of functions that come to call themselves, each of which has as many as there are levels of recursion.
    strides: BTreeMap<u32, u32>,
    /// Where the last one ends.
    pub end: u32,
}

/// The frame of a function that comes to call itself.
#[derive(Debug)]
pub struct RecursiveFrame {
    /// The function's parameter that says where it begins.
    pub param: Value,
    /// Values of the function at some distance from that, itself among them.
    pub derived: Vec<(Value, u32)>,
    /// Where the frame of the first level begins, by bytes below the stack pointer at the launch.
    pub start: u32,
    /// Bytes from one level to the next.
    pub stride: u32,
}

/// What a function takes of globals, behind its parameters, and gives, behind its results.
#[derive(Debug, Default)]
struct Signature {
    takes: Vec<u32>,
    gives: Vec<u32>,
}

/// Rewrites the parts of a kernel, of which `callers_first` has the kernel first and each behind those that call it, but for the
/// `recursive` calls. Globals that are left are only read, and have their value at the launch.
///
/// # Errors
/// [`Error::Unsupported`] for a function that comes to call itself and has a frame, or changes a global.
pub fn thread(
    parts: &mut BTreeMap<u32, Function>,
    callers_first: &[u32],
    (recursive, levels): (&BTreeSet<(u32, u32)>, u32),
    (module, pointer): (&Module, Option<u32>),
) -> Result<Threaded> {
    let first_cell = module.globals().len() as u32;
    parts.retain(|function, _| callers_first.contains(function));
    let dropped: BTreeSet<u32> = parts.values().flat_map(data_drop::segments).collect();
    parts.values_mut().for_each(|part| data_drop::expand_all(part, first_cell, &dropped));
    let mut threader = Threader {
        set: parts.values().flat_map(globals_set).collect(),
        types: parts.values().flat_map(types).collect(),
        first_cell,
        signatures: BTreeMap::new(),
        recursive: recursive.iter().map(|(_, callee)| *callee).collect(),
        levels,
        threaded: Threaded::default(),
    };
    threader.begin_recursive(parts);
    for function in callers_first.iter().rev() {
        if let Some(part) = parts.get_mut(function) {
            threader.part(part, *function == callers_first[0])?;
        }
    }
    let placed = pointer.and_then(|pointer| Some((pointer, threader.places(parts, callers_first, pointer)?)));
    threader.threaded.placed = match (&placed, pointer) {
        (Some((_, places)), _) => Some(places.clone()),
        (None, Some(pointer)) if !threader.set.contains(&pointer) => Some(Places::default()),
        (None, _) => None,
    };
    let known = threader.known(parts, callers_first, placed.as_ref());
    if let Some(pointer) = pointer {
        let distance = |function: &u32| known.get(&(*function, pointer)).map(|distance| i64::from(*distance as i32));
        let frames = callers_first.iter().skip(1).map(|function| (*function, distance(function)));
        threader.threaded.frames = frames.collect();
    }
    for part in parts.values_mut() {
        let recursive = placed.as_ref().filter(|(_, places)| places.strides.contains_key(&part.index));
        let offsets = recursive.map(|(pointer, _)| stack_offsets(part, *pointer));
        let params = threader.enter(part, &known, part.index == callers_first[0]);
        if let (Some((pointer, places)), Some(offsets)) = (recursive, offsets)
            && let Some(param) = params.get(pointer).copied()
        {
            let all = (0..part.values.len() as u32).map(Value);
            let derived = all.filter_map(|value| Some((value, offsets.of(value)?))).chain([(param, 0)]).collect();
            let (start, stride) = (places.starts[&part.index], places.strides[&part.index]);
            let frame = RecursiveFrame { param, derived, start, stride };
            threader.threaded.recursive.insert(part.index, frame);
        }
    }
    Ok(threader.threaded)
}

/// A function that comes to call itself, and does what no other activation of it may see.
fn refuse(part: &Function, what: &str) -> Error {
    Error::Unsupported {
        what: format!("recursion of functions that {what}"),
        function_name: part.name.clone(),
        at: None,
        too_large: false,
    }
}

/// The operators of a part.
fn operators(part: &Function) -> impl Iterator<Item = (&Op, &[Value], Option<Value>)> {
    dataflow::regions(part).into_iter().flat_map(|id| &part.region(id).stmts).filter_map(|stmt| match &stmt.kind {
        StmtKind::Op { op, args, result } => Some((op, args.as_slice(), *result)),
        _ => None,
    })
}

fn globals_set(part: &Function) -> BTreeSet<u32> {
    let set = |(op, ..): (&Op, &[Value], Option<Value>)| match op {
        Op::GlobalSet(global) => Some(*global),
        _ => None,
    };
    operators(part).filter_map(set).collect()
}

/// The types of the globals that a part uses.
fn types(part: &Function) -> BTreeMap<u32, Type> {
    let used = |(op, args, result): (&Op, &[Value], Option<Value>)| match op {
        Op::GlobalGet(global) => Some((*global, part.ty(result?))),
        Op::GlobalSet(global) => Some((*global, part.ty(args[0]))),
        _ => None,
    };
    operators(part).filter_map(used).collect()
}

/// The functions that a part calls, and what it passes them.
pub fn calls(part: &Function) -> impl Iterator<Item = (u32, &[Value])> {
    dataflow::regions(part).into_iter().flat_map(|id| &part.region(id).stmts).filter_map(|stmt| match &stmt.kind {
        StmtKind::Call { callee, args, .. } => Some((*callee, args.as_slice())),
        _ => None,
    })
}

/// The regions of a part in which it comes back to its caller.
fn returns(part: &Function) -> Vec<RegionId> {
    let comes_back = |id: &RegionId| match part.region(*id).exit {
        Exit::Return(_) => true,
        Exit::Yield(_) => *id == part.body,
        _ => false,
    };
    dataflow::regions(part).into_iter().filter(comes_back).collect()
}

/// How far from its value at the launch a global is when a function is called: of each function and global where that is
/// known, modulo 2^32.
type Distances = BTreeMap<(u32, u32), u32>;

struct Threader {
    /// The globals that some part sets.
    set: BTreeSet<u32>,
    types: BTreeMap<u32, Type>,
    first_cell: u32,
    /// Of the parts so far.
    signatures: BTreeMap<u32, Signature>,
    /// Functions that come to call themselves.
    recursive: BTreeSet<u32>,
    /// How deep recursion may be.
    levels: u32,
    threaded: Threaded,
}

impl Threader {
    /// Functions that come to call themselves take all globals, and give none: what they do is not known before their calls are.
    fn begin_recursive(&mut self, parts: &BTreeMap<u32, Function>) {
        let takes: Vec<u32> = self.set.iter().copied().filter(|global| self.types.contains_key(global)).collect();
        for part in parts.values().filter(|part| self.recursive.contains(&part.index)) {
            self.signatures.insert(part.index, Signature { takes: takes.clone(), gives: Vec::new() });
        }
    }

    /// Threads the globals through a part, of which all callees are done. What it takes is left as `global.get`.
    fn part(&mut self, part: &mut Function, is_kernel: bool) -> Result<()> {
        let mut sets = globals_set(part);
        for (callee, _) in calls(part) {
            sets.extend(self.signatures.get(&callee).into_iter().flat_map(|signature| &signature.gives));
        }
        self.around_calls(part);
        let own = part.results.len();
        let gives: Vec<u32> = if is_kernel { Vec::new() } else { sets.into_iter().collect() };
        for id in returns(part) {
            let mut list = ListBuilder::new(part.region(id).exit_at);
            let given = |global: &u32| list.op(part, Op::GlobalGet(*global), &[], self.types[global]);
            let values: Vec<Value> = gives.iter().map(given).collect();
            let region = part.region_mut(id);
            region.stmts.extend(list.stmts);
            if let Exit::Return(given) | Exit::Yield(given) = &mut region.exit {
                given.extend(values);
            }
        }
        part.results.extend(gives.iter().map(|global| self.types[global]));
        let set = promote::promote(part, u32::MAX);
        self.threaded.dynamic.extend(set_dynamically(part, &set));
        if is_kernel {
            clear_cells(part, self.first_cell);
        }
        tidy(part);
        let gives = drop_unchanged(part, gives, own);
        tidy(part);
        if self.recursive.contains(&part.index) {
            return if gives.is_empty() { Ok(()) } else { Err(refuse(part, "change globals")) };
        }
        let takes = types(part).into_keys().filter(|global| self.set.contains(global)).collect();
        self.signatures.insert(part.index, Signature { takes, gives });
        Ok(())
    }

    /// Passes globals to callees, and takes back what they give.
    fn around_calls(&self, part: &mut Function) {
        for id in dataflow::regions(part) {
            let mut list = ListBuilder::default();
            for mut stmt in std::mem::take(&mut part.region_mut(id).stmts) {
                list.at = stmt.at;
                let mut given = Vec::new();
                if let StmtKind::Call { callee, args, results } = &mut stmt.kind
                    && let Some(signature) = self.signatures.get(callee)
                {
                    for global in &signature.takes {
                        args.push(list.op(part, Op::GlobalGet(*global), &[], self.types[global]));
                    }
                    for global in &signature.gives {
                        let value = part.new_value(self.types[global]);
                        results.push(value);
                        given.push((*global, value));
                    }
                }
                list.stmts.push(stmt);
                given.into_iter().for_each(|(global, value)| list.effect(Op::GlobalSet(global), &[value]));
            }
            part.region_mut(id).stmts = list.stmts;
        }
    }

    /// What a call passes for a global that the callee takes.
    fn passed(&self, callee: u32, args: &[Value], global: u32) -> Option<Value> {
        let takes = &self.signatures.get(&callee)?.takes;
        let number = takes.iter().position(|taken| *taken == global)?;
        args.get(args.len() - takes.len() + number).copied()
    }

    /// How far below the stack pointer at the launch each function's frame begins that is given a place, and where the last one
    /// ends; `None` where none can be given one.
    fn places(&self, parts: &BTreeMap<u32, Function>, callers_first: &[u32], pointer: u32) -> Option<Places> {
        let changes = self.signatures.values().any(|signature| signature.gives.contains(&pointer));
        if changes || self.threaded.dynamic.contains(&pointer) || !self.set.contains(&pointer) {
            return None;
        }
        let mut places = Places::default();
        for function in callers_first {
            let part = parts.get(function)?;
            let offsets = stack_offsets(part, pointer);
            let mut passed = calls(part).filter_map(|(callee, args)| self.passed(callee, args, pointer));
            if has_variable_array(part, pointer) || passed.any(|value| offsets.of(value).is_none()) {
                return None;
            }
            let mut bytes = offsets.depth().checked_next_multiple_of(FRAME_ALIGNMENT)?;
            if self.recursive.contains(function) && bytes > 0 {
                places.strides.insert(*function, bytes);
                bytes = bytes.checked_mul(self.levels)?;
            }
            places.starts.insert(*function, places.end);
            places.end = places.end.checked_add(bytes)?;
            if places.end > MAX_PLACED {
                return None;
            }
        }
        Some(places)
    }

    /// The distances that are known: of the stack pointer by the frames' places, of others where all calls agree.
    fn known(
        &mut self,
        parts: &BTreeMap<u32, Function>,
        callers_first: &[u32],
        placed: Option<&(u32, Places)>,
    ) -> Distances {
        let mut known = Distances::new();
        for global in self.set.clone() {
            if let Some((_, places)) = placed.filter(|(pointer, _)| *pointer == global) {
                let fixed = places.starts.iter().filter(|(function, _)| !places.strides.contains_key(function));
                known.extend(fixed.map(|(function, place)| ((*function, global), place.wrapping_neg())));
            } else if self.types.get(&global) == Some(&Type::I32) {
                let depth = self.agreed(parts, callers_first, global, &mut known);
                self.threaded.unplaced = self.threaded.unplaced.max(depth);
            }
        }
        known
    }

    /// Finds the functions at whose calls all agree on a global's distance. Gives how far below it all frames together reach, if
    /// it is the stack pointer, and its distance is not known everywhere.
    fn agreed(
        &self,
        parts: &BTreeMap<u32, Function>,
        callers_first: &[u32],
        global: u32,
        known: &mut Distances,
    ) -> u32 {
        let mut passed: BTreeMap<u32, Vec<Option<u32>>> = BTreeMap::from([(callers_first[0], vec![Some(0)])]);
        let (mut depth, mut is_everywhere) = (0_u32, true);
        for part in callers_first.iter().filter_map(|function| parts.get(function)) {
            let distances = passed.remove(&part.index).unwrap_or_default();
            let is_alike = |first: &u32| distances.iter().all(|d| *d == Some(*first));
            // What they pass themselves is not known yet.
            let is_known = !self.recursive.contains(&part.index);
            let distance = distances.first().copied().flatten().filter(|first| is_known && is_alike(first));
            let offsets = stack_offsets(part, global);
            for (callee, args) in calls(part) {
                let Some(value) = self.passed(callee, args, global) else { continue };
                let there = offsets.of(value).zip(distance).map(|(offset, distance)| offset.wrapping_add(distance));
                passed.entry(callee).or_default().push(there);
            }
            depth = depth.saturating_add(offsets.depth());
            is_everywhere &= distance.is_some() || !self.takes(part.index).contains(&global);
            known.extend(distance.map(|distance| ((part.index, global), distance)));
        }
        if is_everywhere { 0 } else { depth }
    }

    fn takes(&self, function: u32) -> &[u32] {
        self.signatures.get(&function).map_or(&[], |signature| &signature.takes)
    }

    /// Replaces the globals that a part takes by parameters, which it gives, or by sums where their distances are known, and what it
    /// passes.
    fn enter(&self, part: &mut Function, known: &Distances, is_kernel: bool) -> BTreeMap<u32, Value> {
        let index = part.index;
        let mut params: BTreeMap<u32, Value> = BTreeMap::new();
        let takes = if is_kernel { &[] } else { self.takes(index) };
        for global in takes.iter().filter(|global| !known.contains_key(&(index, **global))) {
            let param = part.new_value(self.types[global]);
            params.insert(*global, param);
            part.params.push(param);
        }
        let mut renamed: BTreeMap<Value, Value> = BTreeMap::new();
        for id in dataflow::regions(part) {
            let mut list = ListBuilder::default();
            for mut stmt in std::mem::take(&mut part.region_mut(id).stmts) {
                list.at = stmt.at;
                match &mut stmt.kind {
                    StmtKind::Op { op: Op::GlobalGet(global), result: Some(result), .. } if takes.contains(global) => {
                        match (params.get(global), known.get(&(index, *global))) {
                            (Some(param), _) => _ = renamed.insert(*result, *param),
                            (None, distance) => {
                                away(part, &mut list, (*global, *result), distance.copied().unwrap_or(0))
                            }
                        }
                        continue;
                    }
                    StmtKind::Call { callee, args, .. } => {
                        let takes = self.takes(*callee);
                        let own = args.len() - takes.len();
                        let mut number = 0;
                        args.retain(|_| {
                            number += 1;
                            let global = (number > own).then(|| takes[number - own - 1]);
                            global.is_none_or(|global| !known.contains_key(&(*callee, global)))
                        });
                    }
                    _ => {}
                }
                list.stmts.push(stmt);
            }
            part.region_mut(id).stmts = list.stmts;
        }
        rename(part, &renamed);
        params
    }
}

/// Defines a value as a global's at the launch and a number.
fn away(part: &mut Function, list: &mut ListBuilder, (global, result): (u32, Value), distance: u32) {
    let start = list.op(part, Op::GlobalGet(global), &[], Type::I32);
    let distance = list.i32(part, distance);
    let (op, args) = (Op::Wasm(WasmOp::I32Add), smallvec![start, distance]);
    list.push(StmtKind::Op { op, args, result: Some(result) });
}

fn rename(part: &mut Function, names: &BTreeMap<Value, Value>) {
    part.uses_mut().for_each(|value| *value = names.get(value).copied().unwrap_or(*value));
}

/// Cells start as zero in each invocation.
fn clear_cells(kernel: &mut Function, first_cell: u32) {
    for stmt in kernel.regions.iter_mut().flat_map(|region| &mut region.stmts) {
        if let StmtKind::Op { op: op @ Op::GlobalGet(_), result: Some(result), .. } = &mut stmt.kind
            && matches!(op, Op::GlobalGet(global) if *global >= first_cell)
        {
            *op = Op::Const(Const::zero(kernel.values[result.index()]));
        }
    }
}

fn tidy(part: &mut Function) {
    for _ in 0..2 {
        simplify::simplify(part);
        dead_code::remove(part);
    }
}

/// Takes the results away that give globals as they were; gives the globals that are left. `own`: the number of other results.
fn drop_unchanged(part: &mut Function, gives: Vec<u32>, own: usize) -> Vec<u32> {
    let returns = returns(part);
    let read = |(op, _, result): (&Op, &[Value], Option<Value>)| match op {
        Op::GlobalGet(global) => Some((result?, *global)),
        _ => None,
    };
    let read: BTreeMap<Value, u32> = operators(part).filter_map(read).collect();
    let is_changed = |(number, global): (usize, &u32)| {
        let offsets = stack_offsets(part, *global);
        let is_kept = |id: &RegionId| {
            let value = part.region(*id).exit.values()[own + number];
            read.get(&value) == Some(global) || offsets.of(value) == Some(0)
        };
        !returns.iter().all(is_kept)
    };
    let changed: Vec<bool> = gives.iter().enumerate().map(is_changed).collect();
    let is_left = |number: usize| number < own || changed[number - own];
    let mut numbers = 0..;
    part.results.retain(|_| numbers.next().is_some_and(is_left));
    for id in returns {
        let mut numbers = 0..;
        if let Exit::Return(values) | Exit::Yield(values) = &mut part.region_mut(id).exit {
            values.retain(|_| numbers.next().is_some_and(is_left));
        }
    }
    gives.into_iter().zip(changed).filter_map(|(global, changed)| changed.then_some(global)).collect()
}
