;; seed: 202301
;; differs on: the interpreter on strict form, keeping functions
;; found: KernelTrap { at: Location { function: 2, offset: 371 }, kind: NullTableEntry, iteration: 0 } instead of KernelTrap { at: Location { function: 2, offset: 399 }, kind: NullTableEntry, iteration: 0 }
;; mode: traps
;; iterations: 1
;; linear-seed: 162
;; buffer: read 32 030000000000000000000040baff9ebcffb920ea265cf113ff7fffff0100804a
;; buffer: read_write 32 cac24603bbfe6b72e897bf277f8dba3650cdb2cf6d9386021b2bf9dff3873959
(module
(memory (export "memory") 1)
(global $sp (export "__stack_pointer") (mut i32) (i32.const 8192))
(global $g_i32 (export "$g_i32") (mut i32) (i32.const 77))
(type $t0 (func (param i32 i32 i32 i32) (result i32)))
(type $t1 (func (param i32 i32 i32 i64) (result i64)))
(type $t2 (func (param i32 i32 i32 f32) (result f32)))
(type $t3 (func (param i32 i32 i32 i32) (result i32 i64)))
(table 24 funcref)
(elem (i32.const 5) func $f0 $f0 $f0 $f0)
(func $pick (param i32 i32 i32) (result i32) (select (local.get 0) (local.get 1) (local.get 2)))
(func $f0 (param $pr i32) (param $pw i32) (param $id i32) (param $b i64) (result i64)
(local $y0 i64)(local $fp i32)
(local.set $fp (i32.sub (global.get $sp) (i32.const 112)))
(i64.store offset=0 (local.get $fp) (i64.const 0x123456789abcdef))
(i64.store offset=8 (local.get $fp) (i64.const 0x123456789abcde7))
(i64.store offset=16 (local.get $fp) (i64.const 0x123456789abcdff))
(i64.store offset=24 (local.get $fp) (i64.const 0x123456789abcdf7))
(local.set $y0 (local.get $b))
(i64.load16_s offset=7 (local.get $fp) (;slot;)))
(func $kernel (export "kernel") (param $id i32) (param $n i32) (param $block i32) (param $in i32) (param $in_len i32) (param $out i32) (param $out_len i32)
(local $x0 i32)(local $x1 i32)(local $x2 i32)(local $y0 i64)(local $y1 i64)(local $r0 i32)(local $w0 i32)(local $fp i32)
(global.set $sp (local.tee $fp (i32.sub (global.get $sp) (i32.const 128))))
(memory.fill (i32.add (local.get $fp) (i32.const 48)) (i32.const 90) (i32.const 32))
(memory.fill (i32.add (local.get $fp) (i32.const 80)) (i32.const 91) (i32.const 32))
(local.set $r0 (i32.add (local.get $in) (i32.mul (local.get $id) (i32.const 32))))
(local.set $w0 (i32.add (local.get $out) (i32.mul (local.get $id) (i32.const 39))))
(block $out0 (block $case0_1 (block $case0_0 (br_table $case0_0 $case0_1 $out0 (i32.const 0)))
(i64.store16 (call $pick (i32.add (i32.add (local.get $out) (i32.mul (local.get $id) (i32.const 39))) (i32.sub (local.get $x1) (local.get $x1))) (local.get $w0) (i32.rem_s (i32.const 16777215) (global.get $g_i32))) (i64.load8_s offset=41 (i32.sub (i32.const 11598) (i32.const 16))))
)
(i64.store16 offset=16 (i32.add (local.get $fp) (i32.const 48) (;array;)) (select (i64.rotl (local.get $y1) (i64.const 3)) (call_indirect (type $t1) (local.get $r0) (i32.add (local.get $fp) (i32.const 80) (;array;)) (local.get $x1) (local.get $y0) (i32.and (local.get $x2) (i32.const 31))) (i32.gt_s (local.get $x2) (local.get $x0))))
)
(global.set $sp (i32.add (local.get $fp) (i32.const 128)))
)
)
