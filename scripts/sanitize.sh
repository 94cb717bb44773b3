#!/usr/bin/env bash
# Runs Python on a build of the native code that watches itself.
#
#   scripts/sanitize.sh address PYTHON'S ARGUMENTS    AddressSanitizer, UndefinedBehaviorSanitizer
#   scripts/sanitize.sh thread PYTHON'S ARGUMENTS     ThreadSanitizer
#
# Compiled are the instruction sets that this machine can run; with SANITIZE_BEST=1 the best of them
# and the portable one, which takes a third of the time.
# The build lies in build/sanitize-NAME beside a copy of the package; the installed one is not
# touched. GCC or Clang with its sanitizers is needed (Debian: g++).
set -euo pipefail
cd "$(dirname "$0")/.."

name=$1
shift
case $name in
  address) sanitizers=address,undefined runtimes="libasan.so libubsan.so" unmoved= ;;
  thread) sanitizers=thread runtimes=libtsan.so unmoved="setarch -R" ;;
  *) echo "there is no sanitizer $name; there are address and thread" >&2; exit 2 ;;
esac

python=$PWD/.venv/bin/python
PATH=$PWD/.venv/bin:$PATH
build=$PWD/build/sanitize-$name
# The best first, as the installed build has them, and portable last.
mapfile -t here < <("$python" -c 'from tramontane.native import _cpu; print(*_cpu.usable_variants()[:-1], sep="\n")')
[ -z "${SANITIZE_BEST:-}" ] || here=("${here[0]:-}")
cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS=-O1 -DTRAMONTANE_SANITIZE=$sanitizers \
  -DX86_VARIANTS="$(IFS=";"; echo "${here[*]}")" \
  -DPython_EXECUTABLE="$python" -Dnanobind_DIR="$("$python" -m nanobind --cmake_dir)" >/dev/null
cmake --build "$build" --parallel "$(nproc)" | tail -1

rm -rf "$build/package"
mkdir -p "$build/package"
cp -r src/tramontane "$build/package/tramontane"
cp "$build"/_cpu*.so "$build/package/tramontane/native/"

# A sanitizer must be there before the program is, and libstdc++ before the sanitizer looks for
# what throws.
preload=
for library in $runtimes libstdc++.so.6; do
  preload+="$(${CXX:-g++} -print-file-name=$library) "
done
# Python frees little at its end; what other people's libraries do among themselves isn't ours.
export ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=ignore_noninstrumented_modules=1:halt_on_error=1:second_deadlock_stack=1
export OMP_NUM_THREADS=1
# -S leaves out .pth files, and with them the installed package.
export PYTHONPATH=$build/package:$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# ThreadSanitizer wants memory where it expects it.
exec $unmoved env LD_PRELOAD="$preload" "$python" -S "$@"
