"""Tiny Qwen-Image transformers and everything `diffusers` and `peft` compute with them; the noise schedules.

Run `python make_qwen_image.py`; it rewrites fixtures/qwen_image/{plain,edit,lora_files} and the scheduler's files. Keys
are listed in fixtures/README.md.
"""

import copy
import json
import math
import re

from common import FIXTURES, fresh, generator, one_thread, relative, write_json, write_tensors

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, QwenImageEditPlusPipeline, QwenImageTransformer2DModel
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus import calculate_shift
from diffusers.training_utils import _collate_lora_metadata
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file

import adapters

ROOT = FIXTURES / "qwen_image"
# The settings published with the edit models.
SCHEDULER = dict(
    num_train_timesteps=1000, shift=1.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9,
    base_image_seq_len=256, max_image_seq_len=8192, invert_sigmas=False, shift_terminal=0.02, use_karras_sigmas=False,
    use_exponential_sigmas=False, use_beta_sigmas=False, time_shift_type="exponential", stochastic_sampling=False,
)
# What older configurations do not say.
NEWER_KEYS = ("zero_cond_t", "use_additional_t_cond", "use_layer3d_rope")

MODELS = {
    "plain": dict(
        config=dict(in_channels=16, out_channels=4, num_layers=2, attention_head_dim=32, num_attention_heads=2,
                    joint_attention_dim=24, axes_dims_rope=(8, 12, 12), zero_cond_t=False),
        seed=21, shard="10GB", short_config=True,
    ),
    "edit": dict(
        config=dict(in_channels=64, out_channels=16, num_layers=3, attention_head_dim=16, num_attention_heads=4,
                    joint_attention_dim=40, axes_dims_rope=(4, 6, 6), zero_cond_t=True),
        seed=22, shard="700KB",
    ),
}

# name -> grids in packed units (target first), timesteps and text lengths of the rows
CASES = {
    "one": dict(grids=[(5, 4), (3, 6)], timesteps=[0.731], texts=[5]),
    "two": dict(grids=[(4, 3), (3, 5), (7, 2)], timesteps=[0.258], texts=[9]),
    "none": dict(grids=[(3, 7)], timesteps=[0.9874], texts=[4]),
    "pair": dict(grids=[(3, 4), (1, 5)], timesteps=[0.912, 0.305], texts=[6, 3]),
}

TWELVE = ["to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_out.0", "to_add_out", "img_mlp.net.2",
          "img_mod.1", "txt_mlp.net.2", "txt_mod.1"]
EVERY_LINEAR = (
    r"img_in|txt_in|proj_out|norm_out\.linear|time_text_embed\.timestep_embedder\.linear_[12]|transformer_blocks\.\d+\."
    r"(attn\.(to_[qkv]|add_[qkv]_proj|to_out\.0|to_add_out)|(img|txt)_(mlp\.net\.(0\.proj|2)|mod\.1))"
)
ADAPTERS = {
    "lora": dict(r=4, lora_alpha=8, target_modules=TWELVE),
    "lora_all": dict(r=2, lora_alpha=3, target_modules=EVERY_LINEAR),
}
# How far f32 may move the AdamW step (of size 1e-4). The second adapter's step is not stored.
STEP_ERROR = {"lora": 2e-7, "lora_all": 1e-5}

# Rows of the training steps: grids, entries of the training table, text lengths.
STEP = dict(grids=[(5, 4), (3, 6)], ids=[417], texts=[6])
BATCH = dict(grids=[(4, 5), (3, 3)], ids=[120, 803], texts=[7, 4])


@torch.no_grad()
def randomise(model, seed, gains=lambda name: 1.0):
    """Nothing keeps its default: norms near 1, biases near 0, matrices N(0, gain² / inputs)."""
    rng = generator(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=rng)
        if name.endswith(".gamma") or (parameter.dim() == 1 and name.endswith("weight")):
            parameter.copy_((1.0 + 0.1 * noise).clamp(min=0.5))
        elif parameter.dim() == 1:
            parameter.copy_(0.1 * noise)
        else:
            parameter.copy_(gains(name) * noise / parameter[0].numel() ** 0.5)


def build(spec):
    model = QwenImageTransformer2DModel(**spec["config"]).float().eval()
    randomise(model, spec["seed"])
    return model


