//! Small parts of a page.

use std::fmt::Write;

/// Text as it may stand in a page, in quotes too.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            control if control.is_control() && control != '\n' => out.push('\u{fffd}'),
            plain => out.push(plain),
        }
    }
    out
}

/// A cell of a table.
pub(super) fn cell(out: &mut String, class: &str, text: &str) {
    // Writing to a string cannot fail.
    let _ = write!(out, "<td class=\"{class}\">{}</td>", escape(text));
}

/// A bar from 0 to 100 % with its interval, and a tick for each baseline.
pub(super) fn bar(out: &mut String, share: f64, [low, high]: [f64; 2], ticks: &[f64]) {
    const WIDTH: f64 = 160.0;
    let at = |share: f64| WIDTH * share.clamp(0.0, 1.0);
    let _ = write!(
        out,
        "<svg width=\"162\" height=\"14\" role=\"img\"><rect x=\"0.5\" y=\"0.5\" width=\"160\" height=\"13\" class=\"all\"/>\
         <rect x=\"0.5\" y=\"0.5\" width=\"{:.1}\" height=\"13\" class=\"bar\"/>\
         <path d=\"M{:.1} 7H{:.1}\" class=\"interval\"/>",
        at(share),
        at(low),
        at(high)
    );
    for tick in ticks {
        let _ = write!(out, "<path d=\"M{:.1} 0V14\" class=\"tick\"/>", at(*tick));
    }
    out.push_str("</svg>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_becomes_markup() {
        let hostile = "</td><script>alert('x')</script> & \"q\" \u{0}\u{1b}";
        let safe = escape(hostile);
        assert!(
            !safe.contains(['<', '>', '"', '\'', '\0', '\u{1b}']),
            "{safe}"
        );
        assert!(
            safe.starts_with("&lt;/td&gt;&lt;script&gt;") && safe.contains("&amp; &quot;q&quot;")
        );
    }
}
