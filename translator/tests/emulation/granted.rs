//! What the variants of operators take for granted of their operands, by the host's arithmetic.

/// What stands before an operator's name in that of a function for some operands only.
const VARIANTS: [&str; 7] = ["normal", "by_word", "lesser", "small", "to_place", "near", "number"];

/// The name of the operator that a function stands for.
pub fn operator(name: &str) -> &str {
    match name.split_once('.') {
        Some((prefix, operator)) if prefix == "hindrance" || VARIANTS.contains(&prefix) => operator,
        _ => name,
    }
}

/// Whether a function is one for some operands only.
pub fn is_variant(name: &str) -> bool {
    name.split_once('.').is_some_and(|(prefix, _)| VARIANTS.contains(&prefix))
}

fn is_normal(value: f64) -> bool {
    value == 0.0 || value.is_normal()
}

fn field(value: f64) -> u64 {
    value.to_bits() >> 52 & 0x7ff
}

/// The unit in a number's last place; 0 where that is not normal.
fn unit(value: f64) -> f64 {
    f64::from_bits(field(value).saturating_sub(52) << 52)
}

/// Whether a function gives its operator's result for these operands.
pub fn holds(name: &str, args: &[u64]) -> bool {
    let Some((variant, operator)) = name.split_once('.').filter(|_| is_variant(name)) else { return true };
    let narrow = f32::from_bits(args[0] as u32);
    let (x, y) = (f64::from_bits(args[0]), f64::from_bits(*args.last().unwrap()));
    let sum = x + y;
    let is_sum = is_normal(x) && is_normal(y) && is_normal(sum);
    match (variant, operator) {
        ("normal" | "by_word", "f64.mul") => {
            // A product that rounds to the least normal number may be less.
            let product = x * y;
            let is_exact = x == 0.0 || y == 0.0 || product.abs() > f64::MIN_POSITIVE;
            let is_short = variant == "normal" || args[1] & 0x1f_ffff == 0;
            is_normal(x) && is_normal(y) && is_normal(product) && is_exact && is_short
        }
        ("normal", "f64.div") => {
            let quotient = x / y;
            let is_large = x == 0.0 || quotient.abs() > 3.0 * f64::MIN_POSITIVE;
            is_normal(x) && y.is_normal() && is_normal(quotient) && is_large
        }
        ("normal", "f64.add") => is_sum,
        ("lesser", "f64.add") => is_sum && x.abs() >= y.abs(),
        ("small", "f64.add") => is_sum && x.is_normal() && x.abs() / 2.0 >= y.abs() && sum != 0.0,
        ("to_place", "f64.add") => {
            let is_small = y.abs() < unit(x) * f64::from(1 << 29);
            is_sum && is_small && x.abs() > 1e-270 && field(sum) == field(x)
        }
        ("near", "f64.sub") => {
            let (is_alike, apart) = (args[0] >> 52 == args[1] >> 52, (x - y).abs());
            x.is_normal() && is_alike && unit(x) > 0.0 && apart < unit(x) * f64::from(1 << 24)
        }
        ("small", "f64.convert_i32_s") => (args[0] as u32 as i32).unsigned_abs() <= 1 << 24,
        ("small", "i32.trunc_sat_f64_s") => x.abs() < f64::from(1u32 << 31),
        ("number", "f64.promote_f32") => narrow.is_finite(),
        ("normal", "f64.promote_f32") => narrow == 0.0 || narrow.is_normal(),
        ("number", "f32.demote_f64") => !x.is_nan(),
        ("normal", "f32.demote_f64") => x == 0.0 || x.abs() >= f64::from(f32::MIN_POSITIVE) && (x as f32).is_finite(),
        ("number", _) => !x.is_nan() && !y.is_nan(),
        other => panic!("nobody says what {other:?} takes for granted"),
    }
}
