"""Runs for the tests of the page: small, real, and with what goes wrong."""

import asyncio
import json
import threading
from contextlib import contextmanager

import numpy as np
from aiohttp import web

from conftest import texture, write_image
from dfp_batch.config.run_config import run_config
from dfp_batch.io import codec, storage
from dfp_batch.io.codec import Frame
from dfp_batch.report.server import make_app
from dfp_batch.runs.attempts import PairRecord
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair, folder_name

NASTY = "</script><img src=x onerror=alert(1)>"
START = 1_767_225_600.0
WARP = [[1, 0, 2], [0, 1, -1], [0, 0, 1]]


def small_run(folder, count=3, config=None):
    """A run in ``folder``/run: ``count`` results with their pictures, and a failure.

    The second frame of each has moved by (2, -1) px; ids and messages hold markup.
    """
    ids = [f"item {number}" for number in range(count - 1)] + [NASTY[9:]]
    pairs = [_pair(folder, number, pair_id) for number, pair_id in enumerate([*ids, "broken"])]
    url = f"{folder}/run"
    with Ledger.open(url, run_config("classical", None, config or {}), pairs) as ledger:
        for number, pair_id in enumerate(ids):
            facts = write_result(url, pair_id, pairs[number].sources)
            facts["psnr_db"] += number
            end = START + 10 * number
            ledger.append(PairRecord(pair_id, 1, "ok", "publish", end - 5, end, facts=facts))
        error = ("input", "ImageError", f"{folder}/s3_A.png: {NASTY}")
        ledger.append(PairRecord("broken", 1, "error", "prepare", START, START + 40, *error))
    return url


def _pair(folder, number, pair_id):
    frames = [texture(24, 32, seed=2 * number + k) for k in (0, 1)]
    names = (f"{folder}/s{number}_A.png", f"{folder}/s{number}_B.png")
    reference = write_image(f"{folder}/r{number}.png", texture(48, 64, seed=number))
    return Pair(pair_id, tuple(map(write_image, names, frames)), reference=reference)


def write_result(url, pair_id, sources):
    """The files of a result, and what its row says of them."""
    place = f"{url}/outputs/{folder_name(pair_id)}"
    labels = np.repeat(np.uint8([[0, 1]]), 24, axis=0).repeat(16, axis=1)
    fused = codec.encode(Frame(texture(48, 64)), "png")
    known = zip(sources, ["reference", "registered"], [np.eye(3).tolist(), WARP], strict=True)
    frames = [
        {"source": source, "flag": flag, "warp": warp, "gains": [1.0, 1.0, 1.0],
         "score_before": 0.9, "score_after": 0.99}
        for source, flag, warp in known
    ]  # fmt: skip
    files = {
        "fused.png": fused,
        "preview.jpg": codec.encode(Frame(texture(48, 64)), "jpg"),
        "decision.png": codec.encode_indices(labels),
        "confidence.png": codec.encode(Frame(labels[..., None] * np.uint8(255)), "png"),
        "registration.json": json.dumps(
            {"width_px": 32, "height_px": 24, "reference": 0, "frames": frames}
        ).encode(),
    }
    for name, data in files.items():
        storage.write_bytes(f"{place}/{name}", data)
    return {
        "output_url": f"{place}/fused.png", "output_bytes": len(fused), "width_px": 64,
        "height_px": 48, "n_sources": 2, "align_flags": ["reference", "registered"], "mg": 12.0,
        "floor_mg": 10.0, "psnr_db": 30.0, "low_confidence_share": 0.1, "used_floor": False,
        "t_prepare_s": 1.0, "t_reconstruct_s": 2.0, "t_publish_s": 0.5, "device": "cpu",
        "loss_first": 2.0, "loss_last": 1.0, "iterations": 10, "stop_reason": "iterations",
        "loss_curve": [2.0, 1.25, 1.0],
        "source_versions": ["1000 mtime:1", "1000 mtime:2"],
    }  # fmt: skip


@contextmanager
def served(url):
    """The page of a run on a server in a thread of its own: its URL."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    place = []

    async def start():
        runner = web.AppRunner(make_app(url))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        place.append(f"http://127.0.0.1:{runner.addresses[0][1]}/")
        ready.set()
        return runner

    def answer():
        runner = loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=answer)
    thread.start()
    ready.wait()
    yield place[0]
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
