//! Source lines from DWARF that was made by hand: what is plain, and what is there to do harm. Compilers' DWARF is tested with
//! guests that trap.

use std::time::{Duration, Instant};

use wavelift_translator::Module;

/// DWARF of units that all have the addresses from 1 on, and one line table for each, or fewer.
struct Dwarf {
    abbreviations: Vec<u8>,
    info: Vec<u8>,
    line: Vec<u8>,
}

/// The abbreviation of a unit with a range and a line table, with this code.
fn unit_abbreviation(code: u8) -> Vec<u8> {
    // DW_TAG_compile_unit: DW_AT_low_pc (address), DW_AT_high_pc (four bytes), DW_AT_stmt_list (offset).
    vec![code, 0x11, 0, 0x11, 0x01, 0x12, 0x06, 0x10, 0x17, 0, 0]
}

fn with_length(content: Vec<u8>) -> Vec<u8> {
    [(content.len() as u32).to_le_bytes().to_vec(), content].concat()
}

/// A unit of DWARF 4 whose line table lies at `line`.
fn unit(line: u32) -> Vec<u8> {
    let header = [&[4, 0][..], &[0; 4], &[4]].concat();
    let entry = [&[1][..], &1u32.to_le_bytes(), &10_000u32.to_le_bytes(), &line.to_le_bytes()].concat();
    with_length([header, entry].concat())
}

/// A line table of one file.
fn table(file: &str, program: &[u8]) -> Vec<u8> {
    let lengths = [0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1];
    let start = [&[1, 1, 1, 0xfb, 14, 13][..], &lengths, &[0], file.as_bytes(), &[0, 0, 0, 0, 0]].concat();
    let header = [&[4, 0][..], &with_length(start)].concat();
    with_length([&header[..], program].concat())
}

/// Line 1 from address 1 on, after `advance`.
fn program(advance: &[u8]) -> Vec<u8> {
    // Set the address; append a row; advance by 8191; end.
    [&[0, 5, 2, 1, 0, 0, 0][..], advance, &[1, 2, 0xff, 0x3f, 0, 1, 1]].concat()
}

fn simple(file: &str, advance: &[u8]) -> Dwarf {
    let abbreviations = [unit_abbreviation(1), vec![0]].concat();
    Dwarf { abbreviations, info: unit(0), line: table(file, &program(advance)) }
}

impl Dwarf {
    fn module(&self) -> Module {
        let section = |name: &str, bytes: &[u8]| {
            let text: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
            format!("(@custom \"{name}\" \"{text}\")")
        };
        let sections = [
            section(".debug_abbrev", &self.abbreviations),
            section(".debug_info", &self.info),
            section(".debug_line", &self.line),
        ];
        Module::parse(wat::parse_str(format!("(module (func nop nop) {})", sections.concat())).unwrap()).unwrap()
    }

    fn line(&self) -> Option<String> {
        let module = self.module();
        module.source_line(module.body(0).unwrap().range().end as u32 - 1).map(|line| line.to_string())
    }
}

#[test]
fn a_line_is_found() {
    assert_eq!(simple("a.c", &[]).line().as_deref(), Some("a.c:1"));
    // DW_LNS_advance_line by 41.
    assert_eq!(simple("a.c", &[3, 41]).line().as_deref(), Some("a.c:42"));
    // Line 0: the compiler's own code.
    assert_eq!(simple("a.c", &[3, 0x7f]).line(), None);
}

#[test]
fn places_outside_the_code_have_no_line() {
    let module = simple("a.c", &[]).module();
    for offset in [0, 1, module.code_section_start() as u32 - 1, module.code_section_start() as u32 + 9000, u32::MAX] {
        assert_eq!(module.source_line(offset), None, "{offset}");
    }
    assert_eq!(module.place(1), "byte offset 0x1");
}

#[test]
fn names_of_files_can_not_move_the_cursor_or_fill_the_screen() {
    assert_eq!(simple("a\x1b[2J\n.c", &[]).line().as_deref(), Some("a\u{fffd}[2J\u{fffd}.c:1"));
    let long = format!("{}/b.c", "a".repeat(5000));
    let line = simple(&long, &[]).line().unwrap();
    assert!(line.starts_with("…aaa") && line.ends_with("a/b.c:1") && line.chars().count() < 130, "{line}");
}

#[test]
fn lines_that_overflow_are_none() {
    let lowest = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f];
    assert_eq!(simple("a.c", &[&[3][..], &lowest].concat()).line(), None);
    // Beyond 32 bits.
    assert_eq!(simple("a.c", &[3, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]).line(), None);
}

#[test]
fn much_that_leads_nowhere_is_given_up() {
    // Each of many units reads a large table of abbreviations, and has a large line table without the address.
    let more = (2..200_000u32).map(|code| {
        let leb = [code as u8 | 0x80, (code >> 7) as u8 | 0x80, (code >> 14) as u8 & 0x7f];
        [&leb[..], &[0x11, 0, 0, 0]].concat()
    });
    let abbreviations = [unit_abbreviation(1), more.flatten().collect(), vec![0]].concat();
    let nothing = [vec![0, 5, 2, 0, 0, 0, 0], vec![1; 200_000], vec![0, 1, 1]].concat();
    let info: Vec<u8> = (0..10_000).flat_map(|_| unit(0)).collect();
    let small = Dwarf { abbreviations: [unit_abbreviation(1), vec![0]].concat(), info, line: table("a.c", &nothing) };
    let large = Dwarf { abbreviations, info: small.info.clone(), line: small.line.clone() };
    for dwarf in [small, large] {
        let module = dwarf.module();
        let started = Instant::now();
        let code = module.code_section_start() as u32;
        for offset in 0..2000 {
            assert_eq!(module.source_line(code + 2 + offset), None);
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    }
}

#[test]
fn attributes_without_bytes_are_counted() {
    // One entry of a byte has 60,000 attributes that take none (DW_FORM_flag_present).
    let flags = [0x3f, 0x19].repeat(60_000);
    let abbreviations = [unit_abbreviation(1), vec![2, 0x34, 0], flags, vec![0, 0], vec![0]].concat();
    let mut unit = unit(0);
    let entries = 1_000_000u32;
    unit.extend(vec![2; entries as usize]);
    let length = unit.len() as u32 - 4;
    unit[..4].copy_from_slice(&length.to_le_bytes());
    let dwarf = Dwarf { abbreviations, info: unit, line: table("a.c", &program(&[])) };
    let started = Instant::now();
    // The line itself is found; the search for what it is inlined in is given up.
    assert_eq!(dwarf.line().as_deref(), Some("a.c:1"));
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}
