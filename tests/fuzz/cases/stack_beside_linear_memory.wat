;; seed: 200266
;; differs on: the interpreter on a form that assumes what a rehearsal saw
;; found: buffer 1, byte 36: 0x72fae25c instead of 0xdffae25c
;; mode: safe
;; iterations: 2
;; linear-seed: 165
;; buffer: read_write 64 a620ed9705000000000040bf010080800080000080b6bb9b000000fff5d95ab6000000010b000000010000800000804affff7fcf0d00000006
;; buffer: read_write 71 4eb7bc8cb96b1044624b9d875780c8609e0601eb3a07c4cb2f5100c3f095ce81e7b970465ce2faf1c8e97143456c9397fd1d22bb908d4734a41dc421f895d9811c3b36c8cceab0
;; buffer: read_write 48 00fffeffb422000020fffeff00fffcff00fffcff00fffcff20fffeff472e0000f4200000274000002740000027fffcff
(module
(memory (export "memory") 1)
(global $sp (export "__stack_pointer") (mut i32) (i32.const 8192))
(func $kernel (export "kernel") (param $id i32) (param $n i32) (param $block i32) (param $in i32) (param $in_len i32) (param $out i32) (param $out_len i32) (param $ptrs i32) (param $ptrs_len i32)
(local $x0 i32)(local $d0 f64)(local $fp i32)(local $from i32)(local $to i32)(local $end i32)
(global.set $sp (local.tee $fp (i32.and (i32.sub (global.get $sp) (i32.const 116)) (i32.const -16))))
(i64.store offset=48 (local.get $fp) (i64.const 0x123456789abcddf))
(i64.store offset=56 (local.get $fp) (i64.const 0x123456789abcdd7))
(i64.store offset=64 (local.get $fp) (i64.const 0x123456789abcdaf))
(i64.store offset=72 (local.get $fp) (i64.const 0x123456789abcda7))
(local.set $d0 (f64.load offset=20 (i32.add (local.get $in) (i32.mul (local.get $id) (i32.const 32)))))
(local.set $from (select (i32.add (local.get $fp) (i32.const 48) (;array;)) (i32.load offset=4 (i32.add (local.get $ptrs) (i32.mul (local.get $id) (i32.const 24)))) (f64.lt (f64.const 0e0) (local.get $d0))))
(local.set $to (i32.add (local.get $out) (i32.mul (local.get $id) (i32.const 39))))
(local.set $end (i32.add (local.get $from) (i32.const 4)))
(loop $l0
(local.set $x0 (i32.add (i32.mul (local.get $x0) (i32.const 31)) (i32.load (local.get $from))))
(i32.store (local.get $to) (local.get $x0)) (local.set $to (i32.add (local.get $to) (i32.const 4)))
(local.set $from (i32.add (local.get $from) (i32.const 4)))
(br_if $l0 (i32.ne (local.get $from) (local.get $end))))
(global.set $sp (i32.add (local.get $fp) (i32.const 116)))
)
)
