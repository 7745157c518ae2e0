"""Check our videos with PyAV and OpenCV, and make videos with FFmpeg's encoders for our reader.

    video_check.py check DIR
    video_check.py make DIR

`check` decodes every NAME.mp4 of DIR with both and compares it with the frames that went in, in the folder
NAME. Prints {"clips": {NAME: {"av": report, "cv": report}}}, each report with frames, width, height, fps, the
PSNR of the worst frame and over all, and the mean error of strong colours inside areas of one colour; PyAV's
report has codec, profile and colour tags too, and the PSNR of the worst frame when it is brought to 4:2:0 and
back without being coded at all.

`make` writes one clip per set of encoder settings, and beside each that should be read a folder of
frames as PyAV decodes them. Prints {"clips": [{"file", "frames" or "error"}]}: a folder, or a word that our
reader's error has to hold.
"""

import argparse
import json
from fractions import Fraction
from pathlib import Path

from common import emit, require

RATE = 16


def psnr(errors):
    import numpy as np

    mean = float(np.mean(errors))
    return 99.0 if mean == 0 else float(10 * np.log10(255.0**2 / mean))


def compare(found, wanted, size, fps):
    """`found` frames against `wanted`; ours may have grown to even sides."""
    import numpy as np

    errors, colors = [], [0.0]
    for ours, theirs in zip(wanted, found):
        h, w = ours.shape[:2]
        off = theirs[:h, :w].astype(np.int16) - ours
        errors.append(np.mean(off.astype(np.float32) ** 2, dtype=np.float64))
        strong = one_color(ours) & (ours.max(axis=2) - ours.min(axis=2) > 60)
        if strong.any():
            colors.append(float(np.abs(off[strong]).mean()))
    return {
        "frames": len(found), "width": size[0], "height": size[1], "fps": float(fps),
        "worst_psnr": min(psnr(e) for e in errors), "psnr": psnr(errors), "colors": max(colors),
    }


def one_color(frame):
    """The pixels whose surroundings of 9x9 have one colour."""
    import cv2
    import numpy as np

    kernel = np.ones((9, 9), np.uint8)
    return (cv2.dilate(frame, kernel) == cv2.erode(frame, kernel)).all(axis=2)


def plain(frames):
    """PSNR of the worst frame that only goes to 4:2:0 and back."""
    import av
    import numpy as np

    errors = []
    for frame in frames:
        # Sides are even in every clip.
        frame = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), "edge")
        coded = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p")
        back = coded.to_ndarray(format="rgb24")
        errors.append(np.mean((back.astype(np.float32) - frame) ** 2, dtype=np.float64))
    return min(psnr(e) for e in errors)


def read_folder(folder):
    import numpy as np
    from PIL import Image

    files = sorted(Path(folder).glob("frame_*.png"))
    return [np.asarray(Image.open(f).convert("RGB")) for f in files]


