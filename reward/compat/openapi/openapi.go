// Package openapi holds the description of the server's JSON in OpenAPI 3.1. Its test
// holds the document to what is read and written.
package openapi

import _ "embed"

// Path is where a server shows the document.
const Path = "/openapi.json"

// Document is OpenAPI 3.1 as JSON. Do not write to it.
//
//go:embed openapi.json
var Document []byte
