"""Record ``paper-tables``: what is measured for the paper's Tables 1 to 3, and at scale 1.

Every part is an evaluation of its own; an interrupted one goes on where it stopped. The fusers of
the paper are known by what they made of full-size pairs, see ``evaluation.paper_archive``.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dfp_batch.config.run_config import run_config
from dfp_batch.core.contracts import Reconstruction
from dfp_batch.errors import ConfigError
from dfp_batch.evaluation import Archive, External, Method, Options, evaluate, named_methods
from dfp_batch.evaluation.paper_archive import Preparation, by_set
from dfp_batch.evaluation.paper_tables import Shown, section
from dfp_batch.evaluation.published import FUSERS, PRINTED, SCALES
from dfp_batch.evaluation.records import ITEMS, keep_together, with_results
from dfp_batch.reconstruction.back_projection import BackProjection
from dfp_batch.reconstruction.deep_image_prior import DeepImagePrior
from dfp_batch.runs.manifest import Pair

NAME = "paper-tables"
EXAMPLES = Path(__file__).parent.parent / "examples"
PHOTOGRAPHS = "mfi-whu"  # the set whose pairs were made of one photograph each
CROPS, CROP_PX, CROPPED = "crops", 128, 4  # of the first pairs of that set
PRESETS = ("fast", "balanced")
TABLES = (
    Shown("Table 1: fusers, then bicubic; MFI-WHU", PHOTOGRAPHS, "bicubic"),
    Shown("Table 2: fusers, then DIP; 128 px crops", CROPS, "dip"),
    Shown("Table 3: fusers, then SRCNN; MFI-WHU", PHOTOGRAPHS, "srcnn"),
    Shown("Fusers, then bicubic; the crops of Table 2", CROPS, "bicubic", is_printed=False),
    Shown("Fusers, then SRCNN; the crops of Table 2", CROPS, "srcnn", is_printed=False),
    Shown("Fusers, then bicubic; Lytro", "lytro", "bicubic", is_printed=False),
    Shown("Fusers, then SRCNN; Lytro", "lytro", "srcnn", is_printed=False),
)
AT_FULL_SIZE = {PHOTOGRAPHS: "Scale 1, MFI-WHU", "lytro": "Scale 1, Lytro"}
INTRODUCTION = """
## The paper's tables

Record `paper-tables`. The paper's twelve fusers with its three enlargers, and the presets, on pairs
of the paper's own benchmark MFI-WHU and on Lytro 01 to 08. In Tables 1 to 3 the figure that the
paper prints stands in brackets; its line DFP is that of `paper`.
"""
NOTES = """
What to know before reading them:

- The fusers are known by their published results of scale 1 alone, all of them JPEG. For scales 2
  and 4 these were made smaller once more by Lanczos2 and enlarged then: **their fusion saw the
  full-size pair**. The presets got the small pair, as the paper has it.
- The printed figures are of another choice of MFI-WHU's pairs; here it is the first ten. Their line
  of GCF in Table 3 stands in wrong columns in the paper itself.
- FusionDN, PMGI, U2Fusion and MFF-GAN change brightness or contrast, and PMGI is soft. SCD and VIFF
  reward contrast: they put some of these first. What is called FusionDN rests on that label alone.
- PSNR and SSIM are against the photograph that an MFI-WHU pair was made of: at every pixel that
  source which is nearer to the median of the twelve results of scale 1, over 3 px. This leans
  towards the fusers, and is therefore not used at scale 1. Lytro has no such reference.
- DIP (2500 iterations) and `paper` (500 + 1000) fit networks to every item, for minutes: they are
  on crops of 128 px, where each source has most detail that the other lacks, of the first pairs
  only. n says how many there are; a mean is that of its n crops.
- SRCNN is `examples/srcnn.py` with the authors' weights, a supervised part of somebody else.
- RMG, REI, RIE, RMGA and RECO compare with partly blurred sources: a perfect result does not score
  0. Never rank by them. The order of the fusers comes out as printed for REI (rank correlation of
  0.93 to 1), for RMGA with bicubic (0.99) and for RMG at scale 4 (1), less for RMGA with SRCNN
  (0.7) and RMG at scale 2 (0.4 and 0.8), and not for RIE and RECO: their scale, and the constant
  of RECO, the paper leaves open.
