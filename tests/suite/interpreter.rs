//! The IR's interpreter: what the front end lifted, and what the backend would take.

use wavelift::device::{Access, GlobalValue};
use wavelift::translator::ir::interpret::{self, Buffer, Invocation, Space, Stop};
use wavelift::translator::ir::{Const, Function};
use wavelift::translator::{Options, Profile, immediate, testing};

use crate::cases::{FunctionCases, ModuleCases, Observed};
use crate::engine::{Engine, Stopped};
use crate::reason::Skip;
use crate::records;
use crate::valid;

/// Loop iterations and calls of one invocation.
const FUEL: u64 = 1 << 26;

/// Interprets each case in the lifted form; also in the forms that the backend takes, if the kernel has them, and all
/// must give the same.
pub struct Interpreter;

impl Engine for Interpreter {
    fn lifts(&self, module: &ModuleCases, function: &FunctionCases) -> Result<(), Stopped> {
        let lifted = testing::lifted(&module.guest.wasm, function.kernel.index, &module.shape(function));
        lifted.map(|_| ()).map_err(|error| Skip::of_refusal(&error).map_or_else(Stopped::Broken, Stopped::Skip))
    }

    fn run(&mut self, module: &ModuleCases, function: &FunctionCases) -> Result<Vec<Observed>, Stopped> {
        let (wasm, kernel) = (&module.guest.wasm, function.kernel.index);
        let refused = |error| Skip::of_refusal(&error).map_or_else(Stopped::Broken, Stopped::Skip);
        let lifted = testing::lifted(wasm, kernel, &module.shape(function)).map_err(refused)?;
        let resolve = |index: u32| lifted.get(&index);
        let Some(entry) = resolve(kernel) else { return Err(Stopped::Broken("The kernel was not lifted.".into())) };
        let observed = interpret_all(module, function, entry, &resolve, false)?;
        for profile in [Profile::Vulkan, Profile::Portable] {
            let options = Options { profile, features: valid::features(profile), ..Options::default() };
            let strict = match testing::strict(wasm, kernel, &module.shape(function), &options) {
                Ok(strict) => strict,
                Err(error) => return Skip::of_refusal(&error).map(|_| observed).map_err(Stopped::Broken),
            };
            let lowered = interpret_all(module, function, &strict, &|_| None, true)?;
            // Both forms compute with the same `eval`, NaNs too.
            if observed != lowered {
                let message = format!("Lifted code gives {observed:x?}, lowered code for {profile:?} {lowered:x?}.");
                return Err(Stopped::Broken(message));
            }
        }
        Ok(observed)
    }
}

/// Runs a function of either form for each case, from the module's first state.
pub fn interpret_all<'f>(
    module: &ModuleCases,
    function: &FunctionCases,
    entry: &'f Function,
    resolve: &dyn Fn(u32) -> Option<&'f Function>,
    lowered: bool,
) -> Result<Vec<Observed>, Stopped> {
    let kernel = &function.kernel;
    let count = function.cases.len();
    let contents = [records::arguments(kernel, &function.cases), vec![0; records::results_size(kernel, count)]];
    let start = space(module, &contents);
    let words = immediates(&start, count as u32);
    let globals: Vec<Const> = module.state.globals.iter().map(global).collect();
    let data = module.guest.wasm.data();
    let mut used = start.clone();
    let mut outcomes = Vec::with_capacity(count);
    for index in 0..count {
        if module.stateful {
            used.clone_from(&start);
        }
        let invocation = Invocation {
            immediates: &words,
            iteration: index as u32,
            globals: &globals,
            tables: &module.state.tables,
            pointers: &[],
            data: &data,
            fuel: FUEL,
            ..Invocation::default()
        };
        let mut args = vec![index as u32, words[immediate::ITERATIONS as usize], words[immediate::BLOCK_SIZE as usize]];
        args.extend(&words[immediate::SLOTS as usize..]);
        let args: Vec<Const> = if lowered { Vec::new() } else { args.into_iter().map(Const::I32).collect() };
        let outcome = match interpret::run(entry, &args, &invocation, &mut used, resolve) {
            Ok(_) => Ok(records::results(kernel, used.buffers[1].bytes(), index).map_err(Stopped::Broken)?),
            Err(Stop::Trap { kind, .. }) => Err(kind),
            Err(other) => return Err(Stopped::Broken(other.to_string())),
        };
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn space(module: &ModuleCases, contents: &[Vec<u8>]) -> Space {
    let mut end = 1_u64 << 32;
    let mut space = Space { linear: module.state.memory.clone(), buffers: Vec::new() };
    for bytes in contents {
        let length = bytes.len() as u64;
        let address = end - length.next_multiple_of(256);
        end -= length.next_multiple_of(0x1_0000);
        space.buffers.push(Buffer::new(address as u32, Access::ReadWrite, bytes));
    }
    space
}

fn immediates(space: &Space, count: u32) -> Vec<u32> {
    let mut words = vec![0; immediate::SLOTS as usize];
    words[immediate::COUNT as usize] = count;
    words[immediate::ITERATIONS as usize] = count;
    words[immediate::BLOCK_SIZE as usize] = 64;
    for buffer in &space.buffers {
        words.extend([buffer.address(), buffer.bytes().len() as u32]);
    }
    words
}

/// References stand as zero: the front end lifts nothing that reads one.
fn global(value: &Option<GlobalValue>) -> Const {
    match value {
        Some(GlobalValue::I32(value)) => Const::I32(*value as u32),
        Some(GlobalValue::I64(value)) => Const::I64(*value as u64),
        Some(GlobalValue::F32(bits)) => Const::F32(*bits),
        Some(GlobalValue::F64(bits)) => Const::F64(*bits),
        Some(GlobalValue::V128(bits)) => Const::V128((*bits).into()),
        None => Const::I32(0),
    }
}