def save(model, directory, spec):
    model.save_pretrained(directory, max_shard_size=spec["shard"])
    if spec.get("short_config"):
        path = directory / "config.json"
        config = json.loads(path.read_text())
        for key in NEWER_KEYS:
            config.pop(key)
        write_json(path, config, indent=2)
    again = QwenImageTransformer2DModel.from_pretrained(directory)
    if dict(again.config)["zero_cond_t"] != spec["config"]["zero_cond_t"]:
        raise ValueError("zero_cond_t does not read back")
    for name, tensor in model.state_dict().items():
        if not torch.equal(tensor, again.state_dict()[name]):
            raise ValueError(f"{name} does not read back")


def pack(latent):
    """[B, C, 1, 2h, 2w] -> [B, h*w, 4C], by the pipeline's own function."""
    batch, channels, _, height, width = latent.shape
    return QwenImageEditPlusPipeline._pack_latents(latent, batch, channels, height, width)


def unpack(tokens, grid):
    """[B, h*w, 4C] -> [B, C, 1, 2h, 2w]; the pipeline's function wants pixels."""
    return QwenImageEditPlusPipeline._unpack_latents(tokens, grid[0] * 16, grid[1] * 16, 8)


def latents(model, rng, grids, rows):
    channels = model.config.in_channels // 4
    return [torch.randn(rows, channels, 1, 2 * h, 2 * w, generator=rng) for h, w in grids]


def texts(model, rng, lengths):
    """Text states padded to one length. Padding holds large junk: a model that attends to it goes astray."""
    states = torch.randn(len(lengths), max(lengths), model.config.joint_attention_dim, generator=rng)
    mask = torch.zeros(states.shape[:2], dtype=torch.long)
    for row, length in enumerate(lengths):
        mask[row, :length] = 1
    return torch.where(mask.bool()[..., None], states, 5 * states), mask


def call(model, tokens, text, mask, timestep, grids):
    """All image tokens [B, L, C]. A mask without padding is left out, as the pipeline does."""
    return model(
        hidden_states=tokens, encoder_hidden_states=text, timestep=timestep,
        encoder_hidden_states_mask=None if bool(mask.all()) else mask,
        img_shapes=[[(1, h, w) for h, w in grids]] * tokens.shape[0], return_dict=False,
    )[0]


@torch.no_grad()
def traced(model, *args):
    """The output with what lies before it."""
    found, hooks = {}, []

    def block(i):
        def keep(_m, _i, out):
            found[f"block.{i}.text"], found[f"block.{i}.image"] = out
        return keep

    def rope(_m, _i, out):
        for name, table in zip(("image", "text"), out):
            found[f"rope.{name}.cos"], found[f"rope.{name}.sin"] = table.real, table.imag

    hooks.append(model.time_text_embed.register_forward_hook(lambda _m, _i, out: found.__setitem__("temb", out)))
    hooks.append(model.pos_embed.register_forward_hook(rope))
    hooks += [b.register_forward_hook(block(i)) for i, b in enumerate(model.transformer_blocks)]
    try:
        found["output"] = call(model, *args)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def make_case(model, name, case, rng):
    grids, rows = case["grids"], len(case["texts"])
    parts = latents(model, rng, grids, rows)
    tokens = torch.cat([pack(p) for p in parts], dim=1)
    text, mask = texts(model, rng, case["texts"])
    timestep = torch.tensor(case["timesteps"])
    found = traced(model, tokens, text, mask, timestep, grids)
    wide = traced(copy.deepcopy(model).double(), tokens.double(), text.double(), mask, timestep.double(), grids)
    target = found["output"][:, : grids[0][0] * grids[0][1]]
    meta = case | {
        "f32_rounding": {k: float((found[k] - wide[k]).abs().max()) for k in ("temb", "output")},
        "output_std": float(target.std()),
    }
    found |= {"tokens": tokens, "text": text, "timestep": timestep, "latent.target": parts[0],
              "velocity": unpack(target, grids[0])}
    found |= {f"latent.ref.{k}": p for k, p in enumerate(parts[1:])}
    if rows > 1:
        found["text_mask"] = mask
        gap = 0.0
        for row, length in enumerate(case["texts"]):
            one = slice(row, row + 1)
            alone = traced(model, tokens[one], text[one, :length], mask[one, :length], timestep[one], grids)
            found[f"alone.{row}.output"] = alone["output"]
            gap = max(gap, float((alone["output"] - found["output"][one]).abs().max()))
        if gap > 1e-5:
            raise ValueError(f"{name}: padding moves the output by {gap}")
        meta["padding_moves_output_by"] = gap
    return {f"{name}.{k}": v for k, v in found.items()}, meta


