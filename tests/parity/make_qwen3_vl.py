"""Tiny Qwen3-VL models and everything `transformers` and `peft` compute with them.

Run `python make_qwen3_vl.py`; it rewrites fixtures/qwen3_vl. Keys are listed in fixtures/README.md.
"""

import copy
import json

from common import FIXTURES, fresh, generator, one_thread, relative, write_json, write_tensors

import torch
from torch.nn.functional import cross_entropy
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration
from transformers.vision_utils import (
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
)

import adapters

VOCAB, START, END, IMAGE, VIDEO = 300, 288, 289, 290, 291
PLAIN = 280  # ids below this are ordinary text


def text(hidden, mlp, layers, heads, kv, head_dim, sections, theta=5e6):
    return dict(
        vocab_size=VOCAB, hidden_size=hidden, intermediate_size=mlp, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kv, head_dim=head_dim, rms_norm_eps=1e-6,
        hidden_act="silu", max_position_embeddings=1024, attention_bias=False,
        rope_parameters=dict(rope_type="default", rope_theta=theta, mrope_interleaved=True,
                             mrope_section=sections),
    )


def vision(depth, hidden, mlp, heads, table, deepstack, out, patch=16):
    return dict(
        depth=depth, hidden_size=hidden, intermediate_size=mlp, num_heads=heads, patch_size=patch,
        temporal_patch_size=2, spatial_merge_size=2, in_channels=3, out_hidden_size=out,
        num_position_embeddings=table, deepstack_visual_indexes=deepstack,
        hidden_act="gelu_pytorch_tanh",
    )


# name -> configuration, seed, grids (in patches) of the one-image and the two-image row
MODELS = {
    "tied": dict(
        text=text(64, 128, 4, 4, 2, 16, [4, 2, 2]), tie=True, seed=7,
        vision=vision(4, 32, 64, 2, 36, [0, 1, 2], 64),
        one=[[1, 4, 6]], two=[[1, 6, 4], [1, 2, 8]],
    ),
    "untied": dict(
        text=text(48, 80, 3, 6, 2, 24, [5, 3, 4]), tie=False, seed=5, shard="120KB",
        vision=vision(4, 24, 40, 2, 25, [1, 3], 48),
        one=[[1, 8, 4]], two=[[1, 2, 6], [1, 4, 4]],
    ),
    "hf4": dict(
        text=text(40, 72, 3, 4, 1, 16, [2, 3, 3], theta=1e6), tie=True, seed=4, old_spelling=True,
        vision=vision(3, 36, 52, 3, 64, [0, 2], 40, patch=8),
        one=[[1, 6, 10]], two=[[1, 4, 2], [1, 2, 4]],
    ),
}


def build(spec):
    config = Qwen3VLConfig(
        text_config=spec["text"] | {"tie_word_embeddings": spec["tie"]},
        vision_config=spec["vision"], image_token_id=IMAGE, video_token_id=VIDEO,
        vision_start_token_id=START, vision_end_token_id=END, tie_word_embeddings=spec["tie"],
    )
    config._attn_implementation = "eager"
    config.dtype = "float32"
    model = Qwen3VLForConditionalGeneration(config).float().eval()
    randomise(model, spec["seed"])
    return model


@torch.no_grad()
def randomise(model, seed, gains=None):
    """Nothing keeps its default: norms near 1, biases near 0, matrices of a gain near 1 (`gains` by name)."""
    gains = gains or gain
    rng = generator(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=rng)
        if name.endswith("language_model.norm.weight"):
            # signs at random: with tied weights the last token would otherwise always win
            parameter.copy_(torch.where(noise > 0, 1.0, -1.0) + 0.1 * noise)
        elif parameter.dim() == 1:
            centre = 1.0 if name.endswith("weight") else 0.0
            parameter.copy_(centre + 0.1 * noise)
        elif name.endswith("embed_tokens.weight"):
            parameter.copy_(0.2 * noise)
        elif name.endswith("pos_embed.weight"):
            parameter.copy_(0.5 * noise)
        elif name == "lm_head.weight":
            parameter.copy_(2.5 * noise / parameter.shape[1] ** 0.5)
        else:
            fan_in = parameter[0].numel()
            parameter.copy_(gains(name) * noise / fan_in ** 0.5)


