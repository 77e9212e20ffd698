//! Names of functions: as linkers have them, and as programmers write them.

use std::fmt::{self, Write as _};
use std::sync::OnceLock;

use cpp_demangle::{DemangleOptions, Symbol};

/// Most bytes of a name that is demangled, and of what it comes to: some that are short come to gigabytes.
const MOST_BYTES: usize = 4096;

/// The name of a function in the name section.
#[derive(Debug)]
pub(crate) struct GivenName {
    given: String,
    /// What is shown in its place, once that was asked for.
    shown: OnceLock<Option<String>>,
}

impl GivenName {
    pub fn new(given: &str) -> GivenName {
        GivenName { given: given.to_string(), shown: OnceLock::new() }
    }

    /// As it stands there.
    pub fn given(&self) -> &str {
        &self.given
    }

    /// As it is shown: one of Rust or C++ as it is in the source, without hashes and without the types of parameters.
    pub fn shown(&self) -> &str {
        self.shown.get_or_init(|| demangled(&self.given)).as_deref().unwrap_or(&self.given)
    }
}

/// What a mangled name of Rust or C++ stands for; `None` if it is none.
fn demangled(name: &str) -> Option<String> {
    if name.len() > MOST_BYTES || !(name.starts_with("_R") || name.starts_with("_Z")) {
        return None;
    }
    let mut text = Bounded::default();
    match rustc_demangle::try_demangle(name) {
        Ok(rust) => write!(text, "{rust:#}").ok()?,
        Err(_) => {
            let options = DemangleOptions::new().no_params().no_return_type();
            Symbol::new(name).ok()?.structured_demangle(&mut text, &options).ok()?;
        }
    }
    Some(text.0).filter(|text| !text.is_empty())
}

/// Text of no more than [`MOST_BYTES`].
#[derive(Default)]
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MOST_BYTES {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_as_they_are_written() {
        for (given, shown) in [
            ("saxpy", "saxpy"),
            ("_RNvCskZkmSI9vL5J_3r1010trampoline", "r10::trampoline"),
            ("_RINvNvCskZkmSI9vL5J_3r108par_mono1kNCNvB4_4mains0_0EB4_", "r10::par_mono::k::<r10::main::{closure#2}>"),
            ("_ZN4libm4math4sinf4sinf17h0123456789abcdefE", "libm::math::sinf::sinf"),
            ("_Z5saxpyiiiPfj", "saxpy"),
            ("_ZN3geo6Matrix3detEv", "geo::Matrix::det"),
            ("_Z3addIfEvPT_i", "add<float>"),
            ("_Z", "_Z"),
            ("_Zig", "_Zig"),
            ("_Rx", "_Rx"),
        ] {
            let name = GivenName::new(given);
            assert_eq!((name.shown(), name.given()), (shown, given));
        }
    }

    #[test]
    fn names_that_come_to_much_stay_as_they_are() {
        let long = format!("_ZN1a{}E", "1b".repeat(MOST_BYTES / 2));
        assert_eq!(GivenName::new(&long).shown(), long);
        // In place of each letter there is `::` and the letter.
        let longer = format!("_ZN1a{}E", "1b".repeat(MOST_BYTES / 2 - 4));
        assert_eq!(GivenName::new(&longer).shown(), longer);
        assert_eq!(GivenName::new("_ZN1a1bE").shown(), "a::b");
    }
}