def attach(model, variant, seed):
    peft = get_peft_model(copy.deepcopy(model), LoraConfig(lora_dropout=0.0, bias="none", **ADAPTERS[variant])).eval()
    rng = generator(seed)
    with torch.no_grad():
        for name, parameter in sorted(peft.named_parameters()):
            if ".lora_" in name:
                noise = torch.randn(parameter.shape, generator=rng)
                parameter.copy_(noise * (parameter.shape[1] ** -0.5 if "lora_A" in name else 0.05))
    linears = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)]
    taken = sum(".lora_A." in n for n, _ in peft.named_parameters())
    names = ADAPTERS[variant]["target_modules"]
    expected = (
        [n for n in linears if re.fullmatch(names, n)] if isinstance(names, str)
        else [n for n in linears if n.endswith(tuple("." + t for t in names))]
    )
    if taken != len(expected) or (variant == "lora_all" and taken != len(linears)):
        raise ValueError(f"{variant} takes {taken} linears, not {len(expected)} of {len(linears)}")
    return peft


def training_rows(model, rows, table, seed):
    """Clean latents, noise, their mixture, references and texts of a training step."""
    rng = generator(seed)
    count = len(rows["ids"])
    target, *refs = latents(model, rng, rows["grids"], count)
    noise = torch.randn(target.shape, generator=rng)
    text, mask = texts(model, rng, rows["texts"])
    sigma = torch.tensor([table["sigmas"][i] for i in rows["ids"]])
    weight = torch.tensor([table["weights"][i] for i in rows["ids"]], dtype=torch.float64).float()
    mix = sigma.view(-1, 1, 1, 1, 1)
    made = {"x0": target, "noise": noise, "noisy": (1 - mix) * target + mix * noise, "text": text, "sigma": sigma,
            "weight": weight} | {f"ref.{k}": r for k, r in enumerate(refs)}
    if count > 1:
        made["text_mask"] = mask
    return made


def loss_of(peft, rows, made):
    """Mean over the rows of weight * mean((v - (noise - x0))²), v over the target only."""
    refs = [made[k] for k in sorted(made) if k.startswith("ref.")]
    tokens = torch.cat([pack(made["noisy"])] + [pack(r) for r in refs], dim=1)
    mask = made.get("text_mask", torch.ones(made["text"].shape[:2], dtype=torch.long))
    grids = rows["grids"]
    out = call(peft, tokens, made["text"], mask, made["sigma"], grids)
    velocity = unpack(out[:, : grids[0][0] * grids[0][1]], grids[0])
    each = ((velocity - (made["noise"] - made["x0"])) ** 2).flatten(1).mean(1)
    return (made["weight"] * each).mean(), velocity.detach(), each.detach()


def step(peft, rows, made):
    """Loss, gradients and values after one AdamW step; and the parameters that the loss does not depend on.

    The text that leaves the last block goes nowhere. What only it depends on has no gradient in torch, and AdamW skips
    it; the last `add_q_proj` has one of zeros, with which AdamW still decays the weight.
    """
    loss, velocity, each = loss_of(peft, rows, made)
    peft.zero_grad()
    loss.backward()
    trained = {adapters.strip(n): p for n, p in peft.named_parameters() if p.requires_grad}
    out = {"velocity": velocity, "mse": each, "loss": loss.detach().reshape(1)}
    with_grad = {n: p for n, p in trained.items() if p.grad is not None}
    out["grad_norm"] = torch.nn.utils.get_total_norm([p.grad for p in with_grad.values()]).reshape(1)
    silent = sorted(n for n, p in with_grad.items() if not p.grad.any())
    out |= {f"grad.{n}": p.grad.clone() for n, p in with_grad.items() if n not in silent}
    torch.optim.AdamW(trained.values(), lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01).step()
    out |= {f"after.{n}": p.detach().clone() for n, p in with_grad.items()}
    return out, {"no_gradient": sorted(set(trained) - set(with_grad)), "zero_gradient": silent}


