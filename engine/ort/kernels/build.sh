#!/usr/bin/env bash
# Compiles kernels.cu and fp8.cu to kernels.ptx and fp8.ptx, the text that drivers of cards
# from compute capability 8.0 and 8.9 on compile for themselves. Its first line holds the
# hash of the sources, which a test compares.
#
#     python3 -m venv v && v/bin/pip install nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96
#     NVCC=$(echo v/lib/python3*/site-packages/nvidia/cu13/bin/nvcc) engine/ort/kernels/build.sh
#
# A newer compiler writes PTX that the drivers of the CUDA that ONNX Runtime is built for
# do not read.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compile() { # NAME CAPABILITY
	"${NVCC:-nvcc}" -ptx -O3 -arch=compute_$2 -o "$work/$1.ptx" "$1.cu"
	{ printf '// sources: %s\n' "$(cat "$1.cu" kernels.h | sha256sum | cut -d ' ' -f 1)"; cat "$work/$1.ptx"; } >"$1.ptx"
}
compile kernels 80
compile fp8 89
