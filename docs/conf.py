"""The site of these pages: ``make docs`` builds it into build/docs, without the network."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import reference_pages  # noqa: E402 - beside this file

import dfp_batch  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator

project = "dfp-batch"
author = "the dfp-batch authors"
release = version = dfp_batch.__version__
extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4
nitpicky = True
highlight_language = "none"
smartquotes = False  # options begin with two hyphens

html_theme = "furo"
html_title = f"dfp-batch {release}"
html_static_path = ["style"]
html_css_files = ["own.css"]
html_show_sourcelink = False
html_show_copyright = False
html_copy_source = False
html_math_renderer = "mathml"
# The font of the system, and no other place on the network.
html_theme_options = {"top_of_page_buttons": [], "navigation_with_keys": True}


def setup(app: "Sphinx") -> None:
    """What Sphinx has not: equations without JavaScript, and pages made from the code."""
    app.add_html_math_renderer("mathml", (inline_math, leave), (block_math, leave))
    app.connect("source-read", reference_pages.fill)


def inline_math(page: "HTML5Translator", node: nodes.math) -> None:
    """An equation in the line; browsers know MathML."""
    page.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def block_math(page: "HTML5Translator", node: nodes.math_block) -> None:
    """An equation of its own, with its number if it has one."""
    page.body.append(f'<div class="equation">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def leave(page: "HTML5Translator", node: nodes.Node) -> None:
    """Nothing is left to be done."""
