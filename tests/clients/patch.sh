#!/usr/bin/env bash
# A resumable upload by curl and PATCH, as the IETF draft has it (interop version 6): asks for the offset, sends the rest.
#   CURL_CA_BUNDLE=ca.pem patch.sh https://host/files/ FILE      prints the URL of the upload
set -uo pipefail
endpoint=$1 file=$2
answer=$(mktemp) && trap 'rm -f "$answer"' EXIT
# Into a file: before curl tries again it truncates what it has written, which /dev/null refuses.
ask() { curl -sS -o "$answer" --retry 60 --retry-delay 1 --retry-all-errors -H 'Upload-Draft-Interop-Version: 6' "$@"; }

place=$(ask -X POST -d '' -H 'Upload-Complete: ?0' -w '%header{location}' "$endpoint") || exit
url=$(cut -d/ -f1-3 <<<"$endpoint")$place
while read -r status complete offset < <(
          ask -I -w '%{http_code} %header{upload-complete} %header{upload-offset}\n' "$url")
      [ "$status $complete" = '204 ?0' ]; do
    curl -sS -o /dev/null -X PATCH -T "$file" -C "$offset" -H 'Content-Range:' \
        -H 'Upload-Draft-Interop-Version: 6' -H 'Upload-Complete: ?1' -H "Upload-Offset: $offset" \
        -H 'Content-Type: application/partial-upload' "$url"
done
[ "$complete" = '?1' ] && echo "$url"
