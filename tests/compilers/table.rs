//! The committed table of which kernels are lifted: one row for each build of a kernel and each profile.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use wavelift::translator::Profile;

use crate::guest::{Guest, Outcome};

const HEADER: &str = "guest,compiler,level,kernel,profile,lifted,reason";

/// Which kernel of which build, lifted for which profile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub guest: String,
    pub compiler: String,
    pub level: String,
    pub kernel: String,
    pub profile: String,
}

/// For each key why the kernel was not lifted, or nothing.
pub type Table = BTreeMap<Key, Option<String>>;

/// What compiles a folder's sources.
pub fn compiler(language: &str) -> &'static str {
    match language {
        "c" => "clang",
        "cpp" => "clang++",
        "rust" => "rustc",
        "zig" => "zig",
        "assemblyscript" => "asc",
        _ => "unknown",
    }
}

/// The rows that a guest's launches on a GPU give. Kernels have the names that the guest prints.
pub fn rows(guest: &Guest, profile: Profile, outcome: &Outcome) -> Table {
    let profile = match profile {
        Profile::Vulkan => "vulkan",
        Profile::Portable => "portable",
    };
    let key = |kernel: &str| Key {
        guest: guest.name.clone(),
        compiler: compiler(&guest.language).into(),
        level: guest.level.clone(),
        kernel: kernel.into(),
        profile: profile.into(),
    };
    let kernels = outcome.stdout.lines().filter_map(|line| line.split(' ').next());
    let launches = outcome.launches.iter().flat_map(|group| (0..group.count).map(move |_| group));
    let mut rows = Table::new();
    for (kernel, launch) in kernels.zip(launches) {
        // A kernel is lifted if each of its launches was.
        let reason = rows.entry(key(kernel)).or_insert(None);
        *reason = reason.take().or_else(|| launch.fallback.as_deref().map(plain));
    }
    rows
}

/// A reason without what would end a field or a line.
fn plain(reason: &str) -> String {
    reason.replace(['\n', '\r', '"'], " ").replace(',', ";")
}

/// The rows of one build and profile.
pub fn part(table: &Table, like: &Table) -> Table {
    let same = |a: &Key, b: &Key| {
        (&a.guest, &a.compiler, &a.level, &a.profile) == (&b.guest, &b.compiler, &b.level, &b.profile)
    };
    let rows = table.iter().filter(|(key, _)| like.keys().any(|k| same(k, key)));
    rows.map(|(key, reason)| (key.clone(), reason.clone())).collect()
}

/// Where the committed table lies.
fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compilers/lifted.csv")
}

/// Reads the committed table.
///
/// # Errors
/// If there is none, or a line is no row.
pub fn read() -> Result<Table, String> {
    let text = fs::read_to_string(path()).map_err(|error| format!("{}: {error}", path().display()))?;
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return Err(format!("The table does not start with `{HEADER}`."));
    }
    lines.map(|line| parse(line).ok_or_else(|| format!("This is no row of the table: {line}"))).collect()
}

fn parse(line: &str) -> Option<(Key, Option<String>)> {
    let fields: Vec<&str> = line.split(',').collect();
    let &[guest, compiler, level, kernel, profile, lifted, reason] = fields.as_slice() else { return None };
    let [guest, compiler, level, kernel, profile] = [guest, compiler, level, kernel, profile].map(String::from);
    let reason = match (lifted, reason) {
        ("yes", "") => None,
        ("no", reason) if !reason.is_empty() => Some(reason.to_string()),
        _ => return None,
    };
    Some((Key { guest, compiler, level, kernel, profile }, reason))
}

/// Writes the table anew.
///
/// # Errors
/// If the file can't be written.
pub fn write(table: &Table) -> Result<(), String> {
    fs::write(path(), format!("{HEADER}\n{}", text(table))).map_err(|error| format!("{}: {error}", path().display()))
}

/// Rows as lines.
pub fn text(table: &Table) -> String {
    let mut text = String::new();
    for (Key { guest, compiler, level, kernel, profile }, reason) in table {
        let lifted = if reason.is_none() { "yes" } else { "no" };
        let reason = reason.as_deref().unwrap_or_default();
        let _ = writeln!(text, "{guest},{compiler},{level},{kernel},{profile},{lifted},{reason}");
    }
    text
}