def gain(name):
    """Below 1 where a branch joins the residual stream, so that rounding is not amplified over layers."""
    if "linear_fc2" in name and "merger" in name:
        return 0.3
    if "language_model" in name and "down_proj" in name:
        return 0.5
    if "language_model" in name and "o_proj" in name:
        return 0.25
    return 1.0


def tokens(rng, n):
    """Ordinary ids; 0 is the padding id, which `generate` would mask."""
    return torch.randint(1, PLAIN, (n,), generator=rng).tolist()


def row(rng, spec, grids, before, between, after):
    """One unpadded sequence: text, then each image between its marks, then text."""
    ids, pixels = tokens(rng, before), []
    v = spec["vision"]
    width = 3 * 2 * v["patch_size"] ** 2
    for index, (t, h, w) in enumerate(grids):
        if index:
            ids += tokens(rng, between)
        ids += [START] + [IMAGE] * (t * h * w // 4) + [END]
        levels = torch.randint(0, 256, (t * h * w, width), generator=rng)
        pixels.append((levels.float() / 127.5 - 1.0))
    answer_from = len(ids)
    ids += tokens(rng, after)
    labels = [-100] * answer_from + ids[answer_from:]
    if not grids:
        labels[:before] = [-100] * before
    made = dict(input_ids=torch.tensor([ids]), labels=torch.tensor([labels]))
    if grids:
        made |= dict(pixel_values=torch.cat(pixels), image_grid_thw=torch.tensor(grids))
    return made


def rows(spec):
    rng = generator(spec["seed"] + 1000)
    return {
        "text": row(rng, spec, [], 6, 0, 7),
        "image1": row(rng, spec, spec["one"], 4, 0, 6),
        "image2": row(rng, spec, spec["two"], 3, 2, 9),
    }


def batch(cases):
    """The same rows left-padded to one length."""
    length = max(c["input_ids"].shape[1] for c in cases.values())

    def pad(t, value):
        return torch.cat([torch.full((1, length - t.shape[1]), value), t], dim=1)

    ids = [c["input_ids"] for c in cases.values()]
    return dict(
        input_ids=torch.cat([pad(i, 0) for i in ids]),
        attention_mask=torch.cat([pad(torch.ones_like(i), 0) for i in ids]),
        labels=torch.cat([pad(c["labels"], -100) for c in cases.values()]),
        pixel_values=torch.cat([c["pixel_values"] for c in cases.values() if "pixel_values" in c]),
        image_grid_thw=torch.cat([c["image_grid_thw"] for c in cases.values() if "image_grid_thw" in c]),
    )


def inputs(case):
    """What the model is called with; labels stay outside, the loss is computed here."""
    made = {k: v for k, v in case.items() if k != "labels"}
    made["mm_token_type_ids"] = (case["input_ids"] == IMAGE).long()
    return made


def token_nll(logits, labels):
    """Sum and count of the shifted cross-entropy over labels other than -100."""
    flat = logits[:, :-1].float().flatten(0, 1)
    target = labels[:, 1:].flatten()
    total = cross_entropy(flat, target, ignore_index=-100, reduction="sum")
    return total, int((target != -100).sum())


@torch.no_grad()
def traced(model, case):
    """Forward pass with every intermediate the parity tests look at."""
    found, hooks = {}, []

    def keep(name):
        return lambda _m, _i, out: found.__setitem__(name, out)

    def keep_input(name):
        return lambda _m, args, kwargs: found.__setitem__(name, args[0] if args else kwargs["hidden_states"])

    visual, language = model.model.visual, model.model.language_model
    hooks.append(visual.patch_embed.register_forward_hook(keep("vision.patch_embed")))
    for i, block in enumerate(visual.blocks):
        hooks.append(block.register_forward_hook(keep(f"vision.block.{i}")))
    for j, merger in enumerate(visual.deepstack_merger_list):
        hooks.append(merger.register_forward_hook(keep(f"vision.deepstack.{j}")))
    hooks.append(visual.merger.register_forward_hook(keep("vision.merged")))
    for i, layer in enumerate(language.layers):
        hooks.append(layer.register_forward_pre_hook(keep_input(f"text.hidden.{i}"), with_kwargs=True))
    last = len(language.layers)
    hooks.append(language.norm.register_forward_pre_hook(keep_input(f"text.hidden.{last}"), with_kwargs=True))
    hooks.append(language.norm.register_forward_hook(keep("text.final")))
    try:
        found["logits"] = model(**inputs(case)).logits
    finally:
        for hook in hooks:
            hook.remove()
    return {k: v[0] if k.startswith(("text.", "logits")) else v for k, v in found.items()}


@torch.no_grad()
def vision_positions(model, case):
    """Interpolated position table and the rotary tables, in patch order."""
    visual, grid = model.model.visual, case["image_grid_thw"]
    indices, weights = get_vision_interpolation_indices_and_weights(
        grid, num_grid_per_side=visual.num_grid_per_side, mode="bilinear", align_corners=True,
        spatial_merge_size=2, kwargs={},
    )
    table = (visual.pos_embed(indices) * weights[:, :, None]).sum(1)
    cos, sin = visual.rotary_pos_emb(table, get_vision_position_ids(grid, 2, kwargs={}))
    return {"vision.pos_embed": table, "vision.cos": cos, "vision.sin": sin}


def positions(model, case):
    ids, delta = model.model.get_rope_index(
        case["input_ids"], image_grid_thw=case.get("image_grid_thw"),
        attention_mask=case.get("attention_mask"),
        mm_token_type_ids=(case["input_ids"] == IMAGE).long(),
    )
    return ids, delta


@torch.no_grad()
def greedy(model, case, steps=16):
    """Cached greedy ids and the logits they were taken from."""
    out = model.generate(
        **inputs(case), max_new_tokens=steps, do_sample=False, pad_token_id=0, eos_token_id=None,
        return_dict_in_generate=True, output_logits=True,
    )
    logits = torch.stack(out.logits, dim=1)
    return out.sequences[:, case["input_ids"].shape[1]:], logits


@torch.no_grad()
def greedy_without_cache(model, case, steps=16):
    case, made = dict(case), []
    for _ in range(steps):
        best = model(**inputs(case), use_cache=False).logits[:, -1].argmax(-1)
        made.append(best)
        case["input_ids"] = torch.cat([case["input_ids"], best[:, None]], dim=1)
    return torch.stack(made, dim=1)


def check_greedy(name, ids, logits):
    top = logits.topk(2, dim=-1).values
    margin = float((top[..., 0] - top[..., 1]).min())
    if margin < 5e-3:
        raise ValueError(f"{name}: greedy margin {margin} is within rounding, choose another seed")
    if int(ids.max()) >= PLAIN + 8 and bool(((ids >= START) & (ids <= VIDEO)).any()):
        raise ValueError(f"{name}: a vision id was generated, choose another seed")
    if ids.unique().numel() < 5:
        raise ValueError(f"{name}: greedy ids {ids.tolist()} repeat too much to test anything")
    return margin


def make_cases(model, spec, cases, together):
    out, meta = {}, {"cases": list(cases), "greedy_margin": {}}
    for name, case in cases.items():
        found = traced(model, case)
        if "image_grid_thw" in case:
            found |= vision_positions(model, case)
            found |= {"pixel_values": case["pixel_values"], "grid_thw": case["image_grid_thw"]}
            ids, delta = positions(model, case)
            found |= {"position_ids": ids[:, 0], "rope_delta": delta[0]}
        else:
            length = case["input_ids"].shape[1]
            found |= {"position_ids": torch.arange(length).expand(3, -1), "rope_delta": torch.zeros(1).long()}
        found |= {"input_ids": case["input_ids"][0], "labels": case["labels"][0]}
        ids, logits = greedy(model, case)
        meta["greedy_margin"][name] = check_greedy(f"{spec['seed']} {name}", ids, logits)
        if not torch.equal(ids, greedy_without_cache(model, case)):
            raise ValueError("cached and uncached greedy ids differ")
        found |= {"greedy.ids": ids[0], "greedy.logits": logits[0]}
        out |= {f"{name}.{k}": v for k, v in found.items()}

    ids, delta = positions(model, together)
    with torch.no_grad():
        logits = model(**inputs(together)).logits
    mask = together["attention_mask"].bool()
    for i, name in enumerate(cases):
        gap = float((logits[i][mask[i]] - out[f"{name}.logits"]).abs().max())
        if gap > 1e-4:
            raise ValueError(f"padding changes the logits of {name} by {gap}")
    generated, steps = greedy(model, together)
    for i, name in enumerate(cases):
        if not torch.equal(generated[i], out[f"{name}.greedy.ids"]):
            raise ValueError(f"batched greedy ids of {name} differ from the single row")
    out |= {
        "batch.input_ids": together["input_ids"], "batch.attention_mask": together["attention_mask"],
        "batch.labels": together["labels"], "batch.position_ids": ids, "batch.rope_delta": delta,
        "batch.logits": logits * mask[..., None], "batch.greedy.ids": generated,
    }
    return out, meta


def measure_rounding(model, case):
    """How far f32 is from f64 here: a floor for any tolerance."""
    wide, narrow = traced(copy.deepcopy(model).double(), case), traced(model, case)
    return {
        k: float((wide[k].double() - narrow[k].double()).abs().max())
        for k in narrow if k.startswith("text.") or k in ("logits", "vision.merged")
    }


def loss_facts(model, cases, together):
    """Token-mean loss: one batch, and the same rows as two micro-batches of unequal label counts."""
    facts, sums = {}, []
    with torch.no_grad():
        for name, case in cases.items():
            total, count = token_nll(model(**inputs(case)).logits, case["labels"])
            facts[name] = {"nll_sum": float(total), "labels": count}
            sums.append((total, count))
        total, count = token_nll(model(**inputs(together)).logits, together["labels"])
    split = [sums[0][0] + sums[1][0], sums[2][0]], [sums[0][1] + sums[1][1], sums[2][1]]
    facts["batch_loss"] = float(total / count)
    facts["micro_batches"] = [
        {"rows": ["text", "image1"], "nll_sum": float(split[0][0]), "labels": split[1][0]},
        {"rows": ["image2"], "nll_sum": float(split[0][1]), "labels": split[1][1]},
    ]
    facts["accumulated_loss"] = float(sum(split[0]) / sum(split[1]))
    facts["mean_of_means"] = float(sum(s / c for s, c in zip(*split)) / 2)
    if abs(facts["accumulated_loss"] - facts["batch_loss"]) > 1e-5:
        raise ValueError("accumulation over micro-batches is not exact")
    if abs(facts["mean_of_means"] - facts["batch_loss"]) < 1e-3:
        raise ValueError("micro-batches do not tell the two means apart")
    return facts


def full_gradients(model, cases, together):
    """Loss and gradient of every parameter, with one AdamW step of all of them (a few are kept)."""
    kept = (
        "model.language_model.embed_tokens.weight", "model.language_model.layers.0.input_layernorm.weight",
        "model.language_model.layers.2.self_attn.q_proj.weight", "model.visual.blocks.1.attn.qkv.bias",
        "model.visual.merger.linear_fc2.weight",
    )
    model, wide = copy.deepcopy(model), copy.deepcopy(model).double()
    total, count = token_nll(model(**inputs(together)).logits, together["labels"])
    (total / count).backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters()}

    # the same gradient, accumulated over two micro-batches of rows
    twin = copy.deepcopy(model)
    twin.zero_grad()
    for names in (("text", "image1"), ("image2",)):
        micro = batch({n: cases[n] for n in names})
        (token_nll(twin(**inputs(micro)).logits, micro["labels"])[0] / count).backward()
    worst = max(relative(p.grad, grads[n]) for n, p in twin.named_parameters())
    if worst > 1e-4:
        raise ValueError(f"accumulated gradients are off by {worst}")

    norm = torch.stack([g.double().norm() for g in grads.values()]).norm()
    out = {"loss": (total / count).reshape(1), "grad_norm": norm.float().reshape(1)}
    out |= {f"grad.{n}": g for n, g in grads.items()}
    adapters.adamw(model.parameters()).step()
    out |= {f"after.{n}": p.detach() for n, p in model.named_parameters() if n in kept}

    wide.zero_grad()
    sum(token_nll(wide(**inputs(c)).logits, c["labels"])[0] / count for c in cases.values()).backward()
    errors = {"accumulated": worst, "f32": max(relative(grads[n], p.grad) for n, p in wide.named_parameters())}
    adapters.adamw(wide.parameters()).step()
    errors["f32_step"] = {
        n: float((out[f"after.{n}"] - p).abs().max()) for n, p in wide.named_parameters() if n in kept
    }
    return out, errors


