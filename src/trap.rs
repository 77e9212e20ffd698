//! A kernel's trap, as the guest's host sees it.

use wasmparser::Operator;
use wasmtime::{FrameInfo, Trap, WasmBacktrace};
use wavelift_translator::{self as translator, SourceLine};

use crate::device::{KernelTrap, Launch, Location, TrapKind};
use crate::runtime::Module;

/// An invocation of a kernel trapped; the guest that launched it is stopped with this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "The kernel `{kernel}` trapped: {kind}, in function `{function}` (index {}) at byte offset {:#x}{}. The lowest \
     iteration that trapped is {iteration}.",
    at.function,
    at.offset,
    in_parentheses(line)
)]
pub struct KernelFault {
    /// The kernel's name.
    pub kernel: String,
    /// The name of the function that holds the operator that trapped.
    pub function: String,
    /// That operator.
    pub at: Location,
    /// Its line of source, where the module has DWARF that says so.
    pub line: Option<Box<SourceLine>>,
    /// What happened.
    pub kind: TrapKind,
    /// The lowest trapping iteration id.
    pub iteration: u32,
}

impl KernelFault {
    /// Adds names to what a device reports.
    pub(crate) fn new(launch: &Launch, trap: &KernelTrap) -> Self {
        let wasm = &launch.module.wasm;
        let at = match trap.kind {
            TrapKind::Unreachable => unreachable_at(wasm, trap.at),
            TrapKind::OutOfFuel => out_of_fuel_at(wasm, trap.at),
            _ => trap.at,
        };
        KernelFault {
            kernel: wasm.function_name(launch.function),
            function: wasm.function_name(trap.at.function),
            at,
            line: wasm.source_line(at.offset).map(Box::new),
            kind: trap.kind,
            iteration: trap.iteration,
        }
    }
}

/// What follows a byte offset where its line of source is known.
pub(crate) fn in_parentheses(line: &Option<Box<SourceLine>>) -> String {
    line.as_ref().map(|line| format!(" ({line})")).unwrap_or_default()
}

/// Where an error came up in the guest's own code, of which functions that were added to it are no part.
pub(crate) fn guest_frame<'e>(error: &'e wasmtime::Error, module: &Module) -> Option<&'e FrameInfo> {
    let own = |frame: &&FrameInfo| frame.func_index() < module.wasm().function_count();
    error.downcast_ref::<WasmBacktrace>()?.frames().iter().find(own)
}

/// The trap of a kernel that ran in the caller's own instance; `None` if `error` is something else, such as the end
/// of the guest by `proc_exit`.
pub(crate) fn kernel_trap(error: &wasmtime::Error, module: &Module, iteration: u32) -> Option<KernelTrap> {
    let kind = kind_of(*error.downcast_ref::<Trap>()?)?;
    let at = guest_frame(error, module).map(|frame| Location {
        function: frame.func_index(),
        offset: frame.module_offset().map_or(0, |offset| module.original_offset(offset) as u32),
    });
    Some(KernelTrap { at: at.unwrap_or_default(), kind, iteration })
}

/// What Wasmtime's traps are to a guest, wherever its kernel ran; `None` for those that are none of Wasm's own.
pub(crate) fn kind_of(trap: Trap) -> Option<TrapKind> {
    Some(match trap {
        Trap::UnreachableCodeReached => TrapKind::Unreachable,
        Trap::MemoryOutOfBounds => TrapKind::OutOfBounds,
        Trap::HeapMisaligned => TrapKind::UnalignedAtomic,
        Trap::IntegerDivisionByZero => TrapKind::DivideByZero,
        Trap::IntegerOverflow => TrapKind::IntegerOverflow,
        Trap::BadConversionToInteger => TrapKind::BadConversion,
        Trap::TableOutOfBounds => TrapKind::TableOutOfBounds,
        Trap::IndirectCallToNull => TrapKind::NullTableEntry,
        Trap::BadSignature => TrapKind::IndirectCallType,
        Trap::StackOverflow => TrapKind::StackOverflow,
        Trap::OutOfFuel => TrapKind::OutOfFuel,
        _ => return None,
    })
}

/// The `unreachable` that was reached, where `at` may be the branch that led to it: Wasmtime compiles a branch to an
/// `unreachable` as one conditional trap, and gives the branch's place.
pub(crate) fn unreachable_at(module: &translator::Module, at: Location) -> Location {
    let found = branch_to_unreachable(module, at).map(|offset| Location { offset: offset as u32, ..at });
    found.unwrap_or(at)
}

/// Where the outermost loop begins that `at` is in or ends; else where its function does. Devices take fuel at different places, and
/// which loop of a nest finds too little differs, too.
fn out_of_fuel_at(module: &translator::Module, at: Location) -> Location {
    let found = outermost_loop(module, at);
    found.map_or(at, |offset| Location { offset: offset as u32, ..at })
}

