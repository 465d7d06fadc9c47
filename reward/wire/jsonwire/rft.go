package jsonwire

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
	"github.com/denseflow/densereward/reward/wire/boundedjson"
)

// RFTRequest translates a wire.RFTRequest as Request does a wire.Request. Scores may be
// an array of arrays of numbers; maps are tensors.
func RFTRequest(body []byte) (message []byte, err error) {
	t := &translator{r: boundedjson.New(body), out: make([]byte, 0, len(body)/4*3+1024)}
	err = t.object(func(key string) error {
		t.r.Field = key
		defer func() { t.r.Field = "" }()
		switch kind := t.r.Peek(); {
		case key == "scores" && kind == '[':
			return t.scores()
		case key == "scores" && kind == '{':
			return t.tensor()
		case (key == "truth" || key == "predicted") && kind == '{':
			return t.object(func(name string) error {
				t.r.Field = key + "." + name
				if t.r.Peek() == '{' {
					return t.tensor()
				}
				return t.value(2, options)
			})
		}
		return t.value(1, options)
	})
	if err == nil {
		err = t.r.End()
	}
	return t.out, err
}

// maxScores bounds the numbers of scores that come as arrays.
const maxScores = 1 << 16

// scores translates arrays of numbers to a tensor of float64.
func (t *translator) scores() error {
	var data []byte
	rows, width := 0, 0
	err := t.r.Elements(func() error {
		n := 0
		err := t.r.Elements(func() error {
			s, err := t.r.Number()
			if err != nil {
				return err
			}
			f, err := strconv.ParseFloat(s, 64)
			if err != nil {
				return t.r.Fail(reward.ErrNotFinite, "%s is beyond float64", s)
			}
			if n++; len(data) == 8*maxScores {
				return t.r.Fail(reward.ErrInvalidValue, "more than %d numbers", maxScores)
			}
			data = binary.LittleEndian.AppendUint64(data, math.Float64bits(f))
			return nil
		})
		if err == nil && rows > 0 && n != width {
			return t.r.Fail(reward.ErrInvalidValue, "arrays of %d and %d numbers side by side", width, n)
		}
		rows, width = rows+1, n
		return err
	})
	t.nd(reward.Float64, []int{rows, width}, data)
	return err
}

type rftResponse struct {
	Rewards    named[numbers] `json:"rewards"`
	Format     numbers        `json:"format"`
	Sums       numbers        `json:"sums"`
	Advantages numbers        `json:"advantages"`
}

// RFTResponse is p as JSON.
func RFTResponse(p *wire.RFTResponse) ([]byte, error) {
	out := rftResponse{Rewards: named[numbers]{}, Format: p.Format, Sums: p.Sums, Advantages: p.Advantages}
	for _, r := range p.Rewards {
		out.Rewards.add(r.Name, r.Values)
	}
	return json.Marshal(&out, jsontext.AllowInvalidUTF8(true))
}
