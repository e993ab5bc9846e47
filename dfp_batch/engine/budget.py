"""How long a stage may take at most: what it takes on one slow core, and much more.

A limit is no prediction. It ends what would never end, and has to let everything else live: a pair
on a busy core, a store at its slowest, a component that nobody has measured.
"""

from dfp_batch.pipeline.composition import FusionConfig

_LEAST_S = 300.0
_PREPARE_S_PER_MP = 60.0  # and frame; 1.5 measured for `fast`
_RECONSTRUCT_S_PER_MP = 600.0  # of the output; 10 to 20 measured for networks in one pass
_ITERATION_S_PER_MP = 60.0  # 2.7 measured for `paper`
_PUBLISH_S_PER_MP = 200.0  # of the output; 5 measured, with the floor
_PX = 1e6


def prepare_limit_s(frames: int, frame_px: int) -> float:
    """For ``frames`` frames of ``frame_px`` pixels each."""
    return _LEAST_S + _PREPARE_S_PER_MP * (frames + 2) * frame_px / _PX


def reconstruct_limit_s(frames: int, frame_px: int, config: FusionConfig) -> float:
    """For ``frames`` frames to merge, of ``frame_px`` pixels each; all iterations count."""
    iterations = config.refinement.iterations + config.reconstruction.iterations
    per_mp = _RECONSTRUCT_S_PER_MP + _ITERATION_S_PER_MP * iterations
    merge_s = _PREPARE_S_PER_MP * frames * frame_px / _PX
    return _LEAST_S + merge_s + per_mp * config.scale**2 * frame_px / _PX


def publish_limit_s(frame_px: int, scale: int) -> float:
    """For frames of ``frame_px`` pixels, enlarged by ``scale``."""
    return _LEAST_S + _PUBLISH_S_PER_MP * scale**2 * frame_px / _PX
