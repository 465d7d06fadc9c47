package qwenvl

import (
	"slices"
	"testing"
)

func TestBatchesKeepTheirLimits(t *testing.T) {
	for name, test := range map[string]struct {
		lengths      []int
		rows, tokens int
		want         []Part
	}{
		"nothing":                     {nil, 4, 100, nil},
		"what fits":                   {[]int{10, 20, 30}, 4, 100, []Part{{0, 3}}},
		"as many rows as may be":      {[]int{1, 1, 1, 1, 1}, 2, 100, []Part{{0, 2}, {2, 4}, {4, 5}}},
		"padding counts":              {[]int{10, 10, 10, 40}, 9, 100, []Part{{0, 3}, {3, 4}}},
		"a long one first":            {[]int{40, 10, 10, 10}, 9, 100, []Part{{0, 2}, {2, 4}}},
		"one of more than the budget": {[]int{10, 500, 10}, 9, 100, []Part{{0, 1}, {1, 2}, {2, 3}}},
		"exactly the budget":          {[]int{50, 50, 50}, 9, 100, []Part{{0, 2}, {2, 3}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Parts(test.lengths, test.rows, test.tokens); !slices.Equal(got, test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}
