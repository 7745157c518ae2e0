"""Processed logits after each sampling rule, from the logits processors of `transformers`."""

from common import FIXTURES, fresh, generator, one_thread, write_json, write_tensors

import torch
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

ROWS, VOCAB = 4, 48
SETTINGS = {
    "mild": dict(repetition_penalty=1.1, temperature=0.7, top_k=20, top_p=0.8),
    "harsh": dict(repetition_penalty=1.7, temperature=0.3, top_k=5, top_p=0.5),
    "hot": dict(repetition_penalty=0.8, temperature=1.6, top_k=40, top_p=0.95),
    "one_left": dict(repetition_penalty=1.0, temperature=1.0, top_k=1, top_p=0.01),
}


def finite(scores):
    """Removed entries as the lowest f32: safe to store and to compare."""
    return scores.masked_fill(torch.isneginf(scores), torch.finfo(torch.float32).min)


def processors(setting):
    return [
        ("repetition_penalty", RepetitionPenaltyLogitsProcessor(setting["repetition_penalty"])),
        ("temperature", TemperatureLogitsWarper(setting["temperature"])),
        ("top_k", TopKLogitsWarper(setting["top_k"])),
        ("top_p", TopPLogitsWarper(setting["top_p"])),
    ]


def main():
    directory = fresh(FIXTURES / "sampling")
    rng = generator(41)
    logits = 2.5 * torch.randn(ROWS, VOCAB, generator=rng)
    logits[1] = (logits[1] * 2).round() / 2  # many ties
    logits[2] *= 0.1  # nearly flat
    logits[3, 7] = 14.0  # nearly certain
    history = torch.randint(0, VOCAB, (ROWS, 12), generator=rng)
    out = {"logits": logits, "history": history}
    for name, setting in SETTINGS.items():
        chained = logits
        for rule, processor in processors(setting):
            out[f"{name}.alone.{rule}"] = finite(processor(history, logits.clone()))
            chained = processor(history, chained.clone())
            out[f"{name}.chain.{rule}"] = finite(chained)
        out[f"{name}.probabilities"] = chained.softmax(-1)
        out[f"{name}.logprobs"] = finite(chained.log_softmax(-1))
    write_tensors(directory / "processed.safetensors", out)
    write_json(directory / "settings.json", SETTINGS)


if __name__ == "__main__":
    one_thread()
    main()
