//! What many measurements of one thing say together.

/// Times in seconds, summed up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The middle one; of an even number, the mean of the two in the middle.
    pub median: f64,
    /// Half the distance between the quartiles, relative to the median.
    pub spread: f64,
    /// How many there were.
    pub count: usize,
}

/// Sums up measurements; `None` if there are none.
pub fn summarize(times: &[f64]) -> Option<Summary> {
    if times.is_empty() {
        return None;
    }
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = quantile(&sorted, 0.5);
    let spread = (quantile(&sorted, 0.75) - quantile(&sorted, 0.25)) / 2.0 / median;
    Some(Summary { median, spread, count: times.len() })
}

/// Between neighbours the value is interpolated.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}
