#!/usr/bin/env bash
# What tools say about the C firmware without a robot. One report a lane; exit 1 when a lane found something that
# firmware_bridge/firmware/deviations.md (cppcheck: misra.md) does not list. A lane whose tool is missing says so and is
# skipped; the last line tells how many.
#   tools/check-firmware.sh [--out runs/firmware-check] [gcc tidy cppcheck fuzz proof coverage ...]
#   FUZZ_SECONDS=5 PROOF_MODULES=framing tools/check-firmware.sh fuzz proof
set -uo pipefail
cd "$(dirname "$0")/.."
out=runs/firmware-check
[ "${1:-}" = --out ] && { out=${2:?usage: tools/check-firmware.sh --out FOLDER [LANE ...]}; shift 2; }
lanes=${*:-gcc tidy cppcheck fuzz proof coverage}
firmware=firmware_bridge/firmware
core=$firmware/core
mkdir -p "$out"
python=${PYTHON:-.venv/bin/python}
failed=0
skipped=0

# tool NAME...: the first that is installed (Debian names clang's tools by version).
tool() { local name; for name in "$@"; do command -v "$name" && return 0; done; return 1; }
# skip LANE WHAT PACKAGES: say why, in the report too.
skip() {
  echo "$1: skipped: $2 is not installed (sudo apt-get install --no-install-recommends $3)" | tee "$out/$1.txt"
  skipped=$((skipped + 1))
}
# verdict LANE FOUND WORDS: FOUND is the number of findings outside the list.
verdict() {
  if [ "$2" = 0 ]; then echo "$1: ok: $3"; else echo "$1: FAILED: $3, see $out/$1.txt"; failed=1; fi
}

