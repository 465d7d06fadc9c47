package evaluators

import (
	"fmt"
	"strings"

	"github.com/denseflow/densereward/engine/onnx"
)

// ParseOperators reads names of custom operators with commas between them: "all", "none",
// or those that onnx.Operators.String writes.
func ParseOperators(text string) (onnx.Operators, error) {
	switch text {
	case "all":
		return onnx.AllOperators, nil
	case "none", "":
		return 0, nil
	}
	known := map[string]onnx.Operators{}
	for o := onnx.Operators(1); o < onnx.AllOperators; o <<= 1 {
		known[o.String()] = o
	}
	var all onnx.Operators
	for name := range strings.SplitSeq(text, ",") {
		o, ok := known[name]
		if !ok {
			return 0, fmt.Errorf("%q is none of the operators %v", name, onnx.AllOperators)
		}
		all |= o
	}
	return all, nil
}
