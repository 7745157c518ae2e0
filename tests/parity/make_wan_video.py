"""A tiny Wan 2.2 TI2V pipeline and what `diffusers` computes with it: prompts, latents, videos.

Run `python make_wan_video.py`; it rewrites fixtures/wan/pipeline. Keys are listed in fixtures/README.md.
"""

import copy
import json

from common import FIXTURES, fresh, generator, one_thread, write_json, write_tensors

import numpy as np
import torch
from diffusers import WanImageToVideoPipeline, WanPipeline, WanTransformer3DModel
from diffusers.pipelines.wan.pipeline_wan_i2v import prompt_clean
from diffusers.utils import logging
from PIL import Image

from make_qwen_image_edit import digest, picture, resized
from make_wan import build as build_transformer, no_casts
from make_wan_scheduler import unipc
from make_wan_text import build as build_text, write_tokenizer
from make_wan_vae import SHARED as VAE, build as build_vae

DIRECTORY = FIXTURES / "wan" / "pipeline"
PROMPT = "The red  dot walks through the maze &amp; moves\nto the green dot. "
NEGATIVE = "blurry,  a slow camera"
TEXT_LEN = 32  # of the pipeline's max_sequence_length: all of these rows are attended to
STRIDE = 17  # of the values of videos that are not kept whole
CASES = {
    # A picture of another size and shape, and guidance.
    "guided": dict(picture="second", height=64, width=32, frames=5, steps=4, guidance=5.0, negative=NEGATIVE),
    "plain": dict(picture="first", height=64, width=96, frames=9, steps=3, guidance=1.0, negative=None),
    # No picture: every frame is noise at first. Without a negative prompt the empty one is used.
    "text": dict(picture=None, height=32, width=64, frames=5, steps=3, guidance=5.0, negative=None),
}


def write_pipeline():
    """Weights that bf16 holds, in bf16."""
    vae = build_vae(VAE | dict(base_dim=3, decoder_base_dim=3, z_dim=4, num_res_blocks=1), 81)
    with torch.no_grad():
        vae.decoder.conv_out.weight.mul_(0.5)  # pictures that seldom clip
    text = build_text(dict(vocab_size=208, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4), 82)
    transformer = build_transformer(dict(seed=83, config=dict(
        in_channels=4, out_channels=4, num_layers=2, text_dim=32, freq_dim=32, ffn_dim=80, num_attention_heads=2,
        attention_head_dim=20)))
    halves = [copy.deepcopy(m).bfloat16() for m in (vae, text, transformer)]
    write_tokenizer(DIRECTORY / "tokenizer")
    WanImageToVideoPipeline(
        tokenizer=None, text_encoder=halves[1], vae=halves[0], scheduler=unipc(5.0), transformer=halves[2],
        expand_timesteps=True,
    ).save_pretrained(DIRECTORY)
    path = DIRECTORY / "model_index.json"
    index = json.loads(path.read_text())
    index["tokenizer"] = ["transformers", "T5TokenizerFast"]
    write_json(path, index, indent=2)