lane_gcc() {
  local gcc; gcc=$(tool gcc) || { skip gcc gcc "gcc libc6-dev"; return; }
  local scratch; scratch=$(mktemp -d)
  local flags="-std=c11 -O2 -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Wdouble-promotion -Wcast-qual \
    -Wcast-align=strict -Wmissing-prototypes -Wstrict-prototypes -Wundef -Wswitch-enum -fanalyzer \
    -DBLK_LOCKSTEP=1 -D_GNU_SOURCE"
  local root=$PWD
  (cd "$scratch" && "$gcc" $flags -c "$root"/$core/*.c "$root"/$firmware/ports/host_*/*.c) >"$out/gcc.txt" 2>&1
  local status=$? arm port with=""
  if arm=$(tool arm-none-eabi-gcc); then
    for port in stm32f767 mps2_an500; do
      (cd "$scratch" && "$arm" $flags -mcpu=cortex-m7 -mthumb -mfpu=fpv5-sp-d16 -mfloat-abi=hard -ffreestanding --specs=nano.specs \
        -I"$root/$firmware/ports/$port" -c "$root"/$firmware/ports/$port/*.c "$root"/$firmware/ports/cortex_m7/*.c) >>"$out/gcc.txt" 2>&1 \
        || status=1
    done
    with=", Cortex ports included"
  fi
  rm -rf "$scratch"
  local n; n=$(grep -c 'warning:\|error:' "$out/gcc.txt")
  verdict gcc $((status + n)) "$n warnings with -fanalyzer$with"
}

lane_tidy() {
  local tidy; tidy=$(tool clang-tidy clang-tidy-14 clang-tidy-16 clang-tidy-18) || { skip tidy clang-tidy clang-tidy-14; return; }
  local checks='-*,bugprone-*,cert-*,misc-*,clang-analyzer-*,performance-*,portability-*'
  local off; off=$(sed -n 's/^| `tidy` | \([a-zA-Z.*,-]*\) |.*/,-\1/p' $firmware/deviations.md | tr -d '\n')
  "$tidy" --checks="$checks$off" $core/*.c -- -std=c11 -DBLK_LOCKSTEP=1 >"$out/tidy.txt" 2>"$out/tidy.err"
  local status=$?
  rm -f "$out/tidy.err"
  local n; n=$(grep -c 'warning:\|error:' "$out/tidy.txt")
  verdict tidy $((n + (n == 0 ? status : 0))) "$n findings outside the deviation list"
}

# misra CPPCHECK ARGUMENTS...: one line a finding, FILE:LINE RULE. The ports run where the core does: 32 bits.
misra() {
  local check=$1; shift
  "$check" --enable=warning,style,performance,portability --inconclusive --std=c11 --platform=unix32 -q \
    --suppress=missingIncludeSystem --addon=misra --template='{file}:{line} {id}' "$@" 2>&1
}
# outside RULES: how many of the findings on standard input are none of these, one a line.
outside() { awk '{print $2}' | sed 's/^misra-c2012-//' | grep -vxF "$1" | grep -c .; }

lane_cppcheck() {
  local check; check=$(tool cppcheck) || { skip cppcheck cppcheck cppcheck; return; }
  local everywhere ports port n total
  everywhere=$(sed -n 's/^| \([0-9., ]*\) |.*/\1/p' $firmware/misra.md | tr -d ' ' | tr ',' '\n')
  ports=$(sed -n 's/^| port \([0-9A-Za-z.]*\) |.*/\1/p' $firmware/misra.md)
  misra "$check" $core/*.c >"$out/cppcheck.txt"
  n=$(outside "$everywhere" <"$out/cppcheck.txt")
  for port in stm32f767 mps2_an500; do
    misra "$check" -I$firmware/ports/$port $firmware/ports/$port/*.c $firmware/ports/cortex_m7/*.c | grep -v "^$core/" >"$out/cppcheck-$port.txt"
    n=$((n + $(outside "$everywhere"$'\n'"$ports" <"$out/cppcheck-$port.txt")))
  done
  cat "$out"/cppcheck-*.txt >>"$out/cppcheck.txt"; rm "$out"/cppcheck-*.txt
  total=$(grep -c . "$out/cppcheck.txt")
  verdict cppcheck "$n" "$n findings outside misra.md, $((total - n)) inside (core and both Cortex ports)"
}

lane_fuzz() {
  local clang; clang=$(tool clang clang-14 clang-16 clang-18) || { skip fuzz clang "clang-14 libclang-rt-14-dev"; return; }
  local seconds=${FUZZ_SECONDS:-30} binary="$out/fuzz"
  if ! "$clang" -g -O1 -std=c11 -ffp-contract=off -fsanitize=fuzzer,address,undefined,float-cast-overflow \
    -fno-sanitize-recover=all -DBLK_LOCKSTEP=1 $firmware/checks/fuzz.c $core/*.c -lm -o "$binary" >"$out/fuzz.txt" 2>&1; then
    grep -q 'libclang_rt' "$out/fuzz.txt" && { skip fuzz "clang's libFuzzer" libclang-rt-14-dev; return; }
    verdict fuzz 1 "the harness does not build"; return
  fi
  mkdir -p "$out/corpus"
  "$binary" -max_total_time="$seconds" -max_len=600 -timeout=5 -seed=1 -print_final_stats=1 -artifact_prefix="$out/" "$out/corpus" \
    >>"$out/fuzz.txt" 2>&1
  local status=$?
  local runs; runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/fuzz.txt")
  verdict fuzz $status "${runs:-0} inputs in $seconds s with ASan and UBSan"
}

lane_proof() {
  local frama; frama=$(tool frama-c) || { skip proof frama-c frama-c-base; return; }
  : >"$out/proof.txt"
  local alarms=0 harness sources n accepted
  accepted=$(sed -n 's/^| `proof` | \(.*\) | false alarm.*/\1/p' $firmware/deviations.md | sed 's/\\|/|/g')
  accepted=${accepted:-^\$} # an empty pattern would accept everything
  for harness in ${PROOF_MODULES:-framing link params}; do
    case $harness in
      framing) sources="$core/blk_framing.c" ;;
      link) sources="$core/blk_framing.c $core/blk_link.c" ;;
      params) sources="$core/blk_wheels.c" ;;
    esac
    # Numbers that are not finite are data here: the code itself looks for them.
    timeout 300 "$frama" -eva -eva-precision 0 -eva-auto-loop-unroll 128 -eva-split-return full -eva-no-results -warn-special-float none \
      -c11 -machdep gcc_x86_64 -cpp-extra-args="-I$core -DBLK_LOCKSTEP=1 -include $firmware/checks/eva.h" \
      $firmware/checks/eva_$harness.c $sources >"$out/proof-$harness.txt" 2>&1
    local status=$?
    # An alarm and its reason are two lines or three: joined, the accepted ones can be told by their words.
    n=$(awk '/^\[/ {if (alarm != "") print alarm; alarm = ""} /\[eva:alarm\]/ {alarm = $0; next} alarm != "" {alarm = alarm $0}
      END {if (alarm != "") print alarm}' "$out/proof-$harness.txt" | tee -a "$out/proof.txt" | grep -vcE "$accepted")
    grep -q 'EVA ANALYSIS\|ANALYSIS SUMMARY\|alarms generated' "$out/proof-$harness.txt" || n=$((n + 1))
    [ $status = 0 ] || n=$((n + 1))
    echo "$harness: $n alarms" | tee -a "$out/proof.txt"
    alarms=$((alarms + n))
  done
  verdict proof $alarms "$alarms alarms outside the deviation list in framing, link and parameter handling (Frama-C Eva)"
}

lane_coverage() {
  [ -x "$python" ] || { skip coverage "$python" python3-venv; return; }
  local good=0
  "$python" tools/firmware_coverage.py >"$out/coverage.txt" 2>&1 || good=$?
  [ $good = 2 ] && grep -q 'is not installed' "$out/coverage.txt" && { skip coverage "the Arm compiler or gcov" gcc-arm-none-eabi; return; }
  verdict coverage $good "lines run: core $(share 1), with its F767 port under Unicorn $(share 2) (95 % are wanted)"
}
# share N: the total of the Nth table in the coverage report.
share() { awk -v n="$1" '$1 == "all" && ++i == n {print $3}' "$out/coverage.txt"; }

for lane in $lanes; do
  declare -F "lane_$lane" >/dev/null || { echo "no such lane: $lane (gcc tidy cppcheck fuzz proof coverage)" >&2; exit 2; }
  "lane_$lane"
done
if [ $failed = 0 ]; then echo "check-firmware: ok, $skipped skipped; reports in $out"; else echo "check-firmware: FAILED; reports in $out"; fi
exit $failed
