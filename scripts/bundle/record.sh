# A record: one command, bounded in time, with its outcome as one JSON object. Sourced by run.sh and by the steps.
#
# status is passed, failed, skipped (something is missing, and `reason` says what), partial (parts of it were skipped),
# hung (stopped at its limit) or unfinished (its time was over before its last part began).

# Exit status of a command that skips itself; the last line that it wrote on stderr is the reason.
SKIPPED=77

# A JSON string of text whose lines are joined by blanks.
quote() {
  printf '"%s"' "$(printf '%s' "$*" | tr '\n\t\r' '   ' | tr -d '\000-\037' | sed 's/^ *//; s/ *$//; s/\\/\\\\/g; s/"/\\"/g')"
}

# The first value of a key in a file of JSON, without its quotes.
field() { # key, file
  grep -oE "\"$1\":(\"([^\"\\]|\\\\.)*\"|[^,}]*)" "$2" 2>/dev/null | head -1 | sed "s/^\"$1\"://; s/^\"//; s/\"\$//; s/\\\\\(.\)/\1/g"
}

# Writes text to a file, whole or not at all.
write_whole() { # file, text
  if ! { printf '%s\n' "$2" >"$1.new" && mv -f "$1.new" "$1"; } 2>/dev/null; then
    printf '%s: cannot be written: is the disk full? Free space, or name another folder by --out\n' "$1" >&2
    return 1
  fi
}

# MiB that are free on the disk of a folder; nothing where it cannot be found out.
free_mib() { # folder
  df -Pk "$1" 2>/dev/null | awk 'NR == 2 { print int($4 / 1024) }'
}

# Whether a file looks like one JSON value, not cut off.
is_json() {
  [ -s "$1" ] || return 1
  case "$(head -c 1 "$1")$(tail -c 8 "$1" | tr -d '[:space:]' | tail -c 1)" in
    '{}' | '[]') ;;
    *) return 1 ;;
  esac
}

# Runs a command for at most so many seconds. stdout, where it is JSON, becomes the result. Returns 1 only where the record
# cannot be written.
record() { # file of the record, name, seconds, command...
  local file=$1 name=$2 limit=$3 begun=$SECONDS code=0 status reason=null result=null why
  shift 3
  local base=${file%.json}
  # in the background, so that a signal to this shell reaches the command and its children at once
  timeout --kill-after=10 "$limit" "$@" >"$base.out" 2>"$base.log" </dev/null &
  RUNNING=$!
  wait "$RUNNING" || code=$?
  RUNNING=
  why=$(grep -v '^[[:space:]]*$' "$base.log" 2>/dev/null | tail -1 | tail -c 400)
  case $code in
    0) status=passed ;;
    "$SKIPPED") status=skipped ;;
    124 | 137) status=hung why="stopped at its limit of $limit s" ;;
    # a full disk takes the last words too
    *) status=failed why="exit status $code: ${why:-without a word; $(free_mib "$(dirname "$file")") MiB are free}" ;;
  esac
  # a command that has parts says how they ended
  if [ -s "$base.status" ] && [ "$status" != hung ]; then
    status=$(head -1 "$base.status")
    why=$(sed -n 2p "$base.status")
  fi
  [ "$status" = passed ] || reason=$(quote "$why")
  if [ "$status" = hung ]; then
    # what its parts left
    if compgen -G "$base/parts/*.json" >/dev/null; then result="[$(cat "$base"/parts/*.json | paste -sd,)]"; fi
  elif is_json "$base.out"; then
    result=$(cat "$base.out")
  fi
  rm -f "$base.status"
  write_whole "$file" "{\"name\":$(quote "$name"),\"status\":\"$status\",\"reason\":$reason,\"seconds\":$((SECONDS - begun)),\"result\":$result}"
}

# What this shell runs ends with it.
end_running() {
  if [ -n "${RUNNING:-}" ]; then kill -TERM "$RUNNING" 2>/dev/null || true; fi
}
