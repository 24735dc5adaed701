#!/bin/sh
# Stands in for `python3 -m pip download … -d FOLDER REQUIREMENT` in tests: copies the wheel that lies beside the link
# through which it was called, or fails as pip does.
while [ "$1" != -d ]; do shift; done
cp "$(dirname "$0")"/*.whl "$2" 2>/dev/null && exit 0
echo "ERROR: Could not find a version that satisfies the requirement $3" >&2
echo "ERROR: No matching distribution found for $3" >&2
exit 1
