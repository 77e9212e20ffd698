//! Makes kernels of random branches, loads, divisions and stores, most of which can trap: what may stand in front of
//! what is decided by which trap comes first.

use std::fmt::Write;

use arbtest::arbitrary::{Result, Unstructured};

/// Kernels take three buffers: `$a` and `$b` are loaded, `$out` is stored too.
const HEAD: &str = r#"(module (memory 1)
  (func (export "kernel") (param $i i32) (param i32 i32)
    (param $a i32) (param i32) (param $b i32) (param i32) (param $out i32) (param i32)
    (local $x i32) (local $y i32)
"#;

/// A module in the text format.
pub fn module(u: &mut Unstructured<'_>) -> Result<String> {
    let mut text = String::from(HEAD);
    let mut blocks = 0;
    list(u, &mut text, &mut blocks, 4)?;
    store(u, &mut text)?;
    text.push_str("))\n");
    Ok(text)
}

fn list(u: &mut Unstructured<'_>, text: &mut String, blocks: &mut u32, depth: u32) -> Result<()> {
    for _ in 0..u.int_in_range(1..=5)? {
        statement(u, text, blocks, depth)?;
    }
    Ok(())
}

fn statement(u: &mut Unstructured<'_>, text: &mut String, blocks: &mut u32, depth: u32) -> Result<()> {
    match u.int_in_range(0..=9)? {
        0 | 1 if depth > 0 => {
            text.push_str("(block\n");
            *blocks += 1;
            list(u, text, blocks, depth - 1)?;
            *blocks -= 1;
            text.push_str(")\n");
        }
        2 if depth > 0 => {
            let _ = writeln!(text, "(if {} (then", condition(u)?);
            *blocks += 1;
            list(u, text, blocks, depth - 1)?;
            if u.arbitrary()? {
                text.push_str(") (else\n");
                list(u, text, blocks, depth - 1)?;
            }
            *blocks -= 1;
            text.push_str("))\n");
        }
        3..=5 if *blocks > 0 => {
            let target = u.int_in_range(0..=*blocks - 1)?;
            let _ = writeln!(text, "(br_if {target} {})", condition(u)?);
        }
        6 if *blocks > 1 => {
            let target = u.int_in_range(0..=*blocks - 1)?;
            let _ = writeln!(text, "(if {} (then {} (br {})))", condition(u)?, assignment(u)?, target + 1);
        }
        7 if u.ratio(1, 3)? => store(u, text)?,
        _ => text.push_str(&assignment(u)?),
    }
    Ok(())
}

fn assignment(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(format!("(local.set {} {})\n", u.choose(&["$x", "$y"])?, value(u, 2)?))
}

fn store(u: &mut Unstructured<'_>, text: &mut String) -> Result<()> {
    let _ = writeln!(text, "(i32.store {} (local.get $x))", address(u, "$out")?);
    Ok(())
}

fn condition(u: &mut Unstructured<'_>) -> Result<String> {
    let (a, b) = (value(u, 1)?, value(u, 0)?);
    let compare = u.choose(&["eq", "ne", "lt_u", "ge_u", "gt_s"])?;
    let text = format!("(i32.{compare} {a} {b})");
    Ok(if u.ratio(1, 4)? { format!("(i32.eqz {text})") } else { text })
}

fn value(u: &mut Unstructured<'_>, depth: u32) -> Result<String> {
    Ok(match u.int_in_range(0..=if depth == 0 { 3 } else { 8 })? {
        0 => "(local.get $i)".into(),
        1 => "(local.get $x)".into(),
        2 => "(local.get $y)".into(),
        3 => format!("(i32.const {})", u.int_in_range(0..=5)?),
        4 => {
            let op = u.choose(&["add", "sub", "xor", "div_u", "rem_u"])?;
            format!("(i32.{op} {} {})", value(u, depth - 1)?, value(u, depth - 1)?)
        }
        _ => {
            let buffer = u.choose(&["$a", "$a", "$b", "$out"])?;
            let offset = 4 * u.int_in_range(0..=3)?;
            format!("(i32.load offset={offset} {})", address(u, buffer)?)
        }
    })
}

/// An address that is mostly in the buffer: its start, or element `i` of 4 or 16 bytes, or one that a local names.
fn address(u: &mut Unstructured<'_>, buffer: &str) -> Result<String> {
    let start = format!("(local.get {buffer})");
    let index = u.choose(&["$i", "$i", "$x", "$y"])?;
    Ok(match u.int_in_range(0..=2)? {
        0 if buffer != "$out" => start,
        1 => format!("(i32.add {start} (i32.shl (local.get {index}) (i32.const 4)))"),
        _ => format!("(i32.add {start} (i32.shl (local.get {index}) (i32.const 2)))"),
    })
}