def to_double(made):
    return {k: v.double() if v.is_floating_point() else v for k, v in made.items()}


def choose(model, variant, rows, made):
    """The first seed whose AdamW step any careful f32 implementation can reproduce."""
    for seed in range(300, 340):
        peft = attach(model, variant, seed)
        wide, _ = step(copy.deepcopy(peft).double(), rows, to_double(made))
        narrow, without = step(copy.deepcopy(peft), rows, made)
        errors = {
            "f32_gradient_error": max(relative(narrow[k], v) for k, v in wide.items() if k.startswith("grad.")),
            "f32_step_error": max(
                float((narrow[k] - v).abs().max()) for k, v in wide.items() if k.startswith("after.")),
        }
        if errors["f32_step_error"] < STEP_ERROR[variant]:
            return peft, narrow, without, errors
    raise ValueError("no seed gives a step that f32 determines")


def make_adapter(model, directory, variant, table, seed, cases):
    """The adapter's directory, and its training step beside it."""
    made = training_rows(model, STEP, table, seed)
    peft, out, without, meta = choose(model, variant, STEP, made)
    adapters.save(peft, directory / variant)
    kept = {"velocity", "mse", "loss", "grad_norm"}
    tensors = made | {k: v for k, v in out.items() if k in kept or k.startswith("grad.")}
    if variant == "lora" and model.config.zero_cond_t:
        tensors |= {k: v for k, v in out.items() if k.startswith("after.")}
    meta |= STEP | without | dict(
        sigma=[float(s) for s in made["sigma"]], weight=[table["weights"][i] for i in STEP["ids"]],
        trainable=sum(p.numel() for p in peft.parameters() if p.requires_grad),
        smallest_gradient=min(float(v.norm()) for k, v in out.items() if k.startswith("grad.")),
    )
    with torch.no_grad():
        name, case = "one", CASES["one"]
        args = [cases[f"{name}.{k}"] for k in ("tokens", "text")]
        args += [torch.ones(args[1].shape[:2]), cases[f"{name}.timestep"], case["grids"]]
        tensors["output.one"] = call(peft, *args)
        merged = call(copy.deepcopy(peft).merge_and_unload(), *args)
    meta["adapter_changes_output_by"] = float((tensors["output.one"] - cases["one.output"]).abs().max())
    meta["merge_error"] = float((merged - tensors["output.one"]).abs().max())
    if meta["adapter_changes_output_by"] < 0.05 or meta["smallest_gradient"] == 0.0:
        raise ValueError(f"{variant}: the adapter hardly does anything")
    write_tensors(directory / f"{variant}_step.safetensors", tensors)
    write_json(directory / f"{variant}_step.json", meta)
    return peft, meta


def make_batch(peft, model, directory, table, seed):
    """Two rows of different sigma and text length in one loss."""
    made = training_rows(model, BATCH, table, seed)
    wide, _ = step(copy.deepcopy(peft).double(), BATCH, to_double(made))
    out, without = step(copy.deepcopy(peft), BATCH, made)
    meta = BATCH | without | dict(
        sigma=[float(s) for s in made["sigma"]], weight=[table["weights"][i] for i in BATCH["ids"]],
        f32_gradient_error=max(relative(out[k], v) for k, v in wide.items() if k.startswith("grad.")),
    )
    write_tensors(directory / "lora_batch.safetensors",
                  made | {k: v for k, v in out.items() if not k.startswith("after.")})
    write_json(directory / "lora_batch.json", meta)
    return meta


