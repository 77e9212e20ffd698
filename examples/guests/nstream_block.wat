;; nstream_block - the stream triad A += B + 3 * C in few, long iterations: 8 invocations that each loop over
;; `block_size` elements, as guests of the wasi-parallel prototype did.
;; SPDX-License-Identifier: MIT OR Apache-2.0
;;
;; 11 launches over 65,536 f32 elements. Every element of A must then be exactly 11 * (2 + 3 * 2) = 88.
(module
  (import "wasi_ephemeral_parallel" "get_device" (func $get_device (param i32 i32) (result i32)))
  (import "wasi_ephemeral_parallel" "create_buffer" (func $create_buffer (param i32 i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_parallel" "write_buffer" (func $write_buffer (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_parallel" "read_buffer" (func $read_buffer (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_parallel" "parallel_for"
    (func $parallel_for (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))

  ;; 0: device; 16: handles of B, C, A; 32: an iovec; 40: bytes written; 256: texts; 64 KiB on: the elements
  (memory (export "memory") 5)
  (data (i32.const 256) "Solution validates\n")
  (data (i32.const 288) "ERROR: solution did not validate\n")
  (data (i32.const 336) "ERROR: a call failed\n")

  (table 2 funcref)
  (elem (i32.const 1) func $nstream_block)

  (global $elements i32 (i32.const 65536))
  (global $bytes i32 (i32.const 262144))
  (global $data i32 (i32.const 65536))

  (func $nstream_block
    (param $iteration_id i32) (param $num_iterations i32) (param $block_size i32)
    (param $b i32) (param $b_bytes i32) (param $c i32) (param $c_bytes i32) (param $a i32) (param $a_bytes i32)
    (local $offset i32) (local $end i32)
    (local.set $offset
      (i32.shl (i32.mul (local.get $iteration_id) (local.get $block_size)) (i32.const 2)))
    (local.set $end (i32.add (local.get $offset) (i32.shl (local.get $block_size) (i32.const 2))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $offset) (local.get $end)))
        (f32.store (i32.add (local.get $a) (local.get $offset))
          (f32.add
            (f32.load (i32.add (local.get $a) (local.get $offset)))
            (f32.add
              (f32.load (i32.add (local.get $b) (local.get $offset)))
              (f32.mul (f32.const 3) (f32.load (i32.add (local.get $c) (local.get $offset)))))))
        (local.set $offset (i32.add (local.get $offset) (i32.const 4)))
        (br $next))))

  ;; Prints `length` bytes of text to the file descriptor and leaves with the exit code.
  (func $finish (param $fd i32) (param $text i32) (param $length i32) (param $code i32)
    (i32.store (i32.const 32) (local.get $text))
    (i32.store (i32.const 36) (local.get $length))
    (drop (call $fd_write (local.get $fd) (i32.const 32) (i32.const 1) (i32.const 40)))
    (call $proc_exit (local.get $code)))

  ;; Goes on if the error code is 0; else the exit code is 2.
  (func $check (param $error i32)
    (if (local.get $error)
      (then (call $finish (i32.const 2) (i32.const 336) (i32.const 21) (i32.const 2)))))

  (func $fill (param $value f32)
    (local $i i32)
    (loop $next
      (f32.store (i32.add (global.get $data) (local.get $i)) (local.get $value))
      (br_if $next
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (global.get $bytes)))))

  ;; A new buffer on the device, its handle stored at `slot`.
  (func $create (param $access i32) (param $slot i32)
    (call $check
      (call $create_buffer (i32.load (i32.const 0)) (global.get $bytes) (local.get $access) (local.get $slot))))

  (func $write (param $slot i32)
    (call $check (call $write_buffer (global.get $data) (global.get $bytes) (i32.load (local.get $slot)))))

  (func (export "_start")
    (local $i i32)
    (call $check (call $get_device (i32.const 1) (i32.const 0)))
    (call $create (i32.const 0) (i32.const 16))
    (call $create (i32.const 0) (i32.const 20))
    (call $create (i32.const 2) (i32.const 24))
    (call $fill (f32.const 2))
    (call $write (i32.const 16))
    (call $write (i32.const 20))
    (call $fill (f32.const 0))
    (call $write (i32.const 24))
    (loop $launch
      (call $check
        (call $parallel_for
          (i32.const 1) (i32.const 8) (i32.shr_u (global.get $elements) (i32.const 3))
          (i32.const 16) (i32.const 2) (i32.const 24) (i32.const 1)))
      (br_if $launch (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 11))))
    (call $check (call $read_buffer (i32.load (i32.const 24)) (global.get $data) (global.get $bytes)))
    (local.set $i (i32.const 0))
    (loop $next
      (if (f32.ne (f32.load (i32.add (global.get $data) (local.get $i))) (f32.const 88))
        (then (call $finish (i32.const 2) (i32.const 288) (i32.const 33) (i32.const 1))))
      (br_if $next
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (global.get $bytes))))
    (call $finish (i32.const 1) (i32.const 256) (i32.const 19) (i32.const 0))))
