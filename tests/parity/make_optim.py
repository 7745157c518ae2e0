"""AdamW trajectories, gradient clipping and learning-rate schedules of torch and transformers."""

from common import FIXTURES, fresh, generator, one_thread, write_json, write_tensors

import torch
from transformers import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

SHAPES = {"decayed.weight": (5, 7), "decayed.lora_A": (2, 9), "plain.bias": (6,)}
STEPS = 6
SETTINGS = {
    "default": dict(lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, max_norm=None),
    "ms_swift": dict(lr=3e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, max_norm=1.0),
    "scheduled": dict(lr=5e-3, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.05, max_norm=0.5, cosine=(2, STEPS)),
}
SCHEDULES = {
    "cosine": get_cosine_schedule_with_warmup,
    "linear": get_linear_schedule_with_warmup,
    "constant": lambda opt, warm, _total: get_constant_schedule_with_warmup(opt, warm),
}


def trajectory(setting, initial, grads):
    """Values and moments after every step; names starting with `plain` are not decayed."""
    params = {n: torch.nn.Parameter(v.clone()) for n, v in initial.items()}
    options = dict(lr=setting["lr"], betas=setting["betas"], eps=setting["eps"])
    groups = [
        dict(params=[p for n, p in params.items() if n.startswith("plain") == plain],
             weight_decay=0.0 if plain else setting["weight_decay"])
        for plain in (False, True)
    ]
    optimizer = torch.optim.AdamW(groups, **options)
    schedule = get_cosine_schedule_with_warmup(optimizer, *setting["cosine"]) if "cosine" in setting else None
    out = {}
    for step in range(STEPS):
        for name, parameter in params.items():
            parameter.grad = grads[f"{step}.{name}"].clone()
        if setting["max_norm"]:
            norm = torch.nn.utils.clip_grad_norm_(params.values(), setting["max_norm"])
        else:
            norm = torch.nn.utils.get_total_norm([p.grad for p in params.values()])
        out[f"{step}.grad_norm"] = norm.reshape(1)
        out |= {f"{step}.clipped.{n}": p.grad.clone() for n, p in params.items()}
        optimizer.step()
        if schedule:
            schedule.step()
        for name, parameter in params.items():
            out[f"{step}.value.{name}"] = parameter.detach().clone()
            out[f"{step}.exp_avg.{name}"] = optimizer.state[parameter]["exp_avg"].clone()
            out[f"{step}.exp_avg_sq.{name}"] = optimizer.state[parameter]["exp_avg_sq"].clone()
    return out


def table(kind, warmup, total, lr=2e-4):
    """Learning rate used by update s = 0, 1, ... total - 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    schedule = SCHEDULES[kind](optimizer, warmup, total)
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return dict(kind=kind, warmup_steps=warmup, total_steps=total, lr=lr, rates=rates)


def main():
    directory, rng = fresh(FIXTURES / "optim"), generator(17)
    initial = {n: torch.randn(s, generator=rng) for n, s in SHAPES.items()}
    grads = {
        f"{step}.{n}": torch.randn(s, generator=rng) * 10 ** (step % 3 - 1)
        for step in range(STEPS) for n, s in SHAPES.items()
    }
    out = {f"initial.{n}": v for n, v in initial.items()} | {f"grad.{n}": v for n, v in grads.items()}
    for name, setting in SETTINGS.items():
        out |= {f"{name}.{k}": v for k, v in trajectory(setting, initial, grads).items()}
    write_tensors(directory / "adamw.safetensors", out)
    write_json(directory / "adamw.json", dict(steps=STEPS, settings=SETTINGS))
    write_json(directory / "schedules.json", [
        table(kind, warmup, total)
        for kind in SCHEDULES for warmup, total in ((0, 10), (3, 20), (5, 5), (1, 12))
    ], indent=None)


if __name__ == "__main__":
    one_thread()
    main()
