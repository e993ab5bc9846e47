"""Names of all metrics, as the tables of runs and evaluations have them; nothing else is imported.

========================================  ==========================================================
``psnr_db ssim``                          Luma against the reference; infinity dB if identical.
``psnr_colour_db ssim_colour``            All channels at once; mean of the SSIM of the channels.
``edge_psnr_db``                          Luma, where the blur of a defocused edge reaches.
``unfocused_psnr_db``                     Luma, farther from edges, where no source is in focus.
``mg ei ie mga eco``                      The paper's metrics of the result.
``rmg rei rie rmga reco``                 Their distance to those of two full-size sources, which
                                          are partly blurred: a perfect result does not score 0.
``scd viff q_w q_abf``                    Against all full-size sources; VIFF needs 41 px a side.
``accuracy``, ``accuracy_<region>``       Of the decision, see ``metrics.decision``.
``seconds seconds_per_mp``                Of ``fuse`` alone; megapixels of the output.
``consistency``                           Mean |u - D(x)| of the result x and the merged sources u.
========================================  ==========================================================
"""

PAPER = ("mg", "ei", "ie", "mga", "eco")
RELATIVE = ("rmg", "rei", "rie", "rmga", "reco")
REFERENCE = ("psnr_db", "ssim")
COLOUR = ("psnr_colour_db", "ssim_colour")
FUSION = ("scd", "viff", "q_w", "q_abf")
REGIONS = ("boundary", "thin", "flat")
ACCURACY = ("accuracy", *(f"accuracy_{region}" for region in REGIONS))
TIMES = ("seconds", "seconds_per_mp")

# Columns of a run, in this order, and of an evaluation.
OF_A_RUN = ("consistency", *PAPER, *REFERENCE, *RELATIVE)
_FOR_COMPARISON = (
    "for comparison with the paper's tables, not for ranking; needs reference_sources."
)
MEANINGS = {  # of the columns of a run
    "consistency": "Mean difference, in [0, 1], of the result made smaller again and the merged "
    "sources; before rounding. Much is a sign of a kernel too strong.",
    "mg": "The paper's mean gradient of the result, grey levels per pixel.",
    "ei": "The paper's edge intensity of the result.",
    "ie": "The paper's information entropy of the result.",
    "mga": "The paper's mean grey value of the result, in [0, 255].",
    "eco": "The paper's edge coherence of the result.",
    "psnr_db": "PSNR of the luma, with a reference; infinite if identical.",
    "ssim": "SSIM of the luma, with a reference.",
    **{name: f"The paper's relative form of `{name[1:]}`, {_FOR_COMPARISON}" for name in RELATIVE},
}
OF_AN_EVALUATION = (
    *REFERENCE,
    *COLOUR,
    "edge_psnr_db",
    "unfocused_psnr_db",
    *PAPER,
    *RELATIVE,
    *FUSION,
    *ACCURACY,
    *TIMES,
)
