"""Tiny Qwen2.5-VL models and everything `transformers` and `peft` compute with them.

Run `python make_qwen2_5_vl.py`; it rewrites fixtures/qwen2_5_vl. Keys are listed in fixtures/README.md.

`mm_token_type_ids` goes with every call that holds pictures: since transformers 5.3 the model needs it to tell pictures
from text and, unlike Qwen3-VL, silently counts plain 1-D positions without it. `check_trap` proves that it matters.
"""

import copy
import hashlib
import json

from common import FIXTURES, fresh, one_thread, relative, write_json, write_tensors

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.vision_utils import get_vision_position_ids, get_vision_window_index

import adapters
from make_preprocess import horizontal_first
from make_qwen3_vl import (
    END, IMAGE, START, VIDEO, VOCAB, batch, check_greedy, greedy, greedy_without_cache, inputs, loss_facts,
    positions, randomise, rows, token_nll,
)

ROOT = FIXTURES / "qwen2_5_vl"
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def text(hidden, mlp, layers, heads, kv, sections):
    return dict(
        vocab_size=VOCAB, hidden_size=hidden, intermediate_size=mlp, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kv, rms_norm_eps=1e-6, hidden_act="silu",
        max_position_embeddings=1024, use_sliding_window=False,
        rope_parameters=dict(rope_type="default", rope_theta=1e6, mrope_section=sections),
    )


def vision(depth, hidden, mlp, heads, window, full, out, patch):
    return dict(
        depth=depth, hidden_size=hidden, intermediate_size=mlp, num_heads=heads, patch_size=patch,
        temporal_patch_size=2, spatial_merge_size=2, in_channels=3, out_hidden_size=out, hidden_act="silu",
        window_size=window, fullatt_block_indexes=full, tokens_per_second=2,
    )


# name -> configuration, seed, grids (in patches) of the one-image and the two-image row. Windows are two merged units
# wide in `nested` and three in `flat`; no grid but 4x8 is divisible by them.
MODELS = {
    "nested": dict(
        text=text(64, 96, 3, 4, 2, [2, 3, 3]), tie=False, seed=6, adapter="lora_regex",
        vision=vision(4, 32, 48, 2, 56, [1, 3], 64, patch=14),
        one=[[1, 6, 10]], two=[[1, 4, 8], [1, 2, 6]],
    ),
    "flat": dict(
        text=text(48, 72, 3, 6, 2, [1, 2, 1]), tie=True, seed=1, flat=True, adapter="lora_list",
        vision=vision(3, 24, 40, 2, 36, [1], 48, patch=6),
        one=[[1, 8, 14]], two=[[1, 10, 4], [1, 6, 8]],
    ),
}


def gain(name):
    """Below 1 where a branch joins the residual stream, so that rounding is not amplified over layers."""
    if "merger.mlp.2" in name:
        return 0.3
    if "down_proj" in name:
        return 0.5
    if "language_model" in name and "o_proj" in name:
        return 0.25
    return 1.0


def build(spec):
    config = Qwen2_5_VLConfig(
        text_config=spec["text"] | {"tie_word_embeddings": spec["tie"]}, vision_config=spec["vision"],
        image_token_id=IMAGE, video_token_id=VIDEO, vision_start_token_id=START, vision_end_token_id=END,
        tie_word_embeddings=spec["tie"],
    )
    config._attn_implementation = "eager"
    config.dtype = "float32"
    model = Qwen2_5_VLForConditionalGeneration(config).float().eval()
    randomise(model, spec["seed"], gain)
    return model


@torch.no_grad()
def traced(model, case):
    """Forward pass with every intermediate the parity tests look at. Vision states stand in window order."""
    found, hooks = {}, []

    def keep(name):
        return lambda _m, _i, out: found.__setitem__(name, out)

    def keep_input(name):
        return lambda _m, args, kwargs: found.__setitem__(name, args[0] if args else kwargs["hidden_states"])

    visual, language = model.model.visual, model.model.language_model
    hooks.append(visual.patch_embed.register_forward_hook(keep("vision.patch_embed")))
    for i, block in enumerate(visual.blocks):
        hooks.append(block.register_forward_hook(keep(f"vision.block.{i}")))
    hooks.append(visual.register_forward_hook(lambda _m, _i, out: found.__setitem__("vision.merged", out.pooler_output)))
    for i, layer in enumerate(language.layers):
        hooks.append(layer.register_forward_pre_hook(keep_input(f"text.hidden.{i}"), with_kwargs=True))
    last = len(language.layers)
    hooks.append(language.norm.register_forward_pre_hook(keep_input(f"text.hidden.{last}"), with_kwargs=True))
    hooks.append(language.norm.register_forward_hook(keep("text.final")))
    try:
        out = model(**inputs(case), output_hidden_states=True)
    finally:
        for hook in hooks:
            hook.remove()
    if not torch.equal(out.hidden_states[-1], found["text.final"]):
        raise ValueError("the last hidden state is not the one after the final norm")
    found["logits"] = out.logits
    return {k: v[0] if k.startswith(("text.", "logits")) else v for k, v in found.items()}


