// Package drawing is how a browser draws what evaluators find: colour maps, heatmaps
// over images, boxes. The server's page and the reports of evaluate share it.
package drawing

import _ "embed"

// Module is an ES module that imports nothing, so that it works as a file and within
// a page.
//
//go:embed drawing.js
var Module string

// Style is how the elements look that Module fills.
//
//go:embed drawing.css
var Style string
