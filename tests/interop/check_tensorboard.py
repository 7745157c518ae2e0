"""Read a run directory's TensorBoard events with tensorboard's own reader.

    check_tensorboard.py RUN_DIR

Prints {"scalars": {tag: {"count", "first_step", "last_step", "last_value"}}, "files": n}. Looks for
event files below RUN_DIR and fails if there is none or if one holds no scalar.
"""

import argparse
from pathlib import Path

from common import emit, require


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir")
    arguments = parser.parse_args()
    require("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    files = sorted(Path(arguments.run_dir).rglob("events.out.tfevents.*"))
    if not files:
        raise SystemExit(f"no event file below {arguments.run_dir}")
    scalars = {}
    for directory in sorted({f.parent for f in files}):
        reader = EventAccumulator(str(directory), size_guidance={"scalars": 0})
        reader.Reload()
        for tag in reader.Tags()["scalars"]:
            events = reader.Scalars(tag)
            scalars[tag] = {
                "count": len(events), "first_step": events[0].step, "last_step": events[-1].step,
                "last_value": events[-1].value,
            }
    if not scalars:
        raise SystemExit("the event files hold no scalar")
    emit({"scalars": scalars, "files": len(files)})


if __name__ == "__main__":
    main()
