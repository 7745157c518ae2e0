"""Write a PEFT adapter for a model directory, and what the model says with it.

    make_adapter.py MODEL_DIR OUT --prompt-file P.txt [--image A.png ...] [--targets list|regex] [--seed N]

OUT receives adapter_config.json, adapter_model.safetensors and expected.json (the fields of
check_adapter.py). Both factors are random, so the adapter is far from doing nothing.
"""

import argparse
import json
from pathlib import Path

from common import add_prompt_arguments, emit, encode, greedy, last_logits, load_model, load_processor, read_prompt, require

TARGETS = {
    "list": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "regex": r"model\.language_model\..*\.(q_proj|v_proj|down_proj)|model\.visual\.blocks\.\d+\.attn\.(qkv|proj)",
}


def attach(model, targets, seed):
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=4, lora_alpha=8, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM", target_modules=TARGETS[targets],
    )
    peft = get_peft_model(model, config).eval()
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(peft.named_parameters()):
            if ".lora_" in name:
                scale = parameter.shape[1] ** -0.5 if "lora_A" in name else 0.05
                parameter.copy_(scale * torch.randn(parameter.shape, generator=rng))
    return peft


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir")
    parser.add_argument("out")
    add_prompt_arguments(parser)
    parser.add_argument("--targets", choices=TARGETS, default="list")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    require("torch", "torchvision", "transformers", "peft", "PIL")

    processor, model = load_processor(arguments.model_dir), load_model(arguments.model_dir)
    peft = attach(model, arguments.targets, arguments.seed)
    out = Path(arguments.out)
    peft.save_pretrained(out)
    prompt, system = read_prompt(arguments)
    inputs = encode(processor, arguments.image, prompt, system)
    with peft.disable_adapter():
        without = last_logits(peft, inputs)
    expected = {
        "input_ids": inputs["input_ids"][0].tolist(),
        "logits": last_logits(peft, inputs).tolist(),
        "logits_disabled": without.tolist(),
        "greedy_ids": greedy(peft, inputs, arguments.max_new_tokens, stop=False),
        "tensors": sum(".lora_" in n for n, _ in peft.named_parameters()),
    }
    (out / "expected.json").write_text(json.dumps(expected) + "\n")
    emit({"adapter": str(out), "tensors": expected["tensors"], "targets": arguments.targets})


if __name__ == "__main__":
    main()
