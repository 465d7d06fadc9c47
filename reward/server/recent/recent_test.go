package recent_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"strings"
	"testing"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/scoring"
	"github.com/denseflow/densereward/reward/server/recent"
)

func at() time.Time { return time.UnixMilli(1700000000000) }

// line is what these tests read of an entry.
type line struct {
	Type   string
	ID     uint64
	At     int64
	Prompt string
	Reward *float64
	Error  *struct{ Code, Message string }
	Image  *struct {
		Width, Height int
		JPEG          []byte
	}
	Maps []struct {
		Name          string
		Height, Width int
		Data          []byte
	}
	Text string
}

func read(t *testing.T, e recent.Entry) line {
	t.Helper()
	var l line
	if err := json.Unmarshal(e.Line, &l); err != nil || !bytes.HasSuffix(e.Line, []byte("}\n")) || len(e.Line) > recent.EntryBytes {
		t.Fatalf("%v of %d bytes: %.200s", err, len(e.Line), e.Line)
	}
	if l.ID != e.ID || l.Type != "sample" || l.At != 1700000000000 {
		t.Errorf("entry %d: %+v", e.ID, l)
	}
	return l
}

// evaluated is one sample with a map that is 1 in its upper half.
func evaluated() *scoring.Evaluated {
	m := reward.Map{Height: 288, Width: 144, Data: make([]float32, 288*144)}
	for i := range m.Data[:len(m.Data)/2] {
		m.Data[i] = 1
	}
	return &scoring.Evaluated{
		Evaluator: reward.Description{Name: "e", Scores: []reward.ScoreSpec{{Name: "s"}}, Maps: []reward.MapSpec{{Name: "artifact"}}},
		Outcomes:  []batch.Outcome{{Result: reward.Result{Scores: []float64{0.5}, Maps: []reward.Map{m}, Text: "fine"}}},
		Errors:    []*reward.Error{nil},
		Rewards:   []float64{0.5},
	}
}

func TestTheLastSamplesAreKeptSmall(t *testing.T) {
	s := recent.New(3, at)
	for i := range 5 {
		r := s.Record("alice")
		r.Preview()(0, rewardtest.Image(uint64(i), 640, 320))
		r.Record(evaluated(), []string{fmt.Sprint("prompt ", i)})
	}
	entries, last := s.After(0, "alice")
	if len(entries) != 3 || last != 5 {
		t.Fatalf("%d entries up to %d", len(entries), last)
	}
	for k, e := range entries {
		l := read(t, e)
		if want := fmt.Sprint("prompt ", k+2); l.Prompt != want || *l.Reward != 0.5 {
			t.Errorf("entry %d is %q, want %q", k, l.Prompt, want)
		}
		small, err := jpeg.DecodeConfig(bytes.NewReader(l.Image.JPEG))
		if err != nil || small.Width != 160 || small.Height != 80 || l.Image.Width != 640 {
			t.Errorf("a thumbnail of %dx%d, %v", small.Width, small.Height, err)
		}
		m := l.Maps[0]
		if m.Height != 40 || m.Width != 20 || m.Data[0] != 255 || m.Data[len(m.Data)-1] != 0 {
			t.Errorf("a map of %dx%d from %d to %d", m.Height, m.Width, m.Data[0], m.Data[len(m.Data)-1])
		}
	}
	if more, _ := s.After(last, "alice"); len(more) != 0 {
		t.Errorf("%d entries came again", len(more))
	}
}

func TestASampleIsForTheOwnerOfItsTokenAlone(t *testing.T) {
	s := recent.New(10, at)
	s.Record("alice").Record(evaluated(), []string{"a secret"})
	if entries, last := s.After(0, "bob"); len(entries) != 0 || last != 1 {
		t.Errorf("bob sees %d entries", len(entries))
	}
	if entries, _ := s.After(0, "alice"); len(entries) != 1 {
		t.Errorf("alice sees %d entries", len(entries))
	}
}

func TestAFailureIsKeptWithItsError(t *testing.T) {
	s := recent.New(10, at)
	e := evaluated()
	e.Errors[0], e.Outcomes[0] = reward.ErrImageCorrupt.With("cut short"), batch.Outcome{}
	s.Record("").Record(e, []string{"p"})
	entries, _ := s.After(0, "")
	if l := read(t, entries[0]); l.Reward != nil || l.Error.Code != "image_corrupt" || l.Error.Message != "cut short" {
		t.Errorf("got %+v", l)
	}
}

func TestAnEntryIsBoundedWhateverItHolds(t *testing.T) {
	s := recent.New(4, at)
	e := evaluated()
	e.Outcomes[0].Text = strings.Repeat("\x00", 1<<20) // six bytes each in JSON
	for range 100 {
		e.Outcomes[0].Boxes = append(e.Outcomes[0].Boxes, reward.Box{Label: strings.Repeat("<", 1000)})
		e.Outcomes[0].Missing = append(e.Outcomes[0].Missing, strings.Repeat("\x01", 1000))
	}
	s.Record("").Record(e, []string{strings.Repeat("é\x00", 1<<20)})
	entries, _ := s.After(0, "")
	if l := read(t, entries[0]); l.Prompt == "" {
		t.Error("not even the beginning of the prompt is there")
	}
}

func TestNothingIsKeptWhereNothingIsToBe(t *testing.T) {
	s := recent.New(0, at)
	r := s.Record("alice")
	r.Record(evaluated(), []string{"p"})
	if entries, _ := s.After(0, "alice"); r.Preview() != nil || len(entries) != 0 || s.Size() != 0 {
		t.Errorf("%d entries", len(entries))
	}
}
