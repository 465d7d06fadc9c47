package imagedoctor

import (
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/imagedoctor/released"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
)

func TestTheHeatmapTokensAreTheConfigurations(t *testing.T) {
	for name, test := range map[string]struct {
		file                   string
		misalignment, artifact int32
	}{
		"the miniature's":  {qwenvltest.ReadText(t, "nano/config.json"), 1478, 1479},
		"the published":    {released.Config, 151665, 151666},
		"where it is mute": {edit(t, map[string]any{"vocab_size": nil, "misalignment_token_id": nil, "artifact_token_id": nil}), 151665, 151666},
	} {
		c, err := LoadConfig(qwenvltest.WriteFolder(t, map[string]string{checkpoint.ConfigFile: test.file}))
		if err != nil {
			t.Fatal(err)
		}
		if c.MisalignmentTokenID != test.misalignment || c.ArtifactTokenID != test.artifact {
			t.Errorf("%s: %d and %d", name, c.MisalignmentTokenID, c.ArtifactTokenID)
		}
	}
}

func TestAHeatmapTokenBeyondTheVocabularyIsNamed(t *testing.T) {
	for key, value := range map[string]int{"misalignment_token_id": 1536, "artifact_token_id": -1} {
		_, err := LoadConfig(qwenvltest.WriteFolder(t, map[string]string{checkpoint.ConfigFile: edit(t, map[string]any{key: value})}))
		if err == nil || !strings.Contains(err.Error(), "config.json: "+key) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestTokensOfAnotherTokenizerAreRefused(t *testing.T) {
	c, err := LoadConfig("nano")
	if err != nil {
		t.Fatal(err)
	}
	tok := qwenvltest.NanoTokenizer(t)
	if err := c.CheckTokens(tok); err != nil {
		t.Error(err)
	}
	c.ArtifactTokenID++
	if err := c.CheckTokens(tok); err == nil || !strings.Contains(err.Error(), "artifact_token_id") {
		t.Errorf("error %v does not name artifact_token_id", err)
	}
}
