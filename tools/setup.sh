#!/usr/bin/env bash
# Makes .venv with the extras named, and installs the few system packages that pip cannot bring.
#   tools/setup.sh sim            what `make demo` needs
#   tools/setup.sh sim,hil,train,dev  what `make test` needs
# Quick the second time: a stamp in .venv remembers the extras and the hash of setup.py and of this file.
set -euo pipefail
cd "$(dirname "$0")/.."
extras=${1:?usage: tools/setup.sh EXTRA[,EXTRA...]}
stamp=".venv/.ready-${extras//,/-}-$(cat setup.py tools/setup.sh | sha256sum | cut -c1-16)"
[ -e "$stamp" ] && exit 0

say() { printf 'setup: %s\n' "$*" >&2; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo "$@"; else return 1; fi
}

# need NAME CHECK PACKAGE...: when CHECK fails, install the packages, or say what to type.
need() {
  local name=$1 check=$2; shift 2
  bash -c "$check" >/dev/null 2>&1 && return 0
  if command -v apt-get >/dev/null; then
    say "$name is missing: installing $*"
    if as_root env DEBIAN_FRONTEND=noninteractive sh -c "apt-get update -qq && apt-get install -y -qq --no-install-recommends $*" >&2; then
      bash -c "$check" >/dev/null 2>&1 && return 0
    fi
  fi
  say "$name is missing. Install it, for example: sudo apt-get install $*"
  exit 1
}

# want NAME CHECK PACKAGE...: the same for what some tests use; they skip with a reason where it stays missing.
want() { (need "$@") || say "going on without $1: its tests will be skipped"; }

python=${PYTHON:-python3}
need "Python 3.10 or newer" "$python -c 'import sys; assert sys.version_info >= (3, 10)'" python3
need "Python's venv" "$python -c 'import venv, ensurepip'" python3-venv
need "a C compiler" "printf '#include <stdint.h>\nint main(void){return 0;}' | gcc -x c - -o /dev/null" gcc libc6-dev

# On a Jetson OpenCV and TensorRT are JetPack's; everywhere else pip brings all (not tried on a Jetson or other ARM yet).
jetson=
[ -e /etc/nv_tegra_release ] && jetson=--system-site-packages
[ -x .venv/bin/python ] || "$python" -m venv $jetson .venv
if [ -n "$jetson" ] && grep -qi '^include-system-site-packages *= *false' .venv/pyvenv.cfg; then
  say ".venv does not see JetPack's OpenCV and TensorRT. Delete it and try again: rm -rf .venv"
  exit 1
fi
say "installing Python packages into .venv (extras: $extras)"
.venv/bin/python -m pip install --quiet --upgrade pip
PYTHONWARNINGS=ignore .venv/bin/python -m pip install --quiet --editable ".[$extras]"
if [ -n "$jetson" ]; then
  # PyPI has the one for the processor only; NVIDIA's wheel for the GPU is kept where it is installed (docs/gpu.md).
  .venv/bin/python -c 'import onnxruntime' 2>/dev/null || .venv/bin/python -m pip install --quiet onnxruntime
  need "JetPack's OpenCV" ".venv/bin/python -c 'import cv2'" nvidia-opencv
else
  need "OpenCV's libraries" ".venv/bin/python -c 'import cv2'" libgl1 libglib2.0-0
fi
case ",$extras," in
  *,sim,*) need "a headless renderer (EGL)" \
    "MUJOCO_GL=egl .venv/bin/python -c 'import mujoco; mujoco.GLContext(64, 64).make_current()'" libegl1 libgl1-mesa-dri ;;
esac
case ",$extras," in
  *,hil,*)
    want "the Arm compiler" "arm-none-eabi-gcc --version && ls /usr/lib/arm-none-eabi/newlib" \
      gcc-arm-none-eabi libnewlib-arm-none-eabi
    want "QEMU for Arm" "qemu-system-arm --version" qemu-system-arm
    want "cppcheck" "cppcheck --version" cppcheck
    want "clang with libFuzzer" \
      "printf 'int LLVMFuzzerTestOneInput(const void *d, unsigned long n){return d && n > 9;}' | clang-14 -x c - -fsanitize=fuzzer,address -o /dev/null" \
      clang-14 libclang-rt-14-dev
    want "clang-tidy" "clang-tidy-14 --version" clang-tidy-14
    want "Frama-C" "frama-c -version" frama-c-base ;;
esac
touch "$stamp"
