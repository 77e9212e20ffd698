;; seed: 1046
;; differs on: the CPU device
;; found: The CPU device's module for the kernel did not compile: failed to compile: wasm[0]::function[1]: WebAssembly translation error: Invalid input WebAssembly code at offset 451: type mismatch: expected i32, found v128.
;; mode: traps
;; iterations: 1
;; linear-seed: 88
;; buffer: read_write 32 000080bf01000080ce5218f301008000000020400e000000030000000080
;; buffer: read_write 32 3ce735ac113018c802af85626de1644cd434a94305516d41e589b5783b413f61
(module
(memory (export "memory") 1)
(global $sp (export "sp") (mut i32) (i32.const 8192))
(func $kernel (export "kernel") (param $id i32) (param $n i32) (param $block i32) (param $in i32) (param $in_len i32) (param $out i32) (param $out_len i32)
(local $x0 i32)(local $from i32)(local $to i32)(local $end i32)
(block $out0 (block $case0_1 (block $case0_0 (br_table $case0_0 $case0_1 $out0 (i32.const 0)))
(return)
(local.set $x0 (i32.const 0))
)
(local.set $from (i32.add (local.get $in) (i32.mul (local.get $id) (i32.const 32))))
(local.set $to (i32.add (local.get $out) (i32.mul (local.get $id) (i32.const 33))))
(local.set $end (i32.add (local.get $from) (i32.const 4)))
(loop $l1
(local.set $x0 (i32.add (i32.mul (local.get $x0) (i32.const 31)) (i32.load (local.get $from))))
(i32.store (local.get $to) (local.get $x0)) (local.set $to (i32.add (local.get $to) (i32.const 4)))
(local.set $from (i32.add (local.get $from) (i32.const 4)))
(br_if $l1 (i32.ne (local.get $from) (local.get $end))))
)
)
)
