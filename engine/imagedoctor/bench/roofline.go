package bench

import (
	"strings"

	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
)

// The peaks that the roofline is computed with: what an H100 was measured to do.
const (
	peakFlops = 790e12 // bfloat16 matrix products, a second
	peakBytes = 3.0e12 // of memory, a second
)

// roofline is the seconds that the weights alone cost a batch on an H100: their
// products with the patches and the prompts, at the measured peak, then the
// language model's once a decoding step from memory. Attention, the heads and
// the host are not in it.
func (m *measuring) roofline(steps int) float64 {
	const bytesEach = 2 // of a weight
	var language, vision, embedding float64
	for _, name := range m.w.Checkpoint().Weights.Names() {
		t, _ := m.w.Checkpoint().Weights.Tensor(name)
		count := float64(t.Length) / bytesEach
		switch {
		case name == checkpoint.EmbeddingName:
			embedding = count
		case strings.HasPrefix(name, "model."):
			language += count
		case strings.HasPrefix(name, "visual."):
			vision += count
		}
	}
	grid := m.w.Config().PatchGrid()
	flops := 2*language*float64(m.o.PromptTokens) + 2*vision*float64(grid*grid)
	step := bytesEach * (language + embedding) / peakBytes
	return float64(m.o.Batch)*flops/peakFlops + float64(steps)*step
}
