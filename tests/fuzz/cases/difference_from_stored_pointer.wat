;; seed: 13
;; differs on: the interpreter on strict form for vulkan
;; found: KernelTrap { at: Location { function: 0, offset: 215 }, kind: OutOfBounds, iteration: 0 } instead of an end without a trap
;; mode: traps
;; iterations: 1
;; linear-seed: 114
;; buffer: read_write 32 0200008002000000200000000c00000040000000010000000100805fbede8d5a
;; buffer: read_write 32 2e48ad16fee6096fba15fa439784ae721475eaaac14fcf7ecd4c77fac32009ee
;; buffer: read_write 48 
(module
(memory (export "memory") 1)
(global $sp (export "sp") (mut i32) (i32.const 8192))
(func $kernel (export "kernel") (param $id i32) (param $n i32) (param $block i32) (param $in i32) (param $in_len i32) (param $out i32) (param $out_len i32) (param $res i32) (param $res_len i32)
(local $w1 i32)(local $fp i32)(local $t i32)
(global.set $sp (local.tee $fp (i32.sub (global.get $sp) (i32.const 112))))
(memory.fill (i32.add (local.get $fp) (i32.const 48)) (i32.const 90) (i32.const 32))
(i32.store offset=32 (local.get $fp) (i32.add (local.get $in) (i32.mul (local.get $id) (i32.const 32))))
(local.set $w1 (i32.add (local.get $out) (i32.mul (local.get $id) (i32.const 32))))
(f32.store offset=24 (i32.add (local.get $res) (i32.mul (local.get $id) (i32.const 48))) (f32.load offset=16 (i32.sub (i32.add (i32.add (local.get $fp) (i32.const 48) (;array;)) (block (result i32) (local.set $t (i32.add (local.get $in) (i32.mul (local.get $id) (i32.const 32))))  (i32.sub (i32.add (local.get $t) (i32.and (i32.const 0) (i32.const 15))) (local.get $t)))) (i32.const 16))))
(f64.store offset=32 (i32.add (local.get $res) (i32.mul (local.get $id) (i32.const 48))) (f64.load offset=21 align=1 (i32.sub (i32.add (i32.load offset=32 (local.get $fp)) (block (result i32) (local.set $t (local.get $w1)) (i32.store offset=40 (local.get $fp) (local.get $t)) (i32.sub (i32.add (local.get $t) (i32.and (local.get $id) (i32.const 15))) (i32.load offset=40 (local.get $fp))))) (i32.const 16))))
(global.set $sp (i32.add (local.get $fp) (i32.const 112)))
)
)
