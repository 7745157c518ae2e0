"""The configurations of benches/video.rs in diffusers and peft, CPU, f32. Prints JSON."""

import argparse
import json
import time

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from peft import LoraConfig, inject_adapter_in_model

CONFIG = dict(
    patch_size=(1, 2, 2), num_attention_heads=8, attention_head_dim=32, in_channels=48, out_channels=48, text_dim=256,
    freq_dim=256, ffn_dim=1024, num_layers=4, cross_attn_norm=True, qk_norm="rms_norm_across_heads",
)
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2"]
VAE = dict(
    base_dim=16, decoder_base_dim=16, z_dim=48, is_residual=True, patch_size=2, in_channels=12, out_channels=12,
    temperal_downsample=[False, True, True], latents_mean=[0.0] * 48, latents_std=[1.0] * 48,
    scale_factor_spatial=16, scale_factor_temporal=4,
)


def median(reps, f):
    f()
    f()
    times = []
    for _ in range(reps):
        start = time.perf_counter()
        f()
        times.append((time.perf_counter() - start) * 1e3)
    return sorted(times)[reps // 2]


def transformer(reps, found):
    for name, batch, text in (("t64", 1, 64), ("t512", 1, 512), ("b2", 2, 64)):
        torch.manual_seed(0)
        model = WanTransformer3DModel(**CONFIG)
        time_of = torch.full((batch, 5 * 14 * 8), 500.0)
        time_of[:, : 14 * 8] = 0.0
        inputs = dict(
            hidden_states=torch.randn(batch, 48, 5, 28, 16), timestep=time_of,
            encoder_hidden_states=torch.randn(batch, text, 256), return_dict=False,
        )
        target = torch.randn(batch, 48, 4, 28, 16)
        with torch.no_grad():
            found[f"{name}_forward_ms"] = median(reps, lambda: model(**inputs))
        model.requires_grad_(False)
        inject_adapter_in_model(LoraConfig(r=32, lora_alpha=32, target_modules=TARGETS), model)
        trained = [p for p in model.parameters() if p.requires_grad]

        def step():
            for parameter in trained:
                parameter.grad = None
            F.mse_loss(model(**inputs)[0][:, :, 1:], target).backward()

        found[f"{name}_lora_fwd_bwd_ms"] = median(reps, step)


def autoencoder(reps, found):
    torch.manual_seed(0)
    vae = AutoencoderKLWan(**VAE).eval()
    clip = torch.randn(1, 3, 17, 448, 256).clamp(-1, 1)
    with torch.no_grad():
        found["encode_ms"] = median(reps, lambda: vae.encode(clip))
        found["encode_first_ms"] = median(reps, lambda: vae.encode(clip[:, :, :1]))
        latent = torch.randn(1, 48, 5, 28, 16)
        found["decode_ms"] = median(reps, lambda: vae.decode(latent))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--reps", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    found = {}
    transformer(args.reps, found)
    autoencoder(-(-args.reps // 3), found)
    print(json.dumps(found))


main()