def load():
    pipe = WanImageToVideoPipeline.from_pretrained(DIRECTORY, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    if {p.dtype for m in (pipe.vae, pipe.text_encoder, pipe.transformer) for p in m.parameters()} != {torch.float32}:
        raise ValueError("a part is not in f32")
    return pipe


def run(pipe, case, start, image, output="np", text_len=TEXT_LEN, after=None):
    """The pipeline of the case: with a picture, or the one for text alone from the same parts."""
    settings = dict(
        prompt=PROMPT, negative_prompt=case["negative"], height=case["height"], width=case["width"],
        num_frames=case["frames"], num_inference_steps=case["steps"], guidance_scale=case["guidance"],
        latents=start.clone(), output_type=output, max_sequence_length=text_len, callback_on_step_end=after,
        callback_on_step_end_tensor_inputs=["latents"],
    )
    if image is not None:
        return torch.as_tensor(pipe(image=image, **settings).frames[0])
    parts = {k: v for k, v in pipe.components.items() if k not in ("image_encoder", "image_processor")}
    other = WanPipeline(**parts, expand_timesteps=True)
    other.set_progress_bar_config(disable=True)
    return torch.as_tensor(other(**settings).frames[0])


@torch.no_grad()
def run_case(pipe, name, case, pictures):
    image = pictures.get(case["picture"])
    shape = (1, 4, (case["frames"] + 3) // 4, case["height"] // 16, case["width"] // 16)
    start = torch.randn(shape, generator=generator(900 + len(name)))
    tensors, timesteps = {"start": start[0]}, []

    def after(_pipe, i, t, values):
        tensors[f"latents.after.{i}"] = values["latents"][0]
        timesteps.append(int(t))
        return values

    video = run(pipe, case, start, image, after=after)
    tensors["latents"] = run(pipe, case, start, image, output="latent")
    prompts = {"prompt": PROMPT} | ({"negative": case["negative"] or ""} if case["guidance"] > 1 else {})
    meta = dict(case)
    for key, text in prompts.items():
        cleaned = prompt_clean(text)
        ids = pipe.tokenizer(cleaned).input_ids
        meta[key] = dict(text=text, cleaned=cleaned, ids=ids)
        if 2 in ids or 3 in ids:
            raise ValueError(f"{text!r} has unknown characters")
        embeds = pipe._get_t5_prompt_embeds(text, max_sequence_length=TEXT_LEN)[0]
        if embeds[len(ids):].any():
            raise ValueError("padding is not zero")
        tensors[f"{key}.embeds"] = embeds[:len(ids)]
    if image is not None:
        small = resized(image, case["width"], case["height"])
        pixels = pipe.video_processor.preprocess(image, height=case["height"], width=case["width"])
        if not torch.equal(pixels[0], torch.from_numpy(np.asarray(small) / np.float32(255)).permute(2, 0, 1) * 2 - 1):
            raise ValueError("the picture is prepared in another way")
        mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (pipe.vae.config.latents_mean, pipe.vae.config.latents_std))
        condition = (pipe.vae.encode(pixels[:, :, None]).latent_dist.mode()[0, :, 0] - mean) / std
        if float((condition - tensors["latents"][:, 0]).abs().max()) > 1e-6:
            raise ValueError("frame 0 is not the picture's latent")
        tensors["condition"] = condition
        meta["picture_size"] = [image.height, image.width]
        meta["picture_sha256"] = digest(np.asarray(small), "u1")
    if name != "guided":
        meta["video_stride"] = STRIDE
        tensors["video.sample"] = video.flatten()[::STRIDE]
    else:
        tensors["video"] = video
    meta |= dict(
        timesteps=timesteps, sigmas=pipe.scheduler.sigmas.tolist(), video_shape=list(video.shape),
        video_std=float(video.std()), clipped_share=float(((video <= 0) | (video >= 1)).float().mean()),
        f32_rounding=in_double(pipe, case, start, image, video, tensors["latents"]),
    )
    if name == "guided":
        meta["sensitivity"] = sensitivity(pipe, case, start, image, video)
    return {f"{name}.{k}": v for k, v in tensors.items()}, meta


def in_double(pipe, case, start, image, video, latents):
    """How far the case lies from what models in f64 give (angles of the time too). The solver stays in f32."""
    wide = copy.deepcopy(pipe.components)
    for part in ("vae", "text_encoder", "transformer"):
        wide[part] = wide[part].double()
    wide = WanImageToVideoPipeline(**wide, expand_timesteps=True)
    wide.set_progress_bar_config(disable=True)
    with no_casts():
        found = run(wide, case, start, image)
        other = run(wide, case, start, image, output="latent")
    return dict(video=float((found - video).abs().max()), video_mean=float((found - video).abs().mean()),
                latents=float((other - latents).abs().max()))


def sensitivity(pipe, case, start, image, video):
    """What mistakes would cost in the video: a measure for tolerances."""
    found = {}

    def against(key, pipe=pipe, image=image, **how):
        found[key] = float((run(pipe, case, start, image, **how) - video).abs().max())

    against("again")
    against("text_len_512", text_len=512)
    against("bicubic_for_lanczos", image=image.resize((case["width"], case["height"]), Image.Resampling.BICUBIC))
    parts = copy.deepcopy(pipe.components)
    for block in parts["transformer"].blocks:
        block.ffn.net[0].approximate = "none"
    other = WanImageToVideoPipeline(**parts, expand_timesteps=True)
    other.set_progress_bar_config(disable=True)
    against("erf_gelu_in_blocks", other)
    other.transformer = WanTransformer3DModel(**(dict(pipe.transformer.config) | {"eps": 1e-5})).eval()
    other.transformer.load_state_dict(pipe.transformer.state_dict())
    against("eps_1e-5", other)
    if found["again"] != 0.0:
        raise ValueError("a second run gives another video")
    return found


def main():
    fresh(DIRECTORY)
    write_pipeline()
    for i, name in enumerate(("first", "second")):
        picture(name, 40 + i).save(DIRECTORY / f"{name}.png")
    pictures = {name: Image.open(DIRECTORY / f"{name}.png").convert("RGB") for name in ("first", "second")}
    pipe = load()
    tensors, meta = {}, {"max_sequence_length": TEXT_LEN}
    for name, case in CASES.items():
        found, meta[name] = run_case(pipe, name, case, pictures)
        tensors |= found
    write_tensors(DIRECTORY / "cases.safetensors", tensors)
    write_json(DIRECTORY / "cases.json", meta)
    print(json.dumps(meta))


if __name__ == "__main__":
    one_thread()
    logging.set_verbosity_error()
    main()
