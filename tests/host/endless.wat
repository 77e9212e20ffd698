;; Kernels that never end, and two that end late.
(module
  (import "wasi_ephemeral_parallel" "parallel_for"
    (func $parallel_for (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (table (export "table") 24 funcref)
  (type $step (func (param i32) (result i32)))
  (elem (i32.const 1) $all $one $called $behind_results $tail_calls $tail_called $nested $left $table $long $finite
    $doubles $recurses $fills $divides $roots $stores $counts $called_in_loop)

  ;; Every invocation.
  (func $all (param i32 i32 i32) (loop $again (br $again)))
  ;; One of them.
  (func $one (param $i i32) (param i32 i32)
    (if (i32.eq (local.get $i) (i32.const 70001)) (then (loop $again (br $again)))))
  ;; A function that is called.
  (func $spin (param $i i32) (result i32)
    (loop $again (result i32) (br_if $again (i32.ge_u (local.get $i) (i32.const 777))) (local.get $i)))
  (func $called (param $i i32) (param i32 i32) (drop (call $spin (local.get $i))))
  ;; A call in a loop, both with fuel of their own, and several results.
  (func $two (param $i i32) (result i32 i64) (local $k i32)
    (block $out
      (loop $again
        (br_if $out (i32.ge_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 5)))
        (if (i32.eq (local.get $k) (i32.const 3)) (then (return (local.get $i) (i64.const 1))))
        (br $again)))
    (local.get $i) (i64.const 1))
  (func $behind_results (param $i i32) (param i32 i32)
    (loop $again
      (call $two (local.get $i))
      i64.const 1
      i64.eq
      br_if $again
      drop))
  ;; The kernel itself, by a tail call.
  (func $tail_calls (param $i i32) (param $n i32) (param i32)
    (return_call $tail_calls (local.get $i) (local.get $n) (i32.const 0)))
  ;; Two functions, by tail calls of each other.
  (func $ping (param $i i32) (result i32) (return_call $pong (i32.xor (local.get $i) (i32.const 1))))
  (func $pong (param $i i32) (result i32)
    (if (i32.eqz (local.get $i)) (then (return (i32.const 1))))
    (return_call $ping (i32.xor (local.get $i) (i32.const 1))))
  (func $tail_called (param $i i32) (param i32 i32) (drop (call $ping (i32.add (local.get $i) (i32.const 1)))))
  ;; Loops that end, in one that does not.
  (func $nested (param $i i32) (param i32 i32) (local $k i32)
    (loop $outer
      (local.set $k (i32.const 1000))
      (loop $inner
        (br_if $inner (local.tee $k (i32.sub (local.get $k) (i32.const 1)))))
      (br $outer)))
  ;; A loop that is left at once, in one that does not end.
  (func $left (param $i i32) (param i32 i32) (local $k i32)
    (loop $outer
      (local.set $k (i32.const 0))
      (block $out
        (loop $inner
          (br_if $out (i32.ge_u (local.get $k) (local.get $i)))
          (br_if $inner (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 0x7fffffff)))))
      (br $outer)))
  ;; A function of the table, called by its number.
  (func $step (export "step") (type $step)
    (loop $again (br_if $again (local.get 0))) (i32.const 1))
  (elem (i32.const 20) $step)
  (func $table (param $i i32) (param i32 i32)
    (loop $again
      (br_if $again
        (i32.eqz (call_indirect (type $step) (i32.ge_u (local.get $i) (i32.const 3)) (i32.const 20))))))
  ;; One long loop that ends.
  (func $long (param $i i32) (param i32 i32) (local $k i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 5)) (local.get $k)))
      (br_if $again (i32.ne (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 40000000))))
    (i32.store offset=1024 (i32.shl (local.get $i) (i32.const 2)) (local.get $sum)))
  ;; One that takes more than a million operators.
  (func $finite (param $i i32) (param i32 i32) (local $k i32)
    (loop $again
      (br_if $again (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 3))) (i32.const 900000))))
    (i32.store offset=1024 (i32.shl (local.get $i) (i32.const 2)) (local.get $k)))
  ;; No loop and no recursion: each function calls the next one many times.
DOUBLES
  (func $doubles (param $i i32) (param i32 i32) (drop (call $d0 (local.get $i))))
  ;; No loop: each call makes two more, 1000 deep.
  (func $twice (param $depth i32) (result i32)
    (if (result i32) (local.get $depth)
      (then (i32.add
        (call $twice (i32.sub (local.get $depth) (i32.const 1)))
        (call $twice (i32.sub (local.get $depth) (i32.const 1)))))
      (else (i32.const 1))))
  (func $recurses (param $i i32) (param i32 i32) (drop (call $twice (i32.const 1000))))
  ;; Few operators that move many bytes.
  (func $fills (param $i i32) (param i32 i32)
    (loop $again
      (memory.fill (i32.const 32768) (i32.const 0) (i32.const 32768))
      (br $again)))

  ;; Operators that take long.
  (func $divides (param $i i32) (param i32 i32) (local $a i64)
    (local.set $a (i64.extend_i32_u (local.get $i)))
    (loop $again
      (local.set $a (i64.rem_u (i64.add (local.get $a) (i64.const 0x7fffffffffffffff)) (i64.const 1000000007)))
      (local.set $a (i64.div_s (i64.const -0x7fffffffffff) (i64.add (local.get $a) (i64.const 1))))
      (br_if $again (i64.ne (local.get $a) (i64.const 0x123456789)))))
  (func $roots (param $i i32) (param i32 i32) (local $a f64) (local $b f32)
    (loop $again
      (local.set $a (f64.sqrt (f64.div (f64.const 1e9) (f64.add (local.get $a) (f64.const 1)))))
      (local.set $b (f32.sqrt (f32.div (f32.const 1e9) (f32.add (local.get $b) (f32.const 1)))))
      (br_if $again (f64.ne (local.get $a) (f64.promote_f32 (f32.neg (local.get $b)))))))
  (func $stores (param $i i32) (param i32 i32)
    (loop $again
      (i32.store offset=1024 (i32.and (local.get $i) (i32.const 0xfff0))
        (i32.add (i32.const 1) (i32.load8_u offset=1025 (i32.and (local.get $i) (i32.const 0xfff0)))))
      (i32.store16 offset=1025 (i32.and (local.get $i) (i32.const 0xfff0)) (local.get $i))
      (br $again)))
  (func $counts (param $i i32) (param i32 i32)
    (loop $again
      (drop (i32.atomic.rmw.add offset=1024 (i32.const 0) (i32.const 1)))
      (br $again)))
  ;; A function whose loops end, called in one that does not.
  (func $sums (param $n i32) (result i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 5)) (local.get $n)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))
  (func $called_in_loop (param $i i32) (param i32 i32)
    (loop $again
      (br_if $again (i32.ne (call $sums (i32.add (i32.and (local.get $i) (i32.const 7)) (i32.const 100))) (i32.const -1)))))

  (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
  (func (export "launch") (param $kernel i32) (param $n i32) (result i32)
    (call $parallel_for (local.get $kernel) (local.get $n) (i32.const 1)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))))
