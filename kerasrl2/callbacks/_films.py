"""Sequences of pictures as files: GIF, WebP and MP4."""

import contextlib
import importlib

import numpy as np
from PIL import Image

FORMATS = "gif", "webp", "mp4"


def check_writable(format):
    """Raises `ImportError` where the package that writes a format is missing."""
    if format == "mp4":
        _ffmpeg()


def write_film(path, pictures, fps):
    """Writes pictures to a file, in the format of its name.

    An MP4 is written while the pictures come. The others are held in memory.

    Args:
        path: Path, ends in one of `FORMATS`.
        pictures: Iterator of `[height, width, 3]` uint8 arrays, all of one size.
        fps: Number, pictures per second.
    """
    if path.suffix == ".mp4":
        _write_mp4(path, pictures, fps)
        return
    # Reduced to 256 colours: a GIF has no more, and it is a third of the memory.
    images = (Image.fromarray(picture).quantize() for picture in pictures)
    next(images).save(
        path, save_all=True, append_images=images, duration=round(1000 / fps), loop=0
    )


def _write_mp4(path, pictures, fps):
    """H.264 in YUV 4:2:0, which browsers play; odd sizes get a black line more."""
    first = np.ascontiguousarray(next(pictures))
    film = _ffmpeg().write_frames(
        str(path),
        first.shape[1::-1],
        fps=fps,
        codec="libx264",
        macro_block_size=1,
        ffmpeg_log_level="error",
        output_params=["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2"],
    )
    try:
        with contextlib.closing(film):
            film.send(None)
            film.send(first)
            for picture in pictures:
                film.send(np.ascontiguousarray(picture))
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _ffmpeg():
    try:
        return importlib.import_module("imageio_ffmpeg")
    except ImportError:
        raise ImportError(
            'MP4 needs a missing package: pip install "kerasrl2[video]". GIF and WebP '
            "need none."
        ) from None
