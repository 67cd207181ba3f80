#!/bin/sh
# ./run coverage: the tests with gcov; a table, and pages in build/coverage/html.
set -eu
. scripts/setup.sh

takes_nothing coverage "$@"
need_build
need_examples
need_tests
need "to read gcov's files" gcovr
build coverage
find build/coverage -name '*.gcda' -delete
run_ctest coverage || :
mkdir -p build/coverage/html
gcovr --root . --filter src/ --filter cli/ --object-directory build/coverage --txt --html-details build/coverage/html/index.html \
  --exclude-unreachable-branches build/coverage
closing_line