def bf16_run(model, cases):
    """Weights and pixels cast to bf16; results widened to f32 for a cosine comparison."""
    low, out, cosines = copy.deepcopy(model).bfloat16(), {}, {}
    for name, case in cases.items():
        case = dict(case)
        if "pixel_values" in case:
            case["pixel_values"] = case["pixel_values"].bfloat16()
        found, exact = traced(low, case), traced(model, case)
        for key in ("text.final", "logits", "vision.merged"):
            if key in found:
                out[f"{name}.{key}"] = found[key].float()
                pair = torch.stack([found[key].float().flatten(), exact[key].flatten()])
                cosines[f"{name}.{key}"] = float(torch.cosine_similarity(pair[0], pair[1], dim=0))
    return out, cosines


def position_layouts(model):
    """Position triples of layouts too long to run: list of {input_ids, grids, positions, delta}."""
    rng, made = generator(5), []
    layouts = [
        [4, (8, 12), 4], [(2, 2), 3], [5, (20, 6), 0], [1, (4, 4), 2, (4, 4), 2], [2, (6, 30), 1, (10, 4), 7],
        [3, (2, 8), 0, (8, 2), 0, (4, 6), 3], [9],
    ]
    for layout in layouts:
        ids, grids = [], []
        for part in layout:
            if isinstance(part, int):
                ids += tokens(rng, part)
            else:
                grids.append([1, *part])
                ids += [START] + [IMAGE] * (part[0] * part[1] // 4) + [END]
        case = dict(input_ids=torch.tensor([ids]))
        if grids:
            case["image_grid_thw"] = torch.tensor(grids)
        found, delta = positions(model, case)
        made.append({"input_ids": ids, "grid_thw": grids, "position_ids": found[:, 0].tolist(), "rope_delta": int(delta)})
    return {"image_token_id": IMAGE, "spatial_merge_size": 2, "layouts": made}


def spell_as_hf4(path):
    """The spelling of published configs: rope_theta beside rope_scaling, ties named in text_config only."""
    config = json.loads(path.read_text())
    inner, outer = config["text_config"], config["vision_config"]
    rope = inner.pop("rope_parameters")
    inner["rope_theta"] = rope.pop("rope_theta")
    inner["rope_scaling"] = rope
    inner["tie_word_embeddings"] = True
    config.pop("tie_word_embeddings", None)
    outer.pop("rope_parameters", None)
    outer["model_type"] = "qwen3_vl"
    for part in (config, inner, outer):
        if "dtype" in part:
            part["torch_dtype"] = part.pop("dtype")
    write_json(path, config, indent=2)


def make(name, spec):
    directory = fresh(FIXTURES / "qwen3_vl" / name)
    model = build(spec)
    model.save_pretrained(directory, max_shard_size=spec.get("shard", "50GB"))
    if spec.get("old_spelling"):
        spell_as_hf4(directory / "config.json")
    (directory / "generation_config.json").unlink(missing_ok=True)

    cases = rows(spec)
    together = batch(cases)
    tensors, meta = make_cases(model, spec, cases, together)
    write_tensors(directory / "cases.safetensors", tensors)
    meta["f32_rounding"] = measure_rounding(model, cases["image2"])
    meta["loss"] = loss_facts(model, cases, together)
    if name == "tied":
        grads, meta["full_gradient_errors"] = full_gradients(model, cases, together)
        write_tensors(directory / "full_gradients.safetensors", grads)
    if name == "untied":
        low, cosines = bf16_run(model, cases)
        write_tensors(directory / "bf16.safetensors", low)
        meta["bf16_cosine_to_f32"] = cosines
    for variant in adapters.VARIANTS:
        meta[variant] = adapters.make(model, directory, variant, name, cases, together, inputs, token_nll)
    write_json(directory / "cases.json", meta)
    print(name, sum(p.numel() for p in model.parameters()), json.dumps(meta))
    return model


if __name__ == "__main__":
    one_thread()
    for name, spec in MODELS.items():
        model = make(name, spec)
    write_json(FIXTURES / "qwen3_vl" / "positions.json", position_layouts(model), indent=None)
