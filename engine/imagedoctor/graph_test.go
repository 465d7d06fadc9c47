package imagedoctor

import (
	"slices"
	"testing"
)

func TestHeadsTakeEqualTurns(t *testing.T) {
	for _, test := range []struct {
		rows  int
		shape []int64
		want  []int64
	}{
		{1, []int64{1, 1}, []int64{0}},
		{8, []int64{1, 8}, []int64{0, 1, 2, 3, 4, 5, 6, 7}},
		{9, []int64{2, 5}, []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 8}},
		{16, []int64{2, 8}, nil},
		{17, []int64{3, 6}, nil},
		{64, []int64{8, 8}, nil},
	} {
		got := headParts(test.rows)
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
