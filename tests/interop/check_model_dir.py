"""Load a model directory in transformers, run one prompt, print what came out.

    check_model_dir.py DIR --prompt-file P.txt [--image A.png ...] [--max-new-tokens N] [--stop]

Prints input_ids, image_grid_thw, prompt (decoded), logits (last position), greedy_ids, greedy_text.
"""

import argparse

from common import add_prompt_arguments, emit, encode, greedy, last_logits, load_model, load_processor, read_prompt, require


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir")
    add_prompt_arguments(parser)
    parser.add_argument("--stop", action="store_true", help="stop at the end tokens (default: ignore them)")
    arguments = parser.parse_args()
    require("torch", "torchvision", "transformers", "PIL")

    processor, model = load_processor(arguments.model_dir), load_model(arguments.model_dir)
    prompt, system = read_prompt(arguments)
    inputs = encode(processor, arguments.image, prompt, system)
    ids = greedy(model, inputs, arguments.max_new_tokens, arguments.stop)
    grid = inputs.get("image_grid_thw")
    emit({
        "input_ids": inputs["input_ids"][0].tolist(),
        "image_grid_thw": [] if grid is None else grid.tolist(),
        "prompt": processor.tokenizer.decode(inputs["input_ids"][0]),
        "logits": last_logits(model, inputs).tolist(),
        "greedy_ids": ids,
        "greedy_text": processor.tokenizer.decode(ids, skip_special_tokens=True),
        "parameters": sum(p.numel() for p in model.parameters()),
        "eos_token_id": processor.tokenizer.eos_token_id,
        "pad_token_id": processor.tokenizer.pad_token_id,
    })


if __name__ == "__main__":
    main()
