//! Qwen-Image-Edit: a dual-stream transformer over latents of a convolutional autoencoder, conditioned on the hidden states
//! of a Qwen2.5-VL that has seen the pictures.
