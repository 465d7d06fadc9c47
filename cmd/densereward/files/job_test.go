package files

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/scoring"
)

// The scheduler shares what there is among idle evaluators, so that there must be
// a batch for each.
func TestEveryDeviceHasBatchesThatAreWorthIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const devices, most, images = 4, 8, 128
		var parts []part
		for i := range images {
			parts = append(parts, part{names: []string{fmt.Sprint(i)}, stems: []string{""}, input: func() (scoring.Input, error) {
				pixel := &reward.Image{Width: 1, Height: 1, Pix: make([]uint8, 3)}
				return scoring.Input{Prompts: []string{"x"}, Images: []scoring.Image{{Decoded: pixel}}}, nil
			}})
		}
		fakes, evaluators := make([]rewardtest.Fake, devices), make([]reward.Evaluator, devices)
		for i := range fakes {
			fakes[i].Delay, evaluators[i] = time.Second, &fakes[i]
		}
		s, err := batch.New(Batching(most), evaluators...)
		if err != nil {
			t.Fatal(err)
		}
		scored := 0
		j := &Job{Mode: reward.ModeAnswer, Evaluator: fakes[0].Describe(), Scorer: s, Together: most * devices}
		err = j.score(t.Context(), parts, mapFolder{}, func(name string, r reward.Result) error {
			if name != parts[scored].names[0] || r.Err != nil {
				t.Errorf("result %q after %d: %v", name, scored, r.Err)
			}
			scored++
			return nil
		})
		if err != nil || scored != images {
			t.Errorf("%d scored: %v", scored, err)
		}
		batches := int64(0)
		for i := range fakes {
			batches += fakes[i].Batches()
		}
		if batches > 1+images/most*3/2 { // the first sample has one of its own
			t.Errorf("%d batches of up to %d for %d images", batches, most, images)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestImagesOfOneNameGetFilesOfTheirOwn(t *testing.T) {
	for name, c := range map[string]struct{ names, want []string }{
		"all differ":                    {[]string{"a", "b", "c"}, []string{"a", "b", "c"}},
		"three of one name":             {[]string{"a", "a", "a"}, []string{"a", "a-2", "a-3"}},
		"a name that a number would be": {[]string{"a", "a", "a-2"}, []string{"a", "a-3", "a-2"}},
		"numbers of two names meet":     {[]string{"a", "a-2", "a-2", "a"}, []string{"a", "a-2", "a-2-2", "a-3"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := distinct(c.names); !slices.Equal(got, c.want) {
				t.Errorf("%q become %q, want %q", c.names, got, c.want)
			}
		})
	}
	for path, want := range map[string]string{"x/a.png": "a", "b.tar.png": "b.tar", "c": "c"} {
		if got := stem(path); got != want {
			t.Errorf("the stem of %s is %s, want %s", path, got, want)
		}
	}
}
