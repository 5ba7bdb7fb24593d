//! Text of errors and of servers' explanations, for messages of one line.

/// Most characters of a server's explanation in a message.
const MAX_CHARS: usize = 160;

/// The error with all its causes.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// A server's explanation as one short line without control characters. An XML error of a bucket is reduced to its
/// code and message. An HTML page gives an empty line.
pub(super) fn one_line(explanation: &str) -> String {
    let element = |name: &str| {
        let (_, rest) = explanation.split_once(&format!("<{name}>"))?;
        Some(rest.split_once('<')?.0)
    };
    let text = match (element("Code"), element("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        _ if explanation.trim_start().starts_with('<') => String::new(),
        _ => explanation.to_owned(),
    };
    let printable = |c: char| {
        if c.is_control() || is_format(c) {
            ' '
        } else {
            c
        }
    };
    let text: String = text.chars().map(printable).collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Whether `c` is invisible and changes how a terminal shows the characters around it.
fn is_format(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_is_reduced_to_one_short_line() {
        assert_eq!(one_line(" no,\n\tnot \u{1b}[31myou "), "no, not [31myou");
        assert_eq!(one_line("<!DOCTYPE html><html>..."), "");
        let xml = "<?xml?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
        assert_eq!(one_line(xml), "AccessDenied: Access Denied");
        assert_eq!(one_line(&"é".repeat(1000)).chars().count(), MAX_CHARS + 3);
    }
}
