// Package ocr rewards images that show the text their prompt asks for, and tells
// where they do not.
//
// # Reading
//
// A [Reader] finds lines with PaddlePaddle's text detector (differentiable
// binarization, arXiv 1911.08947) and reads them with its recogniser (CTC), from
// ONNX models as RapidOCR ships them; package ppocr embeds the mobile ones of
// PP-OCRv4. What lies between the two networks is RapidOCR's, and so OpenCV's and
// Clipper's, in whole numbers where those have them: 130 lines of 60 drawn images,
// turned by up to 15 degrees, come out with RapidOCR's text, and corners within a
// pixel. The classifier of lines that stand on their head is left out, as flow_grpo
// leaves it out.
//
// flow_grpo reads with PaddleOCR and lang="en", whose recogniser knows Latin letters
// alone. The embedded models are the nearest that are published as ONNX: the same
// architecture and version, with Chinese characters as well. Like PaddleOCR they
// often drop spaces, which the reward does not look at.
//
// # Reward
//
// The target is what stands between the first two double quotes of the prompt, or
// the text of the sample's metadata. With n its characters, without spaces and in
// lower case, and d the Levenshtein distance of what was read, joined in reading
// order, the reward is 1 - min(d, n)/n; d is 0 where the target is contained. That
// is flow_grpo's ocr.py. A prompt without a target is its sample's error.
//
// # Map
//
// The map artifact is 1 over characters that an alignment of least distance replaces
// or drops, and between those where one is lacking; 0 elsewhere, and everywhere
// where the target is contained or nothing was read: there is no place to blame.
package ocr
