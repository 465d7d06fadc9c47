package imagedoctor

import (
	"fmt"
	"slices"

	"github.com/denseflow/densereward/engine/ort"
)

// prompt is the tokens of one sample, ready for a batch.
type prompt struct {
	ids   []int32
	slots []int // where the image tokens stand
}

// layOut finds the image tokens, which must stand together at imageStart: the
// rotation of a token is known by its index only then.
func (c Config) layOut(ids []int32, imageStart int) (prompt, error) {
	p := prompt{ids: ids}
	for i, id := range ids {
		if id != c.ImageTokenID {
			continue
		}
		if i != imageStart+len(p.slots) {
			return prompt{}, fmt.Errorf("imagedoctor: prompt: image token at %d, outside the picture", i)
		}
		p.slots = append(p.slots, i)
	}
	if len(p.slots) != c.imageTokens() {
		return prompt{}, fmt.Errorf("imagedoctor: prompt: %d image tokens, the picture has %d", len(p.slots), c.imageTokens())
	}
	return p, nil
}

// batch is the graph's inputs for some prompts with their pictures.
type batch struct {
	prompts   []prompt
	pictures  ort.Tensor // (B,side,side,3) uint8, or patches (B,P,patch) float32
	maxTokens int
	penalty   float64
	state     int64      // of the draft before the answers
	forced    ort.Tensor // (B,n) int64, to measure
}

// inputs lists the tensors in the order of names.
func (b batch) inputs(names []string) []ort.Tensor {
	byName := b.tokens()
	byName[inputPictures], byName[inputPatches] = b.pictures, b.pictures
	byName[inputParts] = headParts(len(b.prompts))
	byName[inputDraftState] = ort.Int64s([]int64{}, []int64{b.state})
	byName[inputForced] = b.forced
	byName[inputMaxNewTokens] = ort.Int64s([]int64{}, []int64{int64(b.maxTokens)})
	byName[inputPenalty] = ort.Float32s([]int64{}, []float32{float32(b.penalty)})
	tensors := make([]ort.Tensor, len(names))
	for i, name := range names {
		tensors[i] = byName[name]
	}
	return tensors
}

// tokens packs the prompts behind each other and says where each token belongs.
func (b batch) tokens() map[string]ort.Tensor {
	rows, longest, total := int64(len(b.prompts)), 0, 0
	for _, p := range b.prompts {
		longest = max(longest, len(p.ids))
		total += len(p.ids)
	}
	var ids, rowOf, slots, lengths, pad, pack []int64
	for r, p := range b.prompts {
		first := int64(len(ids))
		for _, slot := range p.slots {
			slots = append(slots, first+int64(slot))
		}
		for i, id := range p.ids {
			ids, rowOf = append(ids, int64(id)), append(rowOf, int64(r))
			pad = append(pad, first+int64(i))
			pack = append(pack, int64(r*longest+i))
		}
		last := int64(len(ids) - 1) // padding repeats the last token; nothing reads what comes of it
		pad = append(pad, slices.Repeat([]int64{last}, longest-len(p.ids))...)
		lengths = append(lengths, int64(len(p.ids)))
	}
	return map[string]ort.Tensor{
		inputTokens:  ort.Int64s([]int64{int64(total)}, ids),
		inputRows:    ort.Int64s([]int64{int64(total)}, rowOf),
		inputSlots:   ort.Int64s([]int64{int64(len(slots))}, slots),
		inputLengths: ort.Int64s([]int64{rows}, lengths),
		inputLongest: ort.Int64s([]int64{}, []int64{int64(longest)}),
		inputPad:     ort.Int64s([]int64{rows, int64(longest)}, pad),
		inputPack:    ort.Int64s([]int64{int64(total)}, pack),
	}
}

// maxHeadPart is how many pictures go through the heatmap heads at once. At full
// size one takes some 130 MB for each activation of the last stage.
const maxHeadPart = 8

// headParts deals rows out to equal turns of at most maxHeadPart.
func headParts(rows int) ort.Tensor {
	turns := (rows + maxHeadPart - 1) / maxHeadPart
	part := (rows + turns - 1) / turns
	index := make([]int64, turns*part)
	for i := range index {
		index[i] = int64(min(i, rows-1))
	}
	return ort.Int64s([]int64{int64(turns), int64(part)}, index)
}
