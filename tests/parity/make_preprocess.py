"""What the image processors of `transformers` do to small pictures, and the table of resized sizes."""

import hashlib

from common import FIXTURES, fresh, one_thread, write_json

import numpy as np
import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

PATCH, MERGE = 16, 2
FACTOR = PATCH * MERGE
BOUNDS = {
    "published": (65536, 16777216),  # preprocessor_config.json of the released checkpoints
    "ms_swift": (4 * FACTOR ** 2, 16384 * FACTOR ** 2),
}
DIRECTORY = FIXTURES / "preprocess"


def gradient(height, width, mode="RGB"):
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = [x * 255 / max(width - 1, 1), y * 255 / max(height - 1, 1), (x + y) % 64 * 4]
    if mode == "RGBA":
        planes.append(np.where((x // 8 + y // 8) % 2 == 0, 255, x * 255 / (width - 1)))
    return Image.fromarray(np.stack(planes, -1).round().astype(np.uint8), mode)


def blocks(height, width, seed, side=4):
    """Noise in squares: sharp edges, and still small as a PNG."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 6, (-(-height // side), -(-width // side), 3)) * 51
    return Image.fromarray(np.kron(small, np.ones((side, side, 1)))[:height, :width].astype(np.uint8))


def noise(height, width, seed):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 4, (height, width, 3)).astype(np.uint8) * 85)


SOURCES = {
    "blocks_100x170": lambda: blocks(100, 170, 1),
    "blocks_224x224": lambda: blocks(224, 224, 2, side=8),
    "blocks_110x98": lambda: blocks(110, 98, 5),  # the height shrinks more than the width
    "noise_33x200": lambda: noise(33, 200, 3),
    "noise_96x96": lambda: noise(96, 96, 4),
    "gradient_300x40": lambda: gradient(300, 40),
    "rgba_64x96": lambda: gradient(64, 96, "RGBA"),
}


def processor(cls, bounds):
    size = dict(shortest_edge=bounds[0], longest_edge=bounds[1])
    return cls(size=size, patch_size=PATCH, temporal_patch_size=2, merge_size=MERGE,
               image_mean=[0.5] * 3, image_std=[0.5] * 3)


def unpatch(pixels, grid):
    """Patch rows back to one u8 picture [height, width, 3]."""
    _, gh, gw = grid
    rows = pixels.reshape(gh // 2, gw // 2, 2, 2, 3, 2, PATCH, PATCH)
    assert (rows[:, :, :, :, :, 0] == rows[:, :, :, :, :, 1]).all(), "a picture fills both moments of a patch"
    picture = rows[:, :, :, :, :, 0].transpose(0, 2, 5, 1, 3, 6, 4).reshape(gh * PATCH, gw * PATCH, 3)
    return np.clip(np.round((picture * 0.5 + 0.5) * 255), 0, 255).astype(np.uint8)


def run(cls, image, bounds):
    made = processor(cls, bounds)(images=[image], return_tensors="np")
    pixels = np.ascontiguousarray(made["pixel_values"], dtype="<f4")
    grid = made["image_grid_thw"][0].tolist()
    return pixels, grid, unpatch(pixels, grid)


def horizontal_first(image, height, width):
    """Pillow in two calls: the order of passes cannot depend on its version."""
    wide = image.resize((width, image.height), Image.Resampling.BICUBIC)
    return np.asarray(wide.resize((width, height), Image.Resampling.BICUBIC))


def difference(a, b):
    gap = np.abs(a.astype(int) - b.astype(int))
    return dict(max_levels=int(gap.max()), share_different=float((gap > 0).mean()))


def digest(array):
    return hashlib.sha256(array.tobytes()).hexdigest()


def save_png(name, array):
    Image.fromarray(array).save(DIRECTORY / f"{name}.png", optimize=True)
    return f"{name}.png"


def case(source, image, which, bounds):
    pixels, grid, picture = run(Qwen2VLImageProcessorPil, image, bounds)
    other, other_grid, torch_picture = run(Qwen2VLImageProcessor, image, bounds)
    assert grid == other_grid and picture.shape == torch_picture.shape
    height, width = picture.shape[:2]
    ours = horizontal_first(image, height, width)
    made = dict(
        source=f"{source}.png", bounds=which, min_pixels=bounds[0], max_pixels=bounds[1],
        resized=[height, width], grid_thw=grid, tokens=grid[1] * grid[2] // MERGE ** 2,
        pillow_sha256=digest(picture), torchvision_sha256=digest(torch_picture),
        horizontal_first_sha256=digest(ours), pillow_patches_sha256=digest(pixels),
        torchvision_patches_sha256=digest(np.ascontiguousarray(other, dtype="<f4")),
        pillow_against_horizontal_first=difference(picture, ours),
        torchvision_against_horizontal_first=difference(torch_picture, ours),
        pillow_patch_rows={str(r): pixels[r, ::96].tolist() for r in (0, 1, 2, 5, len(pixels) - 1)},
    )
    made["horizontal_first_png"] = save_png(f"{source}.{which}", ours)
    if made["pillow_sha256"] != made["horizontal_first_sha256"]:
        made["pillow_png"] = save_png(f"{source}.{which}.pillow", picture)
    return made


def levels(cls):
    """The f32 each u8 level becomes."""
    picture = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(np.kron(picture, np.ones((4, 4))).astype(np.uint8)).convert("RGB")
    made = processor(cls, (16, 16777216))(images=[image], return_tensors="np", do_resize=False)
    back = unpatch(made["pixel_values"], made["image_grid_thw"][0].tolist())
    assert (back[::4, ::4, 0] == picture).all()
    table = {}
    rows = made["pixel_values"].reshape(2, 2, 2, 2, 3, 2, PATCH, PATCH)[:, :, :, :, 0, 0]
    plain = rows.transpose(0, 2, 4, 1, 3, 5).reshape(64, 64)[::4, ::4]
    for level, value in zip(picture.flatten(), plain.flatten()):
        table[int(level)] = float(value)
    return [table[i] for i in range(256)]


def sizes():
    """Height, width and the reference's answer, for both bounds; null where it refuses."""
    rng = np.random.default_rng(6)
    wanted = [
        (720, 1280), (1080, 1920), (224, 224), (100, 170), (1365, 2048), (5000, 7000), (33, 2000), (1, 1),
        (1, 200), (1, 201), (16, 16), (31, 33), (48, 48), (80, 112), (176, 208), (480, 640), (4096, 4096),
        (4097, 4095), (8000, 40), (256, 256), (255, 257), (10000, 10000), (64, 12800), (64, 12801), (336, 400),
    ]
    wanted += [tuple(int(v) for v in np.exp(rng.uniform(0, 9.2, 2))) for _ in range(140)]
    wanted += [(int(16 + 32 * rng.integers(0, 60)), int(16 + 32 * rng.integers(0, 60))) for _ in range(35)]
    table = []
    for height, width in wanted:
        row = dict(height=height, width=width)
        for which, (low, high) in BOUNDS.items():
            try:
                row[which] = list(smart_resize(height, width, FACTOR, low, high))
            except ValueError:
                row[which] = None
        table.append(row)
    return dict(factor=FACTOR, bounds={k: list(v) for k, v in BOUNDS.items()}, sizes=table)


def main():
    fresh(DIRECTORY)
    cases = []
    for source, draw in SOURCES.items():
        image = draw()
        image.save(DIRECTORY / f"{source}.png", optimize=True)
        if image.mode == "RGBA":
            white = Image.new("RGBA", image.size, (255, 255, 255, 255))
            images = {
                f"{source}_plain": image.convert("RGB"),  # alpha dropped
                f"{source}_white": Image.alpha_composite(white, image).convert("RGB"),
            }
        else:
            images = {source: image}
        for name, rgb in images.items():
            for which, bounds in BOUNDS.items():
                made = case(name, rgb, which, bounds)
                made["source"] = f"{source}.png"
                made["alpha"] = name.removeprefix(source).strip("_") or None
                cases.append(made)
                print(name, which, made["resized"], made["pillow_against_horizontal_first"],
                      made["torchvision_against_horizontal_first"])
    write_json(DIRECTORY / "cases.json", dict(
        patch_size=PATCH, temporal_patch_size=2, merge_size=MERGE, mean=0.5, std=0.5, row_stride=96,
        cases=cases, levels_pillow=levels(Qwen2VLImageProcessorPil), levels_torchvision=levels(Qwen2VLImageProcessor),
    ), indent=None)
    write_json(DIRECTORY / "smart_resize.json", sizes(), indent=None)


if __name__ == "__main__":
    one_thread()
    main()
