"""Tiny autoencoders of Wan 2.2, what `diffusers` computes with them, and one under its original names.

Run `python make_wan_vae.py`; it rewrites fixtures/wan/vae. Keys are listed in fixtures/README.md.
"""

import copy
import json
import re
from collections import OrderedDict

from common import FIXTURES, fresh, generator, one_thread, write_json, write_tensors

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify

from make_wan import no_casts

ROOT = FIXTURES / "wan" / "vae"
SHARED = dict(dim_mult=[1, 2, 4, 4], temperal_downsample=[False, True, True], is_residual=True, in_channels=12,
              out_channels=12, patch_size=2, scale_factor_temporal=4, scale_factor_spatial=16)
MODELS = {
    # The published blocks; the decoder narrower than the encoder.
    "a": dict(config=SHARED | dict(base_dim=3, decoder_base_dim=2, z_dim=4), seed=51,
              sizes=[(1, 32, 48), (5, 16, 48), (9, 32, 16), (13, 16, 16)]),
    # Fewer blocks; the decoder wider than the encoder, as published.
    "b": dict(config=SHARED | dict(base_dim=3, decoder_base_dim=4, z_dim=6, num_res_blocks=1), seed=52,
              sizes=[(1, 16, 48), (5, 48, 16), (9, 16, 16)]),
}
ORIGINAL = [
    (r"^quant_conv", "conv1"),
    (r"^post_quant_conv", "conv2"),
    (r"\.conv_in\.", ".conv1."),
    (r"\.norm_out\.", ".head.0."),
    (r"\.conv_out\.", ".head.2."),
    (r"mid_block\.resnets\.0", "middle.0"),
    (r"mid_block\.attentions\.0", "middle.1"),
    (r"mid_block\.resnets\.1", "middle.2"),
    (r"down_blocks\.(\d)\.resnets\.(\d)", r"downsamples.\1.downsamples.\2"),
    (r"down_blocks\.(\d)\.downsampler", r"downsamples.\1.downsamples.2"),
    (r"up_blocks\.(\d)\.resnets\.(\d)", r"upsamples.\1.upsamples.\2"),
    (r"up_blocks\.(\d)\.upsampler", r"upsamples.\1.upsamples.3"),
    (r"((?:middle|samples)\.\d)\.norm1\.", r"\1.residual.0."),
    (r"((?:middle|samples)\.\d)\.conv1\.", r"\1.residual.2."),
    (r"((?:middle|samples)\.\d)\.norm2\.", r"\1.residual.3."),
    (r"((?:middle|samples)\.\d)\.conv2\.", r"\1.residual.6."),
    (r"\.conv_shortcut\.", ".shortcut."),
]
RESIDUAL = {"0": "norm1", "2": "conv1", "3": "norm2", "6": "conv2"}


@torch.no_grad()
def build(config, seed):
    """Every parameter random, none at the zero or one it starts with; values that bf16 holds."""
    rng = generator(seed)
    numbers = torch.randn(2, config["z_dim"], generator=rng)
    constants = dict(latents_mean=[round(float(v), 4) for v in 0.5 * numbers[0]],
                     latents_std=[round(float(v), 4) for v in (0.5 * numbers[1]).exp()])
    vae = AutoencoderKLWan(**config, **constants).eval()
    for name, p in vae.named_parameters():
        noise = torch.randn(p.shape, generator=rng)
        if name.endswith("gamma"):
            value = 1.0 + 0.3 * noise
        elif name.endswith("bias"):
            value = 0.2 * noise
        else:
            # Pictures that are clamped here and there.
            gain = 2.5 if name == "decoder.conv_out.weight" else 1.3
            value = gain * noise / p[0].numel() ** 0.5
        p.copy_(value.bfloat16().float())
    return vae


def original_name(name):
    for pattern, new in ORIGINAL:
        name = re.sub(pattern, new, name)
    return name


def diffusers_name(name):
    """The way back, by another path: part by part."""
    parts = name.split(".")
    if parts[0] in ("conv1", "conv2"):
        return ".".join([{"conv1": "quant_conv", "conv2": "post_quant_conv"}[parts[0]], *parts[1:]])
    half, part, rest = parts[0], parts[1], parts[2:]
    if part == "conv1":
        return ".".join([half, "conv_in", *rest])
    if part == "head":
        return ".".join([half, {"0": "norm_out", "2": "conv_out"}[rest[0]], *rest[1:]])
    if part == "middle":
        where = "mid_block." + {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}[rest[0]]
        rest = rest[1:]
    else:
        down = half == "encoder"
        last = rest[2] == ("2" if down else "3")
        where = f"{'down' if down else 'up'}_blocks.{rest[0]}."
        where += ("downsampler" if down else "upsampler") if last else f"resnets.{rest[2]}"
        rest = rest[3:]
    if rest[0] == "residual":
        rest = [RESIDUAL[rest[1]], *rest[2:]]
    elif rest[0] == "shortcut":
        rest = ["conv_shortcut", *rest[1:]]
    return ".".join([half, where, *rest])


