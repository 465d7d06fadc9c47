package resize

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/engine/image/codec"
	"github.com/denseflow/densereward/reward"
)

// readImage decodes a file of package image's testdata.
func readImage(t testing.TB, name string) *reward.Image {
	t.Helper()
	img, err := image.Decode(readFile(t, name), image.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func digest(img *reward.Image) string {
	sum := sha256.Sum256(img.Pix)
	return hex.EncodeToString(sum[:])
}

// TestResizeIsPillows checks every SHA-256 that Pillow 12.3 gave for
// photographs, and those that Pillow 9.4 gave for odd sizes.
func TestResizeIsPillows(t *testing.T) {
	var manifest struct {
		Resizes []struct {
			Image    string
			Src, Dst [2]int
			SHA256   string
		}
	}
	if err := json.Unmarshal(readFile(t, "images/manifest.json"), &manifest); err != nil {
		t.Fatal(err)
	}
	if len(manifest.Resizes) != 8 {
		t.Fatalf("manifest has %d resizes, want 8", len(manifest.Resizes))
	}
	var r Resizer
	check := func(name string, width, height int, want string) {
		t.Run(fmt.Sprintf("%s to %dx%d", name, width, height), func(t *testing.T) {
			if got := digest(r.Resize(readImage(t, name), width, height)); got != want {
				t.Errorf("SHA-256 %s, want %s", got, want)
			}
		})
	}
	for _, c := range manifest.Resizes {
		check("images/"+c.Image+".png", c.Dst[0], c.Dst[1], c.SHA256)
	}
	var expected struct {
		Resizes []struct {
			Size   [2]int
			SHA256 string
		} `json:"resizes_of_level_9_png"`
	}
	if err := json.Unmarshal(readFile(t, "files/expected.json"), &expected); err != nil {
		t.Fatal(err)
	}
	odd := expected.Resizes
	if len(odd) != 10 {
		t.Fatalf("expected.json has %d resizes, want 10", len(odd))
	}
	for _, c := range odd {
		check("files/level-9.png", c.Size[0], c.Size[1], c.SHA256)
	}
}

// naiveResize is Pillow's and torch's algorithm, sample by sample.
func naiveResize(src *reward.Image, width, height int, q quantum) *reward.Image {
	return transposed(naiveRows(transposed(naiveRows(src, width, q)), height, q))
}

func naiveRows(src *reward.Image, width int, q quantum) *reward.Image {
	if width == src.Width {
		return src
	}
	dst := codec.NewImage(width, src.Height)
	scale := float64(src.Width) / float64(width)
	stretch := math.Max(scale, 1)
	weights := make([][]float64, width)
	largest := 0.0
	for x := range weights {
		center := (float64(x) + 0.5) * scale
		total := 0.0
		weights[x] = make([]float64, src.Width)
		first := max(0, int(center-2*stretch+0.5))
		for i := first; i < min(src.Width, int(center+2*stretch+0.5)); i++ {
			weights[x][i] = bicubic((float64(i) - center + 0.5) / stretch)
			total += weights[x][i]
		}
		for i := range weights[x] {
			weights[x][i] /= total
			largest = math.Max(largest, weights[x][i])
		}
	}
	bits := 22
	if q == torchQuantum {
		for bits = 0; bits < 22 && int(0.5+largest*math.Exp2(float64(bits+1))) < 32768; {
			bits++
		}
	}
	for y := range src.Height {
		for x := range width {
			for c := range 3 {
				sum := 1 << (bits - 1)
				for i, w := range weights[x] {
					sum += int(math.Round(w*math.Exp2(float64(bits)))) * int(src.Pix[(y*src.Width+i)*3+c])
				}
				dst.Pix[(y*width+x)*3+c] = uint8(min(max(sum>>bits, 0), 255))
			}
		}
	}
	return dst
}

func transposed(src *reward.Image) *reward.Image {
	dst := codec.NewImage(src.Height, src.Width)
	for y := range src.Height {
		for x := range src.Width {
			copy(dst.Pix[(x*src.Height+y)*3:], src.Pix[(y*src.Width+x)*3:][:3])
		}
	}
	return dst
}

// TestResizeIsTheNaiveResize compares the packed arithmetic with the plain one
// on black and white noise, whose overshoot is the largest.
func TestResizeIsTheNaiveResize(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var r Resizer
	for range 60 {
		src := codec.NewImage(1+rng.IntN(40), 1+rng.IntN(40))
		for i := range src.Pix {
			src.Pix[i] = uint8(rng.IntN(2) * 255)
		}
		width, height := 1+rng.IntN(60), 1+rng.IntN(60)
		for q, got := range map[quantum]*reward.Image{
			pillowQuantum: r.Resize(src, width, height),
			torchQuantum:  r.ResizeTorch(src, width, height),
		} {
			want := naiveResize(src, width, height, q)
			for i, v := range want.Pix {
				if got.Pix[i] != v {
					t.Fatalf("%dx%d to %dx%d, quantum %d: sample %d is %d, want %d",
						src.Width, src.Height, width, height, q, i, got.Pix[i], v)
				}
			}
		}
	}
}

func TestResizeToTheSameSizeCopies(t *testing.T) {
	src := &reward.Image{Width: 1, Height: 2, Pix: []uint8{1, 2, 3, 4, 5, 6}}
	dst := Resize(src, 1, 2)
	if string(dst.Pix) != string(src.Pix) {
		t.Errorf("got %v", dst.Pix)
	}
	if &dst.Pix[0] == &src.Pix[0] {
		t.Error("the pixels are shared")
	}
}

func TestResizerKeepsABoundedNumberOfTables(t *testing.T) {
	var r Resizer
	src := codec.NewImage(3, 3)
	for n := range 3 * maxTables {
		r.Resize(src, n+4, 3)
	}
	if len(r.tables) != maxTables || len(r.oldest) != maxTables {
		t.Errorf("%d tables and %d keys, want %d", len(r.tables), len(r.oldest), maxTables)
	}
	if r.tables[tableKey{3, 3*maxTables + 3, pillowQuantum}] == nil {
		t.Error("the latest table is gone")
	}
}

func TestResizerIsSafeForConcurrentUse(t *testing.T) {
	var r Resizer
	src := readImage(t, "files/level-9.png")
	want := digest(Resize(src, 33, 44))
	var group sync.WaitGroup
	for n := range 8 {
		group.Go(func() {
			for k := range 20 {
				r.Resize(src, 10+n, 20+k)
				if got := digest(r.Resize(src, 33, 44)); got != want {
					t.Errorf("SHA-256 %s, want %s", got, want)
				}
			}
		})
	}
	group.Wait()
}

func TestResizeRefusesImagesThatAreNone(t *testing.T) {
	cases := []struct {
		name          string
		src           *reward.Image
		width, height int
	}{
		{"too few bytes", &reward.Image{Width: 2, Height: 2, Pix: make([]uint8, 11)}, 3, 3},
		{"no pixels", &reward.Image{}, 3, 3},
		{"to no width", codec.NewImage(2, 2), 0, 3},
		{"to a negative height", codec.NewImage(2, 2), 3, -1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			Resize(c.src, c.width, c.height)
		})
	}
}
