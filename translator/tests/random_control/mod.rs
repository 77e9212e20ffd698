//! Makes modules with one kernel of random structured control flow: nested blocks, loops and ifs with values,
//! branches out of several of them at once, `br_table`, early returns, and calls of functions of the same kind.
//!
//! Every loop burns fuel, so every kernel ends. The kernel stores its locals to its buffer, 32 bytes an invocation.

use std::fmt::Write;

use arbtest::arbitrary::{Result, Unstructured};

/// Bytes that an invocation owns in the buffer.
pub const BYTES: u32 = 32;

/// Loop iterations that one function call may spend.
const FUEL: u32 = 40;

/// A module in the text format; the kernel is the function `kernel`, alone in table 0.
pub fn module(u: &mut Unstructured<'_>) -> Result<String> {
    let helpers = u.int_in_range(0..=2)?;
    let mut text = String::from("(module\n");
    for number in 0..helpers {
        let mut body = Body { callable: number, ..Body::default() };
        body.labels.push(Label { arity: 1 });
        let statements = body.list(u, 3)?;
        let _ = write!(
            text,
            "(func $f{number} (param $a i32) (param $b i32) (result i32) (local $c i32) (local $d i32) (local $fuel i32)\n\
             i32.const {FUEL} local.set $fuel\n{statements}\
             local.get $a local.get $b i32.xor local.get $c i32.add local.get $d i32.sub)\n"
        );
    }
    let mut body = Body { callable: helpers, kernel: true, ..Body::default() };
    body.labels.push(Label { arity: 0 });
    let statements = body.list(u, 5)?;
    let _ = write!(
        text,
        "(func $kernel (export \"kernel\") (param $a i32) (param $n i32) (param $b i32) (param $out i32) (param $len i32)\n\
         (local $c i32) (local $d i32) (local $fuel i32) (local $slot i32)\n\
         local.get $out local.get $a i32.const 5 i32.shl i32.add local.set $slot\n\
         i32.const {FUEL} local.set $fuel\n{statements}{})\n",
        body.store(0)
    );
    text.push_str("(memory 1)\n(table 1 funcref)\n(elem (i32.const 0) $kernel))\n");
    Ok(text)
}

struct Label {
    arity: usize,
}

#[derive(Default)]
struct Body {
    labels: Vec<Label>,
    /// Functions with lower numbers may be called.
    callable: u32,
    kernel: bool,
    returns: u32,
}

impl Body {
    /// Stores the locals, and a number that says which place did it.
    fn store(&self, place: u32) -> String {
        format!(
            "local.get $slot local.get $a i32.store local.get $slot local.get $b i32.store offset=4\n\
             local.get $slot local.get $c i32.store offset=8 local.get $slot local.get $d i32.store offset=12\n\
             local.get $slot local.get $fuel i32.store offset=16 local.get $slot i32.const {place} i32.store offset=20\n"
        )
    }

