package checkpoint

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
)

func FuzzConfig(f *testing.F) {
	for _, path := range []string{qwenvltest.Nano(f) + "/config.json", "../../imagedoctor/released/config.json"} {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, []byte(`{"image_mean": [0.5, 0.5, 0.5], "min_pixels": 3136}`), []byte(`{"eos_token_id": [1, 2]}`))
	}
	f.Add([]byte(`{"hidden_size":1,"intermediate_size":1,"num_hidden_layers":1,"num_attention_heads":-1}`), []byte(`{}`), []byte(`{}`))
	f.Fuzz(func(t *testing.T, config, preprocessor, generation []byte) {
		var model modelFile
		var pre preprocessorJSON
		var gen generationJSON
		if json.Unmarshal(config, &model) != nil || json.Unmarshal(preprocessor, &pre) != nil || json.Unmarshal(generation, &gen) != nil {
			return
		}
		c, err := model.config()
		if err != nil {
			return
		}
		if err := gen.apply(&c); err != nil {
			return
		}
		if c.Preprocessor, err = pre.config(PreprocessorFile, c.Family, c.Vision); err != nil {
			return
		}
		if c.Family == Qwen25VL && c.HeadDim*c.NumHeads != c.HiddenSize || c.HeadDim%2 != 0 || len(c.MRopeSection) != 3 {
			t.Errorf("heads of %d, sections %v for a width of %d", c.HeadDim, c.MRopeSection, c.HiddenSize)
		}
		if len(c.EOSTokenIDs) == 0 || !(c.RepetitionPenalty > 0) {
			t.Errorf("end tokens %v, penalty %v", c.EOSTokenIDs, c.RepetitionPenalty)
		}
		for _, n := range []int{c.NumLayers, c.NumKVHeads, c.IntermediateSize, c.Vision.Depth, c.Vision.PatchSize,
			c.Vision.SpatialMergeSize, max(c.Vision.WindowSize, c.Vision.PositionsSide), c.Preprocessor.MinPixels} {
			if n < 1 || n > maxPixels {
				t.Errorf("a size of %d is accepted", n)
			}
		}
		for _, v := range append(c.Preprocessor.Std[:], c.RMSNormEps, c.RopeTheta) {
			if !(v > 0) {
				t.Errorf("a divisor of %v is accepted", v)
			}
		}
	})
}
