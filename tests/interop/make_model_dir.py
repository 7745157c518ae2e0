"""Write what a stranger would bring: a random tiny Qwen3-VL with its processor, and training files.

    make_model_dir.py OUT [--seed N] [--tie] [--max-shard-size 200KB]

OUT/model      saved by transformers: config, weights, byte-level BPE tokenizer, processor, template
OUT/sft.jsonl  24 rows in the ms-swift layout, image paths relative to the file
OUT/grpo.jsonl the same rows without the assistant turn
OUT/images     the pictures
OUT/prompt.txt a prompt for the other scripts; OUT/images/choice_00.png goes with it
"""

import argparse
import json
from pathlib import Path

from common import emit, require

SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
]
# added to the vocabulary, but kept when special tokens are skipped
ADDED = [
    "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
    "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>",
]

TEMPLATE = """\
{%- macro show(content) -%}
{%- if content is string -%}{{ content }}
{%- else -%}
{%- for part in content -%}
{%- if part.type == 'image' or 'image' in part or 'image_url' in part -%}<|vision_start|><|image_pad|><|vision_end|>
{%- elif part.type == 'video' or 'video' in part -%}<|vision_start|><|video_pad|><|vision_end|>
{%- elif 'text' in part -%}{{ part.text }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' }}{{ show(message.content) }}{{ '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""

COLOURS = {"A": (200, 40, 40), "B": (40, 160, 60), "C": (50, 80, 210), "D": (230, 190, 40)}
CHOICE = "Four squares are painted, one of them larger than the rest. Which one is larger? Reply with A, B, C or D."
MAZE = "The cells are numbered row by row from 1. Walk from cell {start} to cell {goal} and list every cell as [a, b, ...]."
WORDS = """A small model looks at a picture and writes a short answer inside <answer> and </answer>.
The letters A B C D name the candidates, the numbers 0 1 2 3 4 5 6 7 8 9 name the cells.
assistant user system reply option answer: (A) (B) (C) (D) [1, 2, 3, 4] [5, 6, 7] question? yes, no!"""


def build_tokenizer():
    """Byte-level BPE trained here, wrapped in the class that published checkpoints name."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer

    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.NFC()
    trained.pre_tokenizer = Qwen2Tokenizer().backend_tokenizer.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=420, min_frequency=2, show_progress=False, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    corpus = [WORDS, CHOICE, *(MAZE.format(start=s, goal=9 - s) for s in range(1, 9))] * 3
    trained.train_from_iterator(corpus, trainer)
    state = json.loads(trained.to_str())["model"]
    merges = [tuple(m) for m in state["merges"]]
    tokenizer = Qwen2Tokenizer(vocab=state["vocab"], merges=merges, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": [t for t in SPECIAL if t not in ("<|endoftext|>", "<|im_end|>")]})
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in ADDED])
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def build_processor(tokenizer):
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    half = dict(image_mean=[0.5] * 3, image_std=[0.5] * 3, patch_size=16, temporal_patch_size=2, merge_size=2)
    image = Qwen2VLImageProcessor(size=dict(shortest_edge=4096, longest_edge=65536), **half)
    video = Qwen3VLVideoProcessor(size=dict(shortest_edge=4096, longest_edge=65536), **half)
    return Qwen3VLProcessor(image_processor=image, tokenizer=tokenizer, video_processor=video, chat_template=TEMPLATE)


def build_model(tokenizer, seed, tie):
    """Random weights of unit gain; a few rows of the embedding have no token, as in published models."""
    import torch
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    ids = tokenizer.convert_tokens_to_ids
    rows = (len(tokenizer) // 64 + 1) * 64
    rope = dict(rope_type="default", rope_theta=5e6, mrope_interleaved=True, mrope_section=[4, 2, 2])
    config = Qwen3VLConfig(
        text_config=dict(
            vocab_size=rows, hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, head_dim=16, rms_norm_eps=1e-6, max_position_embeddings=2048,
            rope_parameters=rope, tie_word_embeddings=tie,
        ),
        vision_config=dict(
            depth=3, hidden_size=32, intermediate_size=64, num_heads=2, patch_size=16, temporal_patch_size=2,
            spatial_merge_size=2, out_hidden_size=64, num_position_embeddings=64, deepstack_visual_indexes=[0, 1],
            hidden_act="gelu_pytorch_tanh",
        ),
        image_token_id=ids("<|image_pad|>"), video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"), vision_end_token_id=ids("<|vision_end|>"), tie_word_embeddings=tie,
    )
    model = Qwen3VLForConditionalGeneration(config).float().eval()
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=rng)
            if name.endswith("language_model.norm.weight"):
                # signs at random: with tied weights the last token would otherwise always win
                parameter.copy_(torch.where(noise > 0, 1.0, -1.0))
            elif parameter.dim() == 1:
                parameter.copy_(0.1 * noise + (1.0 if name.endswith("weight") else 0.0))
            elif name.endswith(("embed_tokens.weight", "pos_embed.weight")):
                parameter.copy_(0.2 * noise)
            else:
                gain = 0.4 if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.0
                parameter.copy_(gain * noise / parameter[0].numel() ** 0.5)
    config_generation = model.generation_config
    config_generation.eos_token_id = [ids("<|im_end|>"), ids("<|endoftext|>")]
    config_generation.pad_token_id = ids("<|endoftext|>")
    config_generation.do_sample, config_generation.temperature = True, 0.7
    config_generation.top_k, config_generation.top_p = 20, 0.8
    return model


