"""A tiny editing pipeline and everything `diffusers` computes with it: prompts, latents, pictures.

Run `python make_qwen_image_edit.py`; it rewrites fixtures/qwen_image/pipeline. Keys are listed in fixtures/README.md.

The pipelines of diffusers do not pass `mm_token_type_ids` to the text encoder, which since transformers 5.3 counts
plain 1-D positions without them and says nothing. Here every call passes them, the pipeline's own too; what comes
without is kept beside it.
"""

import contextlib
import copy
import hashlib
import json

from common import FIXTURES, fresh, generator, one_thread, write_json, write_tensors

import numpy as np
import torch
from diffusers import (
    AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler, QwenImageEditPipeline, QwenImageEditPlusPipeline,
    QwenImageTransformer2DModel,
)
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as plus
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer, Qwen2VLImageProcessor, Qwen2VLProcessor,
)
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

from make_preprocess import horizontal_first
from make_qwen2_5_vl import MEAN, STD
from make_qwen_image import SCHEDULER, pack, randomise, unpack

DIRECTORY = FIXTURES / "qwen_image" / "pipeline"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
           "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]
DROPPED = 64
PROMPT = "Draw the path through the maze from the green dot to the red flag, and keep 2 walls."
# (width, height); sizes for which Pillow takes the horizontal pass first, as older versions always do
PICTURES = {"first": (80, 64), "second": (48, 80)}
STRIDE = 101  # of the values of large latents
PIXEL_STRIDE = 997  # of the values of patches
ROW_STRIDE = 7  # of the rows of long prompts

# Areas are those of the pipeline unless said; `small` shrinks them, so that it takes no time.
SMALL = 160 * 160
CASES = {
    "two": dict(pictures=["first", "second"], height=96, width=64, steps=2, cfg=4.0, negative=" "),
    "one": dict(pictures=["second"], height=48, width=80, steps=2, cfg=1.0, negative=None),
    "small": dict(pictures=["first", "second"], height=64, width=80, steps=4, cfg=4.0, negative=" ", area=SMALL),
}


