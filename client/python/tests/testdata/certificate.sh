#!/bin/sh
# Makes certificate.pem, a certificate of 127.0.0.1 that signs itself, with its key.
# It is for tests alone and is trusted nowhere else.
set -eu
cd "$(dirname "$0")"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 -subj "/CN=densereward test" \
	-addext "subjectAltName=IP:127.0.0.1" -keyout key.pem -out certificate.pem
cat key.pem >>certificate.pem
rm key.pem
