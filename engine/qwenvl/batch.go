package qwenvl

import (
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/qwenvl/draft"
	"github.com/denseflow/densereward/reward"
)

// Prompt is the tokens of one sample with its images, ready for a batch.
type Prompt struct {
	IDs    []int32
	Images []*reward.Image // resized: whole units a side
	starts []int           // of each image's first token among the IDs
}

// LayOut finds the image tokens, which must stand together for each image and be
// as many as it has units.
func LayOut(c checkpoint.Config, ids []int32, images ...*reward.Image) (Prompt, error) {
	p := Prompt{IDs: ids, Images: images}
	at := 0
	for i, image := range images {
		start := slices.Index(ids[at:], c.ImageTokenID)
		if start < 0 {
			return Prompt{}, fmt.Errorf("prompt: %d images, image tokens for %d", len(images), i)
		}
		start += at
		at = start
		for units := c.Grid(image).Units(); at < len(ids) && ids[at] == c.ImageTokenID && at < start+units; at++ {
		}
		if got, units := at-start, c.Grid(image).Units(); got != units {
			return Prompt{}, fmt.Errorf("prompt: %d image tokens, the image has %d", got, units)
		}
		p.starts = append(p.starts, start)
	}
	if more := slices.Index(ids[at:], c.ImageTokenID); more >= 0 {
		return Prompt{}, fmt.Errorf("prompt: image token at %d, outside the image", at+more)
	}
	return p, nil
}

// positions are the places of the tokens on the three axes of M-RoPE: text counts
// on along all of them; an image keeps its time and counts rows and columns; text
// goes on behind the largest [transformers, get_rope_index]. The token with index i
// behind the prompt is at i+delta.
func positions(c checkpoint.Config, p Prompt) (axes [3][]int64, delta int64) {
	next := int64(0)
	text := func(n int) {
		for range n {
			for axis := range axes {
				axes[axis] = append(axes[axis], next)
			}
			next++
		}
	}
	at := 0
	for i, image := range p.Images {
		text(p.starts[i] - at)
		grid := c.Grid(image)
		for row := range grid.Rows {
			for col := range grid.Cols {
				axes[0] = append(axes[0], next)
				axes[1] = append(axes[1], next+int64(row))
				axes[2] = append(axes[2], next+int64(col))
			}
		}
		next += int64(max(grid.Rows, grid.Cols))
		at = p.starts[i] + grid.Units()
	}
	text(len(p.IDs) - at)
	return axes, next - int64(len(p.IDs))
}

// Batch is the graph's inputs for some prompts with their images.
type Batch struct {
	Prompts      []Prompt
	MaxNewTokens int
	Penalty      float64
	Draft        *draft.Machine // for graphs with drafts
	DraftState   int64          // of it before the answers

	TeacherForced ort.Tensor // (B,n) int64, to measure
	Patches       []float32  // (P,values): the processor's, in place of the images' pixels
}

// Inputs are the tensors by the names of the graph's inputs.
func (b Batch) Inputs(c checkpoint.Config) map[string]ort.Tensor {
	inputs := b.tokens(c)
	var images []*reward.Image
	for _, p := range b.Prompts {
		images = append(images, p.Images...)
	}
	for name, t := range VisionInputs(c, images, b.Patches) {
		inputs[name] = t
	}
	if d := b.Draft; d != nil {
		inputs[InputDraftState] = ort.Int64s([]int64{}, []int64{b.DraftState})
		inputs[InputDraftClasses] = ort.Int32s([]int64{int64(len(d.Classes))}, d.Classes)
		inputs[InputDraftWidth] = ort.Int64s([]int64{}, []int64{int64(d.Width)})
		inputs[InputDraftNext] = ort.Int32s([]int64{int64(len(d.Next))}, d.Next)
		inputs[InputDraftTokens] = ort.Int64s([]int64{d.States(), draft.Longest}, d.Drafts)
		inputs[InputDraftLengths] = ort.Int64s([]int64{d.States()}, d.Lengths)
		inputs[InputDraftAlong] = ort.Int32s([]int64{int64(len(d.Along))}, d.Along)
	}
	inputs[InputForced] = b.TeacherForced
	inputs[InputMaxNewTokens] = ort.Int64s([]int64{}, []int64{int64(b.MaxNewTokens)})
	inputs[InputPenalty] = ort.Float32s([]int64{}, []float32{float32(b.Penalty)})
	return inputs
}

