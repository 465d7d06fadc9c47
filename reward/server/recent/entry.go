package recent

import (
	"bytes"
	"encoding/json"
	"image"
	"image/jpeg"
	"math"
	"unicode/utf8"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/engine/image/resize"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/scoring"
)

// What an entry holds of a sample at most.
const (
	thumbnailSide = 160 // pixels of the longer side
	quality       = 80  // of its JPEG
	mapSide       = 40  // cells
	mostMaps      = 6
	mostScores    = 32
	mostBoxes     = 32
	promptBytes   = 2 << 10
	textBytes     = 4 << 10
	nameBytes     = 128
	messageBytes  = 512
)

// thumbnail is a small image as a JPEG file, with the size of the image.
type thumbnail struct {
	Width  int    `json:"width"`
	Height int    `json:"height"`
	JPEG   []byte `json:"jpeg"`
}

// newThumbnail makes a thumbnail; one without a file of an image that cannot be encoded.
func newThumbnail(img *reward.Image) thumbnail {
	t := thumbnail{Width: img.Width, Height: img.Height}
	small := img
	if longer := max(img.Width, img.Height); longer > thumbnailSide {
		small = resize.Resize(img, max(1, img.Width*thumbnailSide/longer), max(1, img.Height*thumbnailSide/longer))
	}
	canvas := image.NewRGBA(image.Rect(0, 0, small.Width, small.Height))
	for i := range small.Width * small.Height {
		copy(canvas.Pix[4*i:4*i+3], small.Pix[3*i:3*i+3])
		canvas.Pix[4*i+3] = 255
	}
	var file bytes.Buffer
	if err := jpeg.Encode(&file, canvas, &jpeg.Options{Quality: quality}); err == nil {
		t.JPEG = file.Bytes()
	}
	return t
}

// The JSON of an entry. The type tells its line from others of a stream.
type (
	entry struct {
		Type      string     `json:"type"`
		ID        uint64     `json:"id"`
		At        int64      `json:"at"` // milliseconds since 1970
		Evaluator string     `json:"evaluator"`
		Prompt    string     `json:"prompt"`
		Reward    *float64   `json:"reward"`
		Scores    []score    `json:"scores"`
		Missing   []string   `json:"missing"`
		Cached    bool       `json:"cached"`
		Error     *failure   `json:"error"`
		Image     *thumbnail `json:"image"`
		Maps      []smallMap `json:"maps"`
		Boxes     []box      `json:"boxes"`
		Text      string     `json:"text"`
	}

	score struct {
		Name  string  `json:"name"`
		Value float64 `json:"value"`
	}

	failure struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}

	// smallMap has a byte a cell, 255 for 1.
	smallMap struct {
		Name   string `json:"name"`
		Height int    `json:"height"`
		Width  int    `json:"width"`
		Data   []byte `json:"data"`
	}

	box struct {
		Box        [4]float64 `json:"box"`
		Label      string     `json:"label"`
		Importance float64    `json:"importance"`
	}
)

// Record keeps the last samples of a request. A nil Recorder records nothing.
func (r *Recorder) Record(e *scoring.Evaluated, prompts []string) {
	if r == nil || e == nil {
		return
	}
	for i := max(0, len(prompts)-r.store.Size()); i < len(prompts); i++ {
		one := r.entry(e, i, prompts[i])
		r.store.add(r.owner, one.line)
	}
}

func (r *Recorder) entry(e *scoring.Evaluated, i int, prompt string) *entry {
	o := &e.Outcomes[i]
	one := &entry{
		Type: "sample", At: r.store.now().UnixMilli(), Evaluator: e.Evaluator.Name, Prompt: cut(prompt, promptBytes),
		Scores: []score{}, Missing: o.Missing, Cached: o.Cached, Maps: []smallMap{}, Boxes: []box{}, Text: cut(o.Text, textBytes),
	}
	r.mu.Lock()
	if t, ok := r.images[i]; ok && len(t.JPEG) > 0 {
		one.Image = &t
	}
	r.mu.Unlock()
	if err := e.Errors[i]; err != nil {
		one.Error = &failure{err.Code(), cut(err.Message(), messageBytes)}
		return one
	}
	one.Reward = &e.Rewards[i]
	for k, spec := range e.Evaluator.Scores[:min(len(e.Evaluator.Scores), mostScores)] {
		one.Scores = append(one.Scores, score{cut(spec.Name, nameBytes), o.Scores[k]})
	}
	for k, spec := range e.Evaluator.Maps[:min(len(e.Evaluator.Maps), mostMaps)] {
		if m := &o.Maps[k]; len(m.Data) > 0 {
			one.Maps = append(one.Maps, shrink(cut(spec.Name, nameBytes), m))
		}
	}
	for _, b := range o.Boxes[:min(len(o.Boxes), mostBoxes)] {
		one.Boxes = append(one.Boxes, box{b.Coords, cut(b.Label, nameBytes), b.Importance})
	}
	return one
}

// shrink pools a map to at most mapSide cells a side.
func shrink(name string, m *reward.Map) smallMap {
	longer := max(m.Height, m.Width, mapSide)
	grid := dense.Grid{Height: max(1, m.Height*mapSide/longer), Width: max(1, m.Width*mapSide/longer)}
	pooled := make([]float32, grid.Cells())
	dense.AdaptiveAvgPool(pooled, grid, m.Data, dense.Grid{Height: m.Height, Width: m.Width})
	small := smallMap{Name: name, Height: grid.Height, Width: grid.Width, Data: make([]byte, len(pooled))}
	for i, v := range pooled {
		small.Data[i] = uint8(math.Round(255 * float64(min(max(v, 0), 1))))
	}
	return small
}

// line is the entry as JSON with at most EntryBytes: what it can do without goes first.
func (e *entry) line(id uint64) []byte {
	e.ID = id
	for _, leave := range []func(){
		func() {},
		func() { e.Text, e.Boxes = "", []box{} },
		func() { e.Image = nil },
		func() { e.Maps, e.Missing = []smallMap{}, nil },
		func() { e.Prompt, e.Scores = cut(e.Prompt, nameBytes), []score{} },
	} {
		leave()
		if text, err := json.Marshal(e); err == nil && len(text) < EntryBytes {
			return append(text, '\n')
		}
	}
	return nil
}

// cut is the beginning of a text, of at most n bytes of whole characters.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
