"""Shared by the fixture generators: paths, seeded random tensors, deterministic writing."""

import json
import os
import shutil
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
from safetensors.torch import save_file

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"


def one_thread():
    """One thread and deterministic kernels: a second run writes the same bytes."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def fresh(directory):
    """An empty directory in the place of whatever was there."""
    directory = Path(directory)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def write_json(path, value, indent=1):
    Path(path).write_text(json.dumps(value, indent=indent) + "\n")


def write_tensors(path, tensors):
    """Write tensors, refusing non-finite or constant ones: those would test nothing."""
    clean = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().contiguous().clone()
        if tensor.is_floating_point():
            if not torch.isfinite(tensor).all():
                raise ValueError(f"{name} is not finite")
            if tensor.numel() > 1 and float(tensor.float().std()) == 0.0:
                raise ValueError(f"{name} is constant")
        clean[name] = tensor
    save_file(clean, str(path), metadata={"format": "pt"})


def relative(a, b):
    """Norm of the difference over the norm of the reference."""
    return float((a.double() - b.double()).norm() / b.double().norm().clamp(min=1e-30))
