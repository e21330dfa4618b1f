#!/usr/bin/env bash
# The page in a real browser, with an upload of 1 GiB whose server is killed half-way, and the pictures of it that the README shows.
#   scripts/browser.sh             the tests, the large upload
#   scripts/browser.sh --pictures  writes docs/page.png, docs/page-dark.png and docs/page-telephone.png, too
# The tests are those of scripts/test.sh. Needs chromium, chromedriver and certutil: apt-get install chromium chromium-driver libnss3-tools
set -euo pipefail
cd "$(dirname "$0")/.."
[[ ${1:-} != --pictures ]] || export QFS_TEST_PICTURES=$PWD/docs
export QFS_TEST_UPLOAD_MB=1074
# With the selection of features that the other tests have: another one would build many dependencies anew.
cargo test --locked --workspace --test http_page --test http_page_uploads --test http_browser_access
