"""Load one adapter of a diffusion transformer from all its files, each by its real reader.

    check_lora_files.py make-wan OUT           writes a tiny Wan transformer with random weights
    check_lora_files.py qwen|wan MODEL DIR     compares what the files of DIR do to the transformer in MODEL

DIR holds `peft/` and `diffusers`, `comfyui`, `kohya`, `diffsynth` with `.safetensors`; where there is `peft-KIND/`, the
file KIND is compared with that. PEFT loads the folders, diffusers' `load_lora_weights` the files. Prints, by form, the
largest difference of the outputs from those with PEFT's folder; `effect`, what that folder changes; and writes
DIR/theirs.safetensors, the adapter of `peft/` as diffusers saves it.
"""

import sys
from pathlib import Path

from common import emit, require

FORMS = ("diffusers", "comfyui", "kohya", "diffsynth")


def seeded(seed):
    import torch

    return torch.Generator().manual_seed(seed)


def make_wan(out):
    import torch
    from diffusers import WanTransformer3DModel

    model = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=6, out_channels=6, text_dim=10,
        freq_dim=8, ffn_dim=40, num_layers=2, cross_attn_norm=True, qk_norm="rms_norm_across_heads", rope_max_seq_len=32,
    )
    rng = seeded(3)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=rng)
            if parameter.dim() == 1:
                parameter.copy_(0.1 * noise + (1.0 if name.endswith("weight") else 0.0))
            else:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
    model.save_pretrained(out)
    emit({"model": out})


def open_model(kind, directory):
    from diffusers import QwenImageTransformer2DModel, WanTransformer3DModel

    classes = {"qwen": QwenImageTransformer2DModel, "wan": WanTransformer3DModel}
    return classes[kind].from_pretrained(directory).float().eval()


def output(kind, model):
    import torch

    rng = seeded(5)
    random = lambda *shape: torch.randn(*shape, generator=rng)
    config = model.config
    with torch.no_grad():
        if kind == "qwen":
            return model(
                hidden_states=random(1, 20 + 18, config.in_channels),
                encoder_hidden_states=random(1, 5, config.joint_attention_dim),
                timestep=torch.tensor([0.731]), img_shapes=[[(1, 5, 4), (1, 3, 6)]], return_dict=False,
            )[0]
        return model(
            hidden_states=random(1, config.in_channels, 3, 8, 4), timestep=torch.tensor([731.0]),
            encoder_hidden_states=random(1, 7, config.text_dim), return_dict=False,
        )[0]


def with_peft(kind, model_dir, folder):
    """The transformer with the adapter of a folder; every tensor of it must be taken, and no other there."""
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors.torch import load_file

    peft = PeftModel.from_pretrained(open_model(kind, model_dir), folder).eval()
    stored, taken = load_file(folder / "adapter_model.safetensors"), get_peft_model_state_dict(peft)
    if stored.keys() != taken.keys():
        raise SystemExit(f"PEFT takes other tensors: {sorted(stored.keys() ^ taken.keys())[:4]}")
    return peft


def pipeline(kind, transformer):
    """A pipeline of the transformer alone, with diffusers' loader for its family."""
    from diffusers import DiffusionPipeline
    from diffusers.loaders import QwenImageLoraLoaderMixin, WanLoraLoaderMixin

    loader = {"qwen": QwenImageLoraLoaderMixin, "wan": WanLoraLoaderMixin}[kind]

    class Pipeline(DiffusionPipeline, loader):
        def __init__(self, transformer):
            super().__init__()
            self.register_modules(transformer=transformer)

    return Pipeline(transformer)


def with_diffusers(kind, model_dir, file):
    from peft.tuners.lora import LoraLayer
    from safetensors.torch import load_file

    pipe = pipeline(kind, open_model(kind, model_dir))
    if kind == "wan" and file.stem == "diffsynth":
        # diffusers has no reader for the bare names of Wan: what a user must do first.
        state = {f"diffusion_model.{k.replace('.default', '')}": v for k, v in load_file(file).items()}
        pipe.load_lora_weights(state)
    else:
        pipe.load_lora_weights(file.parent, weight_name=file.name)
    layers = sum(isinstance(m, LoraLayer) for m in pipe.transformer.modules())
    return pipe.transformer, layers


def save_theirs(kind, peft, file):
    """The adapter as diffusers saves it, settings in the header."""
    from peft import get_peft_model_state_dict

    state = {k.removeprefix("base_model.model."): v for k, v in get_peft_model_state_dict(peft).items()}
    settings = peft.peft_config["default"].to_dict()
    pipe = pipeline(kind, peft.get_base_model())
    pipe.save_lora_weights(
        file.parent, transformer_lora_layers=state, transformer_lora_adapter_metadata=settings, weight_name=file.name)


def main():
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    require("torch", "diffusers", "peft", "safetensors")
    import torch

    torch.set_num_threads(1)
    if sys.argv[1] == "make-wan":
        return make_wan(sys.argv[2])
    kind, model_dir, directory = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    base = output(kind, open_model(kind, model_dir))
    found = {"effect": None, "layers": {}, "differences": {}}
    peft = with_peft(kind, model_dir, directory / "peft")
    expected = output(kind, peft)
    found["effect"] = float((expected - base).abs().max())
    for form in FORMS:
        wanted = expected
        if (directory / f"peft-{form}").is_dir():
            wanted = output(kind, with_peft(kind, model_dir, directory / f"peft-{form}"))
        model, layers = with_diffusers(kind, model_dir, directory / f"{form}.safetensors")
        found["layers"][form] = layers
        found["differences"][form] = float((output(kind, model) - wanted).abs().max())
    save_theirs(kind, peft, directory / "theirs.safetensors")
    emit(found)


if __name__ == "__main__":
    main()
