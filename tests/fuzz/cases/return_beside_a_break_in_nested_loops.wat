;; seed: 0
;; differs on: the GPU
;; found: one invocation ended where another returned
;; mode: safe
;; iterations: 8
;; linear-seed: 1
;; buffer: read 512 25b777763fa3f2f216f8f25009a9d4ce7e1f9e56b60eb0d9c0bf230f6062a3e83573635e84e5c91f4bccbed8a61e8681a15ac9bdec67652b2b1de62ac19a6b7953618c9a720cbeec146f6e3ed3fbe92b20cad83cdb6f8cdbfb6f9e6f436ff0b21d2b66ae2a49c3861353ef26b2268db19d51daeba359ba97d0b4ba390688709c358e2884cab4a65de77ee0dd62b1a07eb79042c963c864d44afc39082a75554639241f70733c262c2fcd195a025a79880e9bf9be3d5b52d20a0b5d86cf0236c9cafaa52d45c11ff68d2cac39b40ad5494258889850896b96ae5936831555f34689d342df6148ef04a05fb4bf96dd46c7f363fc0fbc25feefd7948bf91c74d3e414045810e52ef5e9073d79daca08e98dc1d509c3a0db6473253d850a047c63d40d067ab4f2d5ae7f64af8a1e6e8643b04c19c03a1e32e68038779bfeed80bd4d123f0c26a88eede9561566caa40807cd34265be4551cd93cb07b1647f7fe2191c468742928c2f0907c21f7c28afd12071928a6186559cf962e172a7e42326de8c43863e99009cd2778dad394428bf60a9afead156e008d4450ca7264ee860da1b06005f9017e4ca8e9da2275ea1b610b59c502028fd095c5b739fae31b6d32162ac6c6549c10a3556e118b42a44d8fc7f563c9efeaec1a5d039e640ce9a4daa5d092df5d7f164fb8a940c3818e7efd810e8e4fd49e5c1f1dd463ff17785ae6b8
;; buffer: read_write 512 00
(module
(memory (export "memory") 1)
(global $sp (export "__stack_pointer") (mut i32) (i32.const 8192))
(func $kernel (export "kernel") (param $p0 i32) (param $p1 i32) (param $p2 i32) (param $p3 i32) (param $p4 i32) (param $p5 i32) (param $p6 i32)

(local $w i32)(local $n i32)(local $base i32)(local $next i32)(local $out i32)
(local.set $p3 (i32.add (local.get $p3) (i32.shl (local.get $p0) (i32.const 6))))
(local.set $out (i32.add (local.get $p5) (i32.shl (local.get $p0) (i32.const 6))))
(local.set $n (i32.const 6))
(loop $L8
  (local.set $next (i32.add (local.get $p3) (i32.const 4)))
  (local.set $w (i32.and (i32.load (local.get $p3)) (i32.const 0x00880044)))
  (block $B9
   (loop $L10
    (block $B11
      (br_if $B11 (local.get $w))
      (br_if $B9 (i32.eqz (local.get $n)))
      (local.set $base (i32.add (local.get $base) (i32.const 32)))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (local.set $p3 (local.get $next))
      (br $L8))
    (i32.store offset=8 (local.get $out) (i32.add (i32.or (i32.ctz (local.get $w)) (local.get $base)) (i32.mul (i32.load offset=8 (local.get $out)) (i32.const 31))))
    (local.set $w (i32.and (local.get $w) (i32.sub (local.get $w) (i32.const 1))))
    (br $L10))))
))
