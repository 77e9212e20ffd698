;; seed: 201926
;; differs on: the interpreter on strict form, keeping functions
;; found: KernelTrap { at: Location { function: 1, offset: 249 }, kind: Unreachable, iteration: 0 } instead of KernelTrap { at: Location { function: 1, offset: 270 }, kind: Unreachable, iteration: 0 }
;; mode: traps
;; iterations: 2
;; linear-seed: 221
;; buffer: read_write 48 4e290000512500001625000000400000004000000040000046260000872800000a2a000021400000214000002140
(module
(memory (export "memory") 1)
(global $sp (export "__stack_pointer") (mut i32) (i32.const 8192))
(global $g_f64 (export "$g_f64") (mut f64) (f64.const 77))
(func $canon_f64 (param f64) (result f64)
  (select (local.get 0) (f64.const nan) (f64.eq (local.get 0) (local.get 0))))
(func $kernel (export "kernel") (param $id i32) (param $n i32) (param $block i32) (param $ptrs i32) (param $ptrs_len i32)
(local $fp i32)
(local.set $fp (i32.sub (global.get $sp) (i32.const 115)))
(i64.store offset=0 (local.get $fp) (i64.const 0x123456789abcdef))
(i64.store offset=8 (local.get $fp) (i64.const 0x123456789abcde7))
(i64.store offset=16 (local.get $fp) (i64.const 0x123456789abcdff))
(i64.store offset=24 (local.get $fp) (i64.const 0x123456789abcdf7))
(block $out0 (block $case0_1 (block $case0_0 (br_table $case0_0 $case0_1 $out0 (i32.const 0)))
(f64.store offset=1 align=1 (i32.load offset=12 (i32.add (local.get $ptrs) (i32.mul (local.get $id) (i32.const 24)))) (call $canon_f64 (if (result f64) (i32.trunc_sat_f32_u (f32.const 1.6777218e7)) (then (global.get $g_f64)) (else (f64.load offset=8 (local.get $fp) (;slot;))))))
)
(if (f64.ne (f64.convert_i64_s (i64.const -4294967295)) (f64.nearest (f64.const -1.7976931348623157e308))) (then (unreachable)))
)
)
)
