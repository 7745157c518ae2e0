"""A tiny Qwen3-VL with experts, in both layouts of expert files, and what `transformers` and `peft` compute with it.

Run `python make_qwen3_vl_moe.py`; it rewrites fixtures/qwen3_vl_moe. Keys are listed in fixtures/README.md.
"""

import copy
import json
import shutil

from common import FIXTURES, fresh, generator, one_thread, relative, write_json, write_tensors

import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen3VLMoeConfig, Qwen3VLMoeForConditionalGeneration

import adapters
import make_qwen3_vl as dense

SPEC = dict(
    text=dense.text(32, 56, 3, 4, 2, 16, [4, 2, 2]) | dict(
        num_experts=6, num_experts_per_tok=2, moe_intermediate_size=20, decoder_sparse_step=1,
        mlp_only_layers=[1], norm_topk_prob=True,
    ),
    vision=dense.vision(2, 24, 40, 2, 16, [0, 1], 32, patch=8),
    tie=False, seed=11, one=[[1, 4, 6]], two=[[1, 6, 4], [1, 2, 8]],
)
BALANCE = 0.5  # weight of the routers' loss where it takes part
STACKS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]

adapters.VARIANTS |= {
    # leaves experts and routers alone
    "lora_linear": dict(target_modules=adapters.SEVEN),
    # both stacks of every sparse layer: nested wrappers
    "lora_experts": dict(target_modules=["q_proj", "down_proj"], target_parameters=STACKS,
                         rank_pattern={"mlp.experts.down_proj": 2}, alpha_pattern={"mlp.experts.down_proj": 3}),
    # one stack: a single wrapper
    "lora_down": dict(target_modules=["k_proj"], target_parameters=STACKS[1:]),
}


def build():
    text = {k: v for k, v in SPEC["text"].items()}
    config = Qwen3VLMoeConfig(
        text_config=text, vision_config=SPEC["vision"], image_token_id=dense.IMAGE, video_token_id=dense.VIDEO,
        vision_start_token_id=dense.START, vision_end_token_id=dense.END, tie_word_embeddings=False,
    )
    config._attn_implementation = "eager"
    config._experts_implementation = "eager"
    config.dtype = "float32"
    model = Qwen3VLMoeForConditionalGeneration(config).float().eval()
    dense.randomise(model, SPEC["seed"])
    rng = generator(SPEC["seed"] + 1)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if "experts" in name:
                gain = 1.5 if "gate_up" in name else 1.0
                parameter.copy_(gain * torch.randn(parameter.shape, generator=rng) / parameter.shape[-1] ** 0.5)
            elif name.endswith("mlp.gate.weight"):
                parameter.mul_(1.5)
    return model


def to_published(source, target):
    """The same checkpoint with the expert matrices as the hub has them, and the keys of its config.json."""
    shutil.copytree(source, target)
    tensors = load_file(target / "model.safetensors")
    for name in tensors:
        if ".experts." in name:
            tensors[name] = tensors[name].transpose(1, 2).contiguous()
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    dense.spell_as_hf4(target / "config.json")
    config = json.loads((target / "config.json").read_text())
    text = config["text_config"]
    text["num_experts"] = text.pop("num_local_experts", text.get("num_experts"))
    text["tie_word_embeddings"] = False
    config["tie_word_embeddings"] = False
    config["vision_config"]["model_type"] = "qwen3_vl_moe"
    write_json(target / "config.json", config, indent=2)


@torch.no_grad()
def routers(model, case):
    """Logits of every router."""
    return model(**dense.inputs(case), output_router_logits=True).router_logits


def balance_loss(model, case):
    return model(**dense.inputs(case), output_router_logits=True).aux_loss


