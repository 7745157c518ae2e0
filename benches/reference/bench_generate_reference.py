"""The Python generators and judges that benches/generate.rs is compared with. Prints JSON.

Takes a checkout of VTB-Training (github.com/realZillionX/VTB-Training) and an interpreter that has
Pillow, NumPy and opencv-python-headless. Puzzles and pictures per second of processor time, one
process, the best of several runs; what is made once is not counted.
"""

import argparse
import importlib
import inspect
import io
import json
import sys
import tempfile
import time
from pathlib import Path


def best(repeats, measure):
    """Least processor time of several runs, seconds."""
    least = float("inf")
    for _ in range(repeats):
        begun = time.process_time()
        measure()
        least = min(least, time.process_time() - begun)
    return least


def generator(tools, args, name, folder):
    """A generator with the settings that the command line tool would give it."""
    spec = tools.TASK_SPECS[name]
    kind = tools.load_generator_class(spec)
    settings = tools.build_default_kwargs(spec, args, 7)
    known = inspect.signature(kind.__init__).parameters
    if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in known.values()):
        settings = {key: value for key, value in settings.items() if key in known}
    return kind(output_dir=folder, **settings)


def compressed(picture):
    """The same picture after a JPEG of quality 75, stored as PNG."""
    from PIL import Image

    target = picture.with_name(f"{picture.stem}_jpeg.png")
    jpeg = io.BytesIO()
    Image.open(picture).convert("RGB").save(jpeg, "JPEG", quality=75)
    Image.open(jpeg).save(target)
    return target


def judge(spec, folder, records, change):
    """A call that judges every solution picture, changed, or none where there is no such judge."""
    if spec.group not in ("eyeballing", "maze"):
        return None
    module = importlib.import_module(spec.module.replace(".generator", ".evaluator"))
    wanted = "evaluate" if spec.group == "maze" else "image_option_from_path"
    kinds = [value for key, value in vars(module).items() if key.endswith("Evaluator")]
    # A task's own, which stands behind what it imports.
    kinds = [kind for kind in reversed(kinds) if hasattr(kind, wanted)]
    if not kinds:
        return None
    evaluator = kinds[0](folder / "data.json")
    pairs = [(record, change(folder / record["solution_image_path"])) for record in records]

    def all_of_them():
        for record, picture in pairs:
            if spec.group == "maze":
                evaluator.evaluate(record["id"], picture)
            else:
                evaluator.image_option_from_path(picture, record)

    return all_of_them


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkout", required=True)
    parser.add_argument("--tasks", nargs="*", default=[])
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    own = parser.parse_args()
    sys.path.insert(0, own.checkout)
    import data.tools.generate_dataset as tools
    from PIL import Image

    args = argparse.Namespace(
        canvas_width=480, video=False, point_radius=None, line_width=None,
        maze_rows=9, maze_cols=9, maze_cell_size=32,
        hex_radius=4, hex_cell_size=24, hex_wall_thickness=None,
        lab_rings=6, lab_segments=18, lab_cell_size=18, lab_wall_thickness=None,
        arcagi_dataset_dir=None,
    )
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    found = {}
    for name in own.tasks or sorted(tools.TASK_SPECS):
        spec = tools.TASK_SPECS[name]
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            folder = Path(folder)
            try:
                maker = generator(tools, args, name, folder)
                made = []

                def make():
                    made.clear()
                    made.extend(maker.create_random_puzzle() for _ in range(own.count))
                    maker.write_metadata(made, folder / "data.json", append=False)

                maker.create_random_puzzle()
                seconds = best(own.repeats, make)
                rows = json.loads((folder / "data.json").read_text())
                with Image.open(folder / rows[0]["image"]) as picture:
                    size = picture.size
                row = {"pictures": own.count / seconds, "size": size}
                for kind, change in [("judge", lambda picture: picture), ("judge_jpeg", compressed)]:
                    judged = judge(spec, folder, rows, change)
                    if judged is not None:
                        row[kind] = own.count / best(own.repeats, judged)
                found[name] = row
            except Exception as fault:  # Some need the network, or fail on some seeds.
                found[name] = {"fault": f"{type(fault).__name__}: {fault}"[:200]}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
