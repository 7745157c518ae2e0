"""Tiny Wan 2.2 TI2V transformers, what `diffusers` and `peft` compute with them, and one under its original names.

Run `python make_wan.py`; it rewrites fixtures/wan/dit. Keys are listed in fixtures/README.md.
"""

import contextlib
import copy
import json
import re

from common import FIXTURES, fresh, generator, one_thread, relative, write_json, write_tensors

import torch
from diffusers import WanTransformer3DModel
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from diffusers.utils import logging
from peft import LoraConfig, get_peft_model

import adapters
from make_qwen_image import randomise

ROOT = FIXTURES / "wan" / "dit"
TEXT_LEN = 16
SHARED = dict(in_channels=6, out_channels=6, num_layers=2, text_dim=40, freq_dim=32, ffn_dim=160)
MODELS = {
    "plain": dict(config=SHARED | dict(num_attention_heads=4, attention_head_dim=24), seed=41),
    # Axes of 12, 10 and 10: a head that 6 does not divide.
    "odd": dict(config=SHARED | dict(num_attention_heads=2, attention_head_dim=32), seed=42),
}
# Sizes are [T, h, w] of the latent. Noise levels are multiples of 1/1024: f32 holds 1000 times any of them exactly.
CASES = {
    "picture": dict(size=(1, 8, 4), sigmas=[749 / 1024], texts=[5], clean_frames=0),
    "clip": dict(size=(3, 6, 10), sigmas=[265 / 1024], texts=[9], clean_frames=0),
    "long": dict(size=(4, 4, 10), sigmas=[1.0], texts=[1], clean_frames=1),
    "full": dict(size=(3, 8, 4), sigmas=[51 / 1024], texts=[16], clean_frames=1),
    "two": dict(size=(2, 6, 10), sigmas=[935 / 1024, 311 / 1024], texts=[7, 3], clean_frames=1),
}
TRACED = "full"
SIX = ["to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2"]
EVERY_LINEAR = (
    r"condition_embedder\.(time_embedder\.linear_[12]|text_embedder\.linear_[12]|time_proj)|proj_out|"
    r"blocks\.\d+\.(attn[12]\.(to_[qkv]|to_out\.0)|ffn\.net\.(0\.proj|2))"
)
ADAPTERS = {
    "lora": dict(r=3, lora_alpha=6, target_modules=SIX),
    "lora_all": dict(r=2, lora_alpha=3, target_modules=EVERY_LINEAR),
}
LR = 1e-3
STEP_ERROR = 1e-6  # how far f32 may move the AdamW step, whose size is LR
BATCH = dict(size=(3, 6, 4), sigmas=[815 / 1024, 402 / 1024], weights=[1.375, 0.625], texts=[6, 11], clean_frames=1)

ORIGINAL = [
    (r"condition_embedder\.text_embedder\.linear_1", "text_embedding.0"),
    (r"condition_embedder\.text_embedder\.linear_2", "text_embedding.2"),
    (r"condition_embedder\.time_embedder\.linear_1", "time_embedding.0"),
    (r"condition_embedder\.time_embedder\.linear_2", "time_embedding.2"),
    (r"condition_embedder\.time_proj", "time_projection.1"),
    (r"^scale_shift_table", "head.modulation"),
    (r"^proj_out", "head.head"),
    (r"scale_shift_table", "modulation"),
    (r"attn1", "self_attn"),
    (r"attn2", "cross_attn"),
    (r"to_([qkv])\.", r"\1."),
    (r"to_out\.0", "o"),
    (r"\bnorm2\b", "norm3"),
    (r"ffn\.net\.0\.proj", "ffn.0"),
    (r"ffn\.net\.2", "ffn.2"),
]


def gain(name):
    if name.endswith("scale_shift_table"):
        return 8.0  # over the root of 6 or 2 widths
    return 2.0 if "time_proj" in name else 1.0


@torch.no_grad()
def build(spec):
    """Every parameter random, none at the zero or one it starts with; values that bf16 holds."""
    model = WanTransformer3DModel(**spec["config"]).float().eval()
    randomise(model, spec["seed"], gain)
    for name, parameter in model.named_parameters():
        if name.endswith(("norm_q.weight", "norm_k.weight")):
            parameter.mul_(1.4)  # attention that prefers some tokens
        parameter.copy_(parameter.bfloat16().float())
    return model