def picture(name, seed):
    """Smooth ramps, hard shapes and noise."""
    width, height = PICTURES[name]
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    made = np.stack([x * 255 / width, y * 255 / height, (x + y) * 4 % 256], -1)
    made[height // 5: height // 2, width // 4: width // 2] = (250, 20, 60)
    made[(x - width * 0.7) ** 2 + (y - height * 0.6) ** 2 < (min(width, height) / 5) ** 2] = (10, 200, 90)
    made += rng.normal(0, 25, made.shape)
    return Image.fromarray(made.clip(0, 255).round().astype(np.uint8))


def template():
    """The system turn and the opening of the user turn, from the pipeline's own constant."""
    pipe = QwenImageEditPlusPipeline.__new__(QwenImageEditPlusPipeline)
    names = ("vae", "text_encoder", "tokenizer", "processor", "transformer", "scheduler")
    QwenImageEditPlusPipeline.__init__(pipe, **dict.fromkeys(names))
    return pipe.prompt_template_encode


def tokenizer():
    """Bytes, and one token for every word of the template: then, as with the genuine one, it takes 64 tokens."""
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    trainer = trainers.BpeTrainer(vocab_size=2000, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    text = template()
    for token in SPECIAL:
        text = text.replace(token, "\n")
    words.train_from_iterator([text.replace("{}", ""), "Picture", "Draw the maze from"], trainer)
    model = json.loads(words.to_str())["model"]
    merges = [tuple(m) for m in model["merges"]]
    made = Qwen2Tokenizer(vocab=model["vocab"], merges=merges)
    made.add_special_tokens({"additional_special_tokens": SPECIAL[1:]})
    return made


def processor(words, cls):
    settings = dict(size=dict(shortest_edge=3136, longest_edge=12845056), patch_size=14, temporal_patch_size=2,
                    merge_size=2, image_mean=MEAN, image_std=STD)
    return Qwen2VLProcessor(image_processor=cls(**settings), tokenizer=words,
                            video_processor=Qwen2VLVideoProcessor(**settings))


def vl_gain(name):
    """Below 1 where a branch joins the residual stream, so that rounding is not amplified over layers."""
    if "merger.mlp.2" in name or "down_proj" in name:
        return 0.5
    return 0.4 if "o_proj" in name else 1.0


def text_encoder(words):
    ids = {t: words.convert_tokens_to_ids(t) for t in SPECIAL}
    config = Qwen2_5_VLConfig(
        text_config=dict(
            vocab_size=-(-len(words) // 8) * 8, hidden_size=24, intermediate_size=48, num_hidden_layers=3,
            num_attention_heads=2, num_key_value_heads=1, rms_norm_eps=1e-6, hidden_act="silu",
            max_position_embeddings=4096, use_sliding_window=False, bos_token_id=ids["<|endoftext|>"],
            eos_token_id=ids["<|im_end|>"], pad_token_id=ids["<|endoftext|>"], tie_word_embeddings=True,
            rope_parameters=dict(rope_type="default", rope_theta=1e6, mrope_section=[2, 2, 2]),
        ),
        vision_config=dict(
            depth=4, hidden_size=16, intermediate_size=24, num_heads=2, patch_size=14, temporal_patch_size=2,
            spatial_merge_size=2, in_channels=3, out_hidden_size=24, hidden_act="silu", window_size=112,
            fullatt_block_indexes=[1, 3], tokens_per_second=2,
        ),
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,  # nothing reads the head
    )
    model = Qwen2_5_VLForConditionalGeneration(config).float().eval()
    randomise(model, 31, vl_gain)
    with torch.no_grad():
        embeddings = model.model.language_model.embed_tokens.weight
        embeddings.mul_(24 ** 0.5)
    return model


def autoencoder():
    made = AutoencoderKLQwenImage(base_dim=2, z_dim=16).float().eval()
    # Latents of the size that the published means and deviations expect, pictures that seldom clip.
    gains = {"quant_conv.weight": 3.0, "decoder.conv_out.weight": 1.0}
    randomise(made, 32, lambda name: gains.get(name, 1.3))
    return made


def transformer():
    made = QwenImageTransformer2DModel(
        in_channels=64, out_channels=16, num_layers=2, attention_head_dim=12, num_attention_heads=2,
        joint_attention_dim=24, axes_dims_rope=(4, 4, 4), zero_cond_t=True,
    ).float().eval()
    randomise(made, 33)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith(("norm_q.weight", "norm_k.weight", "norm_added_q.weight", "norm_added_k.weight")):
                parameter.mul_(1.7)  # thousands of tokens at near equal shares would hide what each of them says
    return made


def write_pipeline():
    words = tokenizer()
    QwenImageEditPlusPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**SCHEDULER), vae=autoencoder(), text_encoder=text_encoder(words),
        tokenizer=words, processor=processor(words, Qwen2VLImageProcessorPil), transformer=transformer(),
    ).save_pretrained(DIRECTORY)
    (DIRECTORY / "text_encoder/generation_config.json").unlink(missing_ok=True)


def with_types(model, image):
    """The text encoder with the kinds of tokens in every call."""
    plain = model.forward

    def forward(*args, input_ids=None, **kwargs):
        return plain(*args, input_ids=input_ids, mm_token_type_ids=(input_ids == image).long(), **kwargs)

    model.forward = forward
    return plain


@contextlib.contextmanager
def areas(area):
    """The pipeline's two areas in pixels; it has no argument for them."""
    before = plus.CONDITION_IMAGE_SIZE, plus.VAE_IMAGE_SIZE
    if area is not None:
        plus.CONDITION_IMAGE_SIZE = plus.VAE_IMAGE_SIZE = area
    try:
        yield plus.CONDITION_IMAGE_SIZE, plus.VAE_IMAGE_SIZE
    finally:
        plus.CONDITION_IMAGE_SIZE, plus.VAE_IMAGE_SIZE = before


def digest(array, kind):
    return hashlib.sha256(np.ascontiguousarray(array, dtype=kind).tobytes()).hexdigest()


def resized(image, width, height, lanczos=True):
    """Pillow's answer, refusing pictures for which the order of its passes shows."""
    if lanczos:
        kind = Image.Resampling.LANCZOS
        wide = image.resize((width, image.height), kind)
        two = np.asarray(wide.resize((width, height), kind))
        one = np.asarray(image.resize((width, height), kind))
    else:
        two = horizontal_first(image, height, width)
        one = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    if not np.array_equal(one, two):
        raise ValueError(f"{image.size} to {width}x{height}: the order of Pillow's passes shows, choose other pictures")
    return Image.fromarray(one)


class Prompts:
    """Prompt states, with everything that the processor made of pictures and text on the way."""

    def __init__(self, pipe, plain):
        self.pipe, self.plain = pipe, plain

    @torch.no_grad()
    def states(self, prompt, images):
        found = {}
        inner = self.pipe.processor

        def listening(**kwargs):
            made = inner(**kwargs)
            found.update(made)
            found["text"] = kwargs["text"][0]
            return made

        self.pipe.processor = listening
        try:
            with_positions, mask = self.pipe._get_qwen_prompt_embeds(prompt, images)
            ours, self.pipe.text_encoder.forward = self.pipe.text_encoder.forward, self.plain
            without, _ = self.pipe._get_qwen_prompt_embeds(prompt, images)
            self.pipe.text_encoder.forward = ours
        finally:
            self.pipe.processor = inner
        if not bool(mask.all()):
            raise ValueError("a single prompt has padding")
        return with_positions, without, found


def prompt_case(prompts, prompt, images, sizes):
    """Tensors and facts of one prompt. `sizes` are those of the pictures when they reach the processor."""
    for image in images:
        width, height = image.size
        resized(image, round(width / 28) * 28, round(height / 28) * 28, lanczos=False)
    single = isinstance(prompts.pipe, QwenImageEditPipeline)
    states, without, found = prompts.states(prompt, images[0] if single else images)
    words = prompts.pipe.tokenizer
    ids = found["input_ids"][0]
    kept = words.decode(ids[DROPPED: DROPPED + 1])
    expected = "<|vision_start|>" if single else "Picture"
    if kept != expected:
        raise ValueError(f"the first kept token is {kept!r}")
    gap = float((states - without).abs().max())
    if gap < 1e-2:
        raise ValueError("token types make no difference: are the positions 3-D at all?")
    sample = found["pixel_values"].flatten()[::PIXEL_STRIDE]
    tensors = {"input_ids": ids, "prompt_embeds": states, "pixels.sample": sample}
    meta = dict(
        prompt=prompt, text=found["text"], condition_sizes=sizes, grid_thw=found["image_grid_thw"].tolist(),
        tokens=int(states.shape[1]), pixel_values_shape=list(found["pixel_values"].shape),
        pixel_values_sha256=digest(found["pixel_values"].numpy(), "<f4"),
        condition_sha256=[digest(np.asarray(i), "u1") for i in images],
        prompt_embeds_without_token_types_off_by=gap, prompt_embeds_std=float(states.std()),
    )
    return tensors, without, meta


def dims(area, image):
    return plus.calculate_dimensions(area, image.size[0] / image.size[1])


@torch.no_grad()
def run_case(pipe, prompts, name, case, pictures):
    images = [pictures[p] for p in case["pictures"]]
    tensors = {}
    with areas(case.get("area")) as (condition_area, reference_area):
        conditions = [resized(i, *dims(condition_area, i)) for i in images]
        sizes = [list(c.size)[::-1] for c in conditions]
        found, without, meta = prompt_case(prompts, PROMPT, conditions, sizes)
        tensors |= found
        if not case.get("area"):
            tensors["prompt_embeds_plain_positions.rows"] = without[0, ::ROW_STRIDE]
        if case["negative"] is not None:
            found, _, negative = prompt_case(prompts, case["negative"], conditions, sizes)
            tensors["negative.input_ids"] = found["input_ids"]
            if case.get("area"):
                tensors["negative.prompt_embeds"] = found["prompt_embeds"]
            else:
                tensors["negative.prompt_embeds.rows"] = found["prompt_embeds"][0, ::ROW_STRIDE]
            meta["negative_text"] = negative["text"]

        references = []
        meta["references"] = []
        for k, image in enumerate(images):
            width, height = dims(reference_area, image)
            big = resized(image, width, height)
            pixels = pipe.image_processor.preprocess(image, height, width).unsqueeze(2)
            latent = pipe._encode_vae_image(pixels, None)
            references.append(latent)
            if case.get("area"):
                tensors[f"reference.{k}"] = latent
            elif len(images) > 1:
                tensors[f"reference.{k}.sample"] = latent.flatten()[::STRIDE]
            meta["references"].append(dict(
                picture=case["pictures"][k], height=height, width=width, latent=list(latent.shape),
                mean=float(latent.mean()), std=float(latent.std()), picture_sha256=digest(np.asarray(big), "u1"),
            ))

        height, width = case["height"], case["width"]
        grid = (height // 16, width // 16)
        start = torch.randn(1, 16, 1, 2 * grid[0], 2 * grid[1], generator=generator(900 + len(name)))
        tensors["latents"] = start
        steps = []

        def after(_pipe, i, t, values):
            tensors[f"latents.after.{i}"] = unpack(values["latents"], grid)
            steps.append(float(t))
            return values

        out = pipe(
            image=images, prompt=PROMPT, negative_prompt=case["negative"], true_cfg_scale=case["cfg"], height=height,
            width=width, num_inference_steps=case["steps"], latents=pack(start), output_type="np",
            callback_on_step_end=after, callback_on_step_end_tensor_inputs=["latents"],
        ).images[0]
    tensors["picture"] = torch.from_numpy(out)
    meta |= {k: case[k] for k in ("pictures", "height", "width", "steps", "cfg", "negative")}
    meta |= dict(
        condition_area=condition_area, reference_area=reference_area, timesteps=steps,
        sigmas=pipe.scheduler.sigmas.tolist(), picture_std=float(out.std()),
        clipped_share=float(((out <= 0) | (out >= 1)).mean()),
    )
    return {f"{name}.{k}": v for k, v in tensors.items()}, meta


@torch.no_grad()
def in_double(pipe, expected):
    """How far `small` lies from what f64 gives. (Rotation and solver compute in f32 in any case.)"""
    case = CASES["small"]
    wide = QwenImageEditPlusPipeline(**{
        k: copy.deepcopy(v).double() if isinstance(v, torch.nn.Module) else v for k, v in pipe.components.items()})
    wide.set_progress_bar_config(disable=True)
    wide.text_encoder = Qwen2_5_VLForConditionalGeneration.from_pretrained(DIRECTORY / "text_encoder").double()
    with_types(wide.text_encoder, wide.text_encoder.config.image_token_id)
    images = [Image.open(DIRECTORY / f"{p}.png").convert("RGB") for p in case["pictures"]]
    with areas(SMALL):
        conditions = [i.resize(dims(SMALL, i), Image.Resampling.LANCZOS) for i in images]
        states, _ = wide._get_qwen_prompt_embeds(PROMPT, conditions)
        out = wide(
            image=images, prompt=PROMPT, negative_prompt=" ", true_cfg_scale=case["cfg"], height=case["height"],
            width=case["width"], num_inference_steps=case["steps"], latents=pack(expected["small.latents"].double()),
            output_type="np",
        ).images[0]
    found = {"prompt_embeds": states, "picture": torch.from_numpy(out)}
    return {k: float((v - expected[f"small.{k}"]).abs().max()) for k, v in found.items()}


@torch.no_grad()
def sensitivity(pipe, plain, pictures, expected):
    """What mistakes would cost in the picture of `small`: a measure for tolerances."""
    case = CASES["small"]
    images = [pictures[p] for p in case["pictures"]]
    start = expected["small.latents"]

    def run(images=images, cfg=case["cfg"]):
        with areas(SMALL):
            out = pipe(
                image=images, prompt=PROMPT, negative_prompt=" ", true_cfg_scale=cfg, height=case["height"],
                width=case["width"], num_inference_steps=case["steps"], latents=pack(start), output_type="np",
            ).images[0]
        return float(np.abs(out - expected["small.picture"].numpy()).max())

    found = {"again": run(), "pictures_exchanged": run(images[::-1]), "cfg_3": run(cfg=3.0)}
    ours, pipe.text_encoder.forward = pipe.text_encoder.forward, plain
    found["plain_positions"] = run()
    pipe.text_encoder.forward = ours
    kept, pipe.processor = pipe.processor, processor(pipe.tokenizer, Qwen2VLImageProcessor)
    found["torchvision_resampling"] = run()
    pipe.processor = kept
    kept, pipe.image_processor = pipe.image_processor, VaeImageProcessor(vae_scale_factor=16, resample="bicubic")
    found["bicubic_for_lanczos"] = run()
    pipe.image_processor = kept
    pipe.prompt_template_encode_start_idx -= 1
    found["prefix_63"] = run()
    pipe.prompt_template_encode_start_idx += 1
    kept, pipe.transformer = pipe.transformer, copy.deepcopy(pipe.transformer)
    pipe.transformer.zero_cond_t = False
    for block in pipe.transformer.transformer_blocks:
        block.zero_cond_t = False
    found["zero_cond_t_off"] = run()
    pipe.transformer = kept
    if found["again"] != 0.0:
        raise ValueError("a second run gives another picture")
    return found


def main():
    fresh(DIRECTORY)
    write_pipeline()
    for i, name in enumerate(PICTURES):
        picture(name, 40 + i).save(DIRECTORY / f"{name}.png")
    pictures = {name: Image.open(DIRECTORY / f"{name}.png").convert("RGB") for name in PICTURES}

    # Read back: the files give these results. The image processor is the one that resizes with Pillow.
    pipe = QwenImageEditPlusPipeline.from_pretrained(DIRECTORY)
    pipe.processor = processor(pipe.tokenizer, Qwen2VLImageProcessorPil)
    pipe.set_progress_bar_config(disable=True)
    plain = with_types(pipe.text_encoder, pipe.text_encoder.config.image_token_id)

    tensors, meta = {}, {"dropped": DROPPED, "stride": STRIDE, "pixel_stride": PIXEL_STRIDE, "row_stride": ROW_STRIDE}
    for name, case in CASES.items():
        found, meta[name] = run_case(pipe, Prompts(pipe, plain), name, case, pictures)
        tensors |= found
    older = QwenImageEditPipeline(**pipe.components)
    big = resized(pictures["second"], *dims(1024 * 1024, pictures["second"]))
    found, _, meta["single"] = prompt_case(Prompts(older, plain), PROMPT, [big], [list(big.size)[::-1]])
    found["prompt_embeds.rows"] = found.pop("prompt_embeds")[0, ::ROW_STRIDE]
    tensors |= {f"single.{k}": v for k, v in found.items()}
    meta["small"]["f32_rounding"] = in_double(pipe, tensors)
    meta["small"]["sensitivity"] = sensitivity(pipe, plain, pictures, tensors)
    write_tensors(DIRECTORY / "cases.safetensors", tensors)
    write_json(DIRECTORY / "cases.json", meta)
    print(json.dumps(meta))


if __name__ == "__main__":
    one_thread()
    main()
