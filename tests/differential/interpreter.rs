//! The interpreter of the intermediate representation as an engine.

use std::collections::HashMap;
use std::sync::Arc;

use wavelift::device::{GuestModule, KernelTrap};
use wavelift_translator::ir::interpret::{self, Buffer, Invocation, Space, Stop};
use wavelift_translator::ir::{Const, Function};
use wavelift_translator::module::ConstInit;
use wavelift_translator::passes::coarsen::LANES;
use wavelift_translator::pointers::{LaunchMemory, Resolved};
use wavelift_translator::{
    Answer, Input, LINEAR, LaunchState, Options, Shape, Source, TableEntry, TrapKind, immediate, testing, translate,
    translate_or_ask,
};

use crate::case::{BufferShape, End, LINEAR_MEMORY, Program};
use crate::engine::Session;
use crate::on_devices::BLOCK_SIZE;
use crate::places::STACK_POINTER;

/// Where in the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Wasm's operators, calls and all.
    Lifted,
    /// What the backend gets.
    Strict,
}

/// A program in the interpreter.
pub struct Interpreter {
    form: Form,
    kernel: Function,
    others: HashMap<u32, Function>,
    /// What does four invocations of it at once, where it is coarsened. It has to come to the same.
    coarse: Option<Function>,
    addresses: Vec<u32>,
    buffers: Vec<BufferShape>,
    linear: Option<Vec<u8>>,
    globals: Vec<Const>,
    tables: Vec<Vec<TableEntry>>,
    data: Vec<Vec<u8>>,
    /// Where the strict form depends on the launch.
    asking: Option<Asking>,
}

/// A kernel that takes pointers which are read before the launch.
struct Asking {
    module: Arc<GuestModule>,
    kernel: u32,
    shape: Shape,
    sources: Vec<Source>,
    options: Options,
}

/// A launch's memory.
struct Present<'a> {
    space: &'a mut Space,
    globals: &'a [Const],
}

impl LaunchMemory for Present<'_> {
    fn global(&mut self, global: u32) -> Option<u32> {
        match self.globals.get(global as usize) {
            Some(Const::I32(value)) => Some(*value),
            _ => None,
        }
    }

    fn range(&mut self, place: u32) -> Option<(u32, u32)> {
        match place {
            LINEAR => Some((0, self.space.linear.len() as u32)),
            slot => self.space.buffers.get(slot as usize).map(|b| (b.address(), b.bytes().len() as u32)),
        }
    }

    fn word(&mut self, place: u32, offset: u32) -> Option<u32> {
        let (start, _) = self.range(place)?;
        let mut bytes = [0; 4];
        interpret::Memory::load(self.space, u64::from(start) + u64::from(offset), &mut bytes).ok()?;
        Some(u32::from_le_bytes(bytes))
    }
}

impl Asking {
    /// The kernel if it asks for pointers.
    fn new(program: &Program, options: Options) -> Result<Option<Asking>, String> {
        let (module, kernel, shape) = (program.module.clone(), program.kernel, program.shape());
        let answer = translate_or_ask(&module.wasm, kernel, &shape, &options);
        Ok(match answer.map_err(|error| error.to_string())? {
            // One that asks for words is refused without them.
            Answer::Shader(_) | Answer::Words(_) => None,
            Answer::Pointers(sources) => Some(Asking { module, kernel, shape, sources, options }),
        })
    }

    /// The strict form for a launch, and the pointers' values.
    fn strict(&self, present: &mut Present<'_>, immediates: &[u32]) -> Result<(Function, Vec<u32>), String> {
        let mut resolved = Resolved::new(&self.sources, self.shape.slots(), present);
        let (module, options) = (&self.module.wasm, self.options);
        let shape = |resolved: &Resolved| Shape { pointers: resolved.pointers.clone(), ..self.shape.clone() };
        let shader = translate(module, self.kernel, &shape(&resolved), &options).map_err(|error| error.to_string())?;
        let inputs = |input| match input {
            Input::Pointer { number, .. } => resolved.values.get(number as usize).copied(),
            Input::Global(global) | Input::StackPointer(global) => present.global(global),
            _ => None,
        };
        let inputs = std::cell::RefCell::new(inputs);
        let known = |input| (inputs.borrow_mut())(input);
        let iterations = immediates[immediate::ITERATIONS as usize];
        let launch = LaunchState { immediates, inputs: &known, words: &|_, _| None, iterations };
        if shader.linear.is_some_and(|linear| !linear.spares(&launch, &resolved.linear_words())) {
            resolved.forget_linear();
        }
        let function = testing::strict(module, self.kernel, &shape(&resolved), &options);
        Ok((function.map_err(|error| error.to_string())?, resolved.values))
    }
}