def save(model, directory):
    copy.deepcopy(model).bfloat16().save_pretrained(directory)
    again = WanTransformer3DModel.from_pretrained(directory).float()
    for name, tensor in model.state_dict().items():
        if not torch.equal(tensor, again.state_dict()[name]):
            raise ValueError(f"{name} does not read back")


def original(model):
    """The same weights under the names of the original files, checked with diffusers' own way back."""
    state, out = model.state_dict(), {}
    for name, tensor in state.items():
        for pattern, new in ORIGINAL:
            name = re.sub(pattern, new, name)
        out[name] = tensor.bfloat16()
    back = convert_wan_transformer_to_diffusers(dict(out))
    if set(back) != set(state) or not all(torch.equal(back[k].float(), v) for k, v in state.items()):
        raise ValueError("the original names do not come back")
    write_tensors(ROOT / "original.safetensors", out)
    config = model.config
    write_json(ROOT / "original_config.json", {
        "_class_name": "WanModel", "_diffusers_version": "0.33.0",
        "dim": config.num_attention_heads * config.attention_head_dim, "eps": config.eps, "ffn_dim": config.ffn_dim,
        "freq_dim": config.freq_dim, "in_dim": config.in_channels, "model_type": "ti2v",
        "num_heads": config.num_attention_heads, "num_layers": config.num_layers, "out_dim": config.out_channels,
        "text_len": TEXT_LEN,
    }, indent=2)


def inputs(case, config, rng):
    """Latents, and text states with rows of zeros behind the shorter ones."""
    rows = len(case["texts"])
    latent = torch.randn(rows, config.in_channels, *case["size"], generator=rng)
    text = torch.randn(rows, max(case["texts"]), config.text_dim, generator=rng)
    mask = torch.zeros(text.shape[:2], dtype=torch.long)
    for row, length in enumerate(case["texts"]):
        mask[row, :length] = 1
    return latent, text * mask[..., None], mask


