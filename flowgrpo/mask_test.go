package flowgrpo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func TestTrainingMask(t *testing.T) {
	tests := []struct {
		name       string
		advantages []float64 // two for each sample
		batches    int
		kept       int
		always     []bool // samples that must be kept
	}{
		{"useful samples are kept", []float64{1, 0, 0, -2, 0, 0}, 1, 2, []bool{true, true, false}},
		{"dropped samples come back to fill the batches", []float64{1, 0, 0, 0, 0, 0, 0, 0}, 2, 2, []bool{true, false, false, false}},
		{"all may come back", []float64{1, 0, 0, 0, 0, 0}, 3, 3, []bool{true, true, true}},
		{"too few to come back leave the count as it is", []float64{1, 0, 2, 0, 0, 0}, 4, 2, []bool{true, true, false}},
		{"nothing useful leaves nothing", []float64{0, 0, 0, 0}, 2, 0, []bool{false, false}},
		{"negative zero is zero", []float64{math.Copysign(0, -1), 0, 3, 0}, 1, 1, []bool{false, true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for seed := range uint64(20) {
				mask := make([]bool, len(test.always))
				kept, err := TrainingMask(mask, test.advantages, test.batches, rand.New(rand.NewPCG(seed, 0)))
				if err != nil || kept != test.kept {
					t.Fatalf("kept %d, %v, want %d", kept, err, test.kept)
				}
				count := 0
				for i, set := range mask {
					if set {
						count++
					}
					if test.always[i] && !set {
						t.Errorf("sample %d is dropped: %v", i, mask)
					}
				}
				if count != kept {
					t.Errorf("%d samples in the mask, %d reported", count, kept)
				}
			}
		})
	}
}

func TestTrainingMaskPutsBackAtRandom(t *testing.T) {
	seen := make(map[string]bool)
	for seed := range uint64(100) {
		mask := make([]bool, 4)
		if _, err := TrainingMask(mask, []float64{1, 0, 0, 0}, 2, rand.New(rand.NewPCG(seed, 0))); err != nil {
			t.Fatal(err)
		}
		seen[fmt.Sprint(mask)] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d different masks in 100 draws, want all 3", len(seen))
	}
}

func TestTrainingMaskRefusesNaN(t *testing.T) {
	_, err := TrainingMask(make([]bool, 2), []float32{1, float32(math.NaN())}, 1, rand.New(rand.NewPCG(0, 0)))
	if err == nil || err.Error() != "flowgrpo: an advantage of sample 1 is NaN" {
		t.Errorf("error %v", err)
	}
}
