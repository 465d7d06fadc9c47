package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/denseflow/densereward/engine/vae"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/scoring"
)

// part is samples that are scored in one call: an image, or some of a file of
// latents.
type part struct {
	names []string // of the samples, as they are printed
	stems []string // of the files that are written about them
	input func() (scoring.Input, error)
}

// partReader makes parts of files: images, and latents that decoder decodes.
type partReader struct {
	prompt   string
	metadata map[string]any
	decoder  reward.LatentDecoder // nil without --vae
	grid     reward.GridSpec      // of the flag
	batch    int                  // latents of one part
}

// MaxLatents bounds the bytes of a file of latents.
const MaxLatents = 4 << 30

// isLatents tells files of latents by their names.
func isLatents(path string) bool {
	return slices.Contains([]string{".npy", ".safetensors"}, strings.ToLower(filepath.Ext(path)))
}

// of makes the parts of a file. One of latents that cannot be read is one sample
// that fails.
func (r *partReader) of(path string) []part {
	if !isLatents(path) {
		return []part{r.image(path)}
	}
	latents, err := r.readLatents(path)
	if err != nil {
		failed := func() (scoring.Input, error) { return scoring.Input{}, err }
		return []part{{names: []string{path}, stems: []string{stem(path)}, input: failed}}
	}
	var all []part
	for first := 0; first < latents.Shape[0]; first += r.batch {
		all = append(all, r.latents(path, latents, first))
	}
	return all
}

// samples is an Input of n samples without their images.
func (r *partReader) samples(n int) scoring.Input {
	in := scoring.Input{Prompts: slices.Repeat([]string{r.prompt}, n)}
	if r.metadata != nil {
		in.Metadata = slices.Repeat([]map[string]any{r.metadata}, n)
	}
	return in
}

func (r *partReader) image(path string) part {
	return part{
		names: []string{path}, stems: []string{stem(path)},
		input: func() (scoring.Input, error) {
			data, err := os.ReadFile(path)
			in := r.samples(1)
			in.Images = []scoring.Image{{Encoded: data}}
			return in, err
		},
	}
}

func (r *partReader) readLatents(path string) (*reward.Tensor, error) {
	if r.decoder == nil {
		return nil, errors.New("latents need a decoder: --vae DIR")
	}
	latents, err := vae.ReadLatents(path, r.decoder.Describe().Channels, MaxLatents)
	if err != nil {
		return nil, err
	}
	if len(latents.Shape) == 0 || latents.Shape[0] == 0 {
		return nil, fmt.Errorf("no latents: shape %v", latents.Shape)
	}
	height, width := r.grid.TokenGrid(latents.Shape)
	_, err = r.decoder.Layout(latents.Shape, height, width)
	return latents, err
}

// latents is a file's samples from first on, as many as make a part.
func (r *partReader) latents(path string, latents *reward.Tensor, first int) part {
	n := min(r.batch, latents.Shape[0]-first)
	p := part{input: func() (scoring.Input, error) {
		in := r.samples(n)
		in.Latents = &scoring.Latents{Tensor: latents.Part(first, first+n), Decoder: r.decoder}
		return in, nil
	}}
	for i := first; i < first+n; i++ {
		name, stem := path, stem(path)
		if latents.Shape[0] > 1 {
			name, stem = fmt.Sprintf("%s[%d]", path, i), fmt.Sprintf("%s-%d", stem, i)
		}
		p.names, p.stems = append(p.names, name), append(p.stems, stem)
	}
	return p
}
