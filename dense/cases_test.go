package dense

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/denseflow/densereward/internal/numtest"
)

// cases is the part of the reference's results that concerns this package.
type cases struct {
	Pools []poolCase `json:"adaptive_avg_pool"`
	Boxes []boxCase  `json:"box_maps"`
}

type poolCase struct {
	Shape   [2]int      `json:"shape"`
	Values  [][]float64 `json:"seed_values"`
	Formula string      `json:"formula"`
	Outs    []struct {
		Size   [2]int      `json:"size"`
		Values [][]float64 `json:"values"`
	} `json:"outs"`
}

type boxCase struct {
	Rewards []float64 `json:"rewards"`
	Boxes   [][]struct {
		Coords     [4]float64 `json:"box_2d"`
		Label      string     `json:"label"`
		Importance float64    `json:"importance"`
	} `json:"boxes"`
	LatentSize        int           `json:"latent_size"`
	AlphaArtifact     float64       `json:"alpha_artifact"`
	AlphaMisalignment float64       `json:"alpha_misalignment"`
	GroupStd          float64       `json:"group_std"`
	RewardMap         [][][]float64 `json:"reward_map"`
}

// readCases reads the reference's results, which lie with the other package
// that is tested against them.
func readCases(t *testing.T) cases {
	t.Helper()
	file, err := os.Open("../flowgrpo/testdata/cases.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var c cases
	if err := json.NewDecoder(unzipped).Decode(&c); err != nil {
		t.Fatal(err)
	}
	if len(c.Pools) == 0 || len(c.Boxes) == 0 {
		t.Fatal("the reference file holds no cases")
	}
	return c
}

func (c poolCase) source(t *testing.T) []float64 {
	t.Helper()
	if c.Values != nil {
		return flatten(c.Values)
	}
	if c.Formula != "0.5+0.5*sin(0.13*y+0.07*x)*cos(0.11*x)" {
		t.Fatalf("unknown formula %q", c.Formula)
	}
	var src []float64
	for y := range c.Shape[0] {
		for x := range c.Shape[1] {
			fx, fy := float64(x), float64(y)
			src = append(src, 0.5+0.5*math.Sin(0.13*fy+0.07*fx)*math.Cos(0.11*fx))
		}
	}
	return src
}

func flatten(rows [][]float64) []float64 {
	var all []float64
	for _, row := range rows {
		all = append(all, row...)
	}
	return all
}

func toFloat32(values []float64) []float32 {
	out := make([]float32, len(values))
	for i, v := range values {
		out[i] = float32(v)
	}
	return out
}

func TestAdaptiveAvgPoolEqualsTorch(t *testing.T) {
	for _, c := range readCases(t).Pools {
		in := Grid{c.Shape[0], c.Shape[1]}
		src := c.source(t)
		for _, out := range c.Outs {
			grid := Grid{out.Size[0], out.Size[1]}
			want := flatten(out.Values)
			t.Run(fmt.Sprintf("%s to %s", in, grid), func(t *testing.T) {
				got := make([]float64, grid.Cells())
				AdaptiveAvgPool(got, grid, src, in)
				numtest.Slice(t, "float64", got, want, numtest.Tolerance{Abs: 1e-12})

				// One rounding of the inputs and one of the result.
				got32 := make([]float32, grid.Cells())
				AdaptiveAvgPool(got32, grid, toFloat32(src), in)
				numtest.Slice(t, "float32", got32, want, numtest.Tolerance{Abs: 1.2e-7})
			})
		}
	}
}

func TestBoxRewardEqualsTheReference(t *testing.T) {
	for i, c := range readCases(t).Boxes {
		t.Run(fmt.Sprintf("group %d", i), func(t *testing.T) {
			penalty, err := Penalty{Artifact: c.AlphaArtifact, Misalignment: c.AlphaMisalignment}.Adapt(c.Rewards)
			if err != nil {
				t.Fatal(err)
			}
			numtest.Value(t, "adapted alpha", penalty.Artifact, c.AlphaArtifact*c.GroupStd, numtest.Tolerance{Rel: 1e-14})

			grid := Grid{c.LatentSize, c.LatentSize}
			got, got32 := make([]float64, grid.Cells()), make([]float32, grid.Cells())
			for j, reward := range c.Rewards {
				var boxes []Box
				for _, b := range c.Boxes[j] {
					boxes = append(boxes, Box(b))
				}
				if err := BoxReward(got, grid, reward, boxes, penalty); err != nil {
					t.Fatal(err)
				}
				if err := BoxReward(got32, grid, reward, boxes, penalty); err != nil {
					t.Fatal(err)
				}
				// The reference subtracts in float32 step by step: its own
				// roundings, each at most 2^-24 of a number below 1.
				tol := numtest.Tolerance{Abs: 1.2e-7}
				want := flatten(c.RewardMap[j])
				numtest.Slice(t, fmt.Sprintf("map %d in float64", j), got, want, tol)
				numtest.Slice(t, fmt.Sprintf("map %d in float32", j), got32, want, tol)
			}
		})
	}
}
