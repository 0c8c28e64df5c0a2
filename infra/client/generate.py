"""`make client`: the typed client's models and operations, from the committed OpenAPI file; no network.

openapi-python-client reads the schema and writes the models. Operations are our own template: one method each, which
returns the answer's type, because the transport turns every error into an exception (slipstream_client/errors.py).
`--check` writes nothing and exits with 1 when the committed code is not what the schema says.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import yaml
from openapi_python_client import Project
from openapi_python_client.config import Config, ConfigFile, MetaType
from openapi_python_client.parser import GeneratorData
from openapi_python_client.parser.properties import ModelProperty
from openapi_python_client.parser.properties.list_property import ListProperty
from openapi_python_client.strings import PythonCode

_HERE = Path(__file__).resolve().parent
_REPOSITORY = _HERE.parent.parent
OPENAPI = _REPOSITORY / "control_plane" / "openapi.yaml"
PACKAGE = _HERE / "src" / "slipstream_client"
# What is generated, below PACKAGE; everything else there is written by hand.
GENERATED = ("models", "operations", "types.py")
_TOOLS = Path(sys.executable).parent


class GenerationError(Exception):
    """Something in the schema that the generator can't express; the message names it."""


class ClientProject(Project):
    """The generator's project with one module per tag instead of a package per operation."""

    def write(self) -> None:
        (self.package_dir / "operations").mkdir(parents=True)
        (self.package_dir / "types.py").write_text(self.env.get_template("types.py.jinja").render())
        self._build_models()
        self.env.filters |= {
            "resource_of": lambda path: "/".join(path.get_untrusted_value().split("/")[:4]),
            "imports_of": _imports_of,
            "item_of_page": _item_of_page,
            "iterator_name": lambda name: "iterate_" + str(name).removeprefix("list_"),
        }
        tags = sorted(self.openapi.endpoint_collections_by_tag)
        template = self.env.get_template("operations.py.jinja")
        for tag in tags:
            text = template.render(collection=self.openapi.endpoint_collections_by_tag[tag])
            (self.package_dir / "operations" / f"{tag}.py").write_text(text)
        together = self.env.get_template("all_operations.py.jinja").render(tags=tags)
        (self.package_dir / "operations" / "__init__.py").write_text(together)


def generate(folder: Path) -> None:
    """Write the generated parts below `folder`, which must not exist. Raises GenerationError."""
    document = yaml.safe_load(OPENAPI.read_text())
    _without_errors(document)
    config = Config.from_sources(
        config_file=ConfigFile(
            post_hooks=[],
            package_name_override="slipstream_client",
            content_type_overrides={
                "text/csv": "text/plain",
                "application/x-ndjson": "text/plain",
                "application/jsonl": "text/plain",
            },
        ),
        meta_type=MetaType.NONE,
        document_source=OPENAPI,
        file_encoding="utf-8",
        overwrite=False,
        output_path=folder,
    )
    parsed = GeneratorData.from_dict(document, config=config)
    if not isinstance(parsed, GeneratorData):
        raise GenerationError(f"{parsed.header}: {parsed.detail}")
    project = ClientProject(openapi=parsed, config=config, custom_template_path=_HERE / "templates")
    with redirect_stdout(StringIO()):
        project.write()
    if errors := project._get_errors():
        raise GenerationError("\n".join(f"{error.header}: {error.detail}" for error in errors))
    _format(folder)


def _without_errors(document: dict[str, Any]) -> None:
    """The transport raises for every error, so operations return only what success looks like."""
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"] = {
                status: response for status, response in operation["responses"].items() if status.startswith("2")
            }


def _imports_of(collection: Any) -> list[str]:
    """The models that a module of operations needs; the generator writes them as from one folder further down."""
    lines = {line for endpoint in collection.endpoints for line in endpoint.relative_imports}
    for endpoint in collection.endpoints:
        if (items := _items_of_page(endpoint)) is not None:
            lines |= items.get_lazy_imports(prefix="...") | items.get_imports(prefix="...")
    found = {line.replace("from ...", "from ..") for line in lines}
    return sorted(line for line in found if line.startswith(("from ..models", "import ")))


def _item_of_page(endpoint: Any) -> str | None:
    """The type of a page's items, as code."""
    items = _items_of_page(endpoint)
    return None if items is None else str(PythonCode.as_unembedded_code(items.inner_property.get_type_string()))


def _items_of_page(endpoint: Any) -> ListProperty | None:
    """The list of items if the operation answers with a page (`data`, `has_more`, `next_cursor`)."""
    patterns = endpoint.responses.patterns
    if len(patterns) != 1 or not isinstance(patterns[0].prop, ModelProperty):
        return None
    properties = {found.name.get_untrusted_value(): found for found in patterns[0].prop.required_properties or []}
    data = properties.get("data")
    if "next_cursor" not in properties or not isinstance(data, ListProperty):
        return None
    # An iterator needs the cursor as an argument; a list that is always one page has none.
    if not any(parameter.python_name == "after" for parameter in endpoint.query_parameters):
        return None
    return data


def _format(folder: Path) -> None:
    """Unused imports out, one style; not by the repository's settings, so that the bytes are always the same."""
    ruff = [str(_TOOLS / "ruff")]
    style = ["--isolated", "--no-cache", "--quiet", "--target-version", "py311"]
    for command in (
        [*ruff, "check", *style, "--fix", "--exit-zero", "--select", "F401,I", str(folder)],
        [*ruff, "format", *style, "--line-length", "120", str(folder)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise GenerationError(f"The generated code is not valid Python:\n{done.stderr[-2000:]}")


def _differences(left: Path, right: Path) -> list[str]:
    """Relative paths of the Python files that are not the same in both."""
    names = {path.relative_to(root) for root in (left, right) for part in GENERATED for path in _files(root / part)}
    return sorted(
        str(name)
        for name in names
        if not (left / name).exists()
        or not (right / name).exists()
        or not filecmp.cmp(left / name, right / name, shallow=False)
    )


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else list(path.rglob("*.py"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 written (or current), 1 stale or not expressible."""
    parser = argparse.ArgumentParser(prog="make client", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the committed code is current")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "slipstream_client"
        try:
            generate(made)
        except GenerationError as error:
            print(error, file=sys.stderr)
            return 1
        changed = _differences(made, PACKAGE)
        if given.check:
            print("\n".join(f"stale: {name}" for name in changed) or "The client is current.")
            return 1 if changed else 0
        for part in GENERATED:
            target = PACKAGE / part
            if target.is_dir():
                shutil.rmtree(target)
            shutil.move(made / part, target)
    print(f"Written: {len(changed)} changed files below {PACKAGE.relative_to(_REPOSITORY)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
