//! The text encoder of Wan: UMT5 and its tokenizer.
