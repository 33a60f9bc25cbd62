#!/bin/sh
# clang-format over every C file of the tree, with the arguments given: "-i" formats, "--dry-run --Werror" complains.
set -eu
cd "$(dirname "$0")/.."
find include orchestrator tests -name '*.[ch]' -exec clang-format --style=file "$@" {} +
