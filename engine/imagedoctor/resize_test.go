package imagedoctor

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
)

// testdata/published holds what Pillow makes of images as the published scripts hand
// them on; make.py there made it.
func TestImagesComeToTheModelAsThePublishedScriptsHandThemOn(t *testing.T) {
	var file map[string]struct {
		Width, Height int
		SHA256        string
	}
	qwenvltest.ReadJSON(t, "testdata/published/resized.json", &file)
	count := 0
	for _, name := range []string{"astronaut", "coffee"} {
		data, err := os.ReadFile("../image/testdata/images/" + name + ".png")
		if err != nil {
			t.Fatal(err)
		}
		img, err := image.Decode(data, image.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for _, way := range []Resize{ResizeSquare, ResizeArea} {
			e := &Evaluator{config: nanoEvaluator(t, form{}).config, options: Options{Resize: way}}
			got, err := e.resized(img)
			if err != nil {
				t.Fatal(err)
			}
			want := file[name+" "+string(way)]
			if sum := fmt.Sprintf("%x", sha256.Sum256(got.Pix)); got.Width != want.Width || got.Height != want.Height || sum != want.SHA256 {
				t.Errorf("%s, %s: %dx%d of %s, want %+v", name, way, got.Width, got.Height, sum, want)
			}
			count++
		}
	}
	if count != 4 {
		t.Errorf("%d images held against Pillow, want 4", count)
	}
}

func TestImagesThatKeepTheirAspectAreScoredInAnyCompany(t *testing.T) {
	t.Parallel()
	e := loadSmall(t, nil, Options{Resize: ResizeArea})
	var samples []reward.Sample
	for i, size := range [][2]int{{64, 64}, {120, 40}, {40, 120}, {90, 60}, {120, 40}, {16, 16}} {
		samples = append(samples, reward.Sample{Image: rewardtest.Image(uint64(i), size[0], size[1]), Prompt: "a red circle"})
	}
	grids := map[checkpoint.Grid]bool{}
	for i, r := range evaluate(t, e, samples) {
		sameResult(t, "by itself", r, evaluate(t, e, samples[i:i+1])[0])
		resized, err := e.resized(samples[i].Image)
		if err != nil {
			t.Fatal(err)
		}
		grid := e.config.Grid(resized)
		grids[grid] = true
		for _, m := range r.Maps {
			if m.Height != 16*grid.Rows || m.Width != 16*grid.Cols || len(m.Data) != m.Height*m.Width {
				t.Errorf("a map of %dx%d for a grid of %v", m.Height, m.Width, grid)
			}
		}
	}
	if len(grids) < 4 {
		t.Errorf("only the grids %v", grids)
	}
	d := e.Describe()
	if d.Maps[Artifact].Height != 0 || d.Resize != "area" {
		t.Errorf("%+v", d)
	}
	strip := reward.Sample{Image: rewardtest.Image(1, 300, 1), Prompt: "a strip"}
	if err := e.Prepare(t.Context(), &strip); !errors.Is(err, reward.ErrInvalidValue) {
		t.Errorf("a strip of 300 to 1: %v", err)
	}
}

func TestAWayToResizeThatIsNotKnownIsRefused(t *testing.T) {
	wantLoadError(t, "nano", Options{Resize: "crop"}, `resize "crop"`, "square", "area")
}
