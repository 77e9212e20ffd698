;; seed: 66
;; differs on: the interpreter on strict form for vulkan
;; found: KernelTrap { at: Location { function: 1, offset: 169 }, kind: OutOfBounds, iteration: 0 } instead of an end without a trap
;; mode: safe
;; iterations: 1
;; linear-seed: 29
;; buffer: read_write 32 000000bf00000040cbe0639aec948ebf01000000af29c0780000005f10
;; buffer: read_write 32 a78ef7199418d40b8f8c90f6efdf7c2ab02cd9068349f1f4ed6ef07f1bf115a2
(module
(memory (export "memory") 1)
(global $sp (export "__stack_pointer") (mut i32) (i32.const 8192))
(func $pick (param i32 i32 i32) (result i32) (select (local.get 0) (local.get 1) (local.get 2)))
(func $f0 (param $pr i32) (param $pw i32) (param $id i32) (param $b i32) (result i32)
(local $x0 i32)(local $d0 f64)(local $fp i32)
(global.set $sp (local.tee $fp (i32.sub (global.get $sp) (i32.const 115))))
(local.set $x0 (local.get $b))
(i32.store offset=36 (local.get $fp) (local.get $pw))
(memory.copy (i32.add (i32.add (i32.sub (i32.load offset=36 (local.get $fp)) (local.get $pw)) (local.get $pw)) (i32.const 22)) (i32.add (i32.add (i32.sub (i32.load offset=36 (local.get $fp)) (local.get $pw)) (local.get $pw)) (i32.const 19)) (i32.const 8))
(global.set $sp (i32.add (local.get $fp) (i32.const 115)))
(i32.extend8_s (i32.trunc_sat_f64_s (local.get $d0))))
(func $kernel (export "kernel") (param $id i32) (param $n i32) (param $block i32) (param $in i32) (param $in_len i32) (param $out i32) (param $out_len i32)
(local $x0 i32)(local $from i32)(local $end i32)
(local.set $from (call $pick (i32.add (local.get $in) (i32.mul (local.get $id) (i32.const 32))) (i32.add (local.get $in) (i32.mul (local.get $id) (i32.const 32))) (call $f0 (i32.add (local.get $in) (i32.mul (local.get $id) (i32.const 32))) (i32.add (local.get $out) (i32.mul (local.get $id) (i32.const 32))) (i32.const 0) (i32.const 0))))
(local.set $end (i32.add (local.get $from) (i32.const 8)))
(loop $l0
(local.set $x0 (i32.add (i32.mul (local.get $x0) (i32.const 31)) (i32.load (local.get $from))))
(local.set $from (i32.add (local.get $from) (i32.const 4)))
(br_if $l0 (i32.ne (local.get $from) (local.get $end))))
)
)
