#!/usr/bin/env bash
# Measures a machine with an NVIDIA GPU, step by step, and writes one JSON file for docs/results.
#
#   ./run.sh [--out FOLDER] [--limit SECONDS] [--dose full|small] [STEP...]
#
# A step takes at most --limit seconds (600). Run it again to go on: what ended is kept, what was skipped, hung or left is tried
# again; a step that is named is run anew. --dose small shows in minutes that everything runs, and measures nothing.
# Exit status: 0 nothing failed, 1 a step failed, hung or is left, 2 wrong usage, or a machine that this cannot run on.
set -uo pipefail
from=$PWD
scripts=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
home=${FLAT_BUNDLE_HOME:-$scripts}
. "$scripts/record.sh"
RUNNING=
trap 'end_running; exit 143' TERM INT HUP

stop() {
  printf 'run.sh: %s\n' "$*" >&2
  exit 2
}

out=$home/results limit=600 dose=full named=()
while [ $# -gt 0 ]; do
  case $1 in
    --out | --limit | --dose)
      [ $# -gt 1 ] || stop "$1 takes a value"
      case $1 in
        --out) case $2 in /*) out=$2 ;; *) out=$from/$2 ;; esac ;;
        --limit) limit=$2 ;;
        --dose) dose=$2 ;;
      esac
      shift
      ;;
    -h | --help)
      sed -n '2,8s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    -*) stop "unknown flag $1; see run.sh --help" ;;
    *) named+=("$1") ;;
  esac
  shift
done
case $limit in '' | 0 | *[!0-9]*) stop "--limit $limit: give seconds, as in --limit 600" ;; esac
case $dose in full | small) ;; *) stop "--dose $dose: give full or small" ;; esac
mapfile -t steps < <(grep -v '^#' "$home/steps/order" | awk 'NF { print $1 }')
for one in ${named[@]+"${named[@]}"}; do
  case " ${steps[*]} " in *" $one "*) ;; *) stop "there is no step $one; the steps are: ${steps[*]}" ;; esac
done

# A run needs room for the driver's compiled kernels and for a few checkpoints.
mkdir -p "$out/steps" 2>/dev/null || stop "--out $out: cannot be made: is the disk full, or the folder read-only?"
free=$(free_mib "$out")
[ "${free:-512}" -ge 512 ] || stop "--out $out: $free MiB are free, 512 are needed; free space, or name a folder on another disk by --out"
write_whole "$out/room" "" || exit 2
rm -f "$out/room"
export FLAT_BUNDLE_HOME=$home FLAT_BUNDLE_DOSE=$dose FLAT_BUNDLE_OUT=$out
# kernels that the driver compiled are kept with the results
export CUDA_CACHE_PATH=${CUDA_CACHE_PATH:-$out/compiled} CUDA_CACHE_MAXSIZE=${CUDA_CACHE_MAXSIZE:-1073741824}

# The machine: libraries, driver, architecture. It says itself what is missing, and leaves what the steps need.
"$home/machine" "$out" || exit 2
if [ -s "$out/environment.sh" ]; then . "$out/environment.sh"; fi

run_step() {
  local name=$1 file=$out/steps/$1.json
  local code=0
  case " ${named[*]-} " in
    *" $name "*) rm -rf "$file" "$out/steps/$name" ;;
    *) [ ${#named[@]} -eq 0 ] || return ;;
  esac
  case $(field status "$file") in
    passed | failed)
      printf '== %s: %s before; kept\n' "$name" "$(field status "$file")"
      return
      ;;
  esac
  printf '== %s: at most %d s\n' "$name" "$limit"
  mkdir -p "$out/steps/$name" || code=$?
  export FLAT_STEP=$out/steps/$name FLAT_DEADLINE=$(($(date +%s) + limit))
  if [ "$code" -ne 0 ] || ! record "$file" "$name" "$limit" "$home/steps/$name"; then
    unwritten+=("$name")
    return
  fi
  cat "${file%.json}.log"
  printf '   %s after %s s%s\n' "$(field status "$file")" "$(field seconds "$file")" \
    "$([ "$(field status "$file")" = passed ] || printf ': %s' "$(field reason "$file")")"
}

unwritten=()
for step in "${steps[@]}"; do run_step "$step"; done

# The file for docs/results: the machine, the bundle, and every step that has a record.
worst=0 records='' counts=''
for step in "${steps[@]}"; do
  file=$out/steps/$step.json
  status=missing
  if [ -s "$file" ]; then
    records+=${records:+,}$(cat "$file")
    status=$(field status "$file")
  elif [ ${#named[@]} -gt 0 ]; then
    # only the steps that were named were to be run
    status='not run'
  fi
  case $status in failed | hung | unfinished | missing) worst=1 ;; esac
  counts+="${counts:+, }$step $status"
done
[ ${#unwritten[@]} -eq 0 ] || worst=1
machine=$(cat "$out/machine.json" 2>/dev/null || echo null)
bundle=$(cat "$home/bundle.json" 2>/dev/null || echo null)
card=$(field card "$out/machine.json" | tr -cs 'A-Za-z0-9' '-' | sed 's/^-*//; s/-*$//')
date=$(date -u +%Y-%m-%dT%H:%M:%SZ)
result=$out/gpu-${card:-unknown}-${date%%T*}.json
write_whole "$result" "{\"schema\":1,\"date\":\"$date\",\"dose\":\"$dose\",\"limit_s\":$limit,\"machine\":$machine,\"bundle\":$bundle,\"steps\":[$records]}" || worst=1
printf '\n%s\n%s\n' "$counts" "$result"
exit "$worst"
