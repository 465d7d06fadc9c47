package wire

import "slices"

// Protocol version 1. PROTOCOL.md beside package reward is its full text.
const (
	// MediaType is the content type of requests, responses and their errors.
	MediaType = "application/msgpack"
	// ScorePath is where a Request is posted.
	ScorePath = "/v1/score"
	// JobsPath is where a Request is posted whose answer is fetched later, below it.
	JobsPath = "/v1/jobs"
	// ModelsPath lists the evaluators and decoders of a server.
	ModelsPath = "/v1/models"
	// HeaderRequestID carries the id that names a request in logs and errors;
	// a client may choose it.
	HeaderRequestID = "X-Request-ID"
	// HeaderPlacement carries 16 hexadecimal digits that are equal for requests which
	// must reach the same of several servers behind one address.
	HeaderPlacement = "X-Placement-Key"
	// HeaderTimeout carries what the client will still wait, in decimal
	// seconds; work past it is dropped.
	HeaderTimeout = "X-Request-Timeout"
)

// mediaTypes are those that a request may be sent as: the one of this protocol, the
// registered one, and what many libraries send.
var mediaTypes = [...]string{MediaType, "application/vnd.msgpack", "application/x-msgpack"}

// IsMediaType reports whether a content type, without parameters, is one of msgpack.
func IsMediaType(kind string) bool { return slices.Contains(mediaTypes[:], kind) }
