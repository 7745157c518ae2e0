"""Training, not single passes: five supervised steps and one GRPO step of each loss, with PyTorch and PEFT.

Both start from the adapter `lora_list` of the fixture `tied` and its three rows. Supervised: every step accumulates the
rows one by one, the loss is the mean over all response tokens, gradients are clipped, the learning rate warms up and
falls along a cosine. GRPO: the rows are completions of given advantages, log-probabilities when sampled are those of the
start with noise, the reference is the base model; losses are written from their formulas. Float64 runs of the same
steps say how far rounding alone moves the result.
"""

import copy
import json

import adapters
from common import FIXTURES, fresh, generator, one_thread, relative, write_json, write_tensors
from make_qwen3_vl import inputs, token_nll

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import Qwen3VLForConditionalGeneration, get_cosine_schedule_with_warmup

MODEL = FIXTURES / "qwen3_vl" / "tied"
STEPS, WARMUP, LR, MAX_NORM, DECAY = 5, 2, 2e-3, 0.4, 0.01
ADVANTAGES = {"text": 1.2, "image1": -0.9, "image2": 0.5}
LOSSES = ["grpo", "bnpo", "dr_grpo", "dapo", "cispo"]
LOW, HIGH, BETA, MAX_LENGTH = 0.2, 0.28, 0.04, 12


def load():
    model = Qwen3VLForConditionalGeneration.from_pretrained(MODEL, dtype=torch.float32, attn_implementation="eager")
    peft = PeftModel.from_pretrained(model, MODEL / "lora_list", is_trainable=True).eval()
    tensors = load_file(MODEL / "cases.safetensors")
    cases = {}
    for name in ADVANTAGES:
        keys = {"input_ids": "input_ids", "labels": "labels", "pixel_values": "pixel_values", "grid_thw": "image_grid_thw"}
        found = {to: tensors[f"{name}.{key}"] for key, to in keys.items() if f"{name}.{key}" in tensors}
        for key in ("input_ids", "labels"):
            found[key] = found[key].reshape(1, -1)
        if "image_grid_thw" in found:
            found["image_grid_thw"] = found["image_grid_thw"].reshape(-1, 3)
        cases[name] = found
    return peft, cases


def trained(peft):
    return {adapters.strip(n): p for n, p in peft.named_parameters() if p.requires_grad}


def optimizer(peft, lr):
    return torch.optim.AdamW(trained(peft).values(), lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=DECAY)


def values(case, dtype):
    return {k: v.to(dtype) if k == "pixel_values" else v for k, v in case.items()}


def supervised(peft, cases, dtype):
    peft = copy.deepcopy(peft).to(dtype)
    adam = optimizer(peft, LR)
    schedule = get_cosine_schedule_with_warmup(adam, WARMUP, STEPS)
    count = sum(int((c["labels"][:, 1:] != -100).sum()) for c in cases.values())
    losses, norms, rates = [], [], []
    for _ in range(STEPS):
        adam.zero_grad()
        loss = 0.0
        for case in cases.values():
            case = values(case, dtype)
            total, _ = token_nll(peft(**inputs(case)).logits, case["labels"])
            (total / count).backward()
            loss += float(total.detach()) / count
        norms.append(float(torch.nn.utils.clip_grad_norm_(trained(peft).values(), MAX_NORM)))
        rates.append(schedule.get_last_lr()[0])
        losses.append(loss)
        adam.step()
        schedule.step()
    return dict(losses=losses, norms=norms, rates=rates, count=count), trained(peft)


def log_probabilities(peft, case, dtype):
    """Of the labelled tokens."""
    case = values(case, dtype)
    logp = peft(**inputs(case)).logits[0, :-1].log_softmax(-1)
    labels = case["labels"][0, 1:]
    at = labels != -100
    return logp[at].gather(-1, labels[at][:, None])[:, 0]


def token_losses(kind, logp, old, ref, advantage):
    rho = (logp - old).exp()
    if kind == "cispo":
        loss = -rho.clamp(max=1 + HIGH).detach() * advantage * logp
    else:
        loss = -torch.min(rho * advantage, rho.clamp(1 - LOW, 1 + HIGH) * advantage)
    return loss + BETA * ((ref - logp).exp() - (ref - logp) - 1)


def grpo(peft, cases, kind, scored, dtype):
    peft = copy.deepcopy(peft).to(dtype)
    adam = optimizer(peft, LR)
    tokens = sum(len(s["old"]) for s in scored.values())
    loss = 0.0
    for name, case in cases.items():
        logp = log_probabilities(peft, case, dtype)
        old, ref = (scored[name][key].to(dtype) for key in ("old", "ref"))
        each = token_losses(kind, logp, old, ref, ADVANTAGES[name])
        divisor = {"grpo": len(cases) * len(each), "dr_grpo": len(cases) * MAX_LENGTH}.get(kind, tokens)
        loss = loss + each.sum() / divisor
    loss.backward()
    gradients = {n: p.grad.clone() for n, p in trained(peft).items()}
    adam.step()
    return float(loss.detach()), gradients, trained(peft)


def main():
    peft, cases = load()
    out = {}
    facts, after = supervised(peft, cases, torch.float32)
    wide, exact = supervised(peft, cases, torch.float64)
    out |= {f"sft.after.{n}": p for n, p in after.items()}
    meta = {"sft": facts | dict(steps=STEPS, warmup=WARMUP, lr=LR, max_norm=MAX_NORM, weight_decay=DECAY)}
    meta["sft"]["f32_error"] = max(float((after[n] - p).abs().max()) for n, p in exact.items())
    meta["sft"]["f32_loss_error"] = max(abs(a / b - 1) for a, b in zip(facts["losses"], wide["losses"]))

    rng, scored = generator(9), {}
    with torch.no_grad():
        for name, case in cases.items():
            logp = log_probabilities(peft, case, torch.float32)
            with peft.disable_adapter():
                ref = log_probabilities(peft, case, torch.float32)
            old = logp + 0.35 * torch.randn(logp.shape, generator=rng)
            scored[name] = dict(old=old, ref=ref)
            out |= {f"grpo.logp.{name}": logp, f"grpo.old.{name}": old, f"grpo.ref.{name}": ref}
    meta["grpo"] = dict(epsilon_low=LOW, epsilon_high=HIGH, beta=BETA, max_completion_length=MAX_LENGTH, losses={})
    meta["grpo"]["advantages"] = list(ADVANTAGES.values())
    for kind in LOSSES:
        loss, gradients, after = grpo(peft, cases, kind, scored, torch.float32)
        _, exact, exact_after = grpo(peft, cases, kind, scored, torch.float64)
        out |= {f"grpo.{kind}.grad.{n}": g for n, g in gradients.items()}
        out |= {f"grpo.{kind}.after.{n}": p for n, p in after.items()}
        meta["grpo"]["losses"][kind] = dict(
            loss=loss,
            f32_gradient_error=max(relative(gradients[n], g) for n, g in exact.items()),
            f32_step_error=max(float((after[n] - p).abs().max()) for n, p in exact_after.items()),
        )
    directory = fresh(FIXTURES / "trajectory")
    write_tensors(directory / "trajectory.safetensors", out)
    write_json(directory / "trajectory.json", meta)
    print(json.dumps(meta, indent=1))


if __name__ == "__main__":
    one_thread()
    main()
