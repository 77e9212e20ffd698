//! How pointers and accesses are printed.

use crate::ast::{DETOURS, DISTANCES, Expr, Mode, OBJECT, Place, Ptr};
use crate::print::{ARRAYS, Function, IN_ROW, OWN_LINEAR, PTR_ROW, PTR_SLOTS};

use crate::generate::LOCALS;

/// Bytes of linear memory behind the stack pointer that are only read.
const STATIC: u32 = 8000;

/// The detour over multiples of the pointer.
const SCALED: u32 = 8;

/// The names of pointers.
pub struct Pointers;

impl Pointers {
    pub fn local(own: bool, number: u32) -> String {
        format!("${}{}", if own { "w" } else { "r" }, number % LOCALS)
    }

    pub fn slot(own: bool) -> u32 {
        PTR_SLOTS + 4 * u32::from(own)
    }

    /// What a load of the slot has in it.
    pub fn slot_mark(own: bool) -> String {
        format!("(i32.load offset={} (local.get $fp))", Pointers::slot(own))
    }
}

impl Function<'_> {
    fn row(&self, buffer: &str, bytes: u32) -> String {
        format!("(i32.add {buffer} (i32.mul (local.get $id) (i32.const {bytes})))")
    }

    pub fn first_pointer(&self, own: bool) -> String {
        match (self.helper.is_some(), own) {
            (true, false) => "(local.get $pr)".into(),
            (true, true) => "(local.get $pw)".into(),
            (false, false) => self.row("(local.get $in)", IN_ROW),
            (false, true) => self.row("(local.get $out)", self.tree.stride),
        }
    }

    pub fn ptr(&mut self, ptr: &Ptr) -> String {
        let stride = self.tree.stride;
        match ptr {
            Ptr::In | Ptr::InEnd | Ptr::Out | Ptr::Mix | Ptr::Lin | Ptr::Loaded(..) if self.helper.is_some() => {
                self.first_pointer(ptr.is_own())
            }
            Ptr::In => self.row("(local.get $in)", IN_ROW),
            Ptr::InEnd => {
                format!("(i32.sub (i32.add (local.get $in) (local.get $in_len)) (i32.const {OBJECT}))")
            }
            Ptr::Static(at) => format!("(i32.const {})", crate::places::STACK_POINTER + at % STATIC),
            Ptr::Out => self.row("(local.get $out)", stride),
            Ptr::Mix => self.row("(local.get $mix)", stride),
            Ptr::Lin => self.row(&format!("(i32.const {OWN_LINEAR})"), stride),
            Ptr::Array(number) => {
                format!("(i32.add (local.get $fp) (i32.const {}) (;array;))", ARRAYS + number % 2 * OBJECT)
            }
            Ptr::Param(own) => self.first_pointer(*own),
            Ptr::Local(own, number) => format!("(local.get {})", Pointers::local(*own, *number)),
            Ptr::Slot(own) => Pointers::slot_mark(*own),
            Ptr::Loaded(own, number) => {
                let at = 4 * (number % 3) + 12 * u32::from(*own);
                format!("(i32.load offset={at} {})", self.row("(local.get $ptrs)", PTR_ROW))
            }
            Ptr::Select(of) => {
                format!("(select {} {} {})", self.ptr(&of.0), self.ptr(&of.1), self.expr(&of.2))
            }
            Ptr::Pick(of) => {
                format!("(call $pick {} {} {})", self.ptr(&of.0), self.ptr(&of.1), self.expr(&of.2))
            }
            Ptr::Detour(kind, of) => {
                let (p, x) = (self.ptr(&of.0), self.expr(&of.1));
                // What was loaded and is then scaled is taken for an index.
                let is_root = matches!(of.0, Ptr::In | Ptr::InEnd | Ptr::Out | Ptr::Mix | Ptr::Lin | Ptr::Array(_));
                let kind = if kind % DETOURS == SCALED && !is_root { 0 } else { kind % DETOURS };
                self.detour(kind, &p, &x, of.0.is_own())
            }
        }
    }

    /// `p` by another way; `x` is any number that has no effect.
    fn detour(&self, kind: u32, p: &str, x: &str, own: bool) -> String {
        let other = self.first_pointer(own);
        match kind {
            0 => format!("(i32.sub (i32.add {p} {x}) {x})"),
            1 => format!("(i32.add (i32.sub {p} {other}) {other})"),
            2 => format!("(i32.wrap_i64 (i64.extend_i32_u {p}))"),
            3 => format!("(block (result i32) (global.set $g_ptr {p}) (global.get $g_ptr))"),
            4 => format!("(i32.xor (i32.xor {p} {x}) {x})"),
            5 => format!("(i32.or {p} (i32.const 0))"),
            6 => {
                let at = PTR_SLOTS + 8;
                format!(
                    "(block (result i32) (i32.store offset={at} (local.get $fp) {p}) (i32.load offset={at} (local.get $fp)))"
                )
            }
            7 => format!("(i32.reinterpret_f32 (f32.reinterpret_i32 {p}))"),
            // The pointer is computed once, for that may have effects.
            SCALED => format!(
                "(block (result i32) (local.set $t {p}) (i32.sub (i32.mul (local.get $t) (i32.const 3)) (i32.shl (local.get $t) (i32.const 1))))"
            ),
            _ => format!("(i32.add {p} (i32.sub {x} {x}))"),
        }
    }

    /// The masked number as the difference of two pointers, of which one may be stored and loaded.
    pub fn distance(&mut self, kind: u32, of: &(Ptr, Expr), mask: u32) -> String {
        let pointer = self.ptr(&of.0);
        let behind = format!("(i32.add (local.get $t) (i32.and {} (i32.const {mask})))", self.expr(&of.1));
        let at = PTR_SLOTS + 8;
        let through = |first: &str| format!("(i32.store offset={at} (local.get $fp) {first})");
        let loaded = format!("(i32.load offset={at} (local.get $fp))");
        let (before, end, start) = match kind % DISTANCES {
            0 => (String::new(), behind, "(local.get $t)".into()),
            1 => (through(&behind), loaded, "(local.get $t)".into()),
            _ => (through("(local.get $t)"), behind, loaded),
        };
        format!("(block (result i32) (local.set $t {pointer}) {before} (i32.sub {end} {start}))")
    }

    /// An address, and the static offset and alignment of an access there.
    pub fn access(&mut self, place: &Place, bytes: u32) -> (String, String) {
        let (address, offset) = self.parts(place, bytes);
        let back = self.back(place);
        let address = match back {
            0 => address,
            back => format!("(i32.sub {address} (i32.const {back}))"),
        };
        let mut at = String::new();
        if offset + back > 0 {
            at += &format!(" offset={}", offset + back);
        }
        if !place.aligned {
            at += " align=1";
        }
        (address, at)
    }

    /// What is subtracted: not so much that an address of linear memory would fall below 0. Where the stack lies is the
    /// device's choice, so whether one of its addresses does, must not matter.
    fn back(&self, place: &Place) -> u32 {
        let is_kernel = self.helper.is_none();
        let may = match place.ptr {
            Ptr::In | Ptr::InEnd | Ptr::Out | Ptr::Mix => is_kernel,
            Ptr::Lin | Ptr::Static(_) => is_kernel && self.tree.mode == Mode::Bounds,
            _ => false,
        };
        if may || place.back < 0x1000 { place.back } else { 16 }
    }

    /// The address of a range of so many bytes.
    pub fn address(&mut self, place: &Place, bytes: u32) -> String {
        match self.parts(place, bytes) {
            (address, 0) => address,
            (address, offset) => format!("(i32.add {address} (i32.const {offset}))"),
        }
    }

    /// The pointer with the index, and the offset that is left.
    fn parts(&mut self, place: &Place, bytes: u32) -> (String, u32) {
        let mut address = self.ptr(&place.ptr);
        let room = OBJECT - bytes;
        let mut beyond = 0;
        if place.wild != 0 {
            let number = self.expr(place.index.as_ref().unwrap_or(&Expr::Id));
            address = format!(
                "(i32.add {address} (select (i32.const {}) (i32.const 0) (i32.eq (i32.and {number} (i32.const 7)) (i32.const 7))))",
                place.wild
            );
        }
        if let Some(index) = &place.index {
            let scale = place.scale % 4;
            let mask = (1 << ((room >> scale).min(15) + 1).ilog2()) - 1;
            beyond = mask << scale;
            let index = match index {
                Expr::Distance(kind, of) => self.distance(*kind, of, mask),
                index => format!("(i32.and {} (i32.const {mask}))", self.expr(index)),
            };
            let index = if scale == 0 { index } else { format!("(i32.shl {index} (i32.const {scale}))") };
            address = format!("(i32.add {address} {index})");
        }
        (address, place.offset % (room - beyond + 1))
    }
}
