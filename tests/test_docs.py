"""The pages say what is there: modules, links, and a README that stays a first look."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import mspn

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "mspn"
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG", "SECURITY", "CODE_OF_CONDUCT")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
_MODULE_FILE = re.compile(r"`(?:src/mspn/)?((?:[a-z_]+/)+[a-z_0-9]+\.py)\b")
_DOTTED_NAME = re.compile(r"`(mspn(?:\.[a-z_0-9]+)+)\b")
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")
_PAGE_LINK = re.compile(r"\[`?([\w./-]+\.md)`?\]\((?!https?:)([^)#\s]*)")
_EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_CORE_ONLY = """\
import runpy, sys
for name in sys.argv[2:]:
    sys.modules[name] = None  # as if it were not installed
runpy.run_path(sys.argv[1])
"""
# And sympy, which torch alone uses, for its compiler: importing that takes seconds.
_NOT_NEEDED = (
    "sympy",
    *("av", "hotcoco", "matplotlib", "onnx", "onnxruntime", "onnxscript", "openvino", "pandas", "PIL", "pyarrow"),
    *("scipy", "supervision", "tensorboard", "transformers"),
)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    """Names of the headings as GitHub makes them."""
    headings = _HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _exists(dotted: str) -> bool:
    """Whether a module is there, or a name that the module before it defines or the package exports."""
    parts = dotted.split(".")[1:]
    for count in range(len(parts), -1, -1):
        path = SOURCE.joinpath(*parts[:count])
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if file.is_file():
            return (
                count == len(parts) or re.search(rf"\b{parts[count]}\b", file.read_text(encoding="utf-8")) is not None
            )
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_that_a_page_names_are_there(page: Path):
    text = page.read_text(encoding="utf-8")

    files = {name for name in _MODULE_FILE.findall(text) if not name.startswith(("tests/", "benchmarks/"))}
    assert sorted(name for name in files if not (SOURCE / name).is_file()) == []
    assert sorted(name for name in set(_DOTTED_NAME.findall(text)) if not _exists(name)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path):
    missing = []
    for target, anchor in _LINK.findall(page.read_text(encoding="utf-8")):
        path = page.parent / target if target else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in _anchors(path)):
            missing.append(f"{target}#{anchor}")
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_by_the_name_of_a_page_leads_to_that_page(page: Path):
    links = _PAGE_LINK.findall(page.read_text(encoding="utf-8"))

    assert [(text, target) for text, target in links if Path(text).name != Path(target).name] == []


def test_every_page_is_in_the_navigation_of_the_site():
    listed = re.findall(r"^ +- .*?([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)

    pages = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    assert sorted(listed) == sorted(pages)


def test_the_reference_has_the_whole_public_surface():
    text = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")

    described = {name.rpartition(".")[2] for name in re.findall(r"^::: (mspn[\w.]+)$", text, re.MULTILINE)}
    assert described | {"__version__"} == set(mspn.__all__)


def test_the_version_to_cite_is_the_packages():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))

    assert cited["version"] == mspn.__version__


def test_the_readme_is_a_first_look():
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    assert len(text.splitlines()) <= 130
    assert len(text.split()) <= 800


def _readme_examples(folder: Path) -> list[Path]:
    """Its Python, each example in a file of its own."""
    examples = _EXAMPLE.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    paths = [folder / f"example_{index}.py" for index in range(len(examples))]
    for path, example in zip(paths, examples, strict=True):
        path.write_text(example, encoding="utf-8")
    return paths


def test_examples_of_the_readme_run_in_a_core_installation(tmp_path: Path):
    shutil.copy(SOURCE / "assets" / "sample" / "astronaut.jpg", tmp_path / "photo.jpg")

    for path in _readme_examples(tmp_path):
        command = [sys.executable, "-c", _CORE_ONLY, path, *_NOT_NEEDED]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)

        assert done.returncode == 0, done.stderr
        score, *_, keypoint_score = map(float, re.findall(r"\d+\.\d+", done.stdout.splitlines()[0]))
        assert 0 < score < 1
        assert 0 < keypoint_score < 1


def test_the_type_checker_sees_the_examples_of_the_readme(tmp_path: Path):
    """`make check` runs mypy, strictly, on this file too."""
    checked = (ROOT / "benchmarks" / "readme_example.py").read_text(encoding="utf-8")

    assert checked.partition('"""\n\n')[2] == "\n".join(
        _EXAMPLE.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    )
