"""An example of every command, as it is typed; the help of each ends with its own."""

EXAMPLES = {
    "submit": (
        "dfp-batch submit PHOTOS --scale 2",
        "dfp-batch submit PHOTOS/manifest.parquet --preset best -o s3://bucket/run",
        "dfp-batch submit PHOTOS --until 07:00 --address http://HEAD:8265",
    ),
    "plan": ("dfp-batch plan PHOTOS/manifest.parquet --scale 2",),
    "config": (
        "dfp-batch config --preset fast --set refinement.second.contrast=80 > settings.toml",
        "dfp-batch config --schema > settings.schema.json",
    ),
    "doctor": ("dfp-batch doctor", "dfp-batch doctor s3://bucket/folder"),
    "fuse": (
        "dfp-batch fuse A.jpg B.jpg -o fused.png --scale 2",
        "dfp-batch fuse stack.ome.tif -o fused.tiff --scale 1 --decision map.png",
    ),
    "manifest": (
        "dfp-batch manifest PHOTOS -o PHOTOS/manifest.parquet",
        "dfp-batch manifest PHOTOS --gap 5s --dry-run",
    ),
    "synth": ("dfp-batch synth SCENES --count 12 --scale 2 --noise 0.01",),
    "status": ("dfp-batch status PHOTOS/manifest-x2",),
    "watch": ("dfp-batch watch PHOTOS/manifest-x2", "dfp-batch watch s3://bucket/run --once"),
    "results": (
        "dfp-batch results PHOTOS/manifest-x2",
        "dfp-batch results PHOTOS/manifest-x2 -o table.parquet",
    ),
    "failures": ("dfp-batch failures PHOTOS/manifest-x2",),
    "retry": (
        "dfp-batch retry PHOTOS/manifest-x2 --category input",
        "dfp-batch retry PHOTOS/manifest-x2 --pair beetle-0042",
        "dfp-batch retry PHOTOS/manifest-x2 --rejected",
    ),
    "report": ("dfp-batch report PHOTOS/manifest-x2 --open",),
    "serve": ("dfp-batch serve PHOTOS/manifest-x2 --open", "dfp-batch serve s3://bucket/run"),
    "verify": ("dfp-batch verify PHOTOS/manifest-x2",),
    "gc": ("dfp-batch gc PHOTOS/manifest-x2", "dfp-batch gc PHOTOS/manifest-x2 --delete"),
    "compact": ("dfp-batch compact PHOTOS/manifest-x2",),
    "evaluate": ('dfp-batch evaluate bundled --methods "classical,fast" --limit 3 -o EVAL',),
    "bench": ("dfp-batch bench --presets fast --scale 2", "dfp-batch bench A.jpg B.jpg C.jpg"),
}


def of_command(name: str) -> str:
    """A line for each example of a command, for the end of its help."""
    return "\n    ".join(["Examples:" if len(EXAMPLES[name]) > 1 else "Example:", *EXAMPLES[name]])
