package dense

import (
	"strings"
	"testing"
)

func TestParseGrid(t *testing.T) {
	tests := []struct {
		name          string
		text          string
		height, width int
		want          Grid
	}{
		{"an explicit grid needs no image", "64x48", 0, 0, Grid{64, 48}},
		{"the smallest grid", "1x1", 0, 0, Grid{1, 1}},
		{"sd3 has a cell per latent pixel", "sd3", 512, 768, Grid{64, 96}},
		{"flux has a cell per token", "flux", 1024, 768, Grid{64, 48}},
		{"qwen-image packs like flux", "qwen-image", 1328, 928, Grid{83, 58}},
		{"flux2 has a cell per token", "flux2", 1024, 768, Grid{64, 48}},
		{"qwen-image-2.1 has a cell per token", "qwen-image-2.1", 2048, 1024, Grid{128, 64}},
		{"sana has a cell per latent pixel", "sana", 1024, 4096, Grid{32, 128}},
		{"z-image has a cell per latent pixel", "z-image", 1024, 768, Grid{128, 96}},
		{"wan has a cell per latent pixel", "wan", 480, 832, Grid{60, 104}},
		{"sizes that do not divide round down", "sd3", 519, 8, Grid{64, 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseGrid(test.text, test.height, test.width)
			if err != nil || got != test.want {
				t.Fatalf("ParseGrid = %v, %v, want %v", got, err, test.want)
			}
			again, err := ParseGrid(got.String(), 0, 0)
			if err != nil || again != got {
				t.Errorf("%v reads back as %v, %v", got, again, err)
			}
		})
	}
}

func TestParseGridRefuses(t *testing.T) {
	tests := []struct {
		name          string
		text          string
		height, width int
		want          string // part of the error
	}{
		{"nothing", "", 512, 512, `grid "" is neither HEIGHTxWIDTH nor one of sd3, flux, flux2, qwen-image, qwen-image-2.1, sana, wan, z-image`},
		{"an unknown preset", "sd1", 512, 512, `grid "sd1"`},
		{"a missing width", "64x", 512, 512, `grid "64x"`},
		{"three sides", "64x64x64", 512, 512, `grid "64x64x64"`},
		{"spaces", "64 x 64", 512, 512, `grid "64 x 64"`},
		{"a side of zero", "0x64", 512, 512, "each side must be 1 to 1024"},
		{"a negative side", "64x-1", 512, 512, "each side must be 1 to 1024"},
		{"a side past the limit", "1025x1", 512, 512, "each side must be 1 to 1024"},
		{"a number past int", "99999999999999999999x1", 512, 512, "neither"},
		{"an image of nothing", "flux", 0, 512, `"flux" for an image of 0x512 pixels`},
		{"an image above the limit", "sd3", 8200, 512, "each side must be 1 to 1024"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseGrid(test.text, test.height, test.width)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("ParseGrid = %v, %v, want an error with %q", got, err, test.want)
			}
		})
	}
}

func FuzzParseGrid(f *testing.F) {
	for _, text := range []string{"64x64", "sd3", "flux", "qwen-image", "", "x", "-1x5", "1e3x2", "+7x07"} {
		f.Add(text, 512, 768)
	}
	f.Fuzz(func(t *testing.T, text string, height, width int) {
		grid, err := ParseGrid(text, height, width)
		if err != nil {
			if grid != (Grid{}) {
				t.Errorf("a grid %v beside the error %v", grid, err)
			}
			return
		}
		if err := grid.Validate(); err != nil {
			t.Errorf("ParseGrid(%q) passes an invalid grid: %v", text, err)
		}
	})
}