impl Interpreter {
    /// What the backend gets where kernels are lifted as these options say.
    pub fn lifted_as(program: &Program, options: Options) -> Result<Interpreter, String> {
        let (module, shape) = (&program.module.wasm, program.shape());
        let asking = Asking::new(program, options)?;
        let strict = testing::strict(module, program.kernel, &shape, &options).map_err(|error| error.to_string())?;
        Interpreter { asking, ..Interpreter::of(program, Form::Strict, strict, HashMap::new()) }
            .coarsened(program, &options)
    }

    /// The same, with what is coarsened beside it.
    pub fn coarsened(self, program: &Program, options: &Options) -> Result<Interpreter, String> {
        let coarse = match self.asking {
            Some(_) => None,
            None => testing::coarse(&program.module.wasm, program.kernel, &program.shape(), options)
                .map_err(|error| error.to_string())?,
        };
        Ok(Interpreter { coarse, ..self })
    }

    pub fn new(program: &Program, form: Form) -> Result<Interpreter, String> {
        let (module, kernel) = (&program.module.wasm, program.kernel);
        let (kernel, others) = match form {
            Form::Lifted => {
                let mut functions =
                    testing::lifted(module, kernel, &program.shape()).map_err(|error| error.to_string())?;
                (functions.remove(&kernel).ok_or("the kernel was not lifted")?, functions)
            }
            Form::Strict => {
                let stages = testing::stages(module, kernel).map_err(|error| error.to_string())?;
                (stages.strict, HashMap::new())
            }
        };
        let asking = if form == Form::Strict { Asking::new(program, Options::default())? } else { None };
        let interpreter = Interpreter { asking, ..Interpreter::of(program, form, kernel, others) };
        if form == Form::Strict { interpreter.coarsened(program, &Options::default()) } else { Ok(interpreter) }
    }

    /// The same with the function at hand.
    pub fn of(program: &Program, form: Form, kernel: Function, others: HashMap<u32, Function>) -> Interpreter {
        let globals = program.globals().into_iter().map(|global| match global {
            ConstInit::I32(value) => Const::I32(value as u32),
            ConstInit::I64(value) => Const::I64(value as u64),
            ConstInit::F32(bits) => Const::F32(bits),
            ConstInit::F64(bits) => Const::F64(bits),
            ConstInit::V128(bits) => Const::V128(bits.into()),
        });
        let (globals, linear) = (globals.collect(), program.linear.clone());
        let tables = program.shape().environment.tables;
        Interpreter {
            form,
            kernel,
            others,
            coarse: None,
            addresses: program.addresses(),
            buffers: program.buffers.clone(),
            linear,
            globals,
            tables,
            data: program.module.wasm.data().into_iter().map(<[u8]>::to_vec).collect(),
            asking: None,
        }
    }

    fn space(&self, contents: &[Vec<u8>]) -> Space {
        let linear = self.linear.clone().unwrap_or_else(|| vec![0; LINEAR_MEMORY as usize]);
        let mut space = Space { linear, buffers: Vec::new() };
        for ((address, shape), bytes) in self.addresses.iter().zip(&self.buffers).zip(contents) {
            let mut bytes = bytes.clone();
            bytes.resize(shape.size as usize, 0);
            space.buffers.push(Buffer::new(*address, shape.access, &bytes));
        }
        space
    }
}

/// The words and bytes that invocations of a launch are given.
struct Given<'a> {
    immediates: Vec<u32>,
    pointers: &'a [u32],
    data: Vec<&'a [u8]>,
}

