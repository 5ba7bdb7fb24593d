//! Lists in one field of text, as Python, pandas and numpy write them: `[1, 2, 3]`, `[1 2 3]`, `(1, 2, 3)`, `{1, 2, 3}`.

/// The texts of the members, without blanks and quotes around them; `None` if the text is not a list.
pub(super) fn list_members(text: &str) -> Option<impl Iterator<Item = &str>> {
    let text = text.trim();
    let inner = [('[', ']'), ('(', ')'), ('{', '}')]
        .into_iter()
        .find_map(|(open, close)| text.strip_prefix(open)?.strip_suffix(close))?
        .trim();
    // Python writes a comma after the only member of a tuple.
    let inner = inner.strip_suffix(',').unwrap_or(inner);
    let has_commas = inner.contains(',');
    let by_commas = inner
        .split(',')
        .take(if has_commas { usize::MAX } else { 0 });
    let by_blanks = inner.split_whitespace();
    let by_blanks = by_blanks.take(if has_commas { 0 } else { usize::MAX });
    Some(
        by_commas
            .chain(by_blanks)
            .map(|member| plain(member.trim())),
    )
}

/// The number in a text such as `np.float64(7.5)`, which pandas writes for lists of numpy's numbers since numpy 2, or in quotes.
fn plain(text: &str) -> &str {
    let unquoted = ['"', '\'']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote));
    let number = text
        .strip_prefix("np.")
        .and_then(|text| text.strip_suffix(')'));
    let number = number.and_then(|text| text.split_once('('));
    match (unquoted, number) {
        (Some(unquoted), _) => unquoted.trim(),
        (None, Some((_, number))) => number,
        (None, None) => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_python_pandas_numpy_and_json() {
        let big = "18446744073709551615";
        for (text, members) in [
            ("[1, 2, 3]".to_owned(), vec!["1", "2", "3"]),
            ("[1 2\n 3]".to_owned(), vec!["1", "2", "3"]),
            (" ( 1,2 ,3 ) ".to_owned(), vec!["1", "2", "3"]),
            ("(1,)".to_owned(), vec!["1"]),
            ("{1, 2}".to_owned(), vec!["1", "2"]),
            ("[]".to_owned(), vec![]),
            ("[ ]".to_owned(), vec![]),
            (format!("[np.uint64({big}), np.int64(3)]"), vec![big, "3"]),
            (format!("[\"{big}\",\"3\"]"), vec![big, "3"]),
            (format!("['{big}', '3']"), vec![big, "3"]),
            ("[1,, 2]".to_owned(), vec!["1", "", "2"]),
        ] {
            let found: Vec<&str> = list_members(&text).unwrap().collect();
            assert_eq!(found, members, "{text}");
        }
        for text in ["", "1", "1, 2", "[1, 2)", "1]"] {
            assert!(list_members(text).is_none(), "{text}");
        }
    }
}
