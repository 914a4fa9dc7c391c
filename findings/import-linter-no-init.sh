#!/usr/bin/env bash
# What: import-linter on a package one of whose folders has no __init__.py, which Python has not needed since 3.3:
#   its modules are imported, run and tested like all others.
# Guess: what can be imported by its name below the root package is checked; or a folder that is left out
#   is named.
# Seen (import-linter 2.16, grimp 3.19, Python 3.11.7): the folder is not looked at. A contract that its module
#   breaks is KEPT, with exit code 0 and no warning; only the number of files tells. With an empty
#   __init__.py in it the same contract is BROKEN.
# Why it matters: whoever moves modules into a new folder and forgets that file has fewer rules than before,
#   and everything is green.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check import-linter==2.16 grimp==3.19
mkdir -p app/pure
touch app/__init__.py
echo 'import socket' > app/pure/rules.py
cat > .importlinter <<'INI'
[importlinter]
root_package = app
include_external_packages = True

[importlinter:contract:pure]
name = nothing imports a socket
type = forbidden
source_modules = app
forbidden_modules = socket
INI

lint() { # prints what is said about the contract, and the exit code
    local code=0
    PYTHONPATH=. "$dir/venv/bin/lint-imports" --no-cache > out 2>&1 || code=$?
    echo "$(grep -E '^Analyzed|KEPT|BROKEN' out | tr '\n' ' ')exit code $code"
}

"$dir/venv/bin/pip" list --disable-pip-version-check 2> /dev/null | grep -E '^(import-linter|grimp) '
module=$("$dir/venv/bin/python" -c 'import app.pure.rules; print(app.pure.rules.__name__)')
echo "  Python imports $module"
without=$(lint)
echo "  without app/pure/__init__.py: $without"
touch app/pure/__init__.py
with=$(lint)
echo "  with it: $with"
case "$without/$with" in
    *"KEPT exit code 0/"*"BROKEN exit code 1") ;;
    *) echo "CHANGED: expected KEPT without the file, and BROKEN with it"; exit 1 ;;
esac
