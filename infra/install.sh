#!/bin/sh
# Install dfp-batch and Ray into a new virtual environment: so are the machines of a cluster made, and the image.
#
#   sh dist/install.sh VENV dist        dist is what `make wheel` leaves
#   EXTRAS=raw,microscopy sh ...        with the readers of further formats
set -eu
venv=$1
folder=$2
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dfp-batch needs Python 3.11 or newer")'
"$python" -m venv "$venv"
install() {
    "$venv/bin/pip" install --quiet --disable-pip-version-check --constraint "$folder/constraints.txt" "$@"
}
install torch # first, as constraints.txt pins it: others pull GPU libraries onto machines without a GPU
install "$(echo "$folder"/dfp_batch-*.whl)${EXTRAS:+[$EXTRAS]}"
"$venv/bin/dfp-batch" --version
"$venv/bin/ray" --version
