"""The configurations of benches/diffusion.rs in diffusers and peft, CPU, f32. Prints JSON."""

import argparse
import json
import time

import torch
import torch.nn.functional as F
from diffusers import QwenImageTransformer2DModel
from peft import LoraConfig, inject_adapter_in_model

CONFIG = dict(
    patch_size=2,
    in_channels=64,
    out_channels=16,
    num_layers=4,
    attention_head_dim=32,
    num_attention_heads=8,
    joint_attention_dim=256,
    axes_dims_rope=(8, 12, 12),
)
TARGETS = [
    "to_q",
    "to_k",
    "to_v",
    "add_q_proj",
    "add_k_proj",
    "add_v_proj",
    "to_out.0",
    "to_add_out",
    "img_mlp.net.2",
    "img_mod.1",
    "txt_mlp.net.2",
    "txt_mod.1",
]


def median(reps, f):
    f()
    f()
    times = []
    for _ in range(reps):
        start = time.perf_counter()
        f()
        times.append((time.perf_counter() - start) * 1e3)
    return sorted(times)[reps // 2]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--reps", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    found = {}
    for name, batch, side in (("b1", 1, 16), ("b4", 4, 16), ("small", 1, 8)):
        torch.manual_seed(0)
        model = QwenImageTransformer2DModel(**CONFIG)
        tokens = side * side
        inputs = dict(
            hidden_states=torch.randn(batch, 2 * tokens, 64),
            encoder_hidden_states=torch.randn(batch, 32, 256),
            timestep=torch.full((batch,), 0.5),
            img_shapes=[[(1, side, side), (1, side, side)]] * batch,
            return_dict=False,
        )
        target = torch.randn(batch, tokens, 64)
        with torch.no_grad():
            found[f"{name}_forward_ms"] = median(args.reps, lambda: model(**inputs))
        model.requires_grad_(False)
        inject_adapter_in_model(LoraConfig(r=32, lora_alpha=32, target_modules=TARGETS), model)
        trained = [p for p in model.parameters() if p.requires_grad]

        def step():
            for parameter in trained:
                parameter.grad = None
            F.mse_loss(model(**inputs)[0][:, :tokens], target).backward()

        found[f"{name}_lora_fwd_bwd_ms"] = median(args.reps, step)
    print(json.dumps(found))


main()
