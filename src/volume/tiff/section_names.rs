//! The order of the files of a stack, by the numbers in their names.
//!
//! One number of the names counts the sections, in steps of 1. Names that leave out a number are an error: a stack that is
//! closed up would be wrong after the gap, and nothing would show it.

use std::cmp::Ordering;

/// Longest number. All numbers of this length fit into 64 bits.
const MAX_NUMBER_DIGITS: usize = 19;

/// Whether `name` is the name of a TIFF file. Files that begin with a dot are not: macOS writes some beside every file.
pub(crate) fn may_be_tiff(name: &str) -> bool {
    let name = name.split('?').next().unwrap_or(name).to_lowercase();
    let suffixes = [".tif", ".tiff", ".btf", ".tf8"];
    !name.starts_with('.') && suffixes.iter().any(|suffix| name.ends_with(suffix))
}

/// Whether `name` is a pattern of names.
pub(super) fn is_pattern(name: &str) -> bool {
    name.contains('*')
}

/// Whether `name` matches `pattern`, in which `*` is any text.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return name.ends_with(part);
        }
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// A name as texts and numbers: `z012_c1` is `z`, 12, `_c`, 1.
#[derive(Debug)]
struct SplitName<'n> {
    name: &'n str,
    texts: Vec<&'n str>,
    numbers: Vec<u64>,
}

impl<'n> SplitName<'n> {
    fn new(name: &'n str) -> Self {
        // The suffix says what kind of file it is: `.tif` and `.tiff` are the same.
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let (mut texts, mut numbers) = (Vec::new(), Vec::new());
        let (mut text_start, mut at) = (0, 0);
        let bytes = stem.as_bytes();
        while at < bytes.len() {
            let digits = bytes[at..]
                .iter()
                .take_while(|b| b.is_ascii_digit())
                .count();
            // Longer ones are no numbers, but identifiers.
            if digits == 0 || digits > MAX_NUMBER_DIGITS {
                at += digits.max(1);
                continue;
            }
            texts.push(&stem[text_start..at]);
            numbers.push(stem[at..at + digits].parse().unwrap_or(0));
            at += digits;
            text_start = at;
        }
        texts.push(&stem[text_start..]);
        Self {
            name,
            texts,
            numbers,
        }
    }
}

/// Sorts the names of a stack's files by section. The error says which names do not fit.
pub(super) fn sort(names: &[String]) -> Result<Vec<String>, String> {
    const LINKS: &str = "or make a folder of links to the files, named 0000.tif, 0001.tif, ... in the order of sections";
    let mut split: Vec<SplitName<'_>> = names.iter().map(|name| SplitName::new(name)).collect();
    let Some(first) = split.first() else {
        return Ok(Vec::new());
    };
    if let Some(other) = split.iter().find(|other| other.texts != first.texts) {
        return Err(format!(
            "found the files `{}` and `{}`, whose names differ in more than numbers, expected the sections of one stack: name them with a pattern, such as `FOLDER/PREFIX*.tif|tiff:`, {LINKS}",
            first.name, other.name
        ));
    }
    let varying: Vec<usize> = { 0..first.numbers.len() }
        .filter(|i| {
            split
                .iter()
                .any(|other| other.numbers[*i] != split[0].numbers[*i])
        })
        .collect();
    let by = |i: usize| {
        move |a: &SplitName<'_>, b: &SplitName<'_>| -> Ordering { a.numbers[i].cmp(&b.numbers[i]) }
    };
    let mut orders = Vec::new();
    for i in &varying {
        split.sort_by(by(*i));
        let has_steps = split
            .windows(2)
            .all(|pair| pair[0].numbers[*i].checked_add(1) == Some(pair[1].numbers[*i]));
        if has_steps {
            let order: Vec<&str> = split.iter().map(|s| s.name).collect();
            orders.push(order);
        }
    }
    match (&orders[..], &varying[..]) {
        ([first, rest @ ..], _) if rest.iter().all(|order| order == first) => {
            Ok(first.iter().map(|name| (*name).to_owned()).collect())
        }
        (_, []) if split.len() == 1 => Ok(vec![split[0].name.to_owned()]),
        (_, [i]) => Err(gap(&mut split, *i)),
        (_, []) => Err(format!(
            "found the files `{}` and `{}` for the same section, expected one file per section: remove one of them",
            split[0].name, split[1].name
        )),
        _ => Err(format!(
            "found the files `{}` and `{}`, in which {} numbers differ, and none of them alone counts the sections in steps of 1: name the files of one stack with a pattern, such as `FOLDER/*_ch00.tif|tiff:`, {LINKS}",
            split[0].name,
            split[1].name,
            varying.len()
        )),
    }
}

