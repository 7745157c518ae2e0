"""LoRA fixtures: adapter directories written by PEFT and what training with them gives."""

import copy
import json

from common import generator, relative, write_json, write_tensors

import torch
from peft import LoraConfig, get_peft_model

SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

VARIANTS = {
    # seven names matched as path suffixes
    "lora_list": dict(target_modules=SEVEN),
    # one pattern over the whole path, two vision linears, unequal ranks and scales
    "lora_regex": dict(
        target_modules=r"model\.(language_model\.layers\.\d+\.(self_attn\.[qo]_proj|mlp\.down_proj)|visual\.blocks\.\d+\.attn\.(qkv|proj))",
        rank_pattern={"q_proj": 2, r"visual\.blocks\.1\.attn\.qkv": 3},
        alpha_pattern={"down_proj": 6, r"visual\.blocks\.1\.attn\.qkv": 5},
    ),
}


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)


def attach(model, variant, seed, rslora):
    config = LoraConfig(
        r=4, lora_alpha=8, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM", use_rslora=rslora,
        **VARIANTS[variant],
    )
    peft = get_peft_model(copy.deepcopy(model), config).eval()
    rng = generator(seed)
    with torch.no_grad():
        for name, parameter in sorted(peft.named_parameters()):
            if ".lora_" in name:
                noise = torch.randn(parameter.shape, generator=rng)
                scale = parameter.shape[1] ** -0.5 if "lora_A" in name else 0.03
                parameter.copy_(scale * noise)
    return peft


def strip(name):
    """PEFT's parameter name as it stands in the adapter file."""
    return name.replace(".default.", ".")


def save(peft, directory):
    """PEFT's own files, without the model card, with set-valued fields in a fixed order."""
    peft.save_pretrained(directory)
    (directory / "README.md").unlink(missing_ok=True)
    path = directory / "adapter_config.json"
    config = json.loads(path.read_text())
    if isinstance(config["target_modules"], list):
        config["target_modules"] = sorted(config["target_modules"])
    config["base_model_name_or_path"] = None
    write_json(path, config, indent=2)


def step(peft, batches, inputs, token_nll):
    """Token-mean loss over the batches, its gradients and the values after one AdamW step."""
    sums = [token_nll(peft(**inputs(b)).logits, b["labels"]) for b in batches]
    loss = sum(total for total, _ in sums) / sum(count for _, count in sums)
    loss.backward()
    loss = loss.detach()
    trained = {strip(n): p for n, p in peft.named_parameters() if p.requires_grad}
    out = {"loss": loss.reshape(1)}
    out["grad_norm"] = torch.nn.utils.get_total_norm([p.grad for p in trained.values()]).reshape(1)
    out |= {f"grad.{n}": p.grad.clone() for n, p in trained.items()}
    adamw(trained.values()).step()
    out |= {f"after.{n}": p.detach() for n, p in trained.items()}
    return out


def step_error(peft, cases, inputs, token_nll):
    """How far f32 rounding moves the AdamW step: large where a gradient is so near 0 that its sign is noise."""
    batches = list(cases.values())
    wide = step(copy.deepcopy(peft).double(), batches, inputs, token_nll)
    narrow = step(copy.deepcopy(peft), batches, inputs, token_nll)
    return {
        "f32_gradient_error": max(relative(narrow[k], v) for k, v in wide.items() if k.startswith("grad.")),
        "f32_step_error": max(float((narrow[k] - v).abs().max()) for k, v in wide.items() if k.startswith("after.")),
    }


def choose(model, variant, name, rslora, cases, inputs, token_nll):
    """The first seed whose AdamW step any careful f32 implementation can reproduce."""
    for attempt in range(50):
        peft = attach(model, variant, 77 + len(name) + len(variant) + 100 * attempt, rslora)
        errors = step_error(peft, cases, inputs, token_nll)
        if errors["f32_step_error"] < 1e-6:
            return peft, errors
    raise ValueError("no seed gives a step that f32 determines")


def make(model, parent, variant, name, cases, together, inputs, token_nll):
    rslora = (variant, name) in {("lora_regex", "hf4"), ("lora_vision", "moe")}
    peft, errors = choose(model, variant, name, rslora, cases, inputs, token_nll)
    directory = parent / variant
    directory.mkdir()
    save(peft, directory)

    out, meta = {}, {"use_rslora": rslora, **errors}
    meta["trainable"] = sum(p.numel() for p in peft.parameters() if p.requires_grad)
    with torch.no_grad():
        for case_name, case in cases.items():
            out[f"logits.{case_name}"] = peft(**inputs(case)).logits[0]
        plain = model(**inputs(cases["image2"])).logits[0]
        with peft.disable_adapter():
            off = peft(**inputs(cases["image2"])).logits[0]
        merged = copy.deepcopy(peft).merge_and_unload()(**inputs(cases["image2"])).logits[0]
    if not torch.equal(off, plain):
        raise ValueError("a disabled adapter changes the logits")
    out["merged_logits.image2"] = merged
    meta["adapter_changes_logits_by"] = float((out["logits.image2"] - plain).abs().max())
    meta["merge_error"] = float((merged - out["logits.image2"]).abs().max())
    if meta["adapter_changes_logits_by"] < 0.1:
        raise ValueError("the adapter hardly does anything")

    out |= step(peft, [together], inputs, token_nll)
    write_tensors(parent / f"{variant}.safetensors", out)
    return meta
