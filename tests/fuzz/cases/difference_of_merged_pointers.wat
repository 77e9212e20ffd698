;; seed: 394
;; differs on: the interpreter on strict form for vulkan
;; found: KernelTrap { at: Location { function: 1, offset: 279 }, kind: OutOfBounds, iteration: 0 } instead of an end without a trap
;; mode: safe
;; iterations: 1
;; linear-seed: 203
;; buffer: read_write 32 063a3175570922ef1425e6d7540815641c002b9519cf1c1fec3393446d676711
;; buffer: read_write 24 a82d0000ca280000f1270000004000000040000000fffeff
(module
(memory (export "memory") 1)
(global $sp (export "__stack_pointer") (mut i32) (i32.const 8192))
(global $g_i32 (export "$g_i32") (mut i32) (i32.const 77))
(func $pick (param i32 i32 i32) (result i32) (select (local.get 0) (local.get 1) (local.get 2)))
(func $kernel (export "kernel") (param $id i32) (param $n i32) (param $block i32) (param $out i32) (param $out_len i32) (param $ptrs i32) (param $ptrs_len i32)
(local $w2 i32)(local $fp i32)(local $t i32)
(local.set $fp (i32.sub (global.get $sp) (i32.const 112)))
(i64.store offset=48 (local.get $fp) (i64.const 0x123456789abcddf))
(i64.store offset=56 (local.get $fp) (i64.const 0x123456789abcdd7))
(i64.store offset=64 (local.get $fp) (i64.const 0x123456789abcdaf))
(i64.store offset=72 (local.get $fp) (i64.const 0x123456789abcda7))
(local.set $w2 (i32.add (local.get $out) (i32.mul (local.get $id) (i32.const 39))))
(block $out0 (block $case0_0 (br_table $case0_0 $out0 (i32.const 1)))
(local.set $w2 (i32.add (local.get $fp) (i32.const 48) (;array;)))
)
(i32.store8 offset=16 (i32.sub (i32.add (call $pick (i32.load offset=12 (i32.add (local.get $ptrs) (i32.mul (local.get $id) (i32.const 24)))) (i32.add (local.get $fp) (i32.const 48) (;array;)) (select (i32.const 3) (local.get $id) (i32.const 16777215))) (block (result i32) (local.set $t (local.get $w2))  (i32.sub (i32.add (local.get $t) (i32.and (i32.const 0) (i32.const 15))) (local.get $t)))) (i32.const 16)) (if (result i32) (i32.const 5) (then (i32.ctz (global.get $g_i32))) (else (global.get $g_i32))))
)
)
