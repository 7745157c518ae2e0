//! Values of `ftfy` 6.3.1 and Python's `html.unescape`.

use super::*;

#[test]
fn prompts_are_cleaned_as_theirs() {
    let cases = [
        ("", ""),
        ("   ", ""),
        ("A cat walks.", "A cat walks."),
        (
            "  two  spaces\t\nand lines\r\n end ",
            "two spaces and lines end",
        ),
        (
            "non\u{a0}breaking\u{2003}space\u{2028}line\u{3000}wide",
            "non breaking space line wide",
        ),
        ("a &amp; b", "a & b"),
        ("a &amp;amp; b", "a & b"),
        ("a &amp;amp;amp;amp;lt; b", "a < b"),
        ("&lt;b&gt; tags", "<b> tags"),
        ("<b>&amp;amp;amp;lt;</b>", "<b>&amp;lt;</b>"),
        (
            "first &amp;amp;amp;gt;\n<b>\nsecond &amp;amp;amp;gt;",
            "first > <b> second &amp;gt;",
        ),
        (
            "caf&eacute; &EACUTE; &NTILDE; &frac12; &FRAC12;",
            "caf\u{e9} \u{c9} \u{d1} \u{bd} \u{bd}",
        ),
        (
            "&notit; &notanentity; &semi; &#59; &#x3b;",
            "\u{ac}it; \u{ac}anentity; ; ; ;",
        ),
        ("&amp &copy 2024 &ampx", "& \u{a9} 2024 &x"),
        (
            "&#65;&#x42;&#67 &#0; &#150; &#x93;q&#x94;",
            "ABC \u{fffd} \u{2013} \"q\"",
        ),
        ("&;&#;&&amp;", "&;&#;&&"),
        ("&#38;#38;#38;lt;", "<"),
        (
            "\u{2018}curly\u{2019} \u{201c}quotes\u{201d} \u{201a}low\u{201e} \u{2bc}n",
            "'curly' \"quotes\" 'low\" 'n",
        ),
        (
            "\u{fb01}nd \u{fb02}ow o\u{fb03}ce \u{149} \u{1c4} \u{132}",
            "find flow office 'n D\u{17d} IJ",
        ),
        (
            "\u{ff26}\u{ff55}\u{ff4c}\u{ff4c} \u{ff11}\u{ff12} \u{ff76}\u{ff9e}\u{ff71} \u{ffe3}",
            "Full 12 \u{30ac}\u{30a2} \u{304}",
        ),
        (
            "red \u{1b}[31;1mtext\u{1b}[0m \u{1b}[x \u{1b}[1;",
            "red text [1;",
        ),
        (
            "bell\u{7} nul\u{0} del\u{7f} \u{feff}bom \u{fff9} \u{206a}",
            "bell nul del bom",
        ),
        (
            "e\u{301} A\u{30a} \u{1e9b}\u{323}",
            "\u{e9} \u{c5} \u{1e9b}\u{323}",
        ),
        (
            "dash \u{2014} dots \u{2026} \u{85}next \u{80} \u{91}hi\u{92} \u{81}",
            "dash \u{2014} dots \u{2026} \u{2026}next \u{20ac} 'hi' \u{81}",
        ),
        (
            "\u{6f22}\u{5b57}\u{3001}\u{304b}\u{306a}\u{3000}\u{ff08}\u{62ec}\u{5f27}\u{ff09}",
            "\u{6f22}\u{5b57}\u{3001}\u{304b}\u{306a} (\u{62ec}\u{5f27})",
        ),
        (
            "emoji \u{1f600}\u{200d}\u{1f525} \u{200b}zero",
            "emoji \u{1f600}\u{200d}\u{1f525} \u{200b}zero",
        ),
        ("100% &percnt; &nbsp;x&nbsp;", "100% % x"),
        ("\u{c}form\u{b}feed\u{1c}fs\u{1f}us", "formfeedfsus"),
        ("&#28;x&#1;y", "xy"),
        ("&lt;&amp;amp;", "<&"),
        ("tab&Tab;new&NewLine;line", "tab new line"),
        ("AT&T; R&D;", "AT&T; R&D;"),
        (
            "&AMP; &LT; &GT; &QUOT; &COPY; &TRADE;",
            "& < > \" \u{a9} \u{2122}",
        ),
        ("&nGt; &bne; &fjlig;", "\u{226b}\u{20d2} =\u{20e5} fj"),
    ];
    for (prompt, cleaned) in cases {
        assert_eq!(clean(prompt), cleaned, "{prompt:?}");
        assert!(!cleaned.starts_with(' ') && !cleaned.ends_with(' '));
    }
}

#[test]
fn wrong_encodings_stay_as_they_are() {
    assert_eq!(clean("schÃ¶n â€œso\u{201d}"), "schÃ¶n â€œso\"");
}

#[test]
fn entities_escaped_without_end_take_bounded_time() {
    let prompt = format!("&{}lt;", "amp;".repeat(50_000));
    let cleaned = clean(&prompt);
    assert!(cleaned.starts_with("&amp;") && cleaned.len() < prompt.len());
}
