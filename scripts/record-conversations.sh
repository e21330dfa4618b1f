#!/usr/bin/env bash
# Records conversations between the programs in a directory, for crates/qfs-testkit/tests/conversations, whose main.rs says when.
#   scripts/record-conversations.sh DIRECTORY NAME...     DIRECTORY holds qfs-server and qfs-client; `all` for every scenario
#   FROM='qfs 0.2 (commit …)' scripts/record-conversations.sh …     what the first line of each file says
set -euo pipefail
if (($# < 2)); then
  sed -n '2,4s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
programs=$(realpath "$1")
shift
cd "$(dirname "$0")/.."
QFS_TORTURE_BIN=$programs QFS_RECORD="$*" QFS_RECORD_FROM=${FROM:-$("$programs/qfs-server" --version)} \
  cargo test --quiet -p qfs-testkit --test conversations -- --ignored --exact record_conversations
git status --short crates/qfs-testkit/tests/conversations/recorded