@torch.no_grad()
def windows(model, case):
    """Order of merged units, patch boundaries of windows, and the rotary tables in window order."""
    visual, grid = model.model.visual, case["image_grid_thw"]
    index, bounds = get_vision_window_index(grid, 2, visual.window_size, visual.patch_size, kwargs={})
    patches = torch.zeros(int(grid.prod(-1).sum()), 1)
    tables = visual.rotary_pos_emb(patches, get_vision_position_ids(grid, 2, kwargs={}))
    cos, sin = (visual.permute_input_for_window_attn(t, index, seq_len=len(patches)) for t in tables)
    return {"vision.window_index": index, "vision.window_bounds": bounds.long(), "vision.cos": cos, "vision.sin": sin}


def check_trap(model, case, logits):
    """Without the token types the same call gives other logits: those of 1-D positions."""
    plain = inputs(case)
    del plain["mm_token_type_ids"]
    with torch.no_grad():
        gap = float((model(**plain).logits[0] - logits).abs().max())
    if gap < 1e-3:
        raise ValueError("token types make no difference: are the positions 3-D at all?")
    return gap


def make_cases(model, spec, cases, together):
    out, meta = {}, {"cases": list(cases), "greedy_margin": {}, "logits_without_token_types_off_by": {}}
    for name, case in cases.items():
        found = traced(model, case)
        if "image_grid_thw" in case:
            found |= windows(model, case)
            found |= {"pixel_values": case["pixel_values"], "grid_thw": case["image_grid_thw"]}
            ids, delta = positions(model, case)
            found |= {"position_ids": ids[:, 0], "rope_delta": delta[0]}
            meta["logits_without_token_types_off_by"][name] = check_trap(model, case, found["logits"])
        else:
            length = case["input_ids"].shape[1]
            found |= {"position_ids": torch.arange(length).expand(3, -1), "rope_delta": torch.zeros(1).long()}
        found |= {"input_ids": case["input_ids"][0], "labels": case["labels"][0]}
        ids, logits = greedy(model, case)
        meta["greedy_margin"][name] = check_greedy(f"{spec['seed']} {name}", ids, logits)
        if not torch.equal(ids, greedy_without_cache(model, case)):
            raise ValueError("cached and uncached greedy ids differ")
        found |= {"greedy.ids": ids[0]}
        out |= {f"{name}.{k}": v for k, v in found.items()}

    with torch.no_grad():
        logits = model(**inputs(together)).logits
    mask = together["attention_mask"].bool()
    for i, name in enumerate(cases):
        gap = float((logits[i][mask[i]] - out[f"{name}.logits"]).abs().max())
        if gap > 1e-4:
            raise ValueError(f"padding changes the logits of {name} by {gap}")
    return out, meta


def measure_rounding(model, case):
    """How far f32 is from f64 here: a floor for any tolerance."""
    wide, narrow = traced(copy.deepcopy(model).double(), case), traced(model, case)
    return {
        k: float((wide[k].double() - narrow[k].double()).abs().max())
        for k in narrow if k.startswith("text.") or k in ("logits", "vision.merged")
    }


def full_gradients(model, cases, together):
    """Loss and gradient of every parameter."""
    model, wide = copy.deepcopy(model), copy.deepcopy(model).double()
    total, count = token_nll(model(**inputs(together)).logits, together["labels"])
    (total / count).backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters()}
    sum(token_nll(wide(**inputs(c)).logits, c["labels"])[0] / count for c in cases.values()).backward()
    worst = max(relative(grads[n], p.grad) for n, p in wide.named_parameters())
    return {"loss": (total / count).detach().reshape(1)} | {f"grad.{n}": g for n, g in grads.items()}, worst


def layout(names):
    """Which of the two sets of names a file uses."""
    if any(n.startswith("model.language_model.") for n in names):
        return "model.visual, model.language_model"
    return "visual, model"


