#!/bin/sh
# Around every run in a container: the project's clone on the shared volume is made or brought up to date, then the run works in it.
# While a run is at work the clone stays as it is (a shared lock, which ends with the run), so that no code changes under it.
set -eu
: "${EVERGREEN_HOME:?}" "${EVERGREEN_PROJECT:?}"
umask 077
mkdir -p "$EVERGREEN_HOME"
exec 9>>"$EVERGREEN_HOME/project.lock"
if flock --exclusive --nonblock 9; then
  if [ -e "$EVERGREEN_PROJECT/.git" ]; then
    git -C "$EVERGREEN_PROJECT" pull --quiet --ff-only --tags ||
      echo "$EVERGREEN_PROJECT could not be brought up to date; this run works on what is there" >&2
  else
    : "${EVERGREEN_REPOSITORY:?is needed to make the clone}"
    rm -rf "$EVERGREEN_PROJECT.partial"
    git clone --quiet "$EVERGREEN_REPOSITORY" "$EVERGREEN_PROJECT.partial"
    mv "$EVERGREEN_PROJECT.partial" "$EVERGREEN_PROJECT"
  fi
fi
flock --shared 9
cd "$EVERGREEN_PROJECT"
exec "$@"
