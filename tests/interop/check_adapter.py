"""Load an adapter directory in peft on top of a model directory and run one prompt.

    check_adapter.py MODEL_DIR ADAPTER_DIR --prompt-file P.txt [--image A.png ...] [--max-new-tokens N]

Prints logits with the adapter, with it disabled and merged (last position), greedy_ids, and the
number of adapter tensors; fails if a tensor of the file is not used or one is missing.
"""

import argparse
from pathlib import Path

from common import add_prompt_arguments, emit, encode, greedy, last_logits, load_model, load_processor, read_prompt, require


def check_tensors(peft, adapter_dir):
    """Every tensor in the file is in the model, with equal values, and the other way round."""
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import load_file

    in_file = load_file(Path(adapter_dir) / "adapter_model.safetensors")
    in_model = get_peft_model_state_dict(peft)
    if in_file.keys() != in_model.keys():
        raise SystemExit(f"adapter tensors differ: {sorted(in_file.keys() ^ in_model.keys())[:8]}")
    for name, value in in_file.items():
        if not torch.equal(value.float(), in_model[name].float()):
            raise SystemExit(f"adapter tensor {name} was not loaded")
    return len(in_file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir")
    parser.add_argument("adapter_dir")
    add_prompt_arguments(parser)
    arguments = parser.parse_args()
    require("torch", "torchvision", "transformers", "peft", "PIL")
    from peft import PeftModel

    processor, model = load_processor(arguments.model_dir), load_model(arguments.model_dir)
    peft = PeftModel.from_pretrained(model, arguments.adapter_dir).eval()
    tensors = check_tensors(peft, arguments.adapter_dir)
    prompt, system = read_prompt(arguments)
    inputs = encode(processor, arguments.image, prompt, system)

    with_adapter = last_logits(peft, inputs)
    with peft.disable_adapter():
        without = last_logits(peft, inputs)
    ids = greedy(peft, inputs, arguments.max_new_tokens, stop=False)
    config = next(iter(peft.peft_config.values()))
    emit({
        "input_ids": inputs["input_ids"][0].tolist(),
        "logits": with_adapter.tolist(),
        "logits_disabled": without.tolist(),
        "logits_merged": last_logits(peft.merge_and_unload(), inputs).tolist(),
        "greedy_ids": ids,
        "tensors": tensors,
        "r": config.r,
        "lora_alpha": config.lora_alpha,
        "largest_change": float((with_adapter - without).abs().max()),
    })


if __name__ == "__main__":
    main()
