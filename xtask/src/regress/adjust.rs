//! What differs between dumps of the regression database before and after a restore, by the nature of dumps.
//!
//! Some tests make child tables whose inherited columns are in another order than their parents'. A dump cannot say that, so that a restored child has its parents' order
//! (`MergeAttributes()`); PostgreSQL's own test of this kind, `002_pg_upgrade.pl`, names the same tables.

use std::fmt::Write as _;

/// Child tables whose columns come back in another order.
const REORDERED: &[&str] = &[
    "generated_stored_tests.gtestxx_4",
    "generated_virtual_tests.gtestxx_4",
    "public.test_type_diff2_c1",
    "public.test_type_diff2_c2",
];

/// Tables whose rows are therefore written in another order of columns.
const REORDERED_ROWS: &[&str] = &[
    "public.b_star",
    "public.c_star",
    "public.cc2",
    "public.d_star",
    "public.e_star",
    "public.f_star",
    "public.renamecolumnanother",
    "public.renamecolumnchild",
    "public.test_type_diff2_c1",
    "public.test_type_diff2_c2",
    "public.test_type_diff_c",
];

/// Lines shown of a difference, of each side.
const SHOWN: usize = 12;

/// The lines of a dump that must be equal: without blank ones, without the random key of `\restrict`, columns sorted where their order cannot last.
pub(super) fn adjusted(dump: &str) -> Vec<String> {
    let mut lines = dump.lines().filter(|line| {
        !line.is_empty() && !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict")
    });
    let mut out = Vec::new();
    while let Some(line) = lines.next() {
        if let Some(table) = line
            .strip_prefix("COPY ")
            .and_then(|rest| rest.split(' ').next())
            && REORDERED_ROWS.contains(&table)
        {
            let _ = lines.by_ref().find(|line| *line == "\\.");
            continue;
        }
        out.push(line.to_owned());
        if let Some(table) = line
            .strip_prefix("CREATE TABLE ")
            .and_then(|rest| rest.strip_suffix(" ("))
            && REORDERED.contains(&table)
        {
            let mut columns: Vec<String> = Vec::new();
            for line in lines.by_ref() {
                if line.starts_with(')') {
                    columns.sort();
                    out.append(&mut columns);
                    out.push(line.to_owned());
                    break;
                }
                columns.push(line.trim_end_matches(',').to_owned());
            }
        }
    }
    out
}

/// Where two dumps part, for people; `None` if they do not.
pub(super) fn first_difference(expected: &[String], found: &[String]) -> Option<String> {
    let at = expected
        .iter()
        .zip(found)
        .position(|(one, other)| one != other)
        .or_else(|| (expected.len() != found.len()).then(|| expected.len().min(found.len())))?;
    let mut text = format!("from line {at} (without blank lines):\n");
    for (sign, lines) in [('-', expected), ('+', found)] {
        let before = at.saturating_sub(3);
        for line in lines.iter().skip(before).take(SHOWN) {
            let _ = writeln!(text, "{sign} {line}");
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_last_is_left_out() {
        let one = "\\restrict abc\nCREATE TABLE public.test_type_diff2_c1 (\n    b bigint,\n    a int\n)\nINHERITS (x);\n\nCOPY public.cc2 (a, b) FROM stdin;\n1\t2\n\\.\nSELECT 1;\n";
        let other = "CREATE TABLE public.test_type_diff2_c1 (\n    a int,\n    b bigint\n)\nINHERITS (x);\nCOPY public.cc2 (b, a) FROM stdin;\n2\t1\n\\.\n\nSELECT 1;\n";
        assert_eq!(first_difference(&adjusted(one), &adjusted(other)), None);
        let third = other.replace("SELECT 1", "SELECT 2");
        let difference = first_difference(&adjusted(one), &adjusted(&third)).unwrap();
        assert!(difference.contains("- SELECT 1;") && difference.contains("+ SELECT 2;"));
        let cut = &adjusted(one)[..2];
        assert!(first_difference(&adjusted(one), cut).is_some());
    }
}
