//! The spelling alphabet: a code word stands for its first letter.

const CODE_WORDS: [&str; 26] = [
    "alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett",
    "kilo", "lima", "mike", "november", "oscar", "papa", "quebec", "romeo", "sierra", "tango",
    "uniform", "victor", "whiskey", "xray", "yankee", "zulu",
];
const VARIANTS: [&str; 3] = ["alfa", "juliet", "whisky"];

/// Letter (lower case) of a code word in lower case.
pub(super) fn letter_of(word: &str) -> Option<char> {
    let known = CODE_WORDS.contains(&word) || VARIANTS.contains(&word);
    word.chars().next().filter(|_| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_give_their_letter() {
        assert_eq!(letter_of("bravo"), Some('b'));
        assert_eq!(letter_of("alfa"), Some('a'));
        assert_eq!(letter_of("alphabet"), None);
        let letters: Vec<_> = CODE_WORDS
            .iter()
            .filter_map(|word| letter_of(word))
            .collect();
        assert!(letters.iter().copied().eq('a'..='z'));
    }
}
