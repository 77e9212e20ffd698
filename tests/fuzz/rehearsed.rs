//! Speculative forms that are lifted by what a rehearsal of the first iteration saw, in the interpreter: where one bails out, that
//! iteration is rehearsed, too, or the assumption is dropped, and all starts anew.

use std::collections::HashMap;
use std::sync::Arc;

use wavelift_translator::ir::Const;
use wavelift_translator::ir::interpret::{Buffer, Space};
use wavelift_translator::module::ConstInit;
use wavelift_translator::rehearsal::{Given, Rehearsal};
use wavelift_translator::{Error, Options, Seen, Shape, Speculation, testing};

use crate::case::{End, LINEAR_MEMORY, Program};
use crate::copies::Copies;
use crate::engine::Session;
use crate::interpreter::{Form, Interpreter};
use crate::on_devices::BLOCK_SIZE;

/// Most forms of a program that may be undone, each of which showed something new.
const MOST_FORMS: u32 = 100;

/// A program that is lifted anew for each launch.
pub struct Rehearsed<'p> {
    pub program: &'p Program,
    pub options: Options,
}

impl Rehearsed<'_> {
    fn space(&self, contents: &[Vec<u8>]) -> Space {
        let linear = self.program.linear.clone().unwrap_or_else(|| vec![0; LINEAR_MEMORY as usize]);
        let buffers = self.program.addresses().into_iter().zip(&self.program.buffers).zip(contents);
        let buffers = buffers.map(|((address, shape), bytes)| {
            let mut bytes = bytes.clone();
            bytes.resize(shape.size as usize, 0);
            Buffer::new(address, shape.access, &bytes)
        });
        Space { linear, buffers: buffers.collect() }
    }

    fn globals(&self) -> Vec<Const> {
        let value = |global| match global {
            ConstInit::I32(value) => Const::I32(value as u32),
            ConstInit::I64(value) => Const::I64(value as u64),
            ConstInit::F32(bits) => Const::F32(bits),
            ConstInit::F64(bits) => Const::F64(bits),
            ConstInit::V128(bits) => Const::V128(bits.into()),
        };
        self.program.globals().into_iter().map(value).collect()
    }

    /// What is seen of an iteration, and was before; and whether that is news.
    fn see(&self, contents: &[Vec<u8>], iterations: u32, iteration: u32, before: Option<Seen>) -> (Seen, bool) {
        let environment = self.program.shape().environment;
        let places = self.program.addresses().into_iter().zip(&self.program.buffers).zip(0..);
        let places: Vec<(u32, u32, u32)> = places.map(|((address, b), slot)| (address, b.size, slot)).collect();
        let pairs = places.iter().flat_map(|(address, size, _)| [*address, *size]);
        let arguments: Vec<u32> = [iterations, BLOCK_SIZE].into_iter().chain(pairs).collect();
        let globals = self.globals();
        let given = Given { arguments: &arguments, buffers: &places, globals: &globals };
        let space = self.space(contents);
        let mut memory = Copies::new(space);
        let mut rehearsal = Rehearsal::new(&self.program.module.wasm, self.program.kernel, &environment, before);
        let (_, news) = rehearsal.run(&given, iteration, &mut memory);
        (rehearsal.into_seen(), news)
    }

    fn lifted(&self, seen: Option<&Seen>, speculation: Speculation) -> Result<Interpreter, Error> {
        let mut shape: Shape = self.program.shape();
        shape.environment.seen = seen.cloned().map(Arc::new);
        let options = Options { speculation, ..self.options };
        let strict = testing::strict(&self.program.module.wasm, self.program.kernel, &shape, &options)?;
        Ok(Interpreter::of(self.program, Form::Strict, strict, HashMap::new()))
    }
}

impl Session for Rehearsed<'_> {
    fn run(&mut self, contents: &[Vec<u8>], iterations: u32) -> Result<End, String> {
        let mut speculation = Speculation::ALL;
        let (mut seen, _) = self.see(contents, iterations, 0, None);
        let mut forms = 0;
        while speculation.any() {
            forms += 1;
            if forms > MOST_FORMS {
                return Err(format!("the last of {MOST_FORMS} forms was undone, and still there is news"));
            }
            // What is refused, or is cut and still can't be lifted, is left to the exact form.
            let Ok(mut form) = self.lifted(Some(&seen), speculation) else { break };
            let end = form.run(contents, iterations)?;
            let End::Trapped(trap) = &end else { return Ok(end) };
            let Some(assumption) = trap.kind.bail_out() else { return Ok(end) };
            let (more, news) = self.see(contents, iterations, trap.iteration, Some(seen));
            seen = more;
            if !news {
                let fewer = speculation.without(assumption);
                // An exact form, too, assumes that of arrays of variable length.
                if fewer == speculation {
                    return Ok(end);
                }
                speculation = fewer;
            }
        }
        match self.lifted(None, Speculation::NONE) {
            Ok(mut form) => form.run(contents, iterations),
            Err(refused @ Error::Unsupported { .. }) => Ok(End::Refused(refused.to_string())),
            Err(error) => Err(error.to_string()),
        }
    }
}
