"""Make the pictures of the tutorial and of the README, docs/pictures/, by the commands they show.

Usage: python jobs/tutorial_pictures.py        needs Chromium for the picture of the report

The scenes are those of ``dfp-batch synth``, so whoever gives the commands of the tutorial gets
the same images.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import ViewportSize, sync_playwright

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "pictures"
SYNTH = (
    "synth SCENES --count 6 --frames 3 --side 512 --scale 2 --shift 2 --breathing 0.004 "
    "--exposure 0.05"
)
SUBMIT = "submit PHOTOS --scale 2"
PAIR = "coffee"
GAP_PX = 8
QUALITY = 88
VIEW_PX = ViewportSize(width=1160, height=700)
CHROMIUM = shutil.which("chromium")
CROP = (150, 190, 406, 446)  # of the result, px: left, top, right, bottom


def main() -> None:
    """Give the commands in a folder of their own, and draw what they made."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        give(SYNTH, folder)
        Path(folder, "SCENES", "sources").rename(Path(folder, "PHOTOS"))
        give(SUBMIT, folder)
        draw(Path(folder, "PHOTOS"))
        photograph(Path(folder, "PHOTOS", "manifest-x2", "report.html"), "report.png")


def give(words: str, folder: str) -> None:
    """A command of ``dfp-batch`` in a folder."""
    command = [sys.executable, "-m", "dfp_batch", *words.split()]
    subprocess.run(command, cwd=folder, check=True)


def draw(photos: Path) -> None:
    """The pictures of one pair.

    Args:
        photos: Folder of its frames, with the run in it.
    """
    frames = [Image.open(photos / f"{PAIR}_{letter}.png") for letter in "ABC"]
    made = photos / "manifest-x2" / "outputs" / PAIR
    fused = Image.open(made / "fused.png").convert("RGB")
    maps = [_visible(made / "decision.png"), _visible(made / "confidence.png")]
    _save("frames.jpg", *frames)
    _save("fused.jpg", fused)
    _save("maps.jpg", *maps)
    enlarged = [frame.resize(fused.size, Image.Resampling.BICUBIC).crop(CROP) for frame in frames]
    _save("before-after.jpg", enlarged[0], enlarged[2], fused.crop(CROP))


def photograph(page: Path, name: str) -> None:
    """The upper part of a page, as Chromium shows it."""
    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        view = browser.new_page(viewport=VIEW_PX)
        view.goto(page.as_uri())
        view.screenshot(path=PICTURES / name)
        browser.close()


def _visible(path: Path) -> Image.Image:
    """A map as people see it: indices as steps of grey."""
    values = np.asarray(Image.open(path).convert("L"), np.float32)
    return Image.fromarray((values * (255 / max(values.max(), 1))).astype(np.uint8))


def _save(name: str, *images: Image.Image) -> None:
    """Images side by side, with white between them."""
    width = sum(image.width for image in images) + GAP_PX * (len(images) - 1)
    whole = Image.new("RGB", (width, images[0].height), "white")
    left = 0
    for image in images:
        whole.paste(image, (left, 0))
        left += image.width + GAP_PX
    whole.save(PICTURES / name, quality=QUALITY)


if __name__ == "__main__":
    main()
