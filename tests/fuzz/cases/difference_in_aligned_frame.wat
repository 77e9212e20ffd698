;; seed: 422
;; differs on: the interpreter on strict form for vulkan
;; found: KernelTrap { at: Location { function: 0, offset: 198 }, kind: OutOfBounds, iteration: 0 } instead of an end without a trap
;; mode: traps
;; iterations: 1
;; linear-seed: 118
(module
(memory (export "memory") 1)
(global $sp (export "__stack_pointer") (mut i32) (i32.const 8192))
(global $g_f32 (export "$g_f32") (mut f32) (f32.const 77))
(func $kernel (export "kernel") (param $id i32) (param $n i32) (param $block i32)
(local $x1 i32)(local $fp i32)(local $t i32)
(global.set $sp (local.tee $fp (i32.and (i32.sub (global.get $sp) (i32.const 128)) (i32.const -16))))
(i64.store offset=48 (local.get $fp) (i64.const 0x123456789abcddf))
(i64.store offset=56 (local.get $fp) (i64.const 0x123456789abcdd7))
(i64.store offset=64 (local.get $fp) (i64.const 0x123456789abcdaf))
(i64.store offset=72 (local.get $fp) (i64.const 0x123456789abcda7))
(local.set $x1 (i32.gt_u (i32.load16_s align=1 (i32.add (i32.const 11046) (block (result i32) (local.set $t (i32.add (local.get $fp) (i32.const 48) (;array;)))  (i32.sub (i32.add (local.get $t) (i32.and (i32.const 0) (i32.const 15))) (local.get $t))))) (f32.ne (global.get $g_f32) (f32.const -1.5e0))))
(global.set $sp (i32.add (local.get $fp) (i32.const 128)))
)
)
