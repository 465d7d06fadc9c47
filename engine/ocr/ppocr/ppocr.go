// Package ppocr holds the mobile models of PP-OCRv4 for Chinese and English, as
// RapidOCR converted them to ONNX (rapidocr-onnxruntime 1.4.4): a text detector of
// 4.7 MB and a recogniser of 6,623 characters and 10.9 MB. They are PaddlePaddle's,
// under the Apache License 2.0.
package ppocr

import (
	_ "embed"

	"github.com/denseflow/densereward/engine/ocr"
)

//go:embed det.onnx
var detector []byte

//go:embed rec.onnx
var recognizer []byte

// Models are the embedded models. Their bytes must not be changed.
func Models() ocr.Models { return ocr.Models{Detector: detector, Recognizer: recognizer} }
