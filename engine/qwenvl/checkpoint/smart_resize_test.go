package checkpoint

import (
	"strings"
	"testing"
)

// TestSmartResize holds values of transformers' smart_resize.
func TestSmartResize(t *testing.T) {
	cases := []struct {
		name                  string
		height, width, lo, hi int
		wantHeight, wantWidth int
		wantErr               string
	}{
		{"the reference's square", 512, 512, 3136, 12845056, 504, 504, ""},
		{"half a unit goes to even", 42, 70, 0, 1 << 30, 56, 56, ""},
		{"too few pixels grow", 20, 30, 3136, 12845056, 56, 84, ""},
		{"too many pixels shrink", 4000, 6000, 3136, 1003520, 812, 1204, ""},
		{"a long strip", 100, 20000, 3136, 12845056, 112, 19992, ""},
		{"too long a strip", 100, 20001, 3136, 12845056, 0, 0, "aspect ratio exceeds 200"},
		{"no height", 0, 5, 3136, 12845056, 0, 0, "size 5x0"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h, w, err := smartResize(c.height, c.width, 28, c.lo, c.hi)
			if h != c.wantHeight || w != c.wantWidth || (err == nil) != (c.wantErr == "") || err != nil && !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("got %d, %d, %v; want %d, %d, %q", h, w, err, c.wantHeight, c.wantWidth, c.wantErr)
			}
		})
	}
}
