package imagedoctor

import (
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/tokenizer"
)

// Config is what a checkpoint folder says of its model: that of Qwen2.5-VL, and
// the tokens that ask for heatmaps.
type Config struct {
	checkpoint.Config

	MisalignmentTokenID int32
	ArtifactTokenID     int32
}

// LoadConfig reads the configuration of the checkpoint in the folder dir: see
// checkpoint.LoadConfig.
func LoadConfig(dir string) (Config, error) {
	base, err := checkpoint.LoadConfig(dir)
	if err != nil {
		return Config{}, err
	}
	return withHeatmapTokens(dir, base)
}

// withHeatmapTokens reads the ids that only ImageDoctor's config.json has.
func withHeatmapTokens(dir string, base checkpoint.Config) (Config, error) {
	// The ids are those of Qwen2.5-VL's vocabulary with two tokens appended.
	file := struct {
		Misalignment *int32 `json:"misalignment_token_id"`
		Artifact     *int32 `json:"artifact_token_id"`
	}{}
	c := Config{Config: base, MisalignmentTokenID: 151665, ArtifactTokenID: 151666}
	if err := checkpoint.ReadJSON(dir, checkpoint.ConfigFile, &file); err != nil {
		return Config{}, err
	}
	for _, token := range []struct {
		key  string
		from *int32
		to   *int32
	}{
		{"misalignment_token_id", file.Misalignment, &c.MisalignmentTokenID},
		{"artifact_token_id", file.Artifact, &c.ArtifactTokenID},
	} {
		if token.from != nil {
			*token.to = *token.from
		}
		if err := c.CheckTokenID(token.key, *token.to); err != nil {
			return Config{}, err
		}
	}
	return c, nil
}

// CheckTokens verifies that the tokenizer has the special tokens of prompts and
// answers under the ids that the configuration gives them.
func (c Config) CheckTokens(t *tokenizer.Tokenizer) error {
	return c.Config.CheckTokens(t,
		checkpoint.SpecialToken{Text: misalignmentToken, Key: "misalignment_token_id", ID: c.MisalignmentTokenID},
		checkpoint.SpecialToken{Text: artifactToken, Key: "artifact_token_id", ID: c.ArtifactTokenID},
	)
}
