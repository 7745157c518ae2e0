"""PyTorch and transformers at the configuration our own benchmark uses; prints one JSON object.

    bench_vlm_reference.py [--threads 2] [--reps 9] [--eager] [--batch 8]

A Qwen3-VL of 7.6 M parameters in f32 on the CPU. Each of the `batch` rows is one 256x256 picture
(256 patches, 64 merged tokens) and 128 other tokens, 192 positions.

  lora_forward_backward  rank 16 on the seven text projections, logits at every position, loss on the
                         tokens that are not picture; the frozen vision tower has no backward pass
  generate_greedy        128 tokens per row with a cache, prefill included, no end token
  generate_adapter_16    the same for 16 rows, with the adapter on

Weights are random on both sides: time does not depend on their values. Run it beside the Rust
benchmark on an otherwise idle machine; `other_cores` says how busy the rest of it was.
"""

import argparse
import importlib.util
import json
import os
import platform
import resource
import statistics
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

TEXT = dict(
    vocab_size=4096, hidden_size=256, intermediate_size=768, num_hidden_layers=4, num_attention_heads=8,
    num_key_value_heads=2, head_dim=32, rms_norm_eps=1e-6, max_position_embeddings=4096,
    rope_parameters=dict(rope_type="default", rope_theta=5e6, mrope_interleaved=True, mrope_section=[6, 5, 5]),
)
VISION = dict(
    depth=4, hidden_size=128, intermediate_size=512, num_heads=4, patch_size=16, temporal_patch_size=2,
    spatial_merge_size=2, out_hidden_size=256, num_position_embeddings=2304, deepstack_visual_indexes=[1, 2],
)
IMAGE, VIDEO, START, END = 4000, 4001, 4002, 4003
GRID, OTHER, NEW_TOKENS = 16, 128, 128
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def build(attention):
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    config = Qwen3VLConfig(
        text_config=TEXT, vision_config=VISION, image_token_id=IMAGE, video_token_id=VIDEO,
        vision_start_token_id=START, vision_end_token_id=END, tie_word_embeddings=False,
    )
    config._attn_implementation = attention
    return Qwen3VLForConditionalGeneration(config).float()


def make_inputs(batch):
    import torch

    rng = torch.Generator().manual_seed(1)
    words = torch.randint(0, IMAGE, (batch, OTHER - 2), generator=rng)
    mark = lambda token, n=1: torch.full((batch, n), token)
    ids = torch.cat([mark(START), mark(IMAGE, GRID * GRID // 4), mark(END), words], dim=1)
    return dict(
        input_ids=ids, attention_mask=torch.ones_like(ids), mm_token_type_ids=(ids == IMAGE).long(),
        pixel_values=torch.randn(batch * GRID * GRID, 3 * 2 * 16 * 16, generator=rng),
        image_grid_thw=torch.tensor([[1, GRID, GRID]] * batch),
    )


def busy_seconds():
    """CPU seconds of the whole machine and of this process; None where there is no /proc."""
    try:
        fields = [int(v) for v in open("/proc/stat").readline().split()[1:8]]
    except OSError:
        return None
    used = resource.getrusage(resource.RUSAGE_SELF)
    own = used.ru_utime + used.ru_stime
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK") - own


def measure(work, reps, warm=2):
    """Median of `reps` timed calls after `warm` untimed ones."""
    for _ in range(warm):
        work()
    before, began, times = busy_seconds(), time.perf_counter(), []
    for _ in range(reps):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    after, wall = busy_seconds(), time.perf_counter() - began
    return dict(
        median_s=statistics.median(times), min_s=min(times), max_s=max(times), reps=reps,
        other_cores=None if before is None else round(max(0.0, (after - before) / wall), 3),
    )


def bench_generate(model, inputs, reps):
    model.eval()
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0

    def work():
        out = model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
        made = out.shape[1] - inputs["input_ids"].shape[1]
        if made != NEW_TOKENS:
            raise RuntimeError(f"generated {made} tokens instead of {NEW_TOKENS}")

    result = measure(work, reps, warm=1)
    batch = inputs["input_ids"].shape[0]
    result["tokens_per_s"] = batch * NEW_TOKENS / result["median_s"]
    return result


def adapt(model):
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, bias="none", target_modules=TARGETS)
    return get_peft_model(model, lora)


def bench_lora(peft, inputs, reps):
    import torch

    peft.train()
    trained = [p for p in peft.parameters() if p.requires_grad]
    labels = inputs["input_ids"].masked_fill(inputs["input_ids"] == IMAGE, -100)
    targets = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=-100).flatten()

    def work():
        logits = peft(**inputs, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets, ignore_index=-100)
        loss.backward()
        if any(p.grad is None for p in trained):
            raise RuntimeError("an adapter factor received no gradient")
        for parameter in trained:
            parameter.grad = None

    result = measure(work, reps)
    result["trainable_parameters"] = sum(p.numel() for p in trained)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--reps", type=int, default=9)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--eager", action="store_true", help="plain attention in place of the fused one")
    arguments = parser.parse_args()
    missing = [p for p in ("torch", "transformers", "peft") if importlib.util.find_spec(p) is None]
    if missing:
        print(json.dumps({"skipped": "Python packages missing: " + ", ".join(missing)}))
        sys.exit(77)
    import peft
    import torch
    import transformers

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model, inputs = build("eager" if arguments.eager else "sdpa"), make_inputs(arguments.batch)
    report = dict(
        threads=arguments.threads, batch=arguments.batch, positions=inputs["input_ids"].shape[1],
        attention="eager" if arguments.eager else "sdpa", parameters=sum(p.numel() for p in model.parameters()),
        versions=dict(python=platform.python_version(), torch=torch.__version__,
                      transformers=transformers.__version__, peft=peft.__version__),
    )
    report["generate_greedy"] = bench_generate(model, inputs, arguments.reps)
    adapted = adapt(model)
    report["lora_forward_backward"] = bench_lora(adapted, inputs, arguments.reps)
    report["generate_adapter_16"] = bench_generate(adapted, make_inputs(16), arguments.reps)
    report["peak_rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(report))


if __name__ == "__main__":
    main()