// tokens packs the prompts behind each other and says where each token belongs.
func (b Batch) tokens(c checkpoint.Config) map[string]ort.Tensor {
	rows, longest, total := int64(len(b.Prompts)), 0, 0
	for _, p := range b.Prompts {
		longest = max(longest, len(p.IDs))
		total += len(p.IDs)
	}
	var ids, rowOf, slots, lengths, pad, pack, deltas []int64
	var axesOf [3][]int64
	for r, p := range b.Prompts {
		first := int64(len(ids))
		for i, id := range p.IDs {
			if id == c.ImageTokenID {
				slots = append(slots, first+int64(i))
			}
			ids, rowOf = append(ids, int64(id)), append(rowOf, int64(r))
			pad = append(pad, first+int64(i))
			pack = append(pack, int64(r*longest+i))
		}
		last := int64(len(ids) - 1) // padding repeats the last token; nothing reads what comes of it
		pad = append(pad, slices.Repeat([]int64{last}, longest-len(p.IDs))...)
		lengths = append(lengths, int64(len(p.IDs)))
		axes, delta := positions(c, p)
		for axis := range axes {
			axesOf[axis] = append(axesOf[axis], axes[axis]...)
		}
		deltas = append(deltas, delta)
	}
	return map[string]ort.Tensor{
		InputTokens:    ort.Int64s([]int64{int64(total)}, ids),
		InputRows:      ort.Int64s([]int64{int64(total)}, rowOf),
		InputSlots:     ort.Int64s([]int64{int64(len(slots))}, slots),
		InputLengths:   ort.Int64s([]int64{rows}, lengths),
		InputLongest:   ort.Int64s([]int64{}, []int64{int64(longest)}),
		InputPad:       ort.Int64s([]int64{rows, int64(longest)}, pad),
		InputPack:      ort.Int64s([]int64{int64(total)}, pack),
		InputPositions: ort.Int64s([]int64{3, int64(total)}, slices.Concat(axesOf[0], axesOf[1], axesOf[2])),
		InputDeltas:    ort.Int64s([]int64{rows}, deltas),
	}
}

// leastCut is how many units are worth a goroutine: the device waits for all of them.
const leastCut = 256

// VisionInputs are the vision tower's inputs for images that have been resized.
// patches, where given, are the processor's (P,values), image after image, in place
// of the pixels.
func VisionInputs(c checkpoint.Config, images []*reward.Image, patches []float32) map[string]ort.Tensor {
	grids := make([]checkpoint.Grid, len(images))
	for i, image := range images {
		grids[i] = c.Grid(image)
	}
	v := c.Vision
	l := newLayout(grids, v.WindowSize/c.UnitPixels())
	inputs := l.tensors(v.SpatialMergeSize)
	if v.PositionsSide > 0 {
		inputs[InputCorners], inputs[InputCornerWeights] = l.corners(v.SpatialMergeSize, v.PositionsSide)
	}
	if patches != nil {
		size, number := v.PatchValues()*v.UnitPatches(), l.raster()
		ordered := make([]float32, 0, len(patches))
		for _, u := range l.window {
			ordered = append(ordered, patches[number(u)*size:(number(u)+1)*size]...)
		}
		inputs[InputPatches] = ort.Float32s([]int64{int64(len(l.window) * v.UnitPatches()), int64(v.PatchValues())}, ordered)
		return inputs
	}
	size := v.PatchPixels() * v.UnitPatches()
	pixels := make([]uint8, len(l.window)*size)
	share := max(leastCut, (len(l.window)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	var cutting sync.WaitGroup
	for first := 0; first < len(l.window); first += share {
		cutting.Go(func() {
			for at := first; at < min(first+share, len(l.window)); at++ {
				u := l.window[at]
				v.CutUnit(pixels[at*size:(at+1)*size], images[u.image], u.row, u.col)
			}
		})
	}
	cutting.Wait()
	inputs[InputPixels] = ort.Uint8s([]int64{int64(len(l.window) * v.UnitPatches()), int64(v.PatchPixels())}, pixels)
	return inputs
}

// Part is the samples From to To-1 of some.
type Part struct{ From, To int }

// Parts cuts samples whose prompts have the given lengths into batches, in order: of
// at most rows samples and, padded to the longest, at most tokens tokens. A sample of
// more is a batch by itself.
func Parts(lengths []int, rows, tokens int) []Part {
	var parts []Part
	from, longest := 0, 0
	for i, n := range lengths {
		if i > from && (i-from == rows || max(longest, n)*(i-from+1) > tokens) {
			parts = append(parts, Part{from, i})
			from, longest = i, 0
		}
		longest = max(longest, n)
	}
	if len(lengths) > from {
		parts = append(parts, Part{from, len(lengths)})
	}
	return parts
}

// AnswerIDs is row r of generated tokens (B,N), up to and with its end token.
func AnswerIDs(c *checkpoint.Config, generated ort.Tensor, r int) []int32 {
	length := int(generated.Shape[1])
	var ids []int32
	for _, id := range generated.Int64s()[r*length : (r+1)*length] {
		ids = append(ids, int32(id))
		if c.IsEOS(int32(id)) {
			break
		}
	}
	return ids
}
