"""Videos: what the processor of `transformers` makes of frames and prompts, and a tiny model of rows with videos.

Run `python make_qwen3_vl_video.py` after make_qwen3_vl.py, whose model `tied` it uses; it rewrites
fixtures/qwen3_vl_video. Keys are listed in fixtures/README.md.
"""

import hashlib
import json

from common import FIXTURES, fresh, generator, one_thread, write_json, write_tensors

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast, Qwen3VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor, smart_resize
from transformers.video_utils import VideoMetadata

import make_qwen3_vl as dense

DIRECTORY = FIXTURES / "qwen3_vl_video"
TEMPLATE = FIXTURES.parent.parent / "crates/vtb-models-vlm/src/tiny/chat_template.jinja"
# name -> frames, height, width, frames per second, bounds of pixels
CLIPS = {
    "whole": (12, 64, 96, 4.0, (4096, 1 << 24)),  # every second frame, no resizing
    "odd": (5, 64, 64, 24.0, (4096, 1 << 24)),  # fewer than the least number of frames wants, one repeated
    "shrunk": (9, 100, 170, 3.0, (4096, 60_000)),
    "grown": (4, 20, 40, 30.0, (40_000, 1 << 24)),
}


def frames(count, height, width):
    """Moving stripes, by whole numbers, so that other programs can draw them again."""
    t, y, x, c = np.ogrid[0:count, 0:height, 0:width, 0:3]
    return (((x // 5 * 37 + y // 7 * 61 + t * 29 + c * 83) * 11) % 256).astype(np.uint8)


def video_processor(bounds):
    return Qwen3VLVideoProcessor(
        size=dict(shortest_edge=bounds[0], longest_edge=bounds[1]), patch_size=16, temporal_patch_size=2,
        merge_size=2, image_mean=[0.5] * 3, image_std=[0.5] * 3, fps=2, min_frames=4, max_frames=768,
        cap_pixels_per_frame=False,
    )


def metadata(clip):
    count, height, width, fps, _ = clip
    return VideoMetadata(total_num_frames=count, fps=fps, width=width, height=height, duration=count / fps,
                         frames_indices=list(range(count)))


def run(clip):
    made = video_processor(clip[4])(
        videos=[torch.from_numpy(frames(*clip[:3])).permute(0, 3, 1, 2)], video_metadata=[metadata(clip)],
        do_sample_frames=True, return_metadata=True, return_tensors="pt",
    )
    meta = made["video_metadata"][0]
    indices = [int(i) for i in meta.frames_indices]
    stamps = Qwen3VLProcessor._calculate_timestamps(None, list(indices), meta.fps, 2)
    return made, indices, stamps


def tokenizer():
    """Bytes and the tokens that matter: enough to compare prompts."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
               "<|video_pad|>"]
    inner.add_special_tokens(special)
    made = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    made.chat_template = TEMPLATE.read_text()
    return made


def prompts():
    """Ids of prompts with videos, in the nested form of `transformers` 5 and without its outer pair."""
    words = tokenizer()
    words._tokenizer.save(str(DIRECTORY / "tokenizer.json"))
    processor = Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(patch_size=16, merge_size=2, temporal_patch_size=2),
        tokenizer=words, video_processor=video_processor((4096, 1 << 24)), chat_template=TEMPLATE.read_text(),
    )
    start, end, pad = (words.convert_tokens_to_ids(t) for t in ("<|vision_start|>", "<|vision_end|>", "<|video_pad|>"))
    cases = []
    for names, parts in [
        (["whole"], [{"type": "video"}, {"type": "text", "text": "What moves?"}]),
        (["odd", "whole"], [{"type": "text", "text": "First"}, {"type": "video"}, {"type": "text", "text": " or <"},
                            {"type": "video"}, {"type": "text", "text": "?"}]),
    ]:
        clips = [CLIPS[name] for name in names]
        text = processor.apply_chat_template([{"role": "user", "content": parts}], tokenize=False,
                                             add_generation_prompt=True)
        made = processor(
            text=[text], videos=[torch.from_numpy(frames(*c[:3])).permute(0, 3, 1, 2) for c in clips],
            video_metadata=[metadata(c) for c in clips], do_sample_frames=True,
        )
        nested = list(np.asarray(made["input_ids"])[0])
        nested = [int(i) for i in nested]
        # The outer pair: a start that no placeholder follows, an end that no placeholder comes before.
        keep = [
            not (i == start and nested[k + 1] != pad) and not (i == end and nested[k - 1] != pad)
            for k, i in enumerate(nested)
        ]
        groups = [i for i, k in zip(nested, keep) if k]
        if len(nested) - len(groups) != 2 * len(clips):
            raise ValueError("the outer pairs were not found")
        cases.append(dict(clips=names, parts=parts, nested=nested, groups=groups,
                          text=words.decode(groups), grids=np.asarray(made["video_grid_thw"]).tolist()))
    return cases


def vision_rows(patch, seed):
    """Rows of a tiny model: a video alone, and one between two pictures."""
    rng = generator(seed)
    width = 3 * 2 * patch ** 2
    rows = {}
    for name, layout in {
        "video": [3, ("video", 3, 4, 2), 5],
        "mixed": [2, ("image", 1, 2, 4), 3, ("video", 2, 2, 4), 1, ("image", 1, 4, 2), 6],
    }.items():
        ids, pixels, grids, kinds = [], {"image": [], "video": []}, {"image": [], "video": []}, []
        for part in layout:
            if isinstance(part, int):
                ids += dense.tokens(rng, part)
                continue
            kind, t, h, w = part
            pad = dense.IMAGE if kind == "image" else dense.VIDEO
            for group in range(t):
                if kind == "video":
                    ids += dense.tokens(rng, 2)  # in the place of a timestamp
                ids += [dense.START] + [pad] * (h * w // 4) + [dense.END]
            levels = torch.randint(0, 256, (t * h * w, width), generator=rng)
            pixels[kind].append(levels.float() / 127.5 - 1.0)
            grids[kind].append([t, h, w])
            kinds.append([0 if kind == "image" else 1, t, h, w])
        tail = layout[-1]
        labels = [-100] * (len(ids) - tail) + ids[-tail:]
        row = dict(input_ids=torch.tensor([ids]), labels=torch.tensor([labels]), order=torch.tensor(kinds))
        for kind, key, grid in (("image", "pixel_values", "image_grid_thw"),
                                ("video", "pixel_values_videos", "video_grid_thw")):
            if pixels[kind]:
                row |= {key: torch.cat(pixels[kind]), grid: torch.tensor(grids[kind])}
        rows[name] = row
    return rows


def called(row):
    made = {k: v for k, v in row.items() if k not in ("labels", "order")}
    ids = row["input_ids"]
    made["mm_token_type_ids"] = (ids == dense.IMAGE).long() + 2 * (ids == dense.VIDEO).long()
    return made


def model_cases(model, rows, kept):
    """What the model computes with the rows, the gradients named `kept` among it; and the greedy margins."""
    out, meta = {}, {}
    for name, row in rows.items():
        made = called(row)
        ids, delta = model.model.get_rope_index(**{k: v for k, v in made.items() if "pixel" not in k})
        with torch.no_grad():
            result = model(**made, output_hidden_states=True)
            generated = model.generate(**made, max_new_tokens=16, do_sample=False, pad_token_id=0, eos_token_id=None,
                                       return_dict_in_generate=True, output_logits=True)
        greedy = generated.sequences[:, row["input_ids"].shape[1]:]
        meta[name] = dense.check_greedy(name, greedy, torch.stack(generated.logits, dim=1))
        found = {"input_ids": row["input_ids"][0], "labels": row["labels"][0], "order": row["order"],
                 "position_ids": ids[:, 0], "rope_delta": delta[0], "logits": result.logits[0],
                 "embedded": result.hidden_states[0][0],
                 "greedy.ids": greedy[0]}
        for key in ("pixel_values", "pixel_values_videos"):
            if key in row:
                found[key] = row[key]
        model.zero_grad()
        total, count = dense.token_nll(model(**made).logits, row["labels"])
        (total / count).backward()
        found["loss"] = (total / count).detach().reshape(1)
        for parameter in kept:
            found[f"grad.{parameter}"] = model.get_parameter(parameter).grad.clone()
        out |= {f"{name}.{k}": v for k, v in found.items()}
    return out, meta


def tiny_cases():
    model = Qwen3VLForConditionalGeneration.from_pretrained(
        FIXTURES / "qwen3_vl/tied", attn_implementation="eager").eval()
    kept = ("model.visual.merger.linear_fc2.bias", "model.visual.deepstack_merger_list.1.linear_fc1.bias",
            "model.visual.blocks.0.attn.proj.weight", "model.visual.patch_embed.proj.bias")
    out, meta = model_cases(model, vision_rows(16, 77), kept)
    write_tensors(DIRECTORY / "cases.safetensors", out)
    return meta


def sizes():
    """Frames, height, width, bounds and the reference's size; null where it refuses."""
    rng = np.random.default_rng(8)
    table = []
    for _ in range(150):
        count = int(np.exp(rng.uniform(0.3, 6.5)))
        height, width = (int(v) for v in np.exp(rng.uniform(2, 7.6, 2)))
        low, high = [(4096, 25165824), (128 * 1024, 768 * 1024)][int(rng.integers(0, 2))]
        try:
            size = list(smart_resize(count, height, width, 2, 32, low, high))
        except ValueError:
            size = None
        table.append([count, height, width, low, high, size])
    return table


def main():
    fresh(DIRECTORY)
    clips = {}
    tensors = {}
    for name, clip in CLIPS.items():
        made, indices, stamps = run(clip)
        pixels = made["pixel_values_videos"].float().contiguous()
        clips[name] = dict(
            frames=clip[0], height=clip[1], width=clip[2], fps=clip[3], min_pixels=clip[4][0], max_pixels=clip[4][1],
            indices=indices, timestamps=stamps, grid_thw=made["video_grid_thw"][0].tolist(),
            patches=list(pixels.shape), sha256=hashlib.sha256(pixels.numpy().astype("<f4").tobytes()).hexdigest(),
        )
        tensors[name] = pixels.flatten()[::37].clone()
        print(name, clips[name])
    write_tensors(DIRECTORY / "patches.safetensors", tensors)
    cases = dict(clips=clips, stride=37, prompts=prompts(), sizes=sizes(), greedy_margin=tiny_cases())
    write_json(DIRECTORY / "cases.json", cases, indent=None)
    print(json.dumps(cases["greedy_margin"]), [p["text"][:200] for p in cases["prompts"]])


if __name__ == "__main__":
    one_thread()
    main()
