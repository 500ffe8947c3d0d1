#!/usr/bin/env bash
# A resumable upload by curl and PUT: with `-C OFFSET` it sends the Content-Range that belongs to the rest of the file.
#   CURL_CA_BUNDLE=ca.pem put.sh https://host/files/ FILE        prints the URL of the upload
set -uo pipefail
endpoint=$1 file=$2 size=$(stat -c %s "$2")
answer=$(mktemp) && trap 'rm -f "$answer"' EXIT
# Into a file: before curl tries again it truncates what it has written, which /dev/null refuses.
ask() { curl -sS -o "$answer" --retry 60 --retry-delay 1 --retry-all-errors "$@"; }

place=$(ask -X POST -d '' -w '%header{location}' "$endpoint?uploadType=resumable") || exit
url=$(cut -d/ -f1-3 <<<"$endpoint")$place
while read -r status range < <(ask -X PUT -d '' -H "Content-Range: bytes */$size" -w '%{http_code} %header{range}\n' "$url")
      [ "$status" = 308 ]; do
    offset=0
    [ -z "$range" ] || offset=$((${range##*-} + 1))
    curl -sS -o /dev/null -T "$file" -C "$offset" "$url"
done
[ "${status:0:1}" = 2 ] && echo "$url"
