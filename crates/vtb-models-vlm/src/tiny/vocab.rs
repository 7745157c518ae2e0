//! A small real byte-level BPE tokenizer with the added tokens of Qwen3-VL.

use std::path::Path;

use serde_json::{Map, Value, json};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

use crate::VlmError;
use crate::config::VisionIds;
use crate::files;

/// Special tokens, in the order of their ids: left out of decoded text.
pub const SPECIAL_TOKENS: [&str; 14] = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
];

/// Tokens after the special ones: single ids too, but part of the text.
pub const ADDED_TOKENS: [&str; 12] = [
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
];

const BYTES: usize = 256;
const ADDED: usize = SPECIAL_TOKENS.len() + ADDED_TOKENS.len();

/// The smallest vocabulary: every byte and every added token.
pub const MIN_VOCAB: usize = BYTES + ADDED;

/// How the Qwen tokenizers cut text before merging: contractions, words, single digits, punctuation, space.
const PIECES: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Whether `vocab_size` rows hold every byte and added token.
pub(super) fn check_size(vocab_size: usize) -> Result<(), VlmError> {
    if vocab_size >= MIN_VOCAB {
        return Ok(());
    }
    Err(VlmError::Config(format!(
        "a vocabulary of {vocab_size} has no room for 256 bytes and the added tokens; the least is {MIN_VOCAB}"
    )))
}

/// Rows for bytes and merges in a vocabulary of `vocab_size` rows.
pub(super) fn base_size(vocab_size: usize) -> usize {
    vocab_size.saturating_sub(ADDED)
}

/// Id of an added token: they follow the `base` ids of bytes and merges, as in published models.
fn id_of(token: &str, base: usize) -> u32 {
    let place = SPECIAL_TOKENS
        .iter()
        .chain(&ADDED_TOKENS)
        .position(|t| *t == token);
    (base + place.unwrap_or_default()) as u32
}

/// Ids of the vision tokens.
pub(super) fn vision_ids(base: usize) -> VisionIds {
    VisionIds {
        image: id_of("<|image_pad|>", base),
        video: id_of("<|video_pad|>", base),
        vision_start: id_of("<|vision_start|>", base),
        vision_end: id_of("<|vision_end|>", base),
    }
}

/// Ids of `<|im_end|>` and `<|endoftext|>`.
pub(super) fn end_ids(base: usize) -> [u32; 2] {
    [id_of("<|im_end|>", base), id_of("<|endoftext|>", base)]
}

/// Trains on `corpus`, writes `tokenizer.json` and `tokenizer_config.json`, and returns the number of ids before
/// the added tokens.
pub(super) fn write_tokenizer(
    dir: &Path,
    corpus: &[String],
    vocab_size: usize,
    max_positions: usize,
) -> Result<usize, VlmError> {
    let path = dir.join(files::TOKENIZER);
    let fail = |e: tokenizers::Error| VlmError::Tokenizer {
        origin: path.display().to_string(),
        message: e.to_string(),
    };
    let mut tokenizer = train(corpus, base_size(vocab_size)).map_err(fail)?;
    let base = tokenizer.get_vocab_size(false);
    let added = |token: &&str, special| AddedToken::from(*token, special).normalized(false);
    let special: Vec<_> = SPECIAL_TOKENS
        .iter()
        .map(|token| added(token, true))
        .collect();
    let plain: Vec<_> = ADDED_TOKENS
        .iter()
        .map(|token| added(token, false))
        .collect();
    tokenizer.add_special_tokens(&special);
    tokenizer.add_tokens(&plain);
    files::write_text(&path, &tokenizer.to_string(true).map_err(fail)?)?;
    let config = tokenizer_config(base, max_positions);
    files::write_json(&dir.join(files::TOKENIZER_CONFIG), &config)?;
    Ok(base)
}

