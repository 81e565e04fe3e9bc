# The parts of a step. Sourced by each step, which run.sh starts with FLAT_STEP (the step's folder, kept from run to run) and
# FLAT_DEADLINE (when its time is over, in seconds since 1970). A part that passed or failed is not run again.
set -uo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
. "$here/record.sh"
RUNNING=
trap 'end_running; exit 143' TERM INT HUP
parts=${FLAT_STEP:?run.sh starts the steps}/parts
mkdir -p "$parts"
LEFT=0
NAMES=()

# One part: a command of at most so many seconds, less where the step's time ends before.
part() { # name, seconds, command...
  local file=$parts/$1.json left=$((FLAT_DEADLINE - $(date +%s) - 2)) limit=$2
  NAMES+=("$1")
  case $(field status "$file") in
    passed | failed) return ;;
  esac
  if [ "$left" -lt 2 ]; then
    LEFT=$((LEFT + 1))
    rm -f "$file"
    return
  fi
  [ "$limit" -le "$left" ] || limit=$left
  record "$file" "$1" "$limit" "${@:3}" || exit 1
  printf '  %-40s %-8s %4s s  %s\n' "$1" "$(field status "$file")" "$(field seconds "$file")" "$(field reason "$file" | sed "s/^null$//" | cut -c1-120)" >&2
}

# A part that cannot be run here.
skip() { # name, reason
  NAMES+=("$1")
  write_whole "$parts/$1.json" "{\"name\":$(quote "$1"),\"status\":\"skipped\",\"reason\":$(quote "$2"),\"seconds\":0,\"result\":null}" || exit 1
  printf '  %-40s skipped        %s\n' "$1" "$2" >&2
}

# A tool by name: on the PATH, or where NVIDIA puts it.
tool() {
  local found
  found=$(command -v "$1") || found=$(compgen -G "/usr/local/cuda*/bin/$1" | tail -1) ||
    found=$(compgen -G "/opt/nvidia/nsight-compute/*/$1" | tail -1) || return 1
  printf '%s\n' "$found"
}

# The end of every step: its parts as one list on stdout, and how the step ended.
conclude() {
  local name status all='' passed=0 skipped=0 worst='' why=''
  for name in "${NAMES[@]}"; do
    [ -s "$parts/$name.json" ] || continue
    all+=${all:+,}$(cat "$parts/$name.json")
    status=$(field status "$parts/$name.json")
    case $status in
      passed) passed=$((passed + 1)) ;;
      skipped) skipped=$((skipped + 1)) ;;
      failed) worst=failed ;;
      hung) [ "$worst" = failed ] || worst=hung ;;
    esac
    [ "$status" = passed ] || why+="${why:+; }$name: $(field reason "$parts/$name.json")"
  done
  if [ -z "$worst" ]; then
    if [ "$LEFT" -gt 0 ]; then worst=unfinished why="$LEFT parts are left: run run.sh again${why:+; $why}"
    elif [ "$skipped" -eq 0 ]; then worst=passed
    elif [ "$passed" -eq 0 ]; then worst=skipped
    else worst=partial
    fi
  fi
  printf '[%s]\n' "$all"
  printf '%s\n%s\n' "$worst" "$(printf '%s' "$why" | tr '\n' ' ')" >"$FLAT_STEP.status"
  exit 0
}
