package pixels

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// readPicture decodes a file of testdata.
func readPicture(t testing.TB, name string) *RGB {
	t.Helper()
	img, err := Decode(readFile(t, name), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func digest(img *RGB) string {
	sum := sha256.Sum256(img.Pix)
	return hex.EncodeToString(sum[:])
}

// TestResizeIsPillows checks every SHA-256 that Pillow 12.3 gave.
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
	for _, c := range manifest.Resizes {
		t.Run(fmt.Sprintf("%s to %dx%d", c.Image, c.Dst[0], c.Dst[1]), func(t *testing.T) {
			src := readPicture(t, "images/"+c.Image+".png")
			if src.Width != c.Src[0] || src.Height != c.Src[1] {
				t.Fatalf("source is %dx%d, want %v", src.Width, src.Height, c.Src)
			}
			if got := digest(r.Resize(src, c.Dst[0], c.Dst[1])); got != c.SHA256 {
				t.Errorf("SHA-256 %s, want %s", got, c.SHA256)
			}
		})
	}
}
