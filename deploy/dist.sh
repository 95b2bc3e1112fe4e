#!/bin/sh
# Builds wheel and sdist, and runs what is in the wheel on every supported Python that this machine has.
set -eu
cd "$(dirname "$0")/.."
uv="${UV:-$PWD/.venv/bin/uv}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf dist
"$uv" build --quiet --out-dir dist
ls dist
cat > "$work/auditflow.yaml" <<END
pipelines:
  - name: log
    sink: {name: logging_sink}
END
for folder in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin; do
  PATH="$folder:$PATH" # pyenv's own shims run one version only
done
tried=0
for version in 3.11 3.12 3.13 3.14; do
  python=$("$uv" python find --quiet --no-python-downloads --system "$version" 2> /dev/null) || continue
  "$uv" venv --quiet --no-python-downloads --python "$python" "$work/$version"
  VIRTUAL_ENV="$work/$version" "$uv" pip install --quiet "$(ls "$PWD"/dist/*.whl)[aws,jwt]"
  (cd "$work" && "$work/$version/bin/auditflow" --version && "$work/$version/bin/auditflow" check auditflow.yaml)
  (cd "$work" && "$work/$version/bin/auditflow" demo > demo.txt) || { cat "$work/demo.txt"; exit 1; }
  echo "Python $version: installed, checked, demo run"
  tried=$((tried + 1))
done
[ "$tried" -gt 0 ] || { echo "No supported Python found: 3.11 to 3.14." >&2; exit 1; }