fn outermost_loop(module: &translator::Module, at: Location) -> Option<usize> {
    let body = module.body(at.function)?;
    let reader = body.get_operators_reader().ok()?;
    let first = reader.original_position();
    // Where the outermost loop begins, and how many blocks are open in it.
    let (mut start, mut open) = (first, 0);
    for operator in reader.into_iter_with_offsets() {
        let (operator, offset) = operator.ok()?;
        if open == 0 {
            start = if matches!(operator, Operator::Loop { .. }) { offset } else { first };
        }
        if offset >= at.offset as usize {
            return Some(start);
        }
        match operator {
            Operator::End if open > 0 => open -= 1,
            Operator::Loop { .. } => open += 1,
            other if open > 0 && opens(&other) => open += 1,
            _ => {}
        }
    }
    None
}

fn branch_to_unreachable(module: &translator::Module, at: Location) -> Option<usize> {
    let body = module.body(at.function)?;
    let reader = body.get_operators_reader().ok()?.into_iter_with_offsets();
    let operators: Vec<(Operator<'_>, usize)> = reader.collect::<Result<_, _>>().ok()?;
    let branch = operators.iter().position(|(_, offset)| *offset == at.offset as usize)?;
    let target = match &operators[branch].0 {
        Operator::If { .. } => false_target(&operators, branch)?,
        Operator::BrIf { relative_depth } => label_end(&operators, branch, *relative_depth)?,
        _ => return None,
    };
    let falls_to = |index: usize| {
        let mut rest = operators.iter().skip(index).skip_while(|(operator, _)| matches!(operator, Operator::End));
        rest.next().filter(|(operator, _)| matches!(operator, Operator::Unreachable)).map(|(_, offset)| *offset)
    };
    falls_to(branch + 1).or_else(|| falls_to(target))
}

fn opens(operator: &Operator<'_>) -> bool {
    matches!(operator, Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. })
}

/// Index of the first operator that runs when the `if` at `index` finds zero.
fn false_target(operators: &[(Operator<'_>, usize)], index: usize) -> Option<usize> {
    let mut depth = 0;
    for (i, (operator, _)) in operators.iter().enumerate().skip(index + 1) {
        match operator {
            Operator::Else | Operator::End if depth == 0 => return Some(i + 1),
            Operator::End => depth -= 1,
            other => depth += u32::from(opens(other)),
        }
    }
    None
}

/// Index of the first operator after the block that label `label` of a branch at `index` names; for a loop, `None`.
fn label_end(operators: &[(Operator<'_>, usize)], index: usize, label: u32) -> Option<usize> {
    let mut open: Vec<usize> = Vec::new();
    let mut wanted = None;
    for (i, (operator, _)) in operators.iter().enumerate() {
        if i == index {
            wanted = open.iter().rev().nth(label as usize).copied();
            if matches!(operators[wanted?].0, Operator::Loop { .. }) {
                return None;
            }
        }
        match operator {
            Operator::End => {
                let start = open.pop();
                if wanted.is_some() && start == wanted {
                    return Some(i + 1);
                }
            }
            other if opens(other) => open.push(i),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The `unreachable` found for the branch with this opcode in a function without locals.
    fn found(text: &str, opcode: u8) -> Option<u8> {
        let bytes = wat::parse_str(format!("(module (func (param i32) {text}))")).unwrap();
        let module = translator::Module::parse(bytes.clone()).unwrap();
        let range = module.body(0).unwrap().range();
        let offset = range.start + bytes[range].iter().rposition(|b| *b == opcode).unwrap();
        let at = Location { function: 0, offset: offset as u32 };
        let place = unreachable_at(&module, at);
        (place != at).then(|| bytes[place.offset as usize])
    }

    #[test]
    fn fuel_ends_where_the_outermost_loop_begins() {
        let text = "(module (func nop (loop (block (loop nop) nop)) nop (loop nop)))";
        let module = translator::Module::parse(wat::parse_str(text).unwrap()).unwrap();
        let reader = module.body(0).unwrap().get_operators_reader().unwrap();
        let offsets: Vec<u32> = reader.into_iter_with_offsets().map(|found| found.unwrap().1 as u32).collect();
        // nop, loop, block, loop, nop, end, nop, end, end, nop, loop, nop, end, end
        let starts = [0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 10, 10, 10, 0];
        let found = |offset: &u32| out_of_fuel_at(&module, Location { function: 0, offset: *offset }).offset;
        assert_eq!(offsets.iter().map(found).collect::<Vec<_>>(), starts.map(|index: usize| offsets[index]));
    }

    #[test]
    fn a_branch_is_followed_to_its_unreachable() {
        const IF: u8 = 0x04;
        const BR_IF: u8 = 0x0d;
        assert_eq!(found("(if (local.get 0) (then unreachable))", IF), Some(0));
        assert_eq!(found("(if (local.get 0) (then nop) (else unreachable))", IF), Some(0));
        assert_eq!(found("(if (local.get 0) (then return)) unreachable", IF), Some(0));
        assert_eq!(found("(block (br_if 0 (local.get 0)) unreachable)", BR_IF), Some(0));
        assert_eq!(found("(block (block (br_if 1 (local.get 0)) (loop nop) return)) unreachable", BR_IF), Some(0));
        assert_eq!(found("(block (block (br_if 0 (local.get 0)) return) return) unreachable", BR_IF), None);
        assert_eq!(found("(loop (br_if 0 (local.get 0)) return) unreachable", BR_IF), None);
        assert_eq!(found("(if (local.get 0) (then nop)) nop unreachable", IF), None);
    }
}