def check_routing(model, cases):
    """No token may hang between two experts: rounding would decide."""
    k, worst, used = SPEC["text"]["num_experts_per_tok"], 1.0, set()
    for case in cases.values():
        for layer, logits in enumerate(routers(model, case)):
            top = logits.topk(k + 1, dim=-1)
            worst = min(worst, float((top.values[:, k - 1] - top.values[:, k]).min()))
            used |= {(layer, int(e)) for e in top.indices[:, :k].flatten()}
    if worst < 1e-3:
        raise ValueError(f"experts are chosen by a margin of {worst}, choose another seed")
    return {"router_margin": worst, "experts_used": len(used)}


def gradients(model, together, balance):
    """Loss with the routers' loss of the given weight, and the gradient of every parameter."""
    twin = copy.deepcopy(model)
    total, count = dense.token_nll(twin(**dense.inputs(together)).logits, together["labels"])
    aux = balance_loss(twin, together)
    (total / count + balance * aux).backward()
    grads = {n: p.grad.clone() if p.grad is not None else torch.zeros_like(p) for n, p in twin.named_parameters()}
    return float(total / count), float(aux), grads


def make_gradients(model, cases, together):
    loss, aux, grads = gradients(model, together, 0.0)
    _, _, balanced = gradients(model, together, BALANCE)
    wide = copy.deepcopy(model).double()
    sums = [dense.token_nll(wide(**dense.inputs(c)).logits, c["labels"]) for c in cases.values()]
    (sum(t for t, _ in sums) / sum(c for _, c in sums)).backward()
    errors = {n: relative(grads[n], p.grad) for n, p in wide.named_parameters() if p.grad is not None}
    out = {"loss": torch.tensor([loss]), "aux_loss": torch.tensor([aux])}
    out |= {f"grad.{n}": g for n, g in grads.items() if bool(g.any())}
    kept = [n for n in grads if n.endswith("mlp.gate.weight") or n.endswith("layers.0.self_attn.q_proj.weight")]
    kept += ["model.visual.merger.linear_fc2.weight"]
    for name in kept:
        if relative(balanced[name], grads[name]) < 1e-3:
            raise ValueError(f"the routers' loss does not show in {name}")
    out |= {f"balanced.{n}": balanced[n] for n in kept}
    untouched = [n for n, g in grads.items() if not bool(g.any())]
    return out, {"f32_gradient_error": max(errors.values()), "untouched": untouched, "balance": BALANCE}


def make():
    root = fresh(FIXTURES / "qwen3_vl_moe")
    transposed, published = root / "transposed", root / "published"
    model = build()
    model.save_pretrained(transposed)
    (transposed / "generation_config.json").unlink(missing_ok=True)
    to_published(transposed, published)

    cases = dense.rows(SPEC)
    together = dense.batch(cases)
    for directory in (transposed, published):
        again = Qwen3VLMoeForConditionalGeneration.from_pretrained(directory, attn_implementation="eager").eval()
        same = again(**dense.inputs(cases["image2"])).logits
        if not torch.allclose(same, model(**dense.inputs(cases["image2"])).logits, atol=1e-6):
            raise ValueError(f"{directory} does not hold the model")

    tensors, meta = dense.make_cases(model, SPEC, cases, together)
    # The towers have fixtures of their own.
    tensors = {k: v for k, v in tensors.items() if ".vision." not in k and not k.startswith("batch.")
               and not k.endswith("greedy.logits")}
    write_tensors(root / "cases.safetensors", tensors)
    meta |= check_routing(model, cases)
    meta["loss"] = dense.loss_facts(model, cases, together)
    grads, meta["gradients"] = make_gradients(model, cases, together)
    write_tensors(root / "gradients.safetensors", grads)
    for variant in ("lora_linear", "lora_experts", "lora_down"):
        meta[variant] = adapters.make(model, root, variant, "moe", cases, together, dense.inputs, dense.token_nll)
    write_json(root / "cases.json", meta)
    print(sum(p.numel() for p in model.parameters()), json.dumps(meta, indent=1))


if __name__ == "__main__":
    one_thread()
    make()
