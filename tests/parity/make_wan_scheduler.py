"""Noise levels and steps of the samplers used with Wan: UniPC and Euler of `diffusers`, and Wan's own grid.

Run `python make_wan_scheduler.py`; it rewrites fixtures/wan/scheduler.json and scheduler_config.json. Keys are listed in
fixtures/README.md.
"""

import math

from common import FIXTURES, generator, one_thread, write_json

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

ROOT = FIXTURES / "wan"
STEPS = (1, 2, 4, 10, 50)
SHIFTS = (5.0, 3.0)
WIDTH = 6


def unipc(shift):
    """With the settings published for TI2V."""
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift, num_train_timesteps=1000,
        solver_order=2, solver_type="bh2")


def grid(scheduler, steps, shift, **how):
    scheduler.set_timesteps(**(how or {"num_inference_steps": steps}))
    return dict(steps=steps, flow_shift=shift, timesteps=scheduler.timesteps.tolist(), sigmas=scheduler.sigmas.tolist())


def walk(shift, steps, start, constant, wide=False):
    """v = 0.3 x + cos(i) c at every step, in f32, or in f64 from the same noise levels."""
    scheduler = unipc(shift)
    scheduler.set_timesteps(steps)
    x, c = (start.double(), constant.double()) if wide else (start, constant)
    x = x[None]  # the solver wants a batch
    if wide:
        scheduler.sigmas = scheduler.sigmas.double()
    velocities, samples = [], []
    for i, t in enumerate(scheduler.timesteps):
        v = 0.3 * x + math.cos(i) * c
        x = scheduler.step(v, t, x, return_dict=False)[0]
        velocities.append(v[0])
        samples.append(x[0])
    return velocities, samples


def trajectory(shift, steps, rng):
    start, constant = torch.randn(2, WIDTH, generator=rng)
    velocities, samples = walk(shift, steps, start, constant)
    _, exact = walk(shift, steps, start, constant, wide=True)
    return dict(
        steps=steps, flow_shift=shift, start=start.tolist(), constant=constant.tolist(),
        velocities=[v.tolist() for v in velocities], samples=[s.tolist() for s in samples],
        f32_rounding=max(float((a - b).abs().max()) for a, b in zip(samples, exact)),
    )


def euler(shift, steps):
    """The grid of DiffSynth: from 1 down in equal steps, shifted; f64 by the formula as a check."""
    levels = np.linspace(1.0, 0.0, steps + 1)[:-1]
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=shift)
    found = grid(scheduler, steps, shift, sigmas=levels)
    expected = shift * levels / (1 + (shift - 1) * levels)
    if np.abs(np.array(found["sigmas"][:-1]) - expected).max() > 2e-7 or found["sigmas"][-1] != 0.0:
        raise ValueError("the scheduler follows another formula")
    return found


def wan(shift, steps):
    """Wan's own grid: it begins at 0.999 before the shift, and the model is fed whole timesteps."""
    levels = np.linspace(0.999, 0.0, steps + 1)[:-1]
    sigmas = shift * levels / (1 + (shift - 1) * levels)
    return dict(steps=steps, flow_shift=shift, timesteps=(sigmas * 1000).astype(np.int64).tolist(),
                sigmas=np.append(sigmas, 0.0).astype(np.float32).tolist())


def main():
    ROOT.mkdir(exist_ok=True)
    unipc(5.0).save_pretrained(ROOT)
    rng = generator(71)
    made = dict(
        unipc=[grid(unipc(shift), steps, shift) for shift in SHIFTS for steps in STEPS],
        trajectories=[trajectory(shift, steps, rng) for shift in SHIFTS for steps in STEPS[:-1]],
        euler=[euler(shift, steps) for shift in SHIFTS for steps in STEPS],
        wan=[wan(shift, steps) for shift in SHIFTS for steps in STEPS],
    )
    if made["unipc"][2]["timesteps"] != [999, 937, 833, 625] or made["wan"][4]["timesteps"][:3] != [999, 995, 991]:
        raise ValueError("timesteps are not those known")
    write_json(ROOT / "scheduler.json", made, indent=None)
    print([t["f32_rounding"] for t in made["trajectories"]])


if __name__ == "__main__":
    one_thread()
    main()
