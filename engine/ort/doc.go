// Package ort runs ONNX graphs with ONNX Runtime: it finds or fetches the
// shared library, opens it, and turns models into sessions. It is the only
// package that uses cgo.
package ort
