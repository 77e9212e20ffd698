;; seed: 166
;; differs on: the interpreter on strict form for vulkan
;; found: The translator broke its own rule and gave up: a pass panicked: index out of bounds: the len is 1 but the index is 1. Please report this with the module.
;; mode: traps
;; iterations: 1
;; linear-seed: 1
;; buffer: read_write 32 120000000100803f00000080e1ffffff0100804a11000000ffffbfffb12a1197
;; buffer: read_write 32 cb42aa169eaf00bbc4f98174ff6491b896ee93a72c8459500855f12a9c5d02d0
(module
(memory (export "memory") 1)
(global $sp (export "__stack_pointer") (mut i32) (i32.const 8192))
(global $g_i32 (export "$g_i32") (mut i32) (i32.const 77))
(func $f0 (param $pr i32) (param $pw i32) (param $id i32) (param $b i32) (result i32)
(local $x0 i32)(local $x1 i32)(local $x2 i32)(local $c0 i32)(local $fp i32)
(local.set $fp (i32.sub (global.get $sp) (i32.const 112)))
(i64.store offset=0 (local.get $fp) (i64.const 0x123456789abcdef))
(i64.store offset=8 (local.get $fp) (i64.const 0x123456789abcde7))
(i64.store offset=16 (local.get $fp) (i64.const 0x123456789abcdff))
(i64.store offset=24 (local.get $fp) (i64.const 0x123456789abcdf7))
(local.set $x0 (local.get $b))
(i32.store offset=36 (local.get $fp) (local.get $pw))
(local.set $c0 (i32.and (i32.load offset=3 (local.get $fp) (;slot;)) (i32.const 3)))
(block $out0 (loop $again0
(br_if $out0 (i32.eqz (local.get $c0))) (local.set $c0 (i32.sub (local.get $c0) (i32.const 1)))
(br_if $again0 (local.get $id))
(i32.store16 offset=14 (local.get $fp) (;slot;) (i32.load16_s offset=22 (i32.sub (i32.add (i32.sub (i32.add (i32.load offset=36 (local.get $fp)) (local.get $x1)) (local.get $x1)) (i32.shl (i32.and (select (global.get $g_i32) (local.get $id) (local.get $x2)) (i32.const 3)) (i32.const 3))) (i32.const 16))))
(br $again0)))
(i32.rotl (local.get $x2) (i32.const 31)))
(func $kernel (export "kernel") (param $id i32) (param $n i32) (param $block i32) (param $in i32) (param $in_len i32) (param $out i32) (param $out_len i32)

(block $out0 (block $case0_0 (br_table $case0_0 $out0 (call $f0 (i32.add (local.get $in) (i32.mul (local.get $id) (i32.const 32))) (i32.add (local.get $out) (i32.mul (local.get $id) (i32.const 33))) (i32.const 0) (i32.const 0))))
)
)
)