/// Describes where the numbers at `i` do not increase by 1.
fn gap(split: &mut [SplitName<'_>], i: usize) -> String {
    split.sort_by(|a, b| (a.numbers[i], a.name).cmp(&(b.numbers[i], b.name)));
    let mut pairs = split.windows(2);
    let pair = pairs.find(|pair| pair[0].numbers[i].checked_add(1) != Some(pair[1].numbers[i]));
    let Some([before, after]) = pair else {
        return String::new();
    };
    let (a, b) = (before.numbers[i], after.numbers[i]);
    if a == b {
        return format!(
            "found the files `{}` and `{}` for section {a}, expected one file per section: remove one of them",
            before.name, after.name
        );
    }
    let missing = match b - a {
        2 => format!("section {} is", a + 1),
        _ => format!("sections {} to {} are", a + 1, b - 1),
    };
    format!(
        "{missing} missing between `{}` and `{}`: add files for missing sections, for example black images, or make a folder of links to the files with consecutive numbers if nothing is missing",
        before.name, after.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(names: &[&str]) -> Result<Vec<String>, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        sort(&names)
    }

    #[test]
    fn sections_are_ordered_by_number_and_not_by_text() {
        let found = sorted(&["z10.tif", "z9.tif", "z11.tif", "z8.tif"]).unwrap();
        assert_eq!(found, ["z8.tif", "z9.tif", "z10.tif", "z11.tif"]);
        let found = sorted(&["s2_08nm.TIFF", "s01_08nm.tif", "s3_08nm.tif"]).unwrap();
        assert_eq!(found, ["s01_08nm.tif", "s2_08nm.TIFF", "s3_08nm.tif"]);
        // A time beside the number of the section.
        let found = sorted(&["1_1530.tif", "0_0930.tif", "2_1610.tif"]).unwrap();
        assert_eq!(found, ["0_0930.tif", "1_1530.tif", "2_1610.tif"]);
        assert_eq!(sorted(&["only.tif"]).unwrap(), ["only.tif"]);
        let long = ["a12345678901234567890_1.tif", "a12345678901234567890_0.tif"];
        assert_eq!(sorted(&long).unwrap(), [long[1], long[0]]);
    }

    #[test]
    fn a_missing_section_is_an_error_that_names_it() {
        let e = sorted(&["z0001.tif", "z0003.tif"]).unwrap_err();
        assert!(
            e.starts_with("section 2 is missing between `z0001.tif` and `z0003.tif`"),
            "{e}"
        );
        let e = sorted(&["z1.tif", "z2.tif", "z10.tif", "z11.tif"]).unwrap_err();
        assert!(
            e.starts_with("sections 3 to 9 are missing between `z2.tif`"),
            "{e}"
        );
    }

    #[test]
    fn names_of_several_stacks_or_of_the_same_section_are_errors() {
        let e = sorted(&["z0_c0.tif", "z0_c1.tif", "z1_c0.tif", "z1_c1.tif"]).unwrap_err();
        assert!(
            e.contains("2 numbers differ") && e.contains("FOLDER/*_ch00.tif"),
            "{e}"
        );
        let e = sorted(&["a0.tif", "b0.tif"]).unwrap_err();
        assert!(
            e.contains("`a0.tif` and `b0.tif`") && e.contains("more than numbers"),
            "{e}"
        );
        for names in [
            ["z1.tif", "z01.tif", "z2.tif"],
            ["z1.tif", "z1.tiff", "z2.tif"],
        ] {
            let e = sorted(&names).unwrap_err();
            assert!(e.contains("for section 1") && e.contains(names[1]), "{e}");
        }
        assert!(
            sorted(&["z1.tif", "z01.tif"])
                .unwrap_err()
                .contains("same section")
        );
        // Two numbers that count the sections in different orders.
        let e = sorted(&["0_1.tif", "1_0.tif"]).unwrap_err();
        assert!(e.contains("2 numbers differ"), "{e}");
    }

    #[test]
    fn a_star_in_a_pattern_is_any_text() {
        for (pattern, name, expected) in [
            ("*_ch00.tif", "z1_ch00.tif", true),
            ("*_ch00.tif", "z1_ch01.tif", false),
            ("z*.tif", "z.tif", true),
            ("z*.tif", "az.tif", false),
            ("a*b*c", "aXbYbc", true),
            ("a*b*c", "aXbY", false),
            ("ab*ba", "aba", false),
            ("*", "", true),
            ("a", "ab", false),
            ("a**b", "aXb", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn tiff_files_are_known_by_their_suffix() {
        for name in ["a.tif", "a.TIFF", "a.ome.tif", "a.btf", "a.tif?token=1"] {
            assert!(may_be_tiff(name), "{name}");
        }
        for name in ["._a.tif", ".tif", "a.tif.gz", "a.png", "tif"] {
            assert!(!may_be_tiff(name), "{name}");
        }
    }
}
