#!/usr/bin/env bash
# Compiles the native code for aarch64 and runs its tests there, under qemu-user.
#
#   scripts/test_arm.sh [pytest's arguments; by default tests/native without the slow ones]
#
# Wants Debian's g++-aarch64-linux-gnu, qemu-user and debootstrap, and root for the last. What runs
# is Debian's Python for arm64 with aarch64 wheels, in .arm: about 1.2 GB, made once.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in aarch64-linux-gnu-g++ qemu-aarch64 debootstrap; do
  command -v $tool >/dev/null || PATH=$PATH:/usr/sbin command -v $tool >/dev/null || {
    echo "$tool is missing; apt-get install g++-aarch64-linux-gnu qemu-user debootstrap" >&2
    exit 1
  }
done
python=$PWD/.venv/bin/python
PATH=$PWD/.venv/bin:$PATH:/usr/sbin
arm=$PWD/.arm
root=$arm/root

# Unpacked, not installed: nothing in it has to run before Python does.
if [ ! -e "$root/.unpacked" ]; then
  rm -rf "$arm/bootstrap" "$root"
  mkdir -p "$root"
  debootstrap --arch=arm64 --foreign --variant=minbase \
    --include=python3-minimal,libpython3-stdlib,libpython3-dev bookworm "$arm/bootstrap" >/dev/null
  for package in "$arm"/bootstrap/var/cache/apt/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
  rm -rf "$arm/bootstrap"
  touch "$root/.unpacked"
fi
arm_python=("$(command -v qemu-aarch64)" -L "$root" "$root/usr/bin/python3.11")

# torch 2.7.1: the definition is the same, and its aarch64 wheel is for processors alone.
if [ ! -e "$arm/site/.installed" ]; then
  rm -rf "$arm/site"
  platforms=(any manylinux2014_aarch64)
  for glibc in 17 24 26 27 28; do platforms+=("manylinux_2_${glibc}_aarch64"); done
  wheels=(install -q --disable-pip-version-check --target "$arm/site" "${platforms[@]/#/--platform=}"
    --only-binary=:all: --python-version 3.11)
  # Alone, since pip would look for what torch needs on this machine.
  "$python" -m pip "${wheels[@]}" --no-deps torch==2.7.1
  "$python" -m pip "${wheels[@]}" sympy networkx fsspec numpy transformers pytest hypothesis gguf \
    tokenizers safetensors jinja2 huggingface-hub pydantic pydantic-settings platformdirs
  touch "$arm/site/.installed"
fi

cmake -S . -B "$arm/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_SYSTEM_NAME=Linux \
  -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
  -DPython_EXECUTABLE="$python" -Dnanobind_DIR="$("$python" -m nanobind --cmake_dir)" \
  -DPython_INCLUDE_DIR="$root/usr/include/python3.11" -DNB_SUFFIX=.so \
  -DCMAKE_CXX_FLAGS="-idirafter $root/usr/include" >/dev/null
cmake --build "$arm/build" --parallel "$(nproc)" | tail -1
rm -rf "$arm/package"
mkdir -p "$arm/package"
cp -r src/tramontane "$arm/package/tramontane"
cp "$arm"/build/_cpu.so "$arm/package/tramontane/native/"
# It says which version this is.
cp -r .venv/lib/python*/site-packages/tramontane-*.dist-info "$arm/package/"

export PYTHONHOME=$root/usr PYTHONPATH=$arm/package:$arm/site OMP_NUM_THREADS=1
"${arm_python[@]}" -c 'import platform; from tramontane.native import variants_here
print(platform.machine(), "under qemu-user:", ", ".join(variants_here()))'
[ $# -gt 0 ] || set -- tests/native -m "not slow"
exec "${arm_python[@]}" -m pytest -p no:cacheprovider "$@"
