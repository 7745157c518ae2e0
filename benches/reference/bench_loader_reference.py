"""A PyTorch DataLoader over the pictures our own benchmark uses; prints one JSON object.

    bench_loader_reference.py --make DIR --count N                # photo-like JPEGs
    bench_loader_reference.py --folder DIR --size 448x448 [--workers 2] [--batch 32] [--passes 5]

Two usual forms of the transform, both with Pillow as the decoder:

  DataLoader, tensor resize    ToImage, Resize(bicubic, antialias), ToDtype(float32, scale), Normalize
  DataLoader, Pillow resize    Resize(bicubic) on the Pillow picture, ToImage, ToDtype, Normalize

Workers persist; the first epoch starts them and is not counted. Seconds are the best of the passes, processor seconds
those of the same pass, parent and workers together.
"""

import argparse
import json
import os
import pathlib
import time


def make(folder, count):
    import numpy
    from PIL import Image

    for i in range(count):
        rng = numpy.random.default_rng(i)
        small = rng.integers(0, 256, (12, 16, 3), dtype=numpy.uint8)
        smooth = numpy.asarray(Image.fromarray(small).resize((1024, 768), Image.BICUBIC)).astype(numpy.int16)
        fine = rng.integers(0, 256, (96, 128, 3), dtype=numpy.uint8)
        detail = numpy.asarray(Image.fromarray(fine).resize((1024, 768), Image.BICUBIC)).astype(numpy.int16) - 128
        grain = rng.normal(0, 4, (768, 1024, 1)).astype(numpy.int16)
        pixels = numpy.clip(smooth + detail // 4 + grain, 0, 255).astype(numpy.uint8)
        Image.fromarray(pixels).save(folder / f"{i:04}.jpg", quality=90)
    return {"made": count}


class Folder:
    def __init__(self, folder, transform):
        self.files = sorted(p for p in folder.iterdir() if p.suffix in (".png", ".jpg"))
        self.transform = transform

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        from PIL import Image

        with Image.open(self.files[index]) as image:
            return self.transform(image.convert("RGB"))


def processor_seconds(pids):
    tick = os.sysconf("SC_CLK_TCK")
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / tick


def measure(folder, transform, args):
    from torch.utils.data import DataLoader

    data = Folder(folder, transform)
    loader = DataLoader(data, batch_size=args.batch, num_workers=args.workers, shuffle=True, persistent_workers=True)
    for _ in loader:
        pass
    pids = [os.getpid()] + [worker.pid for worker in loader._iterator._workers]
    passes = []
    for _ in range(args.passes):
        started, cpu = time.perf_counter(), processor_seconds(pids)
        seen = 0
        for batch in loader:
            seen += batch.shape[0]
        assert seen == len(data)
        passes.append((time.perf_counter() - started, processor_seconds(pids) - cpu))
    seconds, cpu = min(passes)
    return {"seconds": seconds, "cpu_seconds": cpu}


def compare(folder, args):
    import PIL
    import torch
    import torchvision
    from torchvision.transforms import InterpolationMode, v2

    size = tuple(int(side) for side in args.size.split("x"))
    resize = v2.Resize(size, interpolation=InterpolationMode.BICUBIC, antialias=True)
    rest = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean=[0.5] * 3, std=[0.5] * 3)]
    forms = {
        "DataLoader, tensor resize": v2.Compose([v2.ToImage(), resize, *rest]),
        "DataLoader, Pillow resize": v2.Compose([resize, v2.ToImage(), *rest]),
    }
    rates = {name: measure(folder, transform, args) for name, transform in forms.items()}
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}, Pillow {PIL.__version__}"
    return {"rates": rates, "versions": versions}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=128)
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--size", default="448x448")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--passes", type=int, default=5)
    args = parser.parse_args()
    print(json.dumps(make(args.make, args.count) if args.make else compare(args.folder, args)))


if __name__ == "__main__":
    main()
