package evaluators

import (
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
)

func TestOperatorsHaveNames(t *testing.T) {
	for text, want := range map[string]onnx.Operators{
		"all": onnx.AllOperators, "none": 0, "": 0, "swiglu": onnx.FusedSwiGLU, "argmax,channel-norm": onnx.FusedArgMax | onnx.FusedChannelNorm,
	} {
		got, err := ParseOperators(text)
		if err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
		if again, err := ParseOperators(got.String()); err != nil || again != want {
			t.Errorf("%q reads as %v, %v", got, again, err)
		}
	}
	if _, err := ParseOperators("swiglu,gelu"); err == nil || !strings.Contains(err.Error(), `"gelu" is none of the operators swiglu,`) {
		t.Errorf("%v", err)
	}
}
