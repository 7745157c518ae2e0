"""Open what `prepare-data` writes with the libraries that read it.

    check_prepared.py parquet DIR          load_dataset on a folder of shards, and pandas
    check_prepared.py whole DIR            load_dataset on the folder itself, without being told what it is
    check_prepared.py jsonl FILE...        load_dataset on JSON lines, and pandas
    check_prepared.py webdataset DIR       load_dataset on tar shards
    check_prepared.py diffsynth FILE BASE  metadata as DiffSynth's documentation says it is read:
                                           JSON list, JSON lines or CSV by ending, paths below BASE
    check_prepared.py clips FILE           every clip of a CSV file with PyAV

Each prints one JSON object.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

from common import emit, require


def hf(kind, **files):
    from datasets import load_dataset

    with tempfile.TemporaryDirectory() as cache:
        loaded = load_dataset(kind, cache_dir=cache, **files)
        return {name: [row for row in split] for name, split in loaded.items()}, {
            name: {k: str(v) for k, v in split.features.items()} for name, split in loaded.items()
        }


def size(picture):
    return None if picture is None else [picture.width, picture.height, picture.convert("RGB").getpixel((0, 0))]


def parquet(folder):
    import pandas

    rows, features = hf("parquet", data_dir=str(Path(folder) / "data"))
    out = {}
    for split, found in rows.items():
        out[split] = [
            {
                "id": row["id"], "task_type": row["task_type"], "split": row["split"],
                "images": [size(p) for p in row["images"]],
                "puzzle_image": size(row["puzzle_image"]), "solution_image": size(row["solution_image"]),
                "messages": row["messages"], "solution": row["solution"], "options": row["options"],
                "options_listed": row["options_listed"], "record": json.loads(row["record"])["id"],
            }
            for row in found
        ]
    shards = sorted((Path(folder) / "data").glob("*.parquet"))
    frames = [pandas.read_parquet(f) for f in shards]
    first = frames[0].iloc[0]["images"][0]
    emit({
        "rows": out, "features": next(iter(features.values())), "pandas": sum(len(f) for f in frames),
        "bytes": sorted(first), "png": bytes(first["bytes"][:4]).hex(),
    })


def whole(folder):
    rows, _ = hf(str(folder))
    emit({name: len(found) for name, found in rows.items()})


def jsonl(files):
    import pandas
    from datasets import Image, List, load_dataset

    out = {}
    for file in files:
        with tempfile.TemporaryDirectory() as cache:
            loaded = load_dataset("json", data_files=file, split="train", cache_dir=cache)
            pictures = loaded.cast_column("images", List(Image()))
            out[Path(file).name] = {
                "rows": len(loaded), "columns": sorted(loaded.features), "ids": loaded["id"][:],
                "solution": str(loaded.features["solution"]),
                "sizes": [[size(p) for p in row["images"]] for row in pictures],
                "pandas": len(pandas.read_json(file, lines=True)),
            }
    emit(out)


def webdataset(folder):
    from datasets import load_dataset

    files = sorted(str(f) for f in Path(folder).glob("*.tar"))
    with tempfile.TemporaryDirectory() as cache:
        loaded = load_dataset("webdataset", data_files=files, split="train", cache_dir=cache)
        emit({"rows": [
            {"id": row["json"]["id"], "picture": size(row["png"]), "solution": size(row["solution.png"])}
            for row in loaded
        ]})


def diffsynth(file, base):
    import pandas
    from PIL import Image

    if file.endswith(".json"):
        rows = json.loads(Path(file).read_text())
    elif file.endswith(".jsonl"):
        rows = [json.loads(line) for line in Path(file).read_text().splitlines()]
    else:
        table = pandas.read_csv(file)
        rows = [table.iloc[at].to_dict() for at in range(len(table))]
    found = []
    for row in rows:
        assert isinstance(row["prompt"], str) and row["prompt"], row
        files = {}
        for key in ["image", "edit_image", "video"]:
            if key not in row:
                continue
            place = os.path.join(base, row[key])
            files[key] = size(Image.open(place)) if key != "video" else os.path.getsize(place)
        found.append({"id": row["id"], **files})
    emit({"rows": found})


def clips(file):
    import av
    import pandas

    out = []
    for video in pandas.read_csv(file)["video"]:
        with av.open(os.path.join(os.path.dirname(file), video)) as container:
            stream = container.streams.video[0]
            frames = [f.to_ndarray(format="rgb24") for f in container.decode(stream)]
            out.append({
                "codec": stream.codec_context.name, "frames": len(frames), "fps": float(stream.average_rate),
                "size": [frames[0].shape[1], frames[0].shape[0]],
            })
    emit({"clips": out})


require("datasets", "pandas", "pyarrow", "PIL", "av")
kind, *rest = sys.argv[1:]
{
    "parquet": parquet, "whole": whole, "webdataset": webdataset, "diffsynth": diffsynth, "clips": clips,
    "jsonl": lambda *files: jsonl(files),
}[kind](*rest)
