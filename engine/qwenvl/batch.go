package qwenvl

import (
	"fmt"
	"slices"

	"github.com/denseflow/densereward/engine/ort"
)

// Prompt is the tokens of one sample, ready for a batch.
type Prompt struct {
	IDs   []int32
	slots []int // where the image tokens stand
}

// LayOut finds the image tokens, which must stand together at imageStart: the
// positions of a token are known by its index only then.
func (c Config) LayOut(ids []int32, imageStart int) (Prompt, error) {
	p := Prompt{IDs: ids}
	for i, id := range ids {
		if id != c.ImageTokenID {
			continue
		}
		if i != imageStart+len(p.slots) {
			return Prompt{}, fmt.Errorf("prompt: image token at %d, outside the image", i)
		}
		p.slots = append(p.slots, i)
	}
	if len(p.slots) != c.ImageTokens() {
		return Prompt{}, fmt.Errorf("prompt: %d image tokens, the image has %d", len(p.slots), c.ImageTokens())
	}
	return p, nil
}

// Batch is the graph's inputs for some prompts with their images.
type Batch struct {
	Prompts       []Prompt
	Images        ort.Tensor // (B,side,side,3) uint8, or patches (B,P,patch) float32
	MaxNewTokens  int
	Penalty       float64
	DraftState    int64      // of the draft before the answers
	TeacherForced ort.Tensor // (B,n) int64, to measure
}

// Inputs are the tensors by the names of the graph's inputs.
func (b Batch) Inputs() map[string]ort.Tensor {
	byName := b.tokens()
	byName[InputImages], byName[InputPatches] = b.Images, b.Images
	byName[InputDraftState] = ort.Int64s([]int64{}, []int64{b.DraftState})
	byName[InputForced] = b.TeacherForced
	byName[InputMaxNewTokens] = ort.Int64s([]int64{}, []int64{int64(b.MaxNewTokens)})
	byName[InputPenalty] = ort.Float32s([]int64{}, []float32{float32(b.Penalty)})
	return byName
}

// tokens packs the prompts behind each other and says where each token belongs.
func (b Batch) tokens() map[string]ort.Tensor {
	rows, longest, total := int64(len(b.Prompts)), 0, 0
	for _, p := range b.Prompts {
		longest = max(longest, len(p.IDs))
		total += len(p.IDs)
	}
	var ids, rowOf, slots, lengths, pad, pack []int64
	for r, p := range b.Prompts {
		first := int64(len(ids))
		for _, slot := range p.slots {
			slots = append(slots, first+int64(slot))
		}
		for i, id := range p.IDs {
			ids, rowOf = append(ids, int64(id)), append(rowOf, int64(r))
			pad = append(pad, first+int64(i))
			pack = append(pack, int64(r*longest+i))
		}
		last := int64(len(ids) - 1) // padding repeats the last token; nothing reads what comes of it
		pad = append(pad, slices.Repeat([]int64{last}, longest-len(p.IDs))...)
		lengths = append(lengths, int64(len(p.IDs)))
	}
	return map[string]ort.Tensor{
		InputTokens:  ort.Int64s([]int64{int64(total)}, ids),
		InputRows:    ort.Int64s([]int64{int64(total)}, rowOf),
		InputSlots:   ort.Int64s([]int64{int64(len(slots))}, slots),
		InputLengths: ort.Int64s([]int64{rows}, lengths),
		InputLongest: ort.Int64s([]int64{}, []int64{int64(longest)}),
		InputPad:     ort.Int64s([]int64{rows, int64(longest)}, pad),
		InputPack:    ort.Int64s([]int64{int64(total)}, pack),
	}
}
