package jsonwire

import (
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/denseflow/densereward/reward/wire"
)

// MediaType is the content type of JSON.
const MediaType = "application/json"

// Sent reports whether the body of a request is JSON, and whether it is of a type
// that the protocol has at all.
func Sent(h http.Header) (isJSON, known bool) {
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return kind == MediaType, kind == MediaType || wire.IsMediaType(kind)
}

// Wanted reports whether a request is answered in JSON: what Accept likes better,
// the first of equals, and what the body was sent as where it does not say.
func Wanted(h http.Header) bool {
	isJSON, _ := Sent(h)
	best := 0.0
	for _, entry := range strings.Split(strings.Join(h.Values("Accept"), ","), ",") {
		kind, parameters, err := mime.ParseMediaType(entry)
		if err != nil || (kind != MediaType && !wire.IsMediaType(kind)) {
			continue
		}
		quality, err := strconv.ParseFloat(parameters["q"], 64)
		if err != nil {
			quality = 1
		}
		if quality > best {
			best, isJSON = quality, kind == MediaType
		}
	}
	return isJSON
}