def order_header(path):
    """Sort the metadata of a safetensors header: the writer keeps them in random order."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length:])


def lora_files(model, peft, cases):
    """The edit adapter as diffusers itself writes it, and read back by its pipeline."""
    directory = fresh(ROOT / "lora_files")
    mine = copy.deepcopy(model)
    mine.add_adapter(LoraConfig(lora_dropout=0.0, bias="none", **ADAPTERS["lora"]))
    values = {n.removeprefix("base_model.model."): p for n, p in peft.named_parameters() if ".lora_" in n}
    with torch.no_grad():
        for name, parameter in mine.named_parameters():
            if ".lora_" in name:
                parameter.copy_(values.pop(name))
    if values:
        raise ValueError(f"not taken over: {sorted(values)}")
    metadata = _collate_lora_metadata({"transformer": mine})
    # A set has no order of its own; a list gives the same bytes every time.
    settings = metadata["transformer_lora_adapter_metadata"]
    settings["target_modules"] = sorted(settings["target_modules"])
    QwenImageEditPlusPipeline.save_lora_weights(
        directory, transformer_lora_layers=get_peft_model_state_dict(mine), **metadata)
    order_header(directory / "pytorch_lora_weights.safetensors")
    again = copy.deepcopy(model)
    state, read = QwenImageEditPlusPipeline.lora_state_dict(
        directory, weight_name="pytorch_lora_weights.safetensors", return_lora_metadata=True, local_files_only=True)
    QwenImageEditPlusPipeline.load_lora_into_transformer(state, again, metadata=read)
    grids = CASES["one"]["grids"]
    text = cases["one.text"]
    args = (cases["one.tokens"], text, torch.ones(text.shape[:2]), cases["one.timestep"], grids)
    with torch.no_grad():
        if not torch.equal(call(again, *args), call(peft, *args)):
            raise ValueError("the file does not give the adapter's output")


def make(name, spec, table):
    directory = fresh(ROOT / name)
    model = build(spec)
    save(model, directory, spec)
    tensors, meta = {}, {}
    rng = generator(spec["seed"] + 1000)
    for case_name, case in CASES.items():
        found, meta[case_name] = make_case(model, case_name, case, rng)
        tensors |= found
    write_tensors(directory / "cases.safetensors", tensors)
    write_json(directory / "cases.json", meta)
    report = {"cases": meta}
    peft, report["lora"] = make_adapter(model, directory, "lora", table, spec["seed"] + 2000, tensors)
    if name == "edit":
        report["batch"] = make_batch(peft, model, directory, table, spec["seed"] + 3000)
        _, report["lora_all"] = make_adapter(model, directory, "lora_all", table, spec["seed"] + 4000, tensors)
        lora_files(model, peft, tensors)
    print(name, sum(p.numel() for p in model.parameters()), json.dumps(report))


def bell(timesteps):
    """Weights of the training table in float64: a bell around the middle, its ends at 0, mean 1."""
    t = np.asarray(timesteps, dtype=np.float64)
    y = np.exp(-2.0 * ((t - 500.0) / 1000.0) ** 2)
    return (1000.0 * (y - y.min()) / (y - y.min()).sum()).tolist()


def training_table(scheduler, **more):
    """A thousand entries from 1 down, shifted by the scheduler; its closing 0 is not one of them."""
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1.0 / 1000, 1000), **more)
    if len(scheduler.timesteps) != 1000:
        raise ValueError("the training table has another length")
    return dict(sigmas=scheduler.sigmas[:-1].tolist(), weights=bell(scheduler.timesteps.tolist()))


def schedules():
    scheduler = FlowMatchEulerDiscreteScheduler(**SCHEDULER)
    scheduler.save_pretrained(ROOT)
    inference = []
    for steps, tokens in [(40, 4096), (8, 1680), (50, 8192), (28, 256), (4, 48), (2, 48), (30, 12000), (1, 256)]:
        mu = calculate_shift(tokens, *(SCHEDULER[k] for k in ("base_image_seq_len", "max_image_seq_len", "base_shift",
                                                              "max_shift")))
        with np.errstate(invalid="ignore"):
            scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
        sigmas, timesteps = scheduler.sigmas.tolist(), scheduler.timesteps.tolist()
        if any(math.isnan(s) for s in sigmas):
            if steps != 1:
                raise ValueError("a schedule of several steps is not finite")
            sigmas = timesteps = None  # 0 / 0 in the stretch to the last sigma
        inference.append(dict(steps=steps, tokens=tokens, mu=mu, sigmas=sigmas, timesteps=timesteps))
    table = training_table(scheduler, mu=0.8)
    wan = training_table(FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=5.0))
    write_json(ROOT / "scheduler.json", dict(inference=inference, training=dict(mu=0.8) | table,
                                             training_wan=dict(shift=5.0) | wan), indent=None)
    return table


def main():
    ROOT.mkdir(exist_ok=True)
    table = schedules()
    for name, spec in MODELS.items():
        make(name, spec, table)
    for path in sorted(ROOT.glob("lora_files/*.safetensors")):
        print(path.name, len(load_file(path)))


if __name__ == "__main__":
    one_thread()
    main()
