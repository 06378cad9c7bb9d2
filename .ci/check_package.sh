#!/usr/bin/env bash
# Build the sdist and the wheel, check both, and use the wheel as a newcomer would:
# in an empty environment outside the checkout, by the examples of the README.
#
# PYTHON has to hold the extra "package" (build, twine, validate-pyproject).
# DIST, dist by default, is emptied and then holds what was checked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON="$(command -v "${PYTHON:-python3}")"
DIST="${DIST:-dist}"
unset PYTHONPATH # the checkout must not stand in for the wheel

"$PYTHON" -m validate_pyproject pyproject.toml
rm -rf "$DIST"
"$PYTHON" -m build --outdir "$DIST" . >/dev/null # the wheel is made from the sdist
"$PYTHON" -m twine check --strict "$DIST"/*

sdist=$(echo "$DIST"/skbilevel-*.tar.gz)
wheel=$(echo "$DIST"/skbilevel-*-py3-none-any.whl)
held=$(tar -tzf "$sdist" | sed 's|^[^/]*/||')
for file in LICENSE README.md CHANGELOG.md skbilevel/py.typed tests/conftest.py \
  tests/public_api.txt tests/linear_model/test_ridge.py doc/user_guide/index.md; do
  grep -qxF "$file" <<<"$held" || { echo "$sdist lacks $file"; exit 1; }
done
"$PYTHON" - "$wheel" <<'CODE'
import sys, zipfile
names = zipfile.ZipFile(sys.argv[1]).namelist()
assert "skbilevel/py.typed" in names, "the wheel lacks py.typed"
other = [n for n in names if n.split("/")[0].split("-")[0] != "skbilevel"]
assert not other, f"the wheel holds {other}"
CODE

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$PYTHON" -m venv "$folder/env"
# pandas and matplotlib: the README reads data sets as frames, and draws
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
  "$wheel[plot]" pandas
"$folder/env/bin/python" -m pip check
(
  cd "$folder"
  env/bin/python -c "import skbilevel; skbilevel.show_versions()
assert skbilevel.__file__.startswith('$folder'), skbilevel.__file__"
)
"$folder/env/bin/python" .ci/check_documents.py README.md
echo "package: $wheel and $sdist are fine"