fn train(corpus: &[String], size: usize) -> tokenizers::Result<Tokenizer> {
    let mut tokenizer = Tokenizer::new(BPE::default());
    let pattern = SplitPattern::Regex(PIECES.to_owned());
    let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?;
    let bytes = ByteLevel::new(false, false, false);
    tokenizer
        .with_normalizer(Some(NFC))
        .with_pre_tokenizer(Some(Sequence::new(vec![split.into(), bytes.into()])))
        .with_decoder(Some(bytes));
    let mut trainer: TrainerWrapper = BpeTrainer::builder()
        .vocab_size(size)
        .min_frequency(2)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .show_progress(false)
        .build()
        .into();
    // Every conversation holds the roles, so they are as frequent as the texts.
    let texts = corpus.iter().map(String::as_str);
    let roles = corpus
        .iter()
        .flat_map(|_| ["system\n", "user\n", "assistant\n"]);
    tokenizer.train(&mut trainer, texts.chain(roles))?;
    Ok(tokenizer)
}

fn tokenizer_config(base: usize, max_positions: usize) -> Value {
    let added: Map<String, Value> = SPECIAL_TOKENS
        .iter()
        .chain(&ADDED_TOKENS)
        .enumerate()
        .map(|(i, token)| {
            let entry = json!({
                "content": token, "lstrip": false, "normalized": false, "rstrip": false,
                "single_word": false, "special": i < SPECIAL_TOKENS.len(),
            });
            ((base + i).to_string(), entry)
        })
        .collect();
    // All but the first and third, which have names of their own.
    let extra = [&SPECIAL_TOKENS[1..2], &SPECIAL_TOKENS[3..]].concat();
    json!({
        "tokenizer_class": "Qwen2Tokenizer",
        "processor_class": "Qwen3VLProcessor",
        "added_tokens_decoder": added,
        "additional_special_tokens": extra,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": null,
        "bos_token": null,
        "add_bos_token": false,
        "add_prefix_space": false,
        "clean_up_tokenization_spaces": false,
        "split_special_tokens": false,
        "errors": "replace",
        "model_max_length": max_positions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::ModelDir;
    use crate::tokenizer::Tokenizer as Ours;

    fn corpus() -> Vec<String> {
        (0..40)
            .map(|i| format!("Which colour has cell {i}? Answer with one of A, B, C."))
            .collect()
    }

    #[test]
    fn the_same_corpus_gives_the_same_bytes_on_any_number_of_threads() {
        let write = |threads: usize| {
            let dir = tempfile::tempdir().unwrap();
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| write_tokenizer(dir.path(), &corpus(), 400, 512))
                .unwrap();
            std::fs::read(dir.path().join(files::TOKENIZER)).unwrap()
        };
        let first = write(1);
        for threads in [1, 2, 3, 4] {
            assert_eq!(write(threads), first);
        }
    }

    #[test]
    fn added_tokens_follow_the_merges_and_texts_survive() {
        let dir = tempfile::tempdir().unwrap();
        let base = write_tokenizer(dir.path(), &corpus(), 400, 512).unwrap();
        let tokenizer = Ours::from_dir(&ModelDir::open(dir.path()).unwrap()).unwrap();
        assert_eq!(tokenizer.size(), base + ADDED);
        assert!(tokenizer.size() <= 400);
        assert_eq!(
            tokenizer.token_id("<|image_pad|>"),
            Some(vision_ids(base).image)
        );
        assert_eq!([tokenizer.im_end(), tokenizer.end_of_text()], end_ids(base));
        for text in [
            "Which colour has cell 7?",
            "ünï¢ødé ☃ 漢字\n\t x",
            "",
            "<|im_end|><think>a",
        ] {
            let ids = tokenizer.encode(text).unwrap();
            assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
        }
        let ids = tokenizer
            .encode("<|im_start|>user<think></think><|im_end|>")
            .unwrap();
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), "user<think></think>");
        assert!(tokenizer.encode("Which colour has cell").unwrap().len() < 12);
    }

    #[test]
    fn an_empty_corpus_leaves_bytes() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            write_tokenizer(dir.path(), &[], MIN_VOCAB, 512).unwrap(),
            BYTES
        );
    }
}