def original(vae):
    """The weights as the original file holds them, in f32; loaded back they are the same."""
    state = vae.state_dict()
    torch.save(OrderedDict((original_name(n), t.clone()) for n, t in state.items()), ROOT / "original.pth")
    read = torch.load(ROOT / "original.pth", weights_only=True)
    back = {diffusers_name(n): t for n, t in read.items()}
    if len(read) != len(state):
        raise ValueError("names coincide")
    again = AutoencoderKLWan.from_config(vae.config).eval()
    again.load_state_dict(back, strict=True)
    if not all(torch.equal(again.state_dict()[n], t) for n, t in state.items()):
        raise ValueError("the original names do not come back")


def decode(vae, z):
    """What the decoder makes before the clamp, one latent frame at a time; the clamped result is checked."""
    x = vae.post_quant_conv(z)
    vae.clear_cache()
    frames = []
    for i in range(z.shape[2]):
        vae._conv_idx = [0]
        frames.append(vae.decoder(x[:, :, [i]], feat_cache=vae._feat_map, feat_idx=vae._conv_idx, first_chunk=i == 0))
    unclamped = unpatchify(torch.cat(frames, dim=2), vae.config.patch_size)
    vae.clear_cache()
    if not torch.equal(unclamped.clamp(-1, 1), vae.decode(z).sample):
        raise ValueError("the decoder was called in another way")
    return unclamped


def constants(vae, like):
    shape = (1, vae.config.z_dim, 1, 1, 1)
    return [torch.tensor(v, dtype=like.dtype).view(shape) for v in (vae.config.latents_mean, vae.config.latents_std)]


@torch.no_grad()
def case(vae, size, rng):
    """Both ways, with and without the constants; encoding takes the mean, nothing is drawn."""
    frames, height, width = size
    # Steps of 1/64: bf16 holds them.
    clip = torch.randint(-64, 65, (1, 3, frames, height, width), generator=rng) / 64
    latent = torch.randn((1, vae.config.z_dim, (frames + 3) // 4, height // 16, width // 16), generator=rng)

    def both(vae, clip, latent):
        mean, std = constants(vae, clip)
        raw = vae.encode(clip).latent_dist.mode()
        return dict(mean=raw, encoded=(raw - mean) / std, unclamped=decode(vae, latent * std + mean))

    found = both(vae, clip, latent)
    with no_casts():
        wide = both(copy.deepcopy(vae).double(), clip.double(), latent.double())
    first = vae.encode(clip[:, :, :1]).latent_dist.mode()
    meta = dict(
        f32_rounding={k: float((v - wide[k]).abs().max()) for k, v in found.items()},
        std={k: float(v.std()) for k, v in found.items()},
        clamped_share=float((found["unclamped"].abs() > 1).float().mean()),
        first_frame_alone_off_by=float((first - found["mean"][:, :, :1]).abs().max()),
    )
    if not 0.02 < meta["clamped_share"] < 0.6:
        raise ValueError(f"{meta['clamped_share']} of the values are clamped")
    return {k: v[0] for k, v in found.items()} | dict(clip=clip[0].bfloat16(), latent=latent[0]), meta


def main():
    fresh(ROOT)
    for name, model in MODELS.items():
        directory = fresh(ROOT / name)
        vae = build(model["config"], model["seed"])
        build(model["config"], model["seed"]).bfloat16().save_pretrained(directory)
        rng, out, meta = generator(model["seed"] + 100), {}, {}
        for size in model["sizes"]:
            key = "x".join(map(str, size))
            values, meta[key] = case(vae, size, rng)
            out |= {f"{key}.{k}": v for k, v in values.items()}
        write_tensors(directory / "cases.safetensors", out)
        write_json(directory / "cases.json", meta)
        if name == "a":
            original(vae)
        print(name, sum(p.numel() for p in vae.parameters()), json.dumps(meta))


if __name__ == "__main__":
    one_thread()
    main()
