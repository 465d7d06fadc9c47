package imagedoctor

import (
	"slices"
	"testing"

	"github.com/denseflow/densereward/engine/imagedoctor/released"
	"github.com/denseflow/densereward/engine/ort"
)

func TestHeadsTakeEqualTurns(t *testing.T) {
	for _, test := range []struct {
		rows  int
		limit int
		shape []int64
		want  []int64
	}{
		{1, 8, []int64{1, 1}, []int64{0}},
		{8, 8, []int64{1, 8}, []int64{0, 1, 2, 3, 4, 5, 6, 7}},
		{9, 8, []int64{2, 5}, []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 8}},
		{16, 8, []int64{2, 8}, nil},
		{17, 8, []int64{3, 6}, nil},
		{64, 8, []int64{8, 8}, nil},
		{5, 96, []int64{1, 5}, nil},
		{9, 96, []int64{1, 16}, nil},
		{33, 96, []int64{1, 64}, nil},
		{65, 96, []int64{1, 96}, nil},
		{96, 96, []int64{1, 96}, nil},
		{100, 96, []int64{2, 64}, nil},
	} {
		got := headParts(test.rows, test.limit)
		values := got.Int64s()
		if !slices.Equal(got.Shape, test.shape) || test.want != nil && !slices.Equal(values, test.want) {
			t.Errorf("%d rows: %v %v, want %v %v", test.rows, got.Shape, values, test.shape, test.want)
		}
		for i := range test.rows { // every row once, in order, and then the last again
			if values[i] != int64(i) {
				t.Errorf("%d rows: row %d is %d", test.rows, i, values[i])
			}
		}
		for _, v := range values[test.rows:] {
			if v != int64(test.rows-1) {
				t.Errorf("%d rows: filled up with %d", test.rows, v)
			}
		}
	}
}

func TestNarrowHeadsTakeMoreImagesAtOnceOnAGPU(t *testing.T) {
	for _, test := range []struct {
		width int
		kind  ort.Kind
		want  int
	}{
		{released.HeadWidth, ort.CUDA, 8}, {64, ort.CUDA, 96}, {64, ort.CPU, 8}, {2 * released.HeadWidth, ort.CUDA, 8},
	} {
		if got := headPartOf(test.width, test.kind); got != test.want {
			t.Errorf("heads %d wide on %v: %d images, want %d", test.width, test.kind, got, test.want)
		}
	}
}

// More images than the heads take at a time.
func TestABatchOfSeveralTurnsOfTheHeadsIsAsOneByOne(t *testing.T) {
	t.Parallel()
	e := nanoEvaluator(t, form{small: true})
	_, samples := refSamples(t)
	var many []int
	for i := range maxHeadPart + 3 {
		many = append(many, i%len(samples))
	}
	batch := samples[:0:0]
	for _, i := range many {
		batch = append(batch, samples[i])
	}
	results := evaluate(t, e, batch)
	for row, i := range many {
		sameResult(t, samples[i].Prompt, results[row], results[i])
	}
}
