"""Shared by the interop scripts.

Each script prints one JSON object on stdout. Where Python packages are missing it prints
{"skipped": "..."} and exits with code 77, so that a test can tell "absent" from "wrong".
"""

import importlib.util
import json
import os
import sys

SKIPPED = 77

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def require(*packages):
    missing = [p for p in packages if importlib.util.find_spec(p) is None]
    if missing:
        print(json.dumps({"skipped": "Python packages missing: " + ", ".join(missing)}))
        sys.exit(SKIPPED)


def emit(value):
    print(json.dumps(value))


def load_model(directory):
    """The model in f32 with eager attention; a tensor too many or too few is an error."""
    import torch
    from transformers import AutoModelForImageTextToText

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    model, report = AutoModelForImageTextToText.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    faults = {k: sorted(map(str, v)) for k, v in report.items() if v}
    if faults:
        raise SystemExit(f"{directory} does not load cleanly: {faults}")
    return model.eval()


def load_processor(directory):
    """The processor with Pillow's resize, which does not depend on torchvision's version."""
    from transformers import AutoImageProcessor, AutoProcessor

    processor = AutoProcessor.from_pretrained(directory)
    processor.image_processor = AutoImageProcessor.from_pretrained(directory, backend="pil")
    return processor


def encode(processor, images, prompt, system=None):
    """One user turn: the images, then the text; ready for an answer."""
    from PIL import Image

    content = [{"type": "image", "image": Image.open(p).convert("RGB")} for p in images]
    content.append({"type": "text", "text": prompt})
    messages = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
    messages.append({"role": "user", "content": content})
    return processor.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )


def last_logits(model, inputs):
    import torch

    with torch.no_grad():
        return model(**inputs).logits[0, -1].float()


def greedy(model, inputs, steps, stop):
    """Greedy ids. The four vision ids are never chosen; `stop` False ignores the end tokens."""
    import torch

    config = model.config
    vision = [config.image_token_id, config.video_token_id, config.vision_start_token_id, config.vision_end_token_id]
    if not stop:
        model.generation_config.eos_token_id = None
    with torch.no_grad():
        out = model.generate(
            **inputs, max_new_tokens=steps, do_sample=False, suppress_tokens=vision,
            temperature=None, top_p=None, top_k=None, repetition_penalty=1.0,
        )
    return out[0, inputs["input_ids"].shape[1]:].tolist()


def add_prompt_arguments(parser):
    parser.add_argument("--image", action="append", default=[], help="picture file; repeat for several")
    parser.add_argument("--prompt-file", required=True, help="UTF-8 text of the user turn")
    parser.add_argument("--system-file", help="UTF-8 text of a system turn")
    parser.add_argument("--max-new-tokens", type=int, default=16)


def read_prompt(arguments):
    from pathlib import Path

    system = Path(arguments.system_file).read_text() if arguments.system_file else None
    return Path(arguments.prompt_file).read_text(), system
