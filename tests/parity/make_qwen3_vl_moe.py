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
import make_qwen3_vl_video as video

SPEC = dict(
    text=dense.text(32, 56, 3, 4, 2, 16, [4, 2, 2]) | dict(
        num_experts=6, num_experts_per_tok=2, moe_intermediate_size=20, decoder_sparse_step=1,
        mlp_only_layers=[1], norm_topk_prob=True,
    ),
    vision=dense.vision(2, 24, 40, 2, 16, [0, 1], 32, patch=8),
    tie=False, seed=11, one=[[1, 4, 6]], two=[[1, 6, 4], [1, 2, 8]],
)
VIDEO_SEED = 80
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
    # one pattern over decoder and vision tower, the other stack, unequal ranks and scales, rsLoRA
    "lora_vision": dict(
        target_modules=r"model\.(language_model\.layers\.\d+\.(self_attn\.[qv]_proj|mlp\.up_proj)"
                       r"|visual\.(blocks\.\d+\.(attn\.(qkv|proj)|mlp\.linear_fc1)|merger\.linear_fc2))",
        target_parameters=STACKS[:1],
        rank_pattern={r"visual\.blocks\.\d+\.attn\.qkv": 3, "mlp.experts.gate_up_proj": 2},
        alpha_pattern={"up_proj": 6, "mlp.experts.gate_up_proj": 5, r"visual\.blocks\.1\.attn\.proj": 3},
    ),
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
def routers(model, made):
    """Logits of every router."""
    return model(**made, output_router_logits=True).router_logits


def balance_loss(model, case):
    return model(**dense.inputs(case), output_router_logits=True).aux_loss


def check_routing(model, calls):
    """No token may hang between two experts: rounding would decide."""
    k, worst, used = SPEC["text"]["num_experts_per_tok"], 1.0, set()
    for made in calls:
        for layer, logits in enumerate(routers(model, made)):
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


def make_videos(model, root):
    """A prompt with a video, and one with a video between two pictures."""
    kept = ("model.visual.merger.linear_fc2.bias", "model.visual.deepstack_merger_list.1.linear_fc1.bias",
            "model.language_model.layers.0.mlp.gate.weight", "model.language_model.layers.2.self_attn.q_proj.weight")
    rows = video.vision_rows(SPEC["vision"]["patch_size"], VIDEO_SEED)
    check_routing(model, [video.called(row) for row in rows.values()])
    out, margins = video.model_cases(copy.deepcopy(model), rows, kept)
    write_tensors(root / "video.safetensors", out)
    return margins


class PublishedExperts(torch.nn.Module):
    """Experts as transformers 4 held them: matrices `[expert, in, out]`, in memory as in published files."""

    def __init__(self, experts, told):
        super().__init__()
        self.act_fn = experts.act_fn
        if told:
            self.is_transposed = True  # what peft asks of a module
        self.gate_up_proj = torch.nn.Parameter(experts.gate_up_proj.detach().transpose(1, 2).contiguous())
        self.down_proj = torch.nn.Parameter(experts.down_proj.detach().transpose(1, 2).contiguous())

    def forward(self, x, chosen, weights):
        y = torch.zeros_like(x)
        for expert in chosen.unique():
            token, choice = torch.where(chosen == expert)
            gate, up = (x[token] @ self.gate_up_proj[expert]).chunk(2, dim=-1)
            made = (self.act_fn(gate) * up) @ self.down_proj[expert]
            y.index_add_(0, token, made * weights[token, choice, None])
        return y


def published(model, told):
    """The model with its experts in the other layout; the same logits."""
    twin = copy.deepcopy(model)
    for layer in twin.model.language_model.layers:
        if hasattr(layer.mlp, "experts"):
            layer.mlp.experts = PublishedExperts(layer.mlp.experts, told)
    return twin


@torch.no_grad()
def make_published_adapter(model, root, name, cases, told):
    """peft on experts `[expert, in, out]`. Of a module that does not say so it takes the sides for exchanged."""
    twin, case = published(model, told), cases["image2"]
    before = model(**dense.inputs(case)).logits
    if not torch.allclose(twin(**dense.inputs(case)).logits, before, atol=1e-5):
        raise ValueError("the other layout is another model")
    peft = adapters.attach(twin, "lora_experts", 91, False)
    (root / name).mkdir()
    adapters.save(peft, root / name)
    out = {"logits.image2": peft(**dense.inputs(case)).logits[0]}
    merged = copy.deepcopy(peft).merge_and_unload()
    out["merged_logits.image2"] = merged(**dense.inputs(case)).logits[0]
    for key, value in merged.state_dict().items():
        if "layers.2.mlp.experts." in key:
            out[f"merged.{key}"] = value
    write_tensors(root / f"{name}.safetensors", out)
    return {"adapter_changes_logits_by": float((out["logits.image2"] - before[0]).abs().max())}


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
    meta |= check_routing(model, [dense.inputs(c) for c in cases.values()])
    meta["loss"] = dense.loss_facts(model, cases, together)
    grads, meta["gradients"] = make_gradients(model, cases, together)
    write_tensors(root / "gradients.safetensors", grads)
    for variant in ("lora_linear", "lora_experts", "lora_down", "lora_vision"):
        meta[variant] = adapters.make(model, root, variant, "moe", cases, together, dense.inputs, dense.token_nll)
    for name, told in (("lora_published", True), ("lora_exchanged", False)):
        meta[name] = make_published_adapter(model, root, name, cases, told)
    meta["video_greedy_margin"] = make_videos(model, root)
    write_json(root / "cases.json", meta)
    print(sum(p.numel() for p in model.parameters()), json.dumps(meta, indent=1))


if __name__ == "__main__":
    one_thread()
    make()
