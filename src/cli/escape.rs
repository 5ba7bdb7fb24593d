//! Text of others on a terminal: ids, tags, names, URLs and what servers say may hold characters that a terminal obeys.
//! Here they are shown by their numbers instead, as Rust writes them: `\u{1b}`.

use std::borrow::Cow;
use std::fmt::Write;

/// `text` as a part of one line: line ends are shown by their numbers, too.
pub(super) fn line(text: &str) -> Cow<'_, str> {
    escape(text, is_dangerous, |c| c.escape_default().to_string())
}

/// `text` as lines. A line end stays one where the next line is indented, as in the program's own lists: what looks like a
/// message of its own cannot come out of another one.
pub(super) fn message(text: &str) -> String {
    let mut parts = text.split("\n  ");
    let first = line(parts.next().unwrap_or_default()).into_owned();
    parts.fold(first, |all, part| all + "\n  " + &line(part))
}

/// `text`, whose line ends are the program's own.
pub(super) fn lines(text: &str) -> String {
    let escaped: Vec<_> = text.split('\n').map(line).collect();
    escaped.join("\n")
}

/// JSON text with nothing in it that a terminal obeys, which can only be in strings.
pub(super) fn json(text: &str) -> Cow<'_, str> {
    let is_dangerous = |c| c != '\n' && is_dangerous(c);
    escape(text, is_dangerous, |c| {
        let mut units = [0; 2];
        let mut escaped = String::new();
        for unit in c.encode_utf16(&mut units) {
            let _ = write!(escaped, "\\u{unit:04x}");
        }
        escaped
    })
}

fn escape(
    text: &str,
    is_dangerous: impl Fn(char) -> bool,
    escaped: impl Fn(char) -> String,
) -> Cow<'_, str> {
    if !text.contains(&is_dangerous) {
        return text.into();
    }
    let one = |c: char| match is_dangerous(c) {
        true => escaped(c),
        false => c.to_string(),
    };
    text.chars().map(one).collect()
}

/// Control characters (C0, DEL, C1), and those that turn the direction of text or end a line.
pub(super) fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061c}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "a\u{1b}]52;c;aGk=\u{7}\r\u{9b}2J\u{202e}\u{7f}b\u{e0041}";

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        let shown = line(EVIL);
        assert_eq!(
            shown,
            r"a\u{1b}]52;c;aGk=\u{7}\r\u{9b}2J\u{202e}\u{7f}b\u{e0041}"
        );
        assert_eq!(line("a\nb"), r"a\nb");
        assert_eq!(line("ä 日本 \u{5d0} `x`"), "ä 日本 \u{5d0} `x`");
        for text in [lines(EVIL), message(EVIL)] {
            assert_eq!(text, shown);
        }
    }

    #[test]
    fn a_line_end_in_an_id_makes_no_line() {
        assert_eq!(message("box a\nerror: b"), r"box a\nerror: b");
        assert_eq!(message("these:\n  a\r\n  b"), "these:\n  a\\r\n  b");
        assert_eq!(lines("a\n\tb\n"), "a\n\\tb\n");
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({EVIL: [EVIL, "\n", 1]});
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = json(&text);
        assert!(!shown.contains(|c| c != '\n' && is_dangerous(c)), "{shown}");
        let read: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(read, value);
    }
}
