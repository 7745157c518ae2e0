//! A random UMT5 and a tokenizer of words, with the files of real ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use burn::tensor::TensorData;
use serde_json::{Value, json};
use vtb_nn::checkpoint::{MemorySource, save_safetensors};
use vtb_nn::random;

use crate::wan::text::{EOS, TOKENIZER, Umt5Config, Umt5Encoder};
use crate::{DiffusionError, files};

/// Settings of the tokenizer.
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// Weights.
const WEIGHTS: &str = "model.safetensors";
/// Padding, the end, what is unknown: their ids are their places.
const SPECIAL: [&str; 3] = ["<pad>", EOS, "<unk>"];
const UNKNOWN: usize = 2;
/// Stands for the space before a word.
const SPACE: char = '▁';

/// The least tokens of a vocabulary: the special ones, a space, and the visible characters of ASCII.
pub const MIN_VOCAB: usize = SPECIAL.len() + 1 + 94;

/// Writes a `text_encoder` and a `tokenizer` folder, which are made if they are not there. The same corpus and seed give the
/// same bytes; every tensor has a stream of its own, named by seed and name.
///
/// The tokenizer knows at most `vocab` tokens: characters first, then words of the corpus, the most frequent first.
///
/// # Errors
/// Sizes do not go together, `vocab` is less than [`MIN_VOCAB`] or more than the embedding has rows, or a file cannot be
/// written.
pub fn write(
    encoder: &Path,
    tokenizer: &Path,
    config: &Umt5Config,
    corpus: &[String],
    vocab: usize,
    seed: u64,
) -> Result<(), DiffusionError> {
    if !(MIN_VOCAB..=config.vocab_size).contains(&vocab) {
        return Err(DiffusionError::input(format!(
            "a vocabulary of {vocab} tokens; it must lie in {MIN_VOCAB}..={}, the rows of the text encoder",
            config.vocab_size
        )));
    }
    let tensors = Umt5Encoder::tensors(config)?;
    for dir in [encoder, tokenizer] {
        fs::create_dir_all(dir).map_err(|e| DiffusionError::io(dir, e))?;
    }
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let values = values(&name, &shape, config, seed);
        (name, TensorData::new(values, shape))
    };
    let source = MemorySource::new(
        "the tiny text encoder",
        tensors.into_iter().map(tensor).collect(),
    );
    config.write(encoder)?;
    save_safetensors(encoder.join(WEIGHTS), &source, &BTreeMap::new())?;
    let pieces = pieces(corpus, vocab);
    files::write_json(&tokenizer.join(TOKENIZER), &tokenizer_file(&pieces))?;
    files::write_json(&tokenizer.join(TOKENIZER_CONFIG), &tokenizer_config())
}

/// The values of a tensor. Scores of attention are not scaled, so queries are smaller than keys by the root of a head's
/// width.
fn values(name: &str, shape: &[usize], config: &Umt5Config, seed: u64) -> Vec<f32> {
    let count = shape.iter().product();
    let root = |n: usize| 1.0 / (n as f32).sqrt();
    let deviation = match shape {
        [_] => return vec![1.0; count],
        _ if name == "shared.weight" => 1.0,
        _ if name.ends_with("relative_attention_bias.weight") => 0.5,
        [_, inputs] if name.ends_with(".q.weight") => root(*inputs) * root(config.d_kv),
        shape => root(shape.last().copied().unwrap_or(1)),
    };
    let mut values = random::normals(&mut random::named(seed, name), count);
    for value in &mut values {
        *value *= deviation;
    }
    values
}

/// Tokens with the logarithms of their shares of the corpus. A character costs more than the rarest word, so that a known word
/// is never spelled.
fn pieces(corpus: &[String], vocab: usize) -> Vec<(String, f64)> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for word in corpus.iter().flat_map(|text| text.split_whitespace()) {
        for piece in word_pieces(word) {
            *counts.entry(piece).or_default() += 1;
        }
    }
    let total = counts.values().sum::<usize>().max(1) as f64;
    let character = -total.ln() - 1.0;
    let mut pieces: Vec<(String, f64)> = SPECIAL.map(|s| (s.to_owned(), 0.0)).into();
    pieces.push((SPACE.to_string(), character));
    pieces.extend(('!'..='~').map(|c| (c.to_string(), character)));
    let others: BTreeSet<char> = counts
        .keys()
        .flat_map(|piece| piece.chars())
        .filter(|c| !c.is_ascii() && *c != SPACE)
        .collect();
    pieces.extend(others.into_iter().map(|c| (c.to_string(), character)));
    let mut words: Vec<(String, usize)> = counts
        .into_iter()
        .filter(|(piece, _)| piece.chars().count() > 1)
        .collect();
    words.sort_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
    let share = |(piece, count): (String, usize)| (piece, (count as f64 / total).ln());
    pieces.extend(words.into_iter().map(share));
    pieces.truncate(vocab);
    pieces
}

/// A word in runs of letters and digits, and single other characters; the first has the space before it.
fn word_pieces(word: &str) -> Vec<String> {
    let mut pieces = vec![SPACE.to_string()];
    let mut joins = true;
    for c in word.chars() {
        let part = c.is_alphanumeric();
        match pieces.last_mut() {
            Some(last) if joins && (part || last.ends_with(SPACE)) => last.push(c),
            _ => pieces.push(c.to_string()),
        }
        joins = part;
    }
    pieces
}

