;; seed: 36
;; differs on: the interpreter on strict form, keeping functions
;; found: iteration 0: The invocation did what has no defined result: variable x19 was read before it was set.
;; mode: safe
;; iterations: 1
;; linear-seed: 10
;; buffer: read_write 32 0180ffffff0000002000000007000000040000000f000000639fc04c010080f1
;; buffer: read_write 32 44d706306e7d284085dc1651dd8e00cd39fef3db5c707270c9d630938285ac55
;; buffer: read_write 36 ebb468741f6e93dbbfce0b94b2791d1176bb92645a6c0bfb137911eb509e6089898ca151
(module
(memory (export "memory") 1)
(global $sp (export "__stack_pointer") (mut i32) (i32.const 8192))
(global $g_i64 (export "$g_i64") (mut i64) (i64.const 77))
(global $g_f32 (export "$g_f32") (mut f32) (f32.const 77))
(func $pick (param i32 i32 i32) (result i32) (select (local.get 0) (local.get 1) (local.get 2)))
(func $canon_f32 (param f32) (result f32)
  (select (local.get 0) (f32.const nan) (f32.eq (local.get 0) (local.get 0))))
(func $kernel (export "kernel") (param $id i32) (param $n i32) (param $block i32) (param $in i32) (param $in_len i32) (param $out i32) (param $out_len i32) (param $mix i32) (param $mix_len i32)
(local $x0 i32)(local $x1 i32)(local $x2 i32)(local $s2 f32)(local $w1 i32)(local $c1 i32)(local $c2 i32)(local $fp i32)(local $from i32)(local $to i32)(local $end i32)(local $t i32)
(local.set $fp (i32.sub (global.get $sp) (i32.const 128)))
(i64.store offset=0 (local.get $fp) (i64.const 0x123456789abcdef))
(i64.store offset=8 (local.get $fp) (i64.const 0x123456789abcde7))
(i64.store offset=16 (local.get $fp) (i64.const 0x123456789abcdff))
(i64.store offset=24 (local.get $fp) (i64.const 0x123456789abcdf7))
(i64.store offset=48 (local.get $fp) (i64.const 0x123456789abcddf))
(i64.store offset=56 (local.get $fp) (i64.const 0x123456789abcdd7))
(i64.store offset=64 (local.get $fp) (i64.const 0x123456789abcdaf))
(i64.store offset=72 (local.get $fp) (i64.const 0x123456789abcda7))
(i64.store offset=80 (local.get $fp) (i64.const 0x123456789abcdbf))
(i64.store offset=88 (local.get $fp) (i64.const 0x123456789abcdb7))
(i64.store offset=96 (local.get $fp) (i64.const 0x123456789abcd8f))
(i64.store offset=104 (local.get $fp) (i64.const 0x123456789abcd87))
(local.set $w1 (i32.add (local.get $out) (i32.mul (local.get $id) (i32.const 36))))
(i32.store offset=36 (local.get $fp) (i32.add (local.get $out) (i32.mul (local.get $id) (i32.const 36))))
(block $out0 (block $case0_1 (block $case0_0 (br_table $case0_0 $case0_1 $out0 (i32.const 0)))
(memory.fill (i32.load offset=36 (local.get $fp)) (local.get $x2) (i32.add (i32.and (i32.load16_s offset=18 (local.get $fp) (;slot;)) (i32.const 7)) (i32.const 7)))
)
(i64.store8 offset=28 (select (i32.add (local.get $mix) (i32.mul (local.get $id) (i32.const 36))) (local.get $w1) (f32.eq (local.get $s2) (local.get $s2))) (if (result i64) (select (local.get $x1) (i32.const 1) (local.get $x2)) (then (global.get $g_i64)) (else (i64.shl (i64.const 2) (i64.const 9223371212221054977)))))
(local.set $c1 (i32.and (i32.const 2) (i32.const 7)))
(block $out1 (loop $again1
(br_if $out1 (i32.eqz (local.get $c1))) (local.set $c1 (i32.sub (local.get $c1) (i32.const 1)))
(if (i32.reinterpret_f32 (call $canon_f32 (f32.add (f32.const 1.6777216e7) (global.get $g_f32)))) (then (return)))
(br $again1)))
)
(i32.store offset=32 (local.get $fp) (block (result i32) (local.set $t (i32.add (local.get $in) (i32.mul (local.get $id) (i32.const 32)))) (i32.sub (i32.mul (local.get $t) (i32.const 3)) (i32.shl (local.get $t) (i32.const 1)))))
(local.set $c2 (i32.add (i32.and (i32.load16_u offset=21 (local.get $fp) (;slot;)) (i32.const 7)) (i32.const 1)))
(block $out2 (loop $l2
(block $again2
(local.set $from (i32.add (local.get $fp) (i32.const 80) (;array;)))
(local.set $to (call $pick (i32.add (local.get $fp) (i32.const 48) (;array;)) (local.get $w1) (i32.load16_s offset=10 (local.get $fp) (;slot;))))
(local.set $end (i32.add (local.get $from) (i32.const 20)))
(loop $l3
(local.set $x0 (i32.add (i32.mul (local.get $x0) (i32.const 31)) (i32.load (local.get $from))))
(i32.store (local.get $to) (local.get $x0)) (local.set $to (i32.add (local.get $to) (i32.const 4)))
(local.set $from (i32.add (local.get $from) (i32.const 4)))
(br_if $l3 (i32.ne (local.get $from) (local.get $end))))
)(local.set $c2 (i32.sub (local.get $c2) (i32.const 1)))
(br_if $l2 (local.get $c2))))
)
)

