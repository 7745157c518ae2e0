"""Tiny Qwen-Image autoencoders and what `diffusers` computes with them.

Run `python make_qwen_image_vae.py`; it rewrites fixtures/qwen_image/vae. Keys are listed in fixtures/README.md.
"""

from common import FIXTURES, fresh, generator, one_thread, write_json, write_tensors

import torch
from diffusers import AutoencoderKLQwenImage
from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

ROOT = FIXTURES / "qwen_image" / "vae"
MODELS = {
    # The published stages and blocks; widths of 5, 10 and 20.
    "deep": dict(
        config=dict(base_dim=5, z_dim=4, latents_mean=[-0.75, 0.31, 1.55, -0.12], latents_std=[2.8, 1.13, 0.62, 3.2]),
        seed=31, sizes=[(64, 48), (40, 56)],
    ),
    "shallow": dict(
        config=dict(base_dim=12, z_dim=6, dim_mult=[1, 2, 2], num_res_blocks=1, temperal_downsample=[True, False],
                    latents_mean=[0.2, -0.4, 0.9, -1.3, 0.05, 0.6], latents_std=[1.7, 0.45, 2.2, 1.05, 0.8, 3.1]),
        seed=32, sizes=[(64, 48), (36, 20)],
    ),
}
BLOCK = {"norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6",
         "conv_shortcut": "shortcut"}
ENDS = {"quant_conv": "conv1", "post_quant_conv": "conv2", "conv_in": "conv1", "norm_out": "head.0",
        "conv_out": "head.2"}


@torch.no_grad()
def build(config, seed):
    """Every parameter random, none at the zero or one it starts with; values that bf16 holds."""
    vae, rng = AutoencoderKLQwenImage(**config).eval(), generator(seed)
    for name, p in vae.named_parameters():
        noise = torch.randn(p.shape, generator=rng)
        if name.endswith("gamma"):
            value = 1.0 + 0.3 * noise
        elif name.endswith("bias"):
            value = 0.2 * noise
        else:
            # Of the taps along time one sees the picture.
            value = 1.5 * noise / (p.shape[1] * p.shape[-1] * p.shape[-2]) ** 0.5
        p.copy_(value.bfloat16().float())
    return vae


def original_name(name, blocks=3):
    """The name in Wan 2.1's files, for the published number of blocks."""
    parts = name.split(".")
    if parts[0] in ENDS:
        return ".".join([ENDS[parts[0]], *parts[1:]])
    half, part, rest = parts[0], parts[1], parts[2:]
    if part in ENDS:
        return ".".join([half, ENDS[part], *rest])
    if part == "mid_block":
        where, rest = ("middle.1", rest[2:]) if rest[0] == "attentions" else (f"middle.{2 * int(rest[1])}", rest[2:])
    elif part == "down_blocks":
        where, rest = f"downsamples.{rest[0]}", rest[1:]
    else:
        place = int(rest[2]) if rest[1] == "resnets" else blocks
        where, rest = f"upsamples.{int(rest[0]) * (blocks + 1) + place}", rest[3:]
    return ".".join([half, where, BLOCK.get(rest[0], rest[0]), *rest[1:]])


def names(vae):
    """Diffusers names to original ones, checked with diffusers' own way back."""
    table = {name: original_name(name) for name in vae.state_dict()}
    back = convert_wan_vae_to_diffusers({table[name]: tensor for name, tensor in vae.state_dict().items()})
    for name, tensor in vae.state_dict().items():
        if not torch.equal(back[name], tensor):
            raise ValueError(f"{name} does not come back")
    if len(set(table.values())) != len(table) or len(back) != len(table):
        raise ValueError("names coincide")
    return table


@torch.no_grad()
def case(vae, height, width, rng):
    """Both ways, before and after the constants; encoding takes the mean, nothing is drawn."""
    config = vae.config
    shape = (1, config.z_dim, 1, 1, 1)
    mean, std = torch.tensor(config.latents_mean).view(shape), torch.tensor(config.latents_std).view(shape)
    picture = torch.rand((1, 3, 1, height, width), generator=rng) * 2 - 1
    raw = vae.encode(picture).latent_dist.mode()
    side = 2 ** len(config.temperal_downsample)
    latent = torch.randn((1, config.z_dim, 1, height // side, width // side), generator=rng)
    z = latent * std + mean
    decoded = vae.decode(z).sample
    count = vae._cached_conv_counts["decoder"]
    unclamped = vae.decoder(vae.post_quant_conv(z), feat_cache=[None] * count, feat_idx=[0])
    if not torch.equal(unclamped.clamp(-1, 1), decoded):
        raise ValueError("the decoder was called in another way")
    outside = float((unclamped.abs() > 1).float().mean())
    if not 0.02 < outside < 0.6:
        raise ValueError(f"{outside} of the values are clamped")
    return dict(picture=picture[0, :, 0], mean=raw[0], encoded=((raw - mean) / std)[0], latent=latent[0],
                unclamped=unclamped[0, :, 0])


def main():
    for name, model in MODELS.items():
        directory = fresh(ROOT / name)
        vae = build(model["config"], model["seed"])
        build(model["config"], model["seed"]).bfloat16().save_pretrained(directory)
        rng, out = generator(model["seed"] + 100), {}
        for height, width in model["sizes"]:
            values = case(vae, height, width, rng)
            out |= {f"{height}x{width}.{key}": value for key, value in values.items()}
        write_tensors(directory / "cases.safetensors", out)
        if name == "deep":
            write_json(directory / "names.json", names(vae), indent=None)


if __name__ == "__main__":
    one_thread()
    main()