def call(model, latent, text, sigma, clean_frames, text_len=TEXT_LEN):
    """One noise level a token: 0 in clean frames. Text is padded with zeros, and the model attends to all of it."""
    rows, _, frames, height, width = latent.shape
    timestep = (1000.0 * sigma).view(-1, 1, 1).repeat(1, frames, height * width // 4)
    timestep[:, :clean_frames] = 0.0
    padded = torch.nn.functional.pad(text, (0, 0, 0, max(text_len - text.shape[1], 0)))
    return model(hidden_states=latent, timestep=timestep.view(rows, -1), encoder_hidden_states=padded,
                 return_dict=False)[0]


class Angles(torch.nn.Module):
    """The sinusoid of the time with frequencies and angles in f64."""

    def __init__(self, channels):
        super().__init__()
        self.half = channels // 2

    def forward(self, timestep):
        omega = 10000.0 ** (-torch.arange(self.half, dtype=torch.float64) / self.half)
        angle = timestep.double()[:, None] * omega
        return torch.cat([angle.cos(), angle.sin()], dim=-1)


@contextlib.contextmanager
def no_casts():
    """Casts to f32 give f64: models cast in the middle, whatever their weights are. Yields the true cast."""
    kept = torch.Tensor.float
    torch.Tensor.float = torch.Tensor.double
    try:
        yield kept
    finally:
        torch.Tensor.float = kept


@contextlib.contextmanager
def wide(model, angles=False):
    """A copy in f64; the angles of the time stay those of f32 unless asked for."""
    double = copy.deepcopy(model).double()
    embedder = (double.base_model.model if hasattr(double, "peft_config") else double).condition_embedder
    table = embedder.timesteps_proj
    with no_casts() as narrow:

        class Narrow(torch.nn.Module):
            def forward(self, timestep):
                torch.Tensor.float = narrow
                found = table(timestep.to(torch.float32)).double()
                torch.Tensor.float = torch.Tensor.double
                return found

        embedder.timesteps_proj = Angles(table.num_channels) if angles else Narrow()
        yield double


@torch.no_grad()
def traced(model, *args):
    """The velocity with what lies before it; of the time, one row a noise level: the sample's, then that of 0."""
    found, hooks = {}, []
    picked = [-1, 0]

    def times(_m, _i, out):
        found["time.embedding"] = out[0][0, picked]
        found["time.modulation"] = out[1][0, picked].unflatten(1, (6, -1))
        found["text.embedded"] = out[2][0]

    def rope(_m, _i, out):
        found["rope.cos"], found["rope.sin"] = out[0][0, :, 0, 0::2], out[1][0, :, 0, 1::2]

    def block(i):
        return lambda _m, _i, out: found.__setitem__(f"block.{i}", out[0])

    hooks.append(model.condition_embedder.register_forward_hook(times))
    hooks.append(model.rope.register_forward_hook(rope))
    hooks += [b.register_forward_hook(block(i)) for i, b in enumerate(model.blocks)]
    try:
        found["velocity"] = call(model, *args)
    finally:
        for hook in hooks:
            hook.remove()
    return found


@torch.no_grad()
def make_case(model, name, case, rng):
    latent, text, mask = inputs(case, model.config, rng)
    sigma, clean = torch.tensor(case["sigmas"]), case["clean_frames"]
    found = traced(model, latent, text, sigma, clean)
    velocity = found["velocity"]
    if name != TRACED:
        found = {"velocity": velocity}
    apart = {}
    for key, angles in (("f32_rounding", False), ("f64_angles_move_output_by", True)):
        with wide(model, angles) as double:
            other = call(double, latent.double(), text.double(), sigma.double(), clean)
        apart[key] = float((velocity - other).abs().max())
    unpadded = call(model, latent, text, sigma, clean, text_len=0)
    meta = case | apart | {"output_std": float(velocity.std())}
    if min(case["texts"]) < TEXT_LEN:
        meta["without_padding_off_by"] = float((unpadded - velocity).abs().max())
    found |= {"latent": latent, "text": text, "sigma": sigma}
    if len(case["texts"]) > 1:
        found["text_mask"] = mask
        alone = [call(model, latent[[i]], text[[i]], sigma[[i]], clean) for i in range(len(case["texts"]))]
        meta["batch_moves_output_by"] = float((torch.cat(alone) - velocity).abs().max())
    return {f"{name}.{k}": v for k, v in found.items()}, meta


@torch.no_grad()
def sensitivity(model, config, tensors, name="clip"):
    """What mistakes would cost: a measure for tolerances."""
    args = tensors[f"{name}.latent"], tensors[f"{name}.text"], tensors[f"{name}.sigma"], CASES[name]["clean_frames"]
    theirs, found = tensors[f"{name}.velocity"], {}

    def against(key, other):
        found[key] = float((call(other, *args) - theirs).abs().max())

    other = WanTransformer3DModel(**config, eps=1e-5).eval()
    other.load_state_dict(model.state_dict())
    against("eps_1e-5", other)
    other = copy.deepcopy(model)
    for block in other.blocks:
        block.ffn.net[0].approximate = "none"
    against("erf_gelu_in_blocks", other)
    other = copy.deepcopy(model)
    other.scale_shift_table.copy_(other.scale_shift_table.flip(1))
    against("head_scale_before_shift", other)
    return found


def attach(model, variant, seed):
    peft = get_peft_model(copy.deepcopy(model), LoraConfig(lora_dropout=0.0, bias="none", **ADAPTERS[variant])).eval()
    rng = generator(seed)
    with torch.no_grad():
        for name, parameter in sorted(peft.named_parameters()):
            if ".lora_" in name:
                noise = torch.randn(parameter.shape, generator=rng)
                parameter.copy_(noise * (parameter.shape[1] ** -0.5 if "lora_A" in name else 0.05))
    linears = sum(isinstance(m, torch.nn.Linear) for m in model.modules())
    expected = linears if variant == "lora_all" else 10 * model.config.num_layers
    if sum(".lora_A." in n for n, _ in peft.named_parameters()) != expected:
        raise ValueError(f"{variant} does not take {expected} linears")
    return peft


def training_rows(config, seed):
    """Frame 0 of the mixture is clean; the loss leaves it out."""
    rng = generator(seed)
    x0, text, mask = inputs(BATCH, config, rng)
    noise = torch.randn(x0.shape, generator=rng)
    sigma = torch.tensor(BATCH["sigmas"])
    mix = sigma.view(-1, 1, 1, 1, 1)
    noisy = (1 - mix) * x0 + mix * noise
    noisy[:, :, :BATCH["clean_frames"]] = x0[:, :, :BATCH["clean_frames"]]
    return {"x0": x0, "noise": noise, "noisy": noisy, "target": noise - x0, "text": text, "text_mask": mask,
            "sigma": sigma, "weight": torch.tensor(BATCH["weights"])}


def step(peft, made):
    """The mean over rows of weight * mean((v - target)²), both without clean frames; gradients; one AdamW step."""
    clean = BATCH["clean_frames"]
    velocity = call(peft, made["noisy"], made["text"], made["sigma"], clean)
    each = ((velocity - made["target"])[:, :, clean:] ** 2).flatten(1).mean(1)
    loss = (made["weight"] * each).mean()
    loss.backward()
    trained = {adapters.strip(n): p for n, p in peft.named_parameters() if p.requires_grad}
    out = {"velocity": velocity.detach(), "mse": each.detach(), "loss": loss.detach().reshape(1)}
    out["grad_norm"] = torch.nn.utils.get_total_norm([p.grad for p in trained.values()]).reshape(1)
    out |= {f"grad.{n}": p.grad.clone() for n, p in trained.items()}
    torch.optim.AdamW(trained.values(), lr=LR, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01).step()
    return out | {f"after.{n}": p.detach().clone() for n, p in trained.items()}


def choose(model, variant, made):
    """The first seed whose AdamW step any careful f32 implementation can reproduce."""
    for seed in range(500, 560):
        peft = attach(model, variant, seed)
        with wide(peft) as double:
            exact = step(double, {k: v.double() if v.is_floating_point() else v for k, v in made.items()})
        out = step(copy.deepcopy(peft), made)
        step_error = max(float((out[k] - v).abs().max()) for k, v in exact.items() if k.startswith("after."))
        if step_error < STEP_ERROR:
            gradient_error = max(relative(out[k], v) for k, v in exact.items() if k.startswith("grad."))
            return peft, out, {"f32_gradient_error": gradient_error, "f32_step_error": step_error}
    raise ValueError("no seed gives a step that f32 determines")


def make_adapter(model, directory, variant, seed):
    """The adapter's directory, and its training step beside it."""
    made = training_rows(model.config, seed)
    peft, out, meta = choose(model, variant, made)
    adapters.save(peft, directory / variant)
    with torch.no_grad():
        args = made["noisy"], made["text"], made["sigma"], BATCH["clean_frames"]
        off = call(model, *args)
        merged = call(copy.deepcopy(peft).merge_and_unload(), *args)
    meta = BATCH | {"lr": LR} | meta | dict(
        trainable=sum(p.numel() for p in peft.parameters() if p.requires_grad),
        smallest_gradient=min(float(v.norm()) for k, v in out.items() if k.startswith("grad.")),
        adapter_changes_output_by=float((out["velocity"] - off).abs().max()),
        merge_error=float((out["velocity"] - merged).abs().max()),
    )
    if meta["adapter_changes_output_by"] < 0.05 or meta["smallest_gradient"] == 0.0:
        raise ValueError(f"{variant}: the adapter hardly does anything")
    write_tensors(directory / f"{variant}_step.safetensors", made | out)
    write_json(directory / f"{variant}_step.json", meta)
    return meta


def main():
    fresh(ROOT)
    for name, spec in MODELS.items():
        directory = fresh(ROOT / name)
        model = build(spec)
        save(model, directory)
        tensors, cases = {}, {}
        rng = generator(spec["seed"] + 1000)
        for case_name, case in CASES.items():
            found, cases[case_name] = make_case(model, case_name, case, rng)
            tensors |= found
        meta = {"text_len": TEXT_LEN, "traced": TRACED, "cases": cases,
                "sensitivity": sensitivity(model, spec["config"], tensors)}
        write_tensors(directory / "cases.safetensors", tensors)
        write_json(directory / "cases.json", meta)
        report = {}
        if name == "plain":
            report = {variant: make_adapter(model, directory, variant, spec["seed"] + 2000) for variant in ADAPTERS}
            original(model)
        print(name, sum(p.numel() for p in model.parameters()), json.dumps([meta, report]))


if __name__ == "__main__":
    one_thread()
    logging.set_verbosity_error()
    main()
