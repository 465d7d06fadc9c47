package colourfulness

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
)

func TestColourfulnessIsAnEvaluator(t *testing.T) {
	rewardtest.Run(t, func() reward.Evaluator { return Evaluator{} })
}

// testdata/cases.json is what numpy makes of the paper's definition.
func TestColourfulnessIsThePapers(t *testing.T) {
	text, err := os.ReadFile("testdata/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name          string
		Height, Width int
		Pix           []int
		Want          float64
	}
	if err := json.Unmarshal(text, &cases); err != nil || len(cases) != 5 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, c := range cases {
		image := &reward.Image{Height: c.Height, Width: c.Width}
		for _, v := range c.Pix {
			image.Pix = append(image.Pix, uint8(v))
		}
		// Sums of squares cancel in the variance: some bits of 255 squared.
		if got := Colourfulness(image); math.Abs(got-c.Want) > 1e-9*(1+c.Want) {
			t.Errorf("%s: %v, want %v", c.Name, got, c.Want)
		}
	}
}
