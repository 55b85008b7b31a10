#!/bin/sh
# Around every run in a container: the project's clone on the shared volume is made or brought up to date, the run works in it, and what
# the run has put on record (the branch and the tags of the registry) goes to the repository that the clone came from.
# While a run is at work the clone stays as it is (a shared lock, which ends with the run), so that no code changes under it.
set -eu
: "${EVERGREEN_HOME:?}" "${EVERGREEN_PROJECT:?}"
umask 077
RECORDS='refs/heads/evergreen/*:refs/heads/evergreen/*'
mkdir -p "$EVERGREEN_HOME"
exec 9>>"$EVERGREEN_HOME/project.lock"
if flock --exclusive --nonblock 9; then
  if [ ! -e "$EVERGREEN_PROJECT/.git" ]; then
    : "${EVERGREEN_REPOSITORY:?is needed to make the clone}"
    rm -rf "$EVERGREEN_PROJECT.partial"
    git clone --quiet "$EVERGREEN_REPOSITORY" "$EVERGREEN_PROJECT.partial"
    mv "$EVERGREEN_PROJECT.partial" "$EVERGREEN_PROJECT"
  fi
  { git -C "$EVERGREEN_PROJECT" pull --quiet --ff-only && git -C "$EVERGREEN_PROJECT" fetch --quiet --tags origin "$RECORDS"; } ||
    echo "$EVERGREEN_PROJECT could not be brought up to date; this run works on what is there" >&2
fi
flock --shared 9
cd "$EVERGREEN_PROJECT"

"$@" &
run=$!
trap 'kill -TERM "$run" 2>/dev/null || :' TERM INT
status=0
wait "$run" || status=$?
while kill -0 "$run" 2>/dev/null; do # a signal has ended the wait, not the run
  status=0
  wait "$run" || status=$?
done
git push --quiet origin "$RECORDS" 'refs/tags/*:refs/tags/*' ||
  echo "the registry could not be pushed; the next run tries again" >&2
exit "$status"
