#!/usr/bin/env bash
# Measures the GPU of this machine, from a bare checkout with torch installed: benchmarks/gpu.sh [OUT.json]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PYTHONPATH=src:.
exec python3 -m benchmarks.gpu --out "${1:-gpu.json}"