"""
AT_X1 = ("average", "laplacian-pyramid", "classical", *PRESETS)


@dataclass(frozen=True)
class Given:
    """What the command line names.

    Attributes:
        pairs: Manifest of pairs called ``<set>_<number>``.
        externals: Folders of results of scale 1, by their names.
        srcnn: Folder of srcnn_x2.npz and srcnn_x4.npz.
        work: Folder of everything that is made on the way.
    """

    pairs: str
    externals: Mapping[str, str]
    srcnn: str
    work: Path


@dataclass(frozen=True)
class Part:
    """One evaluation.

    Attributes:
        name: Of its folder.
        items: What is shown.
        methods: By name.
        scales: At which.
        is_slow: Whether a single row takes minutes.
    """

    name: str
    items: Archive
    methods: Mapping[str, Method]
    scales: tuple[int, ...] = SCALES
    is_slow: bool = False


def make(part: Part, work: Path, options: Options, results: Path) -> None:
    """Evaluate a part and add it to the record, as far as it is done if it is interrupted.

    Args:
        part: Of ``parts``.
        work: Folder of its evaluation.
        options: How to evaluate.
        results: Folder of the record.

    Raises:
        ConfigError: if the weights are not what they must be.
    """
    own = replace(options, apart=part.is_slow)
    try:
        evaluate(part.items, part.methods, str(work / part.name), part.scales, own)
    finally:
        if (work / part.name / ITEMS).is_file():
            keep_together({part.name: work / part.name}, results)


def shown(results: Path) -> list[str]:
    """What the page says of this record; nothing if it is not there."""
    if not (results / PRINTED).is_file():
        return []
    return [INTRODUCTION.strip(), *section(results, TABLES, AT_FULL_SIZE), NOTES.strip()]


def parts(given: Given) -> list[Part]:
    """All of them, what takes hours last; writes the images they are about."""
    fusers = {name: External(_folder(given, folder)) for name, folder in FUSERS.items()}
    sets = by_set(Archive.read(given.pairs).pairs)
    if not {"lytro", PHOTOGRAPHS} <= set(sets):
        raise ConfigError(f"the pairs must be of lytro and {PHOTOGRAPHS}, got {', '.join(sets)}")
    found = [part for name in ("lytro", PHOTOGRAPHS) for part in at_full_size(name, sets, given)]
    for name in ("lytro", PHOTOGRAPHS):
        is_voted = name == PHOTOGRAPHS
        prepare = Preparation(str(given.work / "images" / name), fusers, SCALES, is_voted)
        found += enlarged(name, tuple(map(prepare, sets[name])), prepare, given.srcnn)
    folder = str(given.work / "images" / CROPS)
    prepare = Preparation(folder, fusers, SCALES, is_voted=True, side_px=CROP_PX)
    crops = tuple(map(prepare, sets[PHOTOGRAPHS][:CROPPED]))
    return [*found, *enlarged(CROPS, crops, prepare, given.srcnn), *slow(crops, prepare)]


def _folder(given: Given, fuser: str) -> str:
    if fuser not in given.externals:
        found = ", ".join(given.externals) or "none"
        raise ConfigError(
            f"a folder of results of {fuser} must be given, got {found}; add it to --externals"
        )
    return given.externals[fuser]


def at_full_size(name: str, sets: Mapping[str, Sequence[Pair]], given: Given) -> list[Part]:
    """Scale 1: all who have a result for every pair."""
    archive = Archive(name, tuple(sets[name]))
    called = {folder: fuser for fuser, folder in FUSERS.items()}
    there = with_results(archive.pairs, given.externals)
    others = {called.get(one, one): External(folder) for one, folder in there.items()}
    return [
        Part(f"x1-{name}-others", archive, others, (1,)),
        Part(f"x1-{name}-presets", archive, named_methods(AT_X1, {}), (1,)),
    ]


def enlarged(name: str, pairs: Sequence[Pair], prepared: Preparation, weights: str) -> list[Part]:
    """Enlargers of one pass after every fuser, and the presets."""
    archive = Archive(name, tuple(pairs))
    enlargers = {"bicubic": BackProjection(steps=0), "srcnn": srcnn(weights)}
    return [
        Part(f"{name}-others", archive, combined(prepared, enlargers)),
        Part(f"{name}-presets", archive, named_methods(PRESETS, {})),
    ]


def slow(pairs: Sequence[Pair], prepared: Preparation) -> list[Part]:
    """What fits a network to every item: pair by pair, so that those that are done can be kept."""
    dip = combined(prepared, {"dip": DeepImagePrior()})
    paper = Part(
        f"{CROPS}-paper", Archive(CROPS, tuple(pairs)), named_methods(["paper"], {}), is_slow=True
    )
    return [
        paper,
        *(
            Part(
                f"dip-{pair.pair_id}-x{scale}", Archive(CROPS, (pair,)), dip, (scale,), is_slow=True
            )
            for pair in pairs
            for scale in SCALES
        ),
    ]


def combined(prepared: Preparation, enlargers: Mapping[str, Reconstruction]) -> dict[str, Method]:
    """Every enlarger after every fuser."""
    return {
        f"{fuser}+{enlarger}": External(f"{prepared.folder}/{fuser}", part)
        for enlarger, part in enlargers.items()
        for fuser in prepared.results
    }


def srcnn(weights: str) -> Reconstruction:
    """The example of a network of somebody else, with the weights of whatever scale it is."""
    sys.path.append(str(EXAMPLES))
    path = str(Path(weights, "srcnn_x{scale}.npz").absolute())
    parts = {"reconstruction": "srcnn:Srcnn", "reconstruction.weights": path}
    return run_config("classical", None, parts).fusion.reconstruction