    fn local(&self, u: &mut Unstructured<'_>) -> Result<&'static str> {
        Ok(*u.choose(&["$a", "$b", "$c", "$d"])?)
    }

    /// An expression that leaves one `i32`.
    fn expression(&mut self, u: &mut Unstructured<'_>, depth: u32) -> Result<String> {
        let choice = if depth == 0 { u.int_in_range(0..=1)? } else { u.int_in_range(0..=5)? };
        Ok(match choice {
            0 => format!("local.get {} ", self.local(u)?),
            1 => format!("i32.const {} ", u.int_in_range(-3..=9)?),
            2 | 3 => {
                let left = self.expression(u, depth - 1)?;
                let right = self.expression(u, depth - 1)?;
                let op = u.choose(&["add", "sub", "mul", "xor", "and", "or", "lt_s", "gt_u", "eq", "shl", "rotl"])?;
                format!("{left}{right}i32.{op} ")
            }
            4 if self.callable > 0 => {
                let callee = u.int_in_range(0..=self.callable - 1)?;
                let left = self.expression(u, depth - 1)?;
                let right = self.expression(u, depth - 1)?;
                format!("{left}{right}call $f{callee} ")
            }
            _ => {
                let inner = self.block_like(u, depth - 1, 1)?;
                format!("{inner} ")
            }
        })
    }

    /// A `block`, `loop` or `if` with `arity` results.
    fn block_like(&mut self, u: &mut Unstructured<'_>, depth: u32, arity: usize) -> Result<String> {
        let result = if arity == 1 { "(result i32) " } else { "" };
        let kind = u.int_in_range(0..=2)?;
        let is_loop = kind == 1;
        let condition = if kind == 2 { self.expression(u, 1)? } else { String::new() };
        self.labels.push(Label { arity: if is_loop { 0 } else { arity } });
        let mut text = match kind {
            0 => format!("block {result}\n"),
            // Without fuel the function ends here, so that nothing runs for ever.
            1 => {
                let end =
                    if self.kernel { format!("{}return", self.store(1)) } else { "local.get $fuel return".into() };
                format!(
                    "loop {result}\nlocal.get $fuel i32.eqz if {end} end \
                     local.get $fuel i32.const 1 i32.sub local.set $fuel\n"
                )
            }
            _ => format!("{condition}if {result}\n"),
        };
        text += &self.list(u, depth)?;
        text += &self.values(u, arity)?;
        if kind == 2 && (arity == 1 || u.arbitrary()?) {
            text += "else\n";
            text += &self.list(u, depth)?;
            text += &self.values(u, arity)?;
        }
        self.labels.pop();
        text += "end\n";
        Ok(text)
    }

    fn values(&mut self, u: &mut Unstructured<'_>, arity: usize) -> Result<String> {
        if arity == 0 { Ok(String::new()) } else { self.expression(u, 1) }
    }

    fn list(&mut self, u: &mut Unstructured<'_>, depth: u32) -> Result<String> {
        let mut text = String::new();
        for _ in 0..u.int_in_range(0..=4)? {
            text += &self.statement(u, depth)?;
        }
        Ok(text)
    }

    fn statement(&mut self, u: &mut Unstructured<'_>, depth: u32) -> Result<String> {
        Ok(match u.int_in_range(0..=11)? {
            0..=2 => {
                let value = self.expression(u, 2.min(depth))?;
                format!("{value}local.set {}\n", self.local(u)?)
            }
            3..=6 if depth > 0 => self.block_like(u, depth - 1, 0)?,
            7 | 8 => {
                let condition = self.expression(u, 1)?;
                let (target, arity) = self.target(u)?;
                let value = self.values(u, arity)?;
                format!("{value}{condition}br_if {target} {}\n", "drop ".repeat(arity))
            }
            9 => self.leave(u)?,
            10 => {
                let condition = self.expression(u, 1)?;
                let leave = self.leave_inside_if(u)?;
                format!("{condition}if\n{leave}end\n")
            }
            _ => {
                let value = self.expression(u, 1)?;
                format!("{value}local.set {}\n", self.local(u)?)
            }
        })
    }

    fn leave_inside_if(&mut self, u: &mut Unstructured<'_>) -> Result<String> {
        self.labels.push(Label { arity: 0 });
        let text = self.leave(u);
        self.labels.pop();
        text
    }

    /// A depth to branch to, and the number of values that the branch takes.
    fn target(&self, u: &mut Unstructured<'_>) -> Result<(usize, usize)> {
        let depth = u.int_in_range(0..=self.labels.len() - 1)?;
        Ok((depth, self.labels[self.labels.len() - 1 - depth].arity))
    }

    /// Something behind which nothing in the list is reached.
    fn leave(&mut self, u: &mut Unstructured<'_>) -> Result<String> {
        let index = self.expression(u, 1)?;
        let (target, arity) = self.target(u)?;
        let value = self.values(u, arity)?;
        Ok(match u.int_in_range(0..=4)? {
            0 | 1 => format!("{value}br {target}\n"),
            2 | 3 => {
                let mut targets = vec![target];
                for _ in 0..u.int_in_range(0..=5)? {
                    let (other, other_arity) = self.target(u)?;
                    if other_arity == arity {
                        targets.push(other);
                    }
                }
                let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
                format!("{value}{index}br_table {}\n", targets.join(" "))
            }
            _ if self.kernel => {
                self.returns += 1;
                format!("{}return\n", self.store(100 + self.returns))
            }
            _ => format!("{index}return\n"),
        })
    }
}