impl Interpreter {
    fn invocation<'a>(&'a self, given: &'a Given<'_>, iteration: u32) -> Invocation<'a> {
        Invocation {
            immediates: &given.immediates,
            iteration,
            globals: &self.globals,
            tables: &self.tables,
            pointers: given.pointers,
            data: &given.data,
            ..Invocation::default()
        }
    }

    /// One invocation; the trap in which it ends.
    fn run_one(
        &self,
        kernel: &Function,
        given: &Given<'_>,
        space: &mut Space,
        iteration: u32,
    ) -> Result<Option<KernelTrap>, String> {
        let mut args = Vec::new();
        if self.form == Form::Lifted {
            let pairs = &given.immediates[immediate::SLOTS as usize..];
            let iterations = given.immediates[immediate::ITERATIONS as usize];
            args.extend([iteration, iterations, BLOCK_SIZE].iter().chain(pairs).map(|x| Const::I32(*x)));
        }
        let others = |callee| self.others.get(&callee);
        match interpret::run(kernel, &args, &self.invocation(given, iteration), space, &others) {
            Ok(_) => Ok(None),
            Err(Stop::Trap { kind, at }) => Ok(Some(KernelTrap { at, kind, iteration })),
            Err(other) => Err(format!("iteration {iteration}: {other}\n{kernel}")),
        }
    }

    /// All invocations in order, four at once where `coarse` does that and does not give it up.
    fn run_all(
        &self,
        (kernel, coarse): (&Function, Option<&Function>),
        given: &Given<'_>,
        space: &mut Space,
        iterations: u32,
    ) -> Result<End, String> {
        let mut iteration = 0;
        while iteration < iterations {
            if let Some(coarse) = coarse.filter(|_| iteration % LANES == 0 && iterations - iteration >= LANES) {
                let before = space.clone();
                match self.run_one(coarse, given, space, iteration)? {
                    None => {
                        iteration += LANES;
                        continue;
                    }
                    Some(trap) if trap.kind != TrapKind::OneByOne => return Ok(End::Trapped(trap)),
                    Some(_) if *space != before => return Err(format!("gave up behind a store\n{coarse}")),
                    Some(_) => {}
                }
            }
            for iteration in iteration..iterations.min((iteration / LANES + 1) * LANES) {
                if let Some(trap) = self.run_one(kernel, given, space, iteration)? {
                    return Ok(End::Trapped(trap));
                }
            }
            iteration = (iteration / LANES + 1) * LANES;
        }
        let mut all: Vec<Vec<u8>> = space.buffers.iter().map(|buffer| buffer.bytes().to_vec()).collect();
        if self.linear.is_some() {
            let mut linear = space.linear.clone();
            linear[..STACK_POINTER as usize].fill(0);
            all.push(linear);
        } else if space.linear.iter().any(|byte| *byte != 0) {
            return Err("linear memory was written".into());
        }
        Ok(End::Done(all))
    }
}

impl Session for Interpreter {
    fn run(&mut self, contents: &[Vec<u8>], iterations: u32) -> Result<End, String> {
        let mut space = self.space(contents);
        let pairs = self.addresses.iter().zip(&self.buffers).flat_map(|(address, b)| [*address, b.size]);
        let mut immediates = vec![0, iterations, 0, iterations, BLOCK_SIZE, 0];
        assert_eq!(immediates.len(), immediate::SLOTS as usize);
        immediates.extend(pairs);
        let data: Vec<&[u8]> = self.data.iter().map(Vec::as_slice).collect();
        let for_launch = match &self.asking {
            Some(asking) => {
                let mut present = Present { space: &mut space, globals: &self.globals };
                Some(asking.strict(&mut present, &immediates)?)
            }
            None => None,
        };
        let (kernel, pointers) = match &for_launch {
            Some((function, pointers)) => (function, &pointers[..]),
            None => (&self.kernel, &[][..]),
        };
        let given = Given { immediates, pointers, data };
        let end = self.run_all((kernel, None), &given, &mut space, iterations)?;
        if let Some(coarse) = &self.coarse {
            let at_once = self.run_all((kernel, Some(coarse)), &given, &mut self.space(contents), iterations)?;
            if at_once != end {
                return Err(format!("four at once: {at_once:?}\none by one: {end:?}\n{coarse}"));
            }
        }
        Ok(end)
    }
}