def draw_choice(path, index):
    from PIL import Image, ImageDraw

    width = 96 if index % 3 == 0 else 64
    image = Image.new("RGB", (width, 64), "white")
    pen, answer = ImageDraw.Draw(image), "ABCD"[(index * 7 + 3) % 4]
    for slot, letter in enumerate("ABCD"):
        x, y = width // 4 + (slot % 2) * width // 2, 16 + (slot // 2) * 32
        half = 12 if letter == answer else 6 + index % 3
        pen.rectangle([x - half, y - half, x + half, y + half], fill=COLOURS[letter])
    image.save(path)
    return answer


def draw_maze(path, index):
    """A 3x3 grid with one corridor; the list of its cells is the answer."""
    from PIL import Image, ImageDraw

    walks = [[1, 2, 3, 6, 9], [1, 4, 7, 8, 9], [3, 2, 5, 8, 7], [7, 4, 5, 6, 3]]
    walk = walks[index % len(walks)]
    image = Image.new("RGB", (96, 96), (20, 20, 20))
    pen = ImageDraw.Draw(image)
    centre = lambda cell: ((cell - 1) % 3 * 32 + 16, (cell - 1) // 3 * 32 + 16)
    pen.line([centre(c) for c in walk], fill="white", width=20)
    for cell, colour in ((walk[0], (40, 160, 60)), (walk[-1], (200, 40, 40))):
        x, y = centre(cell)
        pen.ellipse([x - 7, y - 7, x + 7, y + 7], fill=colour)
    image.save(path)
    return walk


def rows(images):
    """16 multiple-choice rows and 8 maze rows; every fourth leaves its image tag out."""
    for index in range(24):
        if index % 3 < 2:
            name, prompt = f"choice_{index:02}.png", CHOICE
            solution, kind = draw_choice(images / name, index), ("midpoint", "eyeballing")
        else:
            name = f"maze_{index:02}.png"
            walk = draw_maze(images / name, index // 3)
            prompt, solution = MAZE.format(start=walk[0], goal=walk[-1]), json.dumps(walk)
            kind = ("maze_square", "maze")
        tag = "" if index % 4 == 3 else "<image> "
        yield {
            "id": f"row-{index:02}", "messages": [{"role": "user", "content": tag + prompt}],
            "images": [f"images/{name}"], "solution": solution, "task_type": kind[0], "task_group": kind[1],
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tie", action="store_true")
    parser.add_argument("--max-shard-size", default="50GB")
    arguments = parser.parse_args()
    require("torch", "torchvision", "transformers", "tokenizers", "PIL")

    out = Path(arguments.out)
    images = out / "images"
    images.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, arguments.seed, arguments.tie)
    model.save_pretrained(out / "model", max_shard_size=arguments.max_shard_size)
    build_processor(tokenizer).save_pretrained(out / "model")

    made = list(rows(images))
    (out / "grpo.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    for row in made:
        row["messages"] = row["messages"] + [{"role": "assistant", "content": row["solution"]}]
    (out / "sft.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    (out / "prompt.txt").write_text(CHOICE)
    emit({
        "model": str(out / "model"), "sft": str(out / "sft.jsonl"), "grpo": str(out / "grpo.jsonl"), "rows": len(made),
        "tokens": len(tokenizer), "parameters": sum(p.numel() for p in model.parameters()),
        "prompt_file": str(out / "prompt.txt"), "image": str(images / "choice_00.png"),
        "files": sorted(p.name for p in (out / "model").iterdir()),
    })


if __name__ == "__main__":
    main()
