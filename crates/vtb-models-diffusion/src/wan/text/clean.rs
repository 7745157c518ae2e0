//! Cleaning of prompts, as the published pipelines do before they cut a prompt into tokens: repair of text (the defaults of
//! the Python library `ftfy`), entities of HTML twice, and single spaces.
//!
//! Of `ftfy` this has everything but its guesses at text that was decoded with the wrong encoding ("schÃ¶n" for "schön"):
//! such text stays as it is, and should be repaired where it comes from.

use unicode_normalization::UnicodeNormalization;

/// How often text is repaired until nothing changes: entities may be escaped several times over.
const ROUNDS: usize = 16;
/// The longest name of an entity.
const ENTITY: usize = 24;

/// A prompt as it is cut into tokens. ASCII without entities only has its spaces changed.
///
/// Of entities, `&eacute;` and the like are replaced, those that end without a semicolon where HTML allows it; twice, and in
/// text without `<` as often as they are escaped. Ligatures become letters, characters of full or half width plain ones,
/// curled quotes straight ones, and the controls of Latin-1 what Windows-1252 has in their place; colours of terminals and
/// other controls vanish; accents are composed (NFC). Every run of white space, line breaks too, becomes one space, and none
/// is left at either end.
pub fn clean(prompt: &str) -> String {
    let mut text = String::with_capacity(prompt.len());
    let mut unescape = true;
    for line in prompt.split_inclusive('\n') {
        // What has tags is HTML, and its entities stand for what is meant literally: from here on.
        unescape &= !line.contains('<');
        text.push_str(&repaired(line, unescape));
    }
    for _ in 0..2 {
        let plain = htmlize::unescape(&text);
        text = plain.chars().filter(|c| !is_control(*c)).collect();
    }
    let words: Vec<&str> = text
        .split(char::is_whitespace)
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

fn repaired(line: &str, unescape: bool) -> String {
    let mut text = line.to_owned();
    for _ in 0..ROUNDS {
        let whole = if unescape {
            entities(&text)
        } else {
            text.clone()
        };
        let mut plain = String::with_capacity(whole.len());
        for c in whole.chars() {
            push_plain(c, &mut plain);
        }
        let plain = without_escapes(&plain);
        let repaired: String = plain.chars().filter(|c| !is_control(*c)).nfc().collect();
        if repaired == text {
            break;
        }
        text = repaired;
    }
    text
}

/// With entities that end in a semicolon replaced.
fn entities(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = entity_length(rest).unwrap_or(1);
        let (entity, tail) = rest.split_at(length);
        match entity_value(entity) {
            Some(value) => plain.push_str(&value),
            None => plain.push_str(entity),
        }
        rest = tail;
    }
    plain.push_str(rest);
    plain
}

/// Bytes of the entity that a text starts with: `&name;`, `&#1;` or `&#x1;`.
fn entity_length(text: &str) -> Option<usize> {
    let name = &text[1..];
    let name = name.strip_prefix('#').unwrap_or(name);
    let length = name.bytes().take_while(u8::is_ascii_alphanumeric).count();
    let ends = (1..=ENTITY).contains(&length) && name.as_bytes().get(length) == Some(&b';');
    ends.then(|| text.len() - name.len() + length + 1)
}

/// What an entity stands for; names in capitals, where HTML has only the small one, stand for the capital.
fn entity_value(entity: &str) -> Option<String> {
    let value = |entity: &str| {
        let value = htmlize::unescape(entity).into_owned();
        // Known by its beginning alone, or not at all.
        let known = !value.contains(';') || (value == ";" && !entity.starts_with("&#"));
        (entity.len() > 1 && known).then_some(value)
    };
    let capital = || {
        let unknown = htmlize::unescape(entity) == entity;
        let all_capital = entity == entity.to_ascii_uppercase();
        let value = (unknown && all_capital).then(|| value(&entity.to_ascii_lowercase()))?;
        Some(value?.to_uppercase())
    };
    value(entity).or_else(capital)
}

/// A character in its plain form.
fn push_plain(c: char, text: &mut String) {
    let c = match c {
        // HTML reads these numbers as Windows-1252 does.
        '\u{80}'..='\u{9f}' => htmlize::unescape(format!("&#{};", u32::from(c)))
            .chars()
            .next()
            .unwrap_or(c),
        c => c,
    };
    if let Some(letters) = ligature(c) {
        text.push_str(letters);
    } else if matches!(c, '\u{3000}' | '\u{ff01}'..='\u{ffef}') {
        text.extend(std::iter::once(c).nfkc());
    } else {
        text.push(match c {
            '\u{2bc}' | '\u{2018}'..='\u{201b}' => '\'',
            '\u{201c}'..='\u{201f}' => '"',
            c => c,
        });
    }
}

/// The letters of a Latin ligature, or of two letters in one character.
fn ligature(c: char) -> Option<&'static str> {
    Some(match c {
        'Ĳ' => "IJ",
        'ĳ' => "ij",
        'ŉ' => "'n",
        'Ǳ' => "DZ",
        'ǲ' => "Dz",
        'ǳ' => "dz",
        'Ǆ' => "DŽ",
        'ǅ' => "Dž",
        'ǆ' => "dž",
        'Ǉ' => "LJ",
        'ǈ' => "Lj",
        'ǉ' => "lj",
        'Ǌ' => "NJ",
        'ǋ' => "Nj",
        'ǌ' => "nj",
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' => "ſt",
        'ﬆ' => "st",
        _ => return None,
    })
}

/// Without what colours text in terminals: `ESC [`, numbers and semicolons, a letter.
fn without_escapes(text: &str) -> String {
    const START: &str = "\u{1b}[";
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(START) {
        let tail = &rest[at + START.len()..];
        let numbers = tail
            .bytes()
            .take_while(|b| b.is_ascii_digit() || *b == b';')
            .count();
        let whole = tail
            .as_bytes()
            .get(numbers)
            .is_some_and(u8::is_ascii_alphabetic);
        let kept = if whole { at } else { at + START.len() };
        plain.push_str(&rest[..kept]);
        rest = if whole { &tail[numbers + 1..] } else { tail };
    }
    plain.push_str(rest);
    plain
}

/// Characters that mean nothing in a text; those that are white space do.
fn is_control(c: char) -> bool {
    matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}')
        || matches!(c, '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}')
}

#[cfg(test)]
mod tests;