def check(video, folder):
    import av
    import cv2

    wanted = read_folder(folder)
    with av.open(video) as container:
        stream = container.streams.video[0]
        frames = [f for f in container.decode(stream)]
        context = stream.codec_context
        report = compare(
            [f.to_ndarray(format="rgb24") for f in frames], wanted,
            (context.width, context.height), stream.average_rate,
        )
        report |= {
            "codec": context.name, "profile": context.profile, "said_frames": stream.frames,
            "seconds": float(stream.duration * stream.time_base), "matrix": int(context.colorspace),
            "range": int(context.color_range), "primaries": int(context.color_primaries),
            "transfer": int(context.color_trc), "plain_psnr": plain(wanted), "times": [float(f.time) for f in frames],
            "keys": [i for i, f in enumerate(frames) if f.key_frame],
        }
    capture = cv2.VideoCapture(video)
    found = []
    while True:
        ok, frame = capture.read()
        if not ok:
            break
        found.append(frame[:, :, ::-1])
    size = [int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
    return {"av": report, "cv": compare(found, wanted, size, capture.get(cv2.CAP_PROP_FPS))}


def scene(i, width, height):
    """A drawing that tells its number: a bar that moves, a square that changes colour."""
    import numpy as np

    frame = np.full((height, width, 3), 255, np.uint8)
    frame[:, (4 * i) % width : (4 * i) % width + 6] = (20, 20, 20)
    color = [(230, 30, 30), (30, 160, 60), (40, 60, 220)][i % 3]
    frame[16:48, 16:48] = color
    for bit in range(8):
        if i >> bit & 1:
            frame[64:72, 8 + 8 * bit : 14 + 8 * bit] = (0, 0, 0)
    return frame


# name: (encoder, pixel format, options, size, frames, what is expected: None or a word of the error)
CLIPS = {
    "default": ("libx264", "yuv420p", {}, (160, 96), 81, None),
    "b8_strict": ("libx264", "yuv420p", {"bf": "8", "b-pyramid": "strict", "b_strategy": "0"}, (160, 96), 49, None),
    "b5_normal": ("libx264", "yuv420p", {"bf": "5", "b-pyramid": "normal", "b_strategy": "0"}, (160, 96), 49, None),
    "b16": ("libx264", "yuv420p", {"bf": "16", "b-pyramid": "normal", "b_strategy": "0"}, (160, 96), 60, None),
    "b3_flat": ("libx264", "yuv420p", {"bf": "3", "b-pyramid": "none", "b_strategy": "0"}, (160, 96), 49, None),
    "b3_cavlc": ("libx264", "yuv420p", {"bf": "3", "coder": "0", "b_strategy": "0"}, (160, 96), 25, None),
    "b1": ("libx264", "yuv420p", {"bf": "1", "b_strategy": "0"}, (160, 96), 26, None),
    "spatial": ("libx264", "yuv420p", {"bf": "3", "direct-pred": "spatial"}, (160, 96), 49, None),
    "temporal": ("libx264", "yuv420p", {"bf": "3", "direct-pred": "temporal", "b_strategy": "0"}, (160, 96), 49, None),
    "slow": ("libx264", "yuv420p", {"preset": "veryslow"}, (160, 96), 81, None),
    "fast": ("libx264", "yuv420p", {"preset": "ultrafast"}, (160, 96), 25, None),
    "live": ("libx264", "yuv420p", {"tune": "zerolatency"}, (160, 96), 25, None),
    "main": ("libx264", "yuv420p", {"profile": "main"}, (160, 96), 25, None),
    "baseline": ("libx264", "yuv420p", {"profile": "baseline"}, (160, 96), 25, None),
    "open_gop": ("libx264", "yuv420p", {"x264-params": "open-gop=1:keyint=10", "bf": "3"}, (160, 96), 49, None),
    "short_gop": ("libx264", "yuv420p", {"g": "8", "bf": "3", "b_strategy": "0"}, (160, 96), 49, None),
    "intra": ("libx264", "yuv420p", {"g": "1"}, (160, 96), 9, None),
    "slices": ("libx264", "yuv420p", {"x264-params": "slices=4"}, (160, 96), 25, None),
    "long": ("libx264", "yuv420p", {"g": "600", "sc_threshold": "0"}, (160, 96), 500, None),
    "cropped": ("libx264", "yuv420p", {}, (150, 90), 25, None),
    "wide": ("libx264", "yuv420p", {}, (854, 480), 25, None),
    "one": ("libx264", "yuv420p", {}, (160, 96), 1, None),
    "two": ("libx264", "yuv420p", {}, (160, 96), 2, None),
    "quicktime": ("libx264", "yuv420p", {}, (160, 96), 25, None),
    "sound": ("libx264", "yuv420p", {}, (160, 96), 25, None),
    "trimmed": ("libx264", "yuv420p", {"bf": "3", "b_strategy": "0"}, (160, 96), 30, None),
    "bt709": ("libx264", "yuv420p", {"x264-params": "colormatrix=bt709:colorprim=bt709:transfer=bt709"}, (160, 96), 9, None),
    "full_range": ("libx264", "yuv420p", {"x264-params": "fullrange=on:colormatrix=smpte170m"}, (160, 96), 9, None),
    "grey": ("libx264", "gray", {}, (160, 96), 9, None),
    "interlaced": ("libx264", "yuv420p", {"x264-params": "tff=1"}, (160, 96), 9, "interlaced"),
    "lossless": ("libx264", "yuv420p", {"qp": "0"}, (160, 96), 9, "4:4:4"),
    "yuv444": ("libx264", "yuv444p", {}, (160, 96), 9, "4:4:4"),
    "yuv422": ("libx264", "yuv422p", {}, (160, 96), 9, "4:2:2"),
    "ten_bits": ("libx264", "yuv420p10le", {}, (160, 96), 9, "High 10"),
    "hevc": ("libx265", "yuv420p", {"x265-params": "log-level=none"}, (160, 96), 9, "HEVC"),
    "vp9": ("libvpx-vp9", "yuv420p", {}, (160, 96), 9, "VP9"),
    "av1": ("libsvtav1", "yuv420p", {}, (160, 96), 9, "AV1"),
    "mpeg4": ("mpeg4", "yuv420p", {}, (160, 96), 9, "MPEG-4 part 2"),
    "webm": ("libvpx-vp9", "yuv420p", {}, (160, 96), 9, "WebM"),
    "avi": ("libx264", "yuv420p", {"bf": "0"}, (160, 96), 9, "AVI"),
    "fragments": ("libx264", "yuv420p", {}, (160, 96), 9, "fragmented"),
    "y4m_420": ("rawvideo", "yuv420p", {}, (161, 97), 9, None),
    "y4m_422": ("rawvideo", "yuv422p", {}, (161, 97), 9, None),
    "y4m_444": ("rawvideo", "yuv444p", {}, (161, 97), 9, None),
    "gif": ("gif", "rgb8", {}, (160, 96), 9, None),
}
ENDINGS = {"webm": "webm", "avi": "avi", "quicktime": "mov", "gif": "gif"}


def encode(path, name, spec):
    import av
    import numpy as np

    codec, pixels, options, (width, height), count, _ = spec
    kwargs = {"format": "yuv4mpegpipe"} if name.startswith("y4m") else {}
    if name == "fragments":
        kwargs["options"] = {"movflags": "frag_keyframe+empty_moov"}
    with av.open(str(path), "w", **kwargs) as container:
        stream = container.add_stream(codec, rate=RATE, options={"threads": "2", **options})
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        sound = None
        if name == "sound":
            sound = container.add_stream("aac", rate=44100)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(scene(i, width, height), format="rgb24")
            # Frames before time zero are cut away by an edit list.
            frame.pts, frame.time_base = i - (7 if name == "trimmed" else 0), Fraction(1, RATE)
            container.mux(stream.encode(frame))
            if sound is not None:
                tone = np.zeros((1, 1024), np.float32)
                audio = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
                audio.rate, audio.pts = 44100, 1024 * i
                container.mux(sound.encode(audio))
        container.mux(stream.encode(None))
        if sound is not None:
            container.mux(sound.encode(None))


def make(directory):
    import av
    from PIL import Image

    directory = Path(directory)
    clips = []
    for name, spec in CLIPS.items():
        ending = "y4m" if name.startswith("y4m") else ENDINGS.get(name, "mp4")
        path = directory / f"{name}.{ending}"
        try:
            encode(path, name, spec)
        except (av.error.EncoderNotFoundError, av.codec.codec.UnknownCodecError) as e:
            clips.append({"file": str(path), "absent": str(e)})
            continue
        if spec[5]:
            clips.append({"file": str(path), "error": spec[5]})
            continue
        folder = directory / name
        folder.mkdir()
        with av.open(str(path)) as container:
            frames = [f for f in container.decode(video=0) if f.time >= 0]
            assert len(frames) == spec[4] - (7 if name == "trimmed" else 0), (name, len(frames))
            for i, frame in enumerate(frames):
                Image.fromarray(frame.to_ndarray(format="rgb24")).save(folder / f"frame_{i:05}.png", compress_level=1)
            rate = float(container.streams.video[0].average_rate)
        (folder / "timing.json").write_text(json.dumps({"fps": rate}))
        clips.append({"file": str(path), "frames": str(folder)})
    return {"clips": clips}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    checking = commands.add_parser("check")
    checking.add_argument("directory")
    making = commands.add_parser("make")
    making.add_argument("directory")
    arguments = parser.parse_args()
    require("av", "cv2", "numpy", "PIL")
    if arguments.command == "check":
        videos = sorted(Path(arguments.directory).glob("*.mp4"))
        emit({"clips": {v.stem: check(str(v), v.with_suffix("")) for v in videos}})
    else:
        emit(make(arguments.directory))


if __name__ == "__main__":
    main()
