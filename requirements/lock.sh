#!/bin/sh
# Pins every dependency with its hashes, in files that name no download host.
set -eu
cd "$(dirname "$0")/.."
compile="${UV:-.venv/bin/uv} pip compile --quiet --generate-hashes --no-emit-index-url --universal --custom-compile-command requirements/lock.sh $*"
$compile pyproject.toml --all-extras -o requirements/runtime.txt
$compile pyproject.toml --all-extras --group dev -o requirements/dev.txt
echo "uv" | $compile - -o requirements/tools.txt
echo "awscli" | $compile - -o requirements/awscli.txt
