//! Lowered operators that read or write what an invocation keeps, or what it shares with others.

use super::{Frame, Machine, Memory, Stop, undefined};
use crate::error::{Location, TrapKind};
use crate::ir::{Const, LowOp, Var};
use crate::options::Input;

impl<'f> Machine<'_, 'f> {
    /// The lowered operators that read or write state; `None` for the pure ones.
    pub(super) fn state(
        &mut self,
        frame: &mut Frame<'f>,
        op: &LowOp,
        operands: &[Const],
        at: Location,
    ) -> Result<Option<Option<Const>>, Stop> {
        let outside = |slot: &u32, index: &u32| outside(*slot, *index);
        let result = match (op, operands) {
            (LowOp::LoadWord { slot }, [Const::I32(index)]) => {
                let word = self.memory.load_word(*slot, *index).ok_or_else(|| outside(slot, index))?;
                Some(Const::I32(word))
            }
            (LowOp::LoadLane { slot, words, lane }, [Const::I32(index)]) => {
                let first = index.wrapping_mul((*words).into());
                let index = first | u32::from(*lane);
                // Buffers are padded to four words.
                let padding = |memory: &mut dyn Memory| memory.load_word(*slot, first).map(|_| 0);
                let word = self.memory.load_word(*slot, index).or_else(|| padding(self.memory));
                let word = word.ok_or_else(|| outside(slot, &index))?;
                Some(Const::I32(word))
            }
            (LowOp::StoreWord { slot }, [Const::I32(index), Const::I32(value)]) => {
                self.memory.store_word(*slot, *index, *value).ok_or_else(|| outside(slot, index))?;
                None
            }
            (LowOp::StoreQuad { slot } | LowOp::StorePair { slot }, [Const::I32(index), values @ ..]) => {
                for (index, value) in (index.wrapping_mul(values.len() as u32)..).zip(values) {
                    let Const::I32(value) = value else { return Err(undefined("words that are none are stored")) };
                    self.memory.store_word(*slot, index, *value).ok_or_else(|| outside(slot, &index))?;
                }
                None
            }
            (LowOp::AndWord { slot } | LowOp::OrWord { slot }, [Const::I32(index), Const::I32(value)]) => {
                let word = self.memory.load_word(*slot, *index).ok_or_else(|| outside(slot, index))?;
                let word = if matches!(op, LowOp::AndWord { .. }) { word & value } else { word | value };
                self.memory.store_word(*slot, *index, word).ok_or_else(|| outside(slot, index))?;
                None
            }
            (LowOp::StorePart { slot, bytes: bytes @ (1 | 2) }, [Const::I32(index), Const::I32(value)]) => {
                let word = u64::from(*index) * u64::from(*bytes) / 4;
                let word = u32::try_from(word).map_err(|_| outside(slot, index))?;
                let (mask, shift) = (u32::MAX >> (32 - 8 * bytes), index.wrapping_mul(8 * bytes) % 32);
                let old = self.memory.load_word(*slot, word).ok_or_else(|| outside(slot, index))?;
                let new = old & !(mask << shift) | (value & mask) << shift;
                self.memory.store_word(*slot, word, new).ok_or_else(|| outside(slot, index))?;
                None
            }
            (LowOp::Atomic { slot, op, ty }, [Const::I32(index), rest @ ..]) => {
                self.atomic_words(*slot, *op, *ty, *index, rest)?
            }
            (LowOp::Fence, []) => None,
            (LowOp::LoadData, [Const::I32(index)]) => Some(Const::I32(data_word(frame, *index)?)),
            (LowOp::LoadDataLane { lane }, [Const::I32(pair)]) => {
                Some(Const::I32(data_word(frame, pair.saturating_mul(2).saturating_add(*lane))?))
            }
            (LowOp::LoadStack, [Const::I32(index)]) => Some(Const::I32(*stack_word(frame, *index)?)),
            (LowOp::StoreStack, [Const::I32(index), Const::I32(value)]) => {
                *stack_word(frame, *index)? = *value;
                None
            }
            (LowOp::Immediate(index), []) => match self.immediates.get(*index as usize) {
                Some(word) => Some(Const::I32(*word)),
                None => return Err(undefined(format!("word {index} of the immediates was read, which is not there"))),
            },
            (LowOp::Input(input), []) => Some(Const::I32(self.input(*input)?)),
            (LowOp::IterationId, []) => Some(Const::I32(self.iteration)),
            (LowOp::Burn | LowOp::Spend, [Const::I32(amount)]) => {
                let left = self.fuel.checked_sub((*amount).into());
                self.fuel = left.ok_or(Stop::Trap { kind: TrapKind::OutOfFuel, at })?;
                None
            }
            (LowOp::Refund, [Const::I32(amount)]) => {
                self.fuel += u64::from(*amount);
                None
            }
            (LowOp::Take { cost, shares }, [Const::I32(times)]) => {
                let most = self.fuel >> u32::from(*shares);
                let granted = u64::from(*times).min(most / u64::from((*cost).max(1)));
                self.fuel -= granted * u64::from(*cost);
                Some(Const::I32(granted as u32))
            }
            (LowOp::Cell(number), []) => Some(Const::I32(self.cells.get(number).copied().unwrap_or_default())),
            (LowOp::SetCell(number), [Const::I32(value)]) => {
                self.cells.insert(*number, *value);
                None
            }
            // Where it is spent it is settled.
            (LowOp::Owes | LowOp::Overtaken, []) => Some(Const::Bool(false)),
            (LowOp::Settle, []) => None,
            (LowOp::VarGet(var), []) => Some(variable(frame, *var)?),
            (LowOp::VarSet(var), [value]) => {
                frame.vars[var.index()] = Some(*value);
                None
            }
            _ => return Ok(None),
        };
        Ok(Some(result))
    }

    /// A word of the launch's state; all of linear memory is bound.
    pub(super) fn input(&self, input: Input) -> Result<u32, Stop> {
        let missing = || undefined(format!("the launch's state has no {input}"));
        let bits = |global: u32| match self.globals.get(global as usize)? {
            Const::I32(bits) | Const::F32(bits) => Some(u128::from(*bits)),
            Const::I64(bits) | Const::F64(bits) => Some(u128::from(*bits)),
            Const::V128(bits) => Some((*bits).into()),
            Const::Bool(_) => None,
        };
        match input {
            Input::MemorySize => u32::try_from(self.memory.size()).map_err(|_| missing()),
            Input::WindowStart => Ok(0),
            Input::StackPointer(global) | Input::Global(global) => {
                bits(global).map(|bits| bits as u32).ok_or_else(missing)
            }
            Input::GlobalHigh(global) => bits(global).map(|bits| (bits >> 32) as u32).ok_or_else(missing),
            Input::Pointer { number, .. } => self.pointers.get(number as usize).copied().ok_or_else(missing),
            Input::GlobalWord { global, word } => {
                bits(global).map(|bits| (bits >> (32 * word)) as u32).ok_or_else(missing)
            }
            Input::Rounds => Ok(self.rounds),
        }
    }
}

pub(super) fn outside(slot: u32, index: u32) -> Stop {
    undefined(format!("word {index} of slot {slot} was accessed, which the slot does not have or allow"))
}

fn variable(frame: &Frame<'_>, var: Var) -> Result<Const, Stop> {
    frame.vars[var.index()].ok_or_else(|| undefined(format!("variable {var} was read before it was set")))
}

pub(super) fn data_word(frame: &Frame<'_>, index: u32) -> Result<u32, Stop> {
    let word = frame.function.data.get(index as usize);
    word.copied().ok_or_else(|| undefined(format!("word {index} of the data is not there")))
}

fn stack_word<'a>(frame: &'a mut Frame<'_>, index: u32) -> Result<&'a mut u32, Stop> {
    let outside = || undefined(format!("word {index} of the private stack was accessed, which it does not have"));
    frame.stack.get_mut(index as usize).ok_or_else(outside)
}