def save(model, directory, spec):
    """As this version writes it, or in the spelling of published files: flat configuration, short tensor names."""
    model.save_pretrained(directory)
    (directory / "generation_config.json").unlink(missing_ok=True)
    weights = directory / "model.safetensors"
    tensors = load_file(weights)
    if spec.get("flat"):
        short = {n.replace("model.visual.", "visual.").replace("model.language_model.", "model."): t
                 for n, t in tensors.items()}
        save_file(short, str(weights), metadata={"format": "pt"})
        flatten(directory / "config.json")
    else:
        long = {}
        for n, t in tensors.items():
            if n.startswith("visual."):
                n = "model." + n
            elif n.startswith("model.") and not n.startswith(("model.visual.", "model.language_model.")):
                n = n.replace("model.", "model.language_model.", 1)
            long[n] = t
        save_file(long, str(weights), metadata={"format": "pt"})
    again = Qwen2_5_VLForConditionalGeneration.from_pretrained(directory, attn_implementation="eager").state_dict()
    for name, tensor in model.state_dict().items():
        if not torch.equal(tensor, again[name]):
            raise ValueError(f"{name} does not read back from the rewritten files")
    return layout(tensors)


def flatten(path):
    """The published spelling: text settings at the root, `rope_scaling` of type `mrope`, `in_chans`, `torch_dtype`."""
    config = json.loads(path.read_text())
    inner, outer = config.pop("text_config"), config["vision_config"]
    rope = inner.pop("rope_parameters")
    for key in ("model_type", "layer_types", "dtype"):
        inner.pop(key, None)
    config = inner | config
    config["rope_theta"] = rope["rope_theta"]
    config["rope_scaling"] = dict(type="mrope", mrope_section=rope["mrope_section"])
    config["sliding_window"], config["max_window_layers"] = 32768, 3
    config["torch_dtype"] = config.pop("dtype")
    for key in ("rope_parameters", "model_type", "dtype", "initializer_range"):
        outer.pop(key, None)
    outer["in_chans"] = outer.pop("in_channels")
    outer["spatial_patch_size"] = outer["patch_size"]
    write_json(path, config, indent=2)


def make(name, spec):
    directory = fresh(ROOT / name)
    model = build(spec)
    written = save(model, directory, spec)

    cases = rows(spec)
    together = batch(cases)
    tensors, meta = make_cases(model, spec, cases, together)
    meta["layout_this_version_writes"] = written
    write_tensors(directory / "cases.safetensors", tensors)
    meta["f32_rounding"] = measure_rounding(model, cases["image2"])
    meta["loss"] = loss_facts(model, cases, together)
    if name == "flat":
        grads, meta["full_gradient_error"] = full_gradients(model, cases, together)
        write_tensors(directory / "full_gradients.safetensors", grads)
    variant = spec["adapter"]
    meta[variant] = adapters.make(model, directory, variant, name, cases, together, inputs, token_nll)
    write_json(directory / "cases.json", meta)
    print(name, sum(p.numel() for p in model.parameters()), json.dumps(meta))


def preprocess():
    """Pictures of fixtures/preprocess with the published settings of this family."""
    settings = dict(min_pixels=3136, max_pixels=12845056)
    made = Qwen2VLImageProcessorPil(
        size=dict(shortest_edge=settings["min_pixels"], longest_edge=settings["max_pixels"]), patch_size=14,
        temporal_patch_size=2, merge_size=2, image_mean=MEAN, image_std=STD,
    )
    cases = []
    for source in ("blocks_100x170", "blocks_224x224", "noise_33x200", "noise_96x96", "gradient_300x40"):
        image = Image.open(FIXTURES / "preprocess" / f"{source}.png").convert("RGB")
        out = made(images=[image], return_tensors="np")
        pixels = np.ascontiguousarray(out["pixel_values"], dtype="<f4")
        grid = out["image_grid_thw"][0].tolist()
        height, width = grid[1] * 14, grid[2] * 14
        picture = horizontal_first(image, height, width)
        again = made(images=[Image.fromarray(picture)], return_tensors="np")["pixel_values"]
        if again.shape != pixels.shape or not np.array_equal(again, pixels):
            raise ValueError(f"{source}: the order of Pillow's passes shows, choose another picture")
        cases.append(dict(
            source=f"{source}.png", resized=[height, width], grid_thw=grid, tokens=grid[1] * grid[2] // 4,
            patches_sha256=hashlib.sha256(pixels.tobytes()).hexdigest(),
            rows={str(r): pixels[r, ::97].tolist() for r in (0, 3, len(pixels) - 1)},
        ))
    write_json(ROOT / "preprocess.json", settings | dict(mean=MEAN, std=STD, row_stride=97, cases=cases), indent=None)


if __name__ == "__main__":
    one_thread()
    for name, spec in MODELS.items():
        make(name, spec)
    preprocess()
