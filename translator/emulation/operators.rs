// The table of functions: for the module that the translator lifts, and for the tests, which make names of it.
operators! {
    "f64.add": f64_add(a: u64, b: u64) -> u64 = arithmetic::add(a, b);
    "f64.sub": f64_sub(a: u64, b: u64) -> u64 = arithmetic::add(a, b ^ SIGN);
    "f64.mul": f64_mul(a: u64, b: u64) -> u64 = arithmetic::multiply_floats(a, b);
    "f64.div": f64_div(a: u64, b: u64) -> u64 = arithmetic::divide_floats(a, b);
    "f64.sqrt": f64_sqrt(a: u64) -> u64 = arithmetic::square_root(a);
    "f64.abs": f64_abs(a: u64) -> u64 = a & MAGNITUDE;
    "f64.neg": f64_neg(a: u64) -> u64 = a ^ SIGN;
    "f64.copysign": f64_copysign(a: u64, b: u64) -> u64 = a & MAGNITUDE | b & SIGN;
    "f64.eq": f64_eq(a: u64, b: u64) -> u32 = order::equal(a, b).into();
    "f64.ne": f64_ne(a: u64, b: u64) -> u32 = (!order::equal(a, b)).into();
    "f64.lt": f64_lt(a: u64, b: u64) -> u32 = order::less(a, b).into();
    "f64.gt": f64_gt(a: u64, b: u64) -> u32 = order::less(b, a).into();
    "f64.le": f64_le(a: u64, b: u64) -> u32 = order::less_or_equal(a, b).into();
    "f64.ge": f64_ge(a: u64, b: u64) -> u32 = order::less_or_equal(b, a).into();
    "f64.min": f64_min(a: u64, b: u64) -> u64 = order::minimum(a, b);
    "f64.max": f64_max(a: u64, b: u64) -> u64 = order::maximum(a, b);
    "f64.trunc": f64_trunc(a: u64) -> u64 = order::truncate(a);
    "f64.floor": f64_floor(a: u64) -> u64 = order::floor(a);
    "f64.ceil": f64_ceil(a: u64) -> u64 = order::ceiling(a);
    "f64.nearest": f64_nearest(a: u64) -> u64 = order::nearest(a);
    "f64.promote_f32": f64_promote_f32(a: u32) -> u64 = convert::promote(a);
    "f32.demote_f64": f32_demote_f64(a: u64) -> u32 = convert::demote(a);
    "f64.convert_i32_s": f64_convert_i32_s(a: u32) -> u64 = convert::from_i32(a as i32);
    "f64.convert_i32_u": f64_convert_i32_u(a: u32) -> u64 = convert::from_u32(a);
    "f64.convert_i64_s": f64_convert_i64_s(a: u64) -> u64 = convert::from_i64(a as i64);
    "f64.convert_i64_u": f64_convert_i64_u(a: u64) -> u64 = convert::from_u64(a);
    "f32.convert_i64_s": f32_convert_i64_s(a: u64) -> u32 = convert::from_i64_to_f32(a as i64);
    "f32.convert_i64_u": f32_convert_i64_u(a: u64) -> u32 = convert::from_u64_to_f32(a);
    "i32.trunc_sat_f64_s": i32_trunc_sat_f64_s(a: u64) -> u32 = convert::to_i32(a);
    "i32.trunc_sat_f64_u": i32_trunc_sat_f64_u(a: u64) -> u32 = convert::to_u32(a);
    "i64.trunc_sat_f64_s": i64_trunc_sat_f64_s(a: u64) -> u64 = convert::to_i64(a);
    "i64.trunc_sat_f64_u": i64_trunc_sat_f64_u(a: u64) -> u64 = convert::to_u64(a);
    "i64.trunc_sat_f32_s": i64_trunc_sat_f32_s(a: u32) -> u64 = convert::to_i64_from_f32(a);
    "i64.trunc_sat_f32_u": i64_trunc_sat_f32_u(a: u32) -> u64 = convert::to_u64_from_f32(a);
    // Below 2^31 and -2^31 - 1, 2^32 and -1, 2^63 and the next below -2^63, 2^64 and -1.
    "hindrance.i32.trunc_f64_s": hindrance_i32_trunc_f64_s(a: u64) -> u32 =
        convert::hindrance(a, 0x41e0_0000_0020_0000, 0x41e0_0000_0000_0000);
    "hindrance.i32.trunc_f64_u": hindrance_i32_trunc_f64_u(a: u64) -> u32 =
        convert::hindrance(a, 0x3ff0_0000_0000_0000, 0x41f0_0000_0000_0000);
    "hindrance.i64.trunc_f64_s": hindrance_i64_trunc_f64_s(a: u64) -> u32 =
        convert::hindrance(a, 0x43e0_0000_0000_0001, 0x43e0_0000_0000_0000);
    "hindrance.i64.trunc_f64_u": hindrance_i64_trunc_f64_u(a: u64) -> u32 =
        convert::hindrance(a, 0x3ff0_0000_0000_0000, 0x43f0_0000_0000_0000);
    "hindrance.i64.trunc_f32_s": hindrance_i64_trunc_f32_s(a: u32) -> u32 =
        convert::hindrance_32(a, 0x5f00_0001, 0x5f00_0000);
    "hindrance.i64.trunc_f32_u": hindrance_i64_trunc_f32_u(a: u32) -> u32 =
        convert::hindrance_32(a, 0x3f80_0000, 0x5f80_0000);
    "i64.div_u": i64_div_u(a: u64, b: u64) -> u64 = words::divide(a, b);
    "i64.rem_u": i64_rem_u(a: u64, b: u64) -> u64 = a.wrapping_sub(words::divide(a, b).wrapping_mul(b));
    "i64.div_s": i64_div_s(a: u64, b: u64) -> u64 = words::divide_signed(a as i64, b as i64) as u64;
    "i64.rem_s": i64_rem_s(a: u64, b: u64) -> u64 =
        a.wrapping_sub((words::divide_signed(a as i64, b as i64) as u64).wrapping_mul(b));
    // Of operands that the translator knows more of; `normal` says what.
    "normal.f64.mul": normal_f64_mul(a: u64, b: u64) -> u64 = normal::multiply_floats(a, b);
    "by_word.f64.mul": by_word_f64_mul(a: u64, b: u64) -> u64 = normal::multiply_by_word(a, b);
    "normal.f64.div": normal_f64_div(a: u64, b: u64) -> u64 = normal::divide_floats(a, b);
    "normal.f64.add": normal_f64_add(a: u64, b: u64) -> u64 = normal::add(a, b);
    "lesser.f64.add": lesser_f64_add(a: u64, b: u64) -> u64 = normal::add_lesser(a, b);
    "small.f64.add": small_f64_add(a: u64, b: u64) -> u64 = normal::add_small(a, b);
    "to_place.f64.add": to_place_f64_add(a: u64, b: u64) -> u64 = normal::add_to_place(a, b);
    "near.f64.sub": near_f64_sub(a: u64, b: u64) -> u64 = normal::subtract_near(a, b);
    "small.f64.convert_i32_s": small_f64_convert_i32_s(a: u32) -> u64 = normal::from_small_i32(a as i32);
    "number.f64.promote_f32": number_f64_promote_f32(a: u32) -> u64 = normal::promote(a);
    "normal.f64.promote_f32": normal_f64_promote_f32(a: u32) -> u64 = normal::promote_normal(a);
    "number.f32.demote_f64": number_f32_demote_f64(a: u64) -> u32 = normal::demote(a);
    "normal.f32.demote_f64": normal_f32_demote_f64(a: u64) -> u32 = normal::demote_normal(a);
    "small.i32.trunc_sat_f64_s": small_i32_trunc_sat_f64_s(a: u64) -> u32 = normal::to_i32(a);
    "number.f64.eq": number_f64_eq(a: u64, b: u64) -> u32 = normal::equal(a, b).into();
    "number.f64.ne": number_f64_ne(a: u64, b: u64) -> u32 = (!normal::equal(a, b)).into();
    "number.f64.lt": number_f64_lt(a: u64, b: u64) -> u32 = normal::less(a, b).into();
    "number.f64.gt": number_f64_gt(a: u64, b: u64) -> u32 = normal::less(b, a).into();
    "number.f64.le": number_f64_le(a: u64, b: u64) -> u32 = normal::less_or_equal(a, b).into();
    "number.f64.ge": number_f64_ge(a: u64, b: u64) -> u32 = normal::less_or_equal(b, a).into();
}
