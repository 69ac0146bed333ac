# Sourced before a program of this facility runs.
export PATH="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/programs:$PATH"
export CRYSTFEL_VERSION=0.10.2