/// `tokenizer.json` as transformers saves that of a T5, without normalisation.
fn tokenizer_file(pieces: &[(String, f64)]) -> Value {
    let added: Vec<Value> = SPECIAL
        .iter()
        .enumerate()
        .map(|(id, token)| {
            let mut entry = added_token(token);
            entry["id"] = json!(id);
            entry
        })
        .collect();
    let space = json!({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": true});
    let sequence = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
    let end = json!({"SpecialToken": {"id": EOS, "type_id": 0}});
    let of_end = json!({"id": EOS, "ids": [1], "tokens": [EOS]});
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, space]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [sequence("A"), end],
            "pair": [sequence("A"), end, sequence("B"), end],
            "special_tokens": {EOS: of_end},
        },
        "decoder": space,
        "model": {"type": "Unigram", "unk_id": UNKNOWN, "vocab": pieces, "byte_fallback": false},
    })
}

fn tokenizer_config() -> Value {
    let added = SPECIAL.iter().enumerate();
    let added: serde_json::Map<String, Value> = added
        .map(|(id, token)| (id.to_string(), added_token(token)))
        .collect();
    json!({
        "tokenizer_class": "T5Tokenizer",
        "added_tokens_decoder": added,
        "additional_special_tokens": [],
        "extra_ids": 0,
        "pad_token": SPECIAL[0],
        "eos_token": EOS,
        "unk_token": SPECIAL[UNKNOWN],
        "clean_up_tokenization_spaces": false,
        "model_max_length": crate::wan::TEXT_LEN,
    })
}

fn added_token(token: &str) -> Value {
    json!({
        "content": token, "lstrip": false, "normalized": false, "rstrip": false, "single_word": false,
        "special": true,
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;
    use vtb_nn::device::cpu_device;

    use super::*;
    use crate::wan::text::TextEncoder;

    fn config() -> Umt5Config {
        Umt5Config {
            vocab_size: 256,
            d_model: 32,
            d_kv: 8,
            d_ff: 64,
            num_heads: 4,
            num_layers: 2,
            ..Umt5Config::published()
        }
    }

    fn written(vocab: usize, seed: u64) -> tempfile::TempDir {
        let corpus = [
            "A red ball rolls (slowly) to the grün wall.",
            "The ball, the red ball!",
        ];
        let corpus = corpus.map(str::to_owned);
        let dir = tempfile::tempdir().unwrap();
        let [encoder, tokenizer] = ["text_encoder", "tokenizer"].map(|name| dir.path().join(name));
        write(&encoder, &tokenizer, &config(), &corpus, vocab, seed).unwrap();
        dir
    }

    fn load(dir: &tempfile::TempDir) -> Result<TextEncoder, DiffusionError> {
        let [encoder, tokenizer] = ["text_encoder", "tokenizer"].map(|name| dir.path().join(name));
        TextEncoder::load(&encoder, &tokenizer, &cpu_device(), DType::F32)
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let bytes = |dir: &tempfile::TempDir| {
            let files = [
                "text_encoder/config.json",
                "text_encoder/model.safetensors",
                "tokenizer/tokenizer.json",
                "tokenizer/tokenizer_config.json",
            ];
            files.map(|file| fs::read(dir.path().join(file)).unwrap())
        };
        let first = bytes(&written(200, 5));
        assert_eq!(bytes(&written(200, 5)), first);
        let other = bytes(&written(200, 6));
        assert_ne!(other[1], first[1]);
        assert_eq!(other[2], first[2]);
    }

    #[test]
    fn words_of_the_corpus_are_tokens_and_others_are_spelled() {
        let dir = written(200, 5);
        let encoder = load(&dir).unwrap();
        let count = |text: &str| encoder.ids(text).unwrap().len();
        assert_eq!(encoder.ids("").unwrap(), [1]);
        assert_eq!(count("The red ball"), 4);
        // The parentheses and the full stop are tokens of their own.
        assert_eq!(count("red (slowly) wall."), 1 + 3 + 2 + 1);
        assert_eq!(count("zebra"), 1 + 5 + 1);
        assert_eq!(count("grün"), 2);
        assert!(encoder.ids("漢").unwrap().contains(&(UNKNOWN as u32)));
        assert!(encoder.ids("red </s> ball").unwrap()[..3].contains(&1));
    }

    #[test]
    fn long_prompts_are_cut_before_their_end() {
        let dir = written(200, 5);
        let mut encoder = load(&dir).unwrap();
        let long = "ball ".repeat(600);
        let ids = encoder.ids(&long).unwrap();
        assert_eq!((ids.len(), ids.last()), (512, Some(&1)));
        encoder.text_len = 3;
        assert_eq!(encoder.ids(&long).unwrap(), [ids[0], ids[0], 1]);
        let states = encoder.encode(&long).unwrap();
        assert_eq!((states.rows, states.width), (3, 32));
        assert!(states.values.iter().all(|value| value.is_finite()));
        let blank = encoder.encode(" ").unwrap();
        assert_eq!((blank.rows, blank.values.len()), (1, 32));
    }

    #[test]
    fn a_vocabulary_that_does_not_fit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for vocab in [MIN_VOCAB - 1, 257] {
            let error = write(dir.path(), dir.path(), &config(), &[], vocab, 0).unwrap_err();
            assert!(error.to_string().contains("98..=256"), "{error}");
        }
        write(dir.path(), dir.path(), &config(), &[], MIN_VOCAB, 0).unwrap();
        // A tokenizer of more tokens than the encoder has rows.
        let large = written(200, 0);
        let mut small = config();
        small.vocab_size = 100;
        let encoder = large.path().join("text_encoder");
        write(&encoder, dir.path(), &small, &[], 100, 0).unwrap();
        let error = load(&large).unwrap_err();
        assert!(error.to_string().contains("two models"), "{error}");
    }
}
