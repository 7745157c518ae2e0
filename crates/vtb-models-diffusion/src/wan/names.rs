//! Names of tensors in the original files, as diffusers and transformers call them.
