"""How the pages are built: Sphinx reads Markdown, and the API from the docstrings."""

import builtins
import re
from typing import TYPE_CHECKING, Any

import tpool_asyncio

if TYPE_CHECKING:
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "tpool_asyncio"
author = "The tpool_asyncio authors"
copyright = author  # noqa: A001  # the name Sphinx reads
version = release = tpool_asyncio.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {release}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False

# What is documented elsewhere, and cannot be looked up without a network.
nitpicky = True
_ELSEWHERE = ["asyncio", "CancelledError", "anyio", "collections", "concurrent", "contextlib", "contextvars"]
_ELSEWHERE += ["eventlet", "functools", "greenlet", "queue", "sys", "threading", "types", "UnionType", *vars(builtins)]
nitpick_ignore_regex = [
    (r"py:.*", rf"({'|'.join(_ELSEWHERE)})(\..+)?"),
    (r"py:class", r"_asyncio\.(Future|Task)"),
    # Type variables, protocols and aliases of signatures.
    (r"py:class", r"P\.args|P\.kwargs|P|T|Types|Names|PoolHandle|tpool_asyncio\.(_loop|_green|_pool|_proxy)\..+"),
]

# Where a name of a docstring is looked for, if it is not in the module and class of the docstring.
_PLACES = [f"tpool_asyncio{place}" for place in ("", ".tpool", ".green", ".green.LightQueue", ".hubs")]


def find_in_the_package(app: "Sphinx", env: "BuildEnvironment", node: "pending_xref", content: Any) -> Any:
    """Let docstrings say `from_thread.run` and `Pool`, wherever they stand, as the code that users write does."""
    target = node.get("reftarget", "")
    here = node.get("py:module")
    for prefix in (here, *_PLACES):
        found = env.domains.python_domain.resolve_any_xref(
            env, node.get("refdoc", ""), app.builder, f"{prefix}.{target}", node, content
        )
        if found:
            return found[0][1]
    return None


def tidy_signature(*described: Any) -> tuple[str | None, str | None]:
    """Show type variables as the source has them."""
    signature: str | None
    returns: str | None
    *_, signature, returns = described
    if signature:
        signature = re.sub(r"~tpool_asyncio\.[\w.]+\.T\b", "T", signature).replace("[[~P], ", "[P, ")
        signature = re.sub(r"\*(args|kwargs): ~typing\.~P\b", r"*\1: P.\1", signature)
        signature = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", signature)
    if returns:
        returns = returns.replace("[[~P], ", "[P, ")
    return signature, returns


def setup(app: "Sphinx") -> None:
    """Called by Sphinx."""
    app.connect("missing-reference", find_in_the_package)
    app.connect("autodoc-process-signature", tidy_signature)
